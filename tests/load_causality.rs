//! No policy of counts looks ahead: a load is cut at random instants, and every count that was asked for before
//! the cut must be the same. And figures are recomputed from the counts alone, by a routine of its own.

use loadline::domain::load_series::LoadSeries;
use loadline::replay::horizontal::{Asked, Outcome, Steps};
use loadline::replay::load_backtest::{ALL, Case, LoadContender, Setting};

const SETTING: Setting = Setting { capacity: Some(5.0), startup: 60.0, interval: 60, min: 1, max: 40 };

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Nine days of a daily rhythm with noise, flash crowds and a gap of two hours.
fn load(seed: u64) -> LoadSeries {
    let mut state = seed;
    let mut series = LoadSeries { name: "shop".to_owned(), ..LoadSeries::default() };
    let mut crowd = 0.0;
    for minute in 0..9 * 1_440_i64 {
        let noise = (next(&mut state) % 1_000) as f64 / 1_000.0;
        crowd = if next(&mut state).is_multiple_of(2_000) { 60.0 } else { crowd * 0.98 };
        let day = (minute as f64 / 1_440.0 * std::f64::consts::TAU).sin();
        if !(5_000..5_120).contains(&minute) {
            series.times.push(1_000_000_020 + minute * 60);
            series.loads.push(60.0 + 40.0 * day + 15.0 * noise + crowd);
        }
    }
    series
}

fn cut(series: &LoadSeries, before: i64) -> LoadSeries {
    let kept = series.times.partition_point(|time| *time < before);
    LoadSeries {
        name: series.name.clone(),
        times: series.times[..kept].to_vec(),
        loads: series.loads[..kept].to_vec(),
    }
}

fn run(contender: &LoadContender, case: &Case) -> (Vec<Asked>, Outcome) {
    let mut asked = Vec::new();
    let days = contender.replay(case, |row| asked.push(row));
    (asked, Outcome::sum(&days))
}

fn policies() -> Vec<LoadContender> {
    let named = ALL.iter().filter(|name| **name != "oracle");
    named.map(|name| LoadContender::parse(name).expect("a policy")).collect()
}

#[test]
fn cutting_a_load_changes_nothing_before_the_cut() {
    let series = load(7);
    let whole = Case::new(&series, &SETTING).expect("a case");
    let (first, last) = (series.times[0], series.times[series.times.len() - 1]);
    let mut state = 5;
    for policy in policies() {
        let (full, _) = run(&policy, &whole);
        for _ in 0..4 {
            let at = first + 60 + i64::try_from(next(&mut state)).expect("31 bits") % (last - first - 60);
            let case = Case::new(&cut(&series, at), &SETTING).expect("a case");
            let (part, _) = run(&policy, &case);
            // A row that is cut off is held for no longer than a minute.
            let until = |rows: &[Asked]| rows.iter().copied().filter(|row| row.at < at).collect::<Vec<_>>();
            assert_eq!(until(&full), until(&part), "{}, cut at {at}", policy.label());
        }
        // Autopilot holds the greatest answer of two days.
        let least = if policy.label() == "autopilot" { 4 } else { 100 };
        assert!(full.len() > least, "{}: {} counts were compared", policy.label(), full.len());
    }
}

/// Load, ready and paid instances of each step, from the counts alone: an instance that was asked for serves a
/// start-up later, and the youngest leave first.
fn recompute(steps: &Steps, asked: &[Asked], startup: i64, capacity: f64) -> (u64, u64, f64, u64) {
    let (mut under, mut paid, mut shed) = (0, 0, 0.0);
    let mut born: Vec<i64> = Vec::new();
    let mut rows = asked.iter().peekable();
    let mut at = steps.begin - steps.interval;
    for &load in &steps.load {
        at += steps.interval;
        while let Some(row) = rows.next_if(|row| row.at <= at) {
            // Those of the beginning serve at once.
            let serves = if row.at == steps.begin { i64::MIN } else { row.at + startup };
            born.resize(row.count as usize, serves);
        }
        if load.is_nan() {
            continue;
        }
        let ready = born.iter().filter(|serves| **serves <= at).count() as f64;
        paid += born.len() as u64;
        let above = load - ready * capacity;
        if above > 1e-9 * ready * capacity {
            under += 1;
            shed += above;
        }
    }
    (under, paid, shed, asked.len() as u64 - 1)
}

#[test]
fn figures_follow_from_the_counts() {
    let case = Case::new(&load(3), &SETTING).expect("a case");
    for policy in policies() {
        let (asked, outcome) = run(&policy, &case);
        let (under, paid, shed, changes) = recompute(&case.steps, &asked, 60, 5.0);
        assert_eq!(
            (under, paid, changes),
            (outcome.under, outcome.instances, outcome.changes),
            "{}",
            policy.label()
        );
        assert!((shed - outcome.shed).abs() < 1e-6, "{}: {shed} {outcome:?}", policy.label());
        assert!(outcome.under > 0 || policy.label() == "autopilot", "{}: {outcome:?}", policy.label());
    }
}

/// Real traces are not in the repository: `LOADLINE_TRACES` names the folder that has them.
#[cfg(feature = "analytics")]
#[test]
fn figures_of_real_loads_follow_from_the_counts() {
    let Some(folder) = std::env::var_os("LOADLINE_TRACES") else {
        println!("skipped: LOADLINE_TRACES does not name a folder of traces");
        return;
    };
    let path = std::path::Path::new(&folder).join("load/clarknet-1995.parquet");
    let (series, _) = loadline::analytics::read_load(&path).expect("a trace");
    let setting = Setting { capacity: None, interval: 15, ..SETTING };
    let case = Case::new(&series[0], &setting).expect("a case");
    for policy in policies() {
        let (asked, outcome) = run(&policy, &case);
        let (under, paid, _, changes) = recompute(&case.steps, &asked, 60, case.terms.capacity);
        let found = (outcome.under, outcome.instances, outcome.changes);
        assert_eq!((under, paid, changes), found, "{}", policy.label());
    }
}
