//! Nodes filled by what their tasks use: what is placed, what is not, and what is said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::domain::observation::Usage;
use crate::domain::overcommit::Overcommit;
use crate::domain::plan::Waiting;
use crate::domain::quantity::{Millicores, Resources};
use crate::domain::workload::WorkloadSpec;
use crate::scheduling::simulation::{Simulation, service_spec, size};

fn service(instances: u32, millicores: u64, mib: u64, priority: i32) -> WorkloadSpec {
    let mut spec = service_spec("serve 0", instances);
    spec.template.size = size(millicores, mib);
    spec.template.priority = priority;
    WorkloadSpec::Service(Box::new(spec))
}

/// One node of 1000 millicores and 1000 MiB, with four tasks of 250 millicores and 100 MiB.
fn full() -> Simulation {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("idle", service(4, 250, 100, 0));
    sim.run_for(5);
    assert_eq!(sim.ready("idle"), 4);
    sim
}

/// All tasks that there are now count with so much each.
fn counts(sim: &mut Simulation, millicores: u64, most: f64) {
    let charges = sim.world.tasks.keys().map(|id| (id.clone(), Millicores::new(millicores)));
    let overcommit = Arc::new(Overcommit { charges: charges.collect(), most });
    sim.cluster.usage = Arc::new(Usage { overcommit, ..Usage::default() });
}

fn reason(waiting: &Waiting) -> String {
    waiting.nodes[0].1.to_string()
}

#[test]
fn tasks_are_placed_by_what_others_use_and_count_with_their_requests_themselves() {
    let mut sim = full();
    sim.apply("more", service(4, 250, 100, 0));
    sim.run_for(5);
    assert_eq!((sim.ready("more"), sim.plan.waiting.len()), (0, 4), "requests fill the node");
    assert_eq!(reason(&sim.plan.waiting[0]), "has too little cpu free (0 cores, 600.0 MiB)");
    sim.cluster.usage = {
        let idle = sim.world.tasks.keys().filter(|id| id.workload().as_str() == "idle");
        let charges = idle.map(|id| (id.clone(), Millicores::new(20))).collect();
        let overcommit = Arc::new(Overcommit { charges, most: 2.0 });
        Arc::new(Usage { overcommit, ..Usage::default() })
    };
    sim.run_for(5);
    assert_eq!((sim.ready("more"), sim.plan.waiting.len()), (3, 1), "80 and 3 x 250 of 1000\n{}", sim.tail());
    sim.assert_says("by predicted use, 0 cores by requests were free");
    let told = reason(&sim.plan.waiting[0]);
    assert_eq!(told, "has too little cpu free (0.17 cores, 300.0 MiB by predicted use, 0 cores by requests)");
}

#[test]
fn requests_stay_within_their_bound_and_memory_is_never_lent() {
    let mut sim = full();
    counts(&mut sim, 0, 1.5);
    sim.apply("more", service(4, 250, 100, 0));
    sim.run_for(5);
    assert_eq!(sim.ready("more"), 2, "1500 of 1000 millicores may be requested");
    let mut sim = full();
    counts(&mut sim, 0, 4.0);
    sim.apply("large", service(2, 100, 400, 0));
    sim.run_for(5);
    assert_eq!(sim.ready("large"), 1, "600 MiB were free");
    assert!(reason(&sim.plan.waiting[0]).starts_with("has too little memory free"), "{:?}", sim.plan.waiting);
}

#[test]
fn where_use_is_no_longer_known_nothing_is_added_and_nothing_goes() {
    let mut sim = full();
    counts(&mut sim, 20, 2.0);
    sim.apply("more", service(2, 250, 100, 0));
    sim.run_for(5);
    assert_eq!(sim.ready("more"), 2);
    let overcommit = Arc::new(Overcommit { charges: BTreeMap::new(), most: 2.0 });
    sim.cluster.usage = Arc::new(Usage { overcommit, ..Usage::default() });
    sim.apply("late", service(1, 50, 10, 0));
    sim.run_for(5);
    assert_eq!((sim.ready("idle"), sim.ready("more"), sim.ready("late")), (4, 2, 0), "{}", sim.tail());
}

#[test]
fn a_task_of_higher_priority_takes_no_more_than_it_needs_of_a_lent_node() {
    let mut sim = full();
    counts(&mut sim, 20, 2.0);
    sim.apply("more", service(3, 250, 100, 0));
    sim.run_for(5);
    assert_eq!(sim.ready("more"), 3);
    sim.apply("high", service(1, 300, 50, 5));
    sim.run_for(10);
    // 170 millicores are free: one task that counts with 250 is enough, and four idle ones are not.
    assert_eq!((sim.ready("high"), sim.ready("idle"), sim.ready("more")), (1, 4, 2), "{}", sim.tail());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// What holds of each look (`Simulation::check_nodes`): memory requested within the node, CPU within its bound.
    /// Where every task counts with its request, all is as if overcommit were off.
    #[test]
    fn lent_cpu_has_its_bound_and_charges_of_requests_change_nothing(
        nodes in 1..4_u32,
        services in prop::collection::vec((1..8_u32, 50..500_u64, 20..400_u64, 0..3_i32), 1..5),
        charged in 0..300_u64,
        most in 1.0..3.0_f64,
    ) {
        let story = |charge: &dyn Fn(u64) -> Option<u64>| {
            let mut sim = Simulation::with_nodes(nodes);
            for (number, &(instances, cpu, mib, priority)) in services.iter().enumerate() {
                sim.apply(&format!("s{number}"), service(instances, cpu, mib, priority));
                for _ in 0..4 {
                    sim.run_for(2);
                    let counted = sim.world.tasks.values().filter_map(|task| {
                        let counts = charge(task.size.request.cpu.get())?;
                        Some((task.id.clone(), Millicores::new(counts)))
                    });
                    let overcommit = Arc::new(Overcommit { charges: counted.collect(), most });
                    sim.cluster.usage = Arc::new(Usage { overcommit, ..Usage::default() });
                }
            }
            sim
        };
        let off = story(&|_| None);
        let by_requests = story(&Some);
        prop_assert_eq!(&off.journal, &by_requests.journal);
        prop_assert_eq!(&off.world, &by_requests.world);
        let lent = story(&|request| Some(request.min(charged)));
        for node in lent.world.nodes.values() {
            let on = lent.world.tasks.values().filter(|task| {
                task.node.as_ref() == Some(&node.name) && task.state.holds_resources()
            });
            let requested: Resources = on.map(|task| task.size.request).sum();
            prop_assert!(requested.memory <= node.size.memory);
            prop_assert!(requested.cpu.cores() <= node.size.cpu.cores() * most + 0.001, "{}", requested);
        }
    }
}
