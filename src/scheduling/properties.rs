//! What holds of the scheduler whatever happens. `Simulation::look` checks with each look that a plan is
//! repeatable and idempotent, that it takes no service under its count, and that no node is overbooked;
//! here random stories are told to it, and their ends are checked.

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::domain::change::Change;
use crate::domain::node::{NodeName, NodeState, PoolName};
use crate::domain::task::TaskId;
use crate::domain::workload::{OverlapPolicy, WorkloadSpec};
use crate::domain::world::RunOutcome;
use crate::scheduling::simulation::{Simulation, cron, job, name, pool_spec, seconds, service_spec, size};

const SERVICES: [&str; 3] = ["api", "shop", "web"];
const COMMANDS: [&str; 7] = ["serve 0", "serve 3", "crash 0", "crash 4", "hang", "sick 5", "hog 70"];
const CRONS: [(&str, &str, OverlapPolicy); 3] = [
    ("tick", "*/20 * * * * *", OverlapPolicy::Forbid),
    ("tock", "*/30 * * * * *", OverlapPolicy::Replace),
    ("twin", "*/25 * * * * *", OverlapPolicy::Allow),
];

#[derive(Debug, Clone)]
enum Act {
    Apply { service: usize, command: usize, instances: u32 },
    Count { service: usize, count: u32 },
    Size { service: usize, millicores: u64, mib: u64 },
    Delete { service: usize },
    Cron { cron: usize, work: u8 },
    DeleteCron { cron: usize },
    Job { work: u8, fails: bool },
    Kill { task: Index },
    FailNode { node: Index },
    Drain { node: Index, remove: bool },
    Undrain,
    Target { target: u32 },
    ResizeInPlace(bool),
    Wait { looks: u8, seconds: u8 },
    Outage { seconds: u16 },
}

fn act() -> impl Strategy<Value = Act> {
    let service = 0..SERVICES.len();
    prop_oneof![
        3 => (service.clone(), 0..COMMANDS.len(), 0..4_u32)
            .prop_map(|(service, command, instances)| Act::Apply { service, command, instances }),
        1 => (service.clone(), 0..5_u32).prop_map(|(service, count)| Act::Count { service, count }),
        2 => (service.clone(), 50..500_u64, 40..300_u64)
            .prop_map(|(service, millicores, mib)| Act::Size { service, millicores, mib }),
        1 => service.prop_map(|service| Act::Delete { service }),
        1 => (0..CRONS.len(), 1..60_u8).prop_map(|(cron, work)| Act::Cron { cron, work }),
        1 => (0..CRONS.len()).prop_map(|cron| Act::DeleteCron { cron }),
        1 => (1..20_u8, any::<bool>()).prop_map(|(work, fails)| Act::Job { work, fails }),
        2 => any::<Index>().prop_map(|task| Act::Kill { task }),
        1 => any::<Index>().prop_map(|node| Act::FailNode { node }),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(node, remove)| Act::Drain { node, remove }),
        1 => Just(Act::Undrain),
        1 => (1..6_u32).prop_map(|target| Act::Target { target }),
        1 => any::<bool>().prop_map(Act::ResizeInPlace),
        6 => (1..12_u8, 1..6_u8).prop_map(|(looks, seconds)| Act::Wait { looks, seconds }),
        1 => (10..200_u16).prop_map(|seconds| Act::Outage { seconds }),
    ]
}

fn pool() -> PoolName {
    PoolName::new("small").expect("a name")
}

fn perform(sim: &mut Simulation, act: &Act) {
    match act {
        Act::Apply { service, command, instances } => {
            let spec = service_spec(COMMANDS[*command], *instances);
            sim.apply(SERVICES[*service], WorkloadSpec::Service(Box::new(spec)));
        }
        Act::Count { service, count } => {
            let workload = name(SERVICES[*service]);
            sim.change(Change::CountSet { workload, count: *count, decision: None });
        }
        Act::Size { service, millicores, mib } => {
            let (workload, size) = (name(SERVICES[*service]), size(*millicores, *mib));
            sim.change(Change::SizeSet { workload, size, decision: None });
        }
        Act::Delete { service } => sim.change(Change::WorkloadDeleted { workload: name(SERVICES[*service]) }),
        Act::Cron { cron: which, work } => {
            let (workload, expression, overlap) = CRONS[*which];
            sim.apply(workload, cron(&format!("work {work}"), expression, overlap));
        }
        Act::DeleteCron { cron } => sim.change(Change::WorkloadDeleted { workload: name(CRONS[*cron].0) }),
        Act::Job { work, fails } => {
            let command = if *fails { format!("fail {work}") } else { format!("work {work}") };
            sim.apply("load", WorkloadSpec::Job(Box::new(job(&command, true, 2))));
        }
        Act::Kill { task } => {
            let tasks: Vec<TaskId> = sim.world.tasks.keys().cloned().collect();
            if !tasks.is_empty() {
                sim.kill(task.get(&tasks));
            }
        }
        Act::FailNode { node } => {
            if let Some(node) = pick(sim, *node) {
                sim.fail_node(&node);
            }
        }
        Act::Drain { node, remove } => {
            if let Some(node) = pick(sim, *node) {
                sim.drain(&node, *remove);
            }
        }
        Act::Undrain => undrain(sim),
        Act::Target { target } => {
            sim.change(Change::PoolTargetSet { pool: pool(), target: *target, decision: None });
        }
        Act::ResizeInPlace(possible) => sim.cluster.can_resize = *possible,
        Act::Wait { looks, seconds: each } => {
            for _ in 0..*looks {
                sim.tick(seconds(i64::from(*each)));
            }
        }
        Act::Outage { seconds } => sim.tick(SignedDuration::from_secs(i64::from(*seconds))),
    }
}

fn pick(sim: &Simulation, node: Index) -> Option<NodeName> {
    let nodes: Vec<&NodeName> = sim.world.nodes.keys().collect();
    (!nodes.is_empty()).then(|| (*node.get(&nodes)).clone())
}

fn undrain(sim: &mut Simulation) {
    let draining: Vec<NodeName> = sim
        .world
        .nodes
        .values()
        .filter(|node| node.state == NodeState::Draining)
        .map(|node| node.name.clone())
        .collect();
    for node in draining {
        let (state, reason) = (NodeState::Ready, "back to work".to_owned());
        sim.change(Change::NodeMoved { node, state, reason, remove_when_empty: false });
    }
}

/// Everything is made well and given time.
fn heal(sim: &mut Simulation) {
    undrain(sim);
    sim.change(Change::PoolTargetSet { pool: pool(), target: 12, decision: None });
    for service in SERVICES {
        let mut spec = service_spec("serve 1", 2);
        spec.template.size = size(260, 110);
        sim.apply(service, WorkloadSpec::Service(Box::new(spec)));
    }
    for _ in 0..90 {
        sim.tick(seconds(5));
    }
}

/// Each planned occurrence has been opened once and closed at most once; only the newest can be open.
fn check_occurrences(sim: &Simulation) {
    for (key, (opened, outcomes)) in &sim.runs {
        assert!(*opened <= 1, "{key:?} was opened {opened} times\n{}", sim.tail());
        assert!(outcomes.len() <= 1, "{key:?} ended {outcomes:?}\n{}", sim.tail());
        let open = sim.world.runs.get(key).is_some_and(|run| run.outcome == RunOutcome::Active);
        assert!(open != (outcomes.len() == 1), "{key:?} is neither open nor closed\n{}", sim.tail());
    }
    for workload in sim.world.workloads.values() {
        let (Some(cron), Some(cursor)) = (workload.spec.as_cron(), workload.cron_cursor) else { continue };
        // The first revision that is still known began at or after the cursor's first position.
        let Some(mut at) = workload.revisions.values().map(|revision| revision.at).max() else { continue };
        while let Some(next) = cron.schedule.next_after(at).filter(|next| *next <= cursor) {
            let found = sim.runs.keys().any(|key| key.workload == workload.name && key.at == next);
            assert!(found, "{} of {next} is not accounted for\n{}", workload.name, sim.tail());
            at = next;
        }
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_story_keeps_the_rules_and_ends_well(acts in prop::collection::vec(act(), 5..40)) {
        let mut sim = Simulation::new();
        sim.pool("small", pool_spec(1, 12));
        sim.change(Change::PoolTargetSet { pool: pool(), target: 4, decision: None });
        sim.run_for(7);
        for act in &acts {
            perform(&mut sim, act);
            sim.look();
        }
        heal(&mut sim);
        check_occurrences(&sim);
        for service in SERVICES {
            prop_assert_eq!(sim.ready(service), 2, "{} is not well\n{}", service, sim.tail());
        }
        for cron in CRONS {
            sim.change(Change::WorkloadDeleted { workload: name(cron.0) });
        }
        sim.run_for(5);
        sim.look();
        prop_assert!(sim.plan.steps.is_empty(), "{:?}", sim.plan.steps);
        prop_assert!(sim.plan.waiting.is_empty(), "{:?}", sim.plan.waiting);
        prop_assert_eq!(sim.world.nodes.len(), 12);
    }

    /// Without faults, a service is never under its count while it is deployed, drained and resized.
    #[test]
    fn without_faults_capacity_never_falls_below_the_count(
        acts in prop::collection::vec(act(), 3..25),
        in_place in any::<bool>(),
    ) {
        let mut sim = Simulation::new();
        sim.cluster.can_resize = in_place;
        sim.pool("small", pool_spec(5, 12));
        sim.run_for(7);
        for service in SERVICES {
            let spec = service_spec("serve 1", 2);
            sim.apply(service, WorkloadSpec::Service(Box::new(spec)));
        }
        sim.run_for(10);
        for act in acts {
            match act {
                // A new revision that comes up, or one that never does: neither takes capacity away.
                Act::Apply { service, command, .. } => {
                    let command = ["serve 0", "serve 3", "crash 0", "hang"][command % 4];
                    let spec = service_spec(command, 2);
                    sim.apply(SERVICES[service], WorkloadSpec::Service(Box::new(spec)));
                }
                Act::Size { .. } | Act::Drain { .. } | Act::Undrain | Act::Target { .. } => {
                    perform(&mut sim, &act);
                }
                _ => {}
            }
            for _ in 0..8 {
                sim.tick(seconds(2));
                for service in SERVICES {
                    prop_assert!(sim.ready(service) >= 2, "{}\n{}", service, sim.tail());
                }
            }
        }
    }
}
