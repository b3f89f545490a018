//! What findings name on usage whose truth is known: each family under many seeds and at many instants.

use std::collections::BTreeMap;

use crate::domain::recommendation::Finding;
use crate::estimation::profile::Profile;
use crate::replay::families::{Family, Plan, generate};
use crate::replay::grid::DAY;

/// What can be named.
const KINDS: [&str; 5] = ["leak", "trend", "plateau", "start-up peak", "daily"];
/// Shares of cases: what is there is named at least so often, what is not at most so often.
const NAMED_MIN: f64 = 0.9;
const WRONG_MAX: f64 = 0.01;
/// The first day on which families are looked at: those that show themselves slowly have done so.
const FIRST_LOOK: i64 = 8;

/// What is true of a family. A plateau's CPU has a wave a day.
fn truth(family: Family) -> &'static [&'static str] {
    match family {
        Family::Leak => &["leak"],
        Family::Trend => &["trend"],
        Family::Plateau => &["plateau", "daily"],
        Family::StartUp => &["start-up peak"],
        Family::Diurnal | Family::Weekly => &["daily"],
        Family::Steady | Family::Step | Family::Cron | Family::FlashCrowd | Family::OomLoop => &[],
    }
}

/// Cases and, of these, how often each kind was named, twice a day. Workloads begin at any second of a day.
fn looks(family: Family, plan: Plan) -> (u32, BTreeMap<&'static str, u32>) {
    let (rows, _) = generate(&[family], plan);
    let (mut cases, mut named) = (0, BTreeMap::new());
    for of in rows.chunk_by(|a, b| a.workload == b.workload) {
        let mut profile = Profile::default();
        let mut next = FIRST_LOOK * DAY;
        let begin = (of[0].memory.unwrap_or_default() as i64 * 7919) % DAY;
        for row in of {
            let at = jiff::Timestamp::from_second(begin + row.time).expect("a time");
            while row.time >= next {
                cases += 1;
                for finding in profile.findings(at) {
                    *named.entry(finding.kind()).or_default() += 1;
                }
                next += DAY / 2;
            }
            let task = row.task.rsplit('.').next().and_then(|task| task.parse().ok()).expect("a number");
            profile.observe(task, at, row.cpu.map(|x| x as f32), row.memory.map(|x| x as f32));
        }
    }
    (cases, named)
}

#[test]
fn each_family_is_named_for_what_it_is_and_for_nothing_else() {
    let mut faults = Vec::new();
    println!("{:12} {:>6} {}", "family", "cases", KINDS.map(|kind| format!("{kind:>14}")).concat());
    for (family, name, _) in Family::ALL {
        let (mut cases, mut named) = (0, BTreeMap::new());
        for (interval, workloads) in [(300, 30), (60, 4)] {
            let plan = Plan { workloads, days: 15, interval, seed: 11 };
            let (more, found) = looks(family, plan);
            cases += more;
            for (kind, count) in found {
                *named.entry(kind).or_insert(0) += count;
            }
        }
        let share = |kind: &str| f64::from(named.get(kind).copied().unwrap_or(0)) / f64::from(cases);
        println!(
            "{name:12} {cases:6} {}",
            KINDS.map(|kind| format!("{:>13.1}%", share(kind) * 100.0)).concat()
        );
        for kind in KINDS {
            let there = truth(family).contains(&kind);
            if there && share(kind) < NAMED_MIN || !there && share(kind) > WRONG_MAX {
                faults.push(format!("{name}: {kind} in {:.1} % of {cases} cases", share(kind) * 100.0));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn levels_and_rates_are_those_of_the_family() {
    let plan = Plan { workloads: 20, days: 12, interval: 300, seed: 3 };
    for family in [Family::Leak, Family::Trend, Family::Plateau, Family::StartUp, Family::Diurnal] {
        for of in generate(&[family], plan).0.chunk_by(|a, b| a.workload == b.workload) {
            let mut profile = Profile::default();
            for row in of {
                let at = jiff::Timestamp::from_second(row.time).expect("a time");
                let task = row.task.rsplit('.').next().and_then(|task| task.parse().ok()).expect("a number");
                profile.observe(task, at, row.cpu.map(|x| x as f32), row.memory.map(|x| x as f32));
            }
            let level = of[0].memory_request.expect("a request") / 2.0;
            let now = jiff::Timestamp::from_second(plan.days * DAY).expect("a time");
            let found = profile.findings(now);
            let near = |found: f64, expected: f64, within: f64| (found / expected - 1.0).abs() <= within;
            let right = match found.first() {
                Some(Finding::Leak { bytes_per_day }) => near(*bytes_per_day, 0.3 * level, 0.1),
                Some(Finding::Trend { bytes_per_day }) => near(*bytes_per_day, 0.03 * level, 0.15),
                Some(Finding::Plateau { memory }) => near(memory.as_f64(), 2.1 * level, 0.05),
                Some(Finding::StartupPeak { memory, settled }) => {
                    near(memory.as_f64(), 3.0 * level, 0.06) && near(settled.as_f64(), 1.05 * level, 0.03)
                }
                Some(Finding::Daily { ratio }) => near(*ratio, 1.4 / 0.6, 0.15),
                None => false,
            };
            assert!(right, "{family:?} at {level}: {found:?}");
        }
    }
}
