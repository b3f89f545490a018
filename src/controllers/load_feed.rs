//! In: samples of usage, counters of the front door, the world. Out: observations for the load models of services,
//! and those models.
//!
//! An observation is what one instance used and answered over the same few seconds. The agent reads usage at one
//! instant and the front door its counters at another, so requests are taken between readings as if they came evenly:
//! else a load that changes would be set against the usage of another moment, and its cost would seem smaller.
//! An instance counts once it has been ready for a while, and only while no rollout goes on.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::controllers::driver::chain;
use crate::domain::load::RequestCounters;
use crate::domain::load_model::{CostChange, LoadModel};
use crate::domain::quantity::Millicores;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};
use crate::forecasting::load_model::{Asked, Observation, ServiceModel, Unsteady};

/// The document that the models are kept in.
pub(super) const CHECKPOINT: &str = "load-models";
/// An observation spans at least so many seconds, so that single requests do not make it.
const SPAN_MIN: f64 = 5.0;
/// Answers between two readings that a 95th percentile is taken of.
const ANSWERS_MIN: u64 = 10;
/// Readings of an instance's counters that are kept at most.
const KNOTS_MAX: usize = 64;

/// The front door's counts for one instance at an instant.
#[derive(Debug, Clone, Copy)]
struct Knot {
    at: Timestamp,
    requests: u64,
    errors: u64,
}

/// What was measured of an instance since its last observation.
#[derive(Debug, Clone, Default)]
struct Span {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    seconds: f64,
    cpu_seconds: f64,
    throttled_seconds: f64,
    throttling_known: bool,
}

/// An instance as it is followed.
#[derive(Debug, Clone, Default)]
struct Instance {
    knots: VecDeque<Knot>,
    span: Span,
    /// Logarithms of 95th percentiles times answers, and answers.
    log_latency: f64,
    answers: f64,
}

/// Load models of all services, and what they are fed from.
#[derive(Debug, Default)]
pub struct LoadFeed {
    models: BTreeMap<WorkloadName, ServiceModel>,
    instances: BTreeMap<TaskId, Instance>,
    warm_up: SignedDuration,
}

impl LoadFeed {
    /// A feed that knows nothing yet. Instances count once they have been ready for `warm_up`.
    pub fn new(warm_up: SignedDuration) -> Self {
        Self { warm_up, ..Self::default() }
    }

    /// Takes up where the last engine left off, if that can be read.
    #[must_use]
    pub(super) fn restored(mut self, checkpoint: Option<&[u8]>) -> Self {
        let Some(checkpoint) = checkpoint else { return self };
        match postcard::from_bytes(checkpoint) {
            Ok(models) => self.models = models,
            Err(error) => tracing::warn!(error = %chain(&error), "load models begin anew"),
        }
        self
    }

    /// What `restored` reads.
    pub(super) fn checkpoint(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(&self.models)
    }

    /// Lets go what the world does not have.
    pub(super) fn retain(&mut self, world: &World) {
        self.instances.retain(|task, _| world.tasks.contains_key(task));
        self.models.retain(|name, _| world.workloads.contains_key(name));
    }

    /// Takes in the counters of an instance.
    pub(super) fn counted(
        &mut self,
        task: &TaskId,
        at: Timestamp,
        now: &RequestCounters,
        earlier: Option<&RequestCounters>,
    ) {
        let instance = self.instances.entry(task.clone()).or_default();
        if let Some(last) = instance.knots.back()
            && (at <= last.at || now.requests < last.requests)
        {
            // The clock was set, or the front door began to count anew.
            *instance = Instance::default();
        }
        instance.knots.push_back(Knot { at, requests: now.requests, errors: now.errors });
        if instance.knots.len() > KNOTS_MAX {
            instance.knots.pop_front();
        }
        if let Some(passed) = earlier.map(|earlier| now.since(earlier)).filter(|p| p.requests >= ANSWERS_MIN)
            && let Some(latency) = passed.fine_quantile(0.95)
        {
            instance.log_latency += latency.ln() * passed.requests as f64;
            instance.answers += passed.requests as f64;
        }
    }

    /// Takes in a sample; the counters up to it come first.
    pub(super) fn sampled(&mut self, world: &World, sample: &UsageSample) {
        let Some(task) = world.tasks.get(&sample.task) else { return };
        let Some(workload) = world.workloads.get(&sample.workload) else { return };
        if workload.spec.as_service().is_none() {
            return;
        }
        let Some(instance) = self.instances.get_mut(&sample.task) else { return };
        match unsteady(workload, task, sample, self.warm_up) {
            Ok(()) => {}
            Err(why) => {
                instance.restart();
                if let Some(why) = why {
                    self.models.entry(sample.workload.clone()).or_default().keep_out(why);
                }
                return;
            }
        }
        if !instance.add(sample) {
            return;
        }
        let Some(seen) = instance.observation(sample, task) else { return };
        let model = self.models.entry(sample.workload.clone()).or_default();
        model.follow(workload.revision);
        model.observe(&seen);
    }

    /// Revisions that have just been found to cost something else.
    pub(super) fn compare(&mut self) -> Vec<(WorkloadName, CostChange)> {
        let found = self.models.iter_mut().filter_map(|(name, model)| Some((name.clone(), model.compare()?)));
        found.collect()
    }

    /// The models as they are now.
    pub(super) fn models(&self, world: &World) -> BTreeMap<WorkloadName, LoadModel> {
        let model = |(name, model): (&WorkloadName, &ServiceModel)| {
            let workload = world.workloads.get(name).filter(|workload| !workload.deleted)?;
            let objective = workload.spec.as_service()?.latency_objective;
            let size = workload.size();
            let cores = size.cpu_limit.unwrap_or(size.request.cpu).cores();
            let asked = Asked {
                cores: (cores > 0.0).then_some(cores),
                latency: objective.map(|objective| objective.as_secs_f64()),
            };
            Some((name.clone(), model.model(asked)))
        };
        self.models.iter().filter_map(model).collect()
    }
}

/// Whether an instance did its usual work over all of a sample; else why not, where that is worth counting.
fn unsteady(
    workload: &Workload,
    task: &Task,
    sample: &UsageSample,
    warm_up: SignedDuration,
) -> Result<(), Option<Unsteady>> {
    if task.state != TaskState::Running || task.revision != workload.revision {
        return Err(None);
    }
    let (Some(seconds), Some(_)) = (sample.interval_seconds, sample.cpu_cores) else { return Err(None) };
    let began = sample.at - SignedDuration::from_secs_f64(seconds);
    let settled = |at: Timestamp| began.duration_since(at) >= warm_up;
    if let Some(rollout) = &workload.rollout
        && (rollout.state.is_open() || rollout.ended_at.is_some_and(|end| !settled(end)))
    {
        return Err(Some(Unsteady::Rollout));
    }
    if !task.ready_at.is_some_and(settled) {
        return Err(Some(Unsteady::Starting));
    }
    if workload.takes_traffic(task) { Ok(()) } else { Err(None) }
}

impl Instance {
    /// Forgets what was measured, but not where the counters stand.
    fn restart(&mut self) {
        self.span = Span::default();
        (self.log_latency, self.answers) = (0.0, 0.0);
        while self.knots.len() > 2 {
            self.knots.pop_front();
        }
    }

    /// Adds a sample; tells whether it is long enough for an observation.
    fn add(&mut self, sample: &UsageSample) -> bool {
        let (Some(seconds), Some(cores)) = (sample.interval_seconds, sample.cpu_cores) else { return false };
        let began = sample.at - SignedDuration::from_secs_f64(seconds);
        let follows = |until: Timestamp| began.duration_since(until).abs() < SignedDuration::from_millis(50);
        if !self.span.until.is_some_and(follows) {
            self.restart();
            self.span.since = Some(began);
        }
        self.span.until = Some(sample.at);
        self.span.seconds += seconds;
        self.span.cpu_seconds += cores * seconds;
        self.span.throttled_seconds += sample.throttled_share.unwrap_or(0.0) * seconds;
        self.span.throttling_known |= sample.throttled_share.is_some();
        self.span.seconds >= SPAN_MIN
    }

    /// The observation that ends with the sample; none where the counters do not span it.
    fn observation(&mut self, sample: &UsageSample, task: &Task) -> Option<Observation> {
        let span = std::mem::take(&mut self.span);
        let (log_latency, answers) =
            (std::mem::take(&mut self.log_latency), std::mem::take(&mut self.answers));
        self.span.until = span.until;
        self.span.since = span.until;
        let (since, until) = (span.since?, span.until?);
        let (before, after) = (self.counts_at(since), self.counts_at(until));
        while self.knots.get(1).is_some_and(|knot| knot.at <= until) {
            self.knots.pop_front();
        }
        let ((requests_before, errors_before), (requests, errors)) = (before?, after?);
        let answered = (requests - requests_before).max(0.0);
        let failed = (errors - errors_before).max(0.0);
        Some(Observation {
            at: until,
            load: answered / span.seconds,
            cpu: span.cpu_seconds / span.seconds,
            memory: sample.memory.as_f64(),
            latency: (answers > 0.0).then(|| (log_latency / answers).exp()),
            errors: if answered > 0.0 { failed / answered } else { 0.0 },
            throttled: span.throttling_known.then(|| span.throttled_seconds / span.seconds),
            cpu_limit: task.size.cpu_limit.map(Millicores::cores),
        })
    }

    /// Requests and errors up to an instant between two readings.
    fn counts_at(&self, at: Timestamp) -> Option<(f64, f64)> {
        let after = self.knots.iter().position(|knot| knot.at >= at)?;
        let later = self.knots[after];
        if later.at == at {
            return Some((later.requests as f64, later.errors as f64));
        }
        let earlier = self.knots[after.checked_sub(1)?];
        let whole = later.at.duration_since(earlier.at).as_secs_f64();
        let share = at.duration_since(earlier.at).as_secs_f64() / whole;
        let between = |a: u64, b: u64| a as f64 + share * (b.saturating_sub(a)) as f64;
        Some((between(earlier.requests, later.requests), between(earlier.errors, later.errors)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::{Bytes, Resources};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000_000 + millis).expect("an instant")
    }

    fn counters(requests: u64) -> RequestCounters {
        RequestCounters { requests, ..RequestCounters::default() }
    }

    fn sample(millis: i64, cores: f64) -> UsageSample {
        UsageSample {
            workload: WorkloadName::new("web").expect("a name"),
            task: "web.1".parse().expect("a task"),
            at: at(millis),
            interval_seconds: Some(5.0),
            cpu_cores: Some(cores),
            throttled_share: None,
            memory: Bytes::mib(10),
            page_cache: None,
            request: Resources::ZERO,
            oom_kills: 0,
        }
    }

    #[test]
    fn requests_are_counted_over_the_time_of_the_usage() {
        let mut feed = LoadFeed::new(SignedDuration::ZERO);
        let task: TaskId = "web.1".parse().expect("a task");
        // The load doubles at second 6; usage is read at 10, in between two readings of the counters.
        for (millis, requests) in [(1_000, 0), (6_000, 500), (11_000, 1_500)] {
            feed.counted(&task, at(millis), &counters(requests), None);
        }
        let instance = feed.instances.get_mut(&task).expect("an instance");
        assert_eq!(instance.counts_at(at(5_000)), Some((400.0, 0.0)));
        assert_eq!(instance.counts_at(at(10_000)), Some((1_300.0, 0.0)));
        assert_eq!(instance.counts_at(at(12_000)), None, "nobody has counted that far");
        assert_eq!(instance.counts_at(at(500)), None);
        assert!(instance.add(&sample(10_000, 0.5)), "five seconds are enough");
        assert_eq!((instance.span.since, instance.span.seconds), (Some(at(5_000)), 5.0));
        // A counter that began anew spoils nothing.
        feed.counted(&task, at(16_000), &counters(7), None);
        assert_eq!(feed.instances[&task].counts_at(at(15_000)), None);
    }
}
