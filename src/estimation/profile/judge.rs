//! Which shapes deserve a name. In: a `Profile`. Out: findings, at most one of each kind.
//!
//! Each rule asks for more than one sign, so that noise is not named: what is missed for some days costs
//! less than an owner who no longer reads. The bounds are held by `truth`, on usage whose shape is known.

use jiff::Timestamp;

use super::code::{decoded, distance_factor, factor};
use super::{CPU, DAYS, MEMORY, PART_SECONDS, PARTS, Profile, SLOT, SLOTS, is_high};
use crate::domain::quantity::Bytes;
use crate::domain::recommendation::Finding;

/// Seconds of a day.
const DAY: f32 = 86_400.0;
/// Nothing is said of a workload that was silent for so many seconds.
const SILENT_MAX: i64 = 3 * 86_400;
/// A life says something from so many parts and so many seconds on.
const LIFE_PARTS_MIN: usize = 6;
const LIFE_SECONDS_MIN: u32 = 6 * 3600;
/// A life grows that gains this share of its start, in each half a quarter of the gain, and no more than
/// half of it at once.
const GAIN_MIN: f32 = 0.1;
const GAIN_HALF_MIN: f32 = 0.25;
const GAIN_AT_ONCE_MAX: f32 = 0.5;
/// The order of values: share of pairs that rise, less those that fall.
const ORDER_MIN: f32 = 0.8;
/// Lives that grew before a leak is named, the present one included.
const LEAKS_MIN: u8 = 2;
/// Days that a trend is told from.
const TREND_DAYS_MIN: usize = 6;
/// A trend moves by this share of the level over the days seen.
const TREND_MIN: f32 = 0.1;
/// The share of the days' differences that a straight line explains.
const TREND_FIT_MIN: f32 = 0.8;
/// Days move together, lowest and highest points included: the least order of those.
const TREND_EDGE_ORDER_MIN: f32 = 0.5;
/// Days in a narrow band that make a plateau, and the band: the highest over the lowest.
const PLATEAU_DAYS: usize = 3;
const PLATEAU_BAND: f32 = 1.15;
/// A plateau lies so far over the start of the life.
const PLATEAU_RISE: f32 = 1.3;
/// Parts of a life on the plateau stay within this share of it.
const PLATEAU_PARTS: f32 = 0.08;
/// Lives whose start was high before that is named, and their share in all.
const STARTS_MIN: u8 = 2;
/// Days that a usual day is told from, how well days must fit it in percent, and its least ratio.
const RHYTHM_DAYS_MIN: u8 = 4;
const RHYTHM_FIT_MIN: i8 = 50;
const RHYTHM_RATIO_MIN: f32 = 1.5;

/// A life that is long enough to say something.
pub(super) struct Life {
    /// Its lowest points: the number of the part, and the amount.
    parts: [(f32, f32); PARTS],
    count: usize,
    /// Seconds of a part.
    width: f32,
    /// The newest of the lowest points.
    pub(super) end: f32,
}

impl Life {
    fn points(&self) -> &[(f32, f32)] {
        &self.parts[..self.count]
    }

    fn start(&self) -> f32 {
        self.parts[0].1
    }

    /// What it gained.
    pub(super) fn rise(&self) -> f32 {
        self.end - self.start()
    }

    /// Bytes per day, along a straight line.
    pub(super) fn growth_per_day(&self) -> f32 {
        line(self.points()).0 * DAY / self.width
    }

    /// Whether its lowest points grow as long as it lasts.
    pub(super) fn grows(&self) -> bool {
        let points = self.points();
        let rise = self.rise();
        let middle = points[points.len() / 2].1;
        let at_once = points.windows(2).map(|pair| pair[1].1 - pair[0].1).fold(0.0, f32::max);
        rise >= GAIN_MIN * self.start()
            && middle - self.start() >= GAIN_HALF_MIN * rise
            && self.end - middle >= GAIN_HALF_MIN * rise
            && at_once <= GAIN_AT_ONCE_MAX * rise
            && order(points) >= ORDER_MIN
    }
}

impl Profile {
    /// What the usage shows at `now`, the weightiest first.
    pub fn findings(&self, now: Timestamp) -> Vec<Finding> {
        if now.as_second() - i64::from(self.slot) * SLOT > SILENT_MAX {
            return Vec::new();
        }
        let leak = self.leak();
        let of_memory = if leak.is_some() { leak } else { self.plateau().or_else(|| self.trend()) };
        of_memory.into_iter().chain(self.startup_peak()).chain(self.daily()).collect()
    }

    /// The present life, where it is long enough to say something.
    pub(super) fn life(&self) -> Option<Life> {
        if self.last.wrapping_sub(self.first) < LIFE_SECONDS_MIN {
            return None;
        }
        let mut life = Life {
            parts: [(0.0, 0.0); PARTS],
            count: 0,
            width: (PART_SECONDS << self.width) as f32,
            end: 0.0,
        };
        for (place, part) in self.parts.iter().enumerate().filter(|(_, part)| **part != 0) {
            life.parts[life.count] = (place as f32, decoded(*part));
            life.end = decoded(*part);
            life.count += 1;
        }
        (life.count >= LIFE_PARTS_MIN).then_some(life)
    }

    /// Whether the present life began far below the end of one that grew.
    pub(super) fn has_fallen(&self) -> bool {
        self.parts[0] != 0 && self.parts[0] < self.fallen_below
    }

    fn leak(&self) -> Option<Finding> {
        let life = self.life();
        let grows = life.as_ref().filter(|life| life.grows());
        let grown = self.grown + u8::from(grows.is_some());
        let flat = self.flat + u8::from(life.is_some() && grows.is_none());
        let falls = self.falls + u8::from(self.has_fallen());
        if grown < LEAKS_MIN || falls == 0 || flat > grown / 2 {
            return None;
        }
        let earlier = decoded(self.growth);
        let growth = match grows {
            Some(life) if self.grown > 0 => f32::midpoint(earlier, life.growth_per_day()),
            Some(life) => life.growth_per_day(),
            None => earlier,
        };
        Some(Finding::Leak { bytes_per_day: f64::from(growth) })
    }

    /// The days that were seen: number, mean, lowest, highest.
    fn days(&self) -> impl Iterator<Item = (f32, f32, f32, f32)> {
        self.days.iter().enumerate().filter(|(_, day)| day.mean != 0).map(|(number, day)| {
            let mean = decoded(day.mean);
            (number as f32, mean, mean / distance_factor(day.below), mean * distance_factor(day.above))
        })
    }

    fn trend(&self) -> Option<Finding> {
        let mut edges = [[(0.0, 0.0); DAYS]; 3];
        let mut count = 0;
        for (number, mean, lowest, highest) in self.days() {
            for (edge, amount) in edges.iter_mut().zip([mean, lowest, highest]) {
                edge[count] = (number, amount);
            }
            count += 1;
        }
        let [means, lowest, highest] = edges.each_ref().map(|edge| &edge[..count]);
        if count < TREND_DAYS_MIN {
            return None;
        }
        let (slope, fit) = line(means);
        let (first, last) = (means[0].1, means[count - 1].1);
        let moved = last - first;
        let at_once = means.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs()).fold(0.0, f32::max);
        let sign = moved.signum();
        let steady = moved.abs() >= TREND_MIN * first.min(last)
            && at_once <= GAIN_AT_ONCE_MAX * moved.abs()
            && fit >= TREND_FIT_MIN
            && order(means) * sign >= ORDER_MIN
            && order(lowest) * sign >= TREND_EDGE_ORDER_MIN
            && order(highest) * sign >= TREND_EDGE_ORDER_MIN;
        steady.then_some(Finding::Trend { bytes_per_day: f64::from(slope) })
    }

    fn plateau(&self) -> Option<Finding> {
        let life = self.life()?;
        let days_of_life = self.last.wrapping_sub(self.first) as f32 / DAY;
        if days_of_life < PLATEAU_DAYS as f32 + 1.0
            || self.days[DAYS - PLATEAU_DAYS..].iter().any(|day| day.mean == 0)
        {
            return None;
        }
        let newest = || self.days().filter(|(number, ..)| *number >= (DAYS - PLATEAU_DAYS) as f32);
        let lowest = newest().map(|(_, _, lowest, _)| lowest).fold(f32::INFINITY, f32::min);
        let highest = newest().map(|(.., highest)| highest).fold(0.0, f32::max);
        let points = life.points();
        let level =
            points[points.len() / 2..].iter().map(|(_, amount)| *amount).fold(f32::INFINITY, f32::min);
        let climbing =
            points.iter().take_while(|(_, amount)| *amount < level * (1.0 - PLATEAU_PARTS)).count();
        let on_it =
            points[climbing..].iter().all(|(_, amount)| (amount / level - 1.0).abs() <= PLATEAU_PARTS);
        // It climbs from its start on: what was level first and then higher is a step.
        let climbs = points[..=climbing].windows(2).all(|pair| pair[1].1 > pair[0].1 * 1.02);
        let named = highest <= PLATEAU_BAND * lowest
            && level >= PLATEAU_RISE * life.start()
            && climbing <= points.len().div_ceil(4)
            && on_it
            && climbs;
        named.then(|| Finding::Plateau { memory: Bytes::from_f64(f64::from(highest)) })
    }

    fn startup_peak(&self) -> Option<Finding> {
        let present = self.start_and_rest();
        let is_high = present.is_some_and(|(start, since)| is_high(start, since));
        let high = self.high + u8::from(is_high);
        let low = self.low + u8::from(present.is_some() && !is_high);
        if high < STARTS_MIN || low > high / 2 {
            return None;
        }
        let (start, since) = match present.filter(|_| is_high) {
            Some(present) => present,
            None => (decoded(self.high_start), decoded(self.high_since)),
        };
        let bytes = |amount: f32| Bytes::from_f64(f64::from(amount));
        Some(Finding::StartupPeak { memory: bytes(start), settled: bytes(since) })
    }

    fn daily(&self) -> Option<Finding> {
        let ratio = |resource: usize| {
            let known = self.learnt[resource] >= RHYTHM_DAYS_MIN && self.fit[resource] >= RHYTHM_FIT_MIN;
            let slots: [i8; SLOTS] = self.usual[resource];
            let (lowest, highest) = (slots.iter().min()?, slots.iter().max()?);
            let ratio = factor(f32::from(*highest) - f32::from(*lowest));
            (known && ratio >= RHYTHM_RATIO_MIN).then_some(ratio)
        };
        let ratio = [ratio(CPU), ratio(MEMORY)].into_iter().flatten().reduce(f32::max)?;
        Some(Finding::Daily { ratio: f64::from(ratio) })
    }
}

/// Slope of the straight line through points, and the share of their differences that it explains.
fn line(points: &[(f32, f32)]) -> (f32, f32) {
    let count = points.len() as f32;
    let mean = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in points.iter().map(|point| (point.0 - mean.0, point.1 - mean.1)) {
        (xx, xy, yy) = (xx + x * x, xy + x * y, yy + y * y);
    }
    if xx == 0.0 || yy == 0.0 { (0.0, 0.0) } else { (xy / xx, xy * xy / (xx * yy)) }
}

/// The share of pairs that rise, less those that fall (Kendall's tau); less than 1 % apart is neither.
fn order(points: &[(f32, f32)]) -> f32 {
    let (mut sum, mut pairs) = (0.0, 0.0);
    for (place, (_, earlier)) in points.iter().enumerate() {
        for (_, later) in &points[place + 1..] {
            pairs += 1.0;
            if (later - earlier).abs() > 0.01 * earlier.max(*later) {
                sum += (later - earlier).signum();
            }
        }
    }
    if pairs == 0.0 { 0.0 } else { sum / pairs }
}
