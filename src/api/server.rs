//! Listens: plain or with TLS, with bounds on connections and on the time that one may rest.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::config::{ApiLimits, TlsConfig};

/// Calls under way get this long when the engine ends.
const END_TIME_MAX: Duration = Duration::from_secs(5);
/// From one look at the certificate's files to the next.
const RELOAD_INTERVAL: Duration = Duration::from_secs(30);
/// Most headers of a call.
const HEADERS_MAX: usize = 100;
/// The HTTP reader's buffer beyond the headers that the gate measures: what does not fit into it is
/// refused before the gate sees it.
const BUFFER_SPARE: usize = 16 << 10;

/// Whether other machines can reach an address, so that TLS and a token are needed.
pub fn is_exposed(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Files are scarce when less than one in this many is left.
const FILES_SPARE_SHARE: u64 = 20;

/// Reads the certificate.
pub async fn open_tls(tls: &TlsConfig) -> io::Result<RustlsConfig> {
    // Installed before, by whoever came first: that is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    RustlsConfig::from_pem_file(&tls.cert, &tls.key).await
}

/// Answers calls until `shutdown`.
pub async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    limits: &ApiLimits,
    tls: Option<(TlsConfig, RustlsConfig)>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let handle = Handle::new();
    let ending = handle.clone();
    let ended = shutdown.clone();
    let watch = tokio::spawn(async move {
        ended.cancelled().await;
        ending.graceful_shutdown(Some(END_TIME_MAX));
    });
    let acceptor = Bounded {
        connections: Arc::new(Semaphore::new(limits.connections)),
        idle: limits.idle_timeout.unsigned_abs(),
        short: Arc::default(),
    };
    let header_timeout = limits.header_timeout.unsigned_abs();
    let mut server = axum_server::from_tcp(listener)?.handle(handle).http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(limits.header_bytes + BUFFER_SPARE);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let result = match tls {
        None => server.acceptor(acceptor).serve(service).await,
        Some((files, config)) => {
            let reload = tokio::spawn(reload(files, config.clone(), shutdown));
            let tls = RustlsAcceptor::new(config).handshake_timeout(header_timeout).acceptor(acceptor);
            let result = server.acceptor(tls).serve(service).await;
            reload.abort();
            result
        }
    };
    watch.abort();
    result
}

/// Reads the certificate again whenever its files have changed. One that cannot be read leaves the old
/// one in force.
async fn reload(files: TlsConfig, config: RustlsConfig, shutdown: CancellationToken) {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let state = || -> [Option<SystemTime>; 2] { [changed(&files.cert), changed(&files.key)] };
    let mut known = state();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RELOAD_INTERVAL) => {}
        }
        let found = state();
        if found == known {
            continue;
        }
        match config.reload_from_pem_file(&files.cert, &files.key).await {
            Ok(()) => {
                known = found;
                tracing::info!("the API's certificate was read again");
            }
            Err(error) => {
                tracing::warn!(%error, "the API's new certificate cannot be read; the old one holds");
            }
        }
    }
}

/// Takes so many connections at a time and no more.
#[derive(Debug, Clone)]
struct Bounded {
    connections: Arc<Semaphore>,
    idle: Duration,
    /// It was told that files are scarce.
    short: Arc<AtomicBool>,
}

impl Bounded {
    /// Files get the lowest free numbers, so the newest one's tells how many are open. Where none is left,
    /// callers wait without an answer: that is told before it comes to it.
    fn warn_of_shortage(&self, newest: &TcpStream) {
        let number = u64::try_from(newest.as_raw_fd()).unwrap_or_default();
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let scarce = number >= most - most / FILES_SPARE_SHARE;
        if scarce && !self.short.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "Too many open files: {number} of {most} are in use, further callers wait until some are \
                 closed; raise the limit (`ulimit -n`)"
            );
        } else if !scarce {
            self.short.store(false, Ordering::Relaxed);
        }
    }
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = Watched;
    type Service = S;
    type Future = Ready<io::Result<(Watched, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        ready(permit.map_err(|_| io::Error::other("too many connections")).and_then(|permit| {
            self.warn_of_shortage(&stream);
            stream.set_nodelay(true)?;
            let timer = Box::pin(tokio::time::sleep(self.idle));
            Ok((Watched { stream, idle: self.idle, timer, _permit: permit }, service))
        }))
    }
}

/// A connection that fails when nothing moves on it, in either direction, for too long.
struct Watched {
    stream: TcpStream,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Watched {
    /// What came of a look at the connection; where nothing did, whether it was the last look.
    fn note<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            let until = Instant::now() + self.idle;
            self.timer.as_mut().reset(until);
            return result;
        }
        match self.timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(context, result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer of its own to flush: this says nothing of the other side.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
