//! The policy `loadline`: both resources of any number of workloads under one price each.
//!
//! In: observations and kills. Out: limits. Not here: names, words, bounds of specs (`estimator`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::quantity::Bytes;
use crate::estimation::EstimationError;
use crate::estimation::loadline::price::Price;
use crate::estimation::loadline::recent::{Context, DAY, Recent, SLOT_SECONDS};
use crate::estimation::loadline::sizer::{Choice, Held, Moment, Sizer, SizerFile, bounds};
use crate::estimation::policy::{Account, Kill, Learning, Limits, Observation, SizePolicy, WorkloadIndex};

/// What the fit chose, embedded; a test holds that it reads.
const FITTED: &str = include_str!("../../../models/loadline-v1.json");

/// The version of the checkpoint's layout.
const CHECKPOINT_VERSION: u32 = 2;

/// After a kill, usage counts as the greater of what it reached plus bytes and times a ratio: the constants
/// of the Vertical Pod Autoscaler.
const BUMP: (f64, f64) = (100.0 * 1_048_576.0, 1.2);

/// The fitted parameters of both resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Of memory, in bytes.
    pub memory: SizerFile,
    /// Of CPU, in cores.
    pub cpu: SizerFile,
}

impl ModelFile {
    /// What the fit chose.
    pub fn fitted() -> Result<Self, EstimationError> {
        Ok(serde_json::from_str(FITTED)?)
    }
}

/// What its owner accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Kills for want of memory per task-day.
    pub risk: f64,
    /// Share of a task's time with less CPU requested than used.
    pub shortfall: f64,
    /// What a change costs, in hours of the new limit.
    pub change_hours: f64,
}

/// What is known of a workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    memory: Recent,
    cpu: Recent,
    memory_held: Held,
    cpu_held: Held,
    /// Tasks of the slot before, and the task (the low bits of its number) whose samples count the slots'
    /// rounds.
    tasks: f32,
    counted: u16,
    rounds: u16,
    samples: u16,
    memory_news: News,
    cpu_news: News,
}

/// What came since a limit was last decided on, the weightier the greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum News {
    /// Nothing that matters.
    #[default]
    None,
    /// A new highest of the slot.
    Higher,
    /// A new slot.
    Slot,
    /// The first of all, or the first after a gap.
    First,
}

/// The policy.
#[derive(Debug, Clone)]
pub struct Loadline {
    memory: Sizer,
    cpu: Sizer,
    budget: Budget,
    fleet: Fleet,
    /// The workloads that have news, in the order in which it came.
    waiting: Vec<u32>,
}

/// What is learned of all workloads together, and of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    memory_price: Price,
    cpu_price: Price,
    /// The last instant that was settled, in slots.
    settled: Option<i32>,
    states: Vec<State>,
}

/// The slot that usage of the interval that ends at `at` belongs to.
pub fn slot_of(at: Timestamp) -> i32 {
    at.as_second().div_euclid(SLOT_SECONDS).clamp(-1_000_000_000, 1_000_000_000) as i32
}

/// What usage counts as after a kill that reached so many bytes.
pub fn bumped(reached: f64) -> f64 {
    (reached + BUMP.0).max(reached * BUMP.1)
}

impl Loadline {
    /// A policy that knows nothing yet, with the parameters that the fit chose.
    pub fn fitted(budget: Budget) -> Result<Self, EstimationError> {
        Self::new(&ModelFile::fitted()?, budget)
    }

    /// A policy that knows nothing yet.
    pub fn new(model: &ModelFile, budget: Budget) -> Result<Self, EstimationError> {
        let change = budget.change_hours * 3600.0 / SLOT_SECONDS as f64;
        let (memory, cpu) = (Sizer::new(&model.memory, change)?, Sizer::new(&model.cpu, change)?);
        let fleet =
            Fleet { memory_price: memory.price(), cpu_price: cpu.price(), settled: None, states: Vec::new() };
        let mut policy = Self { memory, cpu, budget, fleet, waiting: Vec::new() };
        policy.settle(0.0);
        Ok(policy)
    }

    /// Lets time pass for both prices.
    fn settle(&mut self, days: f64) {
        let kills = self.budget.risk / f64::from(DAY);
        self.memory.settle(&mut self.fleet.memory_price, days, kills);
        self.cpu.settle(&mut self.fleet.cpu_price, days, self.budget.shortfall);
    }
}

impl SizePolicy for Loadline {
    fn learning(&self) -> Learning {
        Learning::Fleet
    }

    fn observe(&mut self, workload: WorkloadIndex, observation: &Observation) {
        let place = workload.0 as usize;
        if place >= self.fleet.states.len() {
            self.fleet.states.resize_with(place + 1, State::default);
        }
        let Fleet { cpu_price, states, .. } = &mut self.fleet;
        let state = &mut states[place];
        let slot = slot_of(observation.at);
        let had_news = state.has_news();
        state.count(slot, observation.task);
        let amount = |value: Option<f64>, least: f64| {
            value.filter(|value| value.is_finite() && *value >= 0.0).map(|value| value.max(least))
        };
        if let Some(used) = amount(observation.memory, 1e6) {
            let news = self.memory.take((&mut state.memory, &mut state.memory_held), (slot, used));
            state.memory_news = state.memory_news.max(news);
        }
        if let Some(used) = amount(observation.cpu, 1e-4) {
            let settled = state.cpu.age() > DAY as u32;
            if settled && state.cpu_held.limit().is_some_and(|limit| used > limit) {
                cpu_price.missed();
            }
            let news = self.cpu.take((&mut state.cpu, &mut state.cpu_held), (slot, used));
            state.cpu_news = state.cpu_news.max(news);
        }
        if !had_news && state.has_news() {
            self.waiting.push(workload.0);
        }
    }

    fn observe_oom(&mut self, workload: WorkloadIndex, kill: &Kill) {
        let Some(state) = self.fleet.states.get_mut(workload.0 as usize) else { return };
        if !kill.reached.is_finite() || kill.reached <= 0.0 {
            return;
        }
        let slot = slot_of(kill.at);
        state.memory.killed(slot, bumped(kill.reached).ln() as f32);
        if state.memory.age() > DAY as u32 {
            self.fleet.memory_price.missed();
        }
        let price = self.fleet.memory_price.get();
        self.memory.hold(&mut state.memory_held, &state.memory, slot + 1, price, Moment::Afresh);
    }

    /// Decides on the limits of those that have news, and lets time pass for the prices.
    fn advance(&mut self, now: Timestamp) {
        let Fleet { memory_price, cpu_price, states, .. } = &mut self.fleet;
        // One resource after the other: one forest at a time stays near the processor.
        for workload in &self.waiting {
            let Some(state) = states.get_mut(*workload as usize) else { continue };
            let news = (std::mem::take(&mut state.memory_news), f64::from(state.tasks));
            self.memory.decide(&state.memory, &mut state.memory_held, memory_price, news);
        }
        for workload in self.waiting.drain(..) {
            let Some(state) = states.get_mut(workload as usize) else { continue };
            let news = (std::mem::take(&mut state.cpu_news), f64::from(state.tasks));
            self.cpu.decide(&state.cpu, &mut state.cpu_held, cpu_price, news);
        }
        let slot = slot_of(now);
        let passed = self.fleet.settled.map_or(1, |settled| slot - settled);
        if passed <= 0 {
            return;
        }
        self.fleet.settled = Some(slot);
        self.settle(f64::from(passed) / f64::from(DAY));
    }

    fn limits(&self, workload: WorkloadIndex, _: Option<u64>, now: Timestamp) -> Limits {
        let Some(state) = self.fleet.states.get(workload.0 as usize) else { return Limits::default() };
        let next = slot_of(now) + 1;
        let part = |sizer: &Sizer, recent: &Recent, held: &Held, price: &Price| {
            // After a gap much may have changed: what was said before it holds no more.
            let said = if next - recent.slot() > sizer.patience() { None } else { held.limit() };
            said.or_else(|| sizer.choose((recent, held), next, price.get()).map(|choice| choice.limit))
        };
        Limits {
            memory: part(&self.memory, &state.memory, &state.memory_held, &self.fleet.memory_price),
            cpu: part(&self.cpu, &state.cpu, &state.cpu_held, &self.fleet.cpu_price),
        }
    }

    fn account(&self, workload: WorkloadIndex, now: Timestamp) -> Account {
        let Some(state) = self.fleet.states.get(workload.0 as usize) else { return Account::default() };
        let next = slot_of(now) + 1;
        let limits = self.limits(workload, None, now);
        let per_task_day = self.fleet.memory_price.correction() * f64::from(DAY) / f64::from(state.tasks);
        let mut account = Account::default();
        if let (Some(limit), Some(context)) = (limits.memory, state.memory.context(next)) {
            let known = (&context, &state.memory_held);
            let frontier = self.memory.frontier(known);
            let chosen = self.memory.judged(known, limit);
            account.risk = Some(chosen.chance * per_task_day);
            account.candidates = thinned(&frontier, per_task_day);
            account.memory_bounds = Some(bounds(&frontier, chosen));
            account.reasons = reasons(&context, state.memory.age());
        }
        if let (Some(limit), Some(context)) = (limits.cpu, state.cpu.context(next)) {
            let known = (&context, &state.cpu_held);
            let chosen = self.cpu.judged(known, limit);
            account.cpu_bounds = Some(bounds(&self.cpu.frontier(known), chosen));
            let share = chosen.chance * self.fleet.cpu_price.correction() * 100.0;
            account.reasons.push(format!("CPU is expected to be short in {share:.1} % of the time"));
        }
        account
    }

    fn keeps_checkpoint(&self) -> bool {
        true
    }

    fn checkpoint(&self) -> Result<Vec<u8>, EstimationError> {
        Ok(postcard::to_stdvec(&(CHECKPOINT_VERSION, &self.fleet))?)
    }

    /// Prices and what is known of workloads are taken; the budget stays this policy's own.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), EstimationError> {
        let (version, rest) = postcard::take_from_bytes::<u32>(checkpoint)?;
        if version != CHECKPOINT_VERSION {
            let found = format!("version {version}, expected {CHECKPOINT_VERSION}");
            return Err(EstimationError::CheckpointUnfit(found));
        }
        self.fleet = postcard::from_bytes(rest)?;
        let states = (0..).zip(&self.fleet.states);
        self.waiting = states.filter(|(_, state)| state.has_news()).map(|(place, _)| place).collect();
        Ok(())
    }

    fn forget(&mut self, workload: WorkloadIndex) {
        if let Some(state) = self.fleet.states.get_mut(workload.0 as usize) {
            *state = State::default();
        }
    }
}

/// Limits that are told to people: each at least this many times the one before.
const TOLD_STEP: f64 = 1.1;

/// Some limits of a frontier with the kills per task-day at each.
fn thinned(frontier: &[Choice], per_task_day: f64) -> Vec<(f64, f64)> {
    let mut told: Vec<(f64, f64)> = Vec::new();
    for choice in frontier {
        if told.last().is_none_or(|(limit, _)| choice.limit >= limit * TOLD_STEP) {
            told.push((choice.limit, choice.chance * per_task_day));
        }
    }
    told
}

/// What of a context matters to people: how far memory is from its highest, how it moves, how long it is
/// known.
fn reasons(context: &Context, slots: u32) -> Vec<String> {
    let [last, .., fortnight, _] = context.references;
    let swing = (context.features[12].exp() - 1e-4).max(0.0).exp_m1() * 100.0;
    let (now, most) = (Bytes::from_f64(f64::from(last.exp())), Bytes::from_f64(f64::from(fortnight.exp())));
    let mut reasons = vec![
        format!("memory is at {now}, its highest in 14 days is {most}"),
        format!("it moves by {swing:.1} % in five minutes, in the mean of three days"),
    ];
    if context.features[20] < DAY as f32 {
        reasons.insert(0, "a task was killed for want of memory in the last day".to_owned());
    }
    let hours = f64::from(slots) * SLOT_SECONDS as f64 / 3600.0;
    if hours < 24.0 {
        reasons.push(format!("{hours:.1} hours are known: what others did at that age counts most"));
    }
    reasons
}

impl State {
    fn has_news(&self) -> bool {
        self.memory_news.max(self.cpu_news) > News::None
    }

    /// Counts tasks: samples of a slot over those of the task that came first in it.
    fn count(&mut self, slot: i32, task: u64) {
        let task = task as u16;
        let newest = self.memory.slot().max(self.cpu.slot());
        if slot > newest {
            if self.rounds > 0 {
                self.tasks = f32::from(self.samples) / f32::from(self.rounds);
            }
            (self.counted, self.rounds, self.samples) = (task, 0, 0);
        }
        self.rounds = self.rounds.saturating_add(u16::from(task == self.counted));
        self.samples = self.samples.saturating_add(1);
        if self.tasks < 1.0 {
            self.tasks = 1.0;
        }
    }
}

impl Sizer {
    /// Takes in what was used in a slot.
    fn take(&self, (recent, held): (&mut Recent, &mut Held), (slot, used): (i32, f64)) -> News {
        let before = recent.slot();
        let begins = slot > before;
        if begins {
            self.close(held, recent);
        }
        if !recent.observe(slot, used.ln() as f32) {
            News::None
        } else if held.limit().is_none() || begins && slot - before > self.patience() {
            News::First
        } else if begins {
            News::Slot
        } else {
            News::Higher
        }
    }

    /// Decides on the limit of the slot that comes, for a workload of so many tasks.
    fn decide(&self, recent: &Recent, held: &mut Held, price: &mut Price, (news, tasks): (News, f64)) {
        let moment = match news {
            News::None => return,
            News::Higher => Moment::Again,
            News::Slot => Moment::Begins,
            News::First => Moment::Afresh,
        };
        let next = recent.slot() + 1;
        let chance = self.hold(held, recent, next, price.get() / tasks, moment);
        // What the first day brings is no measure of what comes later.
        if news > News::Higher && recent.age() > DAY as u32 {
            price.promise(chance);
        }
        // The ladder changes slowly: once an hour is enough.
        if news > News::Higher
            && recent.age() % 12 == 1
            && let Some(context) = recent.context(next)
        {
            let misses = self.chances_on_rungs((&context, held), tasks);
            price.expect(&misses, 12.0, tasks);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const MIB: f64 = 1_048_576.0;
    const ONE: WorkloadIndex = WorkloadIndex(0);

    fn policy(risk: f64) -> Loadline {
        Loadline::fitted(Budget { risk, shortfall: 0.02, change_hours: 0.005 }).expect("the fitted model")
    }

    fn at(slot: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(slot * SLOT_SECONDS)
    }

    fn tell(policy: &mut Loadline, workload: WorkloadIndex, slot: i64, memory: f64) {
        let used = Observation { task: 1, at: at(slot), cpu: Some(0.5), memory: Some(memory), load: None };
        policy.observe(workload, &used);
        policy.advance(at(slot));
    }

    fn limit(policy: &Loadline, slot: i64) -> f64 {
        policy.limits(ONE, None, at(slot)).memory.expect("a limit")
    }

    /// Usage that is steady within 2 %, or that triples now and then.
    fn usage(slot: i64, jumps: bool) -> f64 {
        let noise = 1.0 + 0.02 * ((slot * 7919 % 97) as f64 / 97.0);
        let jump = if jumps && slot * 31 % 97 < 3 { 3.0 } else { 1.0 };
        1000.0 * MIB * noise * jump
    }

    #[test]
    fn what_is_steady_gets_a_tight_limit_and_what_jumps_a_wide_one() {
        let said = |jumps: bool| {
            let mut policy = policy(0.05);
            for slot in 0..5 * 288 {
                tell(&mut policy, ONE, slot, usage(slot, jumps));
            }
            limit(&policy, 5 * 288) / (1000.0 * MIB)
        };
        let (steady, jumpy) = (said(false), said(true));
        assert!((1.02..1.35).contains(&steady), "{steady}");
        assert!(jumpy > 2.5, "{jumpy}");
    }

    #[test]
    fn what_never_moves_gets_a_tight_limit() {
        for change_hours in [0.005, 2.0] {
            let mut policy =
                Loadline::fitted(Budget { risk: 0.05, shortfall: 0.02, change_hours }).expect("the model");
            let mut said = Vec::new();
            for slot in 0..5 * 288 {
                tell(&mut policy, ONE, slot, 300e6);
                if slot % 288 == 287 {
                    said.push(limit(&policy, slot) / 300e6);
                }
            }
            // What it has seen of others makes it careful at first, and its own record tells it better.
            assert!(said.windows(2).all(|days| days[1] <= days[0]), "{change_hours}: {said:?}");
            assert!(said[2] < 1.5 && said[4] < 1.25, "{change_hours}: {said:?}");
        }
    }

    #[test]
    fn less_risk_is_more_memory() {
        let said = |risk: f64| {
            let mut policy = policy(risk);
            let mut sum = 0.0;
            for slot in 0..4 * 288 {
                tell(&mut policy, ONE, slot, usage(slot, true));
                sum += limit(&policy, slot);
            }
            sum
        };
        let sums = [5.0, 0.5, 0.05, 0.005].map(said);
        assert!(sums.windows(2).all(|pair| pair[0] < pair[1]), "{sums:?}");
    }

    #[test]
    fn a_kill_raises_the_limit_at_once() {
        let mut policy = policy(0.05);
        for slot in 0..300 {
            tell(&mut policy, ONE, slot, usage(slot, false));
        }
        let before = limit(&policy, 299);
        let killed = Observation { task: 1, at: at(300), cpu: None, memory: Some(before), load: None };
        policy.observe(ONE, &killed);
        policy.observe_oom(ONE, &Kill { task: 1, at: at(300), reached: before });
        assert!(limit(&policy, 300) >= 1.2 * before);
    }

    #[test]
    fn a_gap_is_no_zero() {
        let mut policy = policy(0.05);
        for slot in 0..300 {
            tell(&mut policy, ONE, slot, usage(slot, false));
        }
        for gap in [2, 12, 288, 3 * 288] {
            assert!(limit(&policy, 299 + gap) > 1000.0 * MIB, "after {gap} slots");
        }
    }

    #[test]
    fn samples_every_few_seconds_are_a_slot_together() {
        let (mut often, mut seldom) = (policy(0.05), policy(0.05));
        for slot in 0..400 {
            for part in 1..=60 {
                let second = slot * SLOT_SECONDS + part * 5 - 1;
                let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
                let memory = if part == 31 { usage(slot, false) } else { 900.0 * MIB };
                often.observe(ONE, &Observation { task: 1, at, cpu: None, memory: Some(memory), load: None });
            }
            tell(&mut seldom, ONE, slot, usage(slot, false));
        }
        let ratio = limit(&often, 399) / limit(&seldom, 399);
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn values_that_are_no_amounts_are_left_out() {
        let mut policy = policy(0.05);
        for memory in [f64::NAN, f64::INFINITY, -1.0] {
            tell(&mut policy, ONE, 1, memory);
        }
        assert_eq!(policy.limits(ONE, None, at(1)).memory, None);
        policy.observe_oom(ONE, &Kill { task: 1, at: at(1), reached: f64::NAN });
        policy.observe_oom(WorkloadIndex(7), &Kill { task: 1, at: at(1), reached: 1.0 });
        assert_eq!(policy.limits(ONE, None, at(1)).memory, None);
    }

    #[test]
    fn a_checkpoint_answers_the_same_to_the_last_bit() {
        let mut first = policy(0.05);
        for slot in 0..700 {
            for workload in 0..5 {
                tell(&mut first, WorkloadIndex(workload), slot, usage(slot + i64::from(workload), true));
            }
        }
        let mut second = policy(0.05);
        second.restore(&first.checkpoint().expect("bytes")).expect("restored");
        assert_eq!(first.fleet, second.fleet);
        for slot in 700..900 {
            for policy in [&mut first, &mut second] {
                tell(policy, ONE, slot, usage(slot, true));
            }
            assert_eq!(first.limits(ONE, None, at(slot)), second.limits(ONE, None, at(slot)));
        }
        let mut bytes = first.checkpoint().expect("bytes");
        bytes[0] = 9;
        assert!(second.restore(&bytes).expect_err("another version").to_string().contains("version 9"));
        assert!(second.restore(&bytes[..bytes.len() / 2]).is_err());
        assert_eq!(first.limits(ONE, None, at(899)), second.limits(ONE, None, at(899)), "nothing is lost");
    }

    #[test]
    fn what_is_kept_of_a_workload_is_small() {
        let kept = size_of::<State>() + size_of::<crate::estimation::profile::Profile>();
        assert!(kept <= 512, "{kept} bytes");
    }

    #[test]
    fn an_account_says_risk_candidates_and_reasons() {
        let mut policy = policy(0.05);
        for slot in 0..3 * 288 {
            tell(&mut policy, ONE, slot, usage(slot, true));
        }
        let account = policy.account(ONE, at(3 * 288 - 1));
        let memory = limit(&policy, 3 * 288 - 1);
        let (lower, upper) = account.memory_bounds.expect("bounds");
        assert!(lower <= memory && memory <= upper, "{lower} {memory} {upper}");
        assert!(account.risk.expect("a risk") < 5.0);
        assert!(account.candidates.len() > 3);
        let falls = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1;
        assert!(account.candidates.windows(2).all(falls), "{:?}", account.candidates);
        assert!(account.reasons[0].starts_with("memory is at"), "{:?}", account.reasons);
    }
}
