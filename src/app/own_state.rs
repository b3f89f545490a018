//! The engine's own parts as the API tells of them.

use std::sync::Arc;

use crate::adapters::prometheus::engine_metrics::EngineMetrics;
use crate::adapters::storage::{Retention, SqliteStore};
use crate::config::StoreConfig;
use crate::ports::own_state::{LoopState, OwnState, StoreState};
use crate::ports::store::StoreError;

/// Loops and store of this engine.
pub(super) struct Own {
    metrics: EngineMetrics,
    store: Arc<SqliteStore>,
    keep: Retention,
}

impl Own {
    pub(super) fn new(metrics: EngineMetrics, store: &Arc<SqliteStore>, keep: &StoreConfig) -> Self {
        let keep = Retention { samples: keep.keep_samples, records: keep.keep_events, rows: keep.keep_rows };
        Self { metrics, store: Arc::clone(store), keep }
    }
}

impl OwnState for Own {
    fn loops(&self) -> Vec<LoopState> {
        self.metrics.loops()
    }

    fn store(&self) -> Result<StoreState, StoreError> {
        self.store.state(&self.keep)
    }
}
