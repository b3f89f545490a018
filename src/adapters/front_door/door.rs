//! One open address: takes connections in and finds an instance for each request.
//! Not here: how a request is passed on (`forward`).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::front_door::FrontDoorOptions;
use crate::adapters::front_door::backend::{Link, choose};
use crate::adapters::front_door::client_stream::ClientStream;
use crate::adapters::front_door::counters::{Attempt, Counters};
use crate::adapters::front_door::forward;
use crate::domain::workload::WorkloadName;
use crate::ports::front_door::Hold;

/// Connections that the kernel holds until they are taken in.
const BACKLOG: u32 = 1024;
/// Pause after a connection could not be taken in, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One open address of a service.
#[derive(Debug)]
pub(super) struct Door {
    /// The service.
    pub(super) workload: WorkloadName,
    /// Its counters.
    pub(super) counters: Arc<Counters>,
    /// Limits.
    pub(super) options: Arc<FrontDoorOptions>,
    /// Connections, and what goes on after them.
    pub(super) connections: TaskTracker,
    /// The instances that get new requests.
    links: watch::Sender<Arc<[Arc<Link>]>>,
    /// Requests that wait for an instance.
    waiting: AtomicUsize,
    /// How they wait where the service may have none at all.
    hold: Mutex<Option<Hold>>,
    /// Told when one begins to wait so.
    asked: Arc<Notify>,
    /// Requests so far; with the seed it decides which instances are drawn.
    drawn: AtomicU64,
    closing: CancellationToken,
}

/// Why no instance was found for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoInstance {
    /// None was ready in time.
    NotInTime,
    /// Too many wait already.
    QueueFull,
    /// The address is being closed.
    Closing,
}

/// A place in the queue of those who wait; given back on drop.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Door {
    /// An address that takes nothing in yet.
    pub(super) fn new(
        workload: WorkloadName,
        counters: Arc<Counters>,
        options: Arc<FrontDoorOptions>,
        asked: Arc<Notify>,
    ) -> Self {
        Self {
            workload,
            counters,
            options,
            connections: TaskTracker::new(),
            links: watch::Sender::new(Arc::from([])),
            waiting: AtomicUsize::new(0),
            hold: Mutex::default(),
            asked,
            drawn: AtomicU64::new(0),
            closing: CancellationToken::new(),
        }
    }

    /// Sets the instances that get new requests.
    pub(super) fn set_links(&self, links: Arc<[Arc<Link>]>) {
        self.links.send_replace(links);
    }

    /// Sets how requests are held while there is no instance.
    pub(super) fn set_hold(&self, hold: Option<Hold>) {
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    fn hold(&self) -> Option<Hold> {
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a request waits for an instance, and how many may wait at a time.
    pub(super) fn waits(&self) -> (Duration, usize) {
        let own = (self.options.ready_wait, self.options.waiting_max);
        self.hold().map_or(own, |hold| (hold.timeout, hold.requests))
    }

    /// Requests that wait for a first instance.
    pub(super) fn held(&self) -> usize {
        if self.links.borrow().is_empty() { self.waiting.load(Ordering::Relaxed) } else { 0 }
    }

    /// Ends the taking in; connections end after the request that they are busy with.
    pub(super) fn close(&self) {
        self.closing.cancel();
        self.connections.close();
    }

    /// Finds an instance that is not in `tried`, waiting for one until `deadline` where none is ready.
    /// Where all that are ready have been tried, it waits for `pause` for another, then takes any.
    pub(super) async fn choose(
        &self,
        tried: &[SocketAddr],
        pause: Duration,
        deadline: Instant,
    ) -> Result<(Arc<Link>, Attempt), NoInstance> {
        let draw = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut rng = fastrand::Rng::with_seed(self.options.seed.wrapping_add(draw));
        if let Some(found) = choose(&self.links.borrow(), tried, &mut rng) {
            return Ok(found);
        }
        let (_, waiting_max) = self.waits();
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= waiting_max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(NoInstance::QueueFull);
        }
        let _place = Place(&self.waiting);
        if self.hold().is_some() {
            self.asked.notify_one();
        }
        let mut links = self.links.subscribe();
        let mut again_at = Instant::now() + pause;
        loop {
            let ready = Arc::clone(&links.borrow_and_update());
            if let Some(found) = choose(&ready, tried, &mut rng) {
                return Ok(found);
            }
            let until = if ready.is_empty() { deadline } else { again_at.min(deadline) };
            tokio::select! {
                _ = links.changed() => {}
                () = self.closing.cancelled() => return Err(NoInstance::Closing),
                () = tokio::time::sleep_until(until) => match choose(&ready, &[], &mut rng) {
                    Some(found) => return Ok(found),
                    None if until >= deadline => return Err(NoInstance::NotInTime),
                    // All of them were retired meanwhile; what follows will be told.
                    None => again_at = deadline,
                },
            }
        }
    }

    /// Takes connections in until the door is closed.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.connections.spawn(Arc::clone(&self).connection(stream, peer));
                }
                Err(error) => {
                    tracing::warn!(service = %self.workload, %error, "cannot take a connection in");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // A connection that ended already has no options to set; it shows at the first read.
        let _ = stream.set_nodelay(true);
        let stream = ClientStream::new(stream, self.options.idle_timeout);
        let door = Arc::clone(&self);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .serve_connection(
                stream,
                service_fn(move |request| {
                    let door = Arc::clone(&door);
                    async move {
                        Ok::<_, std::convert::Infallible>(forward::answer(door, request, peer.ip()).await)
                    }
                }),
            )
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(service = %self.workload, %peer, %error, "a client's connection broke off");
        }
    }
}

/// Opens an address on loopback.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Else the address could not be opened again while old connections linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(BACKLOG)
}
