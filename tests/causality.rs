//! Nothing looks ahead, whoever sizes: traces are cut at random instants, and what was said and killed before the
//! cut must be the same to the last bit. Every policy of the catalogue is tried, and toys of the kinds that the
//! catalogue may get: one that learns from the whole fleet, one that sizes each task.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use loadline::domain::trace::TraceRow;
use loadline::estimation::catalogue::{ENTRIES, Recipe};
use loadline::estimation::policy::{Grain, Kill, Learning, Limits, Observation, SizePolicy, WorkloadIndex};
use loadline::replay::families::{Family, Plan, generate};
use loadline::replay::grid::Trace;
use loadline::replay::vertical::{Outcome, Teller, replay};

/// A policy that knows nothing yet, by name.
type Make<'a> = (&'a str, Box<dyn Fn() -> Box<dyn SizePolicy> + 'a>);

fn every_policy<'a>() -> Vec<Make<'a>> {
    let made = |name: &'static str| -> Make<'a> {
        (
            name,
            Box::new(move || {
                Recipe::parse(name, ENTRIES).and_then(|recipe| recipe.make()).expect("a policy")
            }),
        )
    };
    let mut all: Vec<Make<'a>> = ENTRIES.iter().map(|entry| made(entry.name)).collect();
    all.push(("fleet toy", Box::new(|| Box::new(Fleet::default()))));
    all.push(("task toy", Box::new(|| Box::new(EachTask::default()))));
    all
}

/// Raises a margin that all workloads share with each kill, and lowers it in each step without one.
#[derive(Default)]
struct Fleet {
    peaks: BTreeMap<u32, f64>,
    margin: f64,
    kills: u32,
    /// Whether anything was told out of order.
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    advanced: Option<Timestamp>,
    newest: Option<Timestamp>,
    steps: u32,
    faults: Vec<String>,
}

impl SizePolicy for Fleet {
    fn learning(&self) -> Learning {
        Learning::Fleet
    }

    fn observe(&mut self, workload: WorkloadIndex, observation: &Observation) {
        let mut told = self.told.lock().expect("a lock");
        let (newest, advanced) = (told.newest, told.advanced);
        if newest.is_some_and(|newest| observation.at < newest) {
            told.faults.push(format!("{} after {newest:?}", observation.at));
        }
        if advanced.is_some_and(|advanced| observation.at <= advanced) {
            told.faults.push(format!("{} was closed at {advanced:?}", observation.at));
        }
        told.newest = told.newest.max(Some(observation.at));
        let peak = self.peaks.entry(workload.0).or_default();
        *peak = (*peak * 0.99).max(observation.memory.unwrap_or_default());
    }

    fn observe_oom(&mut self, workload: WorkloadIndex, kill: &Kill) {
        self.kills += 1;
        self.peaks.insert(workload.0, kill.reached * 1.3);
    }

    fn advance(&mut self, now: Timestamp) {
        let mut told = self.told.lock().expect("a lock");
        let newest = told.newest;
        if newest.is_some_and(|newest| now < newest) {
            told.faults.push(format!("advanced to {now} before {newest:?}"));
        }
        told.steps += 1;
        told.advanced = Some(now);
        self.margin = (self.margin * 0.999 + f64::from(self.kills) * 0.01).min(1.0);
        self.kills = 0;
    }

    fn limits(&self, workload: WorkloadIndex, _: Option<u64>, _: Timestamp) -> Limits {
        let memory = self.peaks.get(&workload.0).map(|peak| peak * (1.02 + self.margin));
        Limits { memory, cpu: Some(0.1 + self.margin) }
    }

    fn forget(&mut self, _: WorkloadIndex) {}
}

/// The highest use of each task, a little more, fading.
#[derive(Default)]
struct EachTask(BTreeMap<(u32, u64), f64>);

impl SizePolicy for EachTask {
    fn grain(&self) -> Grain {
        Grain::Task
    }

    fn observe(&mut self, workload: WorkloadIndex, observation: &Observation) {
        let peak = self.0.entry((workload.0, observation.task)).or_default();
        *peak = (*peak * 0.995).max(observation.memory.unwrap_or_default());
    }

    fn observe_oom(&mut self, workload: WorkloadIndex, kill: &Kill) {
        self.0.insert((workload.0, kill.task), kill.reached * 1.3);
    }

    fn limits(&self, workload: WorkloadIndex, task: Option<u64>, _: Timestamp) -> Limits {
        let task = task.expect("a policy of tasks is asked for a task");
        Limits { memory: self.0.get(&(workload.0, task)).map(|peak| peak * 1.02), cpu: None }
    }

    fn forget(&mut self, _: WorkloadIndex) {}
}

fn all(trace: &Trace) -> Vec<usize> {
    (0..trace.workloads.len()).collect()
}

fn run(trace: &Trace, workloads: &[usize], policy: Box<dyn SizePolicy>) -> Outcome {
    replay(trace, workloads, &mut Teller::Policy(policy), true, &|_| {})
}

/// A limit as it is told outside: names in place of numbers, and the bits of what was said.
type Said = (String, Option<String>, i64, Option<u64>, Option<u64>);

/// What was said and killed before an instant.
fn emitted(trace: &Trace, outcome: &Outcome, before: i64) -> (Vec<Said>, Vec<(String, String, i64)>) {
    let workload = |place: u32| &trace.workloads[place as usize];
    let limits = outcome.record.limits.iter().filter(|change| change.time < before).map(|change| {
        let of = workload(change.workload);
        let task = change.task.map(|task| of.tasks[task as usize].clone());
        (of.name.clone(), task, change.time, change.memory.map(f64::to_bits), change.cpu.map(f64::to_bits))
    });
    let kills = outcome.record.kills.iter().filter(|kill| kill.time < before).map(|kill| {
        let of = workload(kill.workload);
        (of.name.clone(), of.tasks[kill.task as usize].clone(), kill.time)
    });
    let (mut limits, mut kills): (Vec<_>, Vec<_>) = (limits.collect(), kills.collect());
    limits.sort();
    kills.sort();
    (limits, kills)
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Cuts the rows at random instants and compares; tells how many kills were among what was compared.
fn cut(rows: &[TraceRow], step: Option<i64>, cuts: usize, policies: &[Make<'_>]) -> BTreeMap<String, usize> {
    let whole = Trace::new("whole", rows, step).expect("a trace");
    let (first, last) =
        rows.iter().fold((i64::MAX, i64::MIN), |(low, high), row| (low.min(row.time), high.max(row.time)));
    let mut state = rows.len() as u64;
    let mut killed = BTreeMap::new();
    for (name, make) in policies {
        let full = run(&whole, &all(&whole), make());
        for _ in 0..cuts {
            let at = first + 1 + i64::try_from(next(&mut state)).expect("31 bits") % (last - first);
            let kept: Vec<TraceRow> = rows.iter().filter(|row| row.time < at).cloned().collect();
            let short = Trace::new("short", &kept, Some(whole.step)).expect("a trace");
            let part = run(&short, &all(&short), make());
            let (expected, found) = (emitted(&whole, &full, at), emitted(&short, &part, at));
            assert_eq!(expected, found, "{name}, cut at {at}");
            *killed.entry((*name).to_owned()).or_default() += found.1.len();
        }
    }
    killed
}

fn generated(families: &[Family], days: i64) -> Vec<TraceRow> {
    generate(families, Plan { workloads: 1, days, interval: 900, seed: 11 }).0
}

#[test]
fn cutting_generated_traces_changes_nothing_before_the_cut() {
    let families = Family::ALL.map(|(family, ..)| family);
    let killed = cut(&generated(&families, 6), None, 5, &every_policy());
    // A comparison of nothing with nothing would show nothing.
    for (name, count) in &killed {
        let never = ["request", "nomad"].contains(&name.as_str());
        assert!(*count > 0 || never, "{name}: no kill was compared in {killed:?}");
    }
}

/// Real traces are not in the repository: `LOADLINE_TRACES` names the folder that has them.
#[test]
fn cutting_real_traces_changes_nothing_before_the_cut() {
    let Some(folder) = std::env::var_os("LOADLINE_TRACES") else {
        println!("skipped: LOADLINE_TRACES does not name a folder of traces");
        return;
    };
    for name in ["google2011-jobs.parquet", "bitbrains-faststorage.parquet", "nezha-pods.parquet"] {
        let path = Path::new(&folder).join("usage").join(name);
        let rows = loadline::analytics::read_trace(&path).expect("a trace");
        let mut workloads: Vec<&str> = rows.iter().map(|row| row.workload.as_str()).collect();
        workloads.sort_unstable();
        workloads.dedup();
        let mut state = 3;
        let some: Vec<String> =
            (0..4).map(|_| workloads[next(&mut state) as usize % workloads.len()].to_owned()).collect();
        let rows: Vec<TraceRow> = rows.iter().filter(|row| some.contains(&row.workload)).cloned().collect();
        let killed = cut(&rows, None, 1, &every_policy());
        println!("{name}: {} rows, kills compared: {killed:?}", rows.len());
    }
}

#[test]
fn policies_that_learn_apart_answer_alone_as_among_others() {
    let families = [Family::Diurnal, Family::Leak, Family::Cron, Family::OomLoop];
    let trace = Trace::new("t", &generated(&families, 4), None).expect("a trace");
    for (name, make) in every_policy().iter().filter(|(_, make)| make().learning() == Learning::Apart) {
        let together = run(&trace, &all(&trace), make());
        let alone = all(&trace).into_iter().map(|place| run(&trace, &[place], make()));
        let joined = alone.fold(Outcome::default(), |mut all, one| {
            all.tallies.extend(one.tallies);
            all.record.limits.extend(one.record.limits);
            all.record.kills.extend(one.record.kills);
            all
        });
        assert_eq!(together, joined, "{name}");
    }
}

#[test]
fn a_policy_that_learns_from_the_fleet_is_told_everything_in_the_order_of_time() {
    let families = Family::ALL.map(|(family, ..)| family);
    let trace = Trace::new("t", &generated(&families, 3), None).expect("a trace");
    let told: Arc<Mutex<Told>> = Arc::default();
    let fleet = || Box::new(Fleet { told: Arc::clone(&told), ..Fleet::default() });
    let outcome = run(&trace, &all(&trace), fleet());
    {
        let told = told.lock().expect("a lock");
        assert_eq!(told.faults, Vec::<String>::new());
        // One step of time each, not one a workload.
        assert_eq!(told.steps, 3 * 96);
    }
    // In whichever order the workloads are given, the fleet is the same.
    *told.lock().expect("a lock") = Told::default();
    let mut places = all(&trace);
    places.reverse();
    let mut other = run(&trace, &places, fleet());
    other.tallies.sort_by_key(|(place, _)| *place);
    assert_eq!(outcome.tallies, other.tallies);
    let end = i64::MAX;
    assert_eq!(emitted(&trace, &outcome, end), emitted(&trace, &other, end));
    // And it is a fleet: alone, a workload is sized otherwise than with the kills of the others.
    let calm = families.iter().position(|family| *family == Family::Steady).map(|_| {
        trace.workloads.iter().position(|workload| workload.name.starts_with("steady")).expect("a steady one")
    });
    let calm = calm.expect("a place");
    let alone = run(&trace, &[calm], Box::new(Fleet::default()));
    assert_ne!(alone.tallies[0].1, outcome.tallies[calm].1);
}

#[test]
fn a_policy_of_tasks_sizes_each_by_its_own_use() {
    let rows: Vec<TraceRow> = (0..600_i64)
        .flat_map(|step| {
            [("big", 4e9), ("small", 2e8)].map(|(task, level)| TraceRow {
                workload: "pair".to_owned(),
                task: task.to_owned(),
                time: step * 300,
                cpu: Some(0.1),
                memory: Some(level * if task == "big" && step == 500 { 2.0 } else { 1.0 }),
                cpu_request: None,
                memory_request: None,
                load: None,
            })
        })
        .collect();
    let trace = Trace::new("t", &rows, None).expect("a trace");
    let outcome = run(&trace, &[0], Box::new(EachTask::default()));
    let names = &trace.workloads[0].tasks;
    let largest = |task: &str| {
        let place = names.iter().position(|name| name == task).expect("a task") as u32;
        let of = outcome.record.limits.iter().filter(|change| change.task == Some(place));
        of.filter_map(|change| change.memory).fold(0.0, f64::max)
    };
    assert!(outcome.record.limits.iter().all(|change| change.task.is_some()));
    assert!(largest("small") < 2.1e8 && largest("big") > 4e9, "{} {}", largest("small"), largest("big"));
    let killed: Vec<&str> =
        outcome.record.kills.iter().map(|kill| names[kill.task as usize].as_str()).collect();
    assert_eq!(killed, ["big"]);
}
