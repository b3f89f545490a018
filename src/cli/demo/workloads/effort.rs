//! Uses CPU time and memory in known amounts.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::domain::quantity::Bytes;

/// Rounds between two looks at the clock: some microseconds.
const ROUNDS: u64 = 5_000;

/// CPU time that this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // The clock counts from zero up.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Uses `amount` of CPU time on this thread. Measured on the thread's own clock: a thread that is held
/// back takes longer, but does not use less.
pub(super) fn burn(amount: Duration) {
    let end = cpu_time() + amount;
    let mut state = 1_u64;
    while cpu_time() < end {
        for _ in 0..ROUNDS {
            state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// Memory that is really there: every byte has been written.
pub(super) fn hold(amount: Bytes) -> Vec<u8> {
    black_box(vec![1; usize::try_from(amount.get()).unwrap_or(usize::MAX)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_used_as_told() {
        let before = cpu_time();
        burn(Duration::from_millis(30));
        let used = cpu_time() - before;
        assert!((30..40).contains(&used.as_millis()), "{used:?}");
    }
}
