//! Providers that give too few nodes, none, or some that never join: what follows, told as stories and as a
//! property.

use jiff::SignedDuration;
use proptest::prelude::*;

use crate::domain::change::Change;
use crate::domain::node::{NodeState, PoolName};
use crate::scheduling::simulation::{Simulation, pool_spec, seconds, service};

fn pool() -> PoolName {
    PoolName::new("small").expect("a name")
}

fn aim(sim: &mut Simulation, target: u32) {
    sim.change(Change::PoolTargetSet { pool: pool(), target, decision: None });
}

/// How many nodes were ever asked for.
fn asked(sim: &Simulation) -> u64 {
    sim.world.pools[&pool()].next_node - 1
}

#[test]
fn a_provider_that_gives_part_of_it_is_left_alone_for_a_while() {
    let mut sim = Simulation::new();
    sim.pool("small", pool_spec(1, 9));
    sim.cluster.stock.insert(pool(), 3);
    aim(&mut sim, 5);
    sim.run_for(8);
    let ready = sim.world.nodes.values().filter(|node| node.state == NodeState::Ready).count();
    assert_eq!(ready, 3, "what there was is there\n{}", sim.tail());
    assert_eq!(sim.world.pools[&pool()].target, 3, "the rest is wanted no more: another pool may give it");
    sim.assert_says("it cannot be made: out of stock");
    sim.assert_says("another pool may take the tasks");
    let alarm = &sim.plan.alarms[0];
    assert_eq!(alarm.kind, "nodes do not join");
    assert!(alarm.message.contains("last: it cannot be made: out of stock; asked again after"), "{alarm:?}");
    // Nobody asks again by itself; when somebody does, it is not before the wait is over.
    assert_eq!(asked(&sim), 5);
    aim(&mut sim, 4);
    sim.run_for(15);
    assert_eq!(asked(&sim), 5, "{}", sim.tail());
    sim.run_for(20);
    assert_eq!(asked(&sim), 6, "{}", sim.tail());
    assert_eq!(sim.world.pools[&pool()].joins.failures, 2);
}

#[test]
fn a_node_that_comes_and_never_joins_is_removed_in_the_pools_own_time() {
    let mut sim = Simulation::new();
    let mut spec = pool_spec(0, 4);
    spec.source.join_timeout = Some(seconds(20));
    sim.pool("small", spec);
    sim.cluster.silent.insert(pool());
    aim(&mut sim, 2);
    sim.run_for(18);
    assert_eq!(sim.observed.nodes.len(), 2, "they came");
    sim.run_for(6);
    sim.assert_says("it did not join within 20s");
    assert!(sim.world.nodes.is_empty() && sim.observed.nodes.is_empty(), "{}", sim.tail());
    assert_eq!(sim.world.pools[&pool()].target, 0);
}

#[test]
fn failures_are_forgotten_after_three_hours() {
    let mut sim = Simulation::new();
    sim.pool("small", pool_spec(0, 4));
    sim.cluster.stock.insert(pool(), 0);
    aim(&mut sim, 1);
    sim.run_for(5);
    assert_eq!((sim.world.pools[&pool()].joins.failures, sim.plan.alarms.len()), (1, 1));
    sim.tick(SignedDuration::from_hours(2));
    // Nobody wants a node of it any more, which is no alarm, but what was is remembered.
    assert_eq!((sim.world.pools[&pool()].joins.failures, sim.plan.alarms.len()), (1, 0));
    sim.tick(SignedDuration::from_hours(2));
    assert_eq!(sim.world.pools[&pool()].joins.failures, 0);
}

#[derive(Debug, Clone)]
enum Act {
    Stock(usize),
    Silent(bool),
    Target(u32),
    Wait(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..5_usize).prop_map(Act::Stock),
        any::<bool>().prop_map(Act::Silent),
        (1..8_u32).prop_map(Act::Target),
        (1..60_u8).prop_map(Act::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a provider does: it is asked at most as often as its failures' waits and people's wishes
    /// allow, no node with a task is removed (checked with each look), and once it gives what is wanted, all
    /// is there.
    #[test]
    fn a_failing_provider_is_never_asked_in_a_loop(acts in proptest::collection::vec(act(), 1..25)) {
        let mut sim = Simulation::new();
        let mut spec = pool_spec(1, 8);
        spec.source.join_timeout = Some(seconds(15));
        sim.pool("small", spec);
        sim.apply("web", service("serve 1", 2));
        let mut wishes = 1;
        for act in &acts {
            match act {
                Act::Stock(stock) => drop(sim.cluster.stock.insert(pool(), *stock)),
                Act::Silent(true) => drop(sim.cluster.silent.insert(pool())),
                Act::Silent(false) => drop(sim.cluster.silent.remove(&pool())),
                Act::Target(target) => {
                    aim(&mut sim, *target);
                    wishes += 1;
                }
                Act::Wait(seconds) => sim.run_for(i64::from(*seconds)),
            }
        }
        let failed = sim.journal.iter().filter(|line| line.contains("of its nodes did not come")).count();
        // With each wish at most eight; with each failure at most the least of the pool, which it keeps.
        let bound = 8 * wishes + 8 * failed as u64;
        prop_assert!(asked(&sim) <= bound, "{} nodes, {wishes} wishes, {failed} failures\n{}", asked(&sim), sim.tail());
        let seconds = sim.now.duration_since("2026-11-22T10:00:00Z".parse().expect("a time")).as_secs();
        // A wait of at least 30 s after each failure, those of one wish apart.
        let seconds = seconds.unsigned_abs();
        prop_assert!(failed as u64 <= 1 + wishes + seconds / 30, "{failed} failures in {seconds} s\n{}", sim.tail());

        sim.cluster.stock.clear();
        sim.cluster.silent.clear();
        sim.run_for(1_900);
        aim(&mut sim, 4);
        sim.run_for(30);
        let ready = sim.world.nodes.values().filter(|node| node.state == NodeState::Ready).count();
        prop_assert_eq!(ready, 4, "\n{}", sim.tail());
        prop_assert_eq!(sim.ready("web"), 2, "\n{}", sim.tail());
    }
}
