//! Any policy of the catalogue as an estimator of the engine: names become numbers, limits become estimates
//! with bounds, price and words. The policy is the one that a backtest replays.
//!
//! In: samples and kills of all workloads. Out: an `Estimate` a workload. It keeps a checkpoint where its policy
//! does; other policies are told the recorded history at each start.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::recommendation::{Candidate, Estimate, Recommendation, Withheld};
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::estimation::catalogue::{CatalogueError, ENTRIES, Entry, Recipe};
use crate::estimation::policy::{Asked, Grain, Kill, Limits, Observation, SizePolicy, WorkloadIndex};
use crate::estimation::profile::Profile;
use crate::estimation::sized::{Sized, with_limits};
use crate::estimation::{EstimationError, Estimator, OomKill, Subject};

/// What the engine sizes with unless somebody chose something else: a change counts as two hours of the new
/// limit, so that few are made.
pub const DEFAULT: &str = "loadline:change=2";

/// It says what the owner asked for: an engine that followed it would follow itself.
const NOT_FOR_ENGINES: &str = "request";

/// A kill is told by a sample and by the end of its task; so close to each other they are one, in ms.
const SAME_KILL: i64 = 60_000;
/// A task that was silent for so long has ended, in ms.
const TASK_SILENCE: i64 = 3_600_000;
/// Fewer tasks than this are not worth looking through for those that ended.
const TASKS_KEPT: usize = 16;
/// Samples that make a day of history, as VPA counts them.
const SAMPLES_PER_DAY: f64 = 1440.0;
/// A policy says one number. A request is left alone within this share of it either side, and further while
/// the history is short: by VPA's confidence, `1 + 1 / days` above and `(1 + 0.001 / days)^-2` below.
const BAND: f64 = 0.1;

/// The policies that the engine can size with.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().filter(|entry| entry.name != NOT_FOR_ENGINES)
}

/// Reads a policy that the engine can size with.
pub fn recipe(text: &str) -> Result<Recipe, CatalogueError> {
    let known: Vec<Entry> = entries().copied().collect();
    Recipe::parse(text, &known)
}

/// Less than this is not recommended, or not recommended from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Least {
    /// Samples of a workload.
    pub samples: u64,
    /// Time from its first sample to its newest one.
    pub history: SignedDuration,
    /// No smaller CPU request, unless the workload's policy says a least one itself.
    pub cpu: Option<Millicores>,
    /// No smaller memory request, in the same way.
    pub memory: Option<Bytes>,
}

impl Default for Least {
    fn default() -> Self {
        Self { samples: 1, history: SignedDuration::from_hours(24), cpu: None, memory: None }
    }
}

/// What is noted of one task.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct TaskNote {
    last: i64,
    killed: Option<i64>,
}

/// What is noted of one workload, besides what the policy knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    index: WorkloadIndex,
    tasks: BTreeMap<u64, TaskNote>,
    prune_at: usize,
    samples: u64,
    /// The first and the newest sample, in ms.
    life: Option<(i64, i64)>,
    oom: Option<(Timestamp, Bytes)>,
    /// The shape of its usage.
    profile: Profile,
}

/// A policy that sizes any number of workloads.
pub struct PolicyEstimator {
    label: String,
    policy: Box<dyn SizePolicy>,
    workloads: BTreeMap<WorkloadName, Known>,
    /// Numbers of workloads that are no more.
    free: Vec<WorkloadIndex>,
    newest: Option<Timestamp>,
    least: Least,
}

impl PolicyEstimator {
    /// An estimator that knows nothing yet.
    pub fn new(recipe: &Recipe, least: Least) -> Result<Self, CatalogueError> {
        Ok(Self {
            label: recipe.label().to_owned(),
            policy: recipe.make()?,
            workloads: BTreeMap::new(),
            free: Vec::new(),
            newest: None,
            least,
        })
    }

    fn known(&mut self, workload: &WorkloadName) -> &mut Known {
        let next = WorkloadIndex(self.workloads.len() as u32 + self.free.len() as u32);
        let free = &mut self.free;
        self.workloads.entry(workload.clone()).or_insert_with(|| Known {
            index: free.pop().unwrap_or(next),
            tasks: BTreeMap::new(),
            prune_at: TASKS_KEPT,
            samples: 0,
            life: None,
            oom: None,
            profile: Profile::default(),
        })
    }

    /// Tells the policy that everything before `at` was told, once for each instant.
    fn advance(&mut self, at: Timestamp) {
        if let Some(newest) = self.newest.filter(|newest| *newest < at) {
            self.policy.advance(newest);
        }
        self.newest = self.newest.max(Some(at));
    }

    fn kill(&mut self, workload: &WorkloadName, kill: &Kill) {
        let at = kill.at.as_millisecond();
        let known = self.known(workload);
        let note = known.tasks.entry(kill.task).or_insert(TaskNote { last: at, killed: None });
        if note.killed.is_some_and(|before| before.abs_diff(at) <= SAME_KILL as u64) {
            return;
        }
        note.killed = Some(at);
        known.profile.restarted(kill.task, kill.at);
        if known.oom.is_none_or(|(before, _)| before <= kill.at) {
            known.oom = Some((kill.at, Bytes::from_f64(kill.reached)));
        }
        let index = known.index;
        self.policy.observe_oom(index, kill);
    }

    /// The subject with the least request that the settings allow, where its policy says none.
    fn floored<'a>(&self, subject: &Subject<'a>) -> Subject<'a> {
        let mut floored = *subject;
        floored.bounds.min_cpu = subject.bounds.min_cpu.or(self.least.cpu);
        floored.bounds.min_memory = subject.bounds.min_memory.or(self.least.memory);
        floored
    }

    /// What the policy says of a workload. Tasks of one size each: the largest of those that run.
    fn limits(&self, known: &Known, now: Timestamp) -> Limits {
        match self.policy.grain() {
            Grain::Workload => self.policy.limits(known.index, None, now),
            Grain::Task => {
                let silent = now.as_millisecond().saturating_sub(TASK_SILENCE);
                let running = known.tasks.iter().filter(|(_, note)| note.last >= silent);
                running.fold(Limits::default(), |most, (task, _)| {
                    let said = self.policy.limits(known.index, Some(*task), now);
                    let larger = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
                    Limits { memory: larger(most.memory, said.memory), cpu: larger(most.cpu, said.cpu) }
                })
            }
        }
    }
}

impl Known {
    /// Why nothing is to be recommended yet. A kill is acted on whatever the age.
    fn too_young(&self, least: &Least) -> Option<Withheld> {
        if self.oom.is_some() {
            return None;
        }
        if self.samples < least.samples.max(1) {
            return Some(match self.samples {
                0 => Withheld::NoSamples,
                samples => Withheld::TooYoung { samples, needed: least.samples },
            });
        }
        let (first, last) = self.life.unwrap_or_default();
        let needed = i64::try_from(least.history.as_millis()).unwrap_or(i64::MAX);
        let told = |ms: i64| SignedDuration::from_mins(ms / 60_000);
        (last - first < needed).then(|| Withheld::TooUncertain {
            why: format!("{:#} of its usage are known, {:#} are needed", told(last - first), told(needed)),
        })
    }

    /// Days of history: the lesser of the days lived and the days that so many samples make.
    fn days(&self) -> f64 {
        let lived = self.life.map_or(0.0, |(first, last)| (last - first) as f64 / 86_400_000.0);
        lived.min(self.samples as f64 / SAMPLES_PER_DAY)
    }

    /// Runs of a cron job are new tasks each time: those that ended are let go.
    fn prune(&mut self, at: i64) {
        if self.tasks.len() >= self.prune_at {
            self.tasks.retain(|_, note| at.saturating_sub(note.last) <= TASK_SILENCE);
            self.prune_at = TASKS_KEPT.max(2 * self.tasks.len());
        }
    }
}

impl Estimator for PolicyEstimator {
    fn observe(&mut self, sample: &UsageSample) {
        let (task, at) = (sample.task.number(), sample.at.as_millisecond());
        let known = self.known(&sample.workload);
        if known.tasks.get(&task).is_some_and(|note| at <= note.last) {
            return;
        }
        known.prune(at);
        known.tasks.entry(task).or_insert(TaskNote { last: at, killed: None }).last = at;
        let new = known.samples == 0;
        known.samples += 1;
        let (first, last) = known.life.unwrap_or((at, at));
        known.life = Some((first.min(at), last.max(at)));
        let (cores, bytes) = (sample.cpu_cores.map(|cores| cores as f32), sample.memory.as_f64() as f32);
        known.profile.observe(task, sample.at, cores, Some(bytes));
        let index = known.index;
        self.advance(sample.at);
        if new {
            let request = sample.request;
            let asked = Asked { cpu: Some(request.cpu.cores()), memory: Some(request.memory.as_f64()) };
            self.policy.declare(index, asked, sample.at);
        }
        let mut observation = Observation::of(sample);
        observation.cpu = observation.cpu.filter(|cores| cores.is_finite() && *cores >= 0.0);
        self.policy.observe(index, &observation);
        if sample.oom_kills > 0 {
            // The task lived on: a process within it was killed.
            let reached = sample.request.memory.max(sample.memory).as_f64();
            self.kill(&sample.workload, &Kill { task, at: sample.at, reached });
        }
    }

    fn observe_oom(&mut self, kill: &OomKill) {
        self.advance(kill.at);
        self.kill(kill.task.workload(), &Kill::of(kill));
    }

    fn estimate(&self, subject: &Subject<'_>, now: Timestamp) -> Estimate {
        let Some(known) = self.workloads.get(subject.workload) else {
            return Estimate::Withheld(Withheld::NoSamples);
        };
        if let Some(why) = known.too_young(&self.least) {
            return Estimate::Withheld(why);
        }
        let limits = self.limits(known, now);
        if limits.cpu.is_none() && limits.memory.is_none() {
            let why = format!("policy {} says nothing of it yet", self.label);
            return Estimate::Withheld(Withheld::TooUncertain { why });
        }
        let days = known.days();
        let account = self.policy.account(known.index, now);
        let subject = &self.floored(subject);
        let cpu = cpu(limits.cpu, account.cpu_bounds, days, subject);
        let memory = memory(limits.memory, account.memory_bounds, days, subject);
        let killed = known.oom.map(|(at, used)| format!(", the last OOM kill was at {used} on {at:.0}"));
        let size = with_limits(Resources::new(cpu.target, memory.target), subject);
        let price = |request| subject.prices.per_hour(request);
        Estimate::Recommended(Box::new(Recommendation {
            workload: subject.workload.clone(),
            at: now,
            size,
            lower: Resources::new(cpu.lower, memory.lower),
            upper: Resources::new(cpu.upper, memory.upper),
            samples: known.samples,
            confidence_days: days,
            reason: format!(
                "policy {}: {}; {}{}",
                self.label,
                cpu.reason,
                memory.reason,
                killed.unwrap_or_default()
            ),
            price_effect: price(size.request) - price(subject.current.request),
            risk: account.risk,
            reasons: account.reasons,
            candidates: account
                .candidates
                .into_iter()
                .map(|(bytes, risk)| Candidate { memory: Bytes::from_f64(bytes), risk })
                .collect(),
            findings: known.profile.findings(now),
        }))
    }

    fn last_oom(&self, workload: &WorkloadName) -> Option<Timestamp> {
        self.workloads.get(workload)?.oom.map(|(at, _)| at)
    }

    fn forget(&mut self, workload: &WorkloadName) {
        if let Some(known) = self.workloads.remove(workload) {
            self.policy.forget(known.index);
            self.free.push(known.index);
        }
    }

    fn keeps_checkpoint(&self) -> bool {
        self.policy.keeps_checkpoint()
    }

    fn checkpoint(&self) -> Result<Vec<u8>, EstimationError> {
        let policy = self.policy.checkpoint()?;
        let notes = Notes {
            label: self.label.clone(),
            workloads: self.workloads.clone(),
            free: self.free.clone(),
            newest: self.newest,
            policy,
        };
        Ok(postcard::to_stdvec(&notes)?)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), EstimationError> {
        let notes: Notes = postcard::from_bytes(checkpoint)?;
        if notes.label != self.label {
            return Err(EstimationError::CheckpointUnfit(format!("it is of policy {}", notes.label)));
        }
        self.policy.restore(&notes.policy)?;
        (self.workloads, self.free, self.newest) = (notes.workloads, notes.free, notes.newest);
        Ok(())
    }
}

/// A checkpoint.
#[derive(Serialize, Deserialize)]
struct Notes {
    label: String,
    workloads: BTreeMap<WorkloadName, Known>,
    free: Vec<WorkloadIndex>,
    newest: Option<Timestamp>,
    policy: Vec<u8>,
}

/// Below and above what a request counts as too small or too large.
fn band(target: f64, days: f64) -> (f64, f64) {
    // A minute is history enough for a bound that is a number.
    let days = days.max(0.001);
    let lower = target * (1.0 - BAND) * (1.0 + 0.001 / days).powi(-2);
    (lower, target * (1.0 + BAND) * (1.0 + 1.0 / days))
}

fn cpu(said: Option<f64>, own: Option<(f64, f64)>, days: f64, subject: &Subject<'_>) -> Sized<Millicores> {
    let current = subject.current.request.cpu;
    let sized = match said {
        Some(cores) => {
            let (lower, upper) = own.unwrap_or_else(|| band(cores, days));
            Sized {
                target: Millicores::from_cores(cores),
                lower: Millicores::from_cores(lower),
                upper: Millicores::from_cores(upper),
                reason: format!("CPU {cores:.3} cores"),
            }
        }
        None => Sized { target: current, lower: current, upper: current, reason: "CPU as it is".to_owned() },
    };
    sized.within(subject.bounds.min_cpu, subject.bounds.max_cpu, "cpu")
}

fn memory(said: Option<f64>, own: Option<(f64, f64)>, days: f64, subject: &Subject<'_>) -> Sized<Bytes> {
    let current = subject.current.request.memory;
    let sized = match said {
        Some(bytes) => {
            let (lower, upper) = own.unwrap_or_else(|| band(bytes, days));
            let target = Bytes::from_f64(bytes);
            Sized {
                target,
                lower: Bytes::from_f64(lower),
                upper: Bytes::from_f64(upper),
                reason: format!("memory {target}"),
            }
        }
        None => {
            Sized { target: current, lower: current, upper: current, reason: "memory as it is".to_owned() }
        }
    };
    sized.within(subject.bounds.min_memory, subject.bounds.max_memory, "memory")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::money::{MicroCents, Prices};
    use crate::domain::policy::SizeBounds;
    use crate::domain::quantity::TaskSize;
    use crate::domain::task::TaskId;

    fn name(text: &str) -> WorkloadName {
        WorkloadName::new(text).expect("a name")
    }

    fn sample(workload: &str, task: u64, minutes: i64, megabytes: u64) -> UsageSample {
        UsageSample {
            workload: name(workload),
            task: TaskId::new(name(workload), task),
            at: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes),
            interval_seconds: Some(60.0),
            cpu_cores: Some(0.2),
            throttled_share: None,
            memory: Bytes::new(megabytes * 1_000_000),
            page_cache: None,
            request: Resources::new(Millicores::new(500), Bytes::new(900_000_000)),
            oom_kills: 0,
        }
    }

    fn estimator(label: &str) -> PolicyEstimator {
        PolicyEstimator::new(&recipe(label).expect("a policy"), Least { samples: 10, ..Least::default() })
            .expect("an estimator")
    }

    fn answer(estimator: &PolicyEstimator, workload: &str, minutes: i64, bounds: SizeBounds) -> Estimate {
        let prices =
            Prices { core_hour: MicroCents::from_units(0.04), gib_hour: MicroCents::from_units(0.004) };
        let mut current = TaskSize::of(Resources::new(Millicores::new(500), Bytes::new(900_000_000)));
        current.memory_limit = Bytes::new(1_800_000_000);
        let workload = name(workload);
        let subject = Subject { workload: &workload, declared: current, current, bounds, prices };
        estimator.estimate(&subject, Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes))
    }

    fn recommended(estimator: &PolicyEstimator, workload: &str, bounds: SizeBounds) -> Recommendation {
        match answer(estimator, workload, 4320, bounds) {
            Estimate::Recommended(found) => *found,
            Estimate::Withheld(why) => panic!("withheld: {why}"),
        }
    }

    #[test]
    fn every_policy_for_engines_sizes_a_steady_workload_near_its_use() {
        for entry in entries() {
            let mut estimator = estimator(entry.name);
            (0..4320).for_each(|minute| estimator.observe(&sample("web", 1, minute, 400)));
            let found = recommended(&estimator, "web", SizeBounds::default());
            let memory = found.size.request.memory.as_f64();
            // For `loadline` what is small is cheap to keep safe: three days prove little.
            let most = if entry.name == "loadline" { 12e8 } else { 7e8 };
            assert!((4e8..most).contains(&memory), "{}: {memory}", entry.name);
            assert!(
                found.lower.memory < found.size.request.memory
                    && found.size.request.memory < found.upper.memory
            );
            assert_eq!(
                found.size.memory_limit.get(),
                found.size.request.memory.get() * 2,
                "the declared ratio"
            );
            assert!(found.reason.starts_with(&format!("policy {}: CPU 0.", entry.name)), "{}", found.reason);
            assert_eq!((found.samples, found.price_effect.get() < 0), (4320, true));
        }
    }

    #[test]
    fn what_the_owner_asked_for_is_no_policy_for_engines() {
        let fault = recipe("request").expect_err("a fault").to_string();
        assert!(fault.starts_with("there is no policy `request`; there are loadline, vpa"), "{fault}");
    }

    #[test]
    fn the_young_and_the_silent_get_no_size() {
        let mut young = estimator("krr");
        assert_eq!(answer(&young, "web", 0, SizeBounds::default()), Estimate::Withheld(Withheld::NoSamples));
        (0..9).for_each(|minute| young.observe(&sample("web", 1, minute, 400)));
        let few = Withheld::TooYoung { samples: 9, needed: 10 };
        assert_eq!(answer(&young, "web", 9, SizeBounds::default()), Estimate::Withheld(few));
        let least = Least { history: SignedDuration::from_hours(1), ..Least::default() };
        let mut nomad = PolicyEstimator::new(&recipe("nomad").expect("a policy"), least).expect("it");
        (0..90).for_each(|minute| nomad.observe(&sample("web", 1, minute, 400)));
        let why = "policy nomad says nothing of it yet".to_owned();
        let silent = Estimate::Withheld(Withheld::TooUncertain { why });
        assert_eq!(answer(&nomad, "web", 90, SizeBounds::default()), silent);
    }

    #[test]
    fn less_than_a_day_is_no_ground_for_a_size_unless_a_task_was_killed() {
        let mut young = estimator(DEFAULT);
        (0..1440).for_each(|minute| young.observe(&sample("web", 1, minute, 400)));
        let said = |young: &PolicyEstimator| match answer(young, "web", 1440, SizeBounds::default()) {
            Estimate::Withheld(why) => why.to_string(),
            Estimate::Recommended(found) => found.size.request.memory.to_string(),
        };
        assert_eq!(said(&young), "too uncertain: 23h 59m of its usage are known, 24h are needed");
        let mut killed = estimator(DEFAULT);
        (0..20).for_each(|minute| killed.observe(&sample("web", 1, minute, 400)));
        killed.observe_oom(&OomKill {
            task: TaskId::new(name("web"), 1),
            at: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(20),
            request: Bytes::new(900_000_000),
            limit: None,
            peak: None,
        });
        match answer(&killed, "web", 21, SizeBounds::default()) {
            Estimate::Recommended(found) => {
                assert!(found.size.request.memory.as_f64() >= 1.08e9, "{}", found.size);
            }
            Estimate::Withheld(why) => panic!("a kill is acted on: {why}"),
        }
        young.observe(&sample("web", 1, 1440, 400));
        assert!(!said(&young).contains("uncertain"));
    }

    #[test]
    fn a_steady_workload_keeps_its_size_for_hours() {
        let mut default = estimator(DEFAULT);
        let mut sizes = Vec::new();
        for minute in 0..2 * 1440 {
            // Noise of 3 %.
            default.observe(&sample("web", 1, minute, 400 + (minute * 7919 % 13) as u64));
            if minute >= 1440
                && let Estimate::Recommended(found) = answer(&default, "web", minute, SizeBounds::default())
            {
                sizes.push(found.size.request.memory);
            }
        }
        let changes = sizes.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(sizes.len() == 1440 && changes <= 3, "{changes} changes a day");
    }

    #[test]
    fn the_settings_floor_holds_where_the_policy_says_none() {
        let least = Least { memory: Some(Bytes::new(700_000_000)), ..Least::default() };
        let mut floored = PolicyEstimator::new(&recipe("krr").expect("a policy"), least).expect("it");
        (0..4320).for_each(|minute| floored.observe(&sample("web", 1, minute, 400)));
        let request = |bounds| recommended(&floored, "web", bounds).size.request.memory.get();
        assert_eq!(request(SizeBounds::default()), 700_000_000);
        let own = SizeBounds { min_memory: Some(Bytes::new(300_000_000)), ..SizeBounds::default() };
        assert!((400_000_000..500_000_000).contains(&request(own)));
    }

    #[test]
    fn bounds_of_the_spec_hold_and_are_named() {
        let mut estimator = estimator("krr:margin=2");
        (0..4320).for_each(|minute| estimator.observe(&sample("web", 1, minute, 400)));
        let bounds = SizeBounds { max_memory: Some(Bytes::new(500_000_000)), ..SizeBounds::default() };
        let found = recommended(&estimator, "web", bounds);
        assert_eq!((found.size.request.memory.get(), found.upper.memory.get()), (500_000_000, 500_000_000));
        assert!(found.reason.contains("held at the policy's max_memory"), "{}", found.reason);
    }

    #[test]
    fn a_kill_is_told_once_and_raises_the_size() {
        let fed = |told: usize| {
            let mut estimator = estimator("krr");
            (0..2000).for_each(|minute| estimator.observe(&sample("web", 1, minute, 400)));
            let at = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(2000);
            for seconds in [0, 20].into_iter().take(told) {
                estimator.observe_oom(&OomKill {
                    task: TaskId::new(name("web"), 1),
                    at: at + SignedDuration::from_secs(seconds),
                    request: Bytes::new(900_000_000),
                    limit: None,
                    peak: None,
                });
            }
            (estimator.last_oom(&name("web")), recommended(&estimator, "web", SizeBounds::default()).size)
        };
        let (none, once, twice) = (fed(0), fed(1), fed(2));
        assert_eq!(once, twice);
        assert_eq!((none.0.is_some(), once.0.is_some()), (false, true));
        assert!(once.1.request.memory > none.1.request.memory);
    }

    #[test]
    fn workloads_keep_apart_and_history_may_be_told_twice() {
        let mut both = estimator("autopilot-window");
        for minute in 0..3000 {
            both.observe(&sample("big", 1, minute, 900));
            both.observe(&sample("small", 7, minute, 200));
        }
        let before = recommended(&both, "small", SizeBounds::default());
        (0..3000).for_each(|minute| both.observe(&sample("small", 7, minute, 800)));
        assert_eq!(recommended(&both, "small", SizeBounds::default()), before);
        both.forget(&name("big"));
        assert_eq!(
            answer(&both, "big", 3000, SizeBounds::default()),
            Estimate::Withheld(Withheld::NoSamples)
        );
        // The number of the one that went is taken by the one that comes, without its past.
        (3000..6000).for_each(|minute| both.observe(&sample("new", 1, minute, 300)));
        let found = recommended(&both, "new", SizeBounds::default()).size.request.memory.as_f64();
        assert!((3e8..4e8).contains(&found), "{found}");
        assert_eq!(recommended(&both, "small", SizeBounds::default()), before);
    }
}
