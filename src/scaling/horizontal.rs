//! The number of instances of a service: the algorithm of the Kubernetes Horizontal Pod Autoscaler v2.
//! Its parts: `metric_count` for one metric, `stabilization` for how fast a count may change.
//!
//! In: a `ScaleSpec`, a `ServiceStatus`, what was decided before. Out: a `Verdict`: a proposal, or
//! which rule holds the count where it is.
//!
//! # During a rollout
//! The count is the declared one (`Workload::count`), never the number of tasks that exist. Instances
//! that are retiring or stopping do not belong into a `ServiceStatus`. Those that start up for the new
//! revision do: they are unready, so they add nothing to a scale-up, and an instance beyond the count
//! never multiplies one (`metric_count`). So a surge cannot feed on itself.
//!
//! # Without data
//! A metric that failed never scales a service down; one that works may still scale it up.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::decision::{Candidate, DecisionKind, Proposal};
use crate::domain::money::MicroCents;
use crate::domain::quantity::Resources;
use crate::domain::scale::ScaleSpec;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;
use crate::scaling::metric_count::{self, MetricAnswer};
use crate::scaling::stabilization;
pub use crate::scaling::stabilization::HorizontalState;

/// What the algorithm takes for granted about CPU at start-up. The defaults are those of
/// kube-controller-manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HorizontalParameters {
    /// For so long after its start, an instance's CPU counts only if it was ready for the whole of the
    /// measured interval.
    pub cpu_initialization: SignedDuration,
    /// An instance that became unready within this time of its start has never been ready.
    pub readiness_delay: SignedDuration,
}

impl Default for HorizontalParameters {
    fn default() -> Self {
        Self {
            cpu_initialization: SignedDuration::from_mins(5),
            readiness_delay: SignedDuration::from_secs(30),
        }
    }
}

/// An instance that is capacity or on its way to be.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceStatus {
    /// The instance.
    pub task: TaskId,
    /// When its process started; absent while it waits for a node or is being launched.
    pub started_at: Option<Timestamp>,
    /// Whether it is ready now.
    pub ready: bool,
    /// When it last became ready or unready; its start where it never was ready.
    pub readiness_since: Option<Timestamp>,
    /// Its request.
    pub request: Resources,
}

/// The value of a metric at an instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstanceReading {
    /// Cores, bytes, requests per second, or the metric's own unit.
    pub value: f64,
    /// The end of the interval that it was measured over.
    pub at: Timestamp,
    /// The length of that interval.
    pub window: SignedDuration,
}

/// What is known of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricReading {
    /// A value for each instance; an instance that is not in it is missing.
    PerInstance(BTreeMap<TaskId, InstanceReading>),
    /// One value for the whole service, to be shared by its instances: for example the requests per
    /// second at the front door, those that found no instance included.
    Total {
        /// The value.
        value: f64,
    },
    /// Work that waits for the whole service.
    Queue {
        /// How much.
        length: Option<f64>,
        /// How long the oldest has waited.
        age_seconds: Option<f64>,
    },
    /// Nothing is known.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A service as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStatus<'a> {
    /// The service.
    pub workload: &'a WorkloadName,
    /// The declared count.
    pub count: u32,
    /// Its count was set to 0 by hand, and that is in force.
    pub stopped: bool,
    /// Its instances, without those that are leaving.
    pub instances: Vec<InstanceStatus>,
    /// A reading for each metric of the `ScaleSpec`, in its order.
    pub readings: Vec<MetricReading>,
    /// What one instance costs per hour.
    pub instance_price: MicroCents,
}

/// What is decided about a count.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It stays.
    Hold {
        /// The rule that holds it.
        rule: &'static str,
        /// Why, in words.
        reason: String,
        /// What each metric answered.
        candidates: Vec<Candidate>,
    },
    /// It is to change. Once it is carried out, `HorizontalState::applied` has to be told.
    Change(Box<Proposal>),
}

/// The count was set to 0 by hand: scaling is switched off.
const STOPPED: &str = "stopped by hand";
/// Nothing is known.
const NO_METRICS: &str = "no metric has a value";
/// Something is not known, so the count does not go down.
const METRIC_FAILED: &str = "a metric failed";

/// Decides the count of a service; `state` remembers what was answered.
pub fn decide(
    spec: &ScaleSpec,
    status: &ServiceStatus<'_>,
    parameters: &HorizontalParameters,
    state: &mut HorizontalState,
    now: Timestamp,
) -> Verdict {
    state.prepare(spec, status.count, now);
    if let Some(verdict) = beforehand(spec, status) {
        return verdict;
    }
    let answers: Vec<_> = spec
        .metrics
        .iter()
        .enumerate()
        .map(|(i, target)| {
            let unread = MetricReading::Failed { reason: "it was not read".to_owned() };
            let reading = status.readings.get(i).unwrap_or(&unread);
            let answer = metric_count::count_for(target, spec.tolerances(), reading, status, parameters, now);
            (metric_count::name(target).to_owned(), answer)
        })
        .collect();
    weigh(spec, status, state, answers, now)
}

/// What holds whatever the metrics say: a service that was stopped stays so, and bounds are kept to.
pub(super) fn beforehand(spec: &ScaleSpec, status: &ServiceStatus<'_>) -> Option<Verdict> {
    let count = status.count;
    if status.stopped {
        let reason = "its count was set to 0; it scales again once it is set to 1 or more".to_owned();
        return Some(Verdict::Hold { rule: STOPPED, reason, candidates: Vec::new() });
    }
    if (spec.min..=spec.max).contains(&count) {
        return None;
    }
    let (to, rule) =
        if count > spec.max { (spec.max, stabilization::MAX) } else { (spec.min, stabilization::MIN) };
    let reason = format!("{count} instances are outside {} to {}", spec.min, spec.max);
    Some(change(spec, status, Outcome { to, rule, reason, answers: Vec::new() }))
}

/// What each metric asks for, or why it asks for nothing.
pub(super) type Answers = Vec<(String, Result<MetricAnswer, String>)>;

/// The greatest answer, held back by what failed, what was answered before, rules and bounds.
fn weigh(
    spec: &ScaleSpec,
    status: &ServiceStatus<'_>,
    state: &mut HorizontalState,
    answers: Answers,
    now: Timestamp,
) -> Verdict {
    let count = status.count;
    let (name, answer) = match greatest(&answers, count) {
        Ok(greatest) => greatest,
        Err(held) => return held,
    };
    let stable = state.stabilized(spec, count, answer.count, now);
    let limited = state.limited(spec, count, stable.count, now);
    let rule = limited.rule.or(stable.rule).unwrap_or(answer.rule);
    let mut reason = format!("{name}: {}", answer.words);
    if stable.rule.is_some() {
        reason = format!("{reason}; the answers of the window allow {}", stable.count);
    }
    if let Some(bound) = limited.rule {
        reason = format!("{reason}; {bound} allows {}", limited.count);
    }
    if limited.count == count {
        return Verdict::Hold { rule, reason, candidates: candidates(&answers, Some(answer.count)) };
    }
    change(spec, status, Outcome { to: limited.count, rule, reason, answers })
}

/// The metric that asks for the most; a verdict where nothing is known, or too little to scale down.
pub(super) fn greatest(answers: &Answers, count: u32) -> Result<(&str, &MetricAnswer), Verdict> {
    let greatest = answers
        .iter()
        .filter_map(|(name, answer)| Some((name, answer.as_ref().ok()?)))
        // The first of equals, as it stands in the spec.
        .rev()
        .max_by_key(|(_, answer)| answer.count);
    let failures: Vec<String> = answers
        .iter()
        .filter_map(|(name, answer)| Some(format!("{name}: {}", answer.as_ref().err()?)))
        .collect();
    let Some((name, answer)) = greatest else {
        let reason = failures.join("; ");
        return Err(Verdict::Hold { rule: NO_METRICS, reason, candidates: candidates(answers, None) });
    };
    if !failures.is_empty() && answer.count < count {
        let reason = format!("{name} asks for {}, but {}", answer.count, failures.join("; "));
        return Err(Verdict::Hold { rule: METRIC_FAILED, reason, candidates: candidates(answers, None) });
    }
    Ok((name.as_str(), answer))
}

/// What each metric answered; chosen is the answer that was taken up.
pub(super) fn candidates(answers: &Answers, taken: Option<u32>) -> Vec<Candidate> {
    let mut chosen = false;
    answers
        .iter()
        .map(|(name, answer)| {
            let is_it = !chosen && answer.as_ref().is_ok_and(|answer| Some(answer.count) == taken);
            chosen |= is_it;
            Candidate {
                source: name.clone(),
                answer: match answer {
                    Ok(answer) => answer.words.clone(),
                    Err(reason) => format!("failed: {reason}"),
                },
                chosen: is_it,
            }
        })
        .collect()
}

/// A decided change, before it is written out.
pub(super) struct Outcome {
    pub(super) to: u32,
    pub(super) rule: &'static str,
    pub(super) reason: String,
    pub(super) answers: Answers,
}

/// The decision, written out.
pub(super) fn change(spec: &ScaleSpec, status: &ServiceStatus<'_>, outcome: Outcome) -> Verdict {
    let ready = status.instances.iter().filter(|instance| instance.ready).count();
    let mut inputs = BTreeMap::from([
        ("instances".to_owned(), status.count.to_string()),
        ("ready".to_owned(), ready.to_string()),
        ("bounds".to_owned(), format!("{} to {}", spec.min, spec.max)),
        ("tolerance".to_owned(), spec.tolerance.to_string()),
    ]);
    for (name, answer) in &outcome.answers {
        let words = match answer {
            Ok(answer) => answer.words.clone(),
            Err(reason) => format!("failed: {reason}"),
        };
        inputs.insert(format!("metric {name}"), words);
    }
    let taken = outcome.answers.iter().filter_map(|(_, answer)| Some(answer.as_ref().ok()?.count)).max();
    let price = |count: u32| MicroCents::new(status.instance_price.get().saturating_mul(i64::from(count)));
    Verdict::Change(Box::new(Proposal {
        kind: DecisionKind::Count { workload: status.workload.clone(), from: status.count, to: outcome.to },
        rule: outcome.rule.to_owned(),
        reason: outcome.reason,
        inputs,
        candidates: candidates(&outcome.answers, taken),
        price_before: price(status.count),
        price_after: price(outcome.to),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::{Bytes, Millicores};
    use crate::domain::scale::{MetricTarget, ScalingRules};

    const CPU: MetricTarget = MetricTarget::Cpu { utilization: 0.5 };
    const REQUESTS: MetricTarget = MetricTarget::Requests { per_instance: 20.0 };

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(10)
    }

    fn ago(seconds: i64) -> Timestamp {
        now() - SignedDuration::from_secs(seconds)
    }

    fn web() -> WorkloadName {
        WorkloadName::new("web").expect("a name")
    }

    /// An instance that has been ready for an hour.
    fn ready(number: u64) -> InstanceStatus {
        InstanceStatus {
            task: TaskId::new(web(), number),
            started_at: Some(ago(3600)),
            ready: true,
            readiness_since: Some(ago(3590)),
            request: Resources::new(Millicores::new(1000), Bytes::mib(100)),
        }
    }

    fn unready(number: u64) -> InstanceStatus {
        InstanceStatus { ready: false, readiness_since: Some(ago(3600)), ..ready(number) }
    }

    fn pending(number: u64) -> InstanceStatus {
        InstanceStatus { started_at: None, ready: false, readiness_since: None, ..ready(number) }
    }

    fn reading(value: f64) -> InstanceReading {
        InstanceReading { value, at: ago(1), window: SignedDuration::from_secs(15) }
    }

    /// Values of instances 1, 2, 3 ...; a missing one has none.
    fn values(values: &[Option<f64>]) -> MetricReading {
        let of =
            |(i, value): (usize, &Option<f64>)| Some((TaskId::new(web(), i as u64 + 1), reading((*value)?)));
        MetricReading::PerInstance(values.iter().enumerate().filter_map(of).collect())
    }

    fn all(value: f64, instances: usize) -> MetricReading {
        values(&vec![Some(value); instances])
    }

    fn failed() -> MetricReading {
        MetricReading::Failed { reason: "no answer".to_owned() }
    }

    /// Without windows and rules: the bare algorithm.
    fn spec(metrics: &[MetricTarget]) -> ScaleSpec {
        let mut down = ScalingRules::default_down();
        down.stabilization = SignedDuration::ZERO;
        let mut up = ScalingRules::default_up();
        up.rules.clear();
        ScaleSpec { up, down, ..ScaleSpec::new(1, 100, metrics.to_vec()) }
    }

    fn verdict(
        spec: &ScaleSpec,
        count: u32,
        instances: Vec<InstanceStatus>,
        readings: Vec<MetricReading>,
    ) -> Verdict {
        let name = web();
        let instance_price = MicroCents::new(100);
        let status = ServiceStatus {
            workload: &name,
            count,
            stopped: count == 0 && spec.min > 0,
            instances,
            readings,
            instance_price,
        };
        decide(spec, &status, &HorizontalParameters::default(), &mut HorizontalState::default(), now())
    }

    /// The count after the decision, and the rule.
    fn decided(
        metrics: &[MetricTarget],
        count: u32,
        instances: Vec<InstanceStatus>,
        readings: Vec<MetricReading>,
    ) -> (u32, String) {
        match verdict(&spec(metrics), count, instances, readings) {
            Verdict::Hold { rule, .. } => (count, rule.to_owned()),
            Verdict::Change(proposal) => match proposal.kind {
                DecisionKind::Count { from, to, .. } if from == count => (to, proposal.rule),
                other => panic!("{other}"),
            },
        }
    }

    fn some(instances: u64) -> Vec<InstanceStatus> {
        (1..=instances).map(ready).collect()
    }

    #[test]
    fn the_count_is_the_ratio_times_the_ready_instances_rounded_up() {
        // 0.8 / 0.5 x 3 = 4.8
        assert_eq!(decided(&[CPU], 3, some(3), vec![all(0.8, 3)]).0, 5);
        // Kubernetes' own example of scaling down: 28 % of 50 % x 5 = 2.8
        let levels = [0.1, 0.3, 0.5, 0.25, 0.25].map(Some);
        assert_eq!(decided(&[CPU], 5, some(5), vec![values(&levels)]).0, 3);
        // Exactly six, whatever the binary fractions say.
        assert_eq!(decided(&[CPU], 4, some(4), vec![all(0.75, 4)]).0, 6);
    }

    #[test]
    fn shares_are_of_what_is_requested_in_sum() {
        let mut instances = some(2);
        instances[0].request.cpu = Millicores::new(3000);
        // 2 cores of 4 requested: exactly the target, although one instance is at 100 % of its own.
        assert_eq!(decided(&[CPU], 2, instances, vec![values(&[Some(1.0), Some(1.0)])]).1, "tolerance");
    }

    #[test]
    fn nothing_changes_within_the_tolerance() {
        for (value, count) in [(0.55, 10), (0.45, 10), (0.551, 12), (0.449, 9)] {
            assert_eq!(decided(&[CPU], 10, some(10), vec![all(value, 10)]).0, count, "{value}");
        }
    }

    #[test]
    fn missing_instances_use_nothing_on_the_way_up() {
        // Two at 160 % of the target, two unknown: (0.8 + 0.8 + 0 + 0) / 4 = 80 % of it: it would turn round.
        let readings = vec![values(&[Some(0.8), Some(0.8), None, None])];
        assert_eq!(decided(&[CPU], 4, some(4), readings), (4, "unready or missing instances".to_owned()));
        // Three at 200 %, one unknown: 150 % x 4.
        let readings = vec![values(&[Some(1.0), Some(1.0), Some(1.0), None])];
        assert_eq!(decided(&[CPU], 4, some(4), readings).0, 6);
    }

    #[test]
    fn missing_instances_use_everything_on_the_way_down() {
        // Three at 20 % of the target, one unknown that may use all that it requests: (0.3 + 1) / 4
        // is 65 % of the target, times 4.
        let readings = vec![values(&[Some(0.1), Some(0.1), Some(0.1), None])];
        assert_eq!(decided(&[CPU], 4, some(4), readings).0, 3);
        // Of other metrics the target: (3 x 4 + 20) / 4 = 8 of 20, times 4.
        let readings = vec![values(&[Some(4.0), Some(4.0), Some(4.0), None])];
        assert_eq!(decided(&[REQUESTS], 4, some(4), readings).0, 2);
    }

    #[test]
    fn unready_instances_use_nothing_on_the_way_up_and_do_not_count_on_the_way_down() {
        // Kubernetes' examples: 0.3 unready, 0.5 and 0.7 of 0.3: with it as nothing 133 % x 3.
        let metrics = [MetricTarget::Cpu { utilization: 0.3 }];
        let instances = || vec![unready(1), ready(2), ready(3)];
        let readings = vec![values(&[Some(0.3), Some(0.5), Some(0.7)])];
        assert_eq!(decided(&metrics, 3, instances(), readings).0, 4);
        // One ready at 133 % among three: as nothing 44 %, which would turn round.
        let readings = vec![values(&[Some(0.4), Some(0.5), Some(0.7)])];
        assert_eq!(decided(&metrics, 3, vec![ready(1), unready(2), unready(3)], readings).0, 3);
        // 30 % of 50 % x 3 ready ones, two unready ones left out.
        let instances = vec![ready(1), ready(2), ready(3), unready(4), unready(5)];
        let levels = [0.1, 0.3, 0.5, 0.25, 0.25].map(Some);
        assert_eq!(decided(&[CPU], 5, instances, vec![values(&levels)]).0, 2);
    }

    #[test]
    fn cpu_of_the_start_does_not_count() {
        let fresh = |ready_for: i64| InstanceStatus {
            started_at: Some(ago(60)),
            readiness_since: Some(ago(ready_for)),
            ..ready(2)
        };
        let readings = || vec![values(&[Some(0.6), Some(1.0)])];
        // Ready for 5 s: its 15 s interval began before. 0.6 + 0 of 2 would turn round.
        assert_eq!(decided(&[CPU], 2, vec![ready(1), fresh(5)], readings()).0, 2);
        // Ready for 30 s: it counts. 0.8 / 0.5 x 2
        assert_eq!(decided(&[CPU], 2, vec![ready(1), fresh(30)], readings()).0, 4);
        // Other metrics do not ask how old an instance is. (30 + 50) / 2 / 20 x 2
        let readings = vec![values(&[Some(30.0), Some(50.0)])];
        assert_eq!(decided(&[REQUESTS], 2, vec![ready(1), fresh(5)], readings).0, 4);
    }

    #[test]
    fn the_greatest_answer_of_several_metrics_holds() {
        let readings = vec![all(0.8, 3), all(70.0, 3)];
        let Verdict::Change(proposal) = verdict(&spec(&[CPU, REQUESTS]), 3, some(3), readings) else {
            panic!("held")
        };
        assert_eq!(proposal.kind, DecisionKind::Count { workload: web(), from: 3, to: 11 });
        let chosen: Vec<_> = proposal.candidates.iter().map(|c| (c.source.as_str(), c.chosen)).collect();
        assert_eq!(chosen, [("cpu", false), ("requests", true)]);
        assert_eq!(
            (proposal.price_before, proposal.price_after),
            (MicroCents::new(300), MicroCents::new(1100))
        );
        assert!(proposal.reason.contains("ratio 3.500 x 3 = 11"), "{}", proposal.reason);
    }

    #[test]
    fn a_failed_metric_blocks_only_the_way_down() {
        let metrics = [CPU, REQUESTS];
        let down = decided(&metrics, 5, some(5), vec![all(0.1, 5), failed()]);
        assert_eq!(down, (5, "a metric failed".to_owned()));
        assert_eq!(decided(&metrics, 5, some(5), vec![all(0.8, 5), failed()]).0, 8);
        assert_eq!(decided(&metrics, 5, some(5), vec![failed(), failed()]).1, "no metric has a value");
        // The same without a reading, with values that are none, and without instances.
        assert_eq!(decided(&metrics, 5, some(5), vec![]).1, "no metric has a value");
        assert_eq!(decided(&[CPU], 5, some(5), vec![all(f64::NAN, 5)]).1, "no metric has a value");
        assert_eq!(decided(&[CPU], 5, vec![], vec![all(0.1, 5)]).1, "no metric has a value");
        assert_eq!(decided(&[CPU], 5, vec![pending(1)], vec![all(0.1, 5)]).1, "no metric has a value");
    }

    #[test]
    fn a_total_is_shared_by_the_declared_count() {
        let total = |value| vec![MetricReading::Total { value }];
        assert_eq!(decided(&[REQUESTS], 4, some(4), total(170.0)).0, 9);
        assert_eq!(decided(&[REQUESTS], 4, some(4), total(84.0)).1, "tolerance");
        assert_eq!(decided(&[REQUESTS], 4, vec![], total(30.0)).0, 2);
        assert_eq!(decided(&[REQUESTS], 4, some(4), total(f64::NAN)).1, "no metric has a value");
    }

    #[test]
    fn the_surge_of_a_rollout_does_not_feed_on_itself() {
        // Four declared, eight there, all busy with warming up: 1.2 x 4, not 1.2 x 8.
        assert_eq!(decided(&[CPU], 4, some(8), vec![all(0.6, 8)]).0, 5);
        // The same load on twice the instances: nobody is sent away for it.
        assert_eq!(decided(&[CPU], 4, some(8), vec![all(0.25, 8)]).0, 4);
    }

    #[test]
    fn counts_outside_the_bounds_come_back_at_once() {
        let mut spec = spec(&[CPU]);
        (spec.min, spec.max) = (2, 6);
        for (count, to, rule) in [(1, 2, "min instances"), (9, 6, "max instances")] {
            let Verdict::Change(proposal) = verdict(&spec, count, vec![], vec![failed()]) else {
                panic!("held")
            };
            assert_eq!(proposal.kind, DecisionKind::Count { workload: web(), from: count, to });
            assert_eq!(proposal.rule, rule);
        }
        let stopped = verdict(&spec, 0, vec![], vec![failed()]);
        assert!(matches!(stopped, Verdict::Hold { rule: "stopped by hand", .. }));
    }

    #[test]
    fn from_zero_and_back_where_the_least_is_zero() {
        let mut spec = spec(&[REQUESTS]);
        spec.min = 0;
        let to = |count, value| match verdict(&spec, count, vec![], vec![MetricReading::Total { value }]) {
            Verdict::Change(proposal) => proposal.kind.to_string(),
            Verdict::Hold { .. } => "held".to_owned(),
        };
        assert_eq!(to(0, 30.0), "instances 0 -> 2");
        assert_eq!(to(0, 0.0), "held");
        assert_eq!(to(2, 0.0), "instances 2 -> 0");
    }

    #[test]
    fn the_rule_that_bound_is_named() {
        let mut bounded = spec(&[CPU]);
        bounded.up = ScalingRules::default_up();
        bounded.max = 6;
        let Verdict::Change(proposal) = verdict(&bounded, 3, some(3), vec![all(5.0, 3)]) else {
            panic!("held")
        };
        assert_eq!(
            (proposal.kind.to_string().as_str(), proposal.rule.as_str()),
            ("instances 3 -> 6", "max instances")
        );
        bounded.max = 100;
        let Verdict::Change(proposal) = verdict(&bounded, 3, some(3), vec![all(5.0, 3)]) else {
            panic!("held")
        };
        assert_eq!(
            (proposal.kind.to_string().as_str(), proposal.rule.as_str()),
            ("instances 3 -> 7", "scale-up rule")
        );
        bounded.down = ScalingRules::default_down();
        let Verdict::Hold { rule, reason, .. } = verdict(&bounded, 5, some(5), vec![all(0.1, 5)]) else {
            panic!("changed")
        };
        assert_eq!(rule, "stabilization window");
        assert!(reason.contains("the answers of the window allow 5"), "{reason}");
    }
}
