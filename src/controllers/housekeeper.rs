//! Prunes what is older than the owner wants it kept.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::controllers::control::blocking;
use crate::ports::clock::Clock;
use crate::ports::store::{Archive, StoreError};

/// The housekeeper's loop body.
pub struct Housekeeper {
    /// What is pruned.
    pub archive: Arc<dyn Archive>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long things are kept.
    pub keep_for: SignedDuration,
    /// How many of each kind are kept.
    pub keep_rows: usize,
}

impl Housekeeper {
    /// Deletes what is too old or too much.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let Ok(before) = self.clock.now().checked_sub(self.keep_for) else { return Ok(()) };
        let (archive, rows) = (Arc::clone(&self.archive), self.keep_rows);
        let deleted = blocking(move || archive.prune(before, rows)).await?;
        if deleted > 0 {
            tracing::info!(deleted, "pruned the store");
        }
        Ok(())
    }
}
