//! Karpenter with its defaults, as its code has them.
//!
//! Growth: waiting tasks, by CPU and then memory, go to nodes that are there or come, then to new nodes,
//! each of which keeps all types open that still take everything on it; in the end it becomes the cheapest
//! of these. Consolidation (`WhenEmptyOrUnderutilized`): empty nodes go at once; else the most of the first
//! 100 candidates that can go together for at most one cheaper new node, found by a binary search; else a
//! single node that can go, or be replaced by one cheaper node. What was found is looked at again 15
//! seconds later and carried out if it still holds; a replacement takes tasks before what it replaces is
//! drained. At most 10 % of the nodes are disrupted at once.
//! Not here: spot, drift, expiry, `minValues`, none of which the simulation has.

use jiff::{SignedDuration, Timestamp};

use crate::domain::money::MicroCents;
use crate::domain::node::{Node, NodeName, NodeState};
use crate::domain::plan::Step;
use crate::domain::quantity::Resources;
use crate::simulation::policies::packing::{by_cpu, first_fit};
use crate::simulation::policy::{ClusterPolicy, Sight, give_up, grow};

/// `consolidationTTL`: what was found must still hold so much later.
const VALIDATION: SignedDuration = SignedDuration::from_secs(15);
/// `budgets`: the share of nodes that may be disrupted at once.
const BUDGET: f64 = 0.1;
/// `MaxParallelConsolidation`
const TOGETHER: usize = 100;
/// Single nodes looked at in one go: the three minutes that Karpenter gives it are as many at the 0.9 s
/// that one takes it.
const SINGLES: usize = 200;

/// What is to be done about nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Command {
    nodes: Vec<NodeName>,
    /// The type of the node in their place.
    instead: Option<usize>,
}

/// Where a command stands.
#[derive(Debug, Clone)]
enum Stage {
    /// Found at an instant.
    Found(Command, Timestamp),
    /// The node in the place of others was asked for.
    Awaits(Command, NodeName),
}

/// The policy with what it is about to do.
#[derive(Debug, Default)]
pub struct Karpenter {
    stage: Option<Stage>,
    /// Where the next look at single nodes begins.
    single: usize,
}

impl ClusterPolicy for Karpenter {
    fn name(&self) -> &'static str {
        "karpenter"
    }

    fn decide(&mut self, sight: &Sight<'_>) -> Vec<Step> {
        let mut steps = growth(sight);
        // Consolidation waits for waiting tasks, as the cluster's state is about to change.
        if steps.is_empty() && sight.wanted().is_empty() {
            steps.extend(self.consolidate(sight));
        }
        steps
    }
}

/// A node that is not there yet: what is on it, and the types that take that.
struct Claim {
    used: Resources,
    types: Vec<usize>,
}

fn growth(sight: &Sight<'_>) -> Vec<Step> {
    let mut wanted = sight.wanted();
    if wanted.is_empty() {
        return Vec::new();
    }
    by_cpu(&mut wanted);
    let mut bins: Vec<Resources> = sight.ready().map(|node| sight.free(node)).collect();
    for (machine, count) in sight.on_their_way().into_iter().enumerate() {
        bins.extend(std::iter::repeat_n(sight.machines[machine].size, count));
    }
    let left = first_fit(&wanted, &mut bins, |_, _| false);
    let mut counts = vec![0_u32; sight.machines.len()];
    for claim in claims(sight, &left) {
        if let Some(machine) = cheapest(sight, &claim.types) {
            counts[machine] += 1;
        }
    }
    let grown = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
    grown
        .filter_map(|(machine, count)| {
            Some(grow(sight.pool(machine)?, count, "tasks found no node: the cheapest type that takes them"))
        })
        .collect()
}

fn claims(sight: &Sight<'_>, requests: &[Resources]) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::new();
    let mut last: Option<(Resources, usize)> = None;
    for request in requests {
        let from = last.filter(|(before, _)| before == request).map_or(0, |(_, claim)| claim);
        let found = claims[from..].iter_mut().position(|claim| claim.take(sight, *request));
        let place = if let Some(place) = found {
            place + from
        } else {
            let mut claim = Claim::empty(sight);
            if claim.take(sight, *request) {
                claims.push(claim);
            }
            claims.len().saturating_sub(1)
        };
        last = Some((*request, place));
    }
    claims
}

impl Claim {
    fn empty(sight: &Sight<'_>) -> Self {
        Self { used: Resources::ZERO, types: (0..sight.machines.len()).collect() }
    }

    fn take(&mut self, sight: &Sight<'_>, request: Resources) -> bool {
        let used = self.used + request;
        let takes = |machine: &usize| used.fits(sight.machines[*machine].size);
        if !self.types.iter().any(takes) {
            return false;
        }
        self.types.retain(takes);
        self.used = used;
        true
    }
}

fn cheapest(sight: &Sight<'_>, types: &[usize]) -> Option<usize> {
    let room = |machine: &usize| sight.pool(*machine).is_some_and(|pool| pool.target < pool.spec.max);
    types.iter().copied().filter(room).min_by_key(|machine| sight.machines[*machine].price)
}

/// Nodes that may be disrupted, those with fewest tasks first.
fn candidates<'a>(sight: &Sight<'a>) -> Vec<&'a Node> {
    let tasks = |node: &&Node| sight.loads.get(&node.name).map_or(0, |load| load.tasks.len());
    let may = |node: &&Node| sight.loads.get(&node.name).is_none_or(|load| load.runs == 0);
    let mut nodes: Vec<&Node> = sight.ready().filter(may).collect();
    nodes.sort_by_key(tasks);
    nodes
}

/// How many nodes may still be disrupted.
fn budget(sight: &Sight<'_>) -> usize {
    let leaving = sight.world.nodes.values().filter(|node| Sight::is_leaving(node)).count();
    let all = sight.world.nodes.values().filter(|node| node.state != NodeState::Lost).count();
    ((all as f64 * BUDGET).ceil() as usize).saturating_sub(leaving)
}

impl Karpenter {
    fn consolidate(&mut self, sight: &Sight<'_>) -> Vec<Step> {
        match self.stage.take() {
            Some(Stage::Awaits(command, name)) => self.replace(sight, command, name),
            Some(Stage::Found(command, at)) if sight.now.duration_since(at) < VALIDATION => {
                self.stage = Some(Stage::Found(command, at));
                Vec::new()
            }
            Some(Stage::Found(command, _)) => self.carry_out(sight, command),
            None => {
                self.stage = self.find(sight).map(|command| Stage::Found(command, sight.now));
                Vec::new()
            }
        }
    }

    /// Looks at a command again, and begins it if it still holds.
    fn carry_out(&mut self, sight: &Sight<'_>, command: Command) -> Vec<Step> {
        let nodes: Vec<&Node> =
            candidates(sight).into_iter().filter(|node| command.nodes.contains(&node.name)).collect();
        if nodes.len() < command.nodes.len() || nodes.len() > budget(sight) {
            return Vec::new();
        }
        let Some(again) = try_without(sight, &nodes) else { return Vec::new() };
        let instead = again.instead();
        let Some(machine) = instead else {
            return give_up(sight.world, &command.nodes, "its tasks fit elsewhere");
        };
        // It was to go for nothing, and something came in between.
        let Some(pool) = sight.pool(machine).filter(|_| command.instead.is_some()) else { return Vec::new() };
        let Ok(name) = NodeName::new(&format!("{}-{}", pool.name, pool.next_node)) else { return Vec::new() };
        self.stage = Some(Stage::Awaits(Command { instead, ..command }, name));
        vec![grow(pool, 1, "one cheaper node in the place of others")]
    }

    /// Drains what is replaced once the replacement takes tasks.
    fn replace(&mut self, sight: &Sight<'_>, command: Command, name: NodeName) -> Vec<Step> {
        match sight.world.nodes.get(&name).map(|node| node.state) {
            Some(NodeState::Joining) => {
                self.stage = Some(Stage::Awaits(command, name));
                Vec::new()
            }
            Some(NodeState::Ready) => {
                let ready = |node: &&NodeName| {
                    sight.world.nodes.get(*node).is_some_and(|node| node.state == NodeState::Ready)
                };
                give_up(sight.world, command.nodes.iter().filter(ready), "a cheaper node takes its tasks")
            }
            // It did not come: the command is dropped.
            _ => Vec::new(),
        }
    }

    fn find(&mut self, sight: &Sight<'_>) -> Option<Command> {
        let may = budget(sight);
        let nodes = candidates(sight);
        if may == 0 || nodes.is_empty() {
            return None;
        }
        let empty = nodes.iter().filter(|node| !sight.loads.contains_key(&node.name));
        let empty: Vec<NodeName> = empty.take(may).map(|node| node.name.clone()).collect();
        if !empty.is_empty() {
            return Some(Command { nodes: empty, instead: None });
        }
        several(sight, &nodes[..nodes.len().min(TOGETHER).min(may)]).or_else(|| self.single(sight, &nodes))
    }

    fn single(&mut self, sight: &Sight<'_>, nodes: &[&Node]) -> Option<Command> {
        for _ in 0..SINGLES.min(nodes.len()) {
            self.single = (self.single + 1) % nodes.len();
            let node = nodes[self.single];
            if let Some(without) = try_without(sight, &[node]) {
                return Some(Command { nodes: vec![node.name.clone()], instead: without.instead() });
            }
        }
        None
    }
}

/// The most nodes from the first on that can go together.
fn several(sight: &Sight<'_>, nodes: &[&Node]) -> Option<Command> {
    let (mut low, mut high) = (1, nodes.len());
    let mut best = None;
    while low <= high {
        let middle = usize::midpoint(low, high);
        match try_without(sight, &nodes[..middle]) {
            Some(without) if middle > 1 => {
                let nodes = nodes[..middle].iter().map(|node| node.name.clone()).collect();
                best = Some(Command { nodes, instead: without.instead() });
                low = middle + 1;
            }
            Some(_) => low = middle + 1,
            None => high = middle - 1,
        }
    }
    best
}

/// What it takes that nodes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// Their tasks fit on the others.
    Nothing,
    /// A node of this type, which is cheaper.
    One(usize),
}

impl Without {
    fn instead(self) -> Option<usize> {
        if let Self::One(machine) = self { Some(machine) } else { None }
    }
}

/// Whether nodes can go, and what that takes.
fn try_without(sight: &Sight<'_>, nodes: &[&Node]) -> Option<Without> {
    let goes = |node: &Node| nodes.iter().any(|other| other.name == node.name);
    let mut bins: Vec<Resources> =
        sight.ready().filter(|node| !goes(node)).map(|node| sight.free(node)).collect();
    let tasks = nodes.iter().filter_map(|node| sight.loads.get(&node.name)).flat_map(|load| &load.tasks);
    let mut requests: Vec<Resources> =
        tasks.filter_map(|id| sight.world.tasks.get(id)).map(|task| task.size.request).collect();
    by_cpu(&mut requests);
    let left = first_fit(&requests, &mut bins, |_, _| false);
    if left.is_empty() {
        return Some(Without::Nothing);
    }
    let mut claim = Claim::empty(sight);
    if !left.into_iter().all(|request| claim.take(sight, request)) {
        return None;
    }
    let types = nodes.iter().filter_map(|node| sight.machine_of(node));
    let price: MicroCents = types.map(|machine| sight.machines[machine].price).sum();
    let machine = cheapest(sight, &claim.types)?;
    (sight.machines[machine].price < price).then_some(Without::One(machine))
}
