//! What is learnt at the end of a slot: what came of the forecasts made for it, and the forecasts made from it.

use serde::{Deserialize, Serialize};

use crate::forecasting::conformal::{LEVELS, PEAK_LEVELS, Tracker};
use crate::forecasting::experts::Origin;
use crate::forecasting::history::{Closed, DAY, History, Ring};
use crate::forecasting::node::{Mix, Node};
use crate::forecasting::seasons::{Scale, Seasons};

/// Horizons in seconds at which forecasts are learnt; between them they are interpolated.
pub(super) const HORIZONS: [i64; 7] = [300, 900, 3600, 10_800, DAY / 2, DAY, 2 * DAY];

/// Windows in seconds whose highest load is learnt.
pub(super) const WINDOWS: [i64; 5] = [300, 900, 3600, 21_600, DAY];

/// Days over which losses, squares and sizes are averaged.
const LOSS_DAYS: f64 = 3.0;
const RIDGE_DAYS: f64 = 10.0;
const SIZE_DAYS: f64 = 3.0;

/// Steps of quantiles, in sizes of a residual, up to an hour ahead. Farther ahead residuals of neighbours are alike,
/// so steps are smaller: by the power `SLOWER` of the horizon.
const RATE: f64 = 0.02;
const SLOWER: f64 = 0.5;

/// Loads below so large a share of the mean are compared by amount, above by share.
const FLOOR: f64 = 0.7;

/// Skill of seasons over plain methods from which on there is structure, and below which there is none.
const SKILL_ON: f64 = 0.10;
const SKILL_OFF: f64 = 0.04;

/// Seconds of history before structure is told.
const STRUCTURE_AFTER: i64 = 2 * DAY;

/// Where a time lies among those at which something is learnt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between {
    pub(super) low: usize,
    pub(super) high: usize,
    share: f64,
}

impl Between {
    /// What lies between two values as the time lies between theirs.
    pub(super) fn blend(self, value: impl Fn(usize) -> f64) -> f64 {
        let low = value(self.low);
        if self.share == 0.0 { low } else { low + self.share * (value(self.high) - low) }
    }
}

/// Where so many seconds lie among `times`, of which those shorter than a slot are not learnt.
pub(super) fn between(times: &[i64], slot: i64, seconds: i64) -> Between {
    let last = times.len() - 1;
    let first = times.iter().position(|time| *time >= slot).unwrap_or(last);
    let high = times.iter().position(|time| *time >= seconds).unwrap_or(last).max(first);
    if high == first || times[high] <= seconds {
        return Between { low: high, high, share: 0.0 };
    }
    let ratio = |a: i64, b: i64| (a as f64 / b as f64).ln();
    Between {
        low: high - 1,
        high,
        share: ratio(seconds, times[high - 1]) / ratio(times[high], times[high - 1]),
    }
}

/// What was learnt of a series, and the forecasts that wait for what comes of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Learnt {
    pub(super) nodes: [Node; HORIZONS.len()],
    pub(super) peaks: [Tracker<{ PEAK_LEVELS.len() }>; WINDOWS.len()],
    /// Forecasts by the slot that they are for, a ring a horizon.
    said: Vec<Ring>,
    /// Forecasts of the highest load, by the slot at whose end their window ends.
    said_peaks: Vec<Ring>,
    /// Mean load over the last days: what the scale goes by.
    mean: f32,
    count: f32,
    pub(super) structure: bool,
}

/// Steps of quantiles so many seconds ahead.
fn rate(seconds: i64) -> f64 {
    RATE * (3600.0 / seconds.max(3600) as f64).powf(SLOWER)
}

impl Learnt {
    pub(super) fn new(history: &History) -> Self {
        let ring = |seconds: &i64| Ring::new(history.slots(*seconds) + 1);
        Self {
            nodes: std::array::from_fn(|_| Node::new()),
            peaks: std::array::from_fn(|_| Tracker::new(&PEAK_LEVELS)),
            said: HORIZONS.iter().map(ring).collect(),
            said_peaks: WINDOWS.iter().map(ring).collect(),
            mean: 0.0,
            count: 0.0,
            structure: false,
        }
    }

    /// Bytes of the forecasts that wait.
    pub(super) fn pending_bytes(&self) -> usize {
        self.said.iter().chain(&self.said_peaks).map(Ring::bytes).sum()
    }

    /// The scale: below a share of the mean load, differences count by amount.
    pub(super) fn scale(&self) -> Scale {
        Scale { floor: (FLOOR * f64::from(self.mean)).max(1e-9) }
    }

    /// Mixtures of all horizons as they are now.
    pub(super) fn mixes(&self) -> [Mix; HORIZONS.len()] {
        std::array::from_fn(|at| self.nodes[at].mix(HORIZONS[at] as f64 / DAY as f64, self.structure))
    }

    /// Learns from a slot that has closed.
    pub(super) fn learn(&mut self, history: &History, closed: Closed) {
        let slots_a_day = DAY as f64 / history.slot as f64;
        self.count = (self.count + 1.0).min(3.0 * slots_a_day as f32);
        self.mean += (closed.mean as f32 - self.mean) / self.count;
        let scale = self.scale();
        for (at, horizon) in HORIZONS.into_iter().enumerate() {
            if horizon >= history.slot {
                self.learn_node(at, history, scale, closed, slots_a_day);
            }
        }
        for (at, window) in WINDOWS.into_iter().enumerate() {
            if window >= history.slot {
                self.learn_peak(at, history, scale, closed.slot, slots_a_day);
            }
        }
        if closed.slot * history.slot - history.first > STRUCTURE_AFTER {
            self.judge();
        }
        self.say(history, scale, closed.slot);
    }

    fn learn_node(&mut self, at: usize, history: &History, scale: Scale, closed: Closed, a_day: f64) {
        let from = closed.slot - history.slots(HORIZONS[at]);
        let level = history.level_at(from);
        if level.is_nan() || history.mean(from).is_nan() {
            return;
        }
        let seasons = Seasons { history, scale, known: from };
        let origin = Origin::new(&seasons, from, level);
        let said = origin.say(&seasons, closed.slot);
        let days = HORIZONS[at] as f64 / DAY as f64;
        let mix = self.nodes[at].mix(days, true);
        let mean = scale.up(closed.mean);
        let forecast = self.said[at].get(closed.slot);
        let node = &mut self.nodes[at];
        node.learn(&said, mean, (LOSS_DAYS * a_day, RIDGE_DAYS * a_day), &mix);
        if !forecast.is_nan() {
            node.tracker.learn(
                &LEVELS,
                scale.up(closed.end) - scale.up(forecast),
                SIZE_DAYS * a_day,
                rate(HORIZONS[at]),
            );
        }
    }

    fn learn_peak(&mut self, at: usize, history: &History, scale: Scale, slot: i64, a_day: f64) {
        let highest = history.highest(slot, history.slots(WINDOWS[at]));
        let forecast = self.said_peaks[at].get(slot);
        if !highest.is_nan() && !forecast.is_nan() {
            let missed = scale.up(highest) - scale.up(forecast);
            self.peaks[at].learn(&PEAK_LEVELS, missed, SIZE_DAYS * a_day, rate(WINDOWS[at]));
        }
    }

    /// Whether seasons are worth something: how much less they miss than methods without, an hour to two days ahead.
    fn judge(&mut self) {
        let rivals = self.nodes.iter().zip(HORIZONS).filter(|(_, horizon)| *horizon >= 3600);
        let skills: Vec<f64> = rivals
            .filter_map(|(node, _)| node.rivals())
            .map(|(plain, seasonal)| if plain > 0.0 { 1.0 - seasonal / plain } else { 0.0 })
            .collect();
        let skill = skills.iter().sum::<f64>() / (skills.len() as f64).max(1.0);
        self.structure = if self.structure { skill > SKILL_OFF } else { skill > SKILL_ON };
    }

    /// Makes the forecasts that later slots are compared with.
    fn say(&mut self, history: &History, scale: Scale, slot: i64) {
        let seasons = Seasons { history, scale, known: slot };
        let origin = Origin::new(&seasons, slot, history.level_at(slot));
        let mixes = self.mixes();
        for (at, mix) in mixes.iter().enumerate() {
            let target = slot + history.slots(HORIZONS[at]);
            let value = mix.of(&origin.say(&seasons, target));
            self.said[at].set(target, scale.down(value));
        }
        let mut highest: f64 = 0.0;
        let mut ahead = 0;
        for (at, window) in WINDOWS.iter().enumerate() {
            let slots = history.slots(*window);
            let stride = (slots / 12).max(1);
            while ahead < slots {
                ahead = (ahead + stride).min(slots);
                let said = origin.say(&seasons, slot + ahead);
                let value =
                    between(&HORIZONS, history.slot, ahead * history.slot).blend(|at| mixes[at].of(&said));
                highest = highest.max(scale.down(value));
            }
            self.said_peaks[at].set(slot + slots, highest);
        }
    }
}
