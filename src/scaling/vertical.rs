//! Whether a workload's size is to change now. Not here: which size is right (`estimation`), and how a
//! size is put in force (`scheduling`).
//!
//! In: a `Recommendation`, a `SizeStatus`, a `Policy`. Out: a `Proposal`, or none.
//!
//! The conditions are those of the updater of the Kubernetes Vertical Pod Autoscaler
//! (`pkg/updater/priority`): the request lies outside the bounds; or it has been in force for long and
//! is far enough off; or the kernel killed a task for want of memory. Two rules come on top: a change
//! smaller than the policy's `min_change` is not worth making, except after a kill; and no task gets
//! larger than the largest node, where it could never run.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::decision::{Candidate, DecisionKind, Proposal};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::policy::{Policy, PolicyMode};
use crate::domain::quantity::{Resources, TaskSize};
use crate::domain::recommendation::Recommendation;

/// When a size is old enough to be looked at again. The defaults are those of VPA's updater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerticalParameters {
    /// A size within the bounds stays in force at least this long.
    pub min_age: SignedDuration,
    /// A kill for want of memory is acted on for this long.
    pub oom_window: SignedDuration,
}

impl Default for VerticalParameters {
    fn default() -> Self {
        Self { min_age: SignedDuration::from_hours(12), oom_window: SignedDuration::from_mins(10) }
    }
}

/// A workload's size as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeStatus {
    /// The size in force.
    pub current: TaskSize,
    /// Since when it has been.
    pub since: Timestamp,
    /// When a task was last killed for want of memory.
    pub last_oom: Option<Timestamp>,
    /// Tasks that the price is multiplied by: the count of a service, else 1.
    pub instances: u32,
    /// What the largest node of all pools offers; absent where there are none to compare with.
    pub largest_node: Option<Resources>,
}

/// Decides whether the size is to change; none where it stays.
pub fn decide(
    recommendation: &Recommendation,
    status: &SizeStatus,
    policy: &Policy,
    parameters: &VerticalParameters,
    prices: &Prices,
    now: Timestamp,
) -> Option<Proposal> {
    if policy.size == PolicyMode::Off {
        return None;
    }
    let (target, clamped) = within_node(recommendation.size, status.largest_node);
    if target == status.current {
        return None;
    }
    let rule = binding_rule(recommendation, target, status, policy, parameters, now)?;
    let mut reason = format!("{}: {}", rule.words, recommendation.reason);
    if let (true, Some(node)) = (clamped, status.largest_node) {
        let wish = recommendation.size;
        reason = format!("{reason}; held at the largest node, {node} (would be {wish})");
    }
    let price = |size: TaskSize| {
        let each = prices.per_hour(size.request);
        MicroCents::new(each.get().saturating_mul(i64::from(status.instances)))
    };
    Some(Proposal {
        kind: DecisionKind::Size {
            workload: recommendation.workload.clone(),
            from: status.current,
            to: target,
        },
        rule: if clamped { LARGEST_NODE.to_owned() } else { rule.name.to_owned() },
        reason,
        inputs: inputs(recommendation, status, policy, now),
        candidates: candidates(recommendation, target, status),
        price_before: price(status.current),
        price_after: price(target),
    })
}

const OUTSIDE_BOUNDS: &str = "outside bounds";
const OOM_KILL: &str = "OOM kill";
const MIN_CHANGE: &str = "minimum change";
const LARGEST_NODE: &str = "largest node";

/// Why a size is to change.
struct Rule {
    name: &'static str,
    words: String,
}

fn binding_rule(
    recommendation: &Recommendation,
    target: TaskSize,
    status: &SizeStatus,
    policy: &Policy,
    parameters: &VerticalParameters,
    now: Timestamp,
) -> Option<Rule> {
    let current = status.current;
    // A kill from before the size in force came is what that size already answers.
    let fresh =
        status.last_oom.filter(|&at| at >= status.since && now.duration_since(at) <= parameters.oom_window);
    if fresh.is_some() && target.memory_limit > current.memory_limit {
        let words = format!("killed for want of memory at {}", current.memory_limit);
        return Some(Rule { name: OOM_KILL, words });
    }
    let change = relative_change(current, target);
    if change < policy.min_change.get() {
        return None;
    }
    if let Some(words) = outside(current.request, recommendation, status.largest_node) {
        return Some(Rule { name: OUTSIDE_BOUNDS, words });
    }
    if now.duration_since(status.since) >= parameters.min_age {
        let words = format!("{:.0} % off in sum", change * 100.0);
        return Some(Rule { name: MIN_CHANGE, words });
    }
    None
}

/// The sum of |target - current| / current over CPU and memory, and of the memory limit where it moves
/// apart from the request; a request of nothing counts as wholly off.
pub(super) fn relative_change(current: TaskSize, target: TaskSize) -> f64 {
    let of = |now: u64, next: u64| match (now, next) {
        (0, 0) => 0.0,
        (0, _) => 1.0,
        _ => now.abs_diff(next) as f64 / now as f64,
    };
    let memory = of(current.request.memory.get(), target.request.memory.get());
    let limit = of(current.memory_limit.get(), target.memory_limit.get());
    of(current.request.cpu.get(), target.request.cpu.get()) + memory.max(limit)
}

/// Which request is outside the bounds, in words.
fn outside(request: Resources, recommendation: &Recommendation, node: Option<Resources>) -> Option<String> {
    let (mut lower, upper) = (recommendation.lower, recommendation.upper);
    if let Some(node) = node {
        // What no node has cannot be missed.
        lower = Resources::new(lower.cpu.min(node.cpu), lower.memory.min(node.memory));
    }
    let mut found = Vec::new();
    if request.cpu < lower.cpu {
        found.push(format!("CPU {} cores is under the lower bound {}", request.cpu, lower.cpu));
    }
    if request.cpu > upper.cpu {
        found.push(format!("CPU {} cores is over the upper bound {}", request.cpu, upper.cpu));
    }
    if request.memory < lower.memory {
        found.push(format!("memory {} is under the lower bound {}", request.memory, lower.memory));
    }
    if request.memory > upper.memory {
        found.push(format!("memory {} is over the upper bound {}", request.memory, upper.memory));
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// The size cut to what the largest node offers, and whether that changed it.
pub(super) fn within_node(size: TaskSize, node: Option<Resources>) -> (TaskSize, bool) {
    let Some(node) = node else { return (size, false) };
    let cut = TaskSize {
        request: Resources::new(size.request.cpu.min(node.cpu), size.request.memory.min(node.memory)),
        cpu_limit: size.cpu_limit.map(|limit| limit.min(node.cpu)),
        memory_limit: size.memory_limit.min(node.memory),
    };
    (cut, cut != size)
}

fn inputs(
    recommendation: &Recommendation,
    status: &SizeStatus,
    policy: &Policy,
    now: Timestamp,
) -> BTreeMap<String, String> {
    let age = now.duration_since(status.since).as_secs();
    BTreeMap::from([
        ("in force".to_owned(), format!("{} for {age} s", status.current)),
        ("recommended".to_owned(), recommendation.size.to_string()),
        ("lower bound".to_owned(), recommendation.lower.to_string()),
        ("upper bound".to_owned(), recommendation.upper.to_string()),
        ("samples".to_owned(), recommendation.samples.to_string()),
        ("days of history".to_owned(), format!("{:.3}", recommendation.confidence_days)),
        ("minimum change".to_owned(), policy.min_change.get().to_string()),
        ("last OOM kill".to_owned(), status.last_oom.map_or_else(|| "none".to_owned(), |at| at.to_string())),
        (
            "largest node".to_owned(),
            status.largest_node.map_or_else(|| "not known".to_owned(), |n| n.to_string()),
        ),
        ("tasks".to_owned(), status.instances.to_string()),
    ])
}

fn candidates(recommendation: &Recommendation, target: TaskSize, status: &SizeStatus) -> Vec<Candidate> {
    let of = |source: &str, size: TaskSize, chosen| Candidate {
        source: source.to_owned(),
        answer: size.to_string(),
        chosen,
    };
    let clamped = target != recommendation.size;
    let mut all =
        vec![of("size in force", status.current, false), of("recommendation", recommendation.size, !clamped)];
    if clamped {
        all.push(of(LARGEST_NODE, target, true));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::{Bytes, Millicores, Share};
    use crate::domain::workload::WorkloadName;

    fn resources(cpu: u64, mib: u64) -> Resources {
        Resources::new(Millicores::new(cpu), Bytes::mib(mib))
    }

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
    }

    fn recommendation(size: Resources, lower: Resources, upper: Resources) -> Recommendation {
        Recommendation {
            workload: WorkloadName::new("web").expect("a name"),
            at: now(),
            size: TaskSize::of(size),
            lower,
            upper,
            samples: 5000,
            confidence_days: 3.0,
            reason: "memory p90".to_owned(),
            price_effect: MicroCents::ZERO,
            risk: None,
            reasons: Vec::new(),
            candidates: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// In force for an hour, no kill, three instances.
    fn status(current: Resources) -> SizeStatus {
        SizeStatus {
            current: TaskSize::of(current),
            since: now() - SignedDuration::from_hours(1),
            last_oom: None,
            instances: 3,
            largest_node: Some(resources(4000, 8192)),
        }
    }

    fn decided(recommendation: &Recommendation, status: &SizeStatus, mode: PolicyMode) -> Option<Proposal> {
        let policy = Policy { size: mode, min_change: Share::new(0.1), ..Policy::default() };
        let prices =
            Prices { core_hour: MicroCents::from_units(0.04), gib_hour: MicroCents::from_units(0.004) };
        decide(recommendation, status, &policy, &VerticalParameters::default(), &prices, now())
    }

    #[test]
    fn outside_the_bounds_changes_at_once() {
        let recommendation = recommendation(resources(200, 200), resources(150, 150), resources(400, 400));
        let proposal =
            decided(&recommendation, &status(resources(500, 200)), PolicyMode::Auto).expect("a change");
        assert_eq!(proposal.rule, "outside bounds");
        assert!(proposal.reason.contains("CPU 0.5 cores is over the upper bound 0.4"), "{}", proposal.reason);
        // 0.3 cores less on three instances at 0.04.
        assert_eq!(proposal.price_after - proposal.price_before, MicroCents::from_units(-0.036));
        let proposal =
            decided(&recommendation, &status(resources(200, 100)), PolicyMode::Auto).expect("a change");
        assert!(proposal.reason.contains("memory 100.0 MiB is under the lower bound"), "{}", proposal.reason);
    }

    #[test]
    fn within_the_bounds_a_size_stays_for_half_a_day() {
        let recommendation = recommendation(resources(200, 200), resources(100, 100), resources(400, 400));
        let mut status = status(resources(300, 300));
        assert_eq!(decided(&recommendation, &status, PolicyMode::Auto), None);
        status.since = now() - SignedDuration::from_hours(12);
        let proposal = decided(&recommendation, &status, PolicyMode::Auto).expect("a change");
        assert_eq!(proposal.rule, "minimum change");
    }

    #[test]
    fn a_small_change_is_not_worth_it() {
        let recommendation = recommendation(resources(205, 205), resources(203, 203), resources(400, 400));
        let mut status = status(resources(200, 200));
        status.since = now() - SignedDuration::from_hours(100);
        assert_eq!(decided(&recommendation, &status, PolicyMode::Auto), None, "5 % in sum, under the bounds");
        status.current = TaskSize::of(resources(195, 195));
        assert!(decided(&recommendation, &status, PolicyMode::Auto).is_some(), "10.3 % in sum");
    }

    #[test]
    fn a_kill_is_answered_at_once_and_once() {
        let recommendation = recommendation(resources(200, 210), resources(100, 100), resources(400, 400));
        let mut status = status(resources(200, 200));
        status.last_oom = Some(now() - SignedDuration::from_mins(9));
        let proposal = decided(&recommendation, &status, PolicyMode::Auto).expect("a change");
        assert_eq!(proposal.rule, "OOM kill");
        // The size came after the kill.
        status.since = now() - SignedDuration::from_mins(5);
        assert_eq!(decided(&recommendation, &status, PolicyMode::Auto), None);
        // Too long ago.
        status.since = now() - SignedDuration::from_hours(1);
        status.last_oom = Some(now() - SignedDuration::from_mins(11));
        assert_eq!(decided(&recommendation, &status, PolicyMode::Auto), None);
        // A kill is no reason to give less.
        status.last_oom = Some(now());
        status.current = TaskSize::of(resources(200, 220));
        assert_eq!(decided(&recommendation, &status, PolicyMode::Auto), None);
    }

    #[test]
    fn no_task_outgrows_the_largest_node() {
        let recommendation =
            recommendation(resources(200, 9000), resources(100, 8500), resources(400, 20_000));
        let proposal =
            decided(&recommendation, &status(resources(200, 512)), PolicyMode::Auto).expect("a change");
        let DecisionKind::Size { to, .. } = proposal.kind else { panic!("not a size") };
        assert_eq!(to, TaskSize::of(resources(200, 8192)));
        assert_eq!(proposal.rule, "largest node");
        assert!(proposal.reason.contains("held at the largest node"), "{}", proposal.reason);
        // Once there, it rests, although the bounds lie beyond, and although CPU moves a little.
        assert_eq!(decided(&recommendation, &status(resources(200, 8192)), PolicyMode::Auto), None);
        assert_eq!(decided(&recommendation, &status(resources(195, 8192)), PolicyMode::Auto), None);
    }

    #[test]
    fn off_means_off_and_every_other_mode_decides() {
        let recommendation = recommendation(resources(200, 200), resources(150, 150), resources(400, 400));
        let status = status(resources(900, 900));
        assert_eq!(decided(&recommendation, &status, PolicyMode::Off), None);
        for mode in [PolicyMode::Observe, PolicyMode::Approve, PolicyMode::Auto] {
            assert!(decided(&recommendation, &status, mode).is_some());
        }
    }
}
