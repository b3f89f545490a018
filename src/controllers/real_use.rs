//! In: what the analyst measured. Out: what tasks really use, for placement; worked out anew when there is
//! something new, or when what there is may have become too old.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::controllers::analyst::Analysis;
use crate::domain::observation::Usage;
use crate::domain::world::World;
use crate::placement::{Measured, real_use};

/// Samples that are older than this many scrape intervals say nothing.
const INTERVALS_MAX: i32 = 3;
/// From one look at the age of samples to the next.
const LOOK_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// The real use of tasks as the scheduler sees it.
pub struct RealUse {
    analyses: watch::Receiver<Analysis>,
    max_age: SignedDuration,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// When what was measured was published, and when it was looked at.
    of: Option<(Option<Timestamp>, Timestamp)>,
    usage: Arc<Usage>,
}

impl RealUse {
    /// The real use by samples that are taken at the given interval.
    pub fn new(analyses: watch::Receiver<Analysis>, interval: SignedDuration) -> Self {
        Self { analyses, max_age: interval.saturating_mul(INTERVALS_MAX), last: Mutex::default() }
    }

    /// What tasks use now, as far as is known.
    pub(super) fn now(&self, world: &World, now: Timestamp) -> Arc<Usage> {
        let analysis = self.analyses.borrow().clone();
        // A poisoned lock only means that another thread panicked; what is behind it stays whole.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.of.is_some_and(|(published, looked)| {
            published == analysis.at && now.duration_since(looked).abs() < LOOK_AGAIN_AFTER
        });
        if !known {
            let measured = Measured {
                samples: &analysis.usage,
                estimates: &analysis.recommendations,
                overcommit: &analysis.overcommit,
                max_age: self.max_age,
            };
            last.usage = Arc::new(real_use(world, measured, &last.usage.crowded, now));
            last.of = Some((analysis.at, now));
        }
        Arc::clone(&last.usage)
    }
}
