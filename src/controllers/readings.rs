//! In: what the counts of a service follow, and who measures it. Out: readings, and what is wrong with them.
//!
//! What others measured (instances, exporters) is judged before it is used (`scaling::metric_guard`); what
//! was measured by ourselves (usage, requests at the front door) can only be late. A reading with a fault is
//! a failed one, and a failed one scales nothing down.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::controllers::analyst::Analysis;
use crate::controllers::driver::chain;
use crate::controllers::read_ahead::ReadAhead;
use crate::domain::load::LoadReading;
use crate::domain::scale::{MetricTarget, QueueSource, QueueTarget};
use crate::domain::scale_status::{MetricFault, ScaleCondition};
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::usage::UsageSample;
use crate::domain::workload::{ServiceSpec, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::ports::metric_source::{MetricSample, MetricSource, MetricValue};
use crate::ports::usage_source::UsageError;
use crate::scaling::horizontal::{InstanceReading, MetricReading};
use crate::scaling::metric_guard::{Fault, MetricGuard, Witnesses};

/// A measurement that is older than so many scrapes is missing, not steady.
pub(super) const SCRAPES_MISSED_MAX: i32 = 3;
/// An instance is expected to have been measured so long after it became ready, on top of those scrapes.
const FIRST_SAMPLE: SignedDuration = SignedDuration::from_secs(10);
/// A condition is shown for so long after it was last found: a counter is reset in an instant.
const SHOWN: SignedDuration = SignedDuration::from_mins(1);

/// What is remembered of readings.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ReadingMemory {
    guards: BTreeMap<WorkloadName, BTreeMap<String, MetricGuard>>,
    conditions: BTreeMap<WorkloadName, Vec<ScaleCondition>>,
    /// The last value of each counter, by who exposes it and its name, for rates.
    #[serde(skip)]
    counters: BTreeMap<Exposed, (f64, Timestamp)>,
    /// The clocks of sources that tell the time.
    #[serde(skip)]
    clocks: BTreeMap<Exposed, MetricGuard>,
}

/// The service that follows a metric, who exposes it, and its name.
type Exposed = (WorkloadName, String, String);

impl ReadingMemory {
    /// Forgets what is about services that are gone.
    pub(super) fn keep(&mut self, world: &World) {
        self.guards.retain(|name, _| world.workloads.contains_key(name));
        self.conditions.retain(|name, _| world.workloads.contains_key(name));
        let there = |(name, place, _): &Exposed| {
            let task = place.parse::<TaskId>();
            world.workloads.contains_key(name) && task.map_or(true, |task| world.tasks.contains_key(&task))
        };
        self.counters.retain(|exposed, _| there(exposed));
        self.clocks.retain(|exposed, _| there(exposed));
    }

    /// The machine's clock was set: rates over that instant are not known.
    pub(super) fn clock_moved(&mut self, by: SignedDuration, now: Timestamp) {
        self.counters.clear();
        self.clocks.clear();
        self.guards.values_mut().flat_map(BTreeMap::values_mut).for_each(|guard| guard.clock_moved(by));
        for condition in self.conditions.values_mut().flatten() {
            condition.since = condition.since.saturating_add(by).unwrap_or(condition.since);
            condition.seen = condition.seen.saturating_add(by).unwrap_or(condition.seen);
        }
        let words = format!("this machine's clock was set by {by:#}");
        let names: Vec<_> = self.guards.keys().cloned().collect();
        for name in names {
            self.note(&name, "clock", (MetricFault::ClockJump, words.clone()), now);
        }
    }

    fn note(&mut self, name: &WorkloadName, metric: &str, (fault, message): Fault, now: Timestamp) {
        let conditions = self.conditions.entry(name.clone()).or_default();
        let known = conditions.iter_mut().find(|known| known.fault == fault && known.metric == metric);
        if let Some(known) = known {
            (known.message, known.seen) = (message, now);
        } else {
            tracing::warn!(service = %name, metric, condition = %fault, "{message}");
            conditions.push(ScaleCondition {
                fault,
                metric: metric.to_owned(),
                message,
                since: now,
                seen: now,
            });
        }
    }

    /// What is wrong with the metrics of a service, or was a moment ago.
    pub(super) fn conditions(&mut self, name: &WorkloadName, now: Timestamp) -> Vec<ScaleCondition> {
        let Some(conditions) = self.conditions.get_mut(name) else { return Vec::new() };
        conditions.retain(|condition| now.duration_since(condition.seen) <= SHOWN);
        conditions.clone()
    }
}

/// A service whose metrics are read, and what is known of it.
pub(super) struct Asked<'a> {
    pub(super) world: &'a World,
    pub(super) workload: &'a Workload,
    pub(super) service: &'a ServiceSpec,
    /// Its instances, without those that are leaving.
    pub(super) tasks: &'a [&'a Task],
    pub(super) analysis: &'a Analysis,
    /// What its front door has counted.
    pub(super) load: Option<&'a LoadReading>,
    pub(super) now: Timestamp,
}

/// A value of a source and what is wrong with it, if something is.
type Judged = Result<f64, Fault>;

/// Reads what counts follow.
pub(super) struct Readings {
    pub(super) source: ReadAhead,
    pub(super) scrape_interval: SignedDuration,
}

impl Readings {
    /// A metric as it is now; what is late or cannot be believed counts as not known.
    pub(super) async fn read(
        &self,
        target: &MetricTarget,
        asked: &Asked<'_>,
        memory: &mut ReadingMemory,
    ) -> MetricReading {
        match target {
            MetricTarget::Cpu { .. } => self.usage("cpu", asked, memory, |sample| sample.cpu_cores),
            MetricTarget::Memory { .. } => {
                self.usage("memory", asked, memory, |sample| Some(sample.memory.as_f64()))
            }
            MetricTarget::Requests { .. } => self.requests(asked, memory),
            MetricTarget::Prometheus { metric, port, path, .. } => {
                let places = places(asked.tasks, asked.service, (port.as_deref(), path));
                self.of_instances(metric, places, asked, memory).await
            }
            MetricTarget::Queue(queue) => self.of_queue(queue, asked, memory).await,
        }
    }

    fn late(&self, at: Timestamp, now: Timestamp) -> bool {
        now.duration_since(at) > self.scrape_interval * SCRAPES_MISSED_MAX
    }

    /// What the agent measured of each instance.
    fn usage(
        &self,
        metric: &str,
        asked: &Asked<'_>,
        memory: &mut ReadingMemory,
        value: impl Fn(&UsageSample) -> Option<f64>,
    ) -> MetricReading {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        let expected = self.scrape_interval * SCRAPES_MISSED_MAX + FIRST_SAMPLE;
        for task in asked.tasks {
            let sample = asked.analysis.usage.get(&task.id).filter(|sample| !self.late(sample.at, asked.now));
            let found = sample.and_then(|sample| Some((sample, value(sample)?)));
            let Some((sample, value)) = found else {
                let old = task.ready_at.is_some_and(|ready| asked.now.duration_since(ready) > expected);
                missing.extend((old && task.state == TaskState::Running).then_some(&task.id));
                continue;
            };
            let window = sample.interval_seconds.and_then(|s| SignedDuration::try_from_secs_f64(s).ok());
            let window = window.unwrap_or_default();
            values.insert(task.id.clone(), InstanceReading { value, at: sample.at, window });
        }
        if let Some(first) = missing.first() {
            let words = format!(
                "{} of {} instances were not measured, {first} for one",
                missing.len(),
                asked.tasks.len()
            );
            memory.note(&asked.workload.name, metric, (MetricFault::MetricStale, words), asked.now);
        }
        MetricReading::PerInstance(values)
    }

    fn requests(&self, asked: &Asked<'_>, memory: &mut ReadingMemory) -> MetricReading {
        match asked.analysis.load.get(&asked.workload.name) {
            Some(sample) if !self.late(sample.at, asked.now) => {
                MetricReading::Total { value: sample.requests_per_second }
            }
            Some(sample) => {
                let words = format!("no count of requests since {:.0}", sample.at);
                failed("requests", (MetricFault::MetricStale, words), asked, memory)
            }
            None => MetricReading::Failed { reason: "no request has been counted yet".to_owned() },
        }
    }

    /// Asks each instance that is ready; one that does not answer is missing, and if none answers the
    /// metric failed.
    async fn of_instances(
        &self,
        metric: &str,
        places: Vec<(TaskId, String)>,
        asked: &Asked<'_>,
        memory: &mut ReadingMemory,
    ) -> MetricReading {
        if places.is_empty() {
            return MetricReading::Failed {
                reason: "no instance that is ready has the port open".to_owned(),
            };
        }
        let count = places.len();
        let answers = futures_util::future::join_all(places.into_iter().map(|(id, url)| async move {
            let answer = self.source.read(&url, metric).await;
            (id, answer)
        }))
        .await;
        let mut values = BTreeMap::new();
        let mut failure = "each instance was read for the first time".to_owned();
        for (id, answer) in answers {
            match self.judge_one((&id.to_string(), metric), answer, asked, memory) {
                Ok(Some(reading)) => {
                    values.insert(id, reading);
                }
                Ok(None) => {}
                Err((fault, words)) => {
                    failure = format!("{id}: {words}");
                    memory.note(&asked.workload.name, metric, (fault, failure.clone()), asked.now);
                }
            }
        }
        if values.is_empty() {
            return MetricReading::Failed { reason: failure };
        }
        // Instances that said nothing are taken to be like the others.
        let mean = values.values().map(|reading| reading.value).sum::<f64>() / values.len() as f64;
        match self.judge_total(metric, mean * count as f64, asked, memory) {
            Ok(_) => MetricReading::PerInstance(values),
            Err(fault) => failed(metric, fault, asked, memory),
        }
    }

    async fn of_queue(
        &self,
        queue: &QueueTarget,
        asked: &Asked<'_>,
        memory: &mut ReadingMemory,
    ) -> MetricReading {
        if queue.source == QueueSource::FrontDoor {
            return match asked.load {
                Some(load) => {
                    MetricReading::Queue { length: Some(load.total.in_flight as f64), age_seconds: None }
                }
                None => MetricReading::Failed { reason: "the front door has not opened yet".to_owned() },
            };
        }
        let mut figures = [None, None];
        for (figure, metric) in figures.iter_mut().zip([&queue.length, &queue.age]) {
            let Some(metric) = metric else { continue };
            let read = self.of_source(metric, &queue.source, asked, memory).await;
            // An age falls to nothing whenever the last item is taken; a length says how much there is.
            let read = match read {
                Ok(Some(value)) if Some(metric) == queue.length.as_ref() => {
                    self.judge_total(metric, value, asked, memory).map(Some)
                }
                other => other,
            };
            match read {
                Ok(Some(value)) => *figure = Some(value),
                Ok(None) => {
                    return MetricReading::Failed { reason: format!("{metric} was read for the first time") };
                }
                Err(fault) => return failed(metric, fault, asked, memory),
            }
        }
        let [length, age_seconds] = figures;
        MetricReading::Queue { length, age_seconds }
    }

    /// A metric of a queue: at one address, or added up over all instances of a service. Without one of them
    /// the sum would be too small, so it is not known.
    async fn of_source(
        &self,
        metric: &str,
        source: &QueueSource,
        asked: &Asked<'_>,
        memory: &mut ReadingMemory,
    ) -> Result<Option<f64>, Fault> {
        let urls: Vec<String> = match source {
            QueueSource::Url(url) => vec![url.clone()],
            QueueSource::FrontDoor => Vec::new(),
            QueueSource::Service { service, port, path } => {
                let found = asked.world.workloads.get(service).filter(|found| !found.deleted);
                let spec = found.and_then(|found| found.spec.as_service());
                let Some(spec) = spec else {
                    return Err((MetricFault::MetricStale, format!("there is no service named `{service}`")));
                };
                let tasks: Vec<&Task> = asked.world.tasks_of(service).collect();
                places(&tasks, spec, (port.as_deref(), path)).into_iter().map(|(_, url)| url).collect()
            }
        };
        if urls.is_empty() {
            return Err((MetricFault::MetricStale, "no instance of its source is ready".to_owned()));
        }
        let mut sum = Some(0.0);
        for url in urls {
            let answer = self.source.read(&url, metric).await;
            let one = self.judge_one((&url, metric), answer, asked, memory)?;
            sum = sum.zip(one).map(|(sum, one)| sum + one.value);
        }
        Ok(sum)
    }

    /// The value of one source: a level, or the rate of a counter; none at the first look at a counter.
    fn judge_one(
        &self,
        (place, metric): (&str, &str),
        answer: Result<MetricSample, UsageError>,
        asked: &Asked<'_>,
        memory: &mut ReadingMemory,
    ) -> Result<Option<InstanceReading>, Fault> {
        let now = asked.now;
        let sample = answer.map_err(|error| {
            let fault = match &error {
                UsageError::Malformed { .. } => MetricFault::MetricInvalid,
                UsageError::Late { .. } | UsageError::Unreachable { .. } => MetricFault::MetricStale,
            };
            (fault, chain(&error))
        })?;
        let stale = self.scrape_interval * SCRAPES_MISSED_MAX;
        let key = (asked.workload.name.clone(), place.to_owned(), metric.to_owned());
        if let Some(at) = sample.at {
            memory.clocks.entry(key.clone()).or_default().judge_time(at, stale, now)?;
        }
        let level = |value: f64| InstanceReading { value, at: now, window: SignedDuration::ZERO };
        let (MetricValue::Gauge(value) | MetricValue::Counter(value)) = sample.value;
        if !(value.is_finite() && value >= 0.0) {
            return Err((MetricFault::MetricInvalid, format!("its value {value} is not an amount")));
        }
        if let MetricValue::Gauge(value) = sample.value {
            return Ok(Some(level(value)));
        }
        let Some((before, then)) = memory.counters.insert(key, (value, now)) else { return Ok(None) };
        if value < before {
            return Err((MetricFault::CounterReset, format!("its count fell from {before} to {value}")));
        }
        let window = now.duration_since(then);
        let seconds = window.as_secs_f64();
        if seconds <= 0.0 || window > stale.max(SHOWN) {
            return Ok(None);
        }
        Ok(Some(InstanceReading { value: (value - before) / seconds, at: now, window }))
    }

    fn judge_total(&self, metric: &str, total: f64, asked: &Asked<'_>, memory: &mut ReadingMemory) -> Judged {
        let usage = &asked.analysis.usage;
        let fresh = asked.tasks.iter().filter_map(|task| usage.get(&task.id));
        let cores =
            fresh.filter(|sample| !self.late(sample.at, asked.now)).filter_map(|sample| sample.cpu_cores);
        let load = asked.analysis.load.get(&asked.workload.name);
        let seen = Witnesses {
            cpu: cores.reduce(|sum, cores| sum + cores),
            requests: load.filter(|load| !self.late(load.at, asked.now)).map(|load| load.requests_per_second),
        };
        guard(memory, &asked.workload.name, metric).judge(total, seen, asked.now)?;
        Ok(total)
    }
}

fn guard<'m>(memory: &'m mut ReadingMemory, name: &WorkloadName, metric: &str) -> &'m mut MetricGuard {
    memory.guards.entry(name.clone()).or_default().entry(metric.to_owned()).or_default()
}

/// A reading with a fault, which is told.
fn failed(metric: &str, fault: Fault, asked: &Asked<'_>, memory: &mut ReadingMemory) -> MetricReading {
    let reason = format!("{}: {}", fault.0, fault.1);
    memory.note(&asked.workload.name, metric, fault, asked.now);
    MetricReading::Failed { reason }
}

/// Where the instances that are ready answer.
pub(super) fn places(
    tasks: &[&Task],
    service: &ServiceSpec,
    (port, path): (Option<&str>, &str),
) -> Vec<(TaskId, String)> {
    let port = port.or_else(|| service.ports.first().map(|port| port.name.as_str()));
    let place = |task: &&&Task| {
        let number = *task.ports.get(port?)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some((task.id.clone(), format!("http://{address}{slash}{path}")))
    };
    tasks.iter().filter(|task| task.state == TaskState::Running).filter_map(|task| place(&task)).collect()
}
