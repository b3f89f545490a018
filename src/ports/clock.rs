//! The time of day.

use jiff::{SignedDuration, Timestamp};

/// Tells the time. Loops read it once a tick and hand it on.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// By how much the machine's clock was set and `now` has not followed yet; a clock that follows at
    /// once does not tell.
    fn was_set(&self) -> Option<SignedDuration> {
        None
    }

    /// Lets `now` follow the machine's clock.
    fn follow(&self) {}
}
