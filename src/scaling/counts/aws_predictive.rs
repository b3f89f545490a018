//! Predictive scaling as AWS documents it, on top of target tracking, as a policy of counts.
//!
//! In: `Seen` and `Terms`. Out: an `Answer`. Documented: a forecast of each of the next 48 hours from at most 14 days of
//! history, not before there are 24 h of it, made anew every 6 h; it only scales out, and never above the most
//! (`MaxCapacityBreachBehavior: HonorMaxCapacity`); instances come `SchedulingBufferTime` (300 s) before the hour
//! that needs them. How AWS forecasts is not published: here an hour is the mean of the same hour one and two weeks
//! ago, and without those of the same hour of all days that are known.
//!
//! Target tracking is as its alarms on a metric of one minute are: above the target for 3 minutes the count grows
//! in proportion; below 90 % of it for 15 minutes it shrinks in proportion, not within 300 s (the default
//! cooldown) of any change. It never shrinks below what the forecast asks for.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::scaling::counts::bins::Bins;
use crate::scaling::counts::{Answer, CheckpointError, CountPolicy, Reason, Seen, Terms};

const HOUR: i64 = 3_600;
/// Hours of history that are used at most, and needed at least.
const HISTORY: usize = 14 * 24;
const NEEDED: usize = 24;
/// Hours ahead, and seconds after which they are forecast anew.
const AHEAD: i64 = 48;
const REFRESH: i64 = 6 * HOUR;
/// Seconds, `SchedulingBufferTime`.
const BUFFER: i64 = 300;
/// Minutes of an alarm.
const HIGH_MINUTES: usize = 3;
const LOW_MINUTES: usize = 15;
/// The lower alarm, over the target.
const LOW: f64 = 0.9;
/// Seconds without a scale-in after a change.
const COOLDOWN: i64 = 300;

/// Predictive scaling and target tracking.
#[derive(Debug, Clone)]
pub struct AwsPredictive {
    target: f64,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    hours: Bins,
    /// Load per serving instance as a share of what one serves.
    minutes: Bins,
    /// The load itself.
    loads: Bins,
    forecast: Option<Forecast>,
    changed: Option<i64>,
    /// The means of the last minutes, the newest last; NaN where not known.
    recent: VecDeque<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Forecast {
    made: i64,
    /// The hour since the epoch of the first value.
    first: i64,
    /// The mean load of each hour; NaN where nothing like it is known.
    loads: Vec<f64>,
}

impl AwsPredictive {
    /// `target` is the share of its capacity that an instance should have as load.
    pub fn new(target: f64) -> Self {
        let state = State {
            hours: Bins::new(HOUR, HISTORY),
            minutes: Bins::new(60, 60),
            loads: Bins::new(60, 60),
            forecast: None,
            changed: None,
            recent: VecDeque::new(),
        };
        Self { target, state }
    }

    fn learn(&mut self, seen: &Seen, terms: &Terms) {
        let from = seen.at - terms.interval as i64;
        self.state.hours.tell(from, seen.load);
        self.state.loads.tell(from, seen.load);
        let serving = f64::from(seen.ready.max(1)) * terms.capacity;
        if self.state.minutes.tell(from, seen.load.map(|load| load / serving)) {
            let before = (from - terms.interval as i64).div_euclid(60);
            let minute = self.state.minutes.of(before);
            self.state.recent.push_back(minute.unwrap_or(f64::NAN));
            if self.state.recent.len() > LOW_MINUTES {
                self.state.recent.pop_front();
            }
        }
        let made = self.state.forecast.as_ref().map(|forecast| forecast.made);
        let due = made.is_none_or(|made| !(0..REFRESH).contains(&(seen.at - made)));
        if due && self.state.hours.known().take(NEEDED).count() == NEEDED {
            self.state.forecast = Some(forecast(&self.state.hours, seen.at));
        }
    }

    /// The load that the forecast has for an instant.
    fn predicted(&self, at: i64) -> Option<f64> {
        let forecast = self.state.forecast.as_ref()?;
        let place = usize::try_from(at.div_euclid(HOUR) - forecast.first).ok()?;
        forecast.loads.get(place).copied().filter(|load| !load.is_nan())
    }

    /// What target tracking asks for.
    fn tracked(&self, seen: &Seen, terms: &Terms) -> u32 {
        let recent = &self.state.recent;
        let now = seen.count();
        // In proportion to the instances that the metric was measured with, not to those that came since.
        let Some(load) = self.state.loads.known().next().map(|(_, load)| load) else { return now };
        let wanted = (load / (self.target * terms.capacity) - 1e-9).ceil() as u32;
        let all = |minutes: usize, is: &dyn Fn(f64) -> bool| {
            recent.len() >= minutes && recent.iter().rev().take(minutes).all(|minute| is(*minute))
        };
        if all(HIGH_MINUTES, &|minute| minute > self.target) {
            return terms.bounded(wanted.max(now));
        }
        let rests = self.state.changed.is_some_and(|changed| (0..COOLDOWN).contains(&(seen.at - changed)));
        if !rests && all(LOW_MINUTES, &|minute| minute < LOW * self.target) {
            return terms.bounded(wanted.min(now));
        }
        now
    }
}

fn forecast(hours: &Bins, at: i64) -> Forecast {
    let first = at.div_euclid(HOUR);
    let mean = |hours: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = hours.fold((0.0, 0.0), |(sum, count), load| (sum + load, count + 1.0));
        if count > 0.0 { sum / count } else { f64::NAN }
    };
    let loads = (first..first + AHEAD).map(|hour| {
        let weeks = mean(&mut [168, 336].into_iter().filter_map(|back| hours.of(hour - back)));
        if weeks.is_nan() { mean(&mut (1..=14).filter_map(|day| hours.of(hour - 24 * day))) } else { weeks }
    });
    Forecast { made: at, first, loads: loads.collect() }
}

impl CountPolicy for AwsPredictive {
    fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
        self.learn(seen, terms);
        let tracked = self.tracked(seen, terms);
        // The hour that is under way and the one that instances are started for.
        let predicted =
            [seen.at, seen.at + BUFFER].into_iter().filter_map(|at| self.predicted(at)).reduce(f64::max);
        let floor = predicted.map_or(0, |load| terms.count_for(load / self.target));
        let count = terms.bounded(tracked.max(floor));
        if count != seen.count() {
            self.state.changed = Some(seen.at);
        }
        let rule = if floor > tracked { "predictive scaling" } else { "target tracking" };
        let values = predicted.map(|load| ("predicted", load)).into_iter();
        let values = values
            .chain(self.state.recent.back().filter(|last| !last.is_nan()).map(|last| ("utilization", *last)));
        Answer { count, reason: Reason { rule, values: values.collect() } }
    }

    fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(postcard::to_stdvec(&self.state)?)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        self.state = postcard::from_bytes(checkpoint)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { capacity: 10.0, startup: 60.0, interval: 60.0, min: 1, max: 40 };

    fn counts(load: impl Fn(i64) -> f64, minutes: i64) -> Vec<u32> {
        let mut policy = AwsPredictive::new(0.5);
        let mut count = 2;
        (1..=minutes)
            .map(|minute| {
                let load = Some(load(minute - 1));
                let seen = Seen { at: minute * 60, load, ready: count, starting: 0 };
                count = policy.decide(&seen, &TERMS).count;
                count
            })
            .collect()
    }

    #[test]
    fn tracking_takes_three_minutes_up_and_fifteen_down() {
        // A minute's mean is known with the first decision after it: index 10 is told of minute 10.
        let counts = counts(|minute| if (10..40).contains(&minute) { 20.0 } else { 9.5 }, 80);
        assert_eq!(counts[10..15], [2, 2, 2, 4, 4], "{counts:?}");
        assert_eq!(counts[40..57].iter().rposition(|count| *count == 4), Some(14), "{counts:?}");
        assert_eq!(counts[60], 2);
    }

    #[test]
    fn after_a_day_the_hour_is_met_five_minutes_early_and_forecasts_only_scale_out() {
        let busy = |minute: i64| (720..780).contains(&(minute % 1_440));
        let counts = counts(|minute| if busy(minute) { 50.0 } else { 10.0 }, 2 * 1_440);
        // The instant of index i is i + 1 minutes.
        let at = |minute: i64| counts[(minute - 1) as usize];
        assert_eq!((at(720), at(724)), (2, 10), "the first day it only tracks");
        assert_eq!((at(1_440 + 714), at(1_440 + 715)), (2, 10));
        // From 13:00 on only tracking holds, which lets go after 15 minutes.
        assert_eq!((at(1_440 + 790), at(1_440 + 800)), (10, 2));
    }
}
