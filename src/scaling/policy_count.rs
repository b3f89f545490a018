//! The count of a service by a policy of counts (`scaling::counts`), within what its owner allows.
//! Not here: HPA for services that name it (`horizontal`), which needs more of each instance than a load.
//!
//! In: a service, its readings, a policy for each of its metrics. Out: a `Verdict`.
//!
//! Each metric has a policy of its own, since a policy remembers one load; the greatest answer counts. Bounds
//! and the rules per period hold whatever a policy says. A policy is told that a load is not known, and may
//! add instances all the same; it takes none away then.

use jiff::Timestamp;

use crate::domain::scale::{MetricTarget, ScaleSpec};
use crate::scaling::counts::{CountPolicy, Seen, Terms};
use crate::scaling::horizontal::{
    self, Answers, HorizontalState, MetricReading, Outcome, ServiceStatus, Verdict,
};
use crate::scaling::metric_count::{self, MetricAnswer};

/// What a policy is told besides the load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Seconds from asking for an instance until it serves.
    pub startup: f64,
    /// Seconds from one decision to the next.
    pub interval: f64,
}

/// Decides the count; `policies` stand in the order of the metrics, `state` remembers changes for the rules.
pub fn decide(
    spec: &ScaleSpec,
    status: &ServiceStatus<'_>,
    policies: &mut [Box<dyn CountPolicy>],
    pace: Pace,
    state: &mut HorizontalState,
    now: Timestamp,
) -> Verdict {
    state.prepare(spec, status.count, now);
    let ready = status.instances.iter().filter(|instance| instance.ready).count();
    let ready = u32::try_from(ready).unwrap_or(u32::MAX).min(status.count);
    // What a rollout has beyond the count is no capacity that lasts.
    let starting = status.count - ready;
    let unread = MetricReading::Failed { reason: "it was not read".to_owned() };
    let mut answers: Answers = Vec::new();
    for (index, (target, policy)) in spec.metrics.iter().zip(policies).enumerate() {
        let reading = status.readings.get(index).unwrap_or(&unread);
        let (load, capacity) = load_of(target, reading, status);
        let terms =
            Terms { capacity, startup: pace.startup, interval: pace.interval, min: spec.min, max: spec.max };
        let seen = Seen { at: now.as_second(), load: load.as_ref().ok().copied(), ready, starting };
        let answered = policy.decide(&seen, &terms);
        let answer = match load {
            Err(reason) if answered.count <= status.count => Err(reason),
            _ => {
                let values = answered.reason.values.iter().map(|(name, value)| format!("{name} {value:.3}"));
                let words = format!("{} -> {}", values.collect::<Vec<_>>().join(", "), answered.count);
                Ok(MetricAnswer { count: answered.count, rule: answered.reason.rule, words })
            }
        };
        answers.push((metric_count::name(target).to_owned(), answer));
    }
    // Only now: a policy is told of every decision.
    if let Some(verdict) = horizontal::beforehand(spec, status) {
        return verdict;
    }
    let (name, answer) = match horizontal::greatest(&answers, status.count) {
        Ok(greatest) => greatest,
        Err(held) => return held,
    };
    let limited = state.limited(spec, status.count, answer.count, now);
    let rule = limited.rule.unwrap_or(answer.rule);
    let mut reason = format!("{name}: {}: {}", answer.rule, answer.words);
    if let Some(bound) = limited.rule {
        reason = format!("{reason}; {bound} allows {}", limited.count);
    }
    if limited.count == status.count {
        let candidates = horizontal::candidates(&answers, Some(answer.count));
        return Verdict::Hold { rule, reason, candidates };
    }
    horizontal::change(spec, status, Outcome { to: limited.count, rule, reason, answers })
}

/// The load of the whole service by a metric, or why it is not known; and what one instance is to have of it.
pub(super) fn load_of(
    target: &MetricTarget,
    reading: &MetricReading,
    status: &ServiceStatus<'_>,
) -> (Result<f64, String>, f64) {
    let request = status.instances.first().map(|instance| instance.request);
    let capacity = match *target {
        MetricTarget::Cpu { utilization } => request.map_or(1.0, |request| request.cpu.cores()) * utilization,
        MetricTarget::Memory { utilization } => {
            request.map_or(1.0, |request| request.memory.as_f64()) * utilization
        }
        MetricTarget::Requests { per_instance } | MetricTarget::Prometheus { per_instance, .. } => {
            per_instance
        }
        MetricTarget::Queue(ref queue) => queue.length_per_instance.unwrap_or(1.0),
    };
    let load = match reading {
        MetricReading::Failed { reason } => Err(reason.clone()),
        MetricReading::Total { value } => Ok(*value),
        MetricReading::Queue { length, age_seconds } => {
            // An age that is too great stands for as much more work as one instance more takes.
            let MetricTarget::Queue(queue) = target else {
                return (Err("it is no queue".to_owned()), capacity);
            };
            let late = age_seconds.zip(queue.max_age).is_some_and(|(age, max)| age > max.as_secs_f64());
            let behind = f64::from(status.count + 1) * capacity;
            let least = if late { behind } else { 0.0 };
            match (length, age_seconds) {
                (Some(length), _) => Ok(length.max(least)),
                (None, Some(_)) if late => Ok(behind),
                // Young items say that there is enough, not how much would do.
                (None, Some(age)) if *age > 0.0 => Ok(f64::from(status.count) * capacity),
                (None, Some(_)) => Ok(0.0),
                (None, None) => Err("neither its length nor its age is known".to_owned()),
            }
        }
        MetricReading::PerInstance(values) => {
            let serving: Vec<_> = status.instances.iter().filter(|instance| instance.ready).collect();
            let known: Vec<f64> = serving
                .iter()
                .filter_map(|instance| Some(values.get(&instance.task)?.value))
                .filter(|value| value.is_finite())
                .collect();
            // Those that said nothing are taken to be like the others, as long as most of them said something.
            if known.is_empty() || known.len() * 2 < serving.len() {
                Err(format!("{} of {} ready instances have a value", known.len(), serving.len()))
            } else {
                Ok(known.iter().sum::<f64>() / known.len() as f64 * serving.len() as f64)
            }
        }
    };
    let amount = load.and_then(|load| {
        let is_one = load.is_finite() && load >= 0.0;
        if is_one { Ok(load) } else { Err(format!("its value {load} is not an amount")) }
    });
    (amount, capacity)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use jiff::SignedDuration;

    use super::*;
    use crate::domain::decision::DecisionKind;
    use crate::domain::money::MicroCents;
    use crate::domain::quantity::{Bytes, Millicores, Resources};
    use crate::domain::scale::{ScalingAmount, ScalingRule};
    use crate::domain::task::TaskId;
    use crate::domain::workload::WorkloadName;
    use crate::scaling::counts::{Answer, CheckpointError, Reason};
    use crate::scaling::horizontal::{InstanceReading, InstanceStatus};

    /// Answers what the load asks for, or `blind` where there is none.
    #[derive(Default, Clone)]
    struct Plain {
        blind: u32,
        told: Arc<Mutex<Vec<Seen>>>,
    }

    impl CountPolicy for Plain {
        fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
            self.told.lock().expect("a lock").push(*seen);
            let count = seen.load.map_or(self.blind, |load| (load / terms.capacity).ceil() as u32);
            let values = seen.load.map(|load| ("load", load)).into_iter().collect();
            Answer { count, reason: Reason { rule: "plain", values } }
        }

        fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
            Ok(Vec::new())
        }

        fn restore(&mut self, _: &[u8]) -> Result<(), CheckpointError> {
            Ok(())
        }
    }

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(10)
    }

    fn web() -> WorkloadName {
        WorkloadName::new("web").expect("a name")
    }

    fn instance(number: u64, ready: bool) -> InstanceStatus {
        InstanceStatus {
            task: TaskId::new(web(), number),
            started_at: Some(now()),
            ready,
            readiness_since: Some(now()),
            request: Resources::new(Millicores::new(500), Bytes::mib(100)),
        }
    }

    fn decided(
        spec: &ScaleSpec,
        (count, instances): (u32, Vec<InstanceStatus>),
        readings: Vec<MetricReading>,
        blind: u32,
    ) -> (u32, String) {
        let name = web();
        let instance_price = MicroCents::new(100);
        let status =
            ServiceStatus { workload: &name, count, stopped: false, instances, readings, instance_price };
        let plain = || -> Box<dyn CountPolicy> { Box::new(Plain { blind, ..Plain::default() }) };
        let mut policies: Vec<_> = spec.metrics.iter().map(|_| plain()).collect();
        let pace = Pace { startup: 30.0, interval: 15.0 };
        match decide(spec, &status, &mut policies, pace, &mut HorizontalState::default(), now()) {
            Verdict::Hold { rule, .. } => (count, rule.to_owned()),
            Verdict::Change(proposal) => match proposal.kind {
                DecisionKind::Count { to, .. } => (to, proposal.rule),
                other => panic!("{other}"),
            },
        }
    }

    fn requests() -> MetricTarget {
        MetricTarget::Requests { per_instance: 10.0 }
    }

    fn total(value: f64) -> MetricReading {
        MetricReading::Total { value }
    }

    fn failed() -> MetricReading {
        MetricReading::Failed { reason: "no answer".to_owned() }
    }

    fn some(count: u64) -> (u32, Vec<InstanceStatus>) {
        (count as u32, (1..=count).map(|number| instance(number, true)).collect())
    }

    #[test]
    fn the_greatest_answer_counts_within_bounds_and_rules() {
        let spec = ScaleSpec::new(2, 20, vec![requests(), requests()]);
        assert_eq!(decided(&spec, some(4), vec![total(31.0), total(79.0)], 0), (8, "plain".to_owned()));
        // The default rules allow twice as many; the bounds hold below.
        assert_eq!(decided(&spec, some(8), vec![total(900.0), total(0.0)], 0).0, 16);
        assert_eq!(decided(&spec, some(12), vec![total(900.0), total(0.0)], 0).0, 20);
        assert_eq!(decided(&spec, some(4), vec![total(1.0), total(0.0)], 0).0, 2);
        let mut spec = ScaleSpec::new(1, 20, vec![requests()]);
        let period = SignedDuration::from_secs(60);
        spec.down.rules = vec![ScalingRule { amount: ScalingAmount::Instances(1), period }];
        assert_eq!(decided(&spec, some(9), vec![total(1.0)], 0), (8, "scale-down rule".to_owned()));
        assert_eq!(decided(&spec, some(30), vec![total(900.0)], 0).0, 20, "more than allowed");
    }

    #[test]
    fn an_unknown_load_takes_nothing_away() {
        let spec = ScaleSpec::new(1, 20, vec![requests()]);
        assert_eq!(decided(&spec, some(4), vec![failed()], 1), (4, "no metric has a value".to_owned()));
        assert_eq!(decided(&spec, some(4), vec![failed()], 6).0, 6, "a forecast may add");
        for value in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(decided(&spec, some(4), vec![total(value)], 0).0, 4);
        }
        let two = ScaleSpec::new(1, 20, vec![requests(), requests()]);
        assert_eq!(decided(&two, some(4), vec![failed(), total(1.0)], 1).0, 4);
        assert_eq!(decided(&two, some(4), vec![failed(), total(60.0)], 1).0, 6);
    }

    #[test]
    fn shares_of_the_request_are_loads_too_and_what_starts_is_told() {
        let spec = ScaleSpec::new(1, 20, vec![MetricTarget::Cpu { utilization: 0.5 }]);
        let reading = |value| InstanceReading { value, at: now(), window: SignedDuration::from_secs(15) };
        let values = |n: u64| -> BTreeMap<TaskId, InstanceReading> {
            (1..=n).map(|number| (TaskId::new(web(), number), reading(0.5))).collect()
        };
        // Each has 0.25 cores to use and uses 0.5; one says nothing and is taken to be like the others.
        assert_eq!(decided(&spec, some(4), vec![MetricReading::PerInstance(values(3))], 0).0, 8);
        assert_eq!(decided(&spec, some(4), vec![MetricReading::PerInstance(values(1))], 0).0, 4, "too few");

        let plain = Plain::default();
        let name = web();
        let status = ServiceStatus {
            workload: &name,
            count: 5,
            stopped: false,
            instances: (1..=4).map(|number| instance(number, number != 2)).collect(),
            readings: vec![total(50.0)],
            instance_price: MicroCents::new(1),
        };
        let spec = ScaleSpec::new(1, 20, vec![requests()]);
        let pace = Pace { startup: 30.0, interval: 15.0 };
        let mut policies: Vec<Box<dyn CountPolicy>> = vec![Box::new(plain.clone())];
        let held = decide(&spec, &status, &mut policies, pace, &mut HorizontalState::default(), now());
        assert!(matches!(held, Verdict::Hold { rule: "plain", .. }), "{held:?}");
        let told = plain.told.lock().expect("a lock").clone();
        assert_eq!(told, [Seen { at: now().as_second(), load: Some(50.0), ready: 3, starting: 2 }]);
    }
}
