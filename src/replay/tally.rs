//! What is counted of one workload under one policy, and how counts add up.

use std::ops::AddAssign;

use serde::Serialize;

/// Which part of a workload's life a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the trace's first step that counts.
    Unscored,
    /// The first 24 h of the workload: scored apart.
    Cold,
    /// The first 24 h of a task of an older workload.
    NewTask,
    /// Everything else.
    Settled,
}

/// Counts of one resource in one phase. Sums over steps: times the length of a step they are amounts of
/// time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Steps of tasks with usage.
    pub steps: u64,
    /// Those in which the policy knew nothing yet: the limit counts as the usage.
    pub withheld: u64,
    /// Memory: kills. CPU: steps with usage above the request.
    pub missed: u64,
    /// Usage above the limit, summed.
    pub excess: f64,
    /// Usage, summed.
    pub usage: f64,
    /// Limits, summed.
    pub footprint: f64,
    /// Limit less the p95 of the day's usage, summed.
    pub slack: f64,
    /// Steps in which the workload ran.
    pub workload_steps: u64,
    /// Changes that running tasks take: more memory, any CPU.
    pub in_place: u64,
    /// Changes that need a restart: less memory, which no running task can be trusted to give back.
    pub restarts: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.withheld += other.withheld;
        self.missed += other.missed;
        self.excess += other.excess;
        self.usage += other.usage;
        self.footprint += other.footprint;
        self.slack += other.slack;
        self.workload_steps += other.workload_steps;
        self.in_place += other.in_place;
        self.restarts += other.restarts;
    }
}

impl Counts {
    /// Counts one step of one task. A limit of nothing is the usage itself.
    pub(super) fn step(&mut self, usage: f64, limit: Option<f64>, p95: f64) {
        let in_force = limit.unwrap_or(usage);
        self.steps += 1;
        self.withheld += u64::from(limit.is_none());
        self.missed += u64::from(usage > in_force);
        self.excess += (usage - in_force).max(0.0);
        self.usage += usage;
        self.footprint += in_force;
        self.slack += in_force - p95;
    }
}

/// Counts of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Before the trace's first step that counts.
    pub unscored: Counts,
    /// The first 24 h of the workload.
    pub cold: Counts,
    /// The first 24 h of tasks of older workloads.
    pub new_task: Counts,
    /// Everything else.
    pub settled: Counts,
}

impl Phases {
    pub(super) fn of(&mut self, phase: Phase) -> &mut Counts {
        match phase {
            Phase::Unscored => &mut self.unscored,
            Phase::Cold => &mut self.cold,
            Phase::NewTask => &mut self.new_task,
            Phase::Settled => &mut self.settled,
        }
    }

    /// What the yardstick scores: all but the first 24 h of the workload.
    pub fn scored(&self) -> Counts {
        let mut sum = self.new_task;
        sum += self.settled;
        sum
    }
}

impl AddAssign for Phases {
    fn add_assign(&mut self, other: Self) {
        self.unscored += other.unscored;
        self.cold += other.cold;
        self.new_task += other.new_task;
        self.settled += other.settled;
    }
}

/// Counts of one workload under one policy, or of several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Memory.
    pub memory: Phases,
    /// CPU.
    pub cpu: Phases,
    /// Days on which a task of the workload was scored.
    pub days: u64,
    /// Those with more kills than the greater of 4 and a seventh of the day's tasks.
    pub severe_days: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.memory += other.memory;
        self.cpu += other.cpu;
        self.days += other.days;
        self.severe_days += other.severe_days;
    }
}

/// Adds up the tallies of several workloads.
pub fn sum<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Tally {
    tallies.into_iter().fold(Tally::default(), |mut sum, tally| {
        sum += *tally;
        sum
    })
}
