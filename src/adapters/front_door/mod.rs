//! The front door: a stable address on loopback for each port of a service, requests balanced over
//! ready instances, and the counts that scaling starts from.
//! Not here: which instances are ready or retired; the scheduler decides that and says so in routes.

mod backend;
mod body;
mod client_stream;
mod counters;
mod door;
mod forward;
mod headers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::adapters::front_door::backend::Link;
use crate::adapters::front_door::counters::{Counters, Instance};
use crate::adapters::front_door::door::Door;
use crate::domain::load::LoadReading;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;
use crate::ports::clock::Clock;
use crate::ports::front_door::{Backend, FrontDoor, Route, RouteFailure};

/// An instance on loopback that does not take a connection in this time is busy beyond hope.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// From one request to the end of the next one's headers on a client's connection; also how long an
/// idle connection is kept.
pub const HEADER_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest silence of an instance before or within an answer, of a client within a body, and longest
/// time in which a client takes nothing of its answer.
pub const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// Idle connections to instances are closed after this. Shorter than the keep-alive time of common
/// servers (gunicorn 2 s, Node.js and uvicorn 5 s): who closes first decides whether a request is lost.
pub const BACKEND_IDLE: Duration = Duration::from_millis(1500);
/// How long a request waits for an instance to become ready.
pub const READY_WAIT: Duration = Duration::from_secs(5);
/// Requests of one address that may wait so.
pub const WAITING_MAX: usize = 1024;
/// Where every ready instance has failed a request and refuses connections: how long the request waits
/// for another one.
pub const FAILOVER_PAUSE: Duration = Duration::from_millis(250);

/// Limits and the seed. The default holds the constants of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontDoorOptions {
    /// Decides which instances are drawn.
    pub seed: u64,
    /// See `CONNECT_TIMEOUT`.
    pub connect_timeout: Duration,
    /// See `HEADER_TIMEOUT`.
    pub header_timeout: Duration,
    /// See `IDLE_TIMEOUT`.
    pub idle_timeout: Duration,
    /// See `BACKEND_IDLE`.
    pub backend_idle: Duration,
    /// See `READY_WAIT`.
    pub ready_wait: Duration,
    /// See `WAITING_MAX`.
    pub waiting_max: usize,
    /// See `FAILOVER_PAUSE`.
    pub failover_pause: Duration,
}

impl Default for FrontDoorOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            connect_timeout: CONNECT_TIMEOUT,
            header_timeout: HEADER_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            backend_idle: BACKEND_IDLE,
            ready_wait: READY_WAIT,
            waiting_max: WAITING_MAX,
            failover_pause: FAILOVER_PAUSE,
        }
    }
}

/// A service and the port that a route is for.
type RouteKey = (WorkloadName, String);

/// An address that is open, or is to be opened as soon as it is free.
#[derive(Debug)]
struct OpenRoute {
    listen: u16,
    door: Arc<Door>,
    serving: JoinHandle<()>,
    links: BTreeMap<TaskId, Arc<Link>>,
}

/// What is counted, for readers that must not wait for a change of routes.
#[derive(Debug, Default)]
struct Ledger {
    services: BTreeMap<WorkloadName, Arc<Counters>>,
    instances: BTreeMap<TaskId, Arc<Instance>>,
    /// Instances that no route names any more but that have requests to finish.
    leaving: BTreeMap<TaskId, Arc<Instance>>,
}

/// Opens stable addresses on loopback with hyper.
pub struct FrontDoorServer {
    clock: Arc<dyn Clock>,
    options: Arc<FrontDoorOptions>,
    routes: tokio::sync::Mutex<BTreeMap<RouteKey, OpenRoute>>,
    ledger: Mutex<Ledger>,
    /// The open addresses, for readers that must not wait for a change of routes.
    doors: Mutex<Vec<Arc<Door>>>,
    drained: Arc<Notify>,
    asked: Arc<Notify>,
}

impl FrontDoorServer {
    /// A front door without addresses so far.
    pub fn new(clock: Arc<dyn Clock>, options: FrontDoorOptions) -> Self {
        Self {
            clock,
            options: Arc::new(options),
            routes: tokio::sync::Mutex::default(),
            ledger: Mutex::default(),
            doors: Mutex::default(),
            drained: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// Closes every address and waits up to `grace` for the requests that are under way.
    pub async fn close(&self, grace: Duration) {
        let closed: Vec<OpenRoute> = std::mem::take(&mut *self.routes.lock().await).into_values().collect();
        for route in &closed {
            route.door.close();
        }
        let all_ended = async {
            for route in &closed {
                route.door.connections.wait().await;
            }
        };
        // Those that are not done by then end with the runtime.
        let _ = tokio::time::timeout(grace, all_ended).await;
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, route: &Route) -> Result<OpenRoute, RouteFailure> {
        let listener = door::listen(route.listen).map_err(|error| RouteFailure {
            workload: route.workload.clone(),
            listen: route.listen,
            message: format!("cannot listen on 127.0.0.1:{}: {error}", route.listen),
        })?;
        let counters = Arc::clone(self.ledger().services.entry(route.workload.clone()).or_default());
        let door = Arc::new(Door::new(
            route.workload.clone(),
            counters,
            Arc::clone(&self.options),
            Arc::clone(&self.asked),
        ));
        let serving = tokio::spawn(Arc::clone(&door).serve(listener));
        Ok(OpenRoute { listen: route.listen, door, serving, links: BTreeMap::new() })
    }

    fn instance(&self, task: &TaskId) -> Arc<Instance> {
        let mut ledger = self.ledger();
        // One that left and came back has its open requests still.
        let known = ledger.leaving.remove(task);
        let new = || known.unwrap_or_else(|| Arc::new(Instance::new(Arc::clone(&self.drained))));
        Arc::clone(ledger.instances.entry(task.clone()).or_insert_with(new))
    }

    fn set_backends(&self, open: &mut OpenRoute, backends: &[Backend]) {
        let before = std::mem::take(&mut open.links);
        for backend in backends {
            let same = |link: &&Arc<Link>| link.address == backend.address;
            let kept = before.get(&backend.task).filter(same).cloned();
            let link = kept.unwrap_or_else(|| {
                let instance = self.instance(&backend.task);
                Arc::new(Link::new(backend.task.clone(), backend.address, instance, &self.options))
            });
            open.links.insert(backend.task.clone(), link);
        }
        let accepting: BTreeSet<&TaskId> =
            backends.iter().filter(|backend| backend.accepts).map(|backend| &backend.task).collect();
        let (ready, retired): (Vec<&Arc<Link>>, Vec<&Arc<Link>>) =
            open.links.values().partition(|link| accepting.contains(&link.task));
        // New ones first, then the old ones go: there is no moment without an instance in between.
        for link in &ready {
            link.set_accepts(true);
        }
        open.door.set_links(ready.into_iter().cloned().collect());
        for link in retired {
            link.set_accepts(false);
        }
        for (task, link) in &before {
            if !open.links.get(task).is_some_and(|kept| Arc::ptr_eq(kept, link)) {
                link.set_accepts(false);
            }
        }
    }

    /// Says which instances are retired, and folds those that no route names any more.
    fn settle(&self, routes: &BTreeMap<RouteKey, OpenRoute>) {
        let links = || routes.values().flat_map(|route| route.links.values());
        let accepting: BTreeSet<&TaskId> =
            links().filter(|link| link.accepts()).map(|link| &link.task).collect();
        let named: BTreeSet<&TaskId> = links().map(|link| &link.task).collect();
        let mut ledger = self.ledger();
        let Ledger { services, instances, leaving } = &mut *ledger;
        for (task, instance) in instances.iter() {
            instance.set_retired(!accepting.contains(task));
        }
        leaving.extend(instances.extract_if(.., |task, _| !named.contains(task)));
        leaving.retain(|_, instance| instance.in_flight() > 0);
        services.retain(|service, _| routes.keys().any(|(workload, _)| workload == service));
    }
}

impl Drop for FrontDoorServer {
    /// Else the addresses would stay open as long as the runtime runs.
    fn drop(&mut self) {
        for route in self.routes.get_mut().values() {
            route.door.close();
        }
    }
}

#[async_trait]
impl FrontDoor for FrontDoorServer {
    async fn route(&self, wanted: Vec<Route>) -> Vec<RouteFailure> {
        let mut routes = self.routes.lock().await;
        let key = |route: &Route| (route.workload.clone(), route.port.clone());
        let stays: BTreeMap<RouteKey, u16> = wanted.iter().map(|r| (key(r), r.listen)).collect();
        // First all that close, so that an address can pass from one service to another.
        for (_, gone) in routes.extract_if(.., |key, open| stays.get(key) != Some(&open.listen)) {
            for link in gone.links.values() {
                link.set_accepts(false);
            }
            gone.door.close();
            // The address is free once this task has dropped its listener; connections go on.
            let _ = gone.serving.await;
        }
        let mut failures = Vec::new();
        for route in wanted {
            let open = match routes.entry(key(&route)) {
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => match self.open(&route) {
                    Ok(open) => place.insert(open),
                    Err(failure) => {
                        failures.push(failure);
                        continue;
                    }
                },
            };
            open.door.set_hold(route.hold);
            self.set_backends(open, &route.backends);
        }
        self.settle(&routes);
        let doors = routes.values().map(|open| Arc::clone(&open.door)).collect();
        *self.doors.lock().unwrap_or_else(PoisonError::into_inner) = doors;
        failures
    }

    fn load(&self) -> Vec<LoadReading> {
        let at = self.clock.now();
        let ledger = self.ledger();
        let reading = |(workload, counters): (&WorkloadName, &Arc<Counters>)| LoadReading {
            workload: workload.clone(),
            at,
            total: counters.read(),
            instances: ledger
                .instances
                .iter()
                .filter(|(task, _)| task.workload() == workload)
                .map(|(task, instance)| (task.clone(), instance.counters.read()))
                .collect(),
        };
        ledger.services.iter().map(reading).collect()
    }

    fn in_flight(&self, task: &TaskId) -> u64 {
        let ledger = self.ledger();
        let known = ledger.instances.get(task).or_else(|| ledger.leaving.get(task));
        known.map_or(0, |instance| instance.in_flight())
    }

    fn held(&self) -> BTreeMap<WorkloadName, u64> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = BTreeMap::new();
        for door in doors.iter() {
            let waiting = door.held();
            if waiting > 0 {
                *held.entry(door.workload.clone()).or_default() += waiting as u64;
            }
        }
        held
    }

    async fn asked(&self) {
        self.asked.notified().await;
    }

    async fn drained(&self) {
        self.drained.notified().await;
    }
}
