//! What tasks took of nodes, hour by hour.
//!
//! In: lives of tasks with their nodes, samples. Out: for each node and hour the tasks that were there, with
//! what they had requested and used.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::accounting::facts::TaskInterval;
use crate::accounting::ledger::{HourSums, by_hour};
use crate::accounting::timeline::{Piece, Span, pieces};
use crate::domain::node::NodeName;
use crate::domain::task::TaskId;
use crate::domain::usage::UsageSample;
use crate::domain::workload::{Owner, WorkloadKind, WorkloadName};

/// Whom a cost is booked to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The workload.
    pub workload: WorkloadName,
    /// Its task, in statements that tell tasks apart.
    pub task: Option<u64>,
    /// Its kind; absent where the workload is known from its samples alone.
    pub kind: Option<WorkloadKind>,
    /// Who pays.
    pub owner: Owner,
}

/// Subjects by number: a month has millions of task-hours and few subjects.
#[derive(Debug, Clone, Default)]
pub struct Subjects {
    list: Vec<Subject>,
    numbers: HashMap<Subject, u32>,
}

impl Subjects {
    /// The number of a subject, which is new or known.
    pub fn number(&mut self, subject: &Subject) -> u32 {
        if let Some(number) = self.numbers.get(subject) {
            return *number;
        }
        let number = self.list.len() as u32;
        self.list.push(subject.clone());
        self.numbers.insert(subject.clone(), number);
        number
    }

    /// The subject of a number.
    pub fn get(&self, number: u32) -> Option<&Subject> {
        self.list.get(number as usize)
    }
}

/// What a task took of a node in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whom it is booked to.
    pub subject: u32,
    pub(crate) sums: HourSums,
}

/// Hours since the epoch, by node.
pub type NodeHours = BTreeMap<NodeName, BTreeMap<i64, Vec<Taken>>>;

/// What tasks took in a window, and the time that tasks ran on no node that is known.
#[derive(Debug, Clone, Default)]
pub struct Use {
    /// By node and hour; tasks in the order of their ids.
    pub hours: NodeHours,
    /// Microseconds that tasks ran on no node that is known.
    pub nowhere: i64,
}

/// Sorts what tasks took in the window from `from` (inclusive) to `to` (exclusive) by node and hour.
pub fn taken(
    (from, to): (Timestamp, Timestamp),
    intervals: &[TaskInterval],
    samples: &[UsageSample],
    mut subject: impl FnMut(&TaskId) -> u32,
) -> Use {
    let window = Span { from: from.as_microsecond(), to: to.as_microsecond() };
    let mut by_task: BTreeMap<&TaskId, (Vec<&TaskInterval>, Vec<&UsageSample>)> = BTreeMap::new();
    for interval in intervals {
        by_task.entry(&interval.task).or_default().0.push(interval);
    }
    for sample in samples {
        by_task.entry(&sample.task).or_default().1.push(sample);
    }
    let mut all = Use::default();
    for (task, (mut intervals, samples)) in by_task {
        intervals.sort_by_key(|interval| (interval.from, interval.to, interval.node.clone()));
        let pieces = pieces(&intervals, &samples, window);
        if pieces.is_empty() {
            continue;
        }
        let subject = subject(task);
        for (node, pieces) in by_node(&intervals, &pieces) {
            let Some(node) = node else {
                all.nowhere += pieces.iter().map(|piece| piece.span.length()).sum::<i64>();
                continue;
            };
            let hours = all.hours.entry(node.clone()).or_default();
            for (hour, sums) in by_hour(&pieces) {
                hours.entry(hour).or_default().push(Taken { subject, sums });
            }
        }
    }
    all
}

/// The pieces of a task by the node that it ran on: the node of the interval that began last, or of the
/// first one for what a sample tells of the time before.
fn by_node<'a>(
    intervals: &[&'a TaskInterval],
    pieces: &[Piece],
) -> BTreeMap<Option<&'a NodeName>, Vec<Piece>> {
    let known: Vec<_> = intervals
        .iter()
        .filter_map(|interval| Some((interval.from.as_microsecond(), interval.node.as_ref()?)))
        .collect();
    let mut found: BTreeMap<Option<&NodeName>, Vec<Piece>> = BTreeMap::new();
    for piece in pieces {
        let mut from = piece.span.from;
        while from < piece.span.to {
            let next = known.partition_point(|(begin, _)| *begin <= from);
            let node = known.get(next.saturating_sub(1)).map(|(_, node)| *node);
            let to = known.get(next).map_or(piece.span.to, |(begin, _)| piece.span.to.min(*begin));
            found.entry(node).or_default().push(Piece { span: Span { from, to }, ..*piece });
            from = to;
        }
    }
    found
}
