//! How long instances take from their launch until they are ready, learned per revision.
//!
//! In: for each instance that became ready, how long it took. Out: what half of them and nine of ten keep to.
//! A new revision begins with what the one before it took; each of its own instances takes the place of a
//! part of that. Instances that took very much longer than the others (a node that was busy, a lock that was
//! held) do not count.

use std::collections::{BTreeMap, VecDeque};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::scale_status::StartupTime;

/// Start-ups kept of one revision.
const KEPT_MAX: usize = 32;
/// Revisions kept of one service.
const REVISIONS_MAX: usize = 8;
/// The revision before speaks with so many start-ups at most, less those of the new one.
const PRIOR: usize = 5;
/// What a lead time has to be kept to.
const LEAD_SHARE: f64 = 0.9;
/// Longer than the median by this factor, and by so many seconds, is an accident.
const ACCIDENT_FACTOR: f64 = 5.0;
const ACCIDENT_SECONDS: f64 = 2.0;

/// Start-ups of one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StartupTimes {
    /// Seconds by revision, oldest first.
    revisions: BTreeMap<u64, VecDeque<f64>>,
}

impl StartupTimes {
    /// An instance became ready.
    pub fn became_ready(&mut self, revision: u64, took: SignedDuration) {
        let seconds = took.as_secs_f64();
        if !(seconds.is_finite() && seconds >= 0.0) {
            return;
        }
        let times = self.revisions.entry(revision).or_default();
        times.push_back(seconds);
        if times.len() > KEPT_MAX {
            times.pop_front();
        }
        while self.revisions.len() > REVISIONS_MAX {
            self.revisions.pop_first();
        }
    }

    /// How long instances of a revision take; none where nothing is known of any revision.
    pub fn of(&self, revision: u64) -> Option<StartupTime> {
        let own: Vec<f64> = self.revisions.get(&revision).into_iter().flatten().copied().collect();
        let samples = u32::try_from(own.len()).unwrap_or(u32::MAX);
        let mut weighed: Vec<f64> = without_accidents(own.clone());
        // The nearest earlier revision; after going back, a later one is better than nothing.
        let earlier = self.revisions.range(..revision).next_back();
        let prior = earlier.or_else(|| self.revisions.range(revision + 1..).next());
        if let Some((_, times)) = prior.filter(|_| own.len() < PRIOR) {
            let times = without_accidents(times.iter().copied().collect());
            let speaks = PRIOR - own.len();
            // Evenly over what it took, so that both its middle and its end are heard.
            let share = |n: usize| (n as f64 + 0.5) / speaks as f64;
            weighed.extend((0..speaks).filter_map(|n| quantile(&times, share(n))));
        }
        weighed.sort_by(f64::total_cmp);
        Some(StartupTime {
            revision,
            typical_seconds: quantile(&weighed, 0.5)?,
            seconds: quantile(&weighed, LEAD_SHARE)?,
            samples,
        })
    }
}

/// Sorted, without those that took very much longer than half of the others.
fn without_accidents(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    let Some(&median) = times.get(times.len().saturating_sub(1) / 2) else { return times };
    let limit = (median * ACCIDENT_FACTOR).max(median + ACCIDENT_SECONDS);
    times.retain(|seconds| *seconds <= limit);
    times
}

/// Between the two nearest of sorted values.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = share * last as f64;
    let below = sorted.get(rank.floor() as usize)?;
    let above = sorted.get((rank.ceil() as usize).min(last))?;
    Some(below + (above - below) * rank.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(times: &mut StartupTimes, revision: u64, all: &[f64]) {
        for seconds in all {
            times.became_ready(revision, SignedDuration::from_secs_f64(*seconds));
        }
    }

    #[test]
    fn nothing_known_is_nothing_said() {
        assert_eq!(StartupTimes::default().of(1), None);
    }

    #[test]
    fn nine_of_ten_keep_to_it_and_accidents_do_not_count() {
        let mut times = StartupTimes::default();
        took(&mut times, 1, &[10.0, 11.0, 10.0, 12.0, 10.0, 11.0, 10.0, 13.0, 10.0, 11.0]);
        let known = times.of(1).expect("known");
        assert!((known.typical_seconds - 10.5).abs() < 0.51, "{known:?}");
        assert!((12.0..=13.0).contains(&known.seconds), "{known:?}");
        took(&mut times, 1, &[600.0, 900.0]);
        let after = times.of(1).expect("known");
        assert!((12.0..=13.0).contains(&after.seconds), "{after:?}");
        assert_eq!(after.samples, 12);
    }

    #[test]
    fn a_new_revision_begins_with_the_old_one_and_soon_speaks_for_itself() {
        let mut times = StartupTimes::default();
        took(&mut times, 3, &[20.0; 10]);
        let begins = times.of(4).expect("a prior");
        assert!((begins.seconds - 20.0).abs() < 1e-9 && begins.samples == 0, "{begins:?}");
        took(&mut times, 4, &[2.0]);
        let first = times.of(4).expect("known");
        assert!(first.seconds > 15.0, "one fast start is no proof: {first:?}");
        took(&mut times, 4, &[2.0; 4]);
        let own = times.of(4).expect("known");
        assert!((own.seconds - 2.0).abs() < 1e-9 && own.samples == 5, "{own:?}");
        // Slower ones are heard of at once.
        took(&mut times, 5, &[60.0]);
        assert!(times.of(5).expect("known").seconds > 30.0);
        // Going back: its own are still there.
        assert_eq!(times.of(3).expect("known").samples, 10);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut times = StartupTimes::default();
        for revision in 1..100 {
            took(&mut times, revision, &[1.0; 100]);
        }
        assert_eq!((times.revisions.len(), times.revisions[&99].len()), (REVISIONS_MAX, KEPT_MAX));
    }
}
