//! The stable addresses of services, and the instances behind each.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};

use crate::domain::observation::Observed;
use crate::domain::task::{Task, TaskState};
use crate::domain::workload::{ServiceSpec, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::ports::front_door::{Backend, Hold, Route, RouteFailure};
use crate::scheduling::is_ready;

/// Addresses that are chosen for services without one of their own lie here: below the range that
/// Linux gives to outgoing connections (32768 and up), above the registered ones in common use.
const CHOSEN: std::ops::Range<u16> = 20_000..30_000;

/// Port numbers by service and port name, kept for the life of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrontDoorPorts {
    numbers: BTreeMap<WorkloadName, BTreeMap<String, u16>>,
}

impl FrontDoorPorts {
    /// The name of the document that the store keeps them in.
    pub const DOCUMENT: &'static str = "front-doors";

    /// Reads what `document` wrote; nothing where it is absent or cannot be read, since addresses can
    /// be chosen anew.
    pub fn read(document: Option<&[u8]>) -> Self {
        Self { numbers: document.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default() }
    }

    /// What is to be kept.
    pub fn document(&self) -> Vec<u8> {
        serde_json::to_vec(&self.numbers).unwrap_or_default()
    }

    /// The numbers.
    pub fn numbers(&self) -> &BTreeMap<WorkloadName, BTreeMap<String, u16>> {
        &self.numbers
    }

    /// Gives every port of every service a number: the declared one, the one that it had, or one
    /// derived from its name. Drops those of services that are gone. Tells whether anything changed.
    pub fn assign(&mut self, world: &World) -> bool {
        let mut next = BTreeMap::new();
        let mut used: BTreeSet<u16> =
            services(world).flat_map(|(_, spec)| &spec.ports).filter_map(|port| port.front_door).collect();
        for (name, spec) in services(world) {
            let mut ports = BTreeMap::new();
            for port in &spec.ports {
                let had = self.numbers.get(name).and_then(|ports| ports.get(&port.name)).copied();
                let number = port
                    .front_door
                    .or_else(|| had.filter(|number| !used.contains(number)))
                    .unwrap_or_else(|| free_after(derived(name, &port.name), &used));
                used.insert(number);
                ports.insert(port.name.clone(), number);
            }
            if !ports.is_empty() {
                next.insert(name.clone(), ports);
            }
        }
        let changed = next != self.numbers;
        self.numbers = next;
        changed
    }

    /// A chosen number turned out to be in use by somebody else: takes the next one. False where the
    /// owner declared the number, which nobody may change.
    pub fn taken(&mut self, world: &World, failure: &RouteFailure) -> bool {
        let declared = services(world).flat_map(|(_, spec)| &spec.ports);
        let declared: BTreeSet<u16> = declared.filter_map(|port| port.front_door).collect();
        if declared.contains(&failure.listen) {
            return false;
        }
        let used: BTreeSet<u16> = self.numbers.values().flat_map(BTreeMap::values).copied().collect();
        let ports = self.numbers.get_mut(&failure.workload);
        let number = ports.and_then(|ports| ports.values_mut().find(|number| **number == failure.listen));
        if let Some(number) = number {
            *number = free_after(failure.listen, &used);
            return true;
        }
        false
    }

    /// The routes to be set: an instance gets requests while it runs and is ready, unless a rollout has
    /// not switched to it yet or has switched away from it; one that retires finishes those that it has.
    pub fn routes(&self, world: &World, observed: &Observed) -> Vec<Route> {
        let mut routes = Vec::new();
        for (workload, ports) in &self.numbers {
            for (port, listen) in ports {
                let backends = world
                    .tasks_of(workload)
                    .filter_map(|task| backend(world, task, port, observed))
                    .collect();
                routes.push(Route {
                    workload: workload.clone(),
                    port: port.clone(),
                    listen: *listen,
                    backends,
                    hold: world.workloads.get(workload).and_then(|workload| hold(world, workload)),
                });
            }
        }
        routes
    }
}

fn services(world: &World) -> impl Iterator<Item = (&WorkloadName, &ServiceSpec)> {
    world
        .workloads
        .iter()
        .filter(|(_, workload)| !workload.deleted)
        .filter_map(|(name, workload)| Some((name, workload.spec.as_service()?)))
}

fn backend(world: &World, task: &Task, port: &str, observed: &Observed) -> Option<Backend> {
    let number = *task.ports.get(port)?;
    match task.state {
        TaskState::Running | TaskState::Retiring => Some(Backend {
            task: task.id.clone(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, number)),
            accepts: is_ready(task, observed.tasks.get(&task.id))
                && world.workloads.get(task.workload()).is_none_or(|workload| workload.takes_traffic(task)),
        }),
        _ => None,
    }
}

/// How requests are held for a service that may have no instances at all. One that somebody stopped is not
/// woken by requests, so they are not kept waiting for it.
fn hold(world: &World, workload: &Workload) -> Option<Hold> {
    let scale = workload.spec.as_service()?.scale.as_ref()?;
    if !scale.reaches_zero() || world.stopped_by_hand(workload) {
        return None;
    }
    let timeout = scale.zero.hold_timeout.unsigned_abs();
    Some(Hold { timeout, requests: usize::try_from(scale.zero.hold_requests).unwrap_or(usize::MAX) })
}

/// The same service gets the same address on every machine, unless it is taken.
fn derived(workload: &WorkloadName, port: &str) -> u16 {
    let mut hasher = DefaultHasher::new();
    (workload.as_str(), port).hash(&mut hasher);
    let span = u64::from(CHOSEN.end - CHOSEN.start);
    CHOSEN.start + u16::try_from(hasher.finish() % span).unwrap_or(0)
}

fn free_after(first: u16, used: &BTreeSet<u16>) -> u16 {
    let mut number = first;
    while used.contains(&number) || !CHOSEN.contains(&number) {
        number = if number >= CHOSEN.end - 1 { CHOSEN.start } else { number + 1 };
    }
    number
}
