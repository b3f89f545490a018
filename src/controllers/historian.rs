//! Writes the history of what tasks had and used, before the store forgets its samples.
//!
//! In: samples and records of tasks in the store, owners in the book of nodes. Out: files by day of UTC, and the
//! book of them as a document of the store. A file counts once it is in the book: what was cut off in between is
//! written again, under the same name.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::accounting::bill::nodes::NodeBook;
use crate::accounting::facts::TaskInterval;
use crate::accounting::task_times::Rows;
use crate::controllers::control::blocking;
use crate::controllers::state::EngineState;
use crate::domain::history_book::HistoryBook;
use crate::domain::task::TaskId;
use crate::domain::task_time::{STEP, TaskTimes, step_of};
use crate::domain::workload::{Owner, WorkloadKind};
use crate::domain::world::World;
use crate::ports::history::History;
use crate::ports::store::{Archive, Store, StoreError};
use crate::ports::task_times::{TaskTimeFiles, TaskTimesError};

/// The longest interval of a sample: so long after a step it may still be told what was used in it.
const SAMPLE_SPAN_MAX: SignedDuration = SignedDuration::from_mins(10);
/// And so long a sample may be on its way.
const LATE_MAX: SignedDuration = SignedDuration::from_mins(5);
/// Parts that are written in one pass: two days' worth, where the engine was away.
const PARTS_MAX: usize = 48;
/// Days that are merged in one pass.
const DAYS_MAX: usize = 2;
/// Days that are added up to hours in one pass: a month in two, where an earlier version wrote it.
const SUMMED_MAX: usize = 16;
const HOUR: i64 = 3600;

/// The historian's loop body.
pub struct Historian {
    /// The world.
    pub state: Arc<EngineState>,
    /// Where the book is kept.
    pub store: Arc<dyn Store>,
    /// Tasks that ended.
    pub archive: Arc<dyn Archive>,
    /// Samples.
    pub samples: Arc<dyn History>,
    /// The files.
    pub files: Arc<dyn TaskTimeFiles>,
    /// How long the history is kept.
    pub keep: SignedDuration,
}

fn failed(error: TaskTimesError) -> StoreError {
    StoreError::Failed { operation: "keep the history".to_owned(), source: Box::new(error) }
}

/// The book as it is kept.
fn read_book(store: &dyn Store) -> Result<HistoryBook, StoreError> {
    let Some(kept) = store.document(HistoryBook::DOCUMENT)? else { return Ok(HistoryBook::default()) };
    // Not begun anew: the files that it names would be lost with it.
    serde_json::from_slice(&kept).map_err(|error| StoreError::Failed {
        operation: "read the book of the history".to_owned(),
        source: Box::new(error),
    })
}

fn keep_book(store: &dyn Store, book: &HistoryBook) -> Result<(), StoreError> {
    let content = serde_json::to_vec(book).map_err(|error| StoreError::Failed {
        operation: "write the book of the history".to_owned(),
        source: Box::new(error),
    })?;
    store.put_document(HistoryBook::DOCUMENT, &content)
}

impl Historian {
    /// Writes what can be written, merges days that are over and adds them up, deletes what is too old.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let now = self.state.clock().now();
        let world = self.state.world().await.clone();
        let writer = Writer {
            store: Arc::clone(&self.store),
            archive: Arc::clone(&self.archive),
            samples: Arc::clone(&self.samples),
            files: Arc::clone(&self.files),
        };
        let before = now.checked_sub(self.keep).unwrap_or(Timestamp::MIN);
        blocking(move || {
            writer.write(&world, now)?;
            // The old goes even where a day cannot be merged: it may be for want of room.
            let merged = writer.merge();
            let summed = writer.sum_up();
            writer.forget(before)?;
            merged.and(summed)
        })
        .await
    }
}

/// The part of a pass that blocks.
struct Writer {
    store: Arc<dyn Store>,
    archive: Arc<dyn Archive>,
    samples: Arc<dyn History>,
    files: Arc<dyn TaskTimeFiles>,
}

impl Writer {
    fn write(&self, world: &World, now: Timestamp) -> Result<(), StoreError> {
        let mut book = read_book(&*self.store)?;
        let Some(mut at) = self.begin(&book)? else { return Ok(()) };
        let end = step_of(now.checked_sub(SAMPLE_SPAN_MAX + LATE_MAX).unwrap_or(Timestamp::MIN));
        if at >= end {
            return Ok(());
        }
        let mut tasks = self.archive.tasks_ended_since(at)?;
        tasks.extend(world.tasks.values().cloned());
        let intervals: Vec<TaskInterval> =
            tasks.iter().filter_map(|task| TaskInterval::of_record(task, None)).collect();
        let nodes = self.store.document(NodeBook::DOCUMENT)?;
        let nodes: Option<NodeBook> = nodes.as_deref().and_then(|kept| serde_json::from_slice(kept).ok());
        let about = |task: &TaskId| {
            let known = nodes.as_ref().and_then(|book| book.owner(task.workload())).cloned();
            known.map_or((None, Owner::default()), |(kind, owner)| (Some(kind), owner))
        };
        for _ in 0..PARTS_MAX {
            let until = hour_after(at).min(end);
            if at >= until {
                break;
            }
            let times = self.times((at, until), &intervals, &about)?;
            let file = if times.rows.is_empty() {
                None
            } else {
                Some(self.files.write(at, until, &times).map_err(failed)?)
            };
            book.add(at, until, file);
            keep_book(&*self.store, &book)?;
            at = until;
        }
        Ok(())
    }

    /// From when on there is something to write: where the last part ended, or before the oldest sample.
    fn begin(&self, book: &HistoryBook) -> Result<Option<Timestamp>, StoreError> {
        if book.until.is_some() {
            return Ok(book.until);
        }
        let oldest = self.samples.oldest_usage()?;
        Ok(oldest.and_then(|oldest| oldest.checked_sub(SAMPLE_SPAN_MAX).ok()).map(step_of))
    }

    /// Rows of a span, read step by step: samples come every few seconds, and a day of them is too much to hold.
    fn times(
        &self,
        (from, until): (Timestamp, Timestamp),
        intervals: &[TaskInterval],
        about: &impl Fn(&TaskId) -> (Option<WorkloadKind>, Owner),
    ) -> Result<TaskTimes, StoreError> {
        let mut rows = Rows::default();
        let mut at = from;
        while at < until {
            let next = at.checked_add(STEP).unwrap_or(until);
            rows.add((at, next), intervals, &self.samples.usage_touching(at, next)?, about);
            at = next;
        }
        Ok(rows.finish())
    }

    fn merge(&self) -> Result<(), StoreError> {
        let mut book = read_book(&*self.store)?;
        let (mut first_error, mut merged) = (Ok(()), 0);
        for (_, parts) in book.scattered() {
            if merged == DAYS_MAX {
                break;
            }
            let whole = match self.files.merge(&parts) {
                Ok(whole) => whole,
                Err(error) => {
                    // The parts are left as they are: what can be read of them still counts.
                    first_error = first_error.and(Err(failed(error)));
                    continue;
                }
            };
            merged += 1;
            book.replace(&parts, whole);
            keep_book(&*self.store, &book)?;
        }
        first_error
    }

    /// Adds days up to hours, for reports. A step is written once and never changed, so neither are its hours.
    fn sum_up(&self) -> Result<(), StoreError> {
        let mut book = read_book(&*self.store)?;
        let mut summed = 0;
        for file in book.whole_days() {
            if summed == SUMMED_MAX {
                break;
            }
            if !self.files.lacks_hours(&file) {
                continue;
            }
            match self.files.sum_up(&file) {
                Ok(hours) => {
                    summed += 1;
                    book.sum_up(&file, hours);
                    keep_book(&*self.store, &book)?;
                }
                // Every report that needs the file tells of it by name.
                Err(TaskTimesError::Missing { .. } | TaskTimesError::Damaged { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Deletes what is too old, and what was merged. The book says first that it does not count.
    fn forget(&self, before: Timestamp) -> Result<(), StoreError> {
        let mut book = read_book(&*self.store)?;
        let known = book.clone();
        book.forget(before);
        if book != known {
            keep_book(&*self.store, &book)?;
        }
        if book.leaving.is_empty() {
            return Ok(());
        }
        for file in &book.leaving {
            self.files.remove(file).map_err(failed)?;
        }
        book.leaving.clear();
        keep_book(&*self.store, &book)
    }
}

fn hour_after(at: Timestamp) -> Timestamp {
    Timestamp::from_second((at.as_second().div_euclid(HOUR) + 1) * HOUR).unwrap_or(at)
}
