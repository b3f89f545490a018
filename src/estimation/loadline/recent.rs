//! What is remembered of one resource of one workload: a few hundred bytes, whatever its age.
//!
//! In: usage as natural logarithms, in slots of five minutes. Out: a `Context`: reference levels that
//! candidate limits are multiples of, and features that say how far usage may go next. Not here: what a
//! limit costs (`sizer`).

use serde::{Deserialize, Serialize};

/// Seconds of a slot.
pub const SLOT_SECONDS: i64 = 300;
/// Slots of an hour and of a day.
const HOUR: i32 = 12;
pub(super) const DAY: i32 = 288;

/// Stands for "nothing seen" among logarithms: below every level, and no infinity for arithmetic to spread.
const NOTHING: f32 = -1e9;

/// Reference levels: the last slot, the highest of 1 h, 3 h, 6 h, 1 d, 3 d, 8 d and 14 d, and the highest of
/// the last slot and of this time yesterday.
pub const REFERENCES: usize = 9;
/// What a context says besides.
pub const FEATURES: usize = 22;

/// Since when a kill no longer matters, in slots.
const KILL_FADES: i32 = DAY;

/// The logarithm of an amount in 16 bits, rounded up by at most 0.07 %: from 6e-6 to 1e15. Zero is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Level(u16);

impl Level {
    const LOWEST: f32 = -12.0;
    const PER_UNIT: f32 = 1400.0;

    fn of(ln: f32) -> Self {
        Self(((ln - Self::LOWEST) * Self::PER_UNIT).ceil().clamp(1.0, 65_535.0) as u16)
    }

    fn ln(self) -> f32 {
        if self.0 == 0 { NOTHING } else { f32::from(self.0) / Self::PER_UNIT + Self::LOWEST }
    }
}

/// Highest levels of the last N units of time, by the unit's number modulo N.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ring<const N: usize>
where
    [Level; N]: Serialize + for<'a> Deserialize<'a>,
{
    highest: [Level; N],
}

impl<const N: usize> Default for Ring<N>
where
    [Level; N]: Serialize + for<'a> Deserialize<'a>,
{
    fn default() -> Self {
        Self { highest: [Level::default(); N] }
    }
}

impl<const N: usize> Ring<N>
where
    [Level; N]: Serialize + for<'a> Deserialize<'a>,
{
    /// Units that are kept.
    #[expect(clippy::cast_possible_wrap, reason = "units are few")]
    const UNITS: i32 = N as i32;

    fn place(unit: i32) -> usize {
        unit.rem_euclid(Self::UNITS) as usize
    }

    /// Takes in a level of unit `now`, the last one taken in being of unit `last`.
    fn push(&mut self, last: i32, now: i32, level: Level) {
        let passed = now.saturating_sub(last).clamp(0, Self::UNITS);
        for unit in 0..passed {
            self.highest[Self::place(now - unit)] = Level::default();
        }
        let place = &mut self.highest[Self::place(now)];
        *place = level.max(*place);
    }

    /// The highest of the units from `ago.0` to `ago.1` before `now`, both included. `last` is the unit of
    /// the newest level.
    fn highest(&self, (last, now): (i32, i32), ago: (i32, i32)) -> f32 {
        let newest = (now - ago.0).min(last);
        let oldest = (now - ago.1).max(last - (Self::UNITS - 1));
        if oldest > newest {
            return Level::default().ln();
        }
        let (from, to) = (Self::place(oldest), Self::place(newest));
        let most = |levels: &[Level]| levels.iter().copied().fold(Level::default(), Level::max);
        // The units lie in one piece, or in two around the ring's end.
        if from <= to {
            most(&self.highest[from..=to]).ln()
        } else {
            most(&self.highest[from..]).max(most(&self.highest[..=to])).ln()
        }
    }
}

/// What is known when a limit is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Context {
    /// Levels as logarithms; see `REFERENCES`.
    pub references: [f32; REFERENCES],
    /// Ratios of levels, swings, age, own history of surprises, time since a kill, length of the gap.
    pub features: [f32; FEATURES],
}

/// The memory of one resource of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    slots: Ring<12>,
    hours: Ring<24>,
    days: Ring<14>,
    /// The slot that is filling and its highest.
    open: i32,
    peak: f32,
    /// The highest of the slot before.
    before_peak: f32,
    /// Means of the logarithm over a day, and of its steps over half an hour and three days.
    level: f32,
    swing_fast: f32,
    swing_slow: f32,
    /// Share of slots that passed each of `Recent::surprises`, over ten days.
    beyond: [f32; 6],
    /// How many slots before the one that is filling the slot before and the last kill were; at most
    /// `u16::MAX`, which stands for never as well.
    before_ago: u16,
    killed_ago: u16,
    /// Slots seen, up to `CLOSED_MOST`.
    closed: u16,
    /// Samples of the slot that is filling and of the one before, up to 255: with so many it says enough.
    samples: u8,
    before_samples: u8,
}

/// The count of slots goes no higher, in steps of an hour, so that its remainder goes on.
const CLOSED_MOST: u16 = 60_000;

impl Default for Recent {
    fn default() -> Self {
        Self {
            slots: Ring::default(),
            hours: Ring::default(),
            days: Ring::default(),
            open: i32::MIN / 2,
            peak: NOTHING,
            before_peak: NOTHING,
            level: 0.0,
            swing_fast: 0.0,
            swing_slow: 0.0,
            beyond: [0.0; 6],
            before_ago: u16::MAX,
            killed_ago: u16::MAX,
            closed: 0,
            samples: 0,
            before_samples: 0,
        }
    }
}

/// Slots from one to another as they are kept.
fn ago(slots: i32) -> u16 {
    u16::try_from(slots.max(0)).unwrap_or(u16::MAX)
}

impl Recent {
    /// Whether nothing was taken in yet.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// The newest slot.
    pub fn slot(&self) -> i32 {
        self.open
    }

    /// Slots seen, the one that is filling among them.
    pub fn age(&self) -> u32 {
        u32::from(self.closed) + u32::from(!self.is_empty())
    }

    /// Takes in usage. True where it is news: a new slot, or a new highest of the slot.
    pub fn observe(&mut self, slot: i32, ln: f32) -> bool {
        if slot > self.open || self.is_empty() {
            self.close();
            let passed = ago(slot.saturating_sub(self.open));
            (self.before_ago, self.killed_ago) = (passed, self.killed_ago.saturating_add(passed));
            (self.open, self.peak, self.samples) = (slot, ln, 1);
            return true;
        }
        self.samples = self.samples.saturating_add(1);
        let news = ln > self.peak;
        self.peak = self.peak.max(ln);
        news
    }

    /// Takes in that usage reached `ln` at least, and that a task was killed for it.
    pub fn killed(&mut self, slot: i32, ln: f32) {
        if slot > self.open || self.is_empty() {
            self.observe(slot, ln);
        }
        self.peak = self.peak.max(ln);
        self.killed_ago = ago(self.open - slot);
    }

    /// The levels whose passing is remembered as a surprise.
    fn surprises(references: &[f32; REFERENCES]) -> [f32; 6] {
        let [last, hour, _, six, day, .., fortnight, _] = *references;
        [last + 0.1, hour + 0.05, six + 0.05, day + 0.02, day + 0.15, fortnight + 0.02]
    }

    /// What was known before the slot that is filling, and its highest; absent in the first slot.
    pub fn closing(&self) -> Option<([f32; REFERENCES], f32)> {
        (self.closed > 0).then(|| (self.references(self.open, None), self.peak))
    }

    fn close(&mut self) {
        if self.is_empty() {
            return;
        }
        let (slot, peak) = (self.open, self.peak);
        let share = |of: f32| (1.0 / of).max(1.0 / (f32::from(self.closed) + 1.0));
        if self.closed == 0 {
            self.level = peak;
        } else {
            let passed = Self::surprises(&self.references(slot, None)).map(|level| peak > level);
            let rate = share(10.0 * DAY as f32);
            for (beyond, passed) in self.beyond.iter_mut().zip(passed) {
                *beyond += rate * (f32::from(u8::from(passed)) - *beyond);
            }
            let step = (peak - self.before_peak).abs();
            let (slow, day) = (share(3.0 * DAY as f32), share(DAY as f32));
            self.swing_fast += (step - self.swing_fast) / 6.0;
            self.swing_slow += slow * (step - self.swing_slow);
            self.level += day * (peak - self.level);
        }
        let level = Level::of(peak);
        let last = if self.closed == 0 { slot - 14 * DAY } else { self.before() };
        self.slots.push(last, slot, level);
        self.hours.push(last.div_euclid(HOUR), slot.div_euclid(HOUR), level);
        self.days.push(last.div_euclid(DAY), slot.div_euclid(DAY), level);
        (self.before_peak, self.before_samples) = (peak, self.samples);
        self.closed += 1;
        if self.closed == CLOSED_MOST {
            self.closed -= HOUR as u16;
        }
    }

    /// The slot before the one that is filling.
    fn before(&self) -> i32 {
        self.open - i32::from(self.before_ago)
    }

    /// The reference levels for usage in slot `at`, of closed slots and, where given, the open one's highest.
    fn references(&self, at: i32, open: Option<f32>) -> [f32; REFERENCES] {
        let last = match open {
            // A slot that has just begun says little: the one before stands beside it.
            Some(peak) if self.samples < self.before_samples && self.before_ago <= 1 => {
                peak.max(self.before_peak)
            }
            Some(peak) => peak,
            None => self.before_peak,
        };
        if self.closed == 0 {
            return [last; REFERENCES];
        }
        let before = self.before();
        let hours = (before.div_euclid(HOUR), at.div_euclid(HOUR));
        let days = (before.div_euclid(DAY), at.div_euclid(DAY));
        let hour = last.max(self.slots.highest((before, at), (1, 12)));
        let three = hour.max(self.hours.highest(hours, (0, 3)));
        let six = three.max(self.hours.highest(hours, (4, 6)));
        let day = six.max(self.hours.highest(hours, (7, 23)));
        let three_days = day.max(self.days.highest(days, (0, 2)));
        let eight_days = three_days.max(self.days.highest(days, (3, 7)));
        let fortnight = eight_days.max(self.days.highest(days, (8, 13)));
        let season = last.max(self.hours.highest(hours, (22, 23)));
        [last, hour, three, six, day, three_days, eight_days, fortnight, season]
    }

    /// What is known of usage in slot `at`, which is to come; absent where nothing was seen.
    pub fn context(&self, at: i32) -> Option<Context> {
        if self.is_empty() {
            return None;
        }
        let references = self.references(at, Some(self.peak));
        let last = references[0];
        let step = if self.closed == 0 { 0.0 } else { (self.peak - self.before_peak).abs() };
        let fast = self.swing_fast + (step - self.swing_fast) / 6.0;
        let level = if self.closed == 0 { last } else { self.level };
        let mut features = [0.0; FEATURES];
        for (feature, reference) in features.iter_mut().zip(&references[1..]) {
            *feature = reference - last;
        }
        features[8] = references[7] - references[4];
        features[9] = references[4] - references[1];
        features[10] = level - last;
        features[11] = (fast + 1e-4).ln();
        features[12] = (self.swing_slow + 1e-4).ln();
        features[13] = (self.age() as f32).ln();
        features[14..20].copy_from_slice(&self.beyond);
        let killed = at.saturating_sub(self.open).saturating_add(i32::from(self.killed_ago));
        features[20] = killed.min(KILL_FADES) as f32;
        features[21] = at.saturating_sub(self.open).min(14 * DAY) as f32;
        Some(Context { references, features })
    }
}
