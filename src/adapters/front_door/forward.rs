//! One request from a client to an instance and its answer back, with another try where that is safe.
//!
//! A request is sent to another instance when nothing of it can have been acted upon: the connection
//! was refused, or closed before the request was written, whatever the method; or the method is
//! idempotent (RFC 9110, 9.2.2), no byte of the body was read and no answer had begun. A `POST` that
//! may have reached an instance is never sent twice.

use std::error::Error;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::adapters::front_door::backend::Link;
use crate::adapters::front_door::body::{AnswerBody, ClientBody, RequestBody};
use crate::adapters::front_door::counters::{Attempt, Visit};
use crate::adapters::front_door::door::{Door, NoInstance};
use crate::adapters::front_door::headers;

/// Instances that are asked before the client is told of a failure.
const ATTEMPTS_MAX: usize = 3;
/// What a client is told to wait before it asks again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A request, ready to be sent as often as needed.
struct Outgoing {
    method: Method,
    path: PathAndQuery,
    headers: hyper::HeaderMap,
    body: ClientBody,
    /// The client's side of a change of protocol, and the protocol.
    upgrade: Option<(OnUpgrade, HeaderValue)>,
}

/// Why an instance did not answer.
enum Failure {
    /// The exchange broke off.
    Broken {
        /// Whether another instance may have the request.
        replayable: bool,
        /// Whether there was no connection at all; otherwise one that was kept open may have been stale.
        refused: bool,
        /// In words.
        message: String,
    },
    /// It took longer than the limit.
    Silent,
}

/// Answers a client's request.
pub(super) async fn answer(
    door: Arc<Door>,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response<AnswerBody> {
    let mut visit = Visit::begin(Arc::clone(&door.counters));
    if request.method() == Method::CONNECT {
        let text = format!("{}: the front door is no proxy for CONNECT\n", door.workload);
        return refusal(StatusCode::NOT_IMPLEMENTED, text, visit);
    }
    let mut outgoing = Outgoing::new(&door, request, peer);
    let deadline = Instant::now() + door.waits().0;
    let mut tried = Vec::new();
    let mut pause = Duration::ZERO;
    loop {
        let (link, mut attempt) = match door.choose(&tried, pause, deadline).await {
            Ok(found) => found,
            Err(why) => {
                visit.error = true;
                return no_instance(&door, why, visit);
            }
        };
        tried.push(link.address);
        let failure = match outgoing.send(&door, &link).await {
            Ok(response) => return outgoing.pass(&door, response, attempt, visit),
            Err(failure) => failure,
        };
        if outgoing.body.client_failed() {
            let text = format!("{}: the request's body did not arrive\n", door.workload);
            return refusal(StatusCode::REQUEST_TIMEOUT, text, visit);
        }
        attempt.error = true;
        drop(attempt);
        match failure {
            Failure::Broken { replayable: true, refused, message } if tried.len() < ATTEMPTS_MAX => {
                pause = if refused { door.options.failover_pause } else { Duration::ZERO };
                tracing::debug!(service = %door.workload, task = %link.task, message, "trying another instance");
            }
            Failure::Broken { message, .. } => {
                visit.error = true;
                let text = format!("{}: instance {} failed: {message}\n", door.workload, link.task);
                return refusal(StatusCode::BAD_GATEWAY, text, visit);
            }
            Failure::Silent => {
                visit.error = true;
                let limit = door.options.idle_timeout.as_secs_f64();
                let text =
                    format!("{}: instance {} did not answer within {limit} s\n", door.workload, link.task);
                return refusal(StatusCode::GATEWAY_TIMEOUT, text, visit);
            }
        }
    }
}

impl Outgoing {
    fn new(door: &Door, mut request: Request<Incoming>, peer: IpAddr) -> Self {
        let upgrade = headers::upgrade_of(request.headers())
            .map(|protocol| (hyper::upgrade::on(&mut request), protocol));
        let (Parts { method, uri, mut headers, .. }, body) = request.into_parts();
        headers::strip_hop_by_hop(&mut headers);
        headers::add_forwarded(&mut headers, peer);
        if let Some((_, protocol)) = &upgrade {
            headers::set_upgrade(&mut headers, protocol.clone());
        }
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Self { method, path, headers, body: ClientBody::new(body, door.options.idle_timeout), upgrade }
    }

    fn to(&self, link: &Link) -> Request<RequestBody> {
        let mut uri = hyper::http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(link.authority.clone());
        uri.path_and_query = Some(self.path.clone());
        let mut request = Request::new(self.body.next_try());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        request
    }

    async fn send(&self, door: &Door, link: &Link) -> Result<Response<Incoming>, Failure> {
        let limit = door.options.idle_timeout;
        let mut answered = pin!(link.client.request(self.to(link)));
        let mut deadline = Instant::now() + limit;
        loop {
            match tokio::time::timeout_at(deadline, answered.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    let (replayable, refused) = (self.replayable(&error), error.is_connect());
                    return Err(Failure::Broken { replayable, refused, message: in_words(&error) });
                }
                // An instance is not silent while it takes or awaits the client's body.
                Err(_) => match self.body.silent_since() {
                    Some(since) if since + limit <= Instant::now() => return Err(Failure::Silent),
                    Some(since) => deadline = since + limit,
                    None => deadline = Instant::now() + limit,
                },
            }
        }
    }

    fn replayable(&self, error: &hyper_util::client::legacy::Error) -> bool {
        let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
        let unsent =
            error.is_connect() || cause.is_some_and(|cause| cause.is_canceled() || cause.is_closed());
        if self.body.touched() {
            return false;
        }
        // An answer that begins and makes no sense is an answer: another instance is not asked.
        unsent || (self.method.is_idempotent() && !cause.is_some_and(hyper::Error::is_parse))
    }

    /// The instance's answer for the client.
    fn pass(
        &mut self,
        door: &Arc<Door>,
        mut response: Response<Incoming>,
        mut attempt: Attempt,
        mut visit: Visit,
    ) -> Response<AnswerBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(door, response, attempt, visit);
        }
        headers::strip_hop_by_hop(response.headers_mut());
        attempt.error = response.status().is_server_error();
        visit.error = attempt.error;
        // The answer speaks the client's version, whatever the instance speaks.
        *response.version_mut() = Version::HTTP_11;
        response.map(|body| AnswerBody::passed(body, door.options.idle_timeout, attempt, visit))
    }

    /// Joins both sides after a change of protocol. The request counts as in flight until one of them
    /// closes, so that a retired instance keeps its open sockets for its drain time.
    fn switch(
        &mut self,
        door: &Arc<Door>,
        mut response: Response<Incoming>,
        mut attempt: Attempt,
        mut visit: Visit,
    ) -> Response<AnswerBody> {
        let agreed = headers::upgrade_of(response.headers());
        let (Some((client, _)), Some(protocol)) = (self.upgrade.take(), agreed) else {
            attempt.error = true;
            visit.error = true;
            let text =
                format!("{}: the instance changed a protocol that nobody asked it to\n", door.workload);
            return refusal(StatusCode::BAD_GATEWAY, text, visit);
        };
        let instance = hyper::upgrade::on(&mut response);
        let service = door.workload.clone();
        door.connections.spawn(async move {
            let _counted = (attempt, visit);
            match tokio::try_join!(client, instance) {
                Ok((client, instance)) => {
                    let joined =
                        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(instance))
                            .await;
                    if let Err(error) = joined {
                        tracing::debug!(%service, %error, "a changed protocol broke off");
                    }
                }
                Err(error) => tracing::debug!(%service, %error, "a change of protocol failed"),
            }
        });
        headers::strip_hop_by_hop(response.headers_mut());
        headers::set_upgrade(response.headers_mut(), protocol);
        response.map(|_| AnswerBody::empty())
    }
}

/// An error with its causes on one line.
fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

fn no_instance(door: &Door, why: NoInstance, visit: Visit) -> Response<AnswerBody> {
    let service = &door.workload;
    let text = match why {
        NoInstance::NotInTime => {
            let waited = door.waits().0.as_secs_f64();
            format!("{service}: no ready instance within {waited} s\n")
        }
        NoInstance::QueueFull => {
            let (_, waiting) = door.waits();
            format!("{service}: no ready instance, and {waiting} requests wait for one already\n")
        }
        NoInstance::Closing => format!("{service}: no ready instance, and its address is being closed\n"),
    };
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, text, visit);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

fn refusal(status: StatusCode, text: String, visit: Visit) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::own(text, visit));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
