//! Whether a value that somebody else measured can be believed.
//! Not here: how it is read (`controllers::readings`), what count it asks for (`metric_count`).
//!
//! In: a value, what else is known of the service at the same time, what was believed before. Out: the value
//! may be used, or the fault that it shows. A metric with a fault scales nothing down.
//!
//! # Lies by a factor
//! A value that leaves its recent level by a factor of 50 or more is believed if something that was measured
//! by ourselves went the same way: CPU time of the instances, requests at the front door. If they did not,
//! a fall is not believed at all; nor is a rise for two minutes, after which it is acted upon, since load
//! that is not answered is worse than instances that idle. If there was next to nothing to go by, a fall is
//! believed after half an hour: by then neither CPU time nor requests have spoken against it.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::scale_status::MetricFault;

/// Values that the level is the median of.
const LEVEL_VALUES: usize = 12;
/// With fewer values there is no level to leave.
const LEVEL_MIN: usize = 3;
/// A value that differs by this factor has to be borne out.
const FACTOR: f64 = 50.0;
/// What was measured by ourselves bears a fall out if it fell to this share, a rise if it rose by it.
const BORNE_OUT: f64 = 1.5;
/// CPU time that says something, in cores.
const CPU_LEAST: f64 = 0.02;
/// Requests per second that say something.
const REQUESTS_LEAST: f64 = 0.2;
/// A rise that lasts so long is acted upon.
const RISE_BELIEVED: SignedDuration = SignedDuration::from_mins(2);
/// A fall that nothing speaks for or against is believed after so long.
const FALL_BELIEVED: SignedDuration = SignedDuration::from_mins(30);
/// A clock may be off by so much.
const CLOCK_OFF_MAX: SignedDuration = SignedDuration::from_mins(1);

/// What was measured by ourselves at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Witnesses {
    /// Cores in use over all instances.
    pub cpu: Option<f64>,
    /// Requests per second at the front door.
    pub requests: Option<f64>,
}

/// A fault and the words for it.
pub type Fault = (MetricFault, String);

/// What is remembered of one metric of one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricGuard {
    values: VecDeque<f64>,
    cpu: VecDeque<f64>,
    requests: VecDeque<f64>,
    /// Since when values have not been believed.
    doubted: Option<Timestamp>,
    /// The level before a rise that nothing bore out: to go back to it is no lie.
    before: Option<f64>,
    /// The newest instant that the source gave to a value, and when that was.
    source: Option<(Timestamp, Timestamp)>,
}

impl MetricGuard {
    /// Judges the total of a metric over a service.
    pub fn judge(&mut self, value: f64, seen: Witnesses, now: Timestamp) -> Result<(), Fault> {
        if !(value.is_finite() && value >= 0.0) {
            return Err((MetricFault::MetricInvalid, format!("its value {value} is not an amount")));
        }
        let level = median(&self.values).filter(|_| self.values.len() >= LEVEL_MIN);
        let left = level.filter(|level| *level > 0.0).and_then(|level| self.left(value, level, seen));
        let Some((rising, told)) = left else {
            self.believe(value, seen);
            return Ok(());
        };
        let since = *self.doubted.get_or_insert(now);
        let doubted = now.duration_since(since);
        let level = level.unwrap_or_default();
        let believed = match (rising, told) {
            (_, Told::Agrees) => true,
            (true, _) => doubted >= RISE_BELIEVED,
            (false, Told::Nothing) => doubted >= FALL_BELIEVED,
            (false, Told::Disagrees) => false,
        };
        if believed {
            let before = (rising && told != Told::Agrees).then_some(level);
            self.values.clear();
            self.before = before;
            self.believe(value, seen);
            return Ok(());
        }
        let words = match told {
            Told::Nothing => "nothing else that is measured bears it out",
            Told::Agrees | Told::Disagrees => "CPU time and requests stayed as they were",
        };
        let words = format!("it went from about {level:.3} to {value:.3}, and {words}");
        Err((MetricFault::MetricImplausible, words))
    }

    /// Judges the instant that the source gave to its value, where it gave one. `stale` is the greatest age.
    pub fn judge_time(&mut self, at: Timestamp, stale: SignedDuration, now: Timestamp) -> Result<(), Fault> {
        let before = self.source.replace((at, now));
        let jump = |words: String| Err((MetricFault::ClockJump, words));
        if at.duration_since(now) > CLOCK_OFF_MAX {
            return jump(format!("its values are of {at:.0}, which has not come yet"));
        }
        if let Some((earlier, then)) = before {
            let (passed, said) = (now.duration_since(then), at.duration_since(earlier));
            if said.is_negative() {
                return jump(format!("its clock went back from {earlier:.0} to {at:.0}"));
            }
            if said > passed.saturating_add(CLOCK_OFF_MAX) {
                return jump(format!("its clock went {said:#} on in {passed:#}"));
            }
        }
        let age = now.duration_since(at);
        if age > stale.max(CLOCK_OFF_MAX) {
            return Err((MetricFault::MetricStale, format!("its newest value is of {at:.0}")));
        }
        Ok(())
    }

    /// The machine's clock was set.
    pub fn clock_moved(&mut self, by: SignedDuration) {
        let moved = |at: Timestamp| at.saturating_add(by).unwrap_or(at);
        self.doubted = self.doubted.map(moved);
        // What the source says of its time is compared with ours anew.
        self.source = None;
    }

    /// Whether a value left the level, upwards or not, and what else says to that.
    fn left(&self, value: f64, level: f64, seen: Witnesses) -> Option<(bool, Told)> {
        let rising = value >= level * FACTOR;
        if !rising && value > level / FACTOR {
            return None;
        }
        let back = |before: f64| value >= before / 5.0 && value <= before * 5.0;
        if !rising && self.before.is_some_and(back) {
            return None;
        }
        let one = |level: &VecDeque<f64>, now: Option<f64>, least: f64| {
            let (level, now) = (median(level)?, now?);
            if level.max(now) < least {
                return None;
            }
            Some(if rising { now >= level * BORNE_OUT } else { now <= level / BORNE_OUT })
        };
        let told = [one(&self.cpu, seen.cpu, CPU_LEAST), one(&self.requests, seen.requests, REQUESTS_LEAST)];
        let told = told.into_iter().flatten().reduce(|one, other| one || other);
        Some((
            rising,
            told.map_or(Told::Nothing, |agrees| if agrees { Told::Agrees } else { Told::Disagrees }),
        ))
    }

    fn believe(&mut self, value: f64, seen: Witnesses) {
        self.doubted = None;
        keep(&mut self.values, Some(value));
        keep(&mut self.cpu, seen.cpu);
        keep(&mut self.requests, seen.requests);
    }
}

/// What our own measurements say to a value that left its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Agrees,
    Disagrees,
}

fn keep(values: &mut VecDeque<f64>, value: Option<f64>) {
    let Some(value) = value.filter(|value| value.is_finite()) else { return };
    values.push_back(value);
    if values.len() > LEVEL_VALUES {
        values.pop_front();
    }
}

fn median(values: &VecDeque<f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + seconds)
    }

    fn cpu(cores: f64) -> Witnesses {
        Witnesses { cpu: Some(cores), requests: None }
    }

    /// A guard that has seen a level for ten readings, each 15 s.
    fn settled(level: f64, seen: Witnesses) -> MetricGuard {
        let mut guard = MetricGuard::default();
        for step in -10..0 {
            assert_eq!(guard.judge(level, seen, at(step * 15)), Ok(()));
        }
        guard
    }

    fn fault(judged: Result<(), Fault>) -> Option<MetricFault> {
        judged.err().map(|(fault, _)| fault)
    }

    #[test]
    fn what_is_no_amount_is_invalid_and_leaves_no_trace() {
        let mut guard = settled(100.0, cpu(1.0));
        let before = guard.clone();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            assert_eq!(fault(guard.judge(value, cpu(1.0), at(0))), Some(MetricFault::MetricInvalid));
        }
        assert_eq!(guard, before);
    }

    #[test]
    fn a_fall_by_a_thousand_is_believed_only_if_something_fell_with_it() {
        let mut guard = settled(100.0, cpu(1.0));
        for minute in 0..24 * 60 {
            let judged = guard.judge(0.1, cpu(1.0), at(minute * 60));
            assert_eq!(fault(judged), Some(MetricFault::MetricImplausible), "{minute}");
        }
        assert_eq!(guard.judge(100.0, cpu(1.0), at(90_000)), Ok(()), "it came to its senses");
        let mut guard = settled(100.0, cpu(1.0));
        assert_eq!(guard.judge(0.1, cpu(0.5), at(0)), Ok(()), "the load really fell");
        let mut guard = settled(100.0, Witnesses { cpu: Some(0.001), requests: Some(80.0) });
        let seen = Witnesses { cpu: Some(0.001), requests: Some(3.0) };
        assert_eq!(guard.judge(0.0, seen, at(0)), Ok(()), "the requests fell");
    }

    #[test]
    fn a_fall_that_nothing_speaks_for_or_against_is_believed_in_the_end() {
        let mut guard = settled(100.0, cpu(0.001));
        for minute in 0..30 {
            assert!(guard.judge(0.1, cpu(0.001), at(minute * 60)).is_err(), "{minute}");
        }
        assert_eq!(guard.judge(0.1, cpu(0.001), at(1800)), Ok(()));
    }

    #[test]
    fn a_rise_is_acted_upon_soon_and_its_end_is_no_lie() {
        let mut guard = settled(100.0, cpu(1.0));
        for step in 0..8 {
            let judged = guard.judge(100_000.0, cpu(1.0), at(step * 15));
            assert_eq!(fault(judged), Some(MetricFault::MetricImplausible), "{step}");
        }
        assert_eq!(guard.judge(100_000.0, cpu(1.0), at(120)), Ok(()));
        for step in 9..20 {
            assert_eq!(guard.judge(100_000.0, cpu(1.0), at(step * 15)), Ok(()));
        }
        assert_eq!(guard.judge(90.0, cpu(1.0), at(300)), Ok(()), "back where it was");
        let mut guard = settled(100.0, cpu(1.0));
        assert_eq!(guard.judge(100_000.0, cpu(3.0), at(0)), Ok(()), "a flash crowd uses CPU");
    }

    #[test]
    fn ordinary_days_are_believed() {
        let mut guard = MetricGuard::default();
        // From next to nothing to a thousand and back, within a day; and a queue that is emptied in a minute.
        for step in 0..5760 {
            let load = 500.0 * (1.0 - (f64::from(step) / 5760.0 * std::f64::consts::TAU).cos()) + 0.5;
            assert_eq!(guard.judge(load, cpu(0.0), at(i64::from(step) * 15)), Ok(()), "{step}: {load}");
        }
        let mut guard = settled(0.0, cpu(0.0));
        assert_eq!(guard.judge(5000.0, cpu(0.0), at(0)), Ok(()), "from nothing");
    }

    #[test]
    fn clocks_that_jump_and_stand_still_are_named() {
        let stale = SignedDuration::from_secs(15);
        let time = |guard: &mut MetricGuard, source: i64, now: i64| {
            fault(guard.judge_time(at(source), stale, at(now)))
        };
        let mut guard = MetricGuard::default();
        assert_eq!(time(&mut guard, 0, 0), None);
        assert_eq!(time(&mut guard, 15, 15), None);
        assert_eq!(time(&mut guard, 3600, 30), Some(MetricFault::ClockJump), "ahead");
        assert_eq!(time(&mut guard, 45, 45), Some(MetricFault::ClockJump), "and back");
        assert_eq!(time(&mut guard, 60, 60), None);
        assert_eq!(time(&mut guard, 60, 100), None, "an old value, not yet too old");
        assert_eq!(time(&mut guard, 60, 121), Some(MetricFault::MetricStale), "it stands still");
        assert_eq!(time(&mut guard, 118, 122), None);
        // An hour behind all the time: its values are old.
        let mut guard = MetricGuard::default();
        assert_eq!(time(&mut guard, -3600, 0), Some(MetricFault::MetricStale));
        assert_eq!(time(&mut guard, -1, 1), Some(MetricFault::ClockJump));
        // Our own clock was set: the source's is compared anew.
        guard.clock_moved(SignedDuration::from_hours(24));
        assert_eq!(time(&mut guard, 86_400, 86_401), None);
    }

    #[test]
    fn what_is_remembered_is_small() {
        let mut guard = settled(100.0, Witnesses { cpu: Some(1.0), requests: Some(2.0) });
        for step in 0..1000 {
            guard.judge(100.0, cpu(1.0), at(step)).expect("believed");
        }
        assert!(serde_json::to_vec(&guard).expect("JSON").len() < 600);
    }
}
