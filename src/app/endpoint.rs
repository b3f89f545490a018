//! Where the engine listens: the agent's endpoint, and how any address is opened.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use jiff::SignedDuration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::adapters::prometheus::exposition;
use crate::agent::sampler;
use crate::app::clusters::AnyCluster;
use crate::app::loops::Loops;
use crate::domain::usage::AgentReading;

/// Connections that wait to be accepted.
const WAITING_CALLERS_MAX: u32 = 4096;

/// The agent's endpoint.
pub(super) struct Agent {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Agent {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Samples the cluster and serves the newest reading as Prometheus text.
    pub(super) fn serve(self, cluster: &Arc<dyn AnyCluster>, interval: SignedDuration, loops: &mut Loops) {
        let (publish, newest) = watch::channel(AgentReading::default());
        let source = Arc::clone(cluster);
        loops.spawn(sampler::run(source, interval.unsigned_abs(), publish, loops.shutdown()));
        let text = move || {
            let newest = newest.clone();
            async move { ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], exposition::encode(&newest.borrow())) }
        };
        let router = axum::Router::new().route("/metrics", get(text));
        loops.serve("the agent's endpoint", self.listener, router);
    }
}

/// A caller that comes in a crowd waits in line; one that the line has no room for tries again after a
/// second.
pub(super) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(WAITING_CALLERS_MAX)
    };
    open().with_context(|| format!("cannot listen on {address}"))
}
