//! Loadline's own policy of counts: the least instance-hours within a stated budget of time in which
//! load may exceed ready capacity.
//!
//! In: `Seen` and `Terms`. Out: an `Answer`. `docs/scaler.md` tells the method with its figures.
//!
//! - `outlook`: what the load may be when an instance that is asked for now serves.
//! - `pace`: what a second of too little capacity costs, so that the budget is used up and no more.
//! - `restraint`: when a change is worth making.
//! - `regression`: least squares, one observation at a time.
//!
//! Never fewer instances than a purely reactive scaler would keep: as many as serve the load of the last
//! interval, within the tolerance that HPA v2 has.

mod outlook;
mod pace;
mod regression;
mod restraint;

use serde::{Deserialize, Serialize};

use crate::scaling::counts::loadline::outlook::Course;
use crate::scaling::counts::loadline::pace::{Cost, Pace};
use crate::scaling::counts::loadline::restraint::{Need, Restraint};
use crate::scaling::counts::{Answer, CheckpointError, CountPolicy, NO_LOAD, Reason, Seen, Terms};

/// Seconds of a day.
const DAY: f64 = 86_400.0;
/// The shortest season, in seconds.
const SEASON_MIN: f64 = 10.0;
/// The version of checkpoints.
const VERSION: u32 = 1;
/// A count stays although the load is above its capacity by no more than this share, as HPA's does.
const TOLERANCE: f64 = 0.1;
/// Changes for each one of HPA v2.
pub const CHANGES: f64 = 0.9;
/// Budgets that can be meant.
const BUDGET: (f64, f64) = (1e-5, 0.5);

/// The rule: the load now asks for it.
const FLOOR: &str = "load now";
/// The rule: the cheapest count within the budget.
const CHEAPEST: &str = "budget of time";

/// What keeps of its weight after `elapsed` seconds at a half-life of `span` seconds.
fn keep(elapsed: f64, span: f64) -> f64 {
    (-elapsed / span).exp2()
}

/// The policy with what it knows of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loadline {
    course: Course,
    pace: Pace,
    restraint: Restraint,
    /// When it was asked last, and how many instances served then.
    last: Option<(i64, u32)>,
    /// Seconds of a day in a second: 1 where the season is a day. The owner's, not what was learnt.
    #[serde(skip)]
    speed: f64,
}

impl Loadline {
    /// A policy that knows nothing yet. `budget` is the share of time in which load may exceed ready
    /// capacity; it is kept between 1 in 100,000 and one half.
    pub fn new(budget: f64) -> Self {
        Self::with_changes(budget, CHANGES)
    }

    /// The same, with `changes` of the count for each one that HPA v2 with its defaults would make on the
    /// same load; more of them cost fewer instance-hours.
    pub fn with_changes(budget: f64, changes: f64) -> Self {
        Self {
            course: Course::default(),
            pace: Pace::new(budget.clamp(BUDGET.0, BUDGET.1)),
            restraint: Restraint::new(changes.max(0.0)),
            last: None,
            speed: 1.0,
        }
    }

    /// The same, where what comes again does so after `season` seconds, at most a day. All of the policy's times shrink
    /// with it: it lives through a day while a season goes by.
    #[must_use]
    pub fn with_season(self, season: f64) -> Self {
        Self { speed: DAY / season.clamp(SEASON_MIN, DAY), ..self }
    }

    /// A moment of the season as one of the day.
    fn of_day(&self, (seen, terms): (&Seen, &Terms)) -> (Seen, Terms) {
        let at = (seen.at as f64 * self.speed) as i64;
        let (startup, interval) = (terms.startup * self.speed, terms.interval * self.speed);
        (Seen { at, ..*seen }, Terms { startup, interval, ..*terms })
    }

    /// The share of time with load above ready capacity, those long ago counting less.
    pub fn obtained(&self) -> f64 {
        self.pace.obtained()
    }
}

impl CountPolicy for Loadline {
    fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
        let startup = terms.startup;
        let (seen, terms) = &self.of_day((seen, terms));
        let count = seen.count();
        let known = seen.load.filter(|load| load.is_finite() && *load >= 0.0);
        let before = self.last.replace((seen.at, seen.ready));
        // A clock that was set back says nothing; what was learnt stays.
        let load = known.filter(|_| before.is_none_or(|(at, _)| seen.at > at));
        let Some(load) = load.filter(|_| terms.capacity > 0.0) else {
            let count = terms.bounded(count);
            return Answer { count, reason: Reason { rule: NO_LOAD, values: Vec::new() } };
        };
        let elapsed =
            before.map_or(terms.interval, |(at, _)| (seen.at - at) as f64).min(10.0 * terms.interval);
        if let Some((_, ready)) = before {
            self.pace.used(load > f64::from(ready) * terms.capacity, elapsed);
        }
        // An instance asked for now serves a start-up time from now, and an interval goes by until one that
        // is asked for next does.
        let lead = terms.startup + terms.interval;
        let outlook = self.course.observe(seen.at, load, terms.interval, (lead, terms.capacity));
        let floor = if load <= f64::from(count) * terms.capacity * (1.0 + TOLERANCE) {
            terms.count_for(load).min(count.max(terms.min))
        } else {
            terms.count_for(load)
        };
        let farthest = terms.count_for(outlook.farthest()).max(floor);
        let price = self.pace.price(&outlook, terms.capacity, (floor, farthest), elapsed);
        let cost = Cost { outlook: &outlook, capacity: terms.capacity, price };
        let cheapest = cost.cheapest(floor, farthest);
        let slope = self.course.slope() / terms.capacity;
        let at_most = Some(self.pace.aim()).filter(|aim| *aim < self.pace.budget());
        let need = Need { cost, cheapest, floor, slope, most: terms.max, elapsed, at_most };
        let next = terms.bounded(self.restraint.count(count, (seen.at, load), &need, terms));
        let short = outlook.above(f64::from(next) * terms.capacity);
        let values = vec![
            ("load", load),
            ("load expected", outlook.mean),
            ("chance of too little", short),
            ("short of capacity so far", self.obtained()),
            ("cheapest count", f64::from(cheapest)),
            ("count for the load now", f64::from(floor)),
            ("start-up seconds", startup),
        ];
        let rule = if next == floor && floor > count { FLOOR } else { CHEAPEST };
        Answer { count: next, reason: Reason { rule, values } }
    }

    fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(postcard::to_stdvec(&(VERSION, self))?)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        let (version, rest) = postcard::take_from_bytes::<u32>(checkpoint)?;
        if version != VERSION {
            return Err(CheckpointError::Unfit(format!("version {version}, not {VERSION}")));
        }
        let (budget, allowed, speed) = (self.pace.budget(), self.restraint.allowed(), self.speed);
        *self = Self { speed, ..postcard::from_bytes(rest)? };
        // Budget, allowance and season are the owner's; what was used of them stays known.
        self.pace.set_budget(budget);
        self.restraint.set_allowed(allowed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { capacity: 10.0, startup: 60.0, interval: 15.0, min: 1, max: 40 };

    /// A day's wave with noise that stays for a minute.
    fn waves(days: u32, seed: u64) -> Vec<f64> {
        let mut state = seed;
        // Knuth's linear congruential generator: from -0.25 to 0.25.
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 54) as f64 - 0.25
        };
        let mut load = Vec::new();
        for minute in 0..days * 1440 {
            let day = (f64::from(minute) / 1440.0 * std::f64::consts::TAU).sin();
            let noise: f64 = (0..4).map(|_| draw()).sum();
            load.extend([100.0 * (1.5 + day) * (1.0 + 0.5 * noise); 4]);
        }
        load
    }

    /// Replays with a start-up time of one minute; answers the share of time that was short, and each count.
    fn run(policy: &mut Loadline, load: &[f64]) -> (f64, Vec<u32>) {
        let mut asked = vec![20_u32; 5];
        let mut short = 0_usize;
        for ((at, &value), &before) in (15..).step_by(15).zip(&load[1..]).zip(load) {
            // What serves was asked for four steps ago and never taken back since.
            let ready = asked[asked.len() - 5..].iter().copied().min().unwrap_or(0);
            short += usize::from(value > f64::from(ready) * TERMS.capacity);
            let count = asked[asked.len() - 1];
            let seen = Seen { at, load: Some(before), ready, starting: count - ready };
            asked.push(policy.decide(&seen, &TERMS).count);
        }
        (short as f64 / load.len() as f64, asked)
    }

    #[test]
    fn the_time_short_is_the_time_asked_for() {
        for (budget, gap) in [(0.05, 0.004), (0.01, 0.002)] {
            let (short, _) = run(&mut Loadline::new(budget), &waves(8, 1));
            assert!((short - budget).abs() < gap, "{short} for {budget}");
        }
    }

    #[test]
    fn a_load_that_is_not_known_changes_nothing() {
        let mut policy = Loadline::new(0.01);
        let (_, counts) = run(&mut policy, &waves(1, 2));
        let count = counts[counts.len() - 1];
        for (at, load) in (86_400..).zip([None, Some(f64::NAN), Some(f64::INFINITY), Some(-1.0)]) {
            let seen = Seen { at, load, ready: count, starting: 0 };
            let answer = policy.decide(&seen, &TERMS);
            assert_eq!((answer.count, answer.reason.rule), (count, NO_LOAD));
        }
        // The clock went back by an hour.
        let seen = Seen { at: 82_800, load: Some(0.0), ready: count, starting: 0 };
        assert_eq!(policy.decide(&seen, &TERMS).count, count);
    }

    #[test]
    fn it_never_has_fewer_than_a_reactive_scaler_would_keep() {
        let load = waves(2, 3);
        let (_, asked) = run(&mut Loadline::new(0.3), &load);
        for (step, &count) in asked.iter().enumerate().skip(5) {
            let needed = load[step - 5] / TERMS.capacity / (1.0 + TOLERANCE);
            assert!(f64::from(count) >= needed.floor().min(40.0), "step {step}: {count} for {needed}");
        }
    }

    #[test]
    fn a_season_of_half_a_day_is_lived_through_as_a_day() {
        let (mut of_days, mut of_halves) = (Loadline::new(0.02), Loadline::new(0.02).with_season(DAY / 2.0));
        let mut count = 20;
        for (step, &load) in (1..).zip(&waves(1, 6)) {
            let seen = Seen { at: 30 * step, load: Some(load), ready: count, starting: 0 };
            let slow = of_days.decide(&seen, &Terms { interval: 30.0, ..TERMS });
            let seen = Seen { at: 15 * step, ..seen };
            let quick = of_halves.decide(&seen, &Terms { startup: 30.0, interval: 15.0, ..TERMS });
            assert_eq!(slow.count, quick.count, "step {step}");
            count = slow.count;
        }
        let kept = of_halves.checkpoint().expect("a checkpoint");
        let mut restored = Loadline::new(0.02).with_season(DAY / 2.0);
        restored.restore(&kept).expect("its own checkpoint");
        assert_eq!(restored, of_halves, "the season is the owner's");
    }

    /// The share of the last seconds that was short, and the mean count in them: days of 75 seconds with a decision
    /// each second, as in the demo, four of them, of which the last two count.
    fn quick_days(startup: f64) -> (f64, f64) {
        let (mut short, mut policy) = (Vec::new(), Loadline::new(0.05).with_season(75.0));
        let terms = Terms { capacity: 10.0, startup, interval: 1.0, min: 1, max: 12 };
        let lag = startup.ceil() as usize + 2;
        let mut asked = vec![1_u32; lag];
        let load = |second: i64| {
            let time = second as f64 / 75.0 * std::f64::consts::TAU;
            6.0 + 44.0 * (1.0 - time.cos()) / 2.0
        };
        for second in 1..300 {
            let ready = asked[asked.len() - lag..].iter().copied().min().unwrap_or(0);
            let count = asked[asked.len() - 1];
            short.push(load(second) > f64::from(ready) * terms.capacity);
            let seen = Seen { at: second, load: Some(load(second - 1)), ready, starting: count - ready };
            asked.push(policy.decide(&seen, &terms).count);
        }
        let late = short[150..].iter().filter(|short| **short).count();
        (late as f64 / 149.0, f64::from(asked[150 + lag..].iter().sum::<u32>()) / 149.0)
    }

    #[test]
    fn an_interval_that_is_longer_than_a_slot_leaves_no_hole_in_the_day() {
        let (short, mean) = quick_days(4.0);
        assert!(short <= 0.055, "{short} of the time short once the season is known");
        assert!(mean < 6.5, "{mean} instances, 3.3 would do without noise and whole ones");
    }

    #[test]
    fn predictions_that_come_due_between_two_decisions_are_learnt_from() {
        let (short, mean) = quick_days(4.4);
        assert!(short <= 0.055, "{short} of the time short once the season is known");
        assert!(mean < 6.5, "{mean} instances, 3.3 would do without noise and whole ones");
    }

    #[test]
    fn a_checkpoint_goes_on_to_the_last_bit() {
        let load = waves(2, 4);
        let mut policy = Loadline::new(0.02);
        run(&mut policy, &load[..7_000]);
        let kept = policy.checkpoint().expect("a checkpoint");
        let mut restored = Loadline::new(0.02);
        restored.restore(&kept).expect("its own checkpoint");
        assert_eq!(run(&mut policy, &load[7_000..]), run(&mut restored, &load[7_000..]));
        assert!(restored.restore(&kept[..kept.len() / 2]).is_err());
        assert!(restored.restore(&[9, 9, 9]).is_err());
        assert!(kept.len() < 4_096, "{} bytes", kept.len());
    }

    #[test]
    fn a_great_service_is_decided_as_quickly_as_a_small_one() {
        let terms = Terms { capacity: 0.01, max: 100_000, ..TERMS };
        let mut policy = Loadline::new(0.01);
        let mut count = 30_000;
        for (at, load) in (0..).step_by(15).zip(waves(1, 5)).take(400) {
            let seen = Seen { at, load: Some(load), ready: count, starting: 0 };
            count = policy.decide(&seen, &terms).count;
            assert!(f64::from(count) >= load / 0.01 / 1.11, "{count} for {load}");
        }
    }
}
