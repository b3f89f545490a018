//! Whatever happens, each planned occurrence of a cron job ends in exactly one record. Random schedules,
//! policies, failures, pauses, outages and jumps of the clock are told to a simulation, which checks with
//! each look that plans are repeatable and idempotent.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::domain::action::{Action, ActionEnd, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::cron::CronSchedule;
use crate::domain::intent::{Declared, Intent, RunOverrides};
use crate::domain::rollout::Actor;
use crate::domain::workload::{CatchUp, CatchUpPolicy, CronJobSpec, OverlapPolicy, WorkloadSpec};
use crate::scheduling::simulation::{Simulation, cron, name, pool_spec, seconds};

const SCHEDULES: [(&str, &str); 6] = [
    ("*/20 * * * * *", "UTC"),
    ("* * * * *", "America/New_York"),
    ("*/7 1,2,3 * * *", "Europe/Berlin"),
    ("0 * * * *", "Australia/Lord_Howe"),
    ("FREQ=MINUTELY;INTERVAL=13", "Europe/Berlin"),
    ("FREQ=DAILY;BYHOUR=0,2,12;BYMINUTE=30", "Pacific/Apia"),
];
const STARTS: [&str; 3] = ["2026-03-28T23:00:00Z", "2026-10-24T22:00:00Z", "2026-11-01T04:30:00Z"];

#[derive(Debug, Clone)]
struct Declaration {
    schedule: usize,
    overlap: OverlapPolicy,
    catch_up: CatchUp,
    jitter: i64,
    work: u32,
}

#[derive(Debug, Clone)]
enum Act {
    Wait { looks: u8, seconds: u16 },
    Outage { minutes: u16 },
    Clock { minutes: i16 },
    Pause(bool),
    Freeze(bool),
    Declare(Declaration),
    DeclareAfterOutage(Declaration, u16),
    Run,
    Kill,
    FailNode,
}

fn declaration() -> impl Strategy<Value = Declaration> {
    let overlap = prop::sample::select(vec![
        OverlapPolicy::Forbid,
        OverlapPolicy::Allow,
        OverlapPolicy::Replace,
        OverlapPolicy::Queue,
    ]);
    let policy = prop::sample::select(vec![CatchUpPolicy::Skip, CatchUpPolicy::Once, CatchUpPolicy::All]);
    let jitter = prop::sample::select(vec![0, 0, 15, 400]);
    (0..SCHEDULES.len(), overlap, policy, 1..6_u32, jitter, 1..200_u32).prop_map(
        |(schedule, overlap, policy, max, jitter, work)| {
            let catch_up = CatchUp { policy, max, deadline: SignedDuration::from_mins(90) };
            Declaration { schedule, overlap, catch_up, jitter, work }
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..20_u8, 1..300_u16).prop_map(|(looks, seconds)| Act::Wait { looks, seconds }),
        2 => (1..600_u16).prop_map(|minutes| Act::Outage { minutes }),
        1 => (-1500..1500_i16).prop_map(|minutes| Act::Clock { minutes }),
        2 => any::<bool>().prop_map(Act::Pause),
        2 => any::<bool>().prop_map(Act::Freeze),
        2 => declaration().prop_map(Act::Declare),
        1 => (declaration(), 1..200_u16).prop_map(|(spec, minutes)| Act::DeclareAfterOutage(spec, minutes)),
        1 => Just(Act::Run),
        1 => Just(Act::Kill),
        1 => Just(Act::FailNode),
    ]
}

/// A schedule with the time in which it was in force.
struct Stretch {
    schedule: CronSchedule,
    from: Timestamp,
}

fn spec(declaration: &Declaration) -> CronJobSpec {
    let command = format!("work {}", declaration.work);
    let WorkloadSpec::CronJob(mut spec) = cron(&command, "* * * * *", declaration.overlap) else {
        unreachable!("a cron job")
    };
    let (expression, zone) = SCHEDULES[declaration.schedule];
    spec.schedule = CronSchedule::new(expression, zone).expect("a schedule");
    spec.catch_up = declaration.catch_up;
    spec.jitter = seconds(declaration.jitter);
    spec.queue_max = 3;
    *spec
}

fn cursor(sim: &Simulation) -> Timestamp {
    sim.world.workloads[&name("tidy")].cron_cursor.expect("a cursor")
}

/// Declares the job, and says from when on its schedule is in force if it is a new one.
fn declare(sim: &mut Simulation, declaration: &Declaration, stretches: &mut Vec<Stretch>) {
    let spec = spec(declaration);
    let schedule = spec.schedule.clone();
    let mut declared = Declared::default();
    declared.workloads.insert(name("tidy"), WorkloadSpec::CronJob(Box::new(spec)));
    sim.ask("", &Intent::Apply(Box::new(declared))).expect("applied");
    if stretches.last().is_none_or(|last| last.schedule != schedule) {
        stretches.push(Stretch { schedule, from: cursor(sim) });
    }
}

fn set(sim: &mut Simulation, key: ActionKey, on: bool) {
    if on {
        let action = Action::new(key, Actor::User("ann".to_owned()), "maintenance", sim.now);
        sim.change(Change::ActionBegun { action: Box::new(action) });
    } else {
        sim.change(Change::ActionEnded { action: key, end: ActionEnd::Done });
    }
}

fn perform(sim: &mut Simulation, act: &Act, stretches: &mut Vec<Stretch>) {
    match act {
        Act::Wait { looks, seconds: each } => {
            for _ in 0..*looks {
                sim.tick(seconds(i64::from(*each)));
            }
        }
        Act::Outage { minutes } => sim.tick(SignedDuration::from_mins(i64::from(*minutes))),
        Act::Clock { minutes } => sim.now += SignedDuration::from_mins(i64::from(*minutes)),
        Act::Pause(on) => set(sim, ActionKey::Pause(name("tidy")), *on),
        Act::Freeze(on) => set(sim, ActionKey::Freeze(Switch::Cron), *on),
        Act::Declare(declaration) => declare(sim, declaration, stretches),
        Act::DeclareAfterOutage(declaration, minutes) => {
            sim.now += SignedDuration::from_mins(i64::from(*minutes));
            declare(sim, declaration, stretches);
        }
        Act::Run => {
            let overrides = Box::new(RunOverrides::default());
            // A paused one is refused, and so is a second one at the same instant.
            let _ = sim.ask("", &Intent::Run { workload: name("tidy"), overrides });
        }
        Act::Kill => {
            if let Some(task) = sim.world.tasks.keys().next().cloned() {
                sim.kill(&task);
            }
        }
        Act::FailNode => {
            if let Some(node) = sim.world.nodes.keys().next().cloned() {
                sim.fail_node(&node);
            }
        }
    }
    sim.look();
}

/// The records account for exactly the occurrences of the schedules that were in force.
fn check(sim: &Simulation, stretches: &[Stretch]) {
    let ends = stretches.iter().skip(1).map(|next| next.from).chain([cursor(sim)]);
    let mut total = 0;
    for (stretch, end) in stretches.iter().zip(ends) {
        let planned: Vec<Timestamp> =
            stretch.schedule.after(stretch.from).take_while(|at| *at <= end).collect();
        let counted: u64 = sim
            .occurrences
            .iter()
            .filter(|(key, _)| key.at > stretch.from && key.at <= end)
            .map(|(key, count)| {
                assert!(planned.contains(&key.at), "{} was not planned\n{}", key.at, sim.tail());
                *count
            })
            .sum();
        assert_eq!(counted, planned.len() as u64, "{} to {end}\n{}", stretch.from, sim.tail());
        total += counted;
    }
    assert_eq!(sim.occurrences.values().sum::<u64>(), total);
    for (key, (opened, outcomes)) in &sim.runs {
        assert_eq!(*opened, 1, "{key:?}\n{}", sim.tail());
        let active = sim.world.runs.get(key).is_some_and(|run| !run.outcome.is_final());
        assert_eq!(outcomes.len(), usize::from(!active), "{key:?} {outcomes:?}\n{}", sim.tail());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_occurrence_ends_in_exactly_one_record(
        start in prop::sample::select(STARTS.to_vec()),
        first in declaration(),
        acts in prop::collection::vec(act(), 3..30),
    ) {
        let mut sim = Simulation::starting(start);
        sim.pool("small", pool_spec(2, 4));
        sim.run_for(7);
        let mut stretches = Vec::new();
        declare(&mut sim, &first, &mut stretches);
        sim.look();
        let mut latest = sim.now;
        for act in &acts {
            perform(&mut sim, act, &mut stretches);
            latest = latest.max(sim.now);
        }
        check(&sim, &stretches);
        // What is open ends once nothing holds it any more.
        set(&mut sim, ActionKey::Pause(name("tidy")), false);
        // Until the clock is where it has been, nodes that joined and processes that began are in the future.
        sim.now = latest.max(cursor(&sim));
        set(&mut sim, ActionKey::Freeze(Switch::Cron), true);
        // Catch-ups stand in line one after the other, so the line may be long.
        for _ in 0..4_000 {
            if sim.world.runs.values().all(|run| run.outcome.is_final()) {
                break;
            }
            sim.tick(seconds(30));
        }
        check(&sim, &stretches);
        let open = sim.world.runs.values().filter(|run| !run.outcome.is_final()).count();
        prop_assert_eq!(open, 0, "{}", sim.tail());
    }
}
