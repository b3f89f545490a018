//! Tells a program over HTTP: one POST for each notice, signed so that the receiver can tell that it
//! comes from this engine and when.
//!
//! | header | what |
//! | --- | --- |
//! | `Loadline-Delivery` | the notice's id, the same at each try |
//! | `Loadline-Event` | kind and event, such as `task/task-failed` |
//! | `Loadline-Signature` | `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY` with the secret |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::{Client, Url, redirect};
use sha2::Sha256;

use crate::domain::workload::SecretRef;
use crate::ports::clock::Clock;
use crate::ports::notifier::{NotTold, Notice, Notifier};

/// A receiver over HTTP.
pub struct Webhook {
    client: Client,
    url: Url,
    secret: SecretRef,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// A receiver at `url` that knows the same secret. An answer later than `timeout` is none.
    pub fn new(
        url: &str,
        secret: SecretRef,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NotTold> {
        // Installed before, by whoever came first: that is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(timeout).redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| NotTold(format!("cannot make a client: {error}")))?;
        let url = Url::parse(url).map_err(|error| NotTold(format!("`{url}` is not a URL: {error}")))?;
        Ok(Self { client, url, secret, clock })
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn tell(&self, notice: &Notice) -> Result<(), NotTold> {
        let body = serde_json::to_vec(&notice.body).map_err(|error| NotTold(error.to_string()))?;
        let reference = self.secret.clone();
        let secret = tokio::task::spawn_blocking(move || read(&reference)).await;
        let secret = secret.map_err(|error| NotTold(error.to_string()))??;
        let signature = sign(secret.as_bytes(), self.clock.now(), &body)?;
        let answer = self
            .client
            .post(self.url.clone())
            .header("Content-Type", "application/json")
            .header("User-Agent", concat!("loadline/", env!("CARGO_PKG_VERSION")))
            .header("Loadline-Delivery", &notice.id)
            .header("Loadline-Event", format!("{}/{}", notice.kind, notice.event))
            .header("Loadline-Signature", signature)
            .body(body)
            .send()
            .await;
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(NotTold(format!("it answered with status {}", answer.status().as_u16()))),
            // Addresses can hold secrets.
            Err(error) => Err(NotTold(in_one_line(&error.without_url()))),
        }
    }
}

/// The value of the signature's header.
fn sign(secret: &[u8], at: Timestamp, body: &[u8]) -> Result<String, NotTold> {
    let seconds = at.as_second();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|error| NotTold(error.to_string()))?;
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    Ok(format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes())))
}

/// Read anew each time, so that a secret can be changed. Errors name the reference, never a value.
fn read(secret: &SecretRef) -> Result<String, NotTold> {
    let value = match secret {
        SecretRef::Env(name) => std::env::var(name)
            .map_err(|_| NotTold(format!("the engine has no text in its variable {name}")))?,
        SecretRef::File(path) => read_file(path)?,
    };
    let value = value.trim_end_matches(['\r', '\n']);
    if value.is_empty() { Err(NotTold("the secret is empty".to_owned())) } else { Ok(value.to_owned()) }
}

fn read_file(path: &PathBuf) -> Result<String, NotTold> {
    std::fs::read_to_string(path)
        .map_err(|error| NotTold(format!("cannot read the secret in {}: {error}", path.display())))
}

/// An error with its causes: which of them says why is up to the library.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let at = Timestamp::from_second(1_700_000_000).expect("a time");
        let expected = "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
        assert_eq!(sign(b"secret", at, br#"{"a":1}"#).as_deref(), Ok(expected));
    }
}
