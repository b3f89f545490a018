//! Findings on real usage: nobody is told of leaks and trends that are none.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use loadline::analytics::read_trace;
use loadline::estimation::profile::Profile;
use loadline::replay::grid::{Trace, WorkloadTrace};

const DAY: i64 = 86_400;

/// Looks, and how often each kind was named at one.
#[derive(Default)]
struct Seen {
    looks: u32,
    named: BTreeMap<&'static str, u32>,
}

/// A look at the end of each day.
fn look(workload: &WorkloadTrace, seen: &mut Seen) {
    let mut profile = Profile::default();
    // Numbers in the order in which tasks come, as an engine gives them.
    let mut numbers = BTreeMap::new();
    let mut next = None;
    for step in &workload.steps {
        let next = next.get_or_insert(step.time + 5 * DAY);
        if step.time >= *next {
            let at = Timestamp::from_second(step.time).expect("a time");
            seen.looks += 1;
            for finding in profile.findings(at) {
                *seen.named.entry(finding.kind()).or_default() += 1;
            }
            *next = step.time + DAY;
        }
        let count = numbers.len() as u64;
        let number = *numbers.entry(step.task).or_insert(count);
        let at = Timestamp::from_second(step.time).expect("a time");
        profile.observe(number, at, step.cpu.map(|x| x as f32), step.memory.map(|x| x as f32));
    }
}

#[test]
fn real_workloads_are_not_told_of_faults_that_they_do_not_have() {
    let Some(folder) = std::env::var_os("LOADLINE_TRACES") else {
        println!("skipped: LOADLINE_TRACES does not name a folder of traces");
        return;
    };
    for name in ["bitbrains-faststorage.parquet", "google2011-jobs.parquet", "nezha-pods.parquet"] {
        let rows = read_trace(&Path::new(&folder).join("usage").join(name)).expect("a trace");
        let trace = Trace::new(name, &rows, None).expect("a trace");
        let mut seen = Seen::default();
        let mut workloads: BTreeMap<&str, u32> = BTreeMap::new();
        for workload in &trace.workloads {
            let mut of = Seen::default();
            look(workload, &mut of);
            for (kind, count) in of.named {
                *workloads.entry(kind).or_default() += 1;
                *seen.named.entry(kind).or_default() += count;
            }
            seen.looks += of.looks;
        }
        println!(
            "{name}: {} workloads, {} looks; named at a look {:?}, ever {workloads:?}",
            trace.workloads.len(),
            seen.looks,
            seen.named
        );
        // At one look in twenty at most something is named that asks an owner to act. A daily rhythm is no
        // fault, and common.
        for (kind, most) in
            [("leak", 0.02), ("trend", 0.05), ("plateau", 0.05), ("start-up peak", 0.05), ("daily", 0.3)]
        {
            let share = f64::from(seen.named.get(kind).copied().unwrap_or(0)) / f64::from(seen.looks.max(1));
            assert!(share <= most, "{name}: {kind} at {share:.3} of the looks");
        }
    }
}
