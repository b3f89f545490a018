//! In: the recorded usage of the last days. Out: the same samples to whoever learns from them, in the order
//! of time. For an estimator whose own state is absent or of another version.
//!
//! Kills are told as far as samples count them; ends of tasks are not looked up.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::controllers::control::blocking;
use crate::domain::usage::UsageSample;
use crate::ports::history::History;
use crate::ports::store::StoreError;

/// So far back: as long as VPA and the profile of usage remember.
const SPAN: SignedDuration = SignedDuration::from_hours(8 * 24);
/// Read at once: what a large cluster samples in that time still fits in memory.
const CHUNK: SignedDuration = SignedDuration::from_hours(1);

/// Tells every sample up to `now`, and how many there were.
pub(super) async fn recall(
    history: &Arc<dyn History>,
    now: Timestamp,
    tell: impl Fn(&UsageSample),
) -> Result<u64, StoreError> {
    let mut from = now.checked_sub(SPAN).unwrap_or(Timestamp::MIN);
    let mut told = 0;
    while from <= now {
        let to = from.checked_add(CHUNK).unwrap_or(Timestamp::MAX);
        let history = Arc::clone(history);
        let samples = blocking(move || history.usage(None, from, to)).await?;
        samples.iter().for_each(&tell);
        told += samples.len() as u64;
        from = to;
    }
    Ok(told)
}
