//! Asks one question over the network: http or tcp.
//! Not here: when it is asked, what follows from the answer (`mod`, `verdict`), commands (`command`).

use std::net::{Ipv4Addr, SocketAddr};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// What is kept of a body or of a command's output, in bytes.
pub(super) const KEPT_MAX: usize = 1024;

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whether it passes.
    pub(super) passed: bool,
    /// What was said, for people.
    pub(super) message: String,
}

impl Answer {
    /// No.
    pub(super) fn no(message: impl Into<String>) -> Self {
        Self { passed: false, message: message.into() }
    }

    /// Yes.
    pub(super) fn yes(message: impl Into<String>) -> Self {
        Self { passed: true, message: message.into() }
    }
}

/// A text of at most `KEPT_MAX` bytes for people, whatever the bytes are.
pub(super) fn kept(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(KEPT_MAX)]).trim().to_owned()
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

/// Whether a GET is answered with a status from 200 to 399. Redirects are not followed. Each question
/// has a connection of its own: a kept one would hide that the instance takes no new ones.
pub(super) async fn http(port: u16, path: &str) -> Answer {
    get(port, path).await.unwrap_or_else(|no| no)
}

async fn get(port: u16, path: &str) -> Result<Answer, Answer> {
    let no = |error: hyper::Error| Answer::no(format!("GET {path} on port {port}: {error}"));
    let stream = connect(port).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no)?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(path)
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::USER_AGENT, "loadline-health-check")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Answer::no(format!("`{path}` is not a path: {error}")))?;
    let response = sender.send_request(request).await.map_err(no)?;
    let status = response.status();
    let message = match beginning(response.into_body()).await {
        text if text.is_empty() => format!("status {}", status.as_u16()),
        text => format!("status {}: {text}", status.as_u16()),
    };
    let passed = status.is_success() || status.is_redirection();
    Ok(Answer { passed, message })
}

/// The beginning of a body; one that breaks off does not change the answer.
async fn beginning(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while text.len() < KEPT_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data);
        }
    }
    kept(&text)
}
