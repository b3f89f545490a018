//! The number of instances that one metric asks for. Not here: several metrics together, and how fast
//! a count may change (`horizontal`, `stabilization`).
//!
//! In: a target, the instances, a reading. Out: a count with the arithmetic in words, or why there is none.
//!
//! Follows `pkg/controller/podautoscaler/replica_calculator.go` of Kubernetes, with two differences.
//! A share is not cut to whole percents. And an instance beyond the declared count (the surge of a
//! rollout) multiplies no scale-up: a warm-up spike of new instances would otherwise raise the count,
//! which starts more of them (kubernetes/kubernetes#84142). It still counts on a scale-down, where
//! leaving it out would answer less than the load needs.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::quantity::Resources;
use crate::domain::scale::{MetricTarget, QueueTarget};
use crate::domain::task::TaskId;
use crate::scaling::horizontal::{
    HorizontalParameters, InstanceReading, InstanceStatus, MetricReading, ServiceStatus,
};

/// What a metric answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricAnswer {
    /// Instances.
    pub(super) count: u32,
    /// The rule that the answer rests on.
    pub(super) rule: &'static str,
    /// The arithmetic, for people.
    pub(super) words: String,
}

/// The present count is right within the tolerance.
pub(super) const TOLERANCE: &str = "tolerance";
/// Instances of which nothing is known could turn the answer round.
pub(super) const UNKNOWN_INSTANCES: &str = "unready or missing instances";
/// The target, divided out.
pub(super) const TARGET: &str = "target";

/// The name of a metric in decisions.
pub(super) fn name(target: &MetricTarget) -> &str {
    match target {
        MetricTarget::Cpu { .. } => "cpu",
        MetricTarget::Memory { .. } => "memory",
        MetricTarget::Requests { .. } => "requests",
        MetricTarget::Prometheus { metric, .. } => metric,
        MetricTarget::Queue(_) => "queue",
    }
}

/// How far a metric may be over its target, and under it, without a change.
pub(super) type Tolerances = (f64, f64);

/// The count that a metric asks for, or why it asks for none.
pub(super) fn count_for(
    target: &MetricTarget,
    tolerance: Tolerances,
    reading: &MetricReading,
    status: &ServiceStatus<'_>,
    parameters: &HorizontalParameters,
    now: Timestamp,
) -> Result<MetricAnswer, String> {
    let aim = aim(target);
    if !(aim.is_finite() && aim > 0.0) {
        return Err(format!("its target {aim} is not above 0"));
    }
    match reading {
        MetricReading::Failed { reason } => Err(reason.clone()),
        MetricReading::Total { value } => of_total(*value, aim, tolerance, status.count),
        MetricReading::PerInstance(values) => {
            let groups = Groups::of(target, status, values, parameters, now)?;
            Ok(groups.answer(aim, tolerance, status.count))
        }
        MetricReading::Queue { length, age_seconds } => match target {
            MetricTarget::Queue(queue) => of_queue(queue, (*length, *age_seconds), tolerance, status.count),
            _ => Err("it is not a queue".to_owned()),
        },
    }
}

/// The greater answer of the length, which is shared by the instances, and of the age of the oldest item.
/// Where both are given, the age only ever asks for more: a short queue of young items is the length's to say.
fn of_queue(
    queue: &QueueTarget,
    (length, age): (Option<f64>, Option<f64>),
    tolerance: Tolerances,
    count: u32,
) -> Result<MetricAnswer, String> {
    let by_length = match (length, queue.length_per_instance) {
        (Some(length), Some(each)) => Some(of_total(length, each, tolerance, count)?),
        _ => None,
    };
    let by_age = match (age, queue.max_age) {
        (Some(age), Some(max)) => of_age(age, max.as_secs_f64(), tolerance, (count, by_length.is_some()))?,
        _ => None,
    };
    match (by_length, by_age) {
        (Some(length), Some(age)) if age.count > length.count => Ok(age),
        (Some(length), _) => Ok(length),
        (None, Some(age)) => Ok(age),
        (None, None) => Err("neither its length nor its age is known".to_owned()),
    }
}

/// The count in the proportion in which the oldest item is too old; at most doubled, since an age says that
/// there are too few and not how many are missing.
fn of_age(
    age: f64,
    max: f64,
    tolerance: Tolerances,
    (count, has_length): (u32, bool),
) -> Result<Option<MetricAnswer>, String> {
    if !(age.is_finite() && age >= 0.0 && max > 0.0) {
        return Err(format!("the age {age} of its oldest item is none"));
    }
    let ratio = age / max;
    if ratio <= 1.0 && has_length {
        return Ok(None);
    }
    let words = format!("the oldest item has waited {age:.1} s of {max} s");
    if count > 0 && within(ratio, tolerance) {
        let words = format!("{words}, within the tolerance");
        return Ok(Some(MetricAnswer { count, rule: TOLERANCE, words }));
    }
    let answer = rounded_up(f64::from(count.max(1)) * ratio.min(2.0));
    Ok(Some(MetricAnswer { count: answer, rule: TARGET, words: format!("{words}: {answer}") }))
}

/// A total is divided by what one instance should have (`GetObjectPerPodMetricReplicas`).
fn of_total(total: f64, aim: f64, tolerance: Tolerances, count: u32) -> Result<MetricAnswer, String> {
    if !(total.is_finite() && total >= 0.0) {
        return Err(format!("its value {total} is not an amount"));
    }
    let ratio = total / (aim * f64::from(count));
    if count > 0 && within(ratio, tolerance) {
        let words = format!(
            "{total:.2} in total, {aim} wanted for each of {count}: ratio {ratio:.3}, within the tolerance"
        );
        return Ok(MetricAnswer { count, rule: TOLERANCE, words });
    }
    let answer = rounded_up(total / aim);
    let words = format!("{total:.2} in total / {aim} for each = {answer}");
    Ok(MetricAnswer { count: answer, rule: TARGET, words })
}

/// What one instance should have.
fn aim(target: &MetricTarget) -> f64 {
    match *target {
        MetricTarget::Cpu { utilization } | MetricTarget::Memory { utilization } => utilization,
        MetricTarget::Requests { per_instance } | MetricTarget::Prometheus { per_instance, .. } => {
            per_instance
        }
        // Only the age counts: there is nothing to divide.
        MetricTarget::Queue(ref queue) => queue.length_per_instance.unwrap_or(1.0),
    }
}

/// The unit that a value is measured in: the request for shares of it, else 1.
fn unit(target: &MetricTarget, request: Resources) -> f64 {
    match target {
        MetricTarget::Cpu { .. } => request.cpu.cores(),
        MetricTarget::Memory { .. } => request.memory.as_f64(),
        MetricTarget::Requests { .. } | MetricTarget::Prometheus { .. } | MetricTarget::Queue(_) => 1.0,
    }
}

fn within(ratio: f64, (over, under): Tolerances) -> bool {
    (1.0 - under..=1.0 + over).contains(&ratio)
}

/// The next whole number. 4 x 1.5 can come out as 6.000000000000001 and is still six.
fn rounded_up(instances: f64) -> u32 {
    (instances - 1e-9).ceil().max(0.0) as u32
}

/// Instances by what is known of them, in units of the request (or 1).
#[derive(Debug, Default)]
struct Groups {
    /// Sum of values of the instances that count.
    value: f64,
    /// Sum of their units.
    units: f64,
    /// How many they are.
    ready: u32,
    /// Units of instances that do not count yet.
    unready: Vec<f64>,
    /// Units of instances without a value.
    missing: Vec<f64>,
    /// What a missing instance is taken to use on a scale-down, in shares of its unit.
    missing_share: f64,
}

impl Groups {
    fn of(
        target: &MetricTarget,
        status: &ServiceStatus<'_>,
        values: &BTreeMap<TaskId, InstanceReading>,
        parameters: &HorizontalParameters,
        now: Timestamp,
    ) -> Result<Self, String> {
        let share_of_request = matches!(target, MetricTarget::Cpu { .. } | MetricTarget::Memory { .. });
        let aim = aim(target);
        // Kubernetes takes a missing pod to use all of its request, or the target if that is more; of
        // other metrics, the target.
        let missing_share = if share_of_request { aim.max(1.0) } else { aim };
        let mut groups = Self { missing_share, ..Self::default() };
        for instance in &status.instances {
            let unit = unit(target, instance.request);
            if unit <= 0.0 {
                return Err(format!("{} requests nothing, so there is no share of it", instance.task));
            }
            let reading = values.get(&instance.task).filter(|reading| reading.value.is_finite());
            match reading {
                _ if instance.started_at.is_none() => groups.unready.push(unit),
                None => groups.missing.push(unit),
                Some(reading)
                    if matches!(target, MetricTarget::Cpu { .. })
                        && instance.is_warming_up(reading, parameters, now) =>
                {
                    groups.unready.push(unit);
                }
                Some(reading) => {
                    groups.value += reading.value;
                    groups.units += unit;
                    groups.ready += 1;
                }
            }
        }
        if status.instances.is_empty() {
            return Err("there are no instances".to_owned());
        }
        if groups.ready == 0 {
            return Err("no ready instance has a value".to_owned());
        }
        Ok(groups)
    }

    fn answer(&self, aim: f64, tolerance: Tolerances, count: u32) -> MetricAnswer {
        let ratio = self.value / (self.units * aim);
        let words = format!("{:.3} of {aim} wanted: ratio {ratio:.3}", self.value / self.units);
        let rising = ratio > 1.0;
        let stay = |rule, why: &str| MetricAnswer { count, rule, words: format!("{words}, {why}") };
        if self.missing.is_empty() && (!rising || self.unready.is_empty()) {
            if within(ratio, tolerance) {
                return stay(TOLERANCE, "within the tolerance");
            }
            return multiplied(ratio, self.ready, count, &words);
        }
        if !rising && ratio >= 1.0 {
            return stay(TOLERANCE, "exactly as wanted");
        }
        // What is not known counts against a change: nothing on the way up, in full on the way down.
        let mut value = self.value;
        let mut units = self.units;
        let mut counted = self.ready;
        if ratio < 1.0 {
            value += self.missing.iter().sum::<f64>() * self.missing_share;
        }
        units += self.missing.iter().sum::<f64>();
        counted += self.missing.len() as u32;
        if rising {
            units += self.unready.iter().sum::<f64>();
            counted += self.unready.len() as u32;
        }
        let cautious = value / (units * aim);
        let words = format!(
            "{words}, with {} missing and {} unready ratio {cautious:.3}",
            self.missing.len(),
            self.unready.len()
        );
        let turned = (ratio < 1.0 && cautious > 1.0) || (rising && cautious < 1.0);
        if within(cautious, tolerance) || turned {
            return MetricAnswer { count, rule: UNKNOWN_INSTANCES, words };
        }
        multiplied(cautious, counted, count, &words)
    }
}

/// The ratio times the instances, unless that goes the other way than the ratio.
fn multiplied(ratio: f64, instances: u32, count: u32, words: &str) -> MetricAnswer {
    let surge = instances.saturating_sub(count);
    let (instances, note) = if ratio > 1.0 && surge > 0 {
        (count, format!(" (without {surge} beyond the count)"))
    } else {
        (instances, String::new())
    };
    let answer = rounded_up(ratio * f64::from(instances));
    let words = format!("{words} x {instances}{note} = {answer}");
    let turned = (ratio < 1.0 && answer > count) || (ratio > 1.0 && answer < count);
    if turned {
        return MetricAnswer {
            count,
            rule: UNKNOWN_INSTANCES,
            words: format!("{words}, against its direction"),
        };
    }
    MetricAnswer { count: answer, rule: TARGET, words }
}

impl InstanceStatus {
    /// Whether its CPU says nothing about the load yet: it starts up, or its value reaches back into
    /// the time before it was ready.
    fn is_warming_up(
        &self,
        reading: &InstanceReading,
        parameters: &HorizontalParameters,
        now: Timestamp,
    ) -> bool {
        let (Some(started), Some(changed)) = (self.started_at, self.readiness_since) else { return true };
        if now.duration_since(started) < parameters.cpu_initialization {
            return !self.ready || reading.at.duration_since(changed) < reading.window;
        }
        // Unready since right after its start: it has never been ready.
        !self.ready && changed.duration_since(started) < parameters.readiness_delay
    }
}
