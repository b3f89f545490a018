//! What tasks took of the nodes in the past: from the history as far as it tells, and from the samples and
//! records of the store for the rest of the time, and where a file of the history cannot be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::accounting::bill::nodes::NodeBook;
use crate::accounting::bill::taken::{Gathering, Subject, Subjects, Use};
use crate::accounting::facts::TaskInterval;
use crate::api::ApiState;
use crate::api::bill_source::Span;
use crate::api::dto::Problem;
use crate::api::problem::chain;
use crate::domain::history_book::{HistoryBook, HistoryFile};
use crate::domain::task::{Task, TaskId};
use crate::domain::task_time::{TaskSeries, TaskTimes, step_from, step_of};
use crate::domain::workload::Owner;
use crate::ports::control::View;
use crate::ports::task_times::{TaskTimeFiles, TaskTimesError};

/// Tasks that a bill looks at: the newest ones.
const TASKS_MAX: usize = 1_000_000;
/// So often the history may be merged while a day of it is read.
const TRIES: usize = 3;

/// The past, a day after the other.
pub(super) struct Past<'a> {
    api: &'a ApiState,
    view: &'a View,
    owners: &'a NodeBook,
    /// Whether tasks of a workload are told apart.
    tasks: bool,
    reader: Reader,
    /// Records of tasks, once they are asked for: a month that is in the history does without.
    intervals: Option<Vec<TaskInterval>>,
    warnings: Vec<String>,
}

fn history_book(api: &ApiState) -> Result<HistoryBook, Problem> {
    let kept = if api.task_times.is_some() { api.events.document(HistoryBook::DOCUMENT)? } else { None };
    let Some(kept) = kept else { return Ok(HistoryBook::default()) };
    serde_json::from_slice(&kept)
        .map_err(|error| Problem::internal(format!("the book of the history cannot be read: {error}")))
}

/// Reads the history; another thread may do so ahead of the one that adds it up.
#[derive(Clone)]
pub(super) struct Reader {
    files: Option<Arc<dyn TaskTimeFiles>>,
    book: HistoryBook,
}

/// What was found of a part of a day.
pub(super) enum Part {
    History(TaskTimes),
    /// The store tells of it in place of a file that cannot be read.
    Recorded(Span, Option<Box<Unread>>),
}

/// A file that cannot be read, and why.
pub(super) struct Unread {
    file: HistoryFile,
    error: TaskTimesError,
}

impl<'a> Past<'a> {
    pub(super) fn new(
        api: &'a ApiState,
        view: &'a View,
        owners: &'a NodeBook,
        tasks: bool,
    ) -> Result<Self, Problem> {
        let reader = Reader { files: api.task_times.clone(), book: history_book(api)? };
        Ok(Self { api, view, owners, tasks, reader, intervals: None, warnings: Vec::new() })
    }

    /// What reads the history as it is now.
    pub(super) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// What tasks took in a day, or in a part of it, of which `read` was found.
    pub(super) fn day(
        &mut self,
        day: Span,
        read: Vec<Part>,
        subjects: &mut Subjects,
    ) -> Result<Use, Problem> {
        let mut gathering = Gathering::default();
        for part in self.parts(day, read)? {
            match part {
                Part::History(times) => {
                    gathering.add_history(&times, |series| subjects.number(&self.of_series(series)));
                }
                Part::Recorded(span, unread) => self.recorded(span, unread, &mut gathering, subjects)?,
            }
        }
        Ok(gathering.finish())
    }

    /// From when on samples are known, and what could not be read.
    pub(super) fn told(self) -> Result<(Option<Timestamp>, Vec<String>), Problem> {
        let oldest = self.api.history.oldest_usage()?;
        let from = self.reader.book.from.into_iter().chain(oldest).min();
        Ok((from, self.warnings))
    }

    fn parts(&mut self, day: Span, read: Vec<Part>) -> Result<Vec<Part>, Problem> {
        let mut parts = read;
        for _ in 1..TRIES {
            let unread = parts.iter().any(|part| matches!(part, Part::Recorded(_, Some(_))));
            if !unread {
                break;
            }
            // The historian merges files and deletes old ones while they are read.
            let fresh = history_book(self.api)?;
            if fresh.files == self.reader.book.files {
                break;
            }
            self.reader.book = fresh;
            parts = self.reader.read(day);
        }
        Ok(parts)
    }

    fn recorded(
        &mut self,
        (from, to): Span,
        unread: Option<Box<Unread>>,
        gathering: &mut Gathering,
        subjects: &mut Subjects,
    ) -> Result<(), Problem> {
        if from >= to {
            return Ok(());
        }
        let samples = self.api.history.usage_touching(from, to)?;
        let (owners, tasks) = (self.owners, self.tasks);
        let intervals = self.intervals()?;
        let subject = |task: &TaskId| subjects.number(&of_task(owners, task, tasks));
        let (found, unsampled) = gathering.add_recorded((from, to), intervals, &samples, subject);
        if let Some(unread) = unread {
            let Unread { file, error } = *unread;
            let whole = (from, to) == (file.from, file.until);
            let known = if whole { file.task_microseconds.max(found) } else { found };
            self.warnings.push(format!(
                "history/{}: {:.2} of {:.2} task-hours from {from} to {to} are unsampled for it, {:.2} are not \
                known at all; the sum of the bill is right",
                chain(&error),
                hours(unsampled),
                hours(known),
                hours(known - found)
            ));
        }
        Ok(())
    }

    fn intervals(&mut self) -> Result<&[TaskInterval], Problem> {
        if self.intervals.is_none() {
            let ended = self.api.archive.tasks(None, TASKS_MAX)?;
            let mut tasks: BTreeMap<TaskId, Task> =
                ended.into_iter().map(|task| (task.id.clone(), task)).collect();
            tasks.extend(self.view.world.tasks.iter().map(|(id, task)| (id.clone(), task.clone())));
            let known = tasks.values().filter_map(|task| TaskInterval::of_record(task, None)).collect();
            self.intervals = Some(known);
        }
        Ok(self.intervals.as_deref().unwrap_or_default())
    }

    /// Whom a series of the history is booked to: its owner then.
    fn of_series(&self, series: &TaskSeries) -> Subject {
        Subject {
            workload: series.task.workload().clone(),
            task: self.tasks.then(|| series.task.number()),
            kind: series.kind,
            owner: series.owner.clone(),
        }
    }
}

impl Reader {
    /// What the history has of a part of a day, and what is left to the store.
    pub(super) fn read(&self, (from, to): Span) -> Vec<Part> {
        let recorded = |from, to| Part::Recorded((from, to), None);
        let Some((files, (begin, end))) = self.files.as_ref().zip(self.book.span()) else {
            return vec![recorded(from, to)];
        };
        // Steps that the span has a part of are left to the store: the history does not cut them.
        let (begin, end) = (begin.max(step_from(from)), end.min(step_of(to)));
        if begin >= end {
            return vec![recorded(from, to)];
        }
        let mut parts = vec![recorded(from, begin), recorded(end, to)];
        for file in self.book.within(begin, end) {
            let span = (begin.max(file.from), end.min(file.until));
            parts.push(match files.hours(file, span.0, span.1) {
                Ok(times) => Part::History(times),
                Err(error) => Part::Recorded(span, Some(Box::new(Unread { file: file.clone(), error }))),
            });
        }
        parts
    }
}

/// Whom a task is booked to: the owner that its workload has now, or had last.
fn of_task(owners: &NodeBook, task: &TaskId, tasks: bool) -> Subject {
    let known = owners.owner(task.workload());
    Subject {
        workload: task.workload().clone(),
        task: tasks.then(|| task.number()),
        kind: known.map(|(kind, _)| *kind),
        owner: known.map_or_else(Owner::default, |(_, owner)| owner.clone()),
    }
}

fn hours(micros: i64) -> f64 {
    SignedDuration::from_micros(micros).as_secs_f64() / 3600.0
}
