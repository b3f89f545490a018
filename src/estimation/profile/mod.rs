//! The shape of a workload's usage over its last days, in 160 bytes: what `judge` names findings from.
//!
//! In: samples and restarts of its tasks, about in the order of time. Out: days, a usual day, the course of
//! one task's life, and how earlier lives ended. Not here: which shape deserves a name (`judge`), sizes.
//!
//! Days, and the hours of a usual day, are taken over all tasks. Lives are told of one task at a time: the
//! one that has been followed longest, until it ends; then its successor.

mod code;
mod judge;
#[cfg(test)]
mod truth;

use jiff::Timestamp;

use crate::estimation::profile::code::{Visit, code, decoded, distance, log_steps};

/// Seconds of a slot of the day.
const SLOT: i64 = 3 * 3600;
/// Slots of a day.
const SLOTS: usize = 8;
const SLOTS_OF_DAY: i32 = 8;
/// Days that are remembered.
const DAYS: usize = 8;
/// A day with usage in fewer slots tells nothing.
const DAY_SLOTS_MIN: u32 = 4;
/// A day with usage in fewer slots tells nothing of the usual day.
const RHYTHM_SLOTS_MIN: u32 = 6;
/// Parts of a task's life; when they are full, two become one.
const PARTS: usize = 12;
/// Seconds of the first parts of a life.
const PART_SECONDS: u32 = 60;
/// Parts have been doubled so often at most: a life of 190 years.
const WIDTH_MAX: u8 = 23;
/// A task is starting for so many seconds.
const STARTING_SECONDS: u32 = 30 * 60;
/// A life must be so long for its start to be compared with the rest.
const STARTED_SECONDS: u32 = 2 * 3600;
/// A task that was silent for so many seconds may have been restarted, or replaced by a newer one.
const SILENCE_SECONDS: i32 = 15 * 60;
/// A task that was silent for so many seconds is no longer followed.
const GONE_SECONDS: i32 = 3 * 3600;
/// Memory that fell by this factor over a silence tells of a restart.
const FALLEN: f32 = 0.9;
/// A start is high from this factor over the rest on.
const START_HIGH: f32 = 1.5;
/// When so many lives were counted, all counts are halved: the old ones fade.
const LIVES_MAX: u8 = 12;
/// Days in which the usual day is learnt as a plain mean; then the newest counts a fourth.
const RHYTHM_DAYS: u8 = 4;
/// Less than these amounts is noise, however it swings: cores and bytes.
const NOISE: [f32; 2] = [0.02, 4.0 * 1_048_576.0];
/// Places of the two resources.
const CPU: usize = 0;
const MEMORY: usize = 1;

/// Something was seen.
const SEEN: u8 = 1;
/// The start of the present life was seen.
const START_SEEN: u8 = 2;

/// One day of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Day {
    /// The mean; 0 where too little was seen.
    mean: u16,
    /// How far the lowest lay under the mean (`code::distance`).
    below: u8,
    /// How far the highest lay above the mean.
    above: u8,
}

/// What is remembered of the shape of a workload's usage. Instants are seconds, wrapped to 32 bits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// The slot that is going on, counted from the epoch.
    slot: i32,
    /// The task that is followed, its first and its last instant.
    task: u32,
    first: u32,
    last: u32,
    /// The task with the highest number, when it was first seen, and its highest memory while starting:
    /// the successor starts before the followed one is known to be gone.
    newest: u32,
    newest_first: u32,
    newest_starting: u16,
    /// The slot so far: sums and numbers of CPU and memory.
    sums: [f32; 2],
    counts: [u16; 2],
    /// The day so far, memory: the sum of its slots' means, the lowest and the highest.
    day_sum: f32,
    day_lowest: u16,
    day_highest: u16,
    /// The day's slots so far (`code::log_steps`), and a bit for each that is there.
    today: [[u8; SLOTS]; 2],
    there: [u8; 2],
    /// The slots of the usual day, in steps above its mean; how well days fit it, in percent; days that
    /// it was learnt from.
    usual: [[i8; SLOTS]; 2],
    fit: [i8; 2],
    learnt: [u8; 2],
    /// The last days, the newest at the end.
    days: [Day; DAYS],
    /// The lowest memory in each part of the present life, 0 where none was seen; parts last
    /// `PART_SECONDS << width`.
    parts: [u16; PARTS],
    width: u8,
    flags: u8,
    /// Growth in bytes a day of lives that grew, and how many did; lives that did not.
    growth: u16,
    grown: u8,
    flat: u8,
    /// A life that begins below this level fell from the one before, which grew; 0 where that did not.
    fallen_below: u16,
    falls: u8,
    /// The highest memory of the present life: while starting, and since.
    starting: u16,
    since: u16,
    /// The same of lives whose start was high, and how many were; and how many were not.
    high_start: u16,
    high_since: u16,
    high: u8,
    low: u8,
}

impl Profile {
    /// Takes in what a task used in the interval that ends at `at`: cores and bytes. A task whose start is
    /// seen should have a higher number than all before it; nothing else is told from numbers.
    pub fn observe(&mut self, task: u64, at: Timestamp, cpu: Option<f32>, memory: Option<f32>) {
        let seconds = at.as_second();
        let slot = seconds.div_euclid(SLOT) as i32;
        if slot != self.slot {
            self.turn(slot);
        }
        if let Some(cpu) = cpu.filter(|cpu| cpu.is_finite() && *cpu >= 0.0) {
            self.add(CPU, cpu);
        }
        let Some(memory) = memory.filter(|memory| memory.is_finite() && *memory > 0.0) else { return };
        self.add(MEMORY, memory);
        let memory = code(memory);
        if self.day_lowest == 0 || memory < self.day_lowest {
            self.day_lowest = memory;
        }
        self.day_highest = self.day_highest.max(memory);
        let (task, now) = (task as u32, seconds as u32);
        if task != self.task || self.flags & SEEN == 0 {
            self.other(task, now, memory);
        }
        if task == self.task {
            self.live(now, memory);
        }
    }

    /// A task's process began anew at `at`, for whatever reason; its next sample is of another life.
    pub fn restarted(&mut self, task: u64, at: Timestamp) {
        let (task, now) = (task as u32, at.as_second() as u32);
        if self.flags & SEEN != 0 && task == self.task {
            self.end_life();
            self.begin_life(task, now, true);
        }
    }

    /// Whether it can have come from samples: for what is read from a disk.
    fn is_sound(&self) -> bool {
        let sums = [self.sums[CPU], self.sums[MEMORY], self.day_sum];
        self.width <= WIDTH_MAX && sums.iter().all(|sum| sum.is_finite() && *sum >= 0.0)
    }

    fn visit(&mut self, visit: &mut impl Visit) {
        visit.i32(&mut self.slot);
        for instant in [&mut self.task, &mut self.first, &mut self.last, &mut self.newest] {
            visit.u32(instant);
        }
        visit.u32(&mut self.newest_first);
        visit.u16(&mut self.newest_starting);
        self.sums.iter_mut().for_each(|sum| visit.f32(sum));
        self.counts.iter_mut().for_each(|count| visit.u16(count));
        visit.f32(&mut self.day_sum);
        visit.u16(&mut self.day_lowest);
        visit.u16(&mut self.day_highest);
        self.today.iter_mut().for_each(|slots| visit.bytes(slots));
        visit.bytes(&mut self.there);
        self.usual.as_flattened_mut().iter_mut().for_each(|slot| visit.i8(slot));
        self.fit.iter_mut().for_each(|fit| visit.i8(fit));
        visit.bytes(&mut self.learnt);
        for day in &mut self.days {
            visit.u16(&mut day.mean);
            visit.u8(&mut day.below);
            visit.u8(&mut day.above);
        }
        self.parts.iter_mut().for_each(|part| visit.u16(part));
        visit.u8(&mut self.width);
        visit.u8(&mut self.flags);
        for level in [&mut self.growth, &mut self.fallen_below, &mut self.starting, &mut self.since] {
            visit.u16(level);
        }
        visit.u16(&mut self.high_start);
        visit.u16(&mut self.high_since);
        for count in [&mut self.grown, &mut self.flat, &mut self.falls, &mut self.high, &mut self.low] {
            visit.u8(count);
        }
    }

    fn add(&mut self, resource: usize, amount: f32) {
        let (sum, count) = (&mut self.sums[resource], &mut self.counts[resource]);
        if *count == u16::MAX {
            // Many tasks, often sampled: the mean stays, and what comes weighs twice from here on.
            *sum *= 0.5;
            *count /= 2;
        }
        *sum += amount;
        *count += 1;
    }

    /// A sample of another slot came: closes the present one, and the day where it is over.
    fn turn(&mut self, slot: i32) {
        if self.flags & SEEN == 0 && self.counts == [0; 2] {
            self.slot = slot;
            return;
        }
        // Tasks are not sampled at the same instant: what comes late counts to the slot that goes on.
        if slot < self.slot {
            return;
        }
        let place = self.slot.rem_euclid(SLOTS_OF_DAY) as usize;
        for resource in [CPU, MEMORY] {
            let count = self.counts[resource];
            if count == 0 {
                continue;
            }
            let mean = self.sums[resource] / f32::from(count);
            self.today[resource][place] = log_steps(mean.max(NOISE[resource]));
            self.there[resource] |= 1 << place;
            if resource == MEMORY {
                self.day_sum += mean;
            }
        }
        (self.sums, self.counts) = ([0.0; 2], [0; 2]);
        let days = slot.div_euclid(SLOTS_OF_DAY) - self.slot.div_euclid(SLOTS_OF_DAY);
        if days > 0 {
            self.end_day();
            for _ in (1..days).take(DAYS) {
                self.push(Day::default());
            }
        }
        self.slot = slot;
    }

    fn push(&mut self, day: Day) {
        self.days.rotate_left(1);
        self.days[DAYS - 1] = day;
    }

    fn end_day(&mut self) {
        let slots = self.there[MEMORY].count_ones();
        let mut day = Day::default();
        if slots >= DAY_SLOTS_MIN {
            let mean = self.day_sum / slots as f32;
            day = Day {
                mean: code(mean),
                below: distance(mean, decoded(self.day_lowest)),
                above: distance(decoded(self.day_highest), mean),
            };
        }
        self.push(day);
        self.learn(CPU);
        self.learn(MEMORY);
        (self.day_sum, self.day_lowest, self.day_highest) = (0.0, 0, 0);
        self.there = [0; 2];
    }

    /// Takes a day into the usual day: first how well it fits, then what it adds.
    fn learn(&mut self, resource: usize) {
        let there = self.there[resource];
        if there.count_ones() < RHYTHM_SLOTS_MIN {
            return;
        }
        let slots = self.today[resource];
        let one = slots[there.trailing_zeros() as usize];
        let mut above = slots.map(|slot| f32::from(slot.wrapping_sub(one).cast_signed()));
        let is_there = |slot: usize| there & (1 << slot) != 0;
        let present = |values: &[f32; SLOTS]| -> f32 {
            values.iter().enumerate().filter(|(slot, _)| is_there(*slot)).map(|(_, value)| value).sum()
        };
        let mean = present(&above) / there.count_ones() as f32;
        for slot in &mut above {
            *slot -= mean;
        }
        let usual = self.usual[resource].map(f32::from);
        let energy = |values: [f32; SLOTS]| present(&values.map(|value| value * value));
        let (swing, expected) = (energy(above), energy(usual));
        let learnt = &mut self.learnt[resource];
        // A day off says nothing of the others.
        if *learnt > 0 && swing > expected / 4.0 {
            let missed = energy(std::array::from_fn(|slot| above[slot] - usual[slot]));
            let fit = (1.0 - missed / swing).max(-1.0) * 100.0;
            let before = f32::from(self.fit[resource]);
            let fit = if *learnt == 1 { fit } else { before + (fit - before) / 4.0 };
            self.fit[resource] = fit.round() as i8;
        }
        *learnt = learnt.saturating_add(1);
        let share = f32::from((*learnt).min(RHYTHM_DAYS));
        for slot in (0..SLOTS).filter(|slot| is_there(*slot)) {
            let step = (above[slot] - usual[slot]) / share;
            // Whole steps only: at least one where there is a difference, so that it is reached.
            let step = if (above[slot] - usual[slot]).abs() < 0.5 {
                0.0
            } else {
                step.signum() * step.abs().max(1.0)
            };
            self.usual[resource][slot] = (usual[slot] + step).round() as i8;
        }
    }

    /// A sample of a task that is not followed: takes it up where the followed one is gone.
    fn other(&mut self, task: u32, now: u32, memory: u16) {
        if self.flags & SEEN == 0 {
            self.begin_life(task, now, false);
            (self.newest, self.newest_first) = (task, now);
            return;
        }
        if task > self.newest {
            (self.newest, self.newest_first, self.newest_starting) = (task, now, memory);
        } else if task == self.newest && now.wrapping_sub(self.newest_first) < STARTING_SECONDS {
            self.newest_starting = self.newest_starting.max(memory);
        }
        let silent = now.wrapping_sub(self.last).cast_signed();
        let younger = self.newest_first.wrapping_sub(self.first).cast_signed() > 0;
        if task == self.newest && younger && silent > SILENCE_SECONDS {
            self.end_life();
            self.begin_life(task, self.newest_first, true);
            self.starting = self.newest_starting;
        } else if silent > GONE_SECONDS {
            self.end_life();
            self.begin_life(task, now, false);
        }
    }

    fn begin_life(&mut self, task: u32, now: u32, start_seen: bool) {
        (self.task, self.first, self.last) = (task, now, now);
        (self.parts, self.width) = ([0; PARTS], 0);
        (self.starting, self.since) = (0, 0);
        self.flags = if start_seen { SEEN | START_SEEN } else { SEEN };
    }

    /// A sample of the task that is followed.
    fn live(&mut self, now: u32, memory: u16) {
        let silent = now.wrapping_sub(self.last).cast_signed();
        if silent > SILENCE_SECONDS {
            let before = self.parts.iter().rev().find(|part| **part != 0).copied().unwrap_or_default();
            if decoded(memory) < FALLEN * decoded(before) {
                self.end_life();
                self.begin_life(self.task, now, true);
            }
        } else if silent < 0 {
            return;
        }
        self.last = now;
        let age = now.wrapping_sub(self.first);
        let highest = if age < STARTING_SECONDS { &mut self.starting } else { &mut self.since };
        *highest = memory.max(*highest);
        let mut place = (age / PART_SECONDS) >> self.width;
        while place >= PARTS as u32 {
            self.widen();
            place >>= 1;
        }
        let part = &mut self.parts[place as usize];
        if *part == 0 || memory < *part {
            *part = memory;
        }
    }

    fn widen(&mut self) {
        for place in 0..PARTS {
            let pair = self.parts.get(2 * place..2 * place + 2).unwrap_or_default();
            self.parts[place] = pair.iter().copied().filter(|part| *part != 0).min().unwrap_or_default();
        }
        self.width = (self.width + 1).min(WIDTH_MAX);
    }

    /// Notes how the present life went.
    fn end_life(&mut self) {
        if let Some(life) = self.life() {
            self.falls += u8::from(self.has_fallen());
            let end = decoded(code(life.end));
            if life.grows() {
                let earlier = decoded(self.growth);
                let growth = life.growth_per_day();
                self.growth = code(if self.grown == 0 { growth } else { f32::midpoint(earlier, growth) });
                self.grown += 1;
                self.fallen_below = code(end - life.rise() / 2.0);
            } else {
                self.flat += 1;
                self.fallen_below = 0;
            }
            if self.grown + self.flat > LIVES_MAX {
                for count in [&mut self.grown, &mut self.flat, &mut self.falls] {
                    *count /= 2;
                }
            }
        }
        if let Some((start, since)) = self.start_and_rest() {
            if is_high(start, since) {
                (self.high_start, self.high_since) =
                    (self.mixed(self.high_start, start), self.mixed(self.high_since, since));
                self.high += 1;
            } else {
                self.low += 1;
            }
            if self.high + self.low > LIVES_MAX {
                (self.high, self.low) = (self.high / 2, self.low / 2);
            }
        }
    }

    fn mixed(&self, before: u16, amount: f32) -> u16 {
        code(if self.high == 0 { amount } else { f32::midpoint(decoded(before), amount) })
    }

    /// The highest memory while the present life started and since, where both were seen for long enough.
    fn start_and_rest(&self) -> Option<(f32, f32)> {
        let long = self.last.wrapping_sub(self.first) >= STARTED_SECONDS;
        let seen = self.flags & START_SEEN != 0 && self.starting != 0 && self.since != 0;
        (long && seen).then(|| (decoded(self.starting), decoded(self.since)))
    }
}

fn is_high(start: f32, since: f32) -> bool {
    start >= START_HIGH * since
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    /// Anything that may come: gaps, several tasks, nonsense.
    fn lived(seed: u64) -> Profile {
        let mut profile = Profile::default();
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 40
        };
        let mut seconds = 1_700_000_000;
        for _ in 0..3000 {
            seconds += 60 + (draw() % 2000).cast_signed();
            let odd = draw() % 50;
            let amount = match odd {
                0 => f32::NAN,
                1 => -1.0,
                2 => f32::INFINITY,
                _ => (draw() % 1_000_000) as f32 * 1000.0,
            };
            profile.observe(draw() % 5, at(seconds), Some(amount / 1e8), (odd != 3).then_some(amount));
            if odd == 4 {
                profile.restarted(draw() % 5, at(seconds));
            }
        }
        profile
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Profile>() <= 160, "{} bytes", size_of::<Profile>());
    }

    #[test]
    fn a_checkpoint_is_exact_and_what_is_no_checkpoint_is_refused() {
        for seed in 0..20 {
            let profile = lived(seed);
            let mut bytes = Vec::new();
            profile.write(&mut bytes);
            assert_eq!(Profile::from_bytes(&bytes).as_ref(), Some(&profile));
            let text = serde_json::to_string(&profile).expect("text");
            assert_eq!(serde_json::from_str::<Profile>(&text).expect("the same"), profile);
            // What comes next is the same too.
            let (mut one, mut other) = (profile.clone(), Profile::from_bytes(&bytes).expect("the same"));
            for profile in [&mut one, &mut other] {
                profile.observe(1, at(1_800_000_000), Some(0.5), Some(1e9));
            }
            assert_eq!(one, other);
            for cut in [0, 1, bytes.len() - 1] {
                assert_eq!(Profile::from_bytes(&bytes[..cut]), None);
            }
            bytes[0] += 1;
            assert_eq!(Profile::from_bytes(&bytes), None, "another version");
        }
        for text in ["\"\"", "\"0\"", "\"zz\"", "7", "\"01\""] {
            assert!(serde_json::from_str::<Profile>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_of_a_life_keep_its_lowest_points() {
        let mut profile = Profile::default();
        for minute in 0..1000_i64 {
            profile.observe(1, at(minute * 60), None, Some((1000 + minute) as f32));
        }
        // 1000 minutes in parts of 128: eight of them.
        assert_eq!(profile.width, 7);
        for (place, part) in profile.parts.iter().enumerate() {
            let expected = if place < 8 { 1000.0 + 128.0 * place as f32 } else { 0.0 };
            assert!((decoded(*part) - expected).abs() <= expected * 0.004, "{place}: {}", decoded(*part));
        }
    }

    #[test]
    fn a_successor_is_followed_from_its_first_sample_on() {
        let mut profile = Profile::default();
        for minute in 0..300_i64 {
            let seconds = minute * 60;
            // Task 1 ends after 200 minutes, task 3 came 10 minutes before, task 2 is there all the time.
            for (task, runs) in [(1, minute < 200), (2, true), (3, minute >= 190)] {
                if runs {
                    profile.observe(task, at(seconds), None, Some(1e8 * task as f32));
                }
            }
        }
        assert_eq!((profile.task, profile.first), (3, 190 * 60));
        assert_eq!(profile.flags & START_SEEN, START_SEEN);
    }
}
