//! Load models of recorded pods with their load: what they say of the part of a day that they have not seen.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use loadline::analytics::read_trace;
use loadline::domain::load_model::Relation;
use loadline::forecasting::load_model::{Asked, Observation, ServiceModel};

/// The share of a service's observations that its model learns from.
const LEARNT: f64 = 0.7;

/// What became of a service.
struct Scored {
    clear: bool,
    /// Mean absolute errors of CPU on what was not learnt from: by the model, and by the mean of what was.
    by_model: f64,
    by_mean: f64,
    in_band: f64,
}

fn observations(folder: &Path) -> BTreeMap<String, Vec<Observation>> {
    let rows = read_trace(&folder.join("usage").join("nezha-pods.parquet")).expect("a trace");
    let mut tasks: BTreeMap<(String, i64), u32> = BTreeMap::new();
    for row in &rows {
        *tasks.entry((row.workload.clone(), row.time)).or_default() += 1;
    }
    let mut all: BTreeMap<String, Vec<Observation>> = BTreeMap::new();
    for row in rows {
        let (Some(cpu), Some(memory), Some(load)) = (row.cpu, row.memory, row.load) else { continue };
        let tasks = f64::from(tasks[&(row.workload.clone(), row.time)]);
        all.entry(row.workload).or_default().push(Observation {
            at: Timestamp::from_second(row.time).expect("an instant"),
            load: load / tasks,
            cpu,
            memory,
            latency: None,
            errors: 0.0,
            throttled: None,
            cpu_limit: row.cpu_request,
        });
    }
    for seen in all.values_mut() {
        seen.sort_by_key(|seen| seen.at);
    }
    all
}

#[expect(clippy::print_stderr, reason = "whoever reads the test's output wants to see each fit")]
fn score(name: &str, seen: &[Observation]) -> Option<Scored> {
    let (learnt, held) = seen.split_at((seen.len() as f64 * LEARNT) as usize);
    let held: Vec<&Observation> = held.iter().filter(|each| each.cpu.is_finite()).collect();
    if learnt.len() < 100 || held.is_empty() {
        return None;
    }
    let mut model = ServiceModel::default();
    for each in learnt {
        model.observe(each);
    }
    let found = model.model(Asked::default());
    let mean = learnt.iter().map(|each| each.cpu).sum::<f64>() / learnt.len() as f64;
    let error = |said: &dyn Fn(f64) -> f64| {
        held.iter().map(|each| (each.cpu - said(each.load)).abs()).sum::<f64>() / held.len() as f64
    };
    let line = found.cpu.line().copied();
    let within =
        |each: &&&Observation| line.is_some_and(|line| (each.cpu - line.at(each.load)).abs() <= line.band);
    let scored = Scored {
        clear: line.is_some(),
        by_model: error(&|load| found.cpu.at(load).unwrap_or(mean)),
        by_mean: error(&|_| mean),
        in_band: held.iter().filter(within).count() as f64 / held.len() as f64,
    };
    let why = match &found.cpu {
        Relation::Clear(line) => format!(
            "{:.2} ms a request ({:.2} to {:.2})",
            line.slope.value * 1e3,
            line.slope.low * 1e3,
            line.slope.high * 1e3
        ),
        Relation::Unclear { why, .. } => why.clone(),
    };
    eprintln!(
        "{name}: {} learnt, {} held out; {why}; error {:.4} cores, of the mean {:.4}; in band {:.2}",
        learnt.len(),
        held.len(),
        scored.by_model,
        scored.by_mean,
        scored.in_band
    );
    Some(scored)
}

#[test]
fn recorded_pods_are_told_better_by_their_load_than_by_their_mean() {
    let Some(folder) = std::env::var_os("LOADLINE_TRACES") else {
        println!("skipped: LOADLINE_TRACES does not name a folder of traces");
        return;
    };
    let all = observations(Path::new(&folder));
    let scored: Vec<Scored> = all.iter().filter_map(|(name, seen)| score(name, seen)).collect();
    let clear: Vec<&Scored> = scored.iter().filter(|scored| scored.clear).collect();
    assert!(!clear.is_empty(), "no service of {} follows its load", scored.len());
    let mean =
        |of: fn(&Scored) -> f64| clear.iter().map(|scored| of(scored)).sum::<f64>() / clear.len() as f64;
    let (ratio, band) = (mean(|scored| scored.by_model / scored.by_mean), mean(|scored| scored.in_band));
    println!(
        "{} of {} services follow their load; error {ratio:.3} of the mean's; {band:.3} of observations in the 90 % band",
        clear.len(),
        scored.len()
    );
    assert!(ratio < 1.0, "load tells less than the mean: {ratio}");
    assert!((0.75..=0.99).contains(&band), "{band} of the observations lie in the 90 % band");
}
