//! How long a report takes: a day of samples, each 5 seconds, to rows, owners and totals.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use loadline::accounting::bill::charge::{Charge, ChargeKind, Terms};
use loadline::accounting::bill::statement::{Detail, Fleet, Statement};
use loadline::accounting::bill::taken::{Subject, taken};
use loadline::accounting::facts::{Facts, PriceBook, TaskInterval, WorkloadFacts};
use loadline::accounting::ledger::ledger;
use loadline::analytics;
use loadline::domain::money::{MicroCents, Prices};
use loadline::domain::node::NodeName;
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::task::TaskId;
use loadline::domain::usage::UsageSample;
use loadline::domain::workload::{Owner, WorkloadKind, WorkloadName};

const START: i64 = 1_795_046_400;
/// Tasks that run all day; 58 of them give a million samples.
const TASKS: u64 = 58;
/// Tasks of one workload.
const INSTANCES: u64 = 4;
const SAMPLES_A_DAY: i64 = 17_280;

struct Day {
    workloads: BTreeMap<WorkloadName, WorkloadFacts>,
    tasks: Vec<TaskInterval>,
    samples: Vec<UsageSample>,
    prices: PriceBook,
}

fn day() -> Day {
    let instant = |second| Timestamp::from_second(START + second).expect("a time");
    let request = Resources::new(Millicores::new(500), Bytes::mib(256));
    let ids: Vec<TaskId> = (0..TASKS)
        .map(|n| {
            let name = WorkloadName::new(&format!("service-{}", n / INSTANCES)).expect("a name");
            TaskId::new(name, n % INSTANCES + 1)
        })
        .collect();
    let facts = |name: &WorkloadName| {
        let team = Some(format!("team-{}", name.as_str().len()));
        let owner = Owner { team, cost_centre: None };
        let recommended = Some(Resources::new(Millicores::new(250), Bytes::mib(128)));
        (name.clone(), WorkloadFacts { kind: WorkloadKind::Service, owner, recommended })
    };
    let sample = |task: &TaskId, n: i64| UsageSample {
        workload: task.workload().clone(),
        task: task.clone(),
        at: instant(n * 5),
        interval_seconds: Some(5.0),
        cpu_cores: Some((n % 100) as f64 / 150.0),
        throttled_share: None,
        memory: Bytes::mib((n % 300).unsigned_abs()),
        page_cache: None,
        request,
        oom_kills: 0,
    };
    let base = Prices { core_hour: MicroCents::new(3_000_000), gib_hour: MicroCents::new(400_000) };
    Day {
        workloads: ids.iter().map(|task| facts(task.workload())).collect(),
        tasks: ids
            .iter()
            .map(|task| TaskInterval {
                task: task.clone(),
                pool: None,
                node: None,
                from: instant(0),
                to: None,
                request,
            })
            .collect(),
        // By time, as the history gives them.
        samples: (1..=SAMPLES_A_DAY).flat_map(|n| ids.iter().map(move |task| sample(task, n))).collect(),
        prices: PriceBook { base, pools: BTreeMap::new() },
    }
}

fn facts(day: &Day) -> Facts<'_> {
    Facts {
        from: Timestamp::from_second(START).expect("a time"),
        to: Timestamp::from_second(START + 86_400).expect("a time"),
        workloads: &day.workloads,
        tasks: &day.tasks,
        samples: &day.samples,
        load: &[],
        prices: &day.prices,
    }
}

/// All of it.
#[divan::bench(sample_count = 10)]
fn report_of_a_million_samples(bencher: divan::Bencher<'_, '_>) {
    let day = day();
    bencher.bench_local(|| analytics::report(&facts(&day)).expect("a report"));
}

/// The part before polars.
#[divan::bench(sample_count = 10)]
fn ledger_of_a_million_samples(bencher: divan::Bencher<'_, '_>) {
    let day = day();
    bencher.bench_local(|| ledger(&facts(&day)));
}

/// The bill of one node that all tasks run on: what was taken of it, hour by hour, and its cost split.
#[divan::bench(sample_count = 10)]
fn bill_of_a_million_samples(bencher: divan::Bencher<'_, '_>) {
    let day = day();
    let node = NodeName::new("small-1").expect("a name");
    let (from, to) = (facts(&day).from, facts(&day).to);
    let tasks: Vec<TaskInterval> =
        day.tasks.iter().map(|task| TaskInterval { node: Some(node.clone()), ..task.clone() }).collect();
    let terms = Terms::PerHour(MicroCents::new(100_000_000));
    let charge = Charge { node: Some(node), from, to: None, terms, kind: ChargeKind::Usage };
    let fleet = Fleet {
        lives: &[],
        charges: std::slice::from_ref(&charge),
        prices: day.prices.base,
        system: Resources::ZERO,
    };
    bencher.bench_local(|| {
        let mut statement = Statement::new(Detail::default(), from, BTreeSet::new());
        let mut subjects = std::mem::take(&mut statement.subjects);
        let found = taken((from, to), &tasks, &day.samples, |task| {
            let owner = Owner { team: None, cost_centre: None };
            subjects.number(&Subject { workload: task.workload().clone(), task: None, kind: None, owner })
        });
        statement.subjects = subjects;
        statement.add((from, to), &fleet, &found);
        assert_eq!(statement.charged(), 24 * 100_000_000);
        statement
    });
}

fn main() {
    divan::main();
}
