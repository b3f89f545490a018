//! How much load there will be when an instance that is asked for now begins to serve.
//!
//! In: the load of each interval. Out: an `Outlook`, the chance that the load will be above any value.
//! Not here: longer horizons for people and reports (`forecasting`).
//!
//! The mean is a regression on the load now, its averages over four spans, and what the same time of
//! earlier days leads to. How far it may be off is a second regression, on how far it was off of late.
//! What the two leave over is counted, in units of the second, in a histogram that forgets: the tail is
//! what was measured on this service, not a formula (conformal prediction on a moving window; Vovk et
//! al., "Algorithmic Learning in a Random World", 2005, chapter 2).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::scaling::counts::loadline::regression::{FEATURES, Features, Regression};
use crate::scaling::counts::loadline::{DAY, keep};

/// Half-lives in seconds of the averages of the load.
const SPANS: [f64; 4] = [22.5, 120.0, 480.0, 1800.0];
/// Seconds of a slot of the day.
const SLOT: i64 = 600;
/// Slots of a day.
const SLOTS: usize = 86_400 / SLOT as usize;
/// Bins of what the regressions leave over, and where they begin, in spreads.
const BINS: usize = 96;
const FIRST: f64 = -6.0;
/// The width of a bin, in spreads.
const WIDTH: f64 = 0.25;
/// The weight of what the histogram begins with, in observations.
const PRIOR: f64 = 30.0;
/// The half-life of the histogram, in seconds.
const TAIL_SPAN: f64 = 5.0 * DAY;
/// Of the mean's weights and of the spread's, in seconds.
const MEAN_SPAN: f64 = 1.5 * DAY;
const SPREAD_SPAN: f64 = 2.0 * DAY;
/// Half-lives in seconds of how far off the mean was, next to nothing, of late, and on the whole.
const MISS_SPANS: [f64; 3] = [150.0, 900.0, 43_200.0];
/// Noise grows with this power of the load: between that of independent requests (0.5) and that of a
/// crowd which comes and goes as one (1).
const POWER: f64 = 0.6;
/// The window of the highest and lowest load of late, in seconds.
const WINDOW: i64 = 300;
/// Predictions under way at most: over a long start-up time not every interval's is kept.
const PENDING: f64 = 8.0;
/// A load below this share of what an instance serves is as good as that.
const LEAST: f64 = 0.01;

/// A prediction whose time has not come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pending {
    due: i64,
    mean: f64,
    spread: f64,
    /// The unit of `of_mean`.
    scale: f64,
    of_mean: Features,
    of_spread: Features,
}

/// What is known of the load of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Course {
    last: Option<i64>,
    observed: u64,
    averages: [f64; SPANS.len()],
    misses: [f64; MISS_SPANS.len()],
    /// The load by time of day; NaN where nothing is known.
    day: Vec<f32>,
    recent: VecDeque<(i64, f32)>,
    mean: Regression,
    spread: Regression,
    tail: Vec<f32>,
    pending: VecDeque<Pending>,
}

impl Default for Course {
    fn default() -> Self {
        // Errors of twice the spread are an eighth as likely as none, and far ones remain possible.
        let shape = |bin: usize| {
            let off = FIRST + (bin as f64 + 0.5) * WIDTH;
            (-off.abs()).exp() + 0.002 / (1.0 + off * off)
        };
        let whole: f64 = (0..BINS).map(shape).sum();
        Self {
            last: None,
            observed: 0,
            averages: [0.0; SPANS.len()],
            misses: [0.1; MISS_SPANS.len()],
            day: vec![f32::NAN; SLOTS],
            recent: VecDeque::new(),
            mean: Regression::new([0.4, 0.3, 0.2, 0.1, 0.0, 0.0], 0.05),
            spread: Regression::new([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.002),
            tail: (0..BINS).map(|bin| (PRIOR * shape(bin) / whole) as f32).collect(),
            pending: VecDeque::new(),
        }
    }
}

/// What the load may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outlook {
    /// The mean.
    pub(super) mean: f64,
    /// About the mean distance from it.
    pub(super) spread: f64,
    /// The share of errors beyond the beginning of each bin.
    beyond: [f64; BINS + 1],
}

impl Outlook {
    /// The chance that the load will be above `load`.
    pub(super) fn above(&self, load: f64) -> f64 {
        let bins = ((load - self.mean) / self.spread - FIRST) / WIDTH;
        if bins <= 0.0 {
            return 1.0;
        }
        if bins >= BINS as f64 {
            // Beyond all that was seen: the last bin's share, falling with the square of the distance.
            return 0.3 * self.beyond[BINS - 1] * (BINS as f64 / bins).powi(2);
        }
        let bin = bins as usize;
        let into = bins - bin as f64;
        self.beyond[bin] * (1.0 - into) + self.beyond[bin + 1] * into
    }

    /// A load that is passed with a chance far below any budget.
    pub(super) fn farthest(&self) -> f64 {
        self.mean + self.spread * (FIRST + WIDTH * BINS as f64)
    }
}

impl Course {
    /// Takes in the mean load up to `at`, in the `interval` seconds before; `capacity` is what an instance
    /// serves. Answers what the load may be `lead` seconds later.
    pub(super) fn observe(
        &mut self,
        at: i64,
        load: f64,
        interval: f64,
        (lead, capacity): (f64, f64),
    ) -> Outlook {
        let elapsed = self.last.map_or(interval, |last| (at - last) as f64).max(1.0);
        if let Some(last) = self.last
            && elapsed <= 2.0 * interval
        {
            self.pass_over(last, at, load);
        }
        self.last = Some(at);
        self.observed += 1;
        if self.observed == 1 {
            self.averages = [load; SPANS.len()];
        }
        for (average, span) in self.averages.iter_mut().zip(SPANS) {
            // Until it has seen its span it is the plain mean.
            let new = (1.0 - keep(elapsed, span)).max(1.0 / self.observed as f64);
            *average += new * (load - *average);
        }
        self.recent.push_back((at, load as f32));
        while self.recent.front().is_some_and(|(when, _)| at - when >= WINDOW) {
            self.recent.pop_front();
        }
        self.learn((at, load), (elapsed, interval), capacity);
        let slot = &mut self.day[slot(at)];
        if slot.is_nan() {
            *slot = load as f32;
        } else {
            // Within one day a slot moves three tenths of the way to what it saw.
            *slot += ((load - f64::from(*slot)) * (1.0 - keep(elapsed, SLOT as f64 * 2.0))) as f32;
        }
        self.predict(at, load, (lead, capacity), elapsed)
    }

    /// Slots that an interval has passed over as a whole, because it is longer than a slot, had its load too.
    fn pass_over(&mut self, last: i64, at: i64, load: f64) {
        for slot in (last.div_euclid(SLOT) + 1..at.div_euclid(SLOT)).take(SLOTS) {
            let known = &mut self.day[slot.rem_euclid(86_400 / SLOT) as usize];
            let share = if known.is_nan() { 1.0 } else { 1.0 - keep(SLOT as f64, SLOT as f64 * 2.0) };
            let before = if known.is_nan() { 0.0 } else { f64::from(*known) };
            *known = (before + share * (load - before)) as f32;
        }
    }

    /// How fast the load rises of late, per second; 0 where it falls.
    pub(super) fn slope(&self) -> f64 {
        let [_, short, middle, _] = self.averages;
        // The averages look back by their mean ages, half-life / ln 2.
        ((short - middle) * std::f64::consts::LN_2 / (SPANS[2] - SPANS[1])).max(0.0)
    }

    /// Compares what was predicted for now with what came.
    fn learn(&mut self, (at, load): (i64, f64), (elapsed, interval): (f64, f64), capacity: f64) {
        let mut due = None;
        while self.pending.front().is_some_and(|pending| pending.due <= at) {
            due = self.pending.pop_front();
        }
        // One that came due in a gap was not for now; one that came due within an interval was.
        let late = 2.0 * interval.max(elapsed.min(120.0));
        let Some(due) = due.filter(|due| ((at - due.due) as f64) < late) else { return };
        let miss = load - due.mean;
        self.mean.learn(
            &due.of_mean,
            load / due.scale,
            3.0 * due.spread / due.scale,
            keep(elapsed, MEAN_SPAN),
        );
        let size = (miss.abs() / capacity).min(8.0 * due.spread / capacity);
        self.spread.learn(&due.of_spread, size, 4.0 * due.spread / capacity, keep(elapsed, SPREAD_SPAN));
        let relative = miss.abs() / capacity / (due.mean / capacity).max(0.05).powf(POWER);
        let bound = 8.0 * self.misses[2];
        self.misses[0] += (1.0 - keep(elapsed, MISS_SPANS[0])) * (size - self.misses[0]);
        for (i, span) in MISS_SPANS.iter().enumerate().skip(1) {
            let new = (1.0 - keep(elapsed, *span)).max(1.0 / (self.observed as f64 + 20.0));
            self.misses[i] += new * (relative.min(bound) - self.misses[i]);
        }
        let forget = keep(elapsed, TAIL_SPAN) as f32;
        self.tail.iter_mut().for_each(|bin| *bin *= forget);
        let bin = ((miss / due.spread - FIRST) / WIDTH).max(0.0) as usize;
        self.tail[bin.min(BINS - 1)] += 1.0;
    }

    fn predict(&mut self, at: i64, load: f64, (lead, capacity): (f64, f64), elapsed: f64) -> Outlook {
        let [now, short, middle, long] = self.averages;
        let later = at + lead as i64;
        let seasonal = self.seasonal(at, later).unwrap_or(short);
        let scale = long.max(short).max(capacity * 0.05);
        let of_mean = [load, now, short, middle, long, seasonal].map(|value| value / scale);
        let mean = self.mean.predict(&of_mean) * scale;
        let mean = mean.clamp(short * 0.2, 5.0 * short.max(load)).max(capacity * LEAST);
        let usual = 0.5 * (self.misses[1] + self.misses[2]);
        let usual = ((mean / capacity).max(0.05).powf(POWER) * usual).max(LEAST);
        let recent = self.recent.iter().map(|(_, load)| f64::from(*load));
        let (least, most) =
            recent.fold((f64::MAX, 0.0_f64), |(least, most), load| (least.min(load), most.max(load)));
        let of_spread: Features = [
            usual,
            self.misses[0],
            (most - short).max(0.0) / capacity,
            (short - least).max(0.0) / capacity,
            (load - short).abs() / capacity,
            0.02,
        ];
        let spread = self.spread.predict(&of_spread).clamp(0.3 * usual, 4.0 * usual) * capacity;
        let apart = (lead / PENDING).max(0.0);
        if self
            .pending
            .back()
            .is_none_or(|last| (later - last.due) as f64 >= apart.max(0.5 * elapsed.min(lead)))
        {
            self.pending.push_back(Pending { due: later, mean, spread, scale, of_mean, of_spread });
        }
        let mut beyond = [0.0; BINS + 1];
        let whole: f64 = self.tail.iter().map(|bin| f64::from(*bin)).sum();
        for bin in (0..BINS).rev() {
            beyond[bin] = beyond[bin + 1] + f64::from(self.tail[bin]) / whole;
        }
        Outlook { mean, spread, beyond }
    }

    /// The load of late, moved as the same time of earlier days moved; absent where those are not known.
    fn seasonal(&self, at: i64, later: i64) -> Option<f64> {
        let before = self.of_day(at - 300)?;
        let then = self.of_day(later - 15)?;
        let base = before.max(0.1 * self.of_day(at)?);
        (base > 0.0).then(|| self.averages[2] * (then / base).clamp(0.2, 5.0))
    }

    /// The load at a time of day, between the middles of slots.
    fn of_day(&self, at: i64) -> Option<f64> {
        let into = (at.rem_euclid(SLOT) as f64) / SLOT as f64 - 0.5;
        let here = slot(at);
        let (other, share) =
            if into < 0.0 { ((here + SLOTS - 1) % SLOTS, -into) } else { ((here + 1) % SLOTS, into) };
        let value = f64::from(self.day[here]) * (1.0 - share) + f64::from(self.day[other]) * share;
        (!value.is_nan()).then_some(value)
    }
}

fn slot(at: i64) -> usize {
    (at.rem_euclid(86_400) / SLOT) as usize
}

const _: () = assert!(FEATURES == SPANS.len() + 2, "the load now, its averages, the season");
