//! The clock of this machine: the one place that reads the time of day.

use jiff::Timestamp;

use crate::ports::clock::Clock;

/// Tells the machine's own time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock port's real implementation")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
