//! The limit that costs least: its size, the chance of a miss times the price of one, and what a change costs.
//!
//! In: a `Recent`, the fitted model, the price of a miss. Out: the limit that holds from now on. The same
//! rule serves memory and CPU; units are the resource's own.

use serde::{Deserialize, Serialize};

use crate::estimation::EstimationError;
use crate::estimation::loadline::forest::{CANDIDATE_REFERENCES, CANDIDATES, Forest, MARGINS, TreeFile};
use crate::estimation::loadline::price::{Price, RUNGS};
use crate::estimation::loadline::recent::{Context, REFERENCES, Recent};

/// The place of the highest level of a day among the references.
const DAY_HIGHEST: usize = 4;

/// The fitted parameters of one resource, as in `models/loadline-v1.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizerFile {
    /// No smaller limit, in the resource's units.
    pub floor: f64,
    /// Whether prices are multiples of a workload's own highest use of a day: a short-fall costs a large
    /// task more than a small one. Otherwise they are amounts.
    pub relative: bool,
    /// The lowest price of a miss on the ladder, in the resource's units times slots, or in slots.
    pub lowest_price: f64,
    /// Misses per task-slot on each rung of the ladder, on the lessons.
    pub rates: [f64; RUNGS],
    /// The trees.
    pub trees: Vec<TreeFile>,
}

/// The rule for one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizer {
    forest: Forest,
    floor: f64,
    relative: bool,
    lowest_price: f64,
    rates: [f64; RUNGS],
    /// What a change costs, in slots of the new limit.
    change: f64,
}

/// A limit and the chance that usage of the next slot passes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The limit, in the resource's units.
    pub limit: f64,
    /// The chance of a miss per slot.
    pub chance: f64,
}

/// The limit in force for a workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The limit; nothing was said where 0.
    limit: f32,
    /// What staying with it has cost so far, over the best choice of each slot.
    regret: f32,
    record: Record,
}

impl Held {
    /// The limit, in the resource's units; absent where nothing was said.
    pub fn limit(&self) -> Option<f64> {
        (self.limit > 0.0).then_some(f64::from(self.limit))
    }
}

/// How often a workload was expected to pass candidates clearly above its highest, and how often it did: in
/// 256ths, both halved when one is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    foreseen: u16,
    passed: u16,
}

impl Record {
    const UNIT: f32 = 256.0;
    /// Passes that the fit's word weighs, as the fleet's does in `Price::correction`.
    const PRIOR: f32 = 5.0;
    /// The candidates that count: from 1.1 to 1.8 times the highest of a day and of a fortnight.
    const ROWS: std::ops::Range<usize> = 3..5;
    const COLUMNS: std::ops::Range<usize> = 3..7;

    fn sum(of: impl Fn(usize) -> f32) -> f32 {
        Self::ROWS.flat_map(|row| Self::COLUMNS.map(move |column| row * MARGINS.len() + column)).map(of).sum()
    }

    fn add(&mut self, foreseen: f32, passed: f32) {
        if self.foreseen.max(self.passed) > u16::MAX / 2 {
            (self.foreseen, self.passed) = (self.foreseen / 2, self.passed / 2);
        }
        let units = |amount: f32| (amount * Self::UNIT).round() as u16;
        self.foreseen = self.foreseen.saturating_add(units(foreseen));
        self.passed = self.passed.saturating_add(units(passed));
    }

    /// What part of the fit's chances holds for this workload. One that surprises more than others is left to
    /// the fit, which knows of it.
    fn part(self) -> f32 {
        let [foreseen, passed] = [self.foreseen, self.passed].map(|sum| f32::from(sum) / Self::UNIT);
        ((passed + Self::PRIOR) / (foreseen + Self::PRIOR)).min(1.0)
    }
}

/// When a limit is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// For the first time in a slot: staying costs one slot more.
    Begins,
    /// Again in a slot, since its highest rose.
    Again,
    /// Whatever holds, since nothing was said, much time has passed or a task was killed.
    Afresh,
}

/// Every candidate with its limit and chance.
struct Candidates {
    limits: [f64; CANDIDATES],
    chances: [f32; CANDIDATES],
}

impl Candidates {
    /// As they are for a workload with a record of its own.
    fn for_one_with(mut self, record: Record) -> Self {
        let part = record.part();
        self.chances.iter_mut().for_each(|chance| *chance *= part);
        self
    }

    /// Which of them costs least at a price; the first of equals.
    fn best(&self, price: f64) -> Choice {
        let mut costs = [0.0; CANDIDATES];
        for ((cost, limit), chance) in costs.iter_mut().zip(self.limits).zip(self.chances) {
            *cost = limit + price * f64::from(chance);
        }
        // By columns, so that several are compared at once.
        let mut columns = [f64::INFINITY; MARGINS.len()];
        for row in costs.chunks_exact(MARGINS.len()) {
            for (least, cost) in columns.iter_mut().zip(row) {
                *least = if *cost < *least { *cost } else { *least };
            }
        }
        let least = columns.into_iter().fold(f64::INFINITY, f64::min);
        let place = costs.iter().position(|cost| *cost <= least).unwrap_or_default();
        Choice { limit: self.limits[place], chance: f64::from(self.chances[place]) }
    }

    /// The chance of a miss at any limit: that of the safest candidate that is not above it.
    fn chance(&self, limit: f64) -> f64 {
        let mut columns = [1.0; MARGINS.len()];
        let rows = self.limits.chunks_exact(MARGINS.len()).zip(self.chances.chunks_exact(MARGINS.len()));
        for (limits, chances) in rows {
            for ((least, candidate), chance) in columns.iter_mut().zip(limits).zip(chances) {
                let chance = if *candidate <= limit { *chance } else { 1.0 };
                *least = if chance < *least { chance } else { *least };
            }
        }
        f64::from(columns.into_iter().fold(1.0, f32::min))
    }
}

impl Sizer {
    /// Reads a fitted model. `change` is what a change costs, in slots of the new limit.
    pub fn new(file: &SizerFile, change: f64) -> Result<Self, EstimationError> {
        let sound = file.floor > 0.0 && file.lowest_price > 0.0 && file.rates.iter().all(|rate| *rate > 0.0);
        if !sound {
            return Err(EstimationError::ModelUnfit("a floor, price or rate is not above 0".to_owned()));
        }
        Ok(Self {
            forest: Forest::new(&file.trees)?,
            floor: file.floor,
            relative: file.relative,
            lowest_price: file.lowest_price,
            rates: file.rates,
            change,
        })
    }

    /// After a gap of more slots than this, what was said before holds no more: a shorter one is worth no
    /// change.
    pub fn patience(&self) -> i32 {
        (self.change as i32).max(1)
    }

    /// The price before anything is known.
    pub fn price(&self) -> Price {
        Price::new(&self.rates)
    }

    /// Lets time pass for the price.
    pub fn settle(&self, price: &mut Price, days: f64, budget: f64) {
        price.settle(days, self.lowest_price, budget);
    }

    /// What a miss costs in a context.
    fn price_in(&self, context: &Context, price: f64) -> f64 {
        if self.relative { price * f64::from(context.references[DAY_HIGHEST].exp()) } else { price }
    }

    fn candidates(&self, context: &Context) -> Candidates {
        Candidates {
            limits: limits_of(&context.references, self.floor),
            chances: self.forest.chances(context),
        }
    }

    /// The limit for slot `at` that costs least, whatever holds now; absent where nothing was seen.
    pub fn choose(&self, (recent, held): (&Recent, &Held), at: i32, price: f64) -> Option<Choice> {
        let context = recent.context(at)?;
        let candidates = self.candidates(&context).for_one_with(held.record);
        Some(candidates.best(self.price_in(&context, price)))
    }

    /// A limit with its chance of a miss.
    pub fn judged(&self, (context, held): (&Context, &Held), limit: f64) -> Choice {
        Choice { limit, chance: self.candidates(context).for_one_with(held.record).chance(limit) }
    }

    /// Sets the limit that holds for slot `at`. It changes where staying has cost as much as a change does
    /// (the rule of rent or buy: never more than twice the cost of knowing what comes; Karlin et al., 1988).
    /// Gives the chance of a miss at the limit that would cost least, were changes free.
    pub fn hold(&self, held: &mut Held, recent: &Recent, at: i32, price: f64, moment: Moment) -> f64 {
        let Some(context) = recent.context(at) else { return 0.0 };
        let candidates = self.candidates(&context);
        if moment != Moment::Again {
            held.record.add(Record::sum(|place| candidates.chances[place]), 0.0);
        }
        let candidates = candidates.for_one_with(held.record);
        let price = self.price_in(&context, price);
        let best = candidates.best(price);
        let limit = f64::from(held.limit);
        let regret = limit + price * candidates.chance(limit) - best.limit - price * best.chance;
        let regret = held.regret + regret.max(0.0) as f32;
        if moment == Moment::Afresh || f64::from(regret) > self.change * best.limit {
            (held.limit, held.regret) = (rounded_up(best.limit), 0.0);
        } else if moment == Moment::Begins {
            held.regret = regret;
        }
        best.chance
    }

    /// Takes in how the slot that ends now came out, for the workload's own record.
    pub fn close(&self, held: &mut Held, recent: &Recent) {
        let Some((references, peak)) = recent.closing() else { return };
        let (limits, used) = (limits_of(&references, self.floor), f64::from(peak.exp()));
        held.record.add(0.0, Record::sum(|place| f32::from(u8::from(used > limits[place]))));
    }

    /// The chance of a miss per slot on each rung of the ladder of prices, for a workload of so many tasks.
    pub fn chances_on_rungs(&self, (context, held): (&Context, &Held), tasks: f64) -> [f64; RUNGS] {
        let candidates = self.candidates(context).for_one_with(held.record);
        std::array::from_fn(|rung| {
            let price = Price::rung(self.lowest_price, rung as u8) / tasks;
            candidates.best(self.price_in(context, price)).chance
        })
    }

    /// Limits that are worth a look and the chance of a miss per slot at each, ascending: each is larger and
    /// safer than the one before.
    pub fn frontier(&self, (context, held): (&Context, &Held)) -> Vec<Choice> {
        let candidates = self.candidates(context).for_one_with(held.record);
        let mut all: Vec<Choice> = candidates
            .limits
            .iter()
            .zip(candidates.chances)
            .map(|(&limit, chance)| Choice { limit, chance: f64::from(chance) })
            .collect();
        all.sort_by(|a, b| a.limit.total_cmp(&b.limit).then(a.chance.total_cmp(&b.chance)));
        let mut safest = f64::INFINITY;
        all.retain(|choice| {
            let safer = choice.chance < safest;
            safest = safest.min(choice.chance);
            safer
        });
        all
    }
}

/// A limit is too small where misses are so many times likelier than at the one chosen, and too large where
/// they are so many times less likely.
const BOUND_ODDS: f64 = 10.0;

/// The limits of a frontier below and above which the chosen one should change.
pub(super) fn bounds(frontier: &[Choice], chosen: Choice) -> (f64, f64) {
    let at_most = |chance: f64| frontier.iter().find(|choice| choice.chance <= chance);
    let lower = at_most(chosen.chance * BOUND_ODDS).map_or(chosen.limit, |choice| choice.limit);
    let upper = at_most(chosen.chance / BOUND_ODDS).or(frontier.last());
    (lower.min(chosen.limit), upper.map_or(chosen.limit, |choice| choice.limit).max(chosen.limit))
}

/// In 32 bits: what a candidate was chosen for must not be above it.
fn rounded_up(limit: f64) -> f32 {
    let near = limit as f32;
    if f64::from(near) < limit { near.next_up() } else { near }
}

/// The candidate limits of a context.
fn limits_of(references: &[f32; REFERENCES], floor: f64) -> [f64; CANDIDATES] {
    let mut limits = [0.0; CANDIDATES];
    for (limits, place) in limits.chunks_exact_mut(MARGINS.len()).zip(CANDIDATE_REFERENCES) {
        let reference = f64::from(references[place].exp());
        for (limit, margin) in limits.iter_mut().zip(MARGINS) {
            *limit = (reference * f64::from(margin)).max(floor);
        }
    }
    limits
}
