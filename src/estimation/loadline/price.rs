//! What a kill costs, so that the fleet has as many of them as its owner accepts.
//!
//! One price holds for all workloads: whoever can save much memory at little risk takes the risk. The price
//! is the dual of a budget: for a ladder of prices it is kept how many kills the fleet would have expected
//! at each, and the price is taken where that meets the budget. What was expected is held against what
//! happened, and the difference corrects the budget (in the manner of adaptive conformal inference: Gibbs
//! and Candès, 2021).

use serde::{Deserialize, Serialize};

use crate::estimation::loadline::recent::DAY;

/// Rungs of the ladder of prices.
pub const RUNGS: usize = 10;
/// Each day that a fleet is known lets the price lie so many rungs further above the one of the fit.
const RUNGS_A_DAY: f64 = 0.25;
/// Each rung is so many times the one before.
const STEP: f64 = 4.0;
/// What was expected fades over so many days, and what happened over so many.
const EXPECTED_DAYS: f64 = 14.0;
const HAPPENED_DAYS: f64 = 30.0;
/// How many task-slots the fitted rates weigh against those seen, and how many misses.
const PRIOR_SLOTS: f64 = 2.0 * DAY as f64;
const PRIOR_MISSES: f64 = 5.0;

/// The price of a miss, learned from a fleet. A miss is a kill, or a slot that is short of CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Mean usage of a task, which prices are multiples of.
    usage: f64,
    usage_slots: f64,
    /// Misses per task-slot on each rung when the model was fitted.
    prior: [f64; RUNGS],
    /// Misses expected on each rung, and the task-slots that they were expected in.
    expected: [f64; RUNGS],
    slots: f64,
    /// Misses expected at the limits that were said, and those that happened.
    promised: f64,
    happened: f64,
    /// Days that passed.
    days: f64,
    /// The price itself, in units of usage times slots.
    now: f64,
}

impl Price {
    /// The price before anything is known: `prior` are the misses per task-slot on each rung that were seen
    /// when the model was fitted.
    pub fn new(prior: &[f64; RUNGS]) -> Self {
        Self {
            usage: 0.0,
            usage_slots: 0.0,
            prior: *prior,
            expected: prior.map(|rate| rate * PRIOR_SLOTS),
            slots: PRIOR_SLOTS,
            promised: 0.0,
            happened: 0.0,
            days: 0.0,
            now: 0.0,
        }
    }

    /// The price of a miss, in units of usage times slots.
    pub fn get(&self) -> f64 {
        self.now
    }

    /// The price on a rung of a ladder that begins at `lowest` slots of a task's mean usage.
    pub fn rung(&self, lowest: f64, rung: u8) -> f64 {
        lowest * STEP.powi(i32::from(rung)) * self.usage
    }

    /// Takes in what a task used in a slot.
    pub fn used(&mut self, amount: f64) {
        self.usage_slots += 1.0;
        let share = (1.0 / self.usage_slots).max(1e-5);
        self.usage += share * (amount - self.usage);
    }

    /// Takes in the misses per slot that would be expected of a workload on each rung, for so many slots
    /// of so many tasks.
    pub fn expect(&mut self, misses: &[f64; RUNGS], slots: f64, tasks: f64) {
        for (sum, misses) in self.expected.iter_mut().zip(misses) {
            *sum += misses * slots;
        }
        self.slots += slots * tasks;
    }

    /// Takes in what is expected at a limit that holds for a slot.
    pub fn promise(&mut self, misses: f64) {
        self.promised += misses;
    }

    /// Takes in a miss.
    pub fn missed(&mut self) {
        self.happened += 1.0;
    }

    /// How many times more misses happen than are expected.
    pub fn correction(&self) -> f64 {
        (self.happened + PRIOR_MISSES) / (self.promised + PRIOR_MISSES)
    }

    /// Lets time pass, and sets the price so that `budget` misses per task-slot are expected.
    pub fn settle(&mut self, days: f64, lowest: f64, budget: f64) {
        self.days += days;
        let fade = (-days / EXPECTED_DAYS).exp2();
        self.expected.iter_mut().for_each(|sum| *sum *= fade);
        self.slots *= fade;
        let fade = (-days / HAPPENED_DAYS).exp2();
        self.promised *= fade;
        self.happened *= fade;
        let budget = budget / self.correction();
        let seen = rung_of(&self.expected.map(|sum| sum / self.slots.max(1e-9)), budget);
        // A young fleet may expect more than the budget at any price. That passes as it ages, and no
        // price would help: so the price stays near the one that the fit would take.
        let rung = seen.min(rung_of(&self.prior, budget) + self.days * RUNGS_A_DAY);
        self.now = lowest * STEP.powf(rung) * self.usage;
    }
}

/// The rung, or a place between two, at which a budget of misses per task-slot is met. Beyond the ladder's
/// ends the line through the outermost rungs goes on for two rungs.
fn rung_of(rates: &[f64; RUNGS], budget: f64) -> f64 {
    let rates = rates.map(|rate| rate.max(1e-12));
    let at = (1..RUNGS).find(|rung| rates[*rung] <= budget).unwrap_or(RUNGS - 1);
    let (high, low) = (rates[at - 1].ln(), rates[at].ln());
    let share = if high > low { (high - budget.ln()) / (high - low) } else { 1.0 };
    (at as f64 - 1.0 + share).clamp(-2.0, RUNGS as f64 + 1.0)
}
