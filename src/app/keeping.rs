//! Builds what keeps the books and prunes: the bookkeeper, the historian, the housekeeper.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::adapters::storage::SqliteStore;
use crate::config::EngineConfig;
use crate::controllers::bookkeeper::Bookkeeper;
use crate::controllers::historian::Historian;
use crate::controllers::housekeeper::Housekeeper;
use crate::controllers::state::EngineState;
use crate::ports::clock::Clock;
use crate::ports::task_times::TaskTimeFiles;

/// Nodes that are gone stay in the book of what was paid for: two years and a month.
const KEEP_NODES: SignedDuration = SignedDuration::from_hours(24 * (2 * 366 + 31));

/// The housekeeper with all that it looks after.
pub(super) fn housekeeper(
    config: &EngineConfig,
    (store, state): (&Arc<SqliteStore>, &Arc<EngineState>),
    clock: &Arc<dyn Clock>,
    files: Option<&Arc<dyn TaskTimeFiles>>,
) -> Housekeeper {
    let keep = &config.store;
    let historian = |files: &Arc<dyn TaskTimeFiles>| Historian {
        state: Arc::clone(state),
        store: store.clone(),
        archive: store.clone(),
        samples: store.clone(),
        files: Arc::clone(files),
        keep: config.history.keep,
    };
    Housekeeper {
        books: bookkeeper(config, store, state),
        history: files.map(historian),
        archive: store.clone(),
        access: store.clone(),
        clock: Arc::clone(clock),
        keep_records: keep.keep_events,
        keep_samples: keep.keep_samples,
        keep_rows: keep.keep_rows,
    }
}

fn bookkeeper(config: &EngineConfig, store: &Arc<SqliteStore>, state: &Arc<EngineState>) -> Bookkeeper {
    Bookkeeper {
        state: Arc::clone(state),
        store: store.clone(),
        prices: config.prices.prices,
        keep: KEEP_NODES,
    }
}
