//! Which nodes can go, and where their tasks would go instead.
//!
//! In: the world, what is about to need room, prices. Out: nodes that can be emptied onto those that stay, in the
//! order of the price saved for each task that moves; one node that takes the place of several, where that
//! saves (`consolidation_swap`); and why the others stay.
//!
//! Placement itself is asked where each task goes, so attributes, reservations, neighbours, evenness and
//! zones hold as they do for any task. Room that a move leaves behind is counted on by none: an instance
//! starts beside the old one, so whatever the order in which the nodes of a plan are emptied, and however far
//! each of them has come, everything that runs has room.
//!
//! An empty node takes nothing while the others are looked at: it goes, or takes the place of others,
//! whichever saves more.
//! Not here: when a plan is carried out, and how much of it at a time (`cluster_shrink`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::domain::money::MicroCents;
use crate::domain::node::{Node, NodeName, NodePool, NodeState, PoolName};
use crate::domain::node_outlook::{Block, Blocker};
use crate::domain::placement::PlacementSpec;
use crate::domain::quantity::Resources;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::workload::{WorkloadKind, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::placement::{Ask, Board, Slot, dominant_share};
use crate::scaling::ahead::usual_time;
use crate::scaling::cluster::{ClusterTerms, KeptNode, price_of, requested_share};
use crate::scaling::cluster_fit::{Item, used_by_node};
use crate::scaling::consolidation_board::{Homes, imagined, repelled, slot};

/// Moving a task costs as much as it does in this time: its successor runs beside it while it starts and
/// while requests are drained ...
const MOVE_LASTS: SignedDuration = SignedDuration::from_mins(5);
/// ... and must be paid back within this one.
pub(super) const PAID_BACK_WITHIN: SignedDuration = SignedDuration::from_mins(60);
/// A node on which runs will end so soon can be left by services; what it saves begins when they have ended.
const RUNS_WAITED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// A task that leaves a node, and where there is room for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The task.
    pub task: TaskId,
    /// The node with room for its successor.
    pub to: NodeName,
}

/// A node that can be emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emptied {
    /// The node.
    pub node: NodeName,
    /// Its pool.
    pub pool: PoolName,
    /// What moves.
    pub moves: Vec<Move>,
    /// Its price per hour.
    pub saves: MicroCents,
}

/// A node that takes the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The pool that it is of.
    pub pool: PoolName,
    /// What it is called, or would be.
    pub node: NodeName,
    /// The nodes that can be emptied, all at once, where it is there.
    pub instead_of: Vec<Emptied>,
    /// Price per hour saved in all.
    pub saves: MicroCents,
}

/// What can be saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consolidation {
    /// Nodes that can be emptied onto others, those that save most for each task moved first.
    pub emptied: Vec<Emptied>,
    /// An empty node that is there and takes the place of others.
    pub takeover: Option<Replacement>,
    /// A node still to be made that would take the place of some of the others.
    pub replacement: Option<Replacement>,
    /// Nodes that are little used and stay.
    pub kept: Vec<KeptNode>,
}

/// A node that is little used.
pub(super) struct Candidate<'w> {
    pub(super) slot: usize,
    pub(super) node: &'w Node,
    pub(super) pool: &'w NodePool,
    pub(super) tasks: Vec<&'w Task>,
    pub(super) price: MicroCents,
    used: Resources,
}

impl Candidate<'_> {
    /// What moving its tasks costs: as much as they do for a while, of the price of the node.
    pub(super) fn cost_of_moving(&self) -> MicroCents {
        let of_node = |task: &&Task| dominant_share(task.size.request, self.node.size) as f64 / 1e6;
        let share: f64 = self.tasks.iter().filter(|task| moves(task)).map(of_node).sum();
        self.price.scale(share * MOVE_LASTS.as_secs_f64() / PAID_BACK_WITHIN.as_secs_f64())
    }
}

/// What is looked at while a plan is made.
pub(super) struct Planner<'w> {
    pub(super) world: &'w World,
    /// What is about to need room.
    pub(super) ahead: Vec<Ask<'w>>,
    pub(super) terms: &'w ClusterTerms,
    pub(super) now: Timestamp,
    by_node: HashMap<&'w NodeName, Vec<&'w Task>>,
    /// Nodes that take tasks of others and so stay.
    pub(super) receives: Vec<bool>,
    /// Room that is kept for tasks about to come, by node.
    pub(super) expected: HashMap<usize, Vec<Ask<'w>>>,
    /// Ready nodes of each pool.
    ready: HashMap<&'w PoolName, u32>,
    /// Nodes of each pool that go.
    pub(super) gone: BTreeMap<&'w PoolName, u32>,
    unbound: &'w PlacementSpec,
}

/// Plans with the room that `ahead` will need soon kept for it.
pub fn plan<'w>(
    world: &'w World,
    ahead: &[Ask<'w>],
    terms: &'w ClusterTerms,
    now: Timestamp,
) -> Consolidation {
    let imagined: Vec<Node> = world.pools.values().filter_map(|pool| imagined(world, pool, now)).collect();
    on_board(world, ahead, &imagined, (terms, now), |planner, board| planner.plan(board, &imagined))
}

/// Where all that is on some nodes would go, in the order in which room will be looked for, where they are emptied at
/// the same time, and one more node is there if it is given. None where something finds no room.
pub(super) fn homes_at_once<'w>(
    world: &'w World,
    ahead: &[Ask<'w>],
    (nodes, new): (&[&NodeName], Option<&'w Node>),
    (terms, now): (&'w ClusterTerms, Timestamp),
) -> Option<HashMap<TaskId, NodeName>> {
    let imagined = new.map_or(&[][..], std::slice::from_ref);
    on_board(world, ahead, imagined, (terms, now), |mut planner, board| {
        if let Some(at) = new.and_then(|new| board.find(&new.name)) {
            board.open(at);
        }
        let slots: Vec<usize> = nodes.iter().filter_map(|node| board.find(node)).collect();
        for &at in &slots {
            board.close(at);
        }
        let expected = slots.iter().filter_map(|at| planner.expected.remove(at)).flatten();
        let expected: Vec<Ask<'_>> = expected.collect();
        let tasks = nodes.iter().filter_map(|node| planner.by_node.get(node)).flatten().copied();
        let tasks: Vec<&Task> = tasks.collect();
        let mut homes = HashMap::new();
        for ask in expected.iter().chain(&planner.in_turn(&tasks)) {
            let at = board.seat(ask)?;
            homes.insert(ask.task.clone(), board.slot(at).node.name.clone());
        }
        Some(homes)
    })
}

/// Looks at the nodes with what is free on them, those imagined closed.
fn on_board<'w, T>(
    world: &'w World,
    ahead: &[Ask<'w>],
    imagined: &'w [Node],
    (terms, now): (&'w ClusterTerms, Timestamp),
    look: impl FnOnce(Planner<'_>, &mut Board<'_>) -> T,
) -> T {
    let unbound = PlacementSpec::default();
    let used = used_by_node(world, &terms.overcommit);
    let mut slots: Vec<Slot<'_>> = world
        .nodes
        .values()
        .filter(|node| !matches!(node.state, NodeState::Lost | NodeState::Removing))
        .chain(imagined)
        .map(|node| slot(world, node, used.get(&node.name).copied().unwrap_or_default()))
        .collect();
    slots.sort_by(|one, other| one.node.name.cmp(&other.node.name));
    let (homes, repelled) = (Homes::of_world(world), repelled(world));
    let mut board = Board::new(slots, &homes, &repelled);
    for node in imagined {
        if let Some(at) = board.find(&node.name) {
            board.close(at);
        }
    }
    let mut planner = Planner {
        world,
        ahead: ahead.to_vec(),
        terms,
        now,
        by_node: HashMap::new(),
        receives: vec![false; board.len()],
        expected: HashMap::new(),
        ready: HashMap::new(),
        gone: BTreeMap::new(),
        unbound: &unbound,
    };
    for node in world.nodes.values().filter(|node| node.state == NodeState::Ready) {
        *planner.ready.entry(&node.pool).or_default() += 1;
    }
    for task in world.tasks.values().filter(|task| task.state.holds_resources()) {
        if let Some(node) = &task.node {
            planner.by_node.entry(node).or_default().push(task);
        }
    }
    planner.reserve(&mut board, ahead);
    look(planner, &mut board)
}

impl<'w> Planner<'w> {
    fn ask(&self, task: &'w Task) -> Ask<'w> {
        let item = Item::of(self.world, task);
        let workload = self.world.workloads.get(task.workload());
        let priority = workload.map(|workload| {
            let own = workload.revisions.get(&task.revision).map_or(&workload.spec, |own| &own.spec);
            own.template().priority
        });
        Ask {
            task: &task.id,
            team: item.team,
            revision: task.revision,
            priority: priority.unwrap_or(0),
            request: item.request,
            expected: item.request,
            placement: item.placement.unwrap_or(self.unbound),
        }
    }

    /// Keeps room for tasks that wait, for those on nodes that are being emptied, and for those about to
    /// come. One that has no place now can lose none.
    fn reserve(&mut self, board: &mut Board<'_>, ahead: &[Ask<'w>]) {
        let drained = |task: &Task| {
            let on = task.node.as_ref().and_then(|name| self.world.nodes.get(name));
            task.state.is_active() && on.is_some_and(|on| on.state == NodeState::Draining)
        };
        let waits = |task: &&Task| task.state == TaskState::Pending || drained(task);
        let waiting: Vec<Ask<'w>> =
            self.world.tasks.values().filter(waits).map(|task| self.ask(task)).collect();
        for ask in waiting.into_iter().chain(ahead.iter().copied()) {
            if let Some(at) = board.seat(&ask) {
                self.expected.entry(at).or_default().push(ask);
            }
        }
    }

    fn plan(mut self, board: &mut Board<'_>, imagined: &[Node]) -> Consolidation {
        let mut found = Consolidation::default();
        let empties = self.empties(board);
        for empty in &empties {
            board.close(empty.slot);
        }
        let mut stuck = Vec::new();
        for candidate in self.candidates(board) {
            let block = match self.stays(&candidate) {
                Some(block) => block,
                None if self.receives[candidate.slot] => {
                    Block::new(Blocker::Receives, "tasks of other nodes are to go there".to_owned())
                }
                None => match self.empty(board, &candidate) {
                    Ok(emptied) => {
                        *self.gone.entry(&candidate.pool.name).or_default() += 1;
                        found.emptied.push(emptied);
                        continue;
                    }
                    Err(reason) => Block::new(Blocker::NoRoom, reason),
                },
            };
            found.kept.push(KeptNode { node: candidate.node.name.clone(), block });
            stuck.push(candidate);
        }
        self.place_empties(board, empties, &stuck, &mut found);
        found.replacement = imagined
            .iter()
            .filter_map(|node| {
                let slot = board.find(&node.name)?;
                self.replace(board, (slot, node), &stuck, false)
            })
            .max_by(|one, other| one.saves.cmp(&other.saves).then(other.pool.cmp(&one.pool)));
        found
    }

    pub(super) fn ready(&self) -> impl Iterator<Item = &'w Node> + use<'w> {
        self.world.nodes.values().filter(|node| node.state == NodeState::Ready)
    }

    pub(super) fn candidate(&self, board: &Board<'_>, node: &'w Node) -> Option<Candidate<'w>> {
        let pool = self.world.pools.get(&node.pool).filter(|pool| !pool.deleted)?;
        let tasks = self.by_node.get(&node.name).cloned().unwrap_or_default();
        let used = tasks.iter().map(|task| task.size.request).sum::<Resources>();
        let (slot, price) = (board.find(&node.name)?, price_of(pool, 1, &self.terms.prices));
        Some(Candidate { slot, node, pool, tasks, price, used })
    }

    pub(super) fn is_empty(&self, candidate: &Candidate<'w>) -> bool {
        candidate.tasks.is_empty() && !self.expected.contains_key(&candidate.slot)
    }

    /// Whether it has been little used for long enough.
    pub(super) fn has_rested(&self, candidate: &Candidate<'w>) -> bool {
        let since = candidate.node.underused_since;
        since.is_some_and(|since| self.now.duration_since(since) >= candidate.pool.spec.scale_down_after)
    }

    /// Nodes that have been little used for long enough: those that save most for each task moved first,
    /// then the emptiest.
    fn candidates(&self, board: &Board<'_>) -> Vec<Candidate<'w>> {
        let mut candidates: Vec<Candidate<'w>> = self
            .ready()
            .filter_map(|node| self.candidate(board, node))
            .filter(|candidate| !self.is_empty(candidate) && self.has_rested(candidate))
            .collect();
        candidates.sort_by(|a, b| {
            // Price over tasks, compared without a division: an empty node saves all for nothing.
            let saves = |one: &Candidate<'_>, other: &Candidate<'_>| {
                i128::from(one.price.get().max(1)) * other.tasks.len() as i128
            };
            let by_saving = saves(b, a).cmp(&saves(a, b));
            let by_use = || requested_share(a.node, a.used).total_cmp(&requested_share(b.node, b.used));
            by_saving
                .then_with(|| a.tasks.len().cmp(&b.tasks.len()))
                .then_with(by_use)
                .then_with(|| a.node.name.cmp(&b.node.name))
        });
        candidates
    }

    /// Why a node stays, apart from the room that its tasks need.
    pub(super) fn stays(&self, candidate: &Candidate<'w>) -> Option<Block> {
        self.stays_for_good(candidate).or_else(|| self.stays_for_now(candidate))
    }

    /// Why a node stays however long one waits.
    pub(super) fn stays_for_good(&self, candidate: &Candidate<'w>) -> Option<Block> {
        let Candidate { pool, .. } = candidate;
        let gone = self.gone.get(&pool.name).copied().unwrap_or(0);
        let ready = self.ready.get(&pool.name).copied().unwrap_or(0);
        let min = pool.spec.min;
        if pool.target.min(ready) <= min + gone {
            let reason = format!("pool {} has its least of {min} nodes", pool.name);
            return Some(Block::new(Blocker::Minimum, reason));
        }
        // A service's instance moves without harm; a run would lose the work that it has done.
        let runs = candidate.tasks.iter().filter(|task| !moves(task));
        let last = runs.map(|run| (remaining(self.world, run, self.now), run)).max_by_key(|one| one.0);
        if let Some((end, run)) = last
            && end > RUNS_WAITED_FOR
        {
            let reason = format!("{} runs on it and would have to begin again", run.id);
            return Some(Block::new(Blocker::Run, reason));
        }
        let cost = candidate.cost_of_moving();
        (candidate.price < cost).then(|| {
            let reason = format!(
                "{} an hour would be saved, and moving its {} tasks costs {cost}",
                candidate.price,
                candidate.tasks.len()
            );
            Block::new(Blocker::NotWorth, reason)
        })
    }

    /// Why a node stays until something is over.
    fn stays_for_now(&self, candidate: &Candidate<'w>) -> Option<Block> {
        let Candidate { pool, .. } = candidate;
        // A node that has just joined has a purpose that may still be on its way.
        let changed = candidate.node.state_since.max(pool.shrunk_at.unwrap_or(Timestamp::MIN));
        let wait = pool.settles_in().saturating_sub(self.now.duration_since(changed));
        if wait.is_positive() {
            let reason = format!("pool {} changed lately and waits {} s", pool.name, wait.as_secs().max(1));
            let until = self.now.checked_add(wait).ok();
            return Some(Block { by: Blocker::Settling, reason, until });
        }
        let reason = self.disturbed(candidate)?;
        Some(Block::new(Blocker::Disruption, reason))
    }

    /// A service on it that has as many instances on the move as its policy lets be disrupted.
    fn disturbed(&self, candidate: &Candidate<'w>) -> Option<String> {
        let serving = candidate.tasks.iter().filter(|task| task.state == TaskState::Running);
        let mut names: Vec<&WorkloadName> = serving.map(|task| task.workload()).collect();
        names.dedup();
        names.into_iter().find_map(|name| {
            let workload = self.world.workloads.get(name)?;
            on_the_move(self.world, workload)
                .map(|what| format!("{name} {what}: one disruption of it at a time"))
        })
    }

    /// The tasks that leave, in the order in which the scheduler will look for room: one of each service at a
    /// time, those of higher priority first, then by name.
    pub(super) fn in_turn(&self, tasks: &[&'w Task]) -> Vec<Ask<'w>> {
        let mut before: HashMap<&WorkloadName, usize> = HashMap::new();
        let mut sorted: Vec<&Task> =
            tasks.iter().copied().filter(|task| task.state.is_active() && moves(task)).collect();
        sorted.sort_by(|one, other| one.id.cmp(&other.id));
        let mut asks: Vec<(usize, Ask<'w>)> = sorted
            .into_iter()
            .map(|task| {
                let turn = before.entry(task.workload()).or_default();
                *turn += 1;
                (*turn, self.ask(task))
            })
            .collect();
        asks.sort_by_key(|(turn, ask)| (*turn, Reverse(ask.priority), ask.task));
        asks.into_iter().map(|(_, ask)| ask).collect()
    }

    /// Finds room elsewhere for all that is on a node, or tells which task has none.
    pub(super) fn empty(
        &mut self,
        board: &mut Board<'_>,
        candidate: &Candidate<'w>,
    ) -> Result<Emptied, String> {
        let at = candidate.slot;
        let mut without = String::new();
        let seats = board.attempt(|board| {
            board.close(at);
            let expected = self.expected.get(&at).into_iter().flatten().map(|ask| (*ask, false));
            let leaving = self.in_turn(&candidate.tasks).into_iter().map(|ask| (ask, true));
            let asks: Vec<(Ask<'_>, bool)> = expected.chain(leaving).collect();
            let mut seats = Vec::with_capacity(asks.len());
            for (ask, moves) in asks {
                let Some(to) = board.seat(&ask) else {
                    without = format!("{} would find no room without it", ask.task);
                    return None;
                };
                seats.push((ask, moves, to));
            }
            Some(seats)
        });
        let Some(seats) = seats else { return Err(without) };
        self.expected.remove(&at);
        let mut moves = Vec::new();
        for (ask, is_move, to) in seats {
            if is_move {
                self.receives[to] = true;
                moves.push(Move { task: ask.task.clone(), to: board.slot(to).node.name.clone() });
            } else {
                self.expected.entry(to).or_default().push(ask);
            }
        }
        moves.sort_by(|one, other| one.task.cmp(&other.task));
        let (node, pool) = (candidate.node.name.clone(), candidate.pool.name.clone());
        Ok(Emptied { node, pool, moves, saves: candidate.price })
    }
}

/// Whether a task is replaced elsewhere where its node is emptied; runs end where they are.
pub(super) fn moves(task: &Task) -> bool {
    task.kind == WorkloadKind::Service
}

/// How long a run will still take.
fn remaining(world: &World, run: &Task, now: Timestamp) -> SignedDuration {
    let usual = world.workloads.get(run.workload()).and_then(usual_time);
    let Some((usual, began)) = usual.zip(run.started_at) else { return SignedDuration::MAX };
    let gone = now.duration_since(began);
    // One that takes longer than usual may take as long again.
    if gone < usual { usual - gone } else { gone }
}

/// What already disturbs a service, where that is as much as its policy lets be disrupted.
fn on_the_move(world: &World, workload: &Workload) -> Option<String> {
    workload.spec.as_service()?;
    if workload.rollout.as_ref().is_some_and(|rollout| rollout.state.is_open()) {
        return Some("is being rolled out".to_owned());
    }
    if workload.size.as_ref().is_some_and(|size| !size.everywhere) {
        return Some("is getting another size".to_owned());
    }
    let serving = world.tasks_of(&workload.name).filter(|task| task.state == TaskState::Running).count();
    let short = (workload.count as usize).saturating_sub(serving);
    let budget = world.policy_of(workload).max_disruption as usize;
    (short >= budget).then(|| format!("has {serving} of {} instances", workload.count))
}
