//! Backtests over a history that is made up: what they come to, how they are called off, what they refuse.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::domain::load::LoadSample;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::ports::history::UsagePart;
use crate::ports::store::StoreError;

const MINUTE: i64 = 60;
const HOURS: i64 = 30;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// A sample a minute and task: one task of `web` and one of `db` for 30 hours. Notes what was asked for.
#[derive(Default)]
struct MadeUp(Mutex<Vec<(Timestamp, Timestamp, usize)>>);

impl History for MadeUp {
    fn append(&self, _: &[UsageSample], _: &[LoadSample]) -> Result<(), StoreError> {
        Ok(())
    }

    fn usage(
        &self,
        _: Option<&WorkloadName>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageSample>, StoreError> {
        let sample = |workload: &str, minute: i64| {
            let task: TaskId = format!("{workload}.1").parse().expect("an id");
            let peak = if minute % 60 == 0 { 300 } else { 200 };
            UsageSample {
                workload: task.workload().clone(),
                task,
                at: Timestamp::from_second(minute * MINUTE).expect("a time"),
                interval_seconds: Some(60.0),
                cpu_cores: Some(0.25),
                throttled_share: None,
                memory: Bytes::mib(peak),
                page_cache: None,
                request: Resources::new(Millicores::new(500), Bytes::mib(400)),
                oom_kills: 0,
            }
        };
        let minutes = (0..=HOURS * 60).filter(|minute| {
            let at = Timestamp::from_second(minute * MINUTE).expect("a time");
            from <= at && at < to
        });
        let found: Vec<_> =
            minutes.flat_map(|minute| ["web", "db"].map(|name| sample(name, minute))).collect();
        self.0.lock().expect("a lock").push((from, to, found.len()));
        Ok(found)
    }

    fn usage_touching(&self, from: Timestamp, to: Timestamp) -> Result<Vec<UsageSample>, StoreError> {
        self.usage(None, from, to)
    }

    fn oldest_usage(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(Some(Timestamp::UNIX_EPOCH))
    }

    fn usage_course(
        &self,
        _: &WorkloadName,
        _: Timestamp,
        _: Timestamp,
        _: SignedDuration,
    ) -> Result<Vec<UsagePart>, StoreError> {
        Ok(Vec::new())
    }

    fn load(
        &self,
        _: Option<&WorkloadName>,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<LoadSample>, StoreError> {
        Ok(Vec::new())
    }
}

fn order(policies: &[&str], hours: i64) -> BacktestOrder {
    BacktestOrder {
        workloads: vec!["web".to_owned()],
        from: Timestamp::UNIX_EPOCH,
        to: Timestamp::from_second(hours * 3_600).expect("a time"),
        step: 300,
        policies: policies.iter().map(|policy| (*policy).to_owned()).collect(),
        sweep: true,
    }
}

fn ended(backtester: &Backtester, id: u64) -> BacktestState {
    let began = Instant::now();
    loop {
        let state = backtester.one(id).expect("it is known");
        if state.phase.is_final() {
            return state;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{state:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_backtest_tells_what_policies_come_to_on_the_record() {
    let history = Arc::<MadeUp>::default();
    let backtester = Backtester::new(history.clone(), Arc::new(Still));
    let begun = backtester.start(order(&["vpa", "request"], HOURS), "ann").expect("it is taken");
    assert_eq!((begun.id, begun.by.as_str()), (1, "ann"));
    let state = ended(&backtester, 1);
    assert_eq!((state.phase, state.problem.clone(), state.done), (BacktestPhase::Done, None, 1.0));
    let result = state.result.expect("a result");
    // 30 hours of 5 minutes, of `web` alone; the sample at 0 ends a step before.
    assert_eq!(result.extent, "1 workload, 1 task, 360 samples, steps of 300 s");
    assert!(result.repairs.is_empty(), "pieces do not overlap: {:?}", result.repairs);
    let memory = &result.resources[0];
    assert_eq!(memory.resource, "memory");
    let named: Vec<&str> = memory.figures.rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(named, ["vpa", "request"]);
    let request = &memory.report["lines"][1]["figures"];
    // 400 MiB are asked for, and no more than 300 used: nothing is killed, and a third is slack at least.
    assert_eq!(request["missed"], 0);
    let footprint = request["footprint_over_use"].as_f64().expect("a number");
    assert!(footprint > 400.0 / 300.0 && footprint < 2.1, "{footprint}");
    let curve = memory.curves.iter().find(|curve| curve.policy == "vpa").expect("a curve");
    assert!(!curve.points.is_empty() && curve.asked.is_some(), "{curve:?}");
    // It was read in pieces that follow each other.
    let read = history.0.lock().expect("a lock").clone();
    assert!(read.len() > 3 && read.windows(2).all(|pair| pair[0].1 == pair[1].0), "{read:?}");
    assert_eq!(backtester.all().iter().map(|state| state.result.is_some()).collect::<Vec<_>>(), [false]);
}

#[test]
fn less_than_a_day_has_figures_of_the_cold_start_only() {
    let backtester = Backtester::new(Arc::<MadeUp>::default(), Arc::new(Still));
    backtester.start(order(&["request"], 20), "ann").expect("it is taken");
    let result = ended(&backtester, 1).result.expect("a result");
    let memory = &result.resources[0];
    assert!(memory.figures.rows.is_empty() && memory.curves.is_empty(), "{memory:?}");
    assert_eq!(memory.cold_start.rows.len(), 1);
}

#[test]
fn what_cannot_be_replayed_is_refused_or_said() {
    let backtester = Backtester::new(Arc::<MadeUp>::default(), Arc::new(Still));
    let refused = |edit: fn(&mut BacktestOrder)| {
        let mut order = order(&["vpa"], HOURS);
        edit(&mut order);
        match backtester.start(order, "ann") {
            Err(BacktestError::Invalid(words)) => words,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(|order| order.policies.clear()).contains("no policy"));
    assert!(refused(|order| order.policies = vec!["nobody".to_owned()]).contains("nobody"));
    assert!(refused(|order| order.policies.push("vpa".to_owned())).contains("twice"));
    assert!(refused(|order| order.to = order.from).contains("not before"));
    assert!(refused(|order| order.step = 1).contains("seconds"));
    let nobody = BacktestOrder { workloads: vec!["nobody".to_owned()], ..order(&["vpa"], HOURS) };
    let id = backtester.start(nobody, "ann").expect("it is taken").id;
    let state = ended(&backtester, id);
    assert_eq!(state.phase, BacktestPhase::Failed);
    assert!(state.problem.expect("a reason").contains("recorded no usage"));
    assert_eq!(backtester.one(99), Err(BacktestError::Unknown(99)));
}

#[test]
fn backtests_take_turns_are_called_off_and_are_not_kept_for_ever() {
    let backtester = Backtester::new(Arc::<MadeUp>::default(), Arc::new(Still));
    let begun: Vec<_> = (0..40).map(|_| backtester.start(order(&["loadline"], HOURS), "ann")).collect();
    let taken: BTreeSet<u64> = begun.iter().flatten().map(|state| state.id).collect();
    assert!(begun.iter().any(|begun| matches!(begun, Err(BacktestError::Busy(_)))), "{begun:?}");
    for id in &taken {
        backtester.cancel(*id).ok();
    }
    let last = *taken.last().expect("one was taken");
    assert_eq!(ended(&backtester, last).phase, BacktestPhase::Cancelled);
    // The thread is free for the next ones.
    for _ in 0..KEPT_MAX + 3 {
        let state = backtester.start(order(&["request"], 20), "ann").expect("nothing waits");
        assert_eq!(ended(&backtester, state.id).phase, BacktestPhase::Done);
    }
    assert_eq!(backtester.all().len(), KEPT_MAX);
}
