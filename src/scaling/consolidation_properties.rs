//! What holds of every consolidation plan, over random clusters: whatever the order in which it is carried
//! out, and however far, everything has room, rules about places hold, and no service has less than it had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::domain::change::{Change, RecordedChange};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{NodeName, NodeSource, NodeState, PoolName, PoolSpec};
use crate::domain::placement::{Neighbour, SpreadOver};
use crate::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use crate::domain::rollout::Actor;
use crate::domain::sample_specs;
use crate::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use crate::domain::workload::{WorkloadKind, WorkloadName, WorkloadSpec};
use crate::domain::world::World;
use crate::placement::{Ask, Board, Resident, Residents, Slot};
use crate::scaling::cluster::{ClusterTerms, decide};
use crate::scaling::consolidation::{Consolidation, plan};

/// Numbers from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
}

fn now() -> Timestamp {
    start() + SignedDuration::from_hours(2)
}

fn terms() -> ClusterTerms {
    ClusterTerms { prices: prices(), headroom: None, overcommit: Arc::default() }
}

fn prices() -> Prices {
    Prices { core_hour: MicroCents::from_units(0.04), gib_hour: MicroCents::from_units(0.004) }
}

fn amount(cpu: u64, mib: u64) -> Resources {
    Resources::new(Millicores::new(cpu), Bytes::mib(mib))
}

fn follow(world: &mut World, change: Change) {
    let reason = String::new();
    world.apply(&RecordedChange { at: start(), by: Actor::Engine, reason, request: None, change });
}

fn pool(world: &mut World, dice: &mut Dice, name: &str, size: Resources) {
    let pool = PoolName::new(name).expect("a name");
    let zone = ["a", "b"][dice.below(2) as usize].to_owned();
    let spec = PoolSpec {
        size,
        min: dice.below(2) as u32,
        max: 40,
        price_per_hour: dice.one_in(3).then(|| MicroCents::new(1 + dice.below(2_000_000).cast_signed())),
        attributes: BTreeMap::from([("zone".to_owned(), zone)]),
        reserved_for: Vec::new(),
        scale_down_below: Share::new(1.0),
        scale_down_after: SignedDuration::from_secs(60),
        cooldown_up: SignedDuration::ZERO,
        cooldown_down: SignedDuration::from_secs(60),
        source: NodeSource::default(),
    };
    follow(world, Change::PoolApplied { pool: pool.clone(), spec });
    let target = 1 + dice.below(6) as u32;
    follow(world, Change::PoolTargetSet { pool: pool.clone(), target, decision: None });
    for number in 1..=target {
        let node = NodeName::new(&format!("{name}-{number}")).expect("a name");
        follow(world, Change::NodeCreated { node: node.clone(), pool: pool.clone() });
        let moved = |state| Change::NodeMoved {
            node: node.clone(),
            state,
            reason: String::new(),
            remove_when_empty: false,
        };
        follow(world, moved(NodeState::Ready));
        follow(world, Change::NodeUse { node: node.clone(), underused_since: Some(start()) });
    }
}

fn service(world: &mut World, dice: &mut Dice, name: &WorkloadName) -> u64 {
    let request = amount(50 + dice.below(8) * 50, 64 + dice.below(8) * 64);
    let instances = 1 + dice.below(5);
    let mut spec = sample_specs::service_spec("serve", instances as u32);
    spec.template.size = TaskSize::of(request);
    let wishes = &mut spec.template.placement;
    if dice.one_in(3) {
        wishes.anti_affinity.push(Neighbour {
            workload: name.clone(),
            by: "node".to_owned(),
            required: true,
        });
    }
    if dice.one_in(4) {
        wishes.spread_over = Some(SpreadOver { by: "zone".to_owned(), max_skew: 1 });
    }
    follow(
        world,
        Change::WorkloadApplied { workload: name.clone(), spec: WorkloadSpec::Service(Box::new(spec)) },
    );
    instances
}

/// Nobody is there yet, but those that were put there.
struct Placed(Vec<(WorkloadName, NodeName)>);

impl Residents for Placed {
    fn of(&self, workload: &WorkloadName) -> Vec<Resident<'_>> {
        let own = self.0.iter().filter(|(name, _)| name == workload);
        own.map(|(_, node)| Resident { node, revision: 1, active: true }).collect()
    }
}

fn running(id: &TaskId, request: Resources, node: &NodeName) -> Task {
    Task {
        id: id.clone(),
        kind: WorkloadKind::Service,
        revision: 1,
        origin: TaskOrigin::Instance,
        size: TaskSize::of(request),
        state: TaskState::Running,
        reason: String::new(),
        node: Some(node.clone()),
        ports: BTreeMap::new(),
        created_at: start(),
        not_before: start(),
        started_at: Some(start()),
        ready_at: Some(start()),
        state_since: start(),
        exit: None,
        preempted_for: None,
    }
}

fn slots(world: &World) -> Vec<Slot<'_>> {
    let nodes = world.nodes.values().filter(|node| node.state == NodeState::Ready);
    let slots = nodes.map(|node| {
        let on = world.tasks.values().filter(|task| task.node.as_ref() == Some(&node.name));
        let free = node.size.saturating_sub(on.map(|task| task.size.request).sum());
        Slot { node, free, lent: Millicores::ZERO, unused: free, crowded: false, reserved_for: &[] }
    });
    slots.collect()
}

/// Where the rules let a task go at this moment.
fn seat(world: &World, id: &TaskId) -> Option<NodeName> {
    let workload = world.workloads.get(id.workload())?;
    let template = workload.spec.template();
    let request = template.size.request;
    let placed = world.tasks.values().filter_map(|task| Some((task.workload().clone(), task.node.clone()?)));
    let (placed, repelled) = (Placed(placed.collect()), BTreeMap::new());
    let mut board = Board::new(slots(world), &placed, &repelled);
    let (task, placement) = (id, &template.placement);
    let ask = Ask { task, team: None, revision: 1, priority: 0, request, expected: request, placement };
    board.seat(&ask).map(|at| board.slot(at).node.name.clone())
}

/// A cluster as wear leaves it: services placed by the rules, some of them gone again.
fn worn(seed: u64) -> World {
    let mut dice = Dice(seed);
    let mut world = World::default();
    pool(&mut world, &mut dice, "large", amount(2000, 4096));
    pool(&mut world, &mut dice, "small", amount(1000, 1024));
    for number in 0..2 + dice.below(10) {
        let name = WorkloadName::new(&format!("s{number}")).expect("a name");
        let instances = service(&mut world, &mut dice, &name);
        let gone = dice.one_in(3);
        let mut placed = 0;
        for number in 1..=instances {
            let id = TaskId::new(name.clone(), number);
            let Some(node) = seat(&world, &id) else { continue };
            let request = world.workloads[&name].spec.template().size.request;
            world.tasks.insert(id.clone(), running(&id, request, &node));
            placed += 1;
        }
        let workload = world.workloads.get_mut(&name).expect("a service");
        (workload.count, workload.next_task) = (placed, instances + 1);
        if let Some(rollout) = &mut workload.rollout {
            rollout.state = crate::domain::rollout::RolloutState::Done;
        }
        if gone {
            world.tasks.retain(|id, _| *id.workload() != name);
            world.workloads.remove(&name);
        }
    }
    world
}

/// Carries a plan out instance by instance in an order by chance: the new one beside the old one, then the old
/// one goes.
fn carry_out(world: &World, plan: &Consolidation, dice: &mut Dice) -> Result<(), TestCaseError> {
    let mut world = world.clone();
    let mut moves: Vec<(TaskId, NodeName)> = plan
        .emptied
        .iter()
        .flat_map(|node| node.moves.iter().map(|step| (step.task.clone(), step.to.clone())))
        .collect();
    let going: BTreeSet<&NodeName> = plan.emptied.iter().map(|node| &node.node).collect();
    while !moves.is_empty() {
        let (task, to) = moves.swap_remove(dice.below(moves.len() as u64) as usize);
        prop_assert!(!going.contains(&to), "{} goes to {}, which goes itself", task, to);
        let request = world.tasks[&task].size.request;
        let workload = world.workloads.get_mut(task.workload()).expect("a service");
        let new = TaskId::new(task.workload().clone(), workload.next_task);
        workload.next_task += 1;
        let alone = !workload.spec.template().placement.anti_affinity.is_empty();
        let there = world.tasks_of(task.workload()).any(|other| other.node.as_ref() == Some(&to));
        prop_assert!(!(alone && there), "{} would meet another one of its service on {}", task, to);
        world.tasks.insert(new.clone(), running(&new, request, &to));
        let size = world.nodes[&to].size;
        let on = world.tasks.values().filter(|task| task.node.as_ref() == Some(&to));
        let sum: Resources = on.map(|task| task.size.request).sum();
        prop_assert!(sum.fits(size), "{} holds {} of {}", to, sum, size);
        let count = world.workloads[task.workload()].count as usize;
        prop_assert!(world.tasks_of(task.workload()).count() > count);
        world.tasks.remove(&task);
    }
    let on_going = |task: &Task| task.node.as_ref().is_some_and(|node| going.contains(node));
    prop_assert!(!world.tasks.values().any(on_going), "a node that goes is not empty");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_has_room_at_every_step_in_any_order(seed in any::<u64>()) {
        let world = worn(seed);
        let found = plan(&world, &[], &terms(), now());
        carry_out(&world, &found, &mut Dice(!seed))?;
        for pool in world.pools.values() {
            let gone = found.emptied.iter().filter(|node| node.pool == pool.name).count() as u32;
            prop_assert!(pool.target - gone >= pool.spec.min);
        }
        if let Some(replacement) = &found.replacement {
            prop_assert!(replacement.saves > MicroCents::ZERO && !replacement.instead_of.is_empty());
            let pool = &world.pools[&replacement.pool];
            prop_assert!(pool.target < pool.spec.max);
        }
        prop_assert_eq!(plan(&world, &[], &terms(), now()), found, "the same input gives the same plan");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_come_to_an_end_and_pay(seed in any::<u64>()) {
        decide_on(seed)?;
    }
}

/// Worlds that once went on and on, or had an instance without a place.
#[test]
fn decisions_came_to_no_end_here() {
    for seed in [10_700_685_132_219_755_230, 10_675_723_083_240_793_456, 9_443_549_374_395_720_779] {
        decide_on(seed).expect("an end");
    }
}

/// Decision after decision, each carried out by the rules of placement, comes to an end, never costs more than
/// before, and leaves every task where its rules let it be.
fn decide_on(seed: u64) -> Result<(), TestCaseError> {
    let mut world = worn(seed);
    let tasks = world.tasks.len();
    let price = |world: &World| -> i64 {
        let each = |node: &crate::domain::node::Node| {
            let pool = &world.pools[&node.pool];
            pool.spec.price_per_hour.unwrap_or_else(|| prices().per_hour(pool.spec.size)).get()
        };
        world.nodes.values().map(each).sum()
    };
    let before = price(&world);
    let mut quiet = 0;
    let mut at = now();
    for _ in 0..100 {
        let terms = terms();
        let verdict = decide(&world, &[], &terms, at);
        let Some(decision) = verdict.decision else {
            // Pools that have just changed wait; later they do not.
            quiet += 1;
            at += SignedDuration::from_hours(2);
            if quiet == 2 {
                break;
            }
            continue;
        };
        quiet = 0;
        let mut drained = Vec::new();
        for step in decision.steps {
            if let Change::NodeMoved { node, state: NodeState::Draining, .. } = &step.change {
                drained.push(node.clone());
            }
            let change = step.change;
            let reason = String::new();
            world.apply(&RecordedChange { at, by: Actor::Engine, reason, request: None, change });
        }
        move_off(&mut world, &drained)?;
        world.nodes.retain(|name, _| !drained.contains(name));
        join(&mut world, at);
        at += SignedDuration::from_secs(45);
    }
    prop_assert_eq!(quiet, 2, "it goes on and on");
    prop_assert!(price(&world) <= before, "{} after {}", price(&world), before);
    prop_assert_eq!(world.tasks.len(), tasks);
    Ok(())
}

/// Replaces what is on nodes, as services do it: each of them one instance at a time.
fn move_off(world: &mut World, nodes: &[NodeName]) -> Result<(), TestCaseError> {
    let mut turns: BTreeMap<WorkloadName, usize> = BTreeMap::new();
    let there = world.tasks.values().filter(|task| task.node.as_ref().is_some_and(|on| nodes.contains(on)));
    let mut there: Vec<(usize, TaskId, Resources)> = there
        .map(|task| {
            let turn = turns.entry(task.workload().clone()).or_default();
            *turn += 1;
            (*turn, task.id.clone(), task.size.request)
        })
        .collect();
    there.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    for (_, old, request) in there {
        let workload = world.workloads.get_mut(old.workload()).expect("a service");
        let new = TaskId::new(old.workload().clone(), workload.next_task);
        workload.next_task += 1;
        let to = seat(world, &new);
        prop_assert!(to.is_some(), "{} has no place beside {}", new, old);
        if let Some(to) = to {
            world.tasks.insert(new.clone(), running(&new, request, &to));
        }
        world.tasks.remove(&old);
    }
    Ok(())
}

/// Makes the nodes that pools lack.
fn join(world: &mut World, at: Timestamp) {
    let pools: Vec<_> = world.pools.values().cloned().collect();
    for pool in pools {
        let there = world.nodes.values().filter(|node| node.pool == pool.name).count();
        for number in (pool.next_node..).take((pool.target as usize).saturating_sub(there)) {
            let node = NodeName::new(&format!("{}-{number}", pool.name)).expect("a name");
            follow(world, Change::NodeCreated { node: node.clone(), pool: pool.name.clone() });
            let node = world.nodes.get_mut(&node).expect("a node");
            (node.state, node.underused_since) = (NodeState::Ready, Some(at));
        }
    }
}
