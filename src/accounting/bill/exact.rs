//! The bill adds up to the last micro-cent, whatever happened: random histories of nodes and tasks.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;

use crate::accounting::bill::charge::{Charge, ChargeKind, Terms};
use crate::accounting::bill::nodes::{NodeLife, PriceStep};
use crate::accounting::bill::report::{By, Frame, report};
use crate::accounting::bill::shared::Sharing;
use crate::accounting::bill::statement::{Detail, Fleet, Statement};
use crate::accounting::bill::taken::{Gathering, Subject, taken};
use crate::accounting::facts::TaskInterval;
use crate::accounting::task_times::Rows;
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{NodeName, PoolName};
use crate::domain::quantity::{Bytes, GIB, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::usage::UsageSample;
use crate::domain::workload::{Owner, WorkloadKind, WorkloadName};

const START: i64 = 1_795_000_000 / 3600 * 3600;
/// Six hours, and a little of before and after.
const SECONDS: i64 = 6 * 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).expect("a time")
}

fn node(number: u8) -> NodeName {
    NodeName::new(&format!("small-{number}")).expect("a name")
}

fn task(number: u64) -> TaskId {
    // Six workloads of two tasks.
    TaskId::new(WorkloadName::new(&format!("w{}", number % 6)).expect("a name"), number / 6 + 1)
}

fn second() -> impl Strategy<Value = i64> {
    -1800_i64..SECONDS + 1800
}

prop_compose! {
    /// Nodes come, become ready, are told to go and go, in any order; their prices change.
    fn life()(
        number in 0_u8..4,
        from in second(),
        length in prop::option::of(0_i64..20_000),
        (ready, leaving) in (prop::option::of(0_i64..4000), prop::option::of(0_i64..20_000)),
        size in (0_u64..8000, 0_u64..(8 * GIB)),
        prices in prop::collection::vec((0_i64..8000, 0_i64..500_000_000), 1..4),
    ) -> NodeLife {
        let mut steps: Vec<PriceStep> = prices
            .iter()
            .map(|(after, price)| PriceStep { from: at(from + after), per_hour: MicroCents::new(*price) })
            .collect();
        steps.sort_by_key(|step| step.from);
        steps[0].from = at(from);
        NodeLife {
            node: node(number),
            pool: PoolName::new(if number < 2 { "a" } else { "b" }).expect("a name"),
            size: Resources::new(Millicores::new(size.0), Bytes::new(size.1)),
            from: at(from),
            ready: ready.map(|after| at(from + after)),
            leaving: leaving.map(|after| at(from + after)),
            to: length.map(|length| at(from + length)),
            prices: steps,
        }
    }
}

prop_compose! {
    /// Lines of an imported bill: of nodes that are known or not, or of none; discounts; lines without length.
    fn line()(
        number in prop::option::of(0_u8..6),
        from in second(),
        length in prop::option::weighted(0.9, 0_i64..40_000),
        cost in -50_000_000_i64..2_000_000_000,
    ) -> Charge {
        Charge {
            node: number.map(node),
            from: at(from),
            to: length.map(|length| at(from + length)),
            terms: Terms::Whole(MicroCents::new(cost)),
            kind: ChargeKind::Usage,
        }
    }
}

prop_compose! {
    /// Tasks restart (another interval), are resized (the same instant, another request), and change nodes.
    fn interval()(
        number in 0_u64..12,
        on in prop::option::weighted(0.95, 0_u8..5),
        from in second(),
        length in prop::option::weighted(0.8, 0_i64..10_000),
        size in (0_u64..3000, 0_u64..(3 * GIB)),
    ) -> TaskInterval {
        TaskInterval {
            task: task(number),
            pool: None,
            node: on.map(node),
            from: at(from),
            to: length.map(|length| at(from + length)),
            request: Resources::new(Millicores::new(size.0), Bytes::new(size.1)),
        }
    }
}

prop_compose! {
    /// Samples with gaps and overlaps, some without an interval or without CPU.
    fn sample()(
        number in 0_u64..12,
        end in second(),
        seconds in prop::option::weighted(0.9, 0.0_f64..600.0),
        cores in prop::option::weighted(0.9, 0.0_f64..4.0),
        memory in 0_u64..(4 * GIB),
        size in (0_u64..3000, 0_u64..(3 * GIB)),
    ) -> UsageSample {
        UsageSample {
            workload: task(number).workload().clone(),
            task: task(number),
            at: at(end),
            interval_seconds: seconds,
            cpu_cores: cores,
            throttled_share: None,
            memory: Bytes::new(memory),
            page_cache: None,
            request: Resources::new(Millicores::new(size.0), Bytes::new(size.1)),
            oom_kills: 0,
        }
    }
}

fn subject(task: &TaskId, tasks: bool) -> Subject {
    let name = task.workload().as_str();
    let owner = match name {
        "w0" | "w1" => Owner { team: Some("shop".to_owned()), cost_centre: Some("4711".to_owned()) },
        "w2" => Owner { team: Some("search".to_owned()), cost_centre: None },
        _ => Owner { team: None, cost_centre: None },
    };
    let kind = if name == "w3" { WorkloadKind::CronJob } else { WorkloadKind::Service };
    Subject { workload: task.workload().clone(), task: tasks.then(|| task.number()), kind: Some(kind), owner }
}

#[derive(Debug)]
struct History {
    lives: Vec<NodeLife>,
    charges: Vec<Charge>,
    intervals: Vec<TaskInterval>,
    samples: Vec<UsageSample>,
    system: Resources,
}

fn history() -> impl Strategy<Value = History> {
    let lives = prop::collection::vec(life(), 0..6);
    let lines = prop::collection::vec(line(), 0..6);
    let intervals = prop::collection::vec(interval(), 0..25);
    let samples = prop::collection::vec(sample(), 0..60);
    let system = (0_u64..500, 0_u64..GIB);
    (lives, lines, intervals, samples, system).prop_map(|(lives, lines, intervals, samples, system)| {
        let mut charges = charges_of(&lives);
        charges.extend(lines);
        let system = Resources::new(Millicores::new(system.0), Bytes::new(system.1));
        History { lives, charges, intervals, samples, system }
    })
}

fn charges_of(lives: &[NodeLife]) -> Vec<Charge> {
    lives.iter().flat_map(crate::accounting::bill::nodes::charges_of).collect()
}

/// The statement of a history, made in windows of so many hours.
fn statement(history: &History, step_hours: i64, detail: Detail, tasks: bool) -> Statement {
    let prices = Prices { core_hour: MicroCents::new(3_161_100), gib_hour: MicroCents::new(423_700) };
    let fleet = Fleet { lives: &history.lives, charges: &history.charges, prices, system: history.system };
    let mut all = Statement::new(detail, at(SECONDS / 2), BTreeSet::new());
    let mut from = 0;
    while from < SECONDS {
        let to = (from + step_hours * 3600).min(SECONDS);
        let mut subjects = std::mem::take(&mut all.subjects);
        let found = taken((at(from), at(to)), &history.intervals, &history.samples, |task| {
            subjects.number(&subject(task, tasks))
        });
        all.subjects = subjects;
        all.add((at(from), at(to)), &fleet, &found);
        from = to;
    }
    all
}

/// The same by way of the history, whose rows are written in parts of so many steps.
fn statement_of_rows(history: &History, part_steps: i64, detail: Detail) -> Statement {
    let prices = Prices { core_hour: MicroCents::new(3_161_100), gib_hour: MicroCents::new(423_700) };
    let fleet = Fleet { lives: &history.lives, charges: &history.charges, prices, system: history.system };
    let mut all = Statement::new(detail, at(SECONDS / 2), BTreeSet::new());
    let mut subjects = std::mem::take(&mut all.subjects);
    let mut gathering = Gathering::default();
    let (mut from, mut rows) = (0, Rows::default());
    while from < SECONDS {
        let to = (from + part_steps * 300).min(SECONDS);
        let about = |task: &TaskId| {
            let known = subject(task, true);
            (known.kind, known.owner)
        };
        // A part sees what the store has when it is written: all that touches it.
        rows.add((at(from), at(to)), &history.intervals, &history.samples, about);
        from = to;
        if from % 3600 == 0 {
            gathering.add_history(&std::mem::take(&mut rows).finish(), |series| {
                subjects.number(&Subject {
                    kind: series.kind,
                    owner: series.owner.clone(),
                    ..subject(&series.task, true)
                })
            });
        }
    }
    gathering.add_history(&rows.finish(), |series| subjects.number(&subject(&series.task, true)));
    all.subjects = subjects;
    all.add((at(0), at(SECONDS)), &fleet, &gathering.finish());
    all
}

fn frame() -> Frame {
    Frame {
        from: at(0),
        to: at(2 * SECONDS),
        until: at(SECONDS),
        recent_from: at(SECONDS / 2),
        currency: "USD".to_owned(),
        sampled_from: None,
        warnings: Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_parts_add_up_to_the_charges(history in history(), step in 1_i64..7) {
        let (from, to) = (at(0), at(SECONDS));
        // The origin, not by way of hours.
        let origin: i64 = history.charges.iter().map(|charge| charge.between(from, to).get()).sum();
        for detail in [Detail::default(), Detail { daily: true, nodes: true }] {
            let statement = statement(&history, step, detail, true);
            prop_assert_eq!(statement.charged(), origin);
            prop_assert_eq!(statement.cells().values().map(|cell| cell.total()).sum::<i64>(), origin);
            let weights = Sharing::Weights([("shop".to_owned(), 3), ("w1".to_owned(), 1), ("a".to_owned(), 1)].into());
            for sharing in [Sharing::None, Sharing::Even, Sharing::Proportional, weights] {
                for by in By::ALL {
                    let report = report(&frame(), &statement, by, &sharing, Vec::new());
                    prop_assert_eq!(report.totals.cost.get(), origin, "{} {:?}", by, sharing);
                    prop_assert_eq!(report.rows.iter().map(|row| row.cost.get()).sum::<i64>(), origin);
                    for row in &report.rows {
                        prop_assert_eq!(row.parts.total(), row.cost);
                        prop_assert_eq!(row.parts.requested(), row.requested);
                    }
                }
            }
        }
    }

    #[test]
    fn the_history_tells_the_same_to_the_last_micro_cent(history in history(), part in 1_i64..20) {
        let detail = Detail { daily: true, nodes: true };
        let (direct, by_rows) = (statement(&history, 6, detail, true), statement_of_rows(&history, part, detail));
        for by in By::ALL {
            let made = |statement: &Statement| report(&frame(), statement, by, &Sharing::None, Vec::new());
            prop_assert_eq!(made(&direct), made(&by_rows));
        }
    }

    #[test]
    fn each_node_is_split_for_itself(history in history()) {
        let statement = statement(&history, 6, Detail { daily: false, nodes: true }, false);
        for number in 0..6 {
            let own = history.charges.iter().filter(|charge| charge.node == Some(node(number)));
            let origin: i64 = own.map(|charge| charge.between(at(0), at(SECONDS)).get()).sum();
            let of_node = |key: &crate::accounting::bill::statement::Key| {
                statement.place_of(key.place).is_some_and(|place| place.node == Some(node(number)))
            };
            let split: i64 =
                statement.cells().iter().filter(|(key, _)| of_node(key)).map(|(_, cell)| cell.total()).sum();
            prop_assert_eq!(split, origin);
        }
    }

    #[test]
    fn no_part_of_a_positive_charge_is_negative(mut history in history()) {
        history.charges = charges_of(&history.lives);
        let statement = statement(&history, 6, Detail::default(), true);
        for cell in statement.cells().values() {
            let parts = [cell.used, cell.idle, cell.unsampled, cell.overhead, cell.free, cell.shared];
            prop_assert!(parts.iter().all(|part| *part >= 0), "{:?}", cell);
        }
    }

    #[test]
    fn the_order_of_what_is_known_does_not_matter(mut history in history()) {
        let cells = |history: &History| {
            let statement = statement(history, 6, Detail { daily: false, nodes: true }, true);
            let report = report(&frame(), &statement, By::Task, &Sharing::None, Vec::new());
            report.rows
        };
        let straight = cells(&history);
        history.samples.reverse();
        history.charges.reverse();
        prop_assert_eq!(straight, cells(&history));
    }
}

#[test]
fn what_a_task_had_is_what_it_pays() {
    // A node of 2 cores and 2 GiB at 4,000,000 micro-cents an hour; CPU and memory are worth the same.
    let size = Resources::new(Millicores::new(2000), Bytes::new(2 * GIB));
    let life = NodeLife {
        node: node(0),
        pool: PoolName::new("a").expect("a name"),
        size,
        from: at(0),
        ready: Some(at(900)),
        leaving: None,
        to: Some(at(3600)),
        prices: vec![PriceStep { from: at(0), per_hour: MicroCents::new(4_000_000) }],
    };
    let half = Resources::new(Millicores::new(1000), Bytes::new(GIB));
    let interval = TaskInterval {
        task: task(0),
        pool: None,
        node: Some(node(0)),
        from: at(1800),
        to: Some(at(3600)),
        request: half,
    };
    let sample = UsageSample {
        workload: task(0).workload().clone(),
        task: task(0),
        at: at(2400),
        interval_seconds: Some(600.0),
        cpu_cores: Some(0.5),
        throttled_share: None,
        memory: Bytes::new(GIB),
        page_cache: None,
        request: half,
        oom_kills: 0,
    };
    let charges = charges_of(std::slice::from_ref(&life));
    let prices = Prices { core_hour: MicroCents::new(100), gib_hour: MicroCents::new(100) };
    let fleet = Fleet { lives: &[life], charges: &charges, prices, system: Resources::ZERO };
    let mut statement = Statement::new(Detail::default(), at(0), BTreeSet::new());
    let mut subjects = std::mem::take(&mut statement.subjects);
    let found =
        taken((at(0), at(3600)), &[interval], &[sample], |task| subjects.number(&subject(task, false)));
    statement.subjects = subjects;
    statement.add((at(0), at(3600)), &fleet, &found);
    let report = report(&frame(), &statement, By::Team, &Sharing::None, Vec::new());
    let [shop, cluster] = report.rows.as_slice() else { panic!("two rows, not {:?}", report.rows) };
    // Half of the node for half an hour; a third of that measured, of which CPU half used and memory all.
    assert_eq!(shop.requested.get(), 1_000_000);
    assert!((shop.parts.unsampled.get() - 666_667).abs() <= 2, "{:?}", shop.parts);
    assert!((shop.parts.used.get() - 250_000).abs() <= 2 && (shop.parts.idle.get() - 83_333).abs() <= 2);
    // A quarter of an hour until it took tasks; the rest was free.
    assert_eq!((cluster.parts.overhead.get(), cluster.parts.free.get()), (1_000_000, 2_000_000));
    assert_eq!(report.totals.cost.get(), 4_000_000);
    // Half of the window is over, and all cost is recent as far as the forecast looks.
    assert!(report.totals.forecast > report.totals.cost);
}
