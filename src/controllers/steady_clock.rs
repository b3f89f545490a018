//! The time of day as the loops see it: it goes on evenly when the machine's clock is set, until the
//! scheduler has moved along what is counted from instants. A clock that is set is noticed because it no
//! longer agrees with the time that has passed by the kernel's steady count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::ports::clock::Clock;

/// A difference up to this is drift, or a clock that is being led back gently: it is followed at once.
const DRIFT_MAX: SignedDuration = SignedDuration::from_secs(5);

/// A clock that does not jump by itself.
pub struct SteadyClock {
    machine: Arc<dyn Clock>,
    /// When the machine's clock was last in agreement, by both counts.
    agreed: Mutex<(Timestamp, Instant)>,
}

impl SteadyClock {
    /// A steady view of `machine`. `last` is when anything was last written down: a machine whose clock
    /// is behind that was set back while no engine ran.
    pub fn new(machine: Arc<dyn Clock>, last: Option<Timestamp>) -> Self {
        let now = machine.now();
        let begin = last.filter(|last| last.duration_since(now) > DRIFT_MAX).unwrap_or(now);
        Self { machine, agreed: Mutex::new((begin, Instant::now())) }
    }

    fn agreed(&self) -> MutexGuard<'_, (Timestamp, Instant)> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is by the machine's clock, and by the time that has passed.
    fn both(&self, agreed: (Timestamp, Instant)) -> (Timestamp, Timestamp) {
        let (then, at) = agreed;
        let passed = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
        (self.machine.now(), then.saturating_add(passed).unwrap_or(then))
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut agreed = self.agreed();
        let (machine, passed) = self.both(*agreed);
        if machine.duration_since(passed).abs() > DRIFT_MAX {
            return passed;
        }
        *agreed = (machine, Instant::now());
        machine
    }

    fn was_set(&self) -> Option<SignedDuration> {
        let (machine, passed) = self.both(*self.agreed());
        let by = machine.duration_since(passed);
        (by.abs() > DRIFT_MAX).then_some(by)
    }

    fn follow(&self) {
        *self.agreed() = (self.machine.now(), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows what it is told to.
    struct Set(Mutex<Timestamp>);

    impl Clock for Set {
        fn now(&self) -> Timestamp {
            *self.0.lock().expect("a time")
        }
    }

    #[test]
    fn a_jump_shows_only_when_it_is_followed() {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let machine = Arc::new(Set(Mutex::new(noon)));
        let clock = SteadyClock::new(machine.clone(), None);
        let hours = |hours| noon + SignedDuration::from_hours(hours);
        for (set_to, by) in [(hours(24), 24), (hours(-24), -48), (hours(0), 24)] {
            let before = clock.now();
            *machine.0.lock().expect("a time") = set_to;
            assert!(clock.now().duration_since(before).abs() < SignedDuration::from_secs(5));
            let seen = clock.was_set().expect("a jump");
            assert!((seen - SignedDuration::from_hours(by)).abs() < SignedDuration::from_secs(5), "{seen}");
            clock.follow();
            assert_eq!((clock.now(), clock.was_set()), (set_to, None));
        }
        *machine.0.lock().expect("a time") = noon + SignedDuration::from_secs(2);
        assert_eq!(clock.now(), noon + SignedDuration::from_secs(2), "a small correction is no jump");
    }

    #[test]
    fn a_clock_that_was_set_back_while_nobody_looked_is_noticed() {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let later = noon + SignedDuration::from_hours(24);
        let clock = SteadyClock::new(Arc::new(Set(Mutex::new(noon))), Some(later));
        assert!(clock.now() >= later);
        assert!(clock.was_set().is_some_and(|by| by < SignedDuration::from_hours(-23)));
    }
}
