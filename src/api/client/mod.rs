//! The API's client: what the command line uses, and what other programs may.
//!
//! ```no_run
//! use loadline::api::client::{Client, ClientOptions};
//!
//! # async fn example() -> Result<(), loadline::api::client::ClientError> {
//! let client = Client::connect(ClientOptions {
//!     address: "https://engine.example:7070".to_owned(),
//!     token: Some("ll_...".to_owned()),
//!     ca_pem: Some(std::fs::read("ca.pem").expect("the authority's certificate")),
//!     ..ClientOptions::default()
//! })?;
//! for workload in client.workloads().await? {
//!     println!("{} is {}", workload.name, workload.state);
//! }
//! let mut events = client.follow(None);
//! loop {
//!     let event = events.next().await?;
//!     println!("{} {}: {}", event.number, event.kind, event.reason);
//! }
//! # }
//! ```

mod advice;
mod follow;
mod routes;
mod stars;

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, LINK};
use reqwest::{Certificate, Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::USER_HEADER;
use crate::api::WARNING_HEADER;
use crate::api::dto::Problem;
use crate::api::openapi::KEY_HEADER;

pub use follow::Follower;
pub use routes::{EventFilter, RunFilter};

/// A call that got no answer is sent again after these waits: a read that was cut off, and a write in any
/// case, since its key makes that safe.
const RETRIES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client cannot be made from what it was given.
    #[error("{0}")]
    Setup(String),
    /// The engine could not be reached.
    #[error("cannot reach the engine at {address}; is `loadline up` running?")]
    Unreachable {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The engine refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The answer could not be read.
    #[error("the engine at {address} gave an answer that could not be read")]
    Unreadable {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

/// What a client is made from.
#[derive(Clone, Default)]
pub struct ClientOptions {
    /// The engine's address, for example `http://127.0.0.1:7070`.
    pub address: String,
    /// Who acts, where the engine has no tokens.
    pub user: String,
    /// The secret of a token.
    pub token: Option<String>,
    /// The certificate (PEM) of an authority to trust in place of the usual ones.
    pub ca_pem: Option<Vec<u8>>,
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, user, token, ca_pem } = self;
        let (token, ca) = (token.is_some(), ca_pem.is_some());
        write!(f, "ClientOptions {{ address: {address}, user: {user}, token: {token}, ca: {ca} }}")
    }
}

/// Calls one engine.
#[derive(Debug, Clone)]
pub struct Client {
    address: String,
    user: String,
    http: reqwest::Client,
}

impl Client {
    /// A client of the engine at `address`, for example `http://127.0.0.1:7070`, that acts as `user`.
    pub fn new(address: &str, user: &str) -> Self {
        install_provider();
        let address = address.trim_end_matches('/').to_owned();
        Self { address, user: user.to_owned(), http: reqwest::Client::new() }
    }

    /// A client with a token, or that trusts an authority of its own.
    pub fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        install_provider();
        let setup = |error: reqwest::Error| ClientError::Setup(format!("cannot make a client: {error}"));
        let mut headers = HeaderMap::new();
        if let Some(token) = &options.token {
            let plain = options.address.starts_with("http://");
            if plain && !is_loopback(&options.address) {
                let text = "a token is not sent over plain http to another machine: use https";
                return Err(ClientError::Setup(text.to_owned()));
            }
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| ClientError::Setup("the token has characters that no token has".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder().default_headers(headers);
        if let Some(pem) = &options.ca_pem {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(setup)?);
        }
        let http = builder.build().map_err(setup)?;
        let address = options.address.trim_end_matches('/').to_owned();
        Ok(Self { address, user: options.user, http })
    }

    /// The engine's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Reads what is at `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(self.answer(self.request(Method::GET, path), false).await?).await
    }

    /// Reads a list that comes in pages: the page at `path` and those that follow, at most `most` rows.
    pub async fn list<T: DeserializeOwned>(&self, path: &str, most: usize) -> Result<Vec<T>, ClientError> {
        let mut rows: Vec<T> = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next.filter(|_| rows.len() < most) {
            let response = self.answer(self.request(Method::GET, &path), false).await?;
            next = next_page(response.headers());
            rows.extend(self.read::<Vec<T>>(response).await?);
        }
        rows.truncate(most);
        Ok(rows)
    }

    /// Reads the bytes of the file that is at `path`.
    pub async fn download(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let response = self.answer(self.request(Method::GET, path), false).await?;
        let bytes = response.bytes().await;
        Ok(bytes.map_err(|source| self.unreadable(source))?.to_vec())
    }

    /// The same, with what the engine warns of.
    pub async fn download_with_warnings(&self, path: &str) -> Result<(Vec<u8>, Vec<String>), ClientError> {
        let response = self.answer(self.request(Method::GET, path), false).await?;
        let told = response.headers().get_all(WARNING_HEADER).iter();
        let warnings = told.filter_map(|text| text.to_str().ok().map(str::to_owned)).collect();
        let bytes = response.bytes().await;
        Ok((bytes.map_err(|source| self.unreadable(source))?.to_vec(), warnings))
    }

    /// Sends `body` to `path`.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.read(self.answer(self.request(Method::POST, path).json(body), true).await?).await
    }

    /// Puts `body` at `path`.
    pub async fn put<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.read(self.answer(self.request(Method::PUT, path).json(body), true).await?).await
    }

    /// Deletes what is at `path`.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(self.answer(self.request(Method::DELETE, path), true).await?).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.address));
        if self.user.is_empty() { request } else { request.header(USER_HEADER, &self.user) }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        response.json().await.map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreadable { address: self.address.clone(), source }
    }

    async fn answer(&self, request: RequestBuilder, writes: bool) -> Result<Response, ClientError> {
        let request = if writes { request.header(KEY_HEADER, new_key()?) } else { request };
        let mut waits = RETRIES.iter();
        loop {
            // A body that can be sent once only is not sent by this client.
            let once = request.try_clone();
            let sent = match once {
                Some(request) => request.send().await,
                None => return Err(ClientError::Setup("the call cannot be sent again".to_owned())),
            };
            match sent {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => return Err(refusal(response).await),
                Err(source) => {
                    let again = !source.is_builder() && (writes || !source.is_connect());
                    let Some(wait) = waits.next().filter(|_| again) else {
                        return Err(ClientError::Unreachable { address: self.address.clone(), source });
                    };
                    tokio::time::sleep(*wait).await;
                }
            }
        }
    }
}

fn install_provider() {
    // Installed before, by whoever came first: that is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn is_loopback(address: &str) -> bool {
    let url = reqwest::Url::parse(address).ok();
    let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn new_key() -> Result<String, ClientError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| ClientError::Setup(format!("no random numbers for a request's key: {error}")))?;
    Ok(hex::encode(random))
}

/// The next page that a list names.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (address, relation) = link.strip_prefix('<')?.split_once('>')?;
    relation.contains("rel=\"next\"").then(|| address.to_owned())
}

/// What stands in a path or a query, so that nothing in it has another meaning there.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Not every refusal is a problem document: something between here and the engine may have answered.
async fn refusal(response: Response) -> ClientError {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let problem = serde_json::from_str(&text).unwrap_or_else(|_| Problem {
        title: status.canonical_reason().unwrap_or("error").to_owned(),
        status: status.as_u16(),
        detail: if text.is_empty() { status.to_string() } else { text },
        errors: Vec::new(),
        retry_after: None,
    });
    ClientError::Refused(Box::new(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_tokens_stay_on_this_machine_without_tls() {
        assert_eq!(encoded("2026-11-22T10:00:00Z/é"), "2026-11-22T10%3A00%3A00Z%2F%C3%A9");
        let with_token = |address: &str| {
            let token = Some("ll_x".to_owned());
            Client::connect(ClientOptions { address: address.to_owned(), token, ..ClientOptions::default() })
        };
        assert!(with_token("http://127.0.0.1:7070").is_ok() && with_token("http://[::1]:7070").is_ok());
        assert!(with_token("http://engine.example:7070").is_err());
        assert!(with_token("http://127.0.0.1.example:7070").is_err());
    }
}
