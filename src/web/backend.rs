//! Asks the API within this process, as a visitor: the same router, gate and handlers that other programs
//! reach by network.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use crate::api::USER_HEADER;
use crate::api::dto::Problem;
use crate::web::frame;

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Failure {
    problem: Problem,
    /// Where the visitor wanted to go, to be sent there after the log-in.
    wanted: Option<String>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { problem: Problem::new(status, detail), wanted: None }
    }

    /// Where to come back to after a log-in.
    pub(super) fn wanting(mut self, path: &str) -> Self {
        self.wanted = Some(path.to_owned());
        self
    }

    pub(super) fn status(&self) -> u16 {
        self.problem.status
    }

    pub(super) fn detail(&self) -> &str {
        &self.problem.detail
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status == StatusCode::UNAUTHORIZED {
            let next = crate::api::client::encoded(self.wanted.as_deref().unwrap_or("/"));
            return Redirect::to(&format!("/login?next={next}")).into_response();
        }
        (status, frame::failure(&self.problem)).into_response()
    }
}

/// Who asks: what of a browser's request the API must know to judge a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Asker {
    bearer: Option<HeaderValue>,
    headers: HeaderMap,
    address: Option<SocketAddr>,
}

impl Asker {
    pub(super) fn new(secret: Option<&str>, headers: &HeaderMap, address: Option<SocketAddr>) -> Self {
        // The API judges by these where no token is needed: see `api::origin`.
        let told = [header::HOST, header::ORIGIN, HeaderName::from_static("sec-fetch-site")];
        let told = told.into_iter().filter_map(|name| headers.get(&name).map(|value| (name, value.clone())));
        Self {
            bearer: secret.and_then(|secret| HeaderValue::try_from(format!("Bearer {secret}")).ok()),
            headers: told.collect(),
            address,
        }
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>, Failure> {
        let mut request = Request::builder().method(method).uri(path).body(body).map_err(|error| {
            Failure::new(StatusCode::BAD_REQUEST, format!("`{path}` cannot be asked for: {error}"))
        })?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match &self.bearer {
            Some(bearer) => headers.insert(header::AUTHORIZATION, bearer.clone()),
            None => headers.insert(USER_HEADER, HeaderValue::from_static("web")),
        };
        if let Some(address) = self.address {
            request.extensions_mut().insert(ConnectInfo(address));
        }
        Ok(request)
    }

    async fn answer(&self, api: &Router, request: Request<Body>) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let Ok(answer) = api.clone().oneshot(request).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer was cut off: {error}"))
        })?;
        let body = body.to_bytes().to_vec();
        if parts.status.is_success() {
            return Ok((parts.headers, body));
        }
        let problem = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Problem::new(parts.status, String::from_utf8_lossy(&body)));
        Err(Failure { problem, wanted: None })
    }

    /// Reads what is at a path of the API.
    pub(super) async fn get<T: DeserializeOwned>(&self, api: &Router, path: &str) -> Result<T, Failure> {
        Ok(self.page(api, path).await?.0)
    }

    /// Reads a page of a list, and the address of the next one.
    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        api: &Router,
        path: &str,
    ) -> Result<(T, Option<String>), Failure> {
        let request = self.request(Method::GET, path, Body::empty())?;
        let (headers, body) = self.answer(api, request).await?;
        let read = serde_json::from_slice(&body).map_err(|error| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{path} cannot be read: {error}"))
        })?;
        let link = headers.get(header::LINK).and_then(|link| link.to_str().ok());
        let next =
            link.and_then(|link| link.strip_prefix('<')?.split_once('>').map(|(next, _)| next.to_owned()));
        Ok((read, next))
    }

    /// Asks for a change.
    pub(super) async fn send(
        &self,
        api: &Router,
        (method, path): (Method, &str),
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let (_, answer) = self.answer(api, self.request(method, path, body)?).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }
}
