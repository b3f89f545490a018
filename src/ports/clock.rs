//! The time of day.

use jiff::Timestamp;

/// Tells the time. Loops read it once a tick and hand it on.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}
