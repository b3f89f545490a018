//! What tasks took of nodes, hour by hour.
//!
//! In: lives of tasks with their nodes and samples, or rows of the history. Out: for each node and hour the
//! tasks that were there, with what they had requested and used.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::accounting::facts::TaskInterval;
use crate::accounting::ledger::{HourSums, by_hour};
use crate::accounting::task_times::{by_task, sums};
use crate::accounting::timeline::{Piece, Span, pieces};
use crate::domain::node::NodeName;
use crate::domain::task::TaskId;
use crate::domain::task_time::{TaskSeries, TaskTimes};
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
    window: (Timestamp, Timestamp),
    intervals: &[TaskInterval],
    samples: &[UsageSample],
    mut subject: impl FnMut(&TaskId) -> u32,
) -> Use {
    let mut gathering = Gathering::default();
    gathering.add_recorded(window, intervals, samples, &mut subject);
    gathering.finish()
}

/// What is known of the nodes' hours so far, from records and samples and from the history, for spans that do
/// not overlap.
#[derive(Debug, Default)]
pub struct Gathering {
    /// Nodes and tasks by number: a day has hundreds of thousands of task-hours and few of them.
    nodes: Numbers<NodeName>,
    tasks: Numbers<TaskId>,
    /// By node: hours, and the tasks in each.
    hours: Vec<BTreeMap<i64, Vec<(u32, Taken)>>>,
    nowhere: i64,
}

#[derive(Debug)]
struct Numbers<T>(HashMap<T, u32>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbers<T> {
    fn of(&mut self, value: &T) -> u32 {
        if let Some(number) = self.0.get(value) {
            return *number;
        }
        let number = self.0.len() as u32;
        self.0.insert(value.clone(), number);
        number
    }
}

impl Gathering {
    /// Adds what records and samples tell of a span. Tells for how many microseconds tasks ran in it, and for
    /// how many of them nothing was measured.
    pub fn add_recorded(
        &mut self,
        (from, to): (Timestamp, Timestamp),
        intervals: &[TaskInterval],
        samples: &[UsageSample],
        mut subject: impl FnMut(&TaskId) -> u32,
    ) -> (i64, i64) {
        let window = Span { from: from.as_microsecond(), to: to.as_microsecond() };
        let (mut all, mut unsampled) = (0, 0);
        for (task, (mut intervals, samples)) in by_task(intervals, samples) {
            intervals.sort_by_key(|interval| (interval.from, interval.to, interval.node.clone()));
            let pieces = pieces(&intervals, &samples, window);
            if pieces.is_empty() {
                continue;
            }
            for piece in &pieces {
                all += piece.span.length();
                unsampled += if piece.measured.is_none() { piece.span.length() } else { 0 };
            }
            let subject = subject(task);
            for (node, pieces) in by_node(&intervals, &pieces) {
                let Some(node) = node else {
                    self.nowhere += pieces.iter().map(|piece| piece.span.length()).sum::<i64>();
                    continue;
                };
                for (hour, sums) in by_hour(&pieces) {
                    self.put(node, task, hour, Taken { subject, sums });
                }
            }
        }
        (all, unsampled)
    }

    /// Adds rows of the history, by hours or by steps.
    pub fn add_history(&mut self, times: &TaskTimes, mut subject: impl FnMut(&TaskSeries) -> u32) {
        let known: Vec<(Option<u32>, u32, u32)> = times
            .series
            .iter()
            .map(|series| {
                let node = series.node.as_ref().map(|node| self.node(node));
                (node, self.tasks.of(&series.task), subject(series))
            })
            .collect();
        for row in &times.rows {
            let (Some((node, task, subject)), Some(series)) =
                (known.get(row.series as usize), times.series.get(row.series as usize))
            else {
                continue;
            };
            let Some(node) = *node else {
                self.nowhere += row.micros;
                continue;
            };
            let taken = Taken { subject: *subject, sums: sums(row, series.request) };
            let hour = row.start.div_euclid(3600);
            self.hours[node as usize].entry(hour).or_default().push((*task, taken));
        }
    }

    fn node(&mut self, name: &NodeName) -> u32 {
        let node = self.nodes.of(name);
        self.hours.resize_with(self.hours.len().max(node as usize + 1), BTreeMap::new);
        node
    }

    fn put(&mut self, node: &NodeName, task: &TaskId, hour: i64, taken: Taken) {
        let (node, task) = (self.node(node), self.tasks.of(task));
        self.hours[node as usize].entry(hour).or_default().push((task, taken));
    }

    /// What was taken, with one entry for a task, hour and subject.
    pub fn finish(self) -> Use {
        let mut ids: Vec<(TaskId, u32)> = self.tasks.0.into_iter().collect();
        ids.sort_unstable();
        let mut ranks = vec![0_u32; ids.len()];
        for (rank, (_, number)) in (0..).zip(&ids) {
            ranks[*number as usize] = rank;
        }
        let in_order = |mut tasks: Vec<(u32, Taken)>| {
            tasks.sort_by_key(|(task, taken)| (ranks[*task as usize], taken.subject));
            let mut merged: Vec<(u32, Taken)> = Vec::with_capacity(tasks.len());
            for (task, taken) in tasks {
                match merged.last_mut() {
                    Some((last, found)) if *last == task && found.subject == taken.subject => {
                        found.sums.merge(&taken.sums);
                    }
                    _ => merged.push((task, taken)),
                }
            }
            merged.into_iter().map(|(_, taken)| taken).collect()
        };
        let mut by_number = self.hours;
        let hours = self
            .nodes
            .0
            .into_iter()
            .map(|(name, number)| {
                let hours = std::mem::take(&mut by_number[number as usize]);
                (name, hours.into_iter().map(|(hour, tasks)| (hour, in_order(tasks))).collect())
            })
            .collect();
        Use { hours, nowhere: self.nowhere }
    }
}

/// The pieces of a task by the node that it ran on: the node of the interval that began last, or of the
/// first one for what a sample tells of the time before.
pub(crate) fn by_node<'a>(
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
