//! The Kubernetes Horizontal Pod Autoscaler v2 as a policy of counts. Not here: its arithmetic
//! (`scaling::horizontal`), which the engine runs for services that name several metrics.
//!
//! In: `Seen` and `Terms`. Out: an `Answer`. The target is a share of what an instance serves.

use jiff::{SignedDuration, Timestamp};

use crate::domain::decision::DecisionKind;
use crate::domain::money::MicroCents;
use crate::domain::scale::{MetricTarget, ScaleSpec};
use crate::domain::workload::WorkloadName;
use crate::scaling::counts::{Answer, CheckpointError, CountPolicy, Reason, Seen, Terms};
use crate::scaling::horizontal::{
    self, HorizontalParameters, HorizontalState, MetricReading, ServiceStatus, Verdict,
};

/// The rule in an answer: the algorithm held the count or changed it.
const HPA: &str = "horizontal pod autoscaler";

/// HPA v2 with one metric, the load of the whole service.
#[derive(Debug, Clone)]
pub struct Hpa {
    target: f64,
    spec: ScaleSpec,
    name: WorkloadName,
    state: HorizontalState,
}

impl Hpa {
    /// With the defaults of Kubernetes; `target` is the share of its capacity that an instance should
    /// have as load, above 0.
    pub fn new(target: f64, name: WorkloadName) -> Self {
        let spec = ScaleSpec::new(1, 1, Vec::new());
        Self { target, spec, name, state: HorizontalState::default() }
    }
}

/// A second metric: its total, and how much of it one instance should have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Beside {
    /// For each instance.
    pub(super) aim: f64,
    /// For the whole service.
    pub(super) total: f64,
}

impl Hpa {
    /// Decides by the load and, where there is one, a second metric: the greater answer counts.
    pub(super) fn decide_beside(&mut self, seen: &Seen, terms: &Terms, beside: Option<Beside>) -> Answer {
        self.spec.min = terms.min;
        self.spec.max = terms.max;
        let aims = [self.target * terms.capacity].into_iter().chain(beside.map(|beside| beside.aim));
        self.spec.metrics = aims.map(|per_instance| MetricTarget::Requests { per_instance }).collect();
        let reading = match seen.load {
            Some(value) => MetricReading::Total { value },
            None => MetricReading::Failed { reason: String::new() },
        };
        let beside = beside.map(|beside| MetricReading::Total { value: beside.total });
        let status = ServiceStatus {
            workload: &self.name,
            count: seen.count(),
            stopped: false,
            instances: Vec::new(),
            readings: [reading].into_iter().chain(beside).collect(),
            instance_price: MicroCents::new(0),
        };
        let now = Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_secs(seen.at));
        let now = now.unwrap_or(Timestamp::MAX);
        let parameters = HorizontalParameters::default();
        let verdict = horizontal::decide(&self.spec, &status, &parameters, &mut self.state, now);
        let count = match &verdict {
            Verdict::Change(proposal) => match proposal.kind {
                DecisionKind::Count { to, .. } => to,
                _ => seen.count(),
            },
            Verdict::Hold { .. } => seen.count(),
        };
        if count != seen.count() {
            self.state.applied(seen.count(), count, now);
        }
        let values = seen.load.map(|load| ("load", load)).into_iter().chain([("target", self.target)]);
        Answer { count, reason: Reason { rule: HPA, values: values.collect() } }
    }
}

impl CountPolicy for Hpa {
    fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
        self.decide_beside(seen, terms, None)
    }

    fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(postcard::to_stdvec(&self.state)?)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        self.state = postcard::from_bytes(checkpoint)?;
        Ok(())
    }
}
