//! What holds of placement whatever is asked for: random services, jobs, pools and quotas, with failures.
//! The rules are checked with each step (`invariants`); here are the stories.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::domain::change::Change;
use crate::domain::node::{NodeName, PoolName};
use crate::domain::placement::{Constraint, Neighbour, Operator, PlacementSpec, SpreadOver, Strategy as Way};
use crate::domain::quantity::{Bytes, Millicores};
use crate::domain::quota::Quota;
use crate::domain::workload::WorkloadSpec;
use crate::scheduling::simulation::{Simulation, job, name, pool_spec, seconds, service_spec, size};

const SERVICES: [&str; 4] = ["api", "db", "shop", "web"];
const TEAMS: [&str; 2] = ["data", "shop"];
const POOLS: [(&str, &str); 3] = [("east", "a"), ("kept", "b"), ("west", "b")];

#[derive(Debug, Clone)]
struct Wanted {
    instances: u32,
    millicores: u64,
    mib: u64,
    priority: i32,
    team: usize,
    placement: PlacementSpec,
}

#[derive(Debug, Clone)]
enum Act {
    Service { service: usize, wanted: Wanted },
    Job { wanted: Wanted, work: u8 },
    Quota { team: usize, quota: Option<Quota> },
    Size { service: usize, millicores: u64 },
    FailNode(Index),
    Drain(Index),
    Target { pool: usize, target: u32 },
    Wait(u8),
}

fn by() -> impl Strategy<Value = String> {
    prop_oneof![Just("node".to_owned()), Just("zone".to_owned())]
}

fn neighbours() -> impl Strategy<Value = Vec<Neighbour>> {
    let rule = (0..SERVICES.len(), by(), any::<bool>()).prop_map(|(service, by, required)| Neighbour {
        workload: name(SERVICES[service]),
        by,
        required,
    });
    prop::collection::vec(rule, 0..2)
}

fn constraints() -> impl Strategy<Value = Vec<Constraint>> {
    let zone = |operator, any_of: &[&str]| {
        let any_of = any_of.iter().map(|&value| value.to_owned()).collect();
        vec![Constraint { attribute: "zone".to_owned(), operator, any_of }]
    };
    prop_oneof![
        4 => Just(Vec::new()),
        1 => Just(zone(Operator::In, &["a"])),
        1 => Just(zone(Operator::NotIn, &["a"])),
        1 => Just(zone(Operator::Exists, &[])),
        1 => Just(vec![Constraint::is_in("pool", vec!["west".to_owned(), "east".to_owned()])]),
    ]
}

fn placement() -> impl Strategy<Value = PlacementSpec> {
    let even = prop::option::weighted(0.3, (by(), 1..3_u32));
    (constraints(), any::<bool>(), even, neighbours(), neighbours()).prop_map(
        |(constraints, spread, even, affinity, anti_affinity)| PlacementSpec {
            constraints,
            strategy: if spread { Way::Spread } else { Way::Pack },
            spread_over: even.map(|(by, max_skew)| SpreadOver { by, max_skew }),
            affinity,
            anti_affinity,
        },
    )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let size = (50..700_u64, 50..700_u64);
    (0..5_u32, size, 0..4_i32, 0..TEAMS.len(), placement()).prop_map(
        |(instances, (millicores, mib), priority, team, placement)| Wanted {
            instances,
            millicores,
            mib,
            priority,
            team,
            placement,
        },
    )
}

fn quota() -> impl Strategy<Value = Option<Quota>> {
    let bounds =
        (prop::option::of(200..3000_u64), prop::option::of(200..3000_u64), prop::option::of(0..8_u32));
    prop::option::of(bounds.prop_map(|(cpu, memory, tasks)| Quota {
        cpu: cpu.map(Millicores::new),
        memory: memory.map(Bytes::mib),
        tasks,
    }))
}

fn act() -> impl Strategy<Value = Act> {
    let service = 0..SERVICES.len();
    prop_oneof![
        6 => (service.clone(), wanted()).prop_map(|(service, wanted)| Act::Service { service, wanted }),
        2 => (wanted(), 1..30_u8).prop_map(|(wanted, work)| Act::Job { wanted, work }),
        2 => (0..TEAMS.len(), quota()).prop_map(|(team, quota)| Act::Quota { team, quota }),
        1 => (service, 50..900_u64).prop_map(|(service, millicores)| Act::Size { service, millicores }),
        1 => any::<Index>().prop_map(Act::FailNode),
        1 => any::<Index>().prop_map(Act::Drain),
        1 => (0..POOLS.len(), 1..4_u32).prop_map(|(pool, target)| Act::Target { pool, target }),
        5 => (1..10_u8).prop_map(Act::Wait),
    ]
}

fn pool(which: usize) -> PoolName {
    PoolName::new(POOLS[which].0).expect("a name")
}

fn node(sim: &Simulation, index: Index) -> Option<NodeName> {
    let nodes: Vec<&NodeName> = sim.world.nodes.keys().collect();
    (!nodes.is_empty()).then(|| (*index.get(&nodes)).clone())
}

fn perform(sim: &mut Simulation, act: Act) {
    match act {
        Act::Service { service, wanted } => {
            let mut spec = service_spec("serve 1", wanted.instances);
            spec.owner.team = Some(TEAMS[wanted.team].to_owned());
            spec.template.size = size(wanted.millicores, wanted.mib);
            spec.template.priority = wanted.priority;
            spec.template.placement = wanted.placement;
            sim.apply(SERVICES[service], WorkloadSpec::Service(Box::new(spec)));
        }
        Act::Job { wanted, work } => {
            let mut spec = job(&format!("work {work}"), true, 0);
            spec.owner.team = Some(TEAMS[wanted.team].to_owned());
            spec.template.size = size(wanted.millicores, wanted.mib);
            spec.template.priority = wanted.priority;
            spec.template.placement.constraints = wanted.placement.constraints;
            sim.apply("load", WorkloadSpec::Job(Box::new(spec)));
        }
        Act::Quota { team, quota } => {
            let team = TEAMS[team].to_owned();
            sim.change(match quota {
                Some(quota) => Change::QuotaApplied { team, quota },
                None => Change::QuotaDeleted { team },
            });
        }
        Act::Size { service, millicores } => {
            let (workload, size) = (name(SERVICES[service]), size(millicores, 100));
            sim.change(Change::SizeSet { workload, size, decision: None });
        }
        Act::FailNode(index) => {
            if let Some(node) = node(sim, index) {
                sim.fail_node(&node);
            }
        }
        Act::Drain(index) => {
            if let Some(node) = node(sim, index) {
                sim.drain(&node, true);
            }
        }
        Act::Target { pool: which, target } => {
            sim.change(Change::PoolTargetSet { pool: pool(which), target, decision: None });
        }
        Act::Wait(looks) => {
            for _ in 0..looks {
                sim.tick(seconds(2));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// No node is overbooked, constraints, neighbours and evenness hold, quotas are not exceeded, only tasks
    /// of strictly lower priority make room and no service gives more than its budget, and each plan
    /// is idempotent.
    #[test]
    fn any_story_keeps_the_rules_of_placement(acts in prop::collection::vec(act(), 5..40)) {
        let mut sim = Simulation::new();
        for (pool, zone) in POOLS {
            let mut spec = pool_spec(1, 3);
            spec.attributes.insert("zone".to_owned(), zone.to_owned());
            if pool == "kept" {
                spec.reserved_for = vec!["data".to_owned(), "web".to_owned()];
            }
            sim.pool(pool, spec);
        }
        sim.run_for(7);
        for act in acts {
            perform(&mut sim, act);
            sim.look();
        }
        // Whatever waits in the end says for what.
        for waiting in &sim.plan.waiting {
            prop_assert!(!waiting.reason.is_empty());
        }
    }
}
