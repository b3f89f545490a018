//! Savings as they were worked out last: pages ask often, and a month takes a while where there is much.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::accounting::bill::savings::Saving;
use crate::accounting::bill::statement::Detail;
use crate::api::ApiState;
use crate::api::bill_source::{Asked, Span, gather};
use crate::api::dto::Problem;
use crate::ports::control::View;

/// The last answer: of which span, and when it was made.
#[derive(Debug, Default)]
pub struct LastSavings(Mutex<Option<(Span, Timestamp, Vec<Saving>)>>);

/// The savings of a span, as they are, or as they were at most so long ago. Who comes while they are worked out waits
/// for that answer.
pub(super) fn savings(
    api: &ApiState,
    view: &View,
    (window, age): (Span, SignedDuration),
    now: Timestamp,
) -> Result<Vec<Saving>, Problem> {
    let mut last = api.totals.savings.0.lock().unwrap_or_else(PoisonError::into_inner);
    // The present: who waited for the lock is not to do the same again.
    let fresh = |at: Timestamp| !age.is_zero() && api.clock.now().duration_since(at).abs() <= age;
    if let Some((_, _, known)) = last.as_ref().filter(|(span, at, _)| *span == window && fresh(*at)) {
        return Ok(known.clone());
    }
    let asked = Asked { window, detail: Detail::default(), tasks: false };
    let found = gather(api, view, asked, now)?.savings;
    *last = Some((window, api.clock.now(), found.clone()));
    Ok(found)
}
