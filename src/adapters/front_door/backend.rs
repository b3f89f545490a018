//! An instance as one route sees it, and which of them gets the next request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::http::uri::Authority;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::adapters::front_door::FrontDoorOptions;
use crate::adapters::front_door::body::RequestBody;
use crate::adapters::front_door::counters::{Attempt, Instance};
use crate::domain::task::TaskId;

/// Idle connections kept to one instance. More are opened when needed and closed after use.
const IDLE_CONNECTIONS_MAX: usize = 256;

/// An instance behind one route, with its connections. They are closed when the last user drops it.
#[derive(Debug)]
pub(super) struct Link {
    /// The instance's name.
    pub(super) task: TaskId,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The same as part of a URI.
    pub(super) authority: Authority,
    /// Sends requests to it.
    pub(super) client: Client<HttpConnector, RequestBody>,
    /// Its counters, shared with its other ports.
    pub(super) instance: Arc<Instance>,
    accepts: AtomicBool,
}

impl Link {
    /// A link without connections so far, which gets no requests yet.
    pub(super) fn new(
        task: TaskId,
        address: SocketAddr,
        instance: Arc<Instance>,
        options: &FrontDoorOptions,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.backend_idle)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .retry_canceled_requests(true)
            .build(connector);
        let authority =
            Authority::try_from(address.to_string()).expect("an address is an authority (RFC 3986, 3.2)");
        Self { task, address, authority, client, instance, accepts: AtomicBool::new(false) }
    }

    /// Says whether it gets new requests.
    pub(super) fn set_accepts(&self, accepts: bool) {
        self.accepts.store(accepts, Ordering::SeqCst);
    }

    /// Whether it gets new requests.
    pub(super) fn accepts(&self) -> bool {
        self.accepts.load(Ordering::SeqCst)
    }

    /// Gives it a request, unless it has been retired since it was chosen. The count goes up before
    /// the flag is read: see `Instance::enter`.
    fn begin(&self) -> Option<Attempt> {
        self.instance.enter();
        if self.accepts() {
            Some(Attempt::entered(Arc::clone(&self.instance)))
        } else {
            self.instance.leave();
            None
        }
    }
}

/// Chooses an instance that is not in `tried` and gives it the request: the less busy of two taken at
/// random (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001).
/// It spreads nearly as well as asking all of them, and a burst does not fall on one idle instance.
pub(super) fn choose(
    links: &[Arc<Link>],
    tried: &[SocketAddr],
    rng: &mut fastrand::Rng,
) -> Option<(Arc<Link>, Attempt)> {
    let fresh = |link: &&Arc<Link>| link.accepts() && !tried.contains(&link.address);
    // The usual case takes no allocation: nothing tried, all of them accepting.
    let count = links.iter().filter(fresh).count();
    let nth = |n: usize| links.iter().filter(fresh).nth(n);
    let chosen = match count {
        0 => return None,
        1 => nth(0)?,
        _ => {
            let first = rng.usize(..count);
            let second = (first + rng.usize(1..count)) % count;
            let (first, second) = (nth(first)?, nth(second)?);
            if second.instance.in_flight() < first.instance.in_flight() { second } else { first }
        }
    };
    if let Some(attempt) = chosen.begin() {
        return Some((Arc::clone(chosen), attempt));
    }
    // It was retired this very moment: any other will do.
    links.iter().filter(fresh).find_map(|link| Some((Arc::clone(link), link.begin()?)))
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::domain::workload::WorkloadName;

    fn links(count: u16) -> Vec<Arc<Link>> {
        let options = FrontDoorOptions::default();
        (1..=count)
            .map(|n| {
                let task = TaskId::new(WorkloadName::new("web").expect("a name"), u64::from(n));
                let instance = Arc::new(Instance::new(Arc::new(Notify::new())));
                let link = Link::new(task, SocketAddr::from(([127, 0, 0, 1], n)), instance, &options);
                link.set_accepts(true);
                Arc::new(link)
            })
            .collect()
    }

    #[tokio::test]
    async fn requests_that_stay_open_spread_evenly() {
        let links = links(5);
        let mut rng = fastrand::Rng::with_seed(7);
        let open: Vec<_> = (0..500).map(|_| choose(&links, &[], &mut rng).expect("an instance").1).collect();
        let busy: Vec<u64> = links.iter().map(|link| link.instance.in_flight()).collect();
        assert_eq!(open.len(), 500);
        assert!(busy.iter().all(|n| (97..=103).contains(n)), "{busy:?}");
    }

    #[tokio::test]
    async fn a_retired_or_tried_instance_is_not_chosen() {
        let links = links(3);
        links[0].set_accepts(false);
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20 {
            let (link, _) = choose(&links, &[links[1].address], &mut rng).expect("the third");
            assert_eq!(link.address, links[2].address);
        }
        assert!(choose(&links, &[links[1].address, links[2].address], &mut rng).is_none());
        assert_eq!(links[0].instance.in_flight(), 0);
    }
}
