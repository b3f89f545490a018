//! What a second of too little capacity costs, so that the budget is used up and no more.
//!
//! In: what the load may be, what came. Out: the price. The dual of "the least instance-hours within a
//! budget of time": one price for all times, so that the budget goes to where it saves the most.
//! For each price of a ladder it is known what share of time would have been short of late; the price is
//! the one whose share is the budget, moved by what the past has used more or less than its part.

use serde::{Deserialize, Serialize};

use crate::scaling::counts::loadline::outlook::Outlook;
use crate::scaling::counts::loadline::{DAY, keep};

/// Rungs of the ladder; each is the square root of 2 times the one before, from 1 on.
const RUNGS: usize = 28;
/// The half-life of what is known of each rung, in seconds.
const RUNG_SPAN: f64 = 7.0 * DAY;
/// The half-life of what was used of the budget, in seconds.
const USED_SPAN: f64 = 14.0 * DAY;
/// What was used too much or too little is made up for in this time, in seconds.
const REPAY: f64 = 2.0 * DAY;
/// The share that is aimed at is at most and at least this much of the budget.
const AIM: (f64, f64) = (0.1, 3.0);
/// Counts that are looked at, at most; of a great service not every count is.
const LOOKED_AT: u32 = 64;

/// What is known of the use of a budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pace {
    budget: f64,
    rungs: Vec<f32>,
    /// Seconds that the rungs know of, those long ago less.
    known: f64,
    /// Seconds with load above ready capacity, and all seconds.
    short: f64,
    time: f64,
}

/// What a count costs: itself, and the chance of too little capacity at a price.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost<'a> {
    pub(super) outlook: &'a Outlook,
    pub(super) capacity: f64,
    /// Instances that a unit of time without enough capacity is worth.
    pub(super) price: f64,
}

impl Cost<'_> {
    /// Instances, and what they do not serve.
    pub(super) fn of(&self, count: u32) -> f64 {
        f64::from(count) + self.price * self.outlook.above(f64::from(count) * self.capacity)
    }

    /// The cheapest count from `least` to `most`.
    pub(super) fn cheapest(&self, least: u32, most: u32) -> u32 {
        let stride = ((most - least.min(most)) / LOOKED_AT).max(1) as usize;
        let mut best = (f64::INFINITY, least);
        for count in (least..=most.max(least)).step_by(stride) {
            let cost = self.of(count);
            if cost < best.0 {
                best = (cost, count);
            }
            // No greater count can cost less than itself.
            if f64::from(count) > best.0 {
                break;
            }
        }
        best.1
    }
}

impl Pace {
    /// Nothing used yet of `budget`, a share of time.
    pub(super) fn new(budget: f64) -> Self {
        Self { budget, rungs: vec![0.0; RUNGS], known: 0.0, short: 0.0, time: 0.0 }
    }

    /// The share of time that was asked for.
    pub(super) fn budget(&self) -> f64 {
        self.budget
    }

    /// Another budget; what was used stays known.
    pub(super) fn set_budget(&mut self, budget: f64) {
        self.budget = budget;
    }

    /// Notes whether the last `elapsed` seconds had more load than ready capacity.
    pub(super) fn used(&mut self, short: bool, elapsed: f64) {
        let keep = keep(elapsed, USED_SPAN);
        self.time = self.time * keep + elapsed;
        self.short = self.short * keep + if short { elapsed } else { 0.0 };
    }

    /// The share of time that was short, those long ago counting less.
    pub(super) fn obtained(&self) -> f64 {
        if self.time > 0.0 { self.short / self.time } else { 0.0 }
    }

    /// The share of time to be short from now on, so that the whole comes to the budget.
    pub(super) fn aim(&self) -> f64 {
        let left = self.budget * self.time - self.short;
        (self.budget + left / REPAY).clamp(AIM.0 * self.budget, AIM.1 * self.budget)
    }

    /// The price from now on, with counts from `least` to `most` to choose from.
    pub(super) fn price(
        &mut self,
        outlook: &Outlook,
        capacity: f64,
        (least, most): (u32, u32),
        elapsed: f64,
    ) -> f64 {
        let forget = keep(elapsed, RUNG_SPAN);
        self.known = self.known * forget + elapsed;
        let mut from = least;
        for (rung, share) in self.rungs.iter_mut().enumerate() {
            let cost = Cost { outlook, capacity, price: price(rung as f64) };
            // A higher price never makes fewer instances the cheapest.
            from = cost.cheapest(from, most);
            *share =
                (f64::from(*share) * forget + outlook.above(f64::from(from) * capacity) * elapsed) as f32;
        }
        let aim = self.aim();
        let share = |rung: usize| f64::from(self.rungs[rung]) / self.known;
        let Some(within) = (0..RUNGS).find(|&rung| share(rung) <= aim) else {
            return price((RUNGS - 1) as f64);
        };
        if within == 0 {
            return price(0.0);
        }
        let (above, below) = (share(within - 1), share(within));
        let part = if above > below { ((above - aim) / (above - below)).clamp(0.0, 1.0) } else { 1.0 };
        price((within - 1) as f64 + part)
    }
}

fn price(rung: f64) -> f64 {
    (rung / 2.0).exp2()
}
