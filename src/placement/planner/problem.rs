//! A request made ready for packing: tasks that cannot be told apart are one kind, amounts are plain vectors,
//! conditions are worked out once for each set of them, and types that another one beats in everything are
//! left out.
//!
//! Amounts are whole numbers kept as reals, which are exact up to 2^53 (9 million cores, 8 PiB), so that the
//! same numbers serve the linear programme.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::node_type::Capacity;
use crate::domain::placement::{BY_NODE, Constraint};
use crate::domain::workload::WorkloadName;
use crate::placement::fit::{Owner, admits, meets};
use crate::placement::planner::request::{Request, TaskGroup, Unplaced, Why};
use crate::placement::planner::zoning::{Part, divide};

/// CPU, memory, and up to two more resources.
pub(super) const DIMS: usize = 4;
/// How many resources there can be beside CPU and memory.
pub const EXTRAS_MAX: usize = DIMS - 2;
/// Millicores, bytes, and numbers of other things.
pub(super) type Vector = [f64; DIMS];
/// The workload of tasks that no rule is about.
pub(super) const NOBODY: u32 = u32::MAX;

/// Whether all of it fits.
pub(super) fn fits(need: &Vector, free: &Vector) -> bool {
    need.iter().zip(free).all(|(need, free)| need <= free)
}

/// Tasks that cannot be told apart.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) need: Vector,
    pub(super) count: u32,
    pub(super) class: u32,
    pub(super) workload: u32,
    pub(super) priority: i32,
    /// Whose they are: indices of the request's groups.
    pub(super) sources: Vec<(usize, u32)>,
}

/// Nodes that can be had.
#[derive(Debug, Clone)]
pub(super) struct Lot {
    pub(super) capacity: Vector,
    pub(super) price: f64,
    pub(super) limit: u32,
    pub(super) offer: usize,
}

/// A node that is there.
#[derive(Debug, Clone)]
pub(super) struct Berth {
    pub(super) capacity: Vector,
    pub(super) free: Vector,
    /// Workloads with rules and how many of their tasks are there.
    pub(super) residents: Vec<(u32, u32)>,
}

/// Where tasks with the same conditions may go, whatever their size.
#[derive(Debug, Clone, Default)]
pub(super) struct Class {
    pub(super) lots: Vec<bool>,
    pub(super) berths: Vec<bool>,
}

/// A request made ready.
#[derive(Debug, Clone, Default)]
pub(super) struct Problem {
    pub(super) kinds: Vec<Kind>,
    pub(super) lots: Vec<Lot>,
    pub(super) berths: Vec<Berth>,
    pub(super) classes: Vec<Class>,
    /// For each workload with rules: how many of its tasks one node takes.
    pub(super) per_node: Vec<u32>,
    /// For each workload with rules: those that it shares no node with.
    pub(super) clashes: Vec<Vec<u32>>,
    /// What no plan could place.
    pub(super) refused: Vec<Unplaced>,
}

impl Problem {
    /// Whether nodes of a lot take tasks of a kind, with nothing else on them.
    pub(super) fn takes(&self, lot: usize, kind: &Kind) -> bool {
        self.classes[kind.class as usize].lots[lot] && fits(&kind.need, &self.lots[lot].capacity)
    }

    /// How many tasks of a kind one node takes by rules about its neighbours.
    pub(super) fn most(&self, kind: &Kind) -> u32 {
        if kind.workload == NOBODY { u32::MAX } else { self.per_node[kind.workload as usize] }
    }

    /// Whether some lot has a limit.
    pub(super) fn is_limited(&self) -> bool {
        self.lots.iter().any(|lot| lot.limit != u32::MAX)
    }
}

/// Names of resources beside CPU and memory, in their order in vectors.
fn extras(request: &Request) -> Vec<&str> {
    let needs = request.tasks.iter().flat_map(|group| group.need.extra.iter());
    let wanted: BTreeSet<&str> =
        needs.filter(|(_, amount)| **amount > 0).map(|(name, _)| name.as_str()).collect();
    wanted.into_iter().collect()
}

fn vector(capacity: &Capacity, extras: &[&str]) -> Vector {
    let mut vector = [0.0; DIMS];
    vector[0] = capacity.base.cpu.get() as f64;
    vector[1] = capacity.base.memory.get() as f64;
    for (cell, name) in vector[2..].iter_mut().zip(extras) {
        *cell = capacity.extra.get(*name).copied().unwrap_or(0) as f64;
    }
    vector
}

/// The rules about single nodes.
#[derive(Default)]
struct NodeRules<'a> {
    ids: BTreeMap<&'a WorkloadName, u32>,
    per_node: Vec<u32>,
    clashes: Vec<BTreeSet<u32>>,
}

impl<'a> NodeRules<'a> {
    fn of(request: &'a Request) -> Self {
        let mut rules = Self::default();
        for group in &request.tasks {
            for rule in group.placement.anti_affinity.iter().filter(|r| r.required && r.by == BY_NODE) {
                let (own, other) = (rules.id(&group.workload), rules.id(&rule.workload));
                if own == other {
                    rules.per_node[own as usize] = 1;
                } else {
                    rules.clashes[own as usize].insert(other);
                    rules.clashes[other as usize].insert(own);
                }
            }
            if let Some(spread) = group.placement.spread_over.as_ref().filter(|spread| spread.by == BY_NODE) {
                let own = rules.id(&group.workload) as usize;
                rules.per_node[own] = rules.per_node[own].min(spread.max_skew.max(1));
            }
        }
        rules
    }

    fn id(&mut self, workload: &'a WorkloadName) -> u32 {
        let next = self.per_node.len() as u32;
        let id = *self.ids.entry(workload).or_insert(next);
        if id == next {
            self.per_node.push(u32::MAX);
            self.clashes.push(BTreeSet::new());
        }
        id
    }
}

/// What tells two classes apart.
#[derive(PartialEq, Eq, Hash)]
struct ClassKey {
    constraints: Vec<Constraint>,
    spot: bool,
    /// Whose tasks they are, where some nodes are kept for somebody.
    owner: Option<(WorkloadName, Option<String>)>,
}

struct Builder<'a> {
    request: &'a Request,
    rules: NodeRules<'a>,
    extras: Vec<&'a str>,
    reserves: bool,
    classes: HashMap<ClassKey, u32>,
    problem: Problem,
}

/// Makes a request ready: with all types, or without those that another one beats in everything.
pub(super) fn problem(request: &Request, all_types: bool) -> Problem {
    let (parts, refused) = divide(request);
    let keep = |capacity: Vector| capacity.map(|amount| (amount * (1.0 - request.headroom.get())).floor());
    let extras = extras(request);
    let rules = NodeRules::of(request);
    let lots = request.offers.iter().enumerate().map(|(offer, had)| Lot {
        capacity: keep(vector(&had.capacity, &extras)),
        price: had.price.get() as f64,
        limit: had.limit.unwrap_or(u32::MAX),
        offer,
    });
    let berths = request.nodes.iter().map(|node| {
        let capacity = vector(&node.capacity, &extras);
        let (free, kept) = (vector(&node.free, &extras), keep(capacity));
        let free = std::array::from_fn(|at| (free[at] - (capacity[at] - kept[at])).max(0.0));
        let ruled = |(name, count): (&WorkloadName, &u32)| Some((*rules.ids.get(name)?, *count));
        Berth { capacity: kept, free, residents: node.residents.iter().filter_map(ruled).collect() }
    });
    let problem = Problem { lots: lots.collect(), berths: berths.collect(), refused, ..Problem::default() };
    let reserves = request.offers.iter().any(|offer| !offer.reserved_for.is_empty())
        || request.nodes.iter().any(|node| !node.reserved_for.is_empty());
    let mut builder = Builder { request, rules, extras, reserves, classes: HashMap::new(), problem };
    builder.kinds(&parts);
    let Builder { rules, mut problem, .. } = builder;
    problem.per_node = rules.per_node;
    problem.clashes = rules.clashes.into_iter().map(|clashes| clashes.into_iter().collect()).collect();
    if !all_types {
        leave_out_beaten(&mut problem);
    }
    problem
}

impl Builder<'_> {
    fn kinds(&mut self, parts: &[Part]) {
        // Who goes first matters only where not all can have a place: never where any number of nodes can be had.
        let scarce =
            !self.problem.berths.is_empty() || self.problem.lots.is_empty() || self.problem.is_limited();
        let mut known: HashMap<([u64; DIMS], u32, u32, i32), usize> = HashMap::new();
        for part in parts.iter().filter(|part| part.count > 0) {
            let group = &self.request.tasks[part.group];
            let refused = |why| Unplaced { group: part.group, count: part.count, why };
            let together = group.placement.affinity.iter().any(|rule| rule.required && rule.by == BY_NODE);
            let too_many = self.extras.len() > EXTRAS_MAX
                && self.extras[EXTRAS_MAX..].iter().any(|name| group.need.extra.get(*name) > Some(&0));
            if together || too_many {
                let why = if together { Why::Together } else { Why::Conditions };
                self.problem.refused.push(refused(why));
                continue;
            }
            let class = self.class(group, part);
            let need = vector(&group.need, &self.extras);
            if let Some(why) = self.hopeless(class, &need) {
                self.problem.refused.push(refused(why));
                continue;
            }
            let workload = self.rules.ids.get(&group.workload).copied().unwrap_or(NOBODY);
            let priority = if scarce { group.priority } else { 0 };
            let key = (need.map(f64::to_bits), class, workload, priority);
            let next = self.problem.kinds.len();
            let at = *known.entry(key).or_insert(next);
            if at == next {
                let kind = Kind { need, count: 0, class, workload, priority, sources: Vec::new() };
                self.problem.kinds.push(kind);
            }
            let kind = &mut self.problem.kinds[at];
            kind.count += part.count;
            kind.sources.push((part.group, part.count));
        }
    }

    fn hopeless(&self, class: u32, need: &Vector) -> Option<Why> {
        let class = &self.problem.classes[class as usize];
        let lots =
            class.lots.iter().zip(&self.problem.lots).filter(|(may, _)| **may).map(|(_, lot)| &lot.capacity);
        let berths = class.berths.iter().zip(&self.problem.berths);
        let berths = berths.filter(|(may, _)| **may).map(|(_, berth)| &berth.capacity);
        let mut places = lots.chain(berths).peekable();
        if places.peek().is_none() {
            return Some(Why::Conditions);
        }
        let good = places.any(|capacity| fits(need, capacity));
        (!good).then_some(Why::TooLarge)
    }

    fn class(&mut self, group: &TaskGroup, part: &Part) -> u32 {
        let mut constraints = group.placement.constraints.clone();
        constraints.extend(part.pins.iter().cloned());
        let owner = self.reserves.then(|| (group.workload.clone(), group.team.clone()));
        let key = ClassKey { constraints, spot: part.spot, owner };
        if let Some(&known) = self.classes.get(&key) {
            return known;
        }
        let owner = Owner { workload: &group.workload, team: group.team.as_deref() };
        let request = self.request;
        let lots = request.offers.iter().map(|offer| {
            let in_time =
                request.needed_within.is_none_or(|within| offer.boot.is_none_or(|boot| boot <= within));
            in_time
                && (part.spot || !offer.spot)
                && meets(&key.constraints, &offer.pool, &offer.attributes).is_ok()
                && admits(None, owner, &offer.pool, &offer.attributes, &offer.reserved_for).is_ok()
        });
        let berths = request.nodes.iter().map(|node| {
            meets(&key.constraints, &node.pool, &node.attributes).is_ok()
                && admits(None, owner, &node.pool, &node.attributes, &node.reserved_for).is_ok()
        });
        let at = self.problem.classes.len() as u32;
        self.problem.classes.push(Class { lots: lots.collect(), berths: berths.collect() });
        self.classes.insert(key, at);
        at
    }
}

/// Leaves lots out that another one beats: at least as large, no dearer, and open to all that they are.
fn leave_out_beaten(problem: &mut Problem) {
    let beats = |better: usize, worse: usize| {
        let (a, b) = (&problem.lots[better], &problem.lots[worse]);
        let equal = fits(&a.capacity, &b.capacity) && a.price.total_cmp(&b.price).is_eq();
        a.limit == u32::MAX
            && a.price <= b.price
            && fits(&b.capacity, &a.capacity)
            && problem.classes.iter().all(|class| class.lots[better] || !class.lots[worse])
            && (!equal || better < worse || b.limit != u32::MAX)
    };
    let lots = 0..problem.lots.len();
    let beaten: Vec<bool> = lots
        .clone()
        .map(|worse| lots.clone().any(|better| better != worse && beats(better, worse)))
        .collect();
    for class in &mut problem.classes {
        for (may, beaten) in class.lots.iter_mut().zip(&beaten) {
            *may &= !beaten;
        }
    }
}
