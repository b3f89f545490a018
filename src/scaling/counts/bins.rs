//! Means of a load over even stretches of time: what peers keep of the past.
//!
//! In: loads as decisions are told of them. Out: the mean of each stretch that has ended. Not here: what a
//! policy makes of them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The mean load of each stretch of `width` seconds since the epoch, the newest `keep` of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Bins {
    width: i64,
    keep: usize,
    open: Option<Open>,
    /// Those that ended, the oldest first, without a gap; NaN where nothing was known.
    closed: VecDeque<f64>,
}

/// The stretch that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    place: i64,
    sum: f64,
    count: u32,
}

impl Open {
    fn mean(&self) -> f64 {
        if self.count > 0 { self.sum / f64::from(self.count) } else { f64::NAN }
    }
}

impl Bins {
    pub(super) fn new(width: i64, keep: usize) -> Self {
        Self { width, keep: keep.max(1), open: None, closed: VecDeque::new() }
    }

    /// Takes in the load of the time from `from` on; tells whether a stretch ended with it. What lies before
    /// the stretch that is under way is left out: the clock was set back.
    pub(super) fn tell(&mut self, from: i64, load: Option<f64>) -> bool {
        let place = from.div_euclid(self.width);
        let fresh = Open { place, sum: 0.0, count: 0 };
        let open = self.open.get_or_insert(fresh.clone());
        let ended = place - open.place;
        if ended < 0 {
            return false;
        }
        if ended > 0 {
            self.closed.push_back(open.mean());
            let gap = usize::try_from(ended - 1).unwrap_or(usize::MAX).min(self.keep);
            self.closed.extend(std::iter::repeat_n(f64::NAN, gap));
            while self.closed.len() > self.keep {
                self.closed.pop_front();
            }
            *open = fresh;
        }
        if let Some(load) = load {
            open.sum += load;
            open.count += 1;
        }
        ended > 0
    }

    /// The place of the stretch that is under way.
    pub(super) fn now(&self) -> Option<i64> {
        self.open.as_ref().map(|open| open.place)
    }

    /// The mean of the stretch at a place (its beginning over the width), where it ended and is known.
    pub(super) fn of(&self, place: i64) -> Option<f64> {
        let back = usize::try_from(self.now()? - 1 - place).ok()?;
        let at = self.closed.len().checked_sub(back + 1)?;
        self.closed.get(at).copied().filter(|mean| !mean.is_nan())
    }

    /// Those that ended and are known with their places, the newest first.
    pub(super) fn known(&self) -> impl Iterator<Item = (i64, f64)> {
        let newest = self.now().unwrap_or_default() - 1;
        let places = (0..).map(move |back| newest - back);
        places.zip(self.closed.iter().rev().copied()).filter(|(_, mean)| !mean.is_nan())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_found_by_their_place_and_gaps_are_not_known() {
        let mut bins = Bins::new(60, 4);
        let told = [(0, 1.0), (15, 3.0), (60, 5.0), (200, 9.0), (100, 77.0)];
        let ended: Vec<bool> = told.iter().map(|&(at, load)| bins.tell(at, Some(load))).collect();
        assert_eq!(ended, [false, false, true, true, false]);
        assert_eq!([0, 1, 2, 3].map(|place| bins.of(place)), [Some(2.0), Some(5.0), None, None]);
        assert_eq!(bins.known().collect::<Vec<_>>(), [(1, 5.0), (0, 2.0)]);
        // Ages later nothing is known, and no more is kept than was asked for.
        assert!(bins.tell(i64::MAX / 2, None));
        assert_eq!((bins.closed.len(), bins.known().count()), (4, 0));
    }
}
