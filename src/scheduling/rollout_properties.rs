//! Random stories of rollouts by every strategy, with failures and people in between.
//! `Simulation::look` checks with each look that the plan is repeatable and idempotent, and that it takes
//! no instance that serves where fewer than declared would be left.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::domain::action::{ActionKey, Switch};
use crate::domain::intent::Intent;
use crate::domain::node::NodeName;
use crate::domain::quantity::Share;
use crate::domain::rollout::RolloutState;
use crate::domain::strategy::{Acceptance, Comparison, Portion, Strategy as Way};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadSpec;
use crate::scheduling::simulation::{Simulation, name, pool_spec, seconds, service_spec};

const COUNT: u32 = 3;
const COMMANDS: [&str; 7] =
    ["serve 0 20", "serve 3 20", "serve 1 60", "serve 1 20 40", "crash 0", "hang", "sick 8"];

#[derive(Debug, Clone)]
enum Act {
    Apply { command: usize, way: Way },
    Intent(Intent),
    Bounce(Index),
    Stop(Index),
    Drain(Index, Option<i64>),
    Command(Option<bool>),
    Rate(u64),
    Kill(Index),
    FailNode(Index),
    Wait { looks: u8, seconds: u8 },
    Outage(u16),
}

fn acceptance() -> impl Strategy<Value = Acceptance> {
    prop_oneof![
        Just(Acceptance::Ready),
        Just(Acceptance::Time),
        Just(Acceptance::Manual),
        Just(Acceptance::Metric(Comparison::default())),
        Just(Acceptance::Command { command: vec!["ok".to_owned()], time_limit: seconds(5) }),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    let portion = prop_oneof![
        (1..4_u32).prop_map(Portion::Count),
        (0.1..1.0_f64).prop_map(|share| Portion::Share(Share::new(share))),
    ];
    let groups = prop::collection::vec(portion, 1..4);
    prop_oneof![
        1 => Just(Way::Rolling),
        3 => (groups, 0..30_i64, acceptance())
            .prop_map(|(groups, wait, accept)| Way::Canary { groups, wait: seconds(wait), accept }),
        3 => (0..20_i64, acceptance(), 0..40_i64).prop_map(|(wait, accept, hold)| Way::BlueGreen {
            wait: seconds(wait),
            // It gets no requests before the switch.
            accept: if matches!(accept, Acceptance::Metric(_)) { Acceptance::Time } else { accept },
            hold: seconds(hold),
        }),
    ]
}

fn lasting() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(5..90_i64)
}

fn intent() -> impl Strategy<Value = Intent> {
    let web = || name("web");
    prop_oneof![
        3 => Just(Intent::AdvanceRollout(web())),
        2 => Just(Intent::AbortRollout(web())),
        2 => prop::option::of(1..6_u64).prop_map(move |to| Intent::Rollback { workload: web(), to }),
        1 => Just(Intent::Bounce { workload: web(), task: None }),
        1 => lasting().prop_map(move |l| Intent::Freeze { switch: Switch::Deploys, lasting: l.map(seconds) }),
        1 => Just(Intent::Unfreeze(Switch::Deploys)),
        1 => lasting().prop_map(move |l| Intent::Freeze { switch: Switch::Draining, lasting: l.map(seconds) }),
        1 => Just(Intent::Unfreeze(Switch::Draining)),
        1 => Just(Intent::CancelAction(ActionKey::Bounce(web()))),
    ]
}

/// What makes a service have fewer instances on purpose.
fn down() -> impl Strategy<Value = Intent> {
    let web = || name("web");
    prop_oneof![
        (0..6_u32, lasting()).prop_map(move |(count, l)| Intent::Scale {
            workload: web(),
            count,
            acknowledged: true,
            lasting: l.map(seconds),
        }),
        lasting().prop_map(move |l| Intent::Pause { workload: web(), lasting: l.map(seconds) }),
        Just(Intent::Resume(web())),
        Just(Intent::CancelAction(ActionKey::Scale(web()))),
    ]
}

fn harmless() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..COMMANDS.len(), way()).prop_map(|(command, way)| Act::Apply { command, way }),
        4 => intent().prop_map(Act::Intent),
        1 => any::<Index>().prop_map(Act::Bounce),
        1 => (any::<Index>(), lasting()).prop_map(|(node, lasting)| Act::Drain(node, lasting)),
        1 => any::<Option<bool>>().prop_map(Act::Command),
        1 => (0..60_u64).prop_map(Act::Rate),
        6 => (1..15_u8, 1..6_u8).prop_map(|(looks, seconds)| Act::Wait { looks, seconds }),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => harmless(),
        2 => down().prop_map(Act::Intent),
        1 => any::<Index>().prop_map(Act::Stop),
        2 => any::<Index>().prop_map(Act::Kill),
        1 => any::<Index>().prop_map(Act::FailNode),
        1 => (10..400_u16).prop_map(Act::Outage),
    ]
}

fn some_task(sim: &Simulation, index: Index) -> Option<TaskId> {
    let tasks: Vec<&TaskId> = sim.world.tasks.keys().collect();
    (!tasks.is_empty()).then(|| (*index.get(&tasks)).clone())
}

fn some_node(sim: &Simulation, index: Index) -> Option<NodeName> {
    let nodes: Vec<&NodeName> = sim.world.nodes.keys().collect();
    (!nodes.is_empty()).then(|| (*index.get(&nodes)).clone())
}

fn spec(command: &str, way: Way) -> WorkloadSpec {
    let mut spec = service_spec(command, COUNT);
    spec.rollout.strategy = way;
    WorkloadSpec::Service(Box::new(spec))
}

fn perform(sim: &mut Simulation, act: Act, mut check: impl FnMut(&Simulation)) {
    let asked = match act {
        Act::Apply { command, way } => {
            sim.apply("web", spec(COMMANDS[command], way));
            None
        }
        Act::Intent(intent) => Some(intent),
        Act::Bounce(index) => {
            some_task(sim, index).map(|task| Intent::Bounce { workload: name("web"), task: Some(task) })
        }
        Act::Stop(index) => some_task(sim, index).map(Intent::StopTask),
        Act::Drain(index, lasting) => {
            some_node(sim, index).map(|node| Intent::Drain { node, lasting: lasting.map(seconds) })
        }
        Act::Command(says) => {
            sim.judges.command_accepts = says;
            None
        }
        Act::Rate(rate) => {
            sim.judges.rate = rate;
            None
        }
        Act::Kill(index) => {
            if let Some(task) = some_task(sim, index) {
                sim.kill(&task);
            }
            None
        }
        Act::FailNode(index) => {
            if let Some(node) = some_node(sim, index) {
                sim.fail_node(&node);
            }
            None
        }
        Act::Wait { looks, seconds: each } => {
            for _ in 0..looks {
                sim.tick(seconds(i64::from(each)));
                check(sim);
            }
            None
        }
        Act::Outage(time) => {
            sim.tick(seconds(i64::from(time)));
            None
        }
    };
    if let Some(intent) = asked {
        // Much of it is refused: nothing is under way, or it is frozen.
        let _ = sim.ask("a story", &intent);
    }
    sim.look();
    check(sim);
}

fn begin() -> Simulation {
    let mut sim = Simulation::new();
    sim.pool("small", pool_spec(5, 12));
    sim.run_for(7);
    sim.apply("web", spec("serve 1 20", Way::Rolling));
    sim.run_for(12);
    sim
}

/// Everything that was set in force is lifted, a good revision is applied, and time passes.
fn heal(sim: &mut Simulation) {
    let keys: Vec<ActionKey> = sim.world.actions.keys().cloned().collect();
    for key in keys {
        sim.ask("", &Intent::CancelAction(key)).expect("an action in force");
    }
    sim.apply("web", spec("serve 2 20", Way::Rolling));
    for _ in 0..60 {
        sim.tick(seconds(5));
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// Nothing that people deploy, bounce, drain, freeze, abort or let on takes a service under its count.
    #[test]
    fn no_rollout_takes_a_service_under_its_count(
        acts in prop::collection::vec(harmless(), 3..25),
    ) {
        let mut sim = begin();
        // A check that turns bad in an instance that serves is a failure, which no plan can undo.
        let acts = acts.into_iter().filter(|act| !matches!(act, Act::Apply { command: 6, .. }));
        for act in acts {
            perform(&mut sim, act, |sim| {
                assert!(sim.ready("web") >= COUNT as usize, "{}", sim.tail());
            });
        }
    }

    /// Whatever happens, plans keep the rules (each look checks them), and all ends well.
    #[test]
    fn any_story_of_rollouts_ends_well(acts in prop::collection::vec(any_act(), 5..35)) {
        let mut sim = begin();
        for act in acts {
            perform(&mut sim, act, |_| {});
        }
        heal(&mut sim);
        prop_assert_eq!(sim.ready("web"), COUNT as usize, "{}", sim.tail());
        let workload = &sim.world.workloads[&name("web")];
        prop_assert_eq!(&workload.rollout.as_ref().expect("a rollout").state, &RolloutState::Done, "{}", sim.tail());
        prop_assert!(workload.spec.template().command == ["serve", "2", "20"]);
        prop_assert!(sim.world.actions.is_empty());
        sim.look();
        prop_assert!(sim.plan.steps.is_empty(), "{:?}", sim.plan.steps);
    }
}
