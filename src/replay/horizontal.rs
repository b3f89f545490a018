//! Load past a policy of counts: the horizontal replay of the yardstick.
//!
//! In: the load of a service at even steps, what an instance serves, how long it takes to start, a
//! policy. Out: time and load that were not served, instance-hours, changes, and the counts themselves.
//! Not here: files (`analytics`), tables (`cli`).
//!
//! At each step the policy is told the load of the step before and what serves; what it asks for beyond
//! that serves after the start-up time, what it no longer wants leaves at once, the youngest first. Then
//! the load of the step arrives. A step whose load is not known is not scored, and the policy is told
//! that it is not known.

use std::collections::VecDeque;
use std::ops::AddAssign;

use serde::Serialize;

use crate::scaling::counts::{CountPolicy, Seen, Terms};

/// The load of one service at even steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// The beginning of the first step, in seconds since the epoch.
    pub begin: i64,
    /// Seconds of a step; also from one decision to the next.
    pub interval: i64,
    /// The mean load of each step; NaN where it is not known.
    pub load: Vec<f64>,
}

impl Steps {
    /// Steps of `interval` seconds from rows of rising times, each the load from its time on: a row holds
    /// until the next one, but no longer than the most common distance of rows.
    pub fn of(times: &[i64], loads: &[f64], interval: i64) -> Self {
        let Some((&first, &last)) = times.first().zip(times.last()) else {
            return Self { begin: 0, interval, load: Vec::new() };
        };
        let mut distances: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        distances.sort_unstable();
        let usual = distances.get(distances.len() / 2).copied().unwrap_or(interval).max(interval);
        let step_at = |time: i64| ((time - first) as f64 / interval as f64).ceil() as usize;
        let mut load = vec![f64::NAN; step_at(last + usual)];
        for (row, (&time, &value)) in times.iter().zip(loads).enumerate() {
            let end = times.get(row + 1).map_or(time + usual, |&next| next.min(time + usual));
            if let Some(steps) = load.get_mut(step_at(time)..step_at(end)) {
                steps.fill(value);
            }
        }
        Self { begin: first, interval, load }
    }

    /// The highest load that is known.
    pub fn peak(&self) -> f64 {
        self.load.iter().copied().fold(0.0, f64::max)
    }
}

/// What came of a policy on one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Steps whose load was known.
    pub steps: u64,
    /// Steps with more load than ready capacity.
    pub under: u64,
    /// Instances over all steps, those on their way included.
    pub instances: u64,
    /// The same of the oracle, whose instances serve exactly in time.
    pub oracle: u64,
    /// Load that was asked for, summed over steps.
    pub load: f64,
    /// Load above capacity, summed over steps.
    pub shed: f64,
    /// Changes of the count.
    pub changes: u64,
    /// Changes in the other direction than the one before.
    pub flips: u64,
    /// Days that were replayed.
    pub days: f64,
}

impl AddAssign<&Self> for Outcome {
    fn add_assign(&mut self, other: &Self) {
        self.steps += other.steps;
        self.under += other.under;
        self.instances += other.instances;
        self.oracle += other.oracle;
        self.load += other.load;
        self.shed += other.shed;
        self.changes += other.changes;
        self.flips += other.flips;
        self.days += other.days;
    }
}

impl Outcome {
    /// All of them together.
    pub fn sum<'a>(outcomes: impl IntoIterator<Item = &'a Self>) -> Self {
        outcomes.into_iter().fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }

    /// The share of time with load above ready capacity.
    pub fn under_time(&self) -> f64 {
        self.under as f64 / self.steps.max(1) as f64
    }

    /// Instance-hours over the oracle's.
    pub fn hours_over_oracle(&self) -> f64 {
        self.instances as f64 / self.oracle.max(1) as f64
    }

    /// The share of the load above ready capacity.
    pub fn shed_share(&self) -> f64 {
        if self.load > 0.0 { self.shed / self.load } else { 0.0 }
    }

    /// Changes of the count per day.
    pub fn changes_per_day(&self) -> f64 {
        self.changes as f64 / self.days.max(f64::MIN_POSITIVE)
    }

    /// Changes of direction per day.
    pub fn flips_per_day(&self) -> f64 {
        self.flips as f64 / self.days.max(f64::MIN_POSITIVE)
    }
}

/// A count that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// From when on, in seconds since the epoch.
    pub at: i64,
    /// Instances.
    pub count: u32,
}

/// The instances of the service, and those on their way.
struct Fleet {
    ready: u32,
    /// From which step on they serve, and how many.
    starting: VecDeque<(usize, u32)>,
}

impl Fleet {
    fn starting(&self) -> u32 {
        self.starting.iter().map(|(_, count)| count).sum()
    }

    fn arrive(&mut self, step: usize) {
        while let Some(&(from, count)) = self.starting.front() {
            if from > step {
                break;
            }
            self.ready += count;
            self.starting.pop_front();
        }
    }

    fn set(&mut self, count: u32, serves_from: usize) {
        let now = self.ready + self.starting();
        if count > now {
            self.starting.push_back((serves_from, count - now));
        }
        let mut fewer = now.saturating_sub(count);
        while fewer > 0 {
            let Some((_, youngest)) = self.starting.back_mut() else {
                self.ready -= fewer;
                break;
            };
            let leaving = fewer.min(*youngest);
            *youngest -= leaving;
            fewer -= leaving;
            if *youngest == 0 {
                self.starting.pop_back();
            }
        }
    }
}

/// What came of a policy, a day from the series' begin each.
struct Days {
    steps_of_day: usize,
    outcomes: Vec<Outcome>,
    rose: Option<bool>,
}

impl Days {
    fn new(steps: &Steps) -> Self {
        let steps_of_day = usize::try_from(86_400 / steps.interval).unwrap_or(1).max(1);
        let of = |count: usize| count as f64 * steps.interval as f64 / 86_400.0;
        let days = steps.load.chunks(steps_of_day);
        let outcomes = days.map(|steps| Outcome { days: of(steps.len()), ..Outcome::default() }).collect();
        Self { steps_of_day, outcomes, rose: None }
    }

    fn changed(&mut self, step: usize, rises: bool) {
        let day = &mut self.outcomes[step / self.steps_of_day];
        day.changes += 1;
        day.flips += u64::from(self.rose.is_some_and(|rose| rose != rises));
        self.rose = Some(rises);
    }

    fn score(&mut self, step: usize, load: f64, (ready, starting): (u32, u32), terms: &Terms) {
        if !load.is_nan() {
            self.outcomes[step / self.steps_of_day].score(load, (ready, starting), terms);
        }
    }
}

/// Replays one service. It begins with what the first known load needs at 70 % of capacity. `asked` is
/// called at the beginning and at each change of the count.
pub fn replay(
    steps: &Steps,
    terms: &Terms,
    policy: &mut dyn CountPolicy,
    asked: impl FnMut(Asked),
) -> Outcome {
    Outcome::sum(&replay_by_day(steps, terms, policy, asked))
}

/// The same, with what came of each day from the series' begin on.
pub fn replay_by_day(
    steps: &Steps,
    terms: &Terms,
    policy: &mut dyn CountPolicy,
    mut asked: impl FnMut(Asked),
) -> Vec<Outcome> {
    let startup = (terms.startup / terms.interval).ceil() as usize;
    let first = steps.load.iter().copied().find(|load| !load.is_nan()).unwrap_or(0.0);
    let mut fleet = Fleet { ready: terms.count_for(first / 0.7), starting: VecDeque::new() };
    asked(Asked { at: steps.begin, count: fleet.ready });
    let mut days = Days::new(steps);
    let mut at = steps.begin;
    for (step, &load) in steps.load.iter().enumerate() {
        fleet.arrive(step);
        if step > 0 {
            at += steps.interval;
            let before = Some(steps.load[step - 1]).filter(|load| !load.is_nan());
            let starting = fleet.starting();
            let seen = Seen { at, load: before, ready: fleet.ready, starting };
            let count = terms.bounded(policy.decide(&seen, terms).count);
            if count != seen.count() {
                days.changed(step, count > seen.count());
                fleet.set(count, step + startup);
                asked(Asked { at, count });
            }
        }
        days.score(step, load, (fleet.ready, fleet.starting()), terms);
    }
    days.outcomes
}

/// The oracle: each instance serves exactly in time and leaves at once, nothing is paid for its start. Where the
/// load is not known, the count stays. `asked` is called with counts that serve from then on.
pub fn oracle_by_day(steps: &Steps, terms: &Terms, mut asked: impl FnMut(Asked)) -> Vec<Outcome> {
    let mut days = Days::new(steps);
    let mut now = None;
    let mut at = steps.begin;
    for (step, &load) in steps.load.iter().enumerate() {
        let count = if load.is_nan() { now.unwrap_or(terms.min) } else { terms.count_for(load) };
        if now != Some(count) {
            if let Some(before) = now {
                days.changed(step, count > before);
            }
            asked(Asked { at, count });
            now = Some(count);
        }
        days.score(step, load, (count, 0), terms);
        at += steps.interval;
    }
    days.outcomes
}

impl Outcome {
    fn score(&mut self, load: f64, (ready, starting): (u32, u32), terms: &Terms) {
        let served = f64::from(ready) * terms.capacity;
        self.steps += 1;
        self.instances += u64::from(ready + starting);
        self.oracle += u64::from(terms.count_for(load));
        self.load += load;
        // A load that is a whole number of capacities is served by that many, whatever the last bit says.
        if load > served * (1.0 + 1e-9) {
            self.under += 1;
            self.shed += load - served;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workload::WorkloadName;
    use crate::scaling::counts::hpa::Hpa;
    use crate::scaling::counts::{Answer, CheckpointError, Reason};

    /// Asks for what the last known load needs, and keeps what it has where it knows none.
    struct Follow;

    impl CountPolicy for Follow {
        fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
            let count = seen.load.map_or(seen.count(), |load| terms.count_for(load));
            Answer { count, reason: Reason { rule: "follow", values: Vec::new() } }
        }

        fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
            Ok(Vec::new())
        }

        fn restore(&mut self, _checkpoint: &[u8]) -> Result<(), CheckpointError> {
            Ok(())
        }
    }

    const TERMS: Terms = Terms { capacity: 10.0, startup: 60.0, interval: 15.0, min: 1, max: 40 };

    #[test]
    fn an_instance_serves_a_start_up_time_after_it_was_asked_for() {
        let mut load = vec![10.0; 4];
        load.extend([30.0; 8]);
        load.extend([10.0; 4]);
        let steps = Steps { begin: 0, interval: 15, load };
        let mut counts = Vec::new();
        let outcome = replay(&steps, &TERMS, &mut Follow, |asked| counts.push(asked));
        // 10 at 70 % of 10 are two; one of them goes at the first decision, back comes what 30 needs one
        // step after it came, and four steps more until it serves.
        assert_eq!(counts[0].count, 2);
        assert_eq!(counts[1], Asked { at: 15, count: 1 });
        assert_eq!(counts[2], Asked { at: 75, count: 3 });
        assert_eq!(outcome.under, 5, "{outcome:?}");
        assert!((outcome.shed - 5.0 * 20.0).abs() < 1e-9);
        assert_eq!(outcome.oracle, 4 + 8 * 3 + 4);
        assert_eq!(outcome.changes, 3);
        assert_eq!(outcome.flips, 2);
    }

    #[test]
    fn the_oracle_pays_what_serves_and_days_add_up() {
        let load: Vec<f64> = (0..9_000).map(|step| f64::from(1 + step % 39) * 10.0).collect();
        let steps = Steps { begin: 0, interval: 15, load };
        let mut rows = 0;
        let days = oracle_by_day(&steps, &TERMS, |_| rows += 1);
        let all = Outcome::sum(&days);
        assert_eq!((days.len(), days[0].steps, all.steps), (2, 5_760, 9_000));
        assert_eq!((all.under, all.instances, all.changes + 1), (0, all.oracle, rows));
        assert!((all.days - 9_000.0 / 5_760.0).abs() < 1e-9);
        let by_day = replay_by_day(&steps, &TERMS, &mut Follow, |_| ());
        assert_eq!(Outcome::sum(&by_day), replay(&steps, &TERMS, &mut Follow, |_| ()));
        assert!(by_day.iter().all(|day| day.under > 0 && day.changes > 0));
    }

    #[test]
    fn what_is_not_known_is_neither_scored_nor_a_zero() {
        let steps = Steps::of(&[0, 60, 300, 360], &[10.0, 20.0, 20.0, 10.0], 15);
        assert_eq!(steps.load.len(), 28);
        assert!(steps.load[8..20].iter().all(|load| load.is_nan()));
        let outcome = replay(&steps, &TERMS, &mut Follow, |_| ());
        assert_eq!(outcome.steps, 16);
    }

    #[test]
    fn the_pod_autoscaler_holds_for_five_minutes_and_then_goes_down() {
        let mut load = vec![70.0; 40];
        load.extend([7.0; 60]);
        let steps = Steps { begin: 0, interval: 15, load };
        let mut counts = Vec::new();
        let mut hpa = Hpa::new(0.7, WorkloadName::new("web").expect("a name"));
        replay(&steps, &TERMS, &mut hpa, |asked| counts.push(asked));
        // The first step with less is the one from 600 s on; it is told of at 615 s, and the answers of
        // the 300 s before that hold the count.
        let expected = [Asked { at: 0, count: 10 }, Asked { at: 900, count: 1 }];
        assert_eq!(counts, expected);
    }
}
