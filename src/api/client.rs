//! The API's client: what the command line uses, and what other programs may.

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::USER_HEADER;
use crate::api::dto::Problem;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
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
        // Installed before, by whoever came first: that is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = address.trim_end_matches('/').to_owned();
        Self { address, user: user.to_owned(), http: reqwest::Client::new() }
    }

    /// The engine's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Reads what is at `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Reads the bytes of the file that is at `path`.
    pub async fn download(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let response = self.answer(self.request(Method::GET, path)).await?;
        let bytes = response.bytes().await;
        let bytes =
            bytes.map_err(|source| ClientError::Unreadable { address: self.address.clone(), source })?;
        Ok(bytes.to_vec())
    }

    /// Sends `body` to `path`.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Deletes what is at `path`.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.request(Method::DELETE, path)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.address)).header(USER_HEADER, &self.user)
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.answer(request).await?;
        response
            .json()
            .await
            .map_err(|source| ClientError::Unreadable { address: self.address.clone(), source })
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await;
        let response =
            response.map_err(|source| ClientError::Unreachable { address: self.address.clone(), source })?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        Ok(response)
    }

    /// Not every refusal is a problem document: the framework answers malformed bodies in plain text.
    async fn refusal(&self, response: Response) -> ClientError {
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
}
