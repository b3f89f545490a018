//! One GET of a Prometheus text, bounded in time and size.

use std::time::Duration;

use reqwest::{Client, redirect};

use crate::ports::usage_source::UsageError;

/// An answer larger than this many bytes is refused: 500 bytes for each metric of 2,000 tasks.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;

/// The plain format first: it says the type of a metric under the name that its samples have.
const ACCEPT: &str = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5";

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The whole answer was not there in time.
    #[error("no whole answer in time")]
    Late(#[source] reqwest::Error),
    /// The exchange failed.
    #[error("the request failed")]
    Failed(#[source] reqwest::Error),
    /// The server refused.
    #[error("the answer has status {0}")]
    Status(reqwest::StatusCode),
    /// The answer is too large.
    #[error("the answer is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// The answer is not UTF-8.
    #[error("the answer is not UTF-8")]
    NotText,
}

impl FetchError {
    fn from_exchange(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::Late(error) } else { Self::Failed(error) }
    }

    /// The error in the port's words.
    pub(super) fn of(self, source_name: &str) -> UsageError {
        let source_name = source_name.to_owned();
        match self {
            Self::Late(_) => UsageError::Late { source_name },
            other => UsageError::Unreachable { source_name, source: Box::new(other) },
        }
    }
}

/// A client that goes straight to the address that it is given, and waits `timeout` for the whole answer.
pub(super) fn client(timeout: Duration) -> Result<Client, UsageError> {
    // Installed before, by whoever came first: that is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(timeout)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| FetchError::Failed(error).of("any address"))
}

/// The text at `url`.
pub(super) async fn text(client: &Client, url: &str) -> Result<String, FetchError> {
    let request = client.get(url).header(reqwest::header::ACCEPT, ACCEPT);
    let mut response = request.send().await.map_err(FetchError::from_exchange)?;
    if !response.status().is_success() {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = Vec::new();
    // The announced length is not trusted: what arrives is counted.
    while let Some(chunk) = response.chunk().await.map_err(FetchError::from_exchange)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| FetchError::NotText)
}
