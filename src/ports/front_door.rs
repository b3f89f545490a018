//! The stable addresses of services: where requests come in, and what is counted of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::load::LoadReading;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

/// An instance behind a front door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The instance.
    pub task: TaskId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it gets new requests; otherwise it finishes those that it has.
    pub accepts: bool,
}

/// How requests are held at an address whose service may have no instances at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How long one is held for an instance.
    pub timeout: Duration,
    /// So many are held at a time.
    pub requests: usize,
}

/// One port of a service with its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The service.
    pub workload: WorkloadName,
    /// The port's name.
    pub port: String,
    /// The stable address on loopback.
    pub listen: u16,
    /// The instances.
    pub backends: Vec<Backend>,
    /// How requests are held while there is none; as the front door does by itself where absent.
    pub hold: Option<Hold>,
}

/// An address that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFailure {
    /// The service.
    pub workload: WorkloadName,
    /// The address.
    pub listen: u16,
    /// Why.
    pub message: String,
}

/// Opens stable addresses and balances requests over ready instances.
#[async_trait]
pub trait FrontDoor: Send + Sync {
    /// Makes the routes what is given: opens, closes and changes what differs. Calls with the same
    /// routes change nothing. What cannot be opened is reported and tried again at the next call.
    async fn route(&self, routes: Vec<Route>) -> Vec<RouteFailure>;

    /// The counters so far, per service and instance.
    fn load(&self) -> Vec<LoadReading>;

    /// Requests that an instance has not answered yet, over all its ports.
    fn in_flight(&self, task: &TaskId) -> u64;

    /// Requests that wait for a first instance, by service, where there are any.
    fn held(&self) -> BTreeMap<WorkloadName, u64>;

    /// Returns when a request has begun to wait at an address that holds requests.
    async fn asked(&self);

    /// Returns when a backend that gets no new requests has answered its last one.
    async fn drained(&self);
}
