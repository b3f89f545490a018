//! What a kill costs, so that the fleet has as many of them as its owner accepts.
//!
//! One price holds for all workloads: whoever can save much memory at little risk takes the risk. The price
//! is the dual of a budget: for a ladder of prices it is kept how many kills the fleet would have expected
//! at each, and the price is taken where that meets the budget. What was expected is held against what
//! happened, and the difference corrects the budget (in the manner of adaptive conformal inference: Gibbs
//! and Candès, 2021).

use serde::{Deserialize, Serialize};

/// Rungs of the ladder of prices.
pub const RUNGS: usize = 10;
/// The least that the next rung must lower the misses, as an exponent of the price: below it a kill is
/// avoided at many times what it is said to cost, as after gaps and kills, when nobody can know.
const WORTH: f64 = 0.3;
/// Each rung is so many times the one before.
const STEP: f64 = 4.0;
/// What was expected fades over so many days, and what happened over so many.
const EXPECTED_DAYS: f64 = 14.0;
const HAPPENED_DAYS: f64 = 30.0;
/// How many days the price of the fit weighs, and how many misses the belief in what is expected.
const PRIOR_DAYS: f64 = 7.0;
const PRIOR_MISSES: f64 = 5.0;

/// The price of a miss, learned from a fleet. A miss is a kill, or a slot that is short of CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Misses per task-slot on each rung when the model was fitted.
    prior: [f64; RUNGS],
    /// Misses expected on each rung, and the task-slots that they were expected in.
    expected: [f64; RUNGS],
    slots: f64,
    /// Misses expected at the limits that would have cost least, and those that happened.
    promised: f64,
    happened: f64,
    /// Days since the first was expected.
    days: f64,
    /// The price itself, in the resource's units times slots.
    now: f64,
}

impl Price {
    /// The price before anything is known: `prior` are the misses per task-slot on each rung that were seen
    /// when the model was fitted.
    pub fn new(prior: &[f64; RUNGS]) -> Self {
        Self {
            prior: *prior,
            expected: [0.0; RUNGS],
            slots: 0.0,
            days: 0.0,
            promised: 0.0,
            happened: 0.0,
            now: 0.0,
        }
    }

    /// The price of a miss, in the resource's units times slots.
    pub fn get(&self) -> f64 {
        self.now
    }

    /// The price on a rung of a ladder that begins at `lowest`.
    pub fn rung(lowest: f64, rung: u8) -> f64 {
        lowest * STEP.powi(i32::from(rung))
    }

    /// Takes in the misses per slot that would be expected of a workload on each rung, for so many slots
    /// of so many tasks.
    pub fn expect(&mut self, misses: &[f64; RUNGS], slots: f64, tasks: f64) {
        for (sum, misses) in self.expected.iter_mut().zip(misses) {
            *sum += misses * slots;
        }
        self.slots += slots * tasks;
    }

    /// Takes in what is expected in a slot at the limit that costs least. Where another one holds, since changes
    /// have a price, what comes of it is to be made good: so a stated risk is kept whatever a change costs.
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
        let fade = (-days / EXPECTED_DAYS).exp2();
        self.expected.iter_mut().for_each(|sum| *sum *= fade);
        self.slots *= fade;
        let fade = (-days / HAPPENED_DAYS).exp2();
        self.promised *= fade;
        self.happened *= fade;
        let budget = budget / self.correction();
        let prior = rung_of(&self.prior, budget);
        let rung = if self.slots > 0.0 {
            self.days += days;
            let own = self.days / (self.days + PRIOR_DAYS);
            prior + own * (rung_of(&self.expected.map(|sum| sum / self.slots), budget) - prior)
        } else {
            prior
        };
        self.now = lowest * STEP.powf(rung);
    }
}

/// The rung, or a place between two, at which a budget of misses per task-slot is met, or the last one that
/// is worth its price. Beyond the ladder's ends the line through the outermost rungs goes on for two rungs.
fn rung_of(rates: &[f64; RUNGS], budget: f64) -> f64 {
    let logs = rates.map(|rate| rate.max(1e-12).ln());
    let mut at = 1;
    while at < RUNGS - 1 && logs[at] > budget.ln() && logs[at] - logs[at + 1] > WORTH * STEP.ln() {
        at += 1;
    }
    let fall = logs[at - 1] - logs[at];
    if fall <= WORTH * STEP.ln() {
        return at as f64;
    }
    let share = (logs[at - 1] - budget.ln()) / fall;
    let most = if at == RUNGS - 1 { 3.0 } else { 1.0 };
    (at as f64 - 1.0 + share.clamp(-2.0, most)).max(-2.0)
}
