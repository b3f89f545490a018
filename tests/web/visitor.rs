//! Somebody with a browser, as far as HTTP goes: keeps cookies, sends forms, follows nothing by itself.

use std::collections::BTreeMap;

use loadline::api::client::encoded;
use reqwest::{Method, StatusCode, header};

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: header::HeaderMap,
    pub(super) text: String,
    /// Bytes of the body, as they came.
    pub(super) length: usize,
}

impl Answer {
    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Somebody with a browser.
pub(super) struct Visitor {
    http: reqwest::Client,
    base: String,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    pub(super) fn new(base: &str) -> Self {
        let http =
            crate::http::client().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { http, base: base.to_owned(), cookies: BTreeMap::new() }
    }

    /// The same with a token shown.
    pub(super) async fn logged_in(base: &str, token: &str) -> Self {
        let mut visitor = Self::new(base);
        let answer = visitor.post("/login", &[("token", token), ("next", "/workloads")], &[]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        assert_eq!(answer.header(header::LOCATION), "/workloads");
        visitor
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !pairs.is_empty() {
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        for cookie in headers.get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().expect("text").split(';').next().expect("a pair");
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let body = answer.bytes().await.expect("a body");
        Answer { status, headers, text: String::from_utf8_lossy(&body).into_owned(), length: body.len() }
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[("accept", "text/html")]).await
    }

    pub(super) async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, None, headers).await
    }

    pub(super) async fn post(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        self.send(Method::POST, path, Some(pairs.join("&")), headers).await
    }

    /// What the forms of a page carry.
    pub(super) async fn csrf(&mut self) -> String {
        let page = self.get("/workloads").await.text;
        let path = if page.contains("name=\"csrf\"") { "/workloads" } else { "/engine" };
        self.own_csrf(path).await
    }

    /// What the forms of this page carry.
    pub(super) async fn own_csrf(&mut self, path: &str) -> String {
        let page = self.get(path).await.text;
        let rest = page.split("name=\"csrf\" value=\"").nth(1).expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }
}
