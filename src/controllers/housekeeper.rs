//! Prunes what is older than the owner wants it kept, once the book of nodes and the history have what the bill
//! needs of it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::controllers::bookkeeper::Bookkeeper;
use crate::controllers::control::blocking;
use crate::controllers::driver::chain;
use crate::controllers::historian::Historian;
use crate::ports::access::AnswerLog;
use crate::ports::clock::Clock;
use crate::ports::store::{Archive, Horizon, StoreError};

/// Answers are given again for a day; the rest is for clocks that are set.
const KEEP_ANSWERS: SignedDuration = SignedDuration::from_hours(48);

/// The housekeeper's loop body.
pub struct Housekeeper {
    /// The book of nodes.
    pub books: Bookkeeper,
    /// What writes the history; absent where this build keeps none.
    pub history: Option<Historian>,
    /// What is pruned.
    pub archive: Arc<dyn Archive>,
    /// The audit log and the answers to requests that have a key.
    pub access: Arc<dyn AnswerLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long tasks, runs, events and decisions are kept.
    pub keep_records: SignedDuration,
    /// How long samples are kept.
    pub keep_samples: SignedDuration,
    /// How many of each kind are kept.
    pub keep_rows: usize,
}

impl Housekeeper {
    /// Deletes what is too old or too much.
    pub async fn pass(&self) -> Result<(), StoreError> {
        self.books.pass().await?;
        if let Some(history) = &self.history
            && let Err(error) = history.pass().await
        {
            // Samples are pruned all the same: a store that grows without end helps nobody. They are kept for days.
            tracing::error!(error = %chain(&error), "the history is not up to date");
        }
        let now = self.clock.now();
        let before = |age: SignedDuration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let horizon = Horizon {
            records_before: before(self.keep_records),
            samples_before: before(self.keep_samples),
            keep: self.keep_rows,
        };
        let archive = Arc::clone(&self.archive);
        let access = Arc::clone(&self.access);
        let answers_before = before(KEEP_ANSWERS);
        let deleted = blocking(move || {
            let Horizon { records_before, keep, .. } = horizon;
            Ok(archive.prune(&horizon)? + access.prune_access(records_before, keep, answers_before)?)
        });
        let deleted = deleted.await?;
        if deleted > 0 {
            tracing::info!(deleted, "pruned the store");
        }
        Ok(())
    }
}
