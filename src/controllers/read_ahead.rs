//! Metrics of all services read at once, before they are asked for one by one: sources that hang cost their time once in
//! a pass and not one after another.
//!
//! In: the world. Out: a `MetricSource` that has the answers. Not here: what a reading means (`readings`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt;

use crate::controllers::readings::places;
use crate::domain::policy::PolicyMode;
use crate::domain::scale::{MetricTarget, QueueSource};
use crate::domain::task::Task;
use crate::domain::world::{Workload, World};
use crate::ports::metric_source::{MetricSample, MetricSource};
use crate::ports::usage_source::UsageError;

/// Sources that are asked at the same time.
const AT_ONCE: usize = 64;

/// An address, and a metric there.
type Ask = (String, String);

/// A source that has read ahead.
pub(super) struct ReadAhead {
    source: Arc<dyn MetricSource>,
    answers: Mutex<BTreeMap<Ask, Result<MetricSample, UsageError>>>,
}

impl ReadAhead {
    /// Reads from `source`.
    pub(super) fn new(source: Arc<dyn MetricSource>) -> Self {
        Self { source, answers: Mutex::default() }
    }

    /// Reads what the services of the world follow; what was read before and not asked for is forgotten.
    pub(super) async fn look(&self, world: &World) {
        self.fetch(asks(world)).await;
    }

    async fn fetch(&self, asks: BTreeSet<Ask>) {
        let reads = asks.into_iter().map(|(url, metric)| async move {
            let answer = self.source.read(&url, &metric).await;
            ((url, metric), answer)
        });
        let answers = futures_util::stream::iter(reads).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        *self.lock() = answers.into_iter().collect();
    }

    /// A poisoned lock only means that another thread panicked; the map behind it stays whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Ask, Result<MetricSample, UsageError>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MetricSource for ReadAhead {
    async fn read(&self, url: &str, metric: &str) -> Result<MetricSample, UsageError> {
        let known = self.lock().remove(&(url.to_owned(), metric.to_owned()));
        match known {
            Some(answer) => answer,
            None => self.source.read(url, metric).await,
        }
    }
}

/// Everything that the counts of a world follow and that others measure.
fn asks(world: &World) -> BTreeSet<Ask> {
    let there = world.workloads.values().filter(|workload| !workload.deleted);
    let scales = there.filter(|workload| world.policy_of(workload).count != PolicyMode::Off);
    scales.flat_map(|workload| of_service(world, workload)).collect()
}

fn of_service(world: &World, workload: &Workload) -> Vec<Ask> {
    let Some(service) = workload.spec.as_service() else { return Vec::new() };
    let mut asks = Vec::new();
    for target in service.scale.iter().flat_map(|scale| &scale.metrics) {
        match target {
            MetricTarget::Prometheus { metric, port, path, .. } => {
                let serves = |task: &&Task| task.state.is_active() && workload.takes_traffic(task);
                let tasks: Vec<&Task> = world.tasks_of(&workload.name).filter(serves).collect();
                let found = places(&tasks, service, (port.as_deref(), path));
                asks.extend(found.into_iter().map(|(_, url)| (url, metric.clone())));
            }
            MetricTarget::Queue(queue) => {
                let urls = match &queue.source {
                    QueueSource::Url(url) => vec![url.clone()],
                    QueueSource::FrontDoor => Vec::new(),
                    QueueSource::Service { service, port, path } => {
                        let found = world.workloads.get(service).filter(|found| !found.deleted);
                        let tasks: Vec<&Task> = world.tasks_of(service).collect();
                        let spec = found.and_then(|found| found.spec.as_service());
                        let found = spec.map(|spec| places(&tasks, spec, (port.as_deref(), path)));
                        found.into_iter().flatten().map(|(_, url)| url).collect()
                    }
                };
                let metrics = || queue.length.iter().chain(&queue.age);
                asks.extend(
                    urls.iter().flat_map(|url| metrics().map(|metric| (url.clone(), metric.clone()))),
                );
            }
            MetricTarget::Cpu { .. } | MetricTarget::Memory { .. } | MetricTarget::Requests { .. } => {}
        }
    }
    asks
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::ports::metric_source::MetricValue;

    /// Takes its time for each answer.
    #[derive(Default)]
    struct Slow(AtomicUsize);

    #[async_trait]
    impl MetricSource for Slow {
        async fn read(&self, url: &str, _: &str) -> Result<MetricSample, UsageError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(MetricSample { value: MetricValue::Gauge(url.len() as f64), at: None })
        }
    }

    #[tokio::test]
    async fn many_slow_sources_take_the_time_of_one_and_each_is_asked_once() {
        let slow = Arc::new(Slow::default());
        let source: Arc<dyn MetricSource> = Arc::<Slow>::clone(&slow);
        let ahead = ReadAhead::new(source);
        let asks: Vec<Ask> = (0..30).map(|n| ("x".repeat(n), "jobs".to_owned())).collect();
        let began = Instant::now();
        ahead.fetch(asks.iter().cloned().collect()).await;
        for (url, metric) in &asks {
            let answer = ahead.read(url, metric).await.expect("an answer");
            assert_eq!(answer.value, MetricValue::Gauge(url.len() as f64));
        }
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "one after another it is 6 s: {:?}",
            began.elapsed()
        );
        assert_eq!(slow.0.load(Ordering::Relaxed), 30);
        // What was not foreseen is read then, and an answer is of one pass.
        ahead.read("y", "jobs").await.expect("an answer");
        ahead.fetch(BTreeSet::new()).await;
        ahead.read("x", "jobs").await.expect("an answer");
        assert_eq!(slow.0.load(Ordering::Relaxed), 32);
    }
}
