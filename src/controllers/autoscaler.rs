//! In: what was measured and recommended, and the policies. Out: decisions about counts and sizes,
//! recorded with everything that they were made from, and carried out where the policy lets them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, watch};

use crate::controllers::analyst::{Analysis, Analyst};
use crate::controllers::control::blocking;
use crate::controllers::decisions::Recorder;
use crate::controllers::driver::chain;
use crate::controllers::joint::{self, RecentLoads};
use crate::controllers::scheduler::Pass;
use crate::controllers::state::EngineState;
use crate::domain::action::ActionKey;
use crate::domain::change::Change;
use crate::domain::decision::{DecisionId, DecisionKind};
use crate::domain::money::Prices;
use crate::domain::node::PoolSpec;
use crate::domain::observation::Observed;
use crate::domain::policy::PolicyMode;
use crate::domain::quantity::Resources;
use crate::domain::recommendation::Estimate;
use crate::domain::scale::MetricTarget;
use crate::domain::task::{Task, TaskId};
use crate::domain::usage::UsageSample;
use crate::domain::workload::{ServiceSpec, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::ports::metric_source::{MetricSource, MetricValue};
use crate::ports::store::StoreError;
use crate::scaling::horizontal::{
    self, HorizontalParameters, HorizontalState, InstanceReading, InstanceStatus, MetricReading,
    ServiceStatus, Verdict,
};
use crate::scaling::vertical;
use crate::scheduling::is_ready;

/// The document that the states of counts are kept in, so that a restart forgets no stabilisation.
const CHECKPOINT: &str = "counts";
/// A measurement that is older than so many scrapes is missing, not steady.
const SCRAPES_MISSED_MAX: i32 = 3;

/// What the autoscaler takes for granted.
#[derive(Debug, Clone)]
pub struct AutoscalerSettings {
    /// From one scrape to the next.
    pub scrape_interval: SignedDuration,
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
    metrics: Arc<dyn MetricSource>,
    recorder: Recorder,
    settings: AutoscalerSettings,
    memory: Mutex<Memory>,
    finished: watch::Sender<Option<Timestamp>>,
}

/// What is remembered from one pass to the next.
#[derive(Default)]
struct Memory {
    counts: BTreeMap<WorkloadName, HorizontalState>,
    /// The last value of each counter that instances expose, for rates.
    counters: BTreeMap<(TaskId, String), (f64, Timestamp)>,
    /// The loads that sizes and counts are decided together from.
    loads: RecentLoads,
    /// How far the clock had been moved when it was last looked at.
    clock_moved: SignedDuration,
}

impl Memory {
    /// Windows and periods go on as they were where the machine's clock was set.
    fn follow_clock(&mut self, moved: SignedDuration) {
        let by = moved - self.clock_moved;
        if by.is_zero() {
            return;
        }
        self.clock_moved = moved;
        self.counts.values_mut().for_each(|counts| counts.clock_moved(by));
        self.counters.clear();
        self.loads.clear();
    }
}

impl Autoscaler {
    /// An autoscaler that takes up where the last engine left off.
    pub fn new(
        state: Arc<EngineState>,
        analyst: Arc<Analyst>,
        (analysis, passes): (watch::Receiver<Analysis>, watch::Receiver<Pass>),
        metrics: Arc<dyn MetricSource>,
        recorder: Recorder,
        settings: AutoscalerSettings,
    ) -> Result<Self, StoreError> {
        let kept = state.store().document(CHECKPOINT)?;
        let counts = kept.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let memory = Mutex::new(Memory { counts, ..Memory::default() });
        let finished = watch::Sender::new(None);
        Ok(Self { state, analyst, analysis, passes, metrics, recorder, settings, memory, finished })
    }

    /// When it last finished a pass.
    pub fn finished(&self) -> watch::Receiver<Option<Timestamp>> {
        self.finished.subscribe()
    }

    /// Decides the count of every service that scales, and the size of every workload.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let world = self.state.world().await;
        let analysis = self.analysis.borrow().clone();
        let observed = Arc::clone(&self.passes.borrow().observed);
        let mut memory = self.memory.lock().await;
        memory.counts.retain(|name, _| world.workloads.contains_key(name));
        memory.counters.retain(|(task, _), _| world.tasks.contains_key(task));
        memory.loads.retain(&world);
        let (now, moved) = self.state.now_and_moved();
        memory.follow_clock(moved);
        for workload in world.workloads.values().filter(|workload| !workload.deleted) {
            if self.decide_both(&world, workload, &analysis, &mut memory, now).await? {
                continue;
            }
            let policy = world.policy_of(workload);
            if policy.count != PolicyMode::Off {
                self.decide_count(&world, workload, (&observed, &analysis), &mut memory, now).await?;
            }
            if policy.size != PolicyMode::Off {
                self.decide_size(&world, workload, &analysis, now).await?;
            }
        }
        let kept = serde_json::to_vec(&memory.counts).unwrap_or_default();
        let store = Arc::clone(self.state.store());
        blocking(move || store.put_document(CHECKPOINT, &kept)).await?;
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
        if is_by_hand(world, workload) {
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

    async fn decide_count(
        &self,
        world: &World,
        workload: &Workload,
        (observed, analysis): (&Observed, &Analysis),
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(service) = workload.spec.as_service() else { return Ok(()) };
        let Some(scale) = &service.scale else { return Ok(()) };
        if is_by_hand(world, workload) {
            return Ok(());
        }
        // Instances that wait for a switch would halve the mean.
        let tasks: Vec<&Task> = world
            .tasks_of(&workload.name)
            .filter(|task| task.state.is_active() && workload.takes_traffic(task))
            .collect();
        let mut readings = Vec::new();
        for metric in &scale.metrics {
            readings.push(self.read(metric, (workload, service), &tasks, analysis, (memory, now)).await);
        }
        let status = ServiceStatus {
            workload: &workload.name,
            count: workload.count,
            instances: tasks.iter().map(|task| instance(task, observed)).collect(),
            readings,
            instance_price: self.settings.prices.per_hour(workload.size().request),
        };
        let counts = memory.counts.entry(workload.name.clone()).or_default();
        let verdict = horizontal::decide(scale, &status, &self.settings.horizontal, counts, now);
        let Verdict::Change(proposal) = verdict else { return Ok(()) };
        let mode = world.policy_of(workload).count;
        let kind = proposal.kind.clone();
        let applied =
            self.recorder.record(mode, *proposal, |id| count_set(&kind, id).into_iter().collect()).await?;
        if let Some(DecisionKind::Count { from, to, .. }) = applied {
            counts.applied(from, to, now);
        }
        Ok(())
    }

    /// A metric as it is now; what is late counts as not known.
    async fn read(
        &self,
        metric: &MetricTarget,
        (workload, service): (&Workload, &ServiceSpec),
        tasks: &[&Task],
        analysis: &Analysis,
        (memory, now): (&mut Memory, Timestamp),
    ) -> MetricReading {
        let late =
            |at: Timestamp| now.duration_since(at) > self.settings.scrape_interval * SCRAPES_MISSED_MAX;
        let usage = |value: &dyn Fn(&UsageSample) -> Option<f64>| {
            let reading = |task: &&Task| {
                let sample = analysis.usage.get(&task.id).filter(|sample| !late(sample.at))?;
                let window = sample.interval_seconds.and_then(|s| SignedDuration::try_from_secs_f64(s).ok());
                let window = window.unwrap_or_default();
                Some((task.id.clone(), InstanceReading { value: value(sample)?, at: sample.at, window }))
            };
            MetricReading::PerInstance(tasks.iter().filter_map(reading).collect())
        };
        match metric {
            MetricTarget::Cpu { .. } => usage(&|sample| sample.cpu_cores),
            MetricTarget::Memory { .. } => usage(&|sample| Some(sample.memory.as_f64())),
            MetricTarget::Requests { .. } => match analysis.load.get(&workload.name) {
                Some(sample) if !late(sample.at) => {
                    MetricReading::Total { value: sample.requests_per_second }
                }
                Some(sample) => {
                    MetricReading::Failed { reason: format!("no count of requests since {}", sample.at) }
                }
                None => MetricReading::Failed { reason: "no request has been counted yet".to_owned() },
            },
            MetricTarget::Prometheus { metric, port, path, .. } => {
                let port = port.clone().or_else(|| service.ports.first().map(|port| port.name.clone()));
                let Some(port) = port else {
                    return MetricReading::Failed {
                        reason: "the service has no port to read it from".to_owned(),
                    };
                };
                self.read_instances(tasks, (metric, &port, path), (memory, now)).await
            }
        }
    }

    /// Asks each instance; one that does not answer is missing, and if none answers the metric failed.
    async fn read_instances(
        &self,
        tasks: &[&Task],
        (metric, port, path): (&str, &str, &str),
        (memory, now): (&mut Memory, Timestamp),
    ) -> MetricReading {
        let asked = tasks.iter().filter_map(|task| Some((task.id.clone(), *task.ports.get(port)?)));
        let answers = futures_util::future::join_all(asked.map(|(id, number)| async move {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
            (id, self.metrics.read(address, path, metric).await)
        }))
        .await;
        let mut values = BTreeMap::new();
        let mut failure = "no instance has the port open".to_owned();
        for (id, answer) in answers {
            match answer {
                Ok(MetricValue::Gauge(value)) => {
                    values.insert(id, InstanceReading { value, at: now, window: SignedDuration::ZERO });
                }
                Ok(MetricValue::Counter(count)) => {
                    let earlier = memory.counters.insert((id.clone(), metric.to_owned()), (count, now));
                    if let Some(reading) = earlier.and_then(|earlier| rate(earlier, (count, now))) {
                        values.insert(id, reading);
                    }
                }
                Err(error) => failure = chain(&error),
            }
        }
        if values.is_empty() {
            MetricReading::Failed { reason: failure }
        } else {
            MetricReading::PerInstance(values)
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

/// The rate of a counter between two readings; none where it fell, since it began anew.
fn rate((before, then): (f64, Timestamp), (count, now): (f64, Timestamp)) -> Option<InstanceReading> {
    let window = now.duration_since(then);
    let seconds = window.as_secs_f64();
    (count >= before && seconds > 0.0).then(|| InstanceReading {
        value: (count - before) / seconds,
        at: now,
        window,
    })
}

/// Since when the workload has had its size: since its last size or revision, whichever came later.
fn settled_since(world: &World, workload: &Workload) -> Timestamp {
    let revision = workload.revisions.get(&workload.revision).map(|revision| revision.at);
    let size = workload.size.as_ref().map(|size| size.since);
    let first = world.tasks_of(&workload.name).filter_map(|task| task.started_at).min();
    revision.into_iter().chain(size).max().or(first).unwrap_or(Timestamp::MIN)
}

/// The most that one node offers, part by part, over nodes that are there and pools that could grow.
pub(super) fn largest_node(world: &World) -> Option<Resources> {
    let pools = world.pools.values().filter(|pool| !pool.deleted).map(|pool| &pool.spec);
    let sizes = pools.filter(|spec: &&PoolSpec| spec.max > 0).map(|spec| spec.size);
    sizes
        .chain(world.nodes.values().map(|node| node.size))
        .reduce(|a, b| Resources { cpu: a.cpu.max(b.cpu), memory: a.memory.max(b.memory) })
}
