//! Which pools grow, for what, and when they do not.

use jiff::SignedDuration;
use proptest::prelude::*;

use crate::domain::change::Change;
use crate::domain::money::MicroCents;
use crate::domain::node::{JoinState, NodeState, PoolName};
use crate::domain::node_outlook::Blocker;
use crate::scaling::cluster_given::*;

#[test]
fn a_pool_grows_by_the_nodes_that_the_waiting_tasks_need() {
    // 600 + 600 + 400 + 400: two nodes, largest first, not three.
    let build = [400, 600, 400, 600]
        .into_iter()
        .enumerate()
        .fold(small_full(), |build, (i, cpu)| build.task("api", i as u64, resources(cpu, 100), None));
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(grown("small", 1, 3)));
    let decision = verdict.decision.expect("a decision");
    let target =
        Change::PoolTargetSet { pool: PoolName::new("small").expect("a name"), target: 3, decision: None };
    assert_eq!(decision.steps.iter().map(|step| &step.change).collect::<Vec<_>>(), [&target]);
    assert_eq!(decision.proposal.price_after - decision.proposal.price_before, MicroCents::from_units(0.088));
    assert!(
        decision.proposal.reason.contains("api.1, api.3, api.0, 1 more found no node"),
        "{}",
        decision.proposal.reason
    );
}

#[test]
fn the_pool_that_wastes_least_grows() {
    let build = || small_full().pool("big", resources(4000, 4096), 0).pool("lean", resources(1000, 2048), 0);
    let small_task = build().task("api", 1, resources(900, 1000), None).decide();
    assert_eq!(change(&small_task), Some(grown("small", 1, 2)));
    let large_task = build().task("api", 1, resources(3000, 500), None).decide();
    assert_eq!(change(&large_task), Some(grown("big", 0, 1)));
    let memory = build().task("api", 1, resources(900, 2000), None).decide();
    assert_eq!(change(&memory), Some(grown("lean", 0, 1)));
    let candidates = memory.decision.expect("a decision").proposal.candidates;
    assert_eq!(candidates.iter().map(|c| c.chosen).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn nodes_on_their_way_are_counted_on() {
    let build =
        small_full().task("api", 1, resources(600, 100), None).task("api", 2, resources(300, 100), None);
    let joining = build.edit(|world| world.pools.values_mut().for_each(|pool| pool.target = 2));
    let waits = |build: &Build| {
        let verdict = build.decide();
        assert!(verdict.decision.is_none() && verdict.unserved.is_empty() && verdict.kept.is_empty());
        verdict.held.map(|held| held.by)
    };
    assert_eq!(waits(&joining), Some(Blocker::TasksWait), "the target is set, the node not made yet");
    let joining = joining.node("small", 2, NodeState::Joining);
    assert_eq!(waits(&joining), Some(Blocker::TasksWait));
    let more = joining.task("api", 3, resources(600, 100), None);
    assert_eq!(change(&more.decide()), Some(grown("small", 2, 3)));
    // A node that is being removed is no room, and a lost one will be made anew.
    let leaving = more.edit(|world| {
        world.nodes.values_mut().for_each(|node| {
            node.state = if node.state == NodeState::Joining { NodeState::Removing } else { NodeState::Lost };
        });
    });
    assert_eq!(change(&leaving.decide()), None, "two wanted, none there: both are on their way");
}

#[test]
fn bounds_and_cooldown_hold_growth_back_and_say_so() {
    let mut build = (1..=3).fold(small_full(), |build, i| build.task("api", i, resources(900, 100), None));
    build.pool_mut("small").spec.max = 3;
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 1, 3, "max nodes".to_owned())));
    build.pool_mut("small").spec.max = 1;
    let verdict = build.decide();
    assert_eq!((change(&verdict), verdict.unserved.len()), (None, 3));
    assert_eq!(verdict.unserved[0].reason, "pool small has its most of 1 nodes");
    build.pool_mut("small").spec.max = 5;
    build.pool_mut("small").grown_at = Some(ago(10));
    let verdict = build.decide();
    assert_eq!(change(&verdict), None);
    assert!(verdict.unserved[0].reason.contains("waits 20 s"), "{}", verdict.unserved[0].reason);
    build.pool_mut("small").grown_at = Some(ago(30));
    assert!(change(&build.decide()).is_some());
}

#[test]
fn a_task_that_fits_no_node_is_reported_and_grows_nothing() {
    let verdict = small_full().task("api", 1, resources(1001, 100), None).decide();
    assert_eq!(change(&verdict), None);
    assert!(verdict.unserved[0].fits_nowhere);
    assert!(
        verdict.unserved[0].reason.contains("a node of pool small has 1 cores"),
        "{}",
        verdict.unserved[0].reason
    );
}

#[test]
fn constraints_choose_the_pool() {
    let build =
        || small_full().pool("big", resources(4000, 4096), 0).task("api", 1, resources(900, 1000), None);
    for (constraints, expected) in [
        (&[("pool", "big")][..], Some(grown("big", 0, 1))),
        (&[("disk", "ssd")], Some(grown("small", 1, 2))),
        (&[("disk", "ssd"), ("pool", "big")], Some(grown("big", 0, 1))),
        (&[("zone", "a")], None),
    ] {
        let verdict = build().edit(|world| with_constraints(world, "api", constraints)).decide();
        assert_eq!(change(&verdict), expected, "{constraints:?}");
    }
}

/// A pool whose nodes did not come, with a wait of 100 s.
fn failing(build: &mut Build, pool: &str) {
    build.pool_mut(pool).joins = JoinState {
        failures: 1,
        since: Some(now()),
        not_before: Some(now() + SignedDuration::from_secs(100)),
        why: "out of stock".to_owned(),
    };
}

#[test]
fn where_a_pools_nodes_do_not_come_another_pool_grows() {
    let both =
        || small_full().pool("big", resources(4000, 4096), 0).task("api", 1, resources(900, 1000), None);
    let mut build = both();
    failing(&mut build, "small");
    assert_eq!(change(&build.decide()), Some(grown("big", 0, 1)));
    // What the pool lacks is not on its way: tasks do not count on it.
    build.pool_mut("small").target = 2;
    assert_eq!(change(&build.decide()), Some(grown("big", 0, 1)));
    failing(&mut build, "big");
    let verdict = build.decide();
    assert_eq!(change(&verdict), None);
    let reason = &verdict.unserved[0].reason;
    assert!(reason.contains("nodes of pool big did not come (out of stock); it waits 100 s"), "{reason}");
    // A wait that is over is none.
    for pool in ["small", "big"] {
        build.pool_mut(pool).joins.not_before = Some(now());
    }
    build.pool_mut("small").target = 1;
    assert_eq!(change(&build.decide()), Some(grown("small", 1, 2)));
}

#[test]
fn a_pool_whose_machines_run_no_tasks_does_not_grow_for_them() {
    let mut build = small_full().task("api", 1, resources(900, 1000), None);
    build.pool_mut("small").spec.source.provider = Some("vms".to_owned());
    let verdict = build.decide();
    assert_eq!(change(&verdict), None);
    let reason = &verdict.unserved[0].reason;
    assert!(reason.contains("no agent runs tasks on the machines of pool small"), "{reason}");
    build.pool_mut("small").spec.source.rehearse = true;
    assert_eq!(change(&build.decide()), Some(grown("small", 1, 2)));
}

proptest! {
    /// Growing until nothing changes ends with no task waiting that any node would take, within the bounds.
    #[test]
    fn growth_places_everything_that_fits(
        requests in proptest::collection::vec((50_u64..1300, 50_u64..1300), 1..30),
    ) {
        let mut build = Build::default().pool("small", resources(1000, 1024), 0);
        build.pool_mut("small").spec.max = 30;
        for (i, (cpu, mib)) in requests.iter().enumerate() {
            build = build.task("api", i as u64, resources(*cpu, *mib), None);
        }
        let fits = requests.iter().filter(|(cpu, mib)| *cpu <= 1000 && *mib <= 1024).count();
        let first = build.decide();
        if let Some((_, from, to, _)) = change(&first) {
            prop_assert!(from < to && to as usize <= fits);
            build.pool_mut("small").target = to;
        }
        let second = build.decide();
        prop_assert_eq!(change(&second), None);
        prop_assert_eq!(second.unserved.len(), requests.len() - fits);
    }
}
