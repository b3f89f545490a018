//! Asks one question over the network: http or tcp.
//! Not here: when it is asked, what follows from the answer (`mod`, `verdict`), commands (`ports::exec`).

use std::net::{Ipv4Addr, SocketAddr};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::agent::prober::verdict::Grade;
use crate::domain::workload::HttpOptions;

/// What is kept of a body or of a command's output, in bytes.
pub(super) const BODY_MAX: usize = 8 << 10;
/// What of it stands in a message, in characters.
const EXCERPT_MAX: usize = 200;

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whether it passes.
    pub(super) grade: Grade,
    /// What happened, for people.
    pub(super) message: String,
    /// What was said.
    pub(super) body: String,
}

impl Answer {
    /// No.
    pub(super) fn no(message: impl Into<String>) -> Self {
        Self { grade: Grade::Failed, message: message.into(), body: String::new() }
    }

    /// Yes.
    pub(super) fn yes(message: impl Into<String>) -> Self {
        Self { grade: Grade::Passed, message: message.into(), body: String::new() }
    }

    /// The same with what was said; its beginning goes into the message, which may be all that is read.
    pub(super) fn with(self, body: String) -> Self {
        let line = body.lines().next().unwrap_or_default();
        let excerpt: String = line.chars().take(EXCERPT_MAX).collect();
        let message = if excerpt.is_empty() { self.message } else { format!("{}: {excerpt}", self.message) };
        Self { message, body, ..self }
    }
}

/// A text of at most `BODY_MAX` bytes without white space around it.
pub(super) fn kept(text: &str) -> String {
    text[..text.floor_char_boundary(BODY_MAX)].trim().to_owned()
}

async fn connect(port: u16) -> Result<TcpStream, Answer> {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .map_err(|error| Answer::no(format!("cannot connect to port {port}: {error}")))
}

/// Whether a connection is accepted.
pub(super) async fn tcp(port: u16) -> Answer {
    match connect(port).await {
        Ok(_) => Answer::yes("connected"),
        Err(no) => no,
    }
}

/// Whether a request is answered with a status that passes. Redirects are not followed. Each question
/// has a connection of its own: a kept one would hide that the instance takes no new ones.
pub(super) async fn http(port: u16, path: &str, options: &HttpOptions) -> Answer {
    request(port, path, options).await.unwrap_or_else(|no| no)
}

async fn request(port: u16, path: &str, options: &HttpOptions) -> Result<Answer, Answer> {
    let method = options.method.as_str();
    let no = |error: hyper::Error| Answer::no(format!("{method} {path} on port {port}: {error}"));
    let stream = connect(port).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no)?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::USER_AGENT, "loadline-health-check")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Answer::no(format!("`{path}` is not a path: {error}")))?;
    for (name, value) in &options.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err(Answer::no(format!("`{name}` with this value is not a header")));
        };
        request.headers_mut().insert(name, value);
    }
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let response = sender.send_request(request).await.map_err(no)?;
    let status = response.status();
    let body = beginning(response.into_body()).await;
    let passes = if options.statuses.is_empty() {
        status.is_success() || status.is_redirection()
    } else {
        options.statuses.contains(&status.as_u16())
    };
    let grade = match passes {
        true => Grade::Passed,
        false if options.fatal_statuses.contains(&status.as_u16()) => Grade::FailedForGood,
        false => Grade::Failed,
    };
    Ok(Answer { grade, ..Answer::no(format!("status {}", status.as_u16())) }.with(body))
}

/// The beginning of a body; one that breaks off does not change the answer.
async fn beginning(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while text.len() < BODY_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data);
        }
    }
    kept(&String::from_utf8_lossy(&text))
}
