//! Requests that have a key are carried out once: sent again within a day, they are answered as before;
//! sent again while the first is under way, they wait for its answer.
//! A request that an engine began and did not answer is carried out again under the same name, by which
//! the record of changes tells what it did (`Submission::request`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::api::access::Access;
use crate::api::caller::Caller;
use crate::api::dto::Problem;
use crate::api::openapi::KEY_HEADER;
use crate::ports::access::{KeptAnswer, KeyedRequest, Known};

/// For so long a request is known.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// The longest key.
const KEY_BYTES_MAX: usize = 255;
/// Says that an answer is that of an earlier request.
const REPLAYED: &str = "idempotent-replayed";

/// The keys of requests that are under way.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl UnderWay {
    /// Waits until no other request of this key is under way.
    async fn turn(&self, key: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, lock| lock.strong_count() > 0);
            all.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
                let lock = Arc::default();
                all.insert(key.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

/// A hash of several texts that no other division of the same bytes has.
fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// The request's name, if its sender gave it one. Each caller has keys of its own.
pub(super) fn keyed(parts: &Parts, body: &Bytes, caller: &Caller) -> Result<Option<KeyedRequest>, Problem> {
    let Some(key) = parts.headers.get(KEY_HEADER) else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let detail = format!("`Idempotency-Key` has {} bytes, expected 1 to {KEY_BYTES_MAX}", key.len());
        return Err(Problem::bad_request(detail));
    }
    let whose = caller.token.map_or_else(|| format!("user {}", caller.name), |id| format!("token {id}"));
    let condition = parts.headers.get(header::IF_MATCH).map(HeaderValue::as_bytes).unwrap_or_default();
    let address = parts.uri.path_and_query().map_or("", axum::http::uri::PathAndQuery::as_str);
    let method = parts.method.as_str().as_bytes();
    Ok(Some(KeyedRequest {
        key: hash(&[whose.as_bytes(), key.as_bytes()]),
        fingerprint: hash(&[method, address.as_bytes(), condition, body]),
    }))
}

/// Carries a request out unless it was before. `carry_out` gets the name under which the record of
/// changes knows it.
pub(super) async fn once<F>(
    access: &Access,
    keyed: KeyedRequest,
    now: Timestamp,
    carry_out: impl FnOnce(String) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Response, Problem>>,
{
    let _turn = access.under_way.turn(&keyed.key).await;
    let expired = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let (log, request) = (Arc::clone(&access.answers), keyed.clone());
    let known = access.write(move || log.begin(&request, now, expired)).await.map_err(|error: Problem| {
        Problem { detail: format!("{}; nothing was changed", error.detail), ..error }
    })?;
    let begun = match known {
        Known::Answered(answer) => return Ok(replay(answer)),
        Known::Other => {
            let detail = "this `Idempotency-Key` was used for another request: take a new one";
            return Err(Problem::unprocessable(detail));
        }
        Known::Begun(at) => at,
    };
    // The instant is part of the name: a key that is used again after a day is another request.
    let name = hash(&[keyed.key.as_bytes(), keyed.fingerprint.as_bytes(), begun.to_string().as_bytes()]);
    let response = match carry_out(name).await {
        Ok(response) => response,
        Err(problem) => axum::response::IntoResponse::into_response(problem),
    };
    keep(access, keyed, response).await
}

fn replay(answer: KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    if let Ok(kind) = HeaderValue::try_from(answer.content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Keeps the answer. One that says that the engine failed is not kept: the request may be tried again. A
/// token's secret is not kept either.
async fn keep(access: &Access, keyed: KeyedRequest, response: Response) -> Result<Response, Problem> {
    let log = Arc::clone(&access.answers);
    if response.status().is_server_error() || response.status() == StatusCode::CREATED {
        access.write(move || log.abandon(&keyed)).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| Problem::internal(error.to_string()))?.to_bytes();
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let answer = KeptAnswer {
        status: parts.status.as_u16(),
        content_type: kind.unwrap_or_default().to_owned(),
        body: body.to_vec(),
    };
    access.write(move || log.answered(&keyed, &answer)).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}
