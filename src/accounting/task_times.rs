//! Lives and samples of tasks as rows of the history, and such rows as what accounting adds up.
//!
//! In: the same facts that a bill is made from. Out: rows a task, step and request. A bill that is made from the
//! rows is the one that is made from the facts, to the last micro-cent: `bill::exact` holds that.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::accounting::bill::taken::by_node;
use crate::accounting::facts::TaskInterval;
use crate::accounting::ledger::{Exact, HourSums, steps, used};
use crate::accounting::timeline::{Piece, Span, pieces};
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::task_time::{Measured, STEP, TaskSeries, TaskTime, TaskTimes};
use crate::domain::usage::UsageSample;
use crate::domain::workload::{Owner, WorkloadKind};

/// Rows that are gathered, step by step.
#[derive(Debug, Default)]
pub struct Rows {
    times: TaskTimes,
    numbers: HashMap<TaskSeries, u32>,
}

impl Rows {
    /// Adds the time from `from` (inclusive) to `to` (exclusive), both the start of a step. `about` tells what a
    /// task's workload is and who owns it.
    pub fn add(
        &mut self,
        (from, to): (Timestamp, Timestamp),
        intervals: &[TaskInterval],
        samples: &[UsageSample],
        about: impl Fn(&TaskId) -> (Option<WorkloadKind>, Owner),
    ) {
        let window = Span { from: from.as_microsecond(), to: to.as_microsecond() };
        for (task, (mut intervals, samples)) in by_task(intervals, samples) {
            intervals.sort_by_key(|interval| (interval.from, interval.to, interval.node.clone()));
            let pieces = pieces(&intervals, &samples, window);
            if pieces.is_empty() {
                continue;
            }
            let (kind, owner) = about(task);
            for (node, pieces) in by_node(&intervals, &pieces) {
                for ((cpu, memory, ..), row) in rows(&pieces) {
                    let request = Resources::new(cpu, memory);
                    let (task, node, owner) = (task.clone(), node.cloned(), owner.clone());
                    let series = self.number(TaskSeries { task, node, kind, owner, request });
                    self.times.rows.push(TaskTime { series, ..row });
                }
            }
        }
    }

    fn number(&mut self, series: TaskSeries) -> u32 {
        if let Some(number) = self.numbers.get(&series) {
            return *number;
        }
        let number = self.times.series.len() as u32;
        self.times.series.push(series.clone());
        self.numbers.insert(series, number);
        number
    }

    /// All of them.
    pub fn finish(self) -> TaskTimes {
        self.times
    }
}

/// Intervals and samples of each task.
pub(crate) fn by_task<'a>(
    intervals: &'a [TaskInterval],
    samples: &'a [UsageSample],
) -> BTreeMap<&'a TaskId, (Vec<&'a TaskInterval>, Vec<&'a UsageSample>)> {
    let mut by_task: BTreeMap<&TaskId, (Vec<&TaskInterval>, Vec<&UsageSample>)> = BTreeMap::new();
    for interval in intervals {
        by_task.entry(&interval.task).or_default().0.push(interval);
    }
    for sample in samples {
        by_task.entry(&sample.task).or_default().1.push(sample);
    }
    by_task
}

/// Request, start of the step, what was measured.
type RowKey = (Millicores, Bytes, i64, Measured);

/// The rows of one task on one node, by request, step and what was measured.
fn rows(pieces: &[Piece]) -> BTreeMap<RowKey, TaskTime> {
    let mut found: BTreeMap<RowKey, TaskTime> = BTreeMap::new();
    for piece in pieces {
        let measured = match piece.measured {
            None => Measured::Nothing,
            Some(found) if found.cores.is_none() => Measured::Memory,
            Some(_) => Measured::Both,
        };
        for span in steps(piece.span) {
            let length = span.length();
            let start = span.from.div_euclid(STEP.as_secs() * 1_000_000) * STEP.as_secs();
            let key = (piece.request.cpu, piece.request.memory, start, measured);
            let row = found.entry(key).or_insert(TaskTime {
                series: 0,
                start,
                measured,
                micros: 0,
                cpu_within: 0,
                cpu_over: 0,
                memory_within: 0,
                memory_over: 0,
            });
            row.micros += length;
            let micros = u128::from(length.unsigned_abs());
            let (cpu, memory) = used(length, piece.measured);
            let requested = micros * u128::from(piece.request.cpu.get());
            let cpu = cpu.unwrap_or(0);
            row.cpu_within = row.cpu_within.saturating_add(whole(cpu.min(requested)));
            row.cpu_over = row.cpu_over.saturating_add(whole(cpu.saturating_sub(requested)));
            let requested = micros * u128::from(piece.request.memory.get());
            let memory = memory.unwrap_or(0);
            row.memory_within = row.memory_within.saturating_add(memory.min(requested));
            row.memory_over = row.memory_over.saturating_add(memory.saturating_sub(requested));
        }
    }
    found
}

/// 64 bits hold a million cores for 100 days.
fn whole(amount: u128) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// What a row comes to.
pub(crate) fn sums(row: &TaskTime, request: Resources) -> HourSums {
    let micros = u128::from(row.micros.max(0).unsigned_abs());
    let amount = |value: i64| u128::from(value.max(0).unsigned_abs());
    let exact = |requested: u128, used: Option<(u128, u128)>| match used {
        Some((within, overuse)) => {
            let within = within.min(requested);
            Exact { within, idle: requested - within, unsampled: 0, overuse }
        }
        None => Exact { unsampled: requested, ..Exact::default() },
    };
    let cpu = (row.measured == Measured::Both).then(|| (amount(row.cpu_within), amount(row.cpu_over)));
    let memory = (row.measured != Measured::Nothing).then_some((row.memory_within, row.memory_over));
    HourSums {
        micros: row.micros,
        unsampled_micros: if row.measured == Measured::Nothing { row.micros } else { 0 },
        cpu: exact(micros * u128::from(request.cpu.get()), cpu),
        memory: exact(micros * u128::from(request.memory.get()), memory),
    }
}
