//! The observations of one series on a grid of slots, as far back as seasons need.
//!
//! In: `(time, load)` in order. Out: the mean of each slot, the level at its end, the highest load of recent slots.
//! A slot without observations holds nothing, never zero.

use serde::{Deserialize, Serialize};

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// So far back slots are kept.
const KEPT: i64 = 15 * DAY;

/// So far back the highest load of each slot is kept.
const PEAKS_KEPT: i64 = DAY;

/// Slots are no shorter, so that a slot's mean says more than its noise.
const SLOT: i64 = 300;

/// Seconds in which half of a changed level is followed.
const HALF_LIFE: f64 = 60.0;

/// Stands for nothing: loads are at least zero, and checkpoints in JSON know no other non-number.
const NOTHING: f32 = -1.0;

/// A ring of loads by slot; what was never written is not a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ring(Vec<f32>);

impl Ring {
    pub(super) fn new(length: i64) -> Self {
        Self(vec![NOTHING; usize::try_from(length.max(1)).unwrap_or(1)])
    }

    fn place(&self, slot: i64) -> usize {
        slot.rem_euclid(self.len()) as usize
    }

    pub(super) fn get(&self, slot: i64) -> f64 {
        let load = self.0[self.place(slot)];
        if load < 0.0 { f64::NAN } else { f64::from(load) }
    }

    pub(super) fn set(&mut self, slot: i64, value: f64) {
        let place = self.place(slot);
        self.0[place] = if value.is_nan() { NOTHING } else { value as f32 };
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }

    pub(super) fn len(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }
}

/// Closed slots, and the one that is filling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    /// Seconds of an observation.
    pub(super) step: i64,
    /// Seconds of a slot.
    pub(super) slot: i64,
    means: Ring,
    levels: Ring,
    peaks: Ring,
    /// The slot that is filling: its place, sum, highest and number of observations.
    pub(super) open: i64,
    sum: f64,
    peak: f64,
    end: f64,
    count: u32,
    /// The level now.
    pub(super) level: f64,
    /// When the last observation was.
    pub(super) last: Option<i64>,
    /// When the first was.
    pub(super) first: i64,
}

/// A slot that was closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    pub(super) slot: i64,
    pub(super) mean: f64,
    /// The last load in it.
    pub(super) end: f64,
}

impl History {
    pub(super) fn new(step: i64) -> Self {
        let step = step.max(1);
        let slot = if step >= SLOT { step } else { step * ((SLOT + step - 1) / step) };
        let ring = |kept: i64| Ring::new(kept / slot + 1);
        Self {
            step,
            slot,
            means: ring(KEPT),
            levels: ring(KEPT),
            peaks: ring(PEAKS_KEPT),
            open: 0,
            sum: 0.0,
            peak: 0.0,
            end: 0.0,
            count: 0,
            level: 0.0,
            last: None,
            first: 0,
        }
    }

    /// Bytes of the slots.
    pub(super) fn bytes(&self) -> usize {
        [&self.means, &self.levels, &self.peaks].into_iter().map(Ring::bytes).sum()
    }

    pub(super) fn slot_of(&self, time: i64) -> i64 {
        time.div_euclid(self.slot)
    }

    /// Slots of so many seconds, at least one.
    pub(super) fn slots(&self, seconds: i64) -> i64 {
        ((seconds + self.slot / 2) / self.slot).max(1)
    }

    /// The mean of a slot; not a number where nothing was measured or it is no longer kept.
    pub(super) fn mean(&self, slot: i64) -> f64 {
        if slot >= self.open || slot <= self.open - self.means.len() {
            f64::NAN
        } else {
            self.means.get(slot)
        }
    }

    /// The level at the end of a slot.
    pub(super) fn level_at(&self, slot: i64) -> f64 {
        if slot >= self.open || slot <= self.open - self.levels.len() {
            f64::NAN
        } else {
            self.levels.get(slot)
        }
    }

    /// The highest load of so many slots up to `slot`; not a number where one of them is missing.
    pub(super) fn highest(&self, slot: i64, slots: i64) -> f64 {
        if slots > self.peaks.len() {
            return f64::NAN;
        }
        let peaks = (slot - slots + 1..=slot).map(|slot| self.peaks.get(slot));
        peaks.fold(0.0, |highest: f64, peak| {
            if peak.is_nan() {
                f64::NAN
            } else if highest.is_nan() {
                highest
            } else {
                highest.max(peak)
            }
        })
    }

    /// Takes in an observation that is later than the last; the slot that it closes, if it had any.
    pub(super) fn push(&mut self, time: i64, load: f64) -> Option<Closed> {
        let slot = self.slot_of(time);
        if self.last.is_none() {
            self.first = time;
            self.open = slot;
        }
        let closed = (slot > self.open).then(|| self.close(slot)).flatten();
        let keep = self.last.map_or(0.0, |last| 0.5_f64.powf((time - last) as f64 / HALF_LIFE));
        self.level = keep * self.level + (1.0 - keep) * load;
        self.sum += load;
        self.peak = if self.count == 0 { load } else { self.peak.max(load) };
        self.count += 1;
        self.end = load;
        self.last = Some(time);
        closed
    }

    /// Closes the open slot and opens `next`; slots between them hold nothing.
    fn close(&mut self, next: i64) -> Option<Closed> {
        let (slot, count) = (self.open, self.count);
        let mean = if count == 0 { f64::NAN } else { self.sum / f64::from(count) };
        self.means.set(slot, mean);
        self.levels.set(slot, self.level);
        self.peaks.set(slot, if count == 0 { f64::NAN } else { self.peak });
        let end = self.end;
        for missed in (slot + 1).max(next - self.means.len())..next {
            self.means.set(missed, f64::NAN);
            self.levels.set(missed, f64::NAN);
            self.peaks.set(missed, f64::NAN);
        }
        self.open = next;
        (self.sum, self.peak, self.count) = (0.0, 0.0, 0);
        (count > 0).then_some(Closed { slot, mean, end })
    }
}
