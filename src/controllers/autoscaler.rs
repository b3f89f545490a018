//! In: what was measured and recommended, and the policies. Out: decisions about counts and sizes,
//! recorded with everything that they were made from, and carried out where the policy lets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, broadcast, watch};

use crate::controllers::analyst::{Analysis, Analyst};
use crate::controllers::control::blocking;
use crate::controllers::count_policies::{CountCatalogue, CountPolicies};
use crate::controllers::decisions::Recorder;
use crate::controllers::joint::{self, RecentLoads};
use crate::controllers::read_ahead::ReadAhead;
use crate::controllers::readings::{Asked, ReadingMemory, Readings, SCRAPES_MISSED_MAX};
use crate::controllers::scheduler::Pass;
use crate::controllers::sizing::settled_since;
use crate::controllers::startups::Startups;
use crate::controllers::state::EngineState;
use crate::domain::action::ActionKey;
use crate::domain::change::{Change, RecordedChange};
use crate::domain::decision::{DecisionId, DecisionKind};
use crate::domain::load::LoadReading;
use crate::domain::money::Prices;
use crate::domain::node::PoolSpec;
use crate::domain::observation::Observed;
use crate::domain::plan::Alarm;
use crate::domain::policy::PolicyMode;
use crate::domain::quantity::Resources;
use crate::domain::recommendation::Estimate;
use crate::domain::scale::{CountPolicyKind, MetricTarget, QueueSource, ScaleBounds, ScaleSpec};
use crate::domain::scale_status::ScaleStatus;
use crate::domain::task::Task;
use crate::domain::workload::{ServiceSpec, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::ports::front_door::FrontDoor;
use crate::ports::metric_source::MetricSource;
use crate::ports::store::StoreError;
use crate::scaling::horizontal::{
    self, HorizontalParameters, HorizontalState, InstanceStatus, MetricReading, ServiceStatus, Verdict,
};
use crate::scaling::planned::Before;
use crate::scaling::policy_count::{self, Pace};
use crate::scaling::vertical;
use crate::scaling::zero::{self, Activity, ActivityState};
use crate::scheduling::is_ready;

/// The document that the states of counts are kept in, so that a restart forgets no stabilisation.
const CHECKPOINT: &str = "counts";
/// The document of what else is remembered: start-up times, what was believed of metrics, idle times.
const MEMORY: &str = "scaling";

/// What an instance takes to start, in seconds, as long as none has.
const STARTUP: f64 = 60.0;

/// What the autoscaler takes for granted.
#[derive(Debug, Clone)]
pub struct AutoscalerSettings {
    /// From one scrape to the next.
    pub scrape_interval: SignedDuration,
    /// From one decision to the next.
    pub interval: SignedDuration,
    /// The policies of counts besides HPA.
    pub policies: CountCatalogue,
    /// Counts.
    pub horizontal: HorizontalParameters,
    /// Sizes.
    pub vertical: vertical::VerticalParameters,
    /// What resources cost.
    pub prices: Prices,
}

/// The autoscaler's loop body.
pub struct Autoscaler {
    state: Arc<EngineState>,
    analyst: Arc<Analyst>,
    analysis: watch::Receiver<Analysis>,
    passes: watch::Receiver<Pass>,
    readings: Readings,
    front_door: Arc<dyn FrontDoor>,
    recorder: Recorder,
    settings: AutoscalerSettings,
    memory: Mutex<Memory>,
    changes: Mutex<broadcast::Receiver<Arc<RecordedChange>>>,
    finished: watch::Sender<Option<Timestamp>>,
    published: watch::Sender<Scaling>,
}

/// What is remembered from one pass to the next.
#[derive(Default)]
struct Memory {
    counts: BTreeMap<WorkloadName, HorizontalState>,
    /// The loads that sizes and counts are decided together from.
    loads: RecentLoads,
    kept: Kept,
    policies: CountPolicies,
    /// How far the clock had been moved when it was last looked at.
    clock_moved: SignedDuration,
    statuses: BTreeMap<WorkloadName, ScaleStatus>,
}

/// What outlives the engine besides the states of counts.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    #[serde(default)]
    readings: ReadingMemory,
    #[serde(default)]
    activity: BTreeMap<WorkloadName, ActivityState>,
    #[serde(default)]
    startups: Startups,
    /// What loads were before what is planned.
    #[serde(default)]
    planned: BTreeMap<WorkloadName, Before>,
}

impl Memory {
    /// Windows and periods go on as they were where the machine's clock was set.
    fn follow_clock(&mut self, moved: SignedDuration, now: Timestamp) {
        let by = moved - self.clock_moved;
        if by.is_zero() {
            return;
        }
        self.clock_moved = moved;
        self.counts.values_mut().for_each(|counts| counts.clock_moved(by));
        self.loads.clear();
        self.kept.activity.values_mut().for_each(|activity| activity.clock_moved(by));
        self.kept.readings.clock_moved(by, now);
    }

    /// Forgets what is about services that are gone.
    fn keep(&mut self, world: &World) {
        let scales = |name: &WorkloadName| {
            let service = world.workloads.get(name).and_then(|workload| workload.spec.as_service());
            service.is_some_and(|service| service.scale.is_some())
        };
        self.counts.retain(|name, _| scales(name));
        self.kept.activity.retain(|name, _| scales(name));
        self.kept.planned.retain(|name, _| scales(name));
        self.statuses.retain(|name, _| scales(name));
        self.kept.readings.keep(world);
        self.policies.keep(world);
    }
}

/// How the counts of services stand, for people.
#[derive(Debug, Clone, Default)]
pub struct Scaling {
    /// By service.
    pub statuses: Arc<BTreeMap<WorkloadName, ScaleStatus>>,
    /// What is wrong with metrics.
    pub alarms: Arc<Vec<Alarm>>,
}

/// What one pass decides from.
struct Seen<'a> {
    world: &'a World,
    observed: &'a Observed,
    analysis: &'a Analysis,
    load: &'a BTreeMap<WorkloadName, LoadReading>,
    now: Timestamp,
}

impl Autoscaler {
    /// An autoscaler that takes up where the last engine left off.
    pub fn new(
        state: Arc<EngineState>,
        analyst: Arc<Analyst>,
        (analysis, passes): (watch::Receiver<Analysis>, watch::Receiver<Pass>),
        (metrics, front_door): (Arc<dyn MetricSource>, Arc<dyn FrontDoor>),
        recorder: Recorder,
        settings: AutoscalerSettings,
    ) -> Result<Self, StoreError> {
        let read = |name| state.store().document(name);
        let counts = read(CHECKPOINT)?.and_then(|text| serde_json::from_slice(&text).ok());
        let kept = read(MEMORY)?.and_then(|text| serde_json::from_slice(&text).ok());
        let (counts, kept) = (counts.unwrap_or_default(), kept.unwrap_or_default());
        let known = read(CountPolicies::DOCUMENT)?;
        let policies = CountPolicies::new(settings.policies.clone(), known.as_deref());
        let memory = Mutex::new(Memory { counts, kept, policies, ..Memory::default() });
        let changes = Mutex::new(state.subscribe());
        let readings =
            Readings { source: ReadAhead::new(metrics), scrape_interval: settings.scrape_interval };
        let (finished, published) = (watch::Sender::new(None), watch::Sender::new(Scaling::default()));
        Ok(Self {
            state,
            analyst,
            analysis,
            passes,
            readings,
            front_door,
            recorder,
            settings,
            memory,
            changes,
            finished,
            published,
        })
    }

    /// When it last finished a pass.
    pub fn finished(&self) -> watch::Receiver<Option<Timestamp>> {
        self.finished.subscribe()
    }

    /// How counts stand.
    pub fn scaling(&self) -> watch::Receiver<Scaling> {
        self.published.subscribe()
    }

    /// Decides the count of every service that scales, and the size of every workload.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let world = self.state.world().await;
        let analysis = self.analysis.borrow().clone();
        let observed = Arc::clone(&self.passes.borrow().observed);
        self.readings.source.look(&world).await;
        let mut memory = self.memory.lock().await;
        memory.keep(&world);
        memory.loads.retain(&world);
        let (now, moved) = self.state.now_and_moved();
        memory.follow_clock(moved, now);
        memory.kept.startups.take(&mut *self.changes.lock().await, &world);
        let load: BTreeMap<_, _> =
            self.front_door.load().into_iter().map(|load| (load.workload.clone(), load)).collect();
        let seen = Seen { world: &world, observed: &observed, analysis: &analysis, load: &load, now };
        for workload in world.workloads.values().filter(|workload| !workload.deleted) {
            if self.decide_both(&world, workload, &analysis, &mut memory, now).await? {
                continue;
            }
            let policy = world.policy_of(workload);
            if policy.count != PolicyMode::Off {
                self.keep_count(&seen, workload, &mut memory).await?;
            }
            if policy.size != PolicyMode::Off && !world.advice_is_settled(&workload.name) {
                self.decide_size(&world, workload, &analysis, now).await?;
            }
        }
        self.publish(&memory.statuses);
        let counts = serde_json::to_vec(&memory.counts).unwrap_or_default();
        let kept = serde_json::to_vec(&memory.kept).unwrap_or_default();
        let policies = memory.policies.document();
        let store = Arc::clone(self.state.store());
        blocking(move || {
            store.put_document(CHECKPOINT, &counts)?;
            store.put_document(CountPolicies::DOCUMENT, &policies)?;
            store.put_document(MEMORY, &kept)
        })
        .await?;
        self.finished.send_replace(Some(self.state.clock().now()));
        Ok(())
    }

    /// Decides size and count together, and tells whether they are decided so.
    async fn decide_both(
        &self,
        world: &World,
        workload: &Workload,
        analysis: &Analysis,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if is_by_hand(world, workload) || world.advice_is_settled(&workload.name) {
            return Ok(false);
        }
        let late = self.settings.scrape_interval * SCRAPES_MISSED_MAX;
        let given =
            (&self.settings.prices, &joint::Times { late, size_min_age: self.settings.vertical.min_age });
        let loads = &mut memory.loads;
        let Some(proposals) = joint::proposals(world, workload, (analysis, loads), given, now) else {
            return Ok(false);
        };
        for proposal in proposals {
            let kind = proposal.kind.clone();
            let changes = |id| size_set(&kind, id).or_else(|| count_set(&kind, id)).into_iter().collect();
            let applied = self.recorder.record(PolicyMode::Auto, proposal, changes).await?;
            if let Some(DecisionKind::Count { from, to, .. }) = applied {
                memory.counts.entry(workload.name.clone()).or_default().applied(from, to, now);
            }
        }
        Ok(true)
    }

    fn publish(&self, statuses: &BTreeMap<WorkloadName, ScaleStatus>) {
        self.state.telemetry().scaling(statuses);
        let alarms = statuses.iter().flat_map(|(name, status)| {
            status.conditions.iter().map(|condition| Alarm {
                kind: condition.fault.as_str().to_owned(),
                workload: Some(name.clone()),
                message: format!("{}: {}", condition.metric, condition.message),
                since: condition.since,
            })
        });
        let alarms = Arc::new(alarms.collect());
        self.published.send_replace(Scaling { statuses: Arc::new(statuses.clone()), alarms });
    }

    /// Decides the count of a service that scales, and says how it stands.
    async fn keep_count(
        &self,
        seen: &Seen<'_>,
        workload: &Workload,
        memory: &mut Memory,
    ) -> Result<(), StoreError> {
        let Some(service) = workload.spec.as_service() else { return Ok(()) };
        let Some(scale) = &service.scale else { return Ok(()) };
        let name = &workload.name;
        let bounds = scale.bounds_at(seen.now);
        let (rule, reason) = if seen.world.paused(name).is_some() {
            ("paused".to_owned(), "the service is paused".to_owned())
        } else if is_by_hand(seen.world, workload) {
            ("by hand".to_owned(), "its count was set by hand for a while".to_owned())
        } else {
            self.decide_count(seen, (workload, service, scale), bounds, memory).await?
        };
        let window = bounds.window.and_then(|index| scale.windows.get(index));
        let activity = memory.kept.activity.get(name).filter(|_| scale.reaches_zero());
        let status = ScaleStatus {
            policy: self.at_work(scale.policy),
            min: bounds.min,
            max: bounds.max,
            window: window.map(|window| window.times.to_string()),
            rule,
            reason,
            conditions: memory.kept.readings.conditions(name, seen.now),
            startup: memory.kept.startups.of(workload),
            held: self.front_door.held().get(name).copied().unwrap_or(0),
            idle_since: activity.and_then(ActivityState::idle_since),
        };
        memory.statuses.insert(name.clone(), status);
        Ok(())
    }

    /// The policy that decides where this one is named.
    fn at_work(&self, named: CountPolicyKind) -> CountPolicyKind {
        if self.settings.policies.contains_key(&named) { named } else { CountPolicyKind::Hpa }
    }

    /// The rule that holds, or changed, the count, and why.
    async fn decide_count(
        &self,
        seen: &Seen<'_>,
        (workload, service, scale): (&Workload, &ServiceSpec, &ScaleSpec),
        bounds: ScaleBounds,
        memory: &mut Memory,
    ) -> Result<(String, String), StoreError> {
        let name = &workload.name;
        // Instances that wait for a switch would halve the mean.
        let tasks: Vec<&Task> = seen
            .world
            .tasks_of(name)
            .filter(|task| task.state.is_active() && workload.takes_traffic(task))
            .collect();
        let load = seen.load.get(name);
        let (world, analysis, now) = (seen.world, seen.analysis, seen.now);
        let asked = Asked { world, workload, service, tasks: &tasks, analysis, load, now };
        let mut readings = Vec::new();
        for metric in &scale.metrics {
            readings.push(self.readings.read(metric, &asked, &mut memory.kept.readings).await);
        }
        let price = self.settings.prices.per_hour(workload.size().request);
        // Read after the metrics, which take their time: a request of this moment counts.
        let activity = self.activity(name, &scale.metrics, &readings);
        let idle = memory.kept.activity.entry(name.clone()).or_default();
        idle.observe(activity, now);
        let counts = memory.counts.entry(name.clone()).or_default();
        let mut spec = ScaleSpec { min: bounds.min, max: bounds.max, ..scale.clone() };
        let idle = idle.idle_since().filter(|_| idle.idle_for(scale.zero.idle_after, now));
        let status = ServiceStatus {
            workload: name,
            count: workload.count,
            stopped: world.stopped_by_hand(workload),
            instances: tasks.iter().map(|task| instance(task, seen.observed)).collect(),
            readings,
            instance_price: price,
        };
        let startup = memory.kept.startups.of(workload).map_or(STARTUP, |known| known.seconds);
        let verdict = if let Some(since) = idle.filter(|_| bounds.min == 0 && workload.count > 0) {
            let to = counts.downwards(&spec, workload.count, 0, now);
            zero::sleep(name, (workload.count, to), (now.duration_since(since), price))
        } else {
            // Without a metric's say the last instance stays: it leaves only for want of requests.
            spec.min = spec.min.max(u32::from(workload.count > 0)).min(spec.max);
            match memory.policies.of(name, &spec) {
                Some(policies) => {
                    let pace = Pace { startup, interval: self.settings.interval.as_secs_f64() };
                    policy_count::decide(&spec, &status, policies, pace, counts, now)
                }
                None => horizontal::decide(&spec, &status, &self.settings.horizontal, counts, now),
            }
        };
        let ahead = self.settings.interval.saturating_add(SignedDuration::from_secs_f64(startup));
        let planned = memory.kept.planned.entry(name.clone()).or_default();
        let verdict = planned.raise(verdict, (&spec, &status), ahead, now);
        let proposal = match verdict {
            Verdict::Hold { rule, reason, .. } => return Ok((rule.to_owned(), reason)),
            Verdict::Change(proposal) => proposal,
        };
        let mode = world.policy_of(workload).count;
        let kind = proposal.kind.clone();
        let said = (proposal.rule.clone(), proposal.reason.clone());
        let applied =
            self.recorder.record(mode, *proposal, |id| count_set(&kind, id).into_iter().collect()).await?;
        if let Some(DecisionKind::Count { from, to, .. }) = applied {
            counts.applied(from, to, now);
        }
        Ok(said)
    }

    /// What there is to do for a service, as far as that is known.
    fn activity(
        &self,
        name: &WorkloadName,
        metrics: &[MetricTarget],
        readings: &[MetricReading],
    ) -> Activity {
        let load = self.front_door.load().into_iter().find(|load| load.workload == *name);
        let waits = |(metric, reading): (&MetricTarget, &MetricReading)| {
            let counted =
                matches!(metric, MetricTarget::Queue(queue) if queue.source != QueueSource::FrontDoor);
            let nothing = matches!(
                reading,
                MetricReading::Queue { length, age_seconds }
                    if length.unwrap_or(0.0) <= 0.0 && (length.is_some() || age_seconds.unwrap_or(0.0) <= 0.0)
            );
            counted && !nothing
        };
        Activity {
            requests: load.as_ref().map(|load| load.total.requests),
            in_flight: load.map_or(0, |load| load.total.in_flight),
            work_waits: metrics.iter().zip(readings).any(waits),
        }
    }

    async fn decide_size(
        &self,
        world: &World,
        workload: &Workload,
        analysis: &Analysis,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(Estimate::Recommended(recommendation)) = analysis.recommendations.get(&workload.name) else {
            return Ok(());
        };
        let policy = world.policy_of(workload);
        let status = vertical::SizeStatus {
            current: workload.size(),
            since: settled_since(world, workload),
            last_oom: self.analyst.last_oom(&workload.name),
            instances: workload.spec.as_service().map_or(1, |_| workload.count),
            largest_node: largest_node(world),
        };
        if workload.size.as_ref().is_some_and(|size| !size.everywhere) {
            // A smaller size is being tried on one task: what comes of it is waited for.
            return Ok(());
        }
        let (parameters, prices) = (&self.settings.vertical, &self.settings.prices);
        let proposal = vertical::decide(recommendation, &status, &policy, parameters, prices, now);
        let Some(proposal) = proposal else { return Ok(()) };
        let kind = proposal.kind.clone();
        self.recorder.record(policy.size, proposal, |id| size_set(&kind, id).into_iter().collect()).await?;
        Ok(())
    }
}

/// A count that was set by hand for a while holds, and a paused service has nothing to measure.
fn is_by_hand(world: &World, workload: &Workload) -> bool {
    let by_hand = world.actions.get(&ActionKey::Scale(workload.name.clone()));
    by_hand.is_some_and(|action| action.until.is_some()) || world.paused(&workload.name).is_some()
}

fn count_set(kind: &DecisionKind, id: DecisionId) -> Option<Change> {
    let DecisionKind::Count { workload, to, .. } = kind else { return None };
    Some(Change::CountSet { workload: workload.clone(), count: *to, decision: Some(id) })
}

fn size_set(kind: &DecisionKind, id: DecisionId) -> Option<Change> {
    let DecisionKind::Size { workload, to, .. } = kind else { return None };
    Some(Change::SizeSet { workload: workload.clone(), size: *to, decision: Some(id) })
}

fn instance(task: &Task, observed: &Observed) -> InstanceStatus {
    InstanceStatus {
        task: task.id.clone(),
        started_at: task.started_at,
        ready: is_ready(task, observed.tasks.get(&task.id)),
        readiness_since: task.ready_at.or(task.started_at),
        request: task.size.request,
    }
}

/// The most that one node offers, part by part, over nodes that are there and pools that could grow.
pub(super) fn largest_node(world: &World) -> Option<Resources> {
    let pools = world.pools.values().filter(|pool| !pool.deleted).map(|pool| &pool.spec);
    let sizes = pools.filter(|spec: &&PoolSpec| spec.max > 0).map(|spec| spec.size);
    sizes
        .chain(world.nodes.values().map(|node| node.size))
        .reduce(|a, b| Resources { cpu: a.cpu.max(b.cpu), memory: a.memory.max(b.memory) })
}
