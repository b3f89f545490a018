//! Parts that peers share: peaks of days, histograms of days, floors after a kill.

use std::collections::VecDeque;

use crate::estimation::histogram::{Buckets, Histogram};
use crate::estimation::peers::DAY;

/// Days counted from the first time that was told.
#[derive(Debug, Clone, Copy, Default)]
struct DayCount {
    first: Option<i64>,
}

impl DayCount {
    fn day(&mut self, at: i64) -> i64 {
        (at - *self.first.get_or_insert(at)).div_euclid(DAY)
    }
}

/// The highest value of each of the last days in which there was any.
#[derive(Debug, Clone, Default)]
pub(super) struct DayPeaks {
    count: DayCount,
    peaks: VecDeque<(i64, f64)>,
}

impl DayPeaks {
    /// Takes in a value; keeps `days` days with values. Days without any push none out: a gap is not a
    /// zero.
    pub(super) fn add(&mut self, value: f64, at: i64, days: usize) {
        let day = self.count.day(at);
        match self.peaks.back_mut() {
            Some((newest, peak)) if *newest >= day => *peak = peak.max(value),
            _ => {
                self.peaks.push_back((day, value));
                if self.peaks.len() > days {
                    self.peaks.pop_front();
                }
            }
        }
    }

    /// The highest of all; absent where nothing was told.
    pub(super) fn highest(&self) -> Option<f64> {
        self.peaks.iter().map(|(_, peak)| *peak).reduce(f64::max)
    }
}

/// A histogram over the last days in which there were values, without fading.
#[derive(Debug, Clone, Default)]
pub(super) struct DayHistograms {
    count: DayCount,
    days: VecDeque<(i64, Histogram)>,
    all: Histogram,
}

impl DayHistograms {
    /// Takes in a value; keeps `days` days with values.
    pub(super) fn add(&mut self, buckets: &Buckets, value: f64, at: i64, days: usize) {
        let (day, bucket) = (self.count.day(at), buckets.index(value));
        if self.days.back().is_none_or(|(newest, _)| *newest < day) {
            self.days.push_back((day, Histogram::default()));
            if self.days.len() > days
                && let Some((_, oldest)) = self.days.pop_front()
            {
                self.all.unmerge(&oldest);
            }
        }
        if let Some((_, newest)) = self.days.back_mut() {
            newest.add(bucket, 1.0);
        }
        self.all.add(bucket, 1.0);
    }

    /// The end of the bucket at which a share is reached.
    pub(super) fn percentile(&self, buckets: &Buckets, share: f64) -> Option<f64> {
        self.all.percentile(buckets, share)
    }
}

/// Memory that a kill made necessary, for as long as it is remembered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KillFloor {
    bytes: f64,
    until: i64,
}

impl KillFloor {
    /// A kill that made `bytes` necessary; it is remembered until `until`.
    pub(super) fn raise(&mut self, bytes: f64, at: i64, until: i64) {
        self.bytes = self.at(at).max(bytes);
        self.until = until;
    }

    /// What is necessary at an instant; zero where no kill is remembered.
    pub(super) fn at(&self, now: i64) -> f64 {
        if now < self.until { self.bytes } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_of_the_last_days_with_values_stay() {
        let mut peaks = DayPeaks::default();
        for (day, value) in [(0, 9.0), (1, 2.0), (7, 4.0)] {
            peaks.add(value, 1_000 + day * DAY, 3);
        }
        assert_eq!(peaks.highest(), Some(9.0), "five days of absence push nothing out");
        peaks.add(1.0, 1_000 + 8 * DAY, 3);
        assert_eq!(peaks.highest(), Some(4.0));
    }

    #[test]
    fn a_day_that_leaves_takes_its_values_with_it() {
        let buckets = Buckets::linear(1.0, 100.0);
        let mut days = DayHistograms::default();
        for (day, value) in [(0, 50.5), (1, 10.5), (2, 20.5)] {
            days.add(&buckets, value, day * DAY, 2);
        }
        assert_eq!(days.percentile(&buckets, 0.4), Some(11.0));
        assert_eq!(days.percentile(&buckets, 1.0), Some(21.0));
    }

    #[test]
    fn a_floor_lasts_as_long_as_it_was_said_to() {
        let mut floor = KillFloor::default();
        floor.raise(5.0, 0, 10);
        floor.raise(3.0, 4, 14);
        assert!(floor.at(13) > 4.9 && floor.at(14) < 0.1);
        floor.raise(3.0, 20, 30);
        assert!(floor.at(21) < 3.1);
    }
}
