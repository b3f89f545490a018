//! How long to wait before a count changes, learnt per service, so that it changes no more often than a
//! plain reactive scaler's would.
//!
//! In: what each count costs now. Out: the count. A change is made once waiting has cost as much as a
//! change (rent or buy: Karlin et al., "Competitive snoopy caching", Algorithmica 3, 1988). What a change
//! costs is not given: a few scalers with prices and habits of their own run beside, on the same load, and
//! the real one follows the cheapest of those that change less often than HPA v2 does there.

use std::cmp::Ordering;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::scaling::counts::Terms;
use crate::scaling::counts::loadline::pace::Cost;
use crate::scaling::counts::loadline::{DAY, keep};

/// Prices of a change that are tried: instance-minutes of the first, and the factor to the next.
const PRICES: usize = 7;
const PRICE_FIRST: f64 = 1.0;
const PRICE_FACTOR: f64 = 2.3;
/// How a scaler changes.
struct Habit {
    /// Up once waiting has cost this much of the price; down once it has cost all of it.
    up: f64,
    /// Further up than needed now.
    jump: Jump,
}
#[derive(Clone, Copy)]
enum Jump {
    /// No further.
    None,
    /// As far as the load rises until going there at once has cost as much as another change.
    Slope,
    /// At least by this share of the count.
    Share(f64),
}
const HABITS: [Habit; 5] = [
    Habit { up: 0.1, jump: Jump::None },
    Habit { up: 0.3, jump: Jump::Slope },
    Habit { up: 1.0, jump: Jump::Slope },
    Habit { up: 0.3, jump: Jump::Share(0.05) },
    Habit { up: 1.0, jump: Jump::Share(0.1) },
];
const TRIED: usize = PRICES * HABITS.len();
/// Which one is followed until enough is known.
const AT_FIRST: usize = 4 * HABITS.len();
/// Seconds until enough is known.
const KNOWN_FROM: f64 = 0.5 * DAY;
/// The half-life of what is known of each, in seconds.
const SPAN: f64 = 2.0 * DAY;
/// Seconds from one choice to the next.
const CHOICE: f64 = 3600.0;
/// Another one has to be cheaper by this share.
const BETTER: f64 = 0.998;
/// What waiting has cost fades at this half-life in seconds while the count is right.
const FADE: f64 = 340.0;
/// The reactive scaler: HPA v2's defaults at a target of 70 %.
const TARGET: f64 = 0.7;
const TOLERANCE: f64 = 0.1;
const STABILIZATION: i64 = 300;

/// A count with what waiting has cost: positive towards more, negative towards fewer instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Waiting {
    count: u32,
    waited: f32,
}

/// One of the scalers that run beside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Tried {
    waiting: Waiting,
    cost: f32,
    short: f32,
    changes: f32,
}

/// What is known of changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Restraint {
    tried: Vec<Tried>,
    reactive: Reactive,
    /// Changes allowed, over the reactive scaler's.
    allowed: f64,
    followed: usize,
    waited: f32,
    known: f64,
    since_choice: f64,
}

/// What a decision on a change rests on.
pub(super) struct Need<'a> {
    pub(super) cost: Cost<'a>,
    /// The cheapest count.
    pub(super) cheapest: u32,
    /// Never fewer: what serves the load now.
    pub(super) floor: u32,
    /// Instances more per second that the load asks for of late.
    pub(super) slope: f64,
    pub(super) most: u32,
    pub(super) elapsed: f64,
    /// The share of time that may be short now; absent while the budget is not overdrawn.
    pub(super) at_most: Option<f64>,
}

impl Restraint {
    /// Nothing known yet; `allowed` changes for each one that the reactive scaler makes.
    pub(super) fn new(allowed: f64) -> Self {
        Self {
            allowed,
            tried: vec![Tried::default(); TRIED],
            reactive: Reactive::default(),
            followed: AT_FIRST,
            waited: 0.0,
            known: 0.0,
            since_choice: 0.0,
        }
    }

    /// Changes allowed for each one that the reactive scaler makes.
    pub(super) fn allowed(&self) -> f64 {
        self.allowed
    }

    /// Another allowance; what is known of changes stays.
    pub(super) fn set_allowed(&mut self, allowed: f64) {
        self.allowed = allowed;
    }

    /// The count from now on, `count` being the one in force.
    pub(super) fn count(
        &mut self,
        count: u32,
        (at, load): (i64, f64),
        need: &Need<'_>,
        terms: &Terms,
    ) -> u32 {
        let forget = keep(need.elapsed, SPAN) as f32;
        self.reactive.decide((at, load), terms, forget);
        for (index, tried) in self.tried.iter_mut().enumerate() {
            if tried.waiting.count == 0 {
                tried.waiting.count = count;
            }
            let changed = tried.waiting.step(index, need);
            tried.cost = tried.cost * forget + (need.cost.of(tried.waiting.count) * need.elapsed) as f32;
            let short = need.cost.outlook.above(f64::from(tried.waiting.count) * need.cost.capacity);
            tried.short = tried.short * forget + (short * need.elapsed) as f32;
            tried.changes = tried.changes * forget + f32::from(u8::from(changed));
        }
        self.known = self.known * f64::from(forget) + need.elapsed;
        self.since_choice += need.elapsed;
        if self.known > KNOWN_FROM && self.since_choice >= CHOICE {
            self.since_choice = 0.0;
            self.followed = self.choice(need.at_most);
        }
        let mut real = Waiting { count, waited: self.waited };
        real.step(self.followed, need);
        self.waited = real.waited;
        real.count
    }

    /// The cheapest of those that change seldom enough. Once the budget is overdrawn it is kept first: of
    /// those that keep it, the cheapest that changes seldom enough, or the one that changes the least.
    fn choice(&self, at_most: Option<f64>) -> usize {
        let allowed = self.allowed * f64::from(self.reactive.changes) + 0.5;
        let seldom = |index: &usize| f64::from(self.tried[*index].changes) <= allowed;
        let within = |index: &usize| {
            at_most.is_none_or(|share| f64::from(self.tried[*index].short) <= share * self.known)
        };
        let cost = |index: &usize| {
            let cost = f64::from(self.tried[*index].cost);
            if *index == self.followed { cost * BETTER } else { cost }
        };
        let changes = |index: &usize| self.tried[*index].changes;
        let of = |keep: &dyn Fn(&usize) -> bool| (0..TRIED).filter(|index| keep(index)).collect::<Vec<_>>();
        let both = of(&|index| seldom(index) && within(index));
        let cheapest = both.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        cheapest
            .or_else(|| of(&within).into_iter().min_by(|a, b| changes(a).total_cmp(&changes(b))))
            .or_else(|| (0..TRIED).min_by(|a, b| self.tried[*a].short.total_cmp(&self.tried[*b].short)))
            .unwrap_or(AT_FIRST)
    }
}

impl Waiting {
    /// One step of the scaler with this index. Answers whether its count changed.
    fn step(&mut self, index: usize, need: &Need<'_>) -> bool {
        let habit = &HABITS[index % HABITS.len()];
        let power = i32::try_from(index / HABITS.len()).unwrap_or(0);
        let price = 60.0 * PRICE_FIRST * PRICE_FACTOR.powi(power);
        let lost = |count: u32| ((need.cost.of(count) - need.cost.of(need.cheapest)) * need.elapsed) as f32;
        match need.cheapest.cmp(&self.count) {
            Ordering::Greater => {
                self.waited = self.waited.max(0.0) + lost(self.count);
                if self.count < need.floor || f64::from(self.waited) >= habit.up * price {
                    let further = match habit.jump {
                        Jump::None => need.cheapest,
                        // Carrying n instances early over a ramp of slope v costs n^2 / 2v.
                        Jump::Slope => need.cheapest + (2.0 * price * need.slope).sqrt() as u32,
                        Jump::Share(share) => {
                            need.cheapest.max((f64::from(self.count) * (1.0 + share)) as u32)
                        }
                    };
                    *self = Self { count: further.min(need.most).max(need.cheapest), waited: 0.0 };
                    return true;
                }
            }
            Ordering::Less => {
                self.waited = self.waited.min(0.0) - lost(self.count);
                if f64::from(-self.waited) >= price {
                    *self = Self { count: need.cheapest, waited: 0.0 };
                    return true;
                }
            }
            Ordering::Equal => self.waited *= keep(need.elapsed, FADE) as f32,
        }
        false
    }
}

/// HPA v2's defaults on the load of the whole service: only how often it changes is asked of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Reactive {
    count: u32,
    answers: VecDeque<(i64, u32)>,
    changes: f32,
}

impl Reactive {
    fn decide(&mut self, (at, load): (i64, f64), terms: &Terms, forget: f32) {
        let count = self.count.max(1);
        let wanted = load / (TARGET * terms.capacity);
        let within = (wanted / f64::from(count) - 1.0).abs() <= TOLERANCE;
        let answer = if within { count } else { terms.count_for(load / TARGET) };
        // Equal answers that follow one another need their last time only.
        match self.answers.back_mut() {
            Some(last) if last.1 == answer => last.0 = at,
            _ => self.answers.push_back((at, answer)),
        }
        while self.answers.front().is_some_and(|(when, _)| at - when >= STABILIZATION) {
            self.answers.pop_front();
        }
        let highest = self.answers.iter().map(|(_, answer)| *answer).max().unwrap_or(answer);
        let next = if answer > count { answer.min((2 * count).max(count + 4)) } else { highest.min(count) };
        self.changes = self.changes * forget + f32::from(u8::from(self.count != 0 && next != count));
        self.count = next;
    }
}
