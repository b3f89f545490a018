//! Keeps the book of nodes up to date, so that pruning the record loses no node that was paid for.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::accounting::bill::nodes::NodeBook;
use crate::controllers::control::blocking;
use crate::controllers::state::EngineState;
use crate::domain::money::Prices;
use crate::ports::store::{EventQuery, Store, StoreError};

/// Changes that are read at a time.
const PAGE: usize = 5_000;

/// The bookkeeper's loop body.
pub struct Bookkeeper {
    /// The world.
    pub state: Arc<EngineState>,
    /// The record, and where the book is kept.
    pub store: Arc<dyn Store>,
    /// What resources cost where a pool has no price of its own.
    pub prices: Prices,
    /// How long nodes that are gone are kept in the book.
    pub keep: SignedDuration,
}

impl Bookkeeper {
    /// Brings the book up to date and keeps it.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let now = self.state.clock().now();
        let world = self.state.world().await.clone();
        let before = now.checked_sub(self.keep).unwrap_or(Timestamp::MIN);
        let (store, prices) = (Arc::clone(&self.store), self.prices);
        blocking(move || {
            let kept = store.document(NodeBook::DOCUMENT)?;
            let known: Option<NodeBook> = kept.as_deref().and_then(|kept| serde_json::from_slice(kept).ok());
            let mut book = known.clone().unwrap_or_else(|| NodeBook::new(prices));
            book.catch_up(|after| {
                let query = EventQuery { after: Some(after), limit: PAGE, ..EventQuery::default() };
                let changes = store.events(&query)?;
                Ok::<_, StoreError>(
                    changes.into_iter().map(|change| (change.number, change.recorded)).collect(),
                )
            })?;
            book.reconcile(&world, prices, now);
            book.forget(before);
            if known.as_ref() == Some(&book) {
                return Ok(());
            }
            let content = serde_json::to_vec(&book).map_err(|error| StoreError::Failed {
                operation: "write the book of nodes".to_owned(),
                source: Box::new(error),
            })?;
            store.put_document(NodeBook::DOCUMENT, &content)
        })
        .await
    }
}
