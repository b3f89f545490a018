//! Rows of a trace laid on steps of the trace's own interval.
//!
//! In: rows in any order. Out: a `Trace`, with a count of what was repaired, or the fault that forbids
//! it. A step without a row is a gap: the task was not running, or nothing was measured.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::trace::TraceRow;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Intervals that traces have; the median distance of rows is taken to be the nearest of these.
const INTERVALS: [i64; 14] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600];

/// What is taken where a trace is too short to tell its interval.
const INTERVAL_DEFAULT: i64 = 300;

/// From so many distances on, a task's own interval is believed.
const DISTANCES_MIN: usize = 10;

/// Why rows make no trace.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TraceError {
    /// No rows.
    #[error("the trace has no rows")]
    Empty,
    /// Rows, but no usage.
    #[error("no row of the trace has a value in column `cpu` or `memory`")]
    NoUsage,
    /// A value is not what its column holds.
    #[error("row {row}, column `{column}`: found {found}, expected {expected}")]
    Value {
        /// The row, counted from 1; a header is not counted.
        row: usize,
        /// The column.
        column: &'static str,
        /// What is there.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A task's rows lie further apart than those of the trace.
    #[error(
        "row {row}, column `time`: rows of task {task} come every {found} s, those of the trace every {step} s; \
         give each interval a file of its own, or lay all on one with --step {found}"
    )]
    MixedIntervals {
        /// A row of the task, counted from 1.
        row: usize,
        /// The task.
        task: String,
        /// Its interval.
        found: i64,
        /// The interval of the trace.
        step: i64,
    },
}

/// What was put right or left out, where that is safe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Repairs {
    /// Rows that stood before an earlier one of their task; they were sorted.
    pub unordered: usize,
    /// Rows with the workload, task and time of another; they were joined.
    pub duplicates: usize,
    /// Rows that fell into the step of another; memory is the higher, CPU the mean.
    pub joined: usize,
    /// Rows with neither CPU nor memory; they were left out, as if the task had not run.
    pub empty: usize,
}

impl Repairs {
    /// Each kind that happened, with its count, for people.
    pub fn said(self) -> impl Iterator<Item = (usize, &'static str)> {
        [
            (self.unordered, "rows stood before an earlier one of their task: sorted"),
            (self.duplicates, "rows repeat the workload, task and time of another: joined"),
            (self.joined, "rows fell into the step of another: joined, the higher memory and the mean CPU"),
            (self.empty, "rows have neither CPU nor memory: left out, as if the task had not run"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
    }
}

/// Peak and p95 of a task's usage on one day: what the oracle knows and slack is told against.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DayUse {
    /// Highest memory in bytes.
    pub memory_peak: f64,
    /// 95th percentile of memory.
    pub memory_p95: f64,
    /// The least CPU in cores that is short for no more than each of `SHORT_SHARES` of the day.
    pub cpu_short: [f64; SHORT_SHARES.len()],
    /// 95th percentile of CPU.
    pub cpu_p95: f64,
}

/// Shares of a day's time that an oracle of CPU may be short. With none it says the day's peak.
pub const SHORT_SHARES: [f64; 7] = [0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/// One task in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The step: times from `slot * step` on, before `(slot + 1) * step`.
    pub slot: i64,
    /// The time of its first row.
    pub time: i64,
    /// The task's place in `WorkloadTrace::tasks`.
    pub task: u32,
    /// Its day's place in `WorkloadTrace::days`.
    pub day: u32,
    /// Cores.
    pub cpu: Option<f64>,
    /// Bytes.
    pub memory: Option<f64>,
    /// What the owner asked for, in cores.
    pub cpu_request: Option<f64>,
    /// What the owner asked for, in bytes.
    pub memory_request: Option<f64>,
    /// Demand.
    pub load: Option<f64>,
}

/// One workload's steps, by time, then task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkloadTrace {
    /// Its name.
    pub name: String,
    /// Its tasks' names.
    pub tasks: Vec<String>,
    /// The steps.
    pub steps: Vec<Step>,
    /// A task's usage on a day.
    pub days: Vec<DayUse>,
}

/// A trace on its grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Where it comes from, for people.
    pub name: String,
    /// Seconds of a step.
    pub step: i64,
    /// The first step.
    pub origin: i64,
    /// The first step that counts: what is before it is told to policies, and not scored.
    pub scored_from: i64,
    /// By name.
    pub workloads: Vec<WorkloadTrace>,
    /// What was repaired.
    pub repairs: Repairs,
}

impl Trace {
    /// Lays rows on a grid; of `step` seconds where given, else of the rows' own interval.
    pub fn new(name: &str, rows: &[TraceRow], step: Option<i64>) -> Result<Self, TraceError> {
        check(rows)?;
        let mut repairs = Repairs::default();
        let by_task = by_task(rows, &mut repairs);
        if by_task.is_empty() {
            return Err(TraceError::NoUsage);
        }
        let step = match step {
            Some(step) => step.max(1),
            None => own_interval(&by_task, rows)?,
        };
        let origin = rows.iter().map(|row| row.time.div_euclid(step)).min().ok_or(TraceError::Empty)?;
        let mut workloads: Vec<WorkloadTrace> = Vec::new();
        for ((workload, task), places) in by_task {
            if workloads.last().is_none_or(|last| last.name != workload) {
                workloads.push(WorkloadTrace { name: workload.to_owned(), ..WorkloadTrace::default() });
            }
            if let Some(last) = workloads.last_mut() {
                last.take(task, places.iter().map(|&place| &rows[place]), (step, origin), &mut repairs);
            }
        }
        for workload in &mut workloads {
            workload.steps.sort_by_key(|step| (step.slot, step.task));
        }
        Ok(Self { name: name.to_owned(), step, origin, scored_from: origin, workloads, repairs })
    }

    /// The same trace, scored only after so large a share of its time.
    #[must_use]
    pub fn scored_after(mut self, share: f64) -> Self {
        let last = self.workloads.iter().filter_map(|workload| workload.steps.last()).map(|step| step.slot);
        let span = last.max().map_or(0, |last| last + 1 - self.origin);
        self.scored_from = self.origin + (span as f64 * share) as i64;
        self
    }

    /// Steps of all tasks.
    pub fn samples(&self) -> usize {
        self.workloads.iter().map(|workload| workload.steps.len()).sum()
    }

    /// Steps of a day, at least one.
    pub fn day(&self) -> i64 {
        (DAY / self.step).max(1)
    }

    /// The instant at which a step's limits are said: usage of the step before is known.
    pub fn before(&self, slot: i64) -> Timestamp {
        timestamp((slot - 1).saturating_mul(self.step))
    }

    /// The instant at which a step's usage is known.
    pub fn after(&self, slot: i64) -> Timestamp {
        timestamp(slot.saturating_mul(self.step))
    }
}

/// `check` holds times within bounds.
fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Some centuries either way: enough for any trace, and no sum of them overflows.
const TIME_MAX: i64 = 100_000_000_000;

fn check(rows: &[TraceRow]) -> Result<(), TraceError> {
    if rows.is_empty() {
        return Err(TraceError::Empty);
    }
    for (place, row) in rows.iter().enumerate() {
        let fault =
            |column, found, expected| Err(TraceError::Value { row: place + 1, column, found, expected });
        if row.time.abs() > TIME_MAX {
            return fault("time", row.time.to_string(), "seconds since the epoch");
        }
        let values = [
            ("cpu", row.cpu),
            ("memory", row.memory),
            ("cpu_request", row.cpu_request),
            ("memory_request", row.memory_request),
            ("load", row.load),
        ];
        for (column, value) in values {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                return fault(column, value.to_string(), "a number of at least 0, or nothing");
            }
        }
    }
    Ok(())
}

type Places<'a> = BTreeMap<(&'a str, &'a str), Vec<usize>>;

/// The places of each task's rows in the order of time. Rows without any usage say nothing.
fn by_task<'a>(rows: &'a [TraceRow], repairs: &mut Repairs) -> Places<'a> {
    let mut places: Places<'a> = BTreeMap::new();
    let mut at = 0;
    // Files come task by task or step by step; for the former one look-up a task is enough.
    for run in rows.chunk_by(|a, b| a.task == b.task && a.workload == b.workload) {
        let used = |place: &usize| rows[*place].cpu.is_some() || rows[*place].memory.is_some();
        let here: Vec<usize> = (at..at + run.len()).filter(used).collect();
        repairs.empty += run.len() - here.len();
        if !here.is_empty() {
            places.entry((&run[0].workload, &run[0].task)).or_default().extend(here);
        }
        at += run.len();
    }
    for of in places.values_mut() {
        repairs.unordered += of.windows(2).filter(|pair| rows[pair[1]].time < rows[pair[0]].time).count();
        of.sort_by_key(|&place| rows[place].time);
        repairs.duplicates += of.windows(2).filter(|pair| rows[pair[1]].time == rows[pair[0]].time).count();
    }
    places
}

fn distances(of: &[usize], rows: &[TraceRow]) -> Vec<i64> {
    of.windows(2).map(|pair| rows[pair[1]].time - rows[pair[0]].time).filter(|gap| *gap > 0).collect()
}

fn median(mut values: Vec<i64>) -> Option<i64> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable(middle).1)
}

fn nearest_interval(distance: i64) -> i64 {
    let off = |interval: i64| (distance as f64 / interval as f64).ln().abs();
    let nearest = INTERVALS.into_iter().min_by(|a, b| off(*a).total_cmp(&off(*b)));
    nearest.filter(|interval| off(*interval) < 0.2).unwrap_or(distance)
}

/// The median distance of rows. A task whose rows lie further apart, all of them or for a while, would
/// count for too little time.
fn own_interval(by_task: &Places<'_>, rows: &[TraceRow]) -> Result<i64, TraceError> {
    let all: Vec<i64> = by_task.values().flat_map(|of| distances(of, rows)).collect();
    let step = median(all).map_or(INTERVAL_DEFAULT, nearest_interval);
    let coarse = |distance: i64| distance as f64 > 1.5 * step as f64;
    for ((_, task), of) in by_task {
        let own = distances(of, rows);
        let enough = own.len() >= DISTANCES_MIN;
        let found = match median(own).filter(|found| enough && coarse(*found)) {
            Some(found) => Some((of[0], found)),
            None => even_run(of, rows).filter(|(_, found)| coarse(*found)),
        };
        if let Some((place, found)) = found {
            let (row, task) = (place + 1, (*task).to_owned());
            return Err(TraceError::MixedIntervals { row, task, found: nearest_interval(found), step });
        }
    }
    Ok(step)
}

/// Where a task's rows begin to come at their widest even distance, and that distance. One gap is none, and
/// gaps differ; many equal ones are another interval.
fn even_run(of: &[usize], rows: &[TraceRow]) -> Option<(usize, i64)> {
    let distance = |pair: &[usize]| rows[pair[1]].time - rows[pair[0]].time;
    let even = |a: i64, b: i64| (a - b).abs() * 10 <= a;
    let mut widest = None;
    let mut run = 0;
    let mut before = 0;
    for (at, pair) in of.windows(2).enumerate() {
        let found = distance(pair);
        run = if found > 0 && even(found, before) { run + 1 } else { 1 };
        before = found;
        if run >= DISTANCES_MIN && widest.is_none_or(|(_, wide)| found > wide) {
            widest = Some((of[at + 1 - run], found));
        }
    }
    widest
}

impl WorkloadTrace {
    /// Takes in one task's rows, in the order of time.
    fn take<'a>(
        &mut self,
        task: &str,
        rows: impl Iterator<Item = &'a TraceRow>,
        (step, origin): (i64, i64),
        repairs: &mut Repairs,
    ) {
        let number = self.tasks.len() as u32;
        self.tasks.push(task.to_owned());
        let first = self.steps.len();
        let mut joined = 1.0;
        let mut before = None;
        for row in rows {
            let slot = row.time.div_euclid(step);
            let same = self.steps[first..].last().is_some_and(|last| last.slot == slot);
            if let Some(last) = self.steps[first..].last_mut().filter(|_| same) {
                repairs.joined += usize::from(before != Some(row.time));
                joined += 1.0;
                last.join(row, joined);
            } else {
                joined = 1.0;
                self.steps.push(Step::of(row, slot, number));
            }
            before = Some(row.time);
        }
        let day = (DAY / step).max(1);
        let of_day = |step: &Step| (step.slot - origin).div_euclid(day);
        let days = &mut self.days;
        for steps in self.steps[first..].chunk_by_mut(|a, b| of_day(a) == of_day(b)) {
            let cpu = sorted(steps.iter().filter_map(|step| step.cpu));
            let memory = sorted(steps.iter().filter_map(|step| step.memory));
            for step in steps {
                step.day = days.len() as u32;
            }
            days.push(DayUse {
                memory_peak: covering(&memory, 0.0),
                memory_p95: covering(&memory, 0.05),
                cpu_short: SHORT_SHARES.map(|share| covering(&cpu, share)),
                cpu_p95: covering(&cpu, 0.05),
            });
        }
    }
}

impl Step {
    fn of(row: &TraceRow, slot: i64, task: u32) -> Self {
        Self {
            slot,
            time: row.time,
            task,
            day: 0,
            cpu: row.cpu,
            memory: row.memory,
            cpu_request: row.cpu_request,
            memory_request: row.memory_request,
            load: row.load,
        }
    }

    /// Takes in the `count`th row of the same step.
    fn join(&mut self, row: &TraceRow, count: f64) {
        self.cpu = match (self.cpu, row.cpu) {
            (Some(mean), Some(more)) => Some(mean + (more - mean) / count),
            (one, other) => one.or(other),
        };
        self.memory = self.memory.into_iter().chain(row.memory).reduce(f64::max);
        self.cpu_request = self.cpu_request.or(row.cpu_request);
        self.memory_request = self.memory_request.or(row.memory_request);
        self.load = self.load.or(row.load);
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The least of sorted values that no more than a share of them passes; zero where there are none.
fn covering(sorted: &[f64], share: f64) -> f64 {
    let passing = (sorted.len() as f64 * share + 1e-9) as usize;
    sorted.len().checked_sub(passing + 1).map_or(0.0, |place| sorted[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(task: &str, time: i64, cpu: f64, memory: f64) -> TraceRow {
        TraceRow {
            workload: "w".to_owned(),
            task: task.to_owned(),
            time,
            cpu: Some(cpu),
            memory: Some(memory),
            cpu_request: None,
            memory_request: None,
            load: None,
        }
    }

    #[test]
    fn unordered_and_repeated_rows_are_repaired_and_counted() {
        let rows = [row("a", 600, 1.0, 5.0), row("a", 300, 2.0, 4.0), row("a", 600, 3.0, 9.0)];
        let trace = Trace::new("t", &rows, None).expect("a trace");
        assert_eq!(trace.repairs, Repairs { unordered: 1, duplicates: 1, ..Repairs::default() });
        let steps = &trace.workloads[0].steps;
        assert_eq!(
            steps.iter().map(|s| (s.slot, s.cpu, s.memory)).collect::<Vec<_>>(),
            [(1, Some(2.0), Some(4.0)), (2, Some(2.0), Some(9.0))]
        );
    }

    #[test]
    fn a_gap_is_no_step() {
        let rows: Vec<_> = [0, 60, 120, 600, 660].map(|time| row("a", time, 1.0, 1.0)).into();
        let trace = Trace::new("t", &rows, None).expect("a trace");
        assert_eq!((trace.step, trace.samples()), (60, 5));
    }

    #[test]
    fn values_out_of_range_name_row_and_column() {
        let rows = [row("a", 0, 1.0, 1.0), row("a", 300, f64::NAN, 1.0)];
        let error = Trace::new("t", &rows, None).expect_err("a fault").to_string();
        assert_eq!(error, "row 2, column `cpu`: found NaN, expected a number of at least 0, or nothing");
        assert_eq!(Trace::new("t", &[], None).expect_err("a fault"), TraceError::Empty);
    }

    #[test]
    fn mixed_intervals_are_refused_unless_a_step_is_given() {
        let rows: Vec<_> = (0..100)
            .map(|n| row("fine", n * 60, 1.0, 1.0))
            .chain((0..20).map(|n| row("coarse", n * 300, 1.0, 1.0)))
            .collect();
        let error = Trace::new("t", &rows, None).expect_err("a fault").to_string();
        assert!(error.starts_with("row 101, column `time`: rows of task coarse come every 300 s"), "{error}");
        let trace = Trace::new("t", &rows, Some(300)).expect("a trace");
        assert_eq!((trace.samples(), trace.repairs.joined), (40, 80));
    }

    #[test]
    fn an_interval_that_changes_within_a_task_is_refused() {
        let fine = (0..100).map(|n| row("a", n * 60, 1.0, 1.0));
        let coarse = (1..=12).map(|n| row("a", 5940 + n * 300, 1.0, 1.0));
        let rows: Vec<_> = fine.clone().chain(coarse).collect();
        let error = Trace::new("t", &rows, None).expect_err("a fault").to_string();
        assert!(error.starts_with("row 100, column `time`: rows of task a come every 300 s"), "{error}");
        // Gaps that differ are gaps.
        let gaps = (1..=12).map(|n| row("a", 5940 + n * n * 300, 1.0, 1.0));
        let rows: Vec<_> = fine.chain(gaps).collect();
        assert_eq!(Trace::new("t", &rows, None).expect("a trace").step, 60);
    }

    #[test]
    fn rows_without_usage_are_left_out_and_counted() {
        let empty = |time| TraceRow { cpu: None, memory: None, ..row("b", time, 0.0, 0.0) };
        let trace = Trace::new("t", &[row("a", 0, 1.0, 1.0), empty(300)], None).expect("a trace");
        assert_eq!((trace.repairs.empty, trace.workloads[0].tasks.len()), (1, 1));
        assert_eq!(Trace::new("t", &[empty(0)], None), Err(TraceError::NoUsage));
    }

    #[test]
    fn days_have_peak_and_p95() {
        let rows: Vec<_> = (0..288).map(|n| row("a", n * 300, 1.0, f64::from(n as i32))).collect();
        let trace = Trace::new("t", &rows, None).expect("a trace");
        let day = trace.workloads[0].days[0];
        // 0.05 x 288 = 14.4: fourteen of 0, 1, 2, .. may lie above.
        assert_eq!((day.memory_peak, day.memory_p95), (287.0, 273.0));
        assert!((day.cpu_short[0] - 1.0).abs() < 1e-12);
        assert_eq!(trace.workloads[0].days.len(), 1);
    }
}
