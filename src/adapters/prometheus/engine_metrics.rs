//! The engine's own metrics: what it does and how long it takes, for its operators' Prometheus.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `loadline_passes_total` | counter | `controller`, `outcome`: ok, failed |
//! | `loadline_pass_duration_seconds` | histogram | `controller` |
//! | `loadline_pass_late_seconds` | gauge | `controller` |
//! | `loadline_plan_steps_total` | counter | |
//! | `loadline_scrapes_total` | counter | `outcome`: ok, failed, late |
//! | `loadline_decisions_total` | counter | `kind`: size, count, pool; `outcome` |
//! | `loadline_tasks` | gauge | `state`; pending ones are those without a node |
//! | `loadline_nodes` | gauge | `state` |
//! | `loadline_waiting_tasks` | gauge | `reason`: attributes, reserved, node, neighbours, spread, crowded, room, preemption, quota, backoff |
//! | `loadline_store_commit_duration_seconds` | histogram | |
//! | `loadline_frozen` | gauge, 0 or 1 | `switch`: deploys, scaling, draining, cron |
//! | `loadline_notices_total` | counter | `hook`; `outcome`: delivered, failed (a try each) |
//! | `loadline_scaling_condition` | gauge, 0 or 1 | `workload`; `condition`: metric-stale, metric-invalid, metric-implausible, counter-reset, clock-jump |
//! | `loadline_startup_seconds` | gauge | `workload`: what nine of ten instances keep to |
//! | `loadline_held_requests` | gauge | `workload`: requests that wait for a first instance |
//! | `loadline_restarts_total`, `loadline_oom_kills_total` | counter | `workload` |

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode as write_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::decision::{Decision, DecisionKind, DecisionOutcome};
use crate::domain::node::NodeState;
use crate::domain::plan::{WaitKind, Waiting};
use crate::domain::scale_status::{MetricFault, ScaleStatus};
use crate::domain::task::TaskState;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::ports::own_state::LoopState;
use crate::ports::telemetry::{PassDone, ScrapeOutcome, Telemetry};

/// Upper ends of the buckets for durations inside the engine, in seconds: a tick is milliseconds, a
/// commit is one wait for the disk.
const DURATION_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// States that are shown with zero while nothing is in them.
const TASK_STATES: [TaskState; 10] = [
    TaskState::Pending,
    TaskState::Launching,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Retiring,
    TaskState::Stopping,
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Stopped,
    TaskState::Lost,
];

/// Like `TASK_STATES`.
const NODE_STATES: [NodeState; 5] =
    [NodeState::Joining, NodeState::Ready, NodeState::Draining, NodeState::Removing, NodeState::Lost];

/// Labels whose values are words of this program.
type Words<const N: usize> = [(&'static str, &'static str); N];

/// Passes of a loop.
#[derive(Debug, Clone, Copy, Default)]
struct Passes {
    count: u64,
    failed: u64,
    last: Option<(Instant, PassDone)>,
    worst: (Duration, Duration),
}

impl Passes {
    fn take(&mut self, done: &PassDone) {
        self.count += 1;
        self.failed += u64::from(done.failed);
        self.last = Some((Instant::now(), *done));
        self.worst = (self.worst.0.max(done.took), self.worst.1.max(done.late));
    }
}

/// The engine's metrics. Clones share their counts.
#[derive(Debug, Clone)]
pub struct EngineMetrics {
    registry: Arc<Registry>,
    passes: Family<Words<2>, Counter>,
    pass_duration: Family<Words<1>, Histogram, fn() -> Histogram>,
    pass_late: Family<Words<1>, Gauge<f64, AtomicU64>>,
    loops: Arc<Mutex<BTreeMap<&'static str, Passes>>>,
    plan_steps: Counter,
    scrapes: Family<Words<1>, Counter>,
    decisions: Family<Words<2>, Counter>,
    tasks: Family<Words<1>, Gauge>,
    nodes: Family<Words<1>, Gauge>,
    waiting: Family<Words<1>, Gauge>,
    commit_duration: Histogram,
    restarts: Family<[(&'static str, String); 1], Counter>,
    oom_kills: Family<[(&'static str, String); 1], Counter>,
    frozen: Family<Words<1>, Gauge>,
    notices: Family<[(&'static str, String); 2], Counter>,
    conditions: Family<[(&'static str, String); 2], Gauge>,
    startup: Family<[(&'static str, String); 1], Gauge<f64, AtomicU64>>,
    held: Family<[(&'static str, String); 1], Gauge>,
    overcommit: Family<Words<1>, Gauge<f64, AtomicU64>>,
}

impl Default for EngineMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("loadline");
        let metrics = Self {
            registry: Arc::default(),
            passes: Family::default(),
            pass_duration: Family::new_with_constructor(durations),
            pass_late: Family::default(),
            loops: Arc::default(),
            plan_steps: Counter::default(),
            scrapes: Family::default(),
            decisions: Family::default(),
            tasks: Family::default(),
            nodes: Family::default(),
            waiting: Family::default(),
            commit_duration: Histogram::new(DURATION_BUCKETS),
            restarts: Family::default(),
            oom_kills: Family::default(),
            frozen: Family::default(),
            notices: Family::default(),
            conditions: Family::default(),
            startup: Family::default(),
            held: Family::default(),
            overcommit: Family::default(),
        };
        registry.register("passes", "Passes of the engine's loops", metrics.passes.clone());
        registry.register("pass_duration_seconds", "How long a pass takes", metrics.pass_duration.clone());
        let late = "How long after it was due the last pass began";
        registry.register("pass_late_seconds", late, metrics.pass_late.clone());
        registry.register("plan_steps", "Changes that plans asked for", metrics.plan_steps.clone());
        registry.register("scrapes", "Scrapes of agents", metrics.scrapes.clone());
        registry.register("decisions", "Decisions recorded", metrics.decisions.clone());
        registry.register("tasks", "Tasks that are not forgotten", metrics.tasks.clone());
        registry.register("nodes", "Nodes", metrics.nodes.clone());
        registry.register("waiting_tasks", "Tasks without a node", metrics.waiting.clone());
        registry.register(
            "store_commit_duration_seconds",
            "Time until a commit is on disk",
            metrics.commit_duration.clone(),
        );
        registry.register("restarts", "Failures that are answered by a restart", metrics.restarts.clone());
        registry.register("oom_kills", "Tasks killed for want of memory", metrics.oom_kills.clone());
        registry.register("frozen", "Kinds of change that are frozen", metrics.frozen.clone());
        registry.register("notices", "Notices told to hooks", metrics.notices.clone());
        let faults = "What is wrong with the metrics that counts follow";
        registry.register("scaling_condition", faults, metrics.conditions.clone());
        let startup = "What nine of ten instances take from launch to ready";
        registry.register("startup_seconds", startup, metrics.startup.clone());
        registry.register("held_requests", "Requests that wait for a first instance", metrics.held.clone());
        let peaks = "What came of predicted peaks of nodes; absent where no CPU is lent";
        registry.register("overcommit", peaks, metrics.overcommit.clone());
        // A counter that appears with its first event hides that event from `rate`.
        for outcome in ["ok", "failed", "late"] {
            drop(metrics.scrapes.get_or_create(&[("outcome", outcome)]));
        }
        Self { registry: Arc::new(registry), ..metrics }
    }
}

fn durations() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

impl Telemetry for EngineMetrics {
    fn pass(&self, done: &PassDone) {
        let outcome = if done.failed { "failed" } else { "ok" };
        self.passes.get_or_create(&[("controller", done.name), ("outcome", outcome)]).inc();
        self.pass_duration.get_or_create(&[("controller", done.name)]).observe(done.took.as_secs_f64());
        self.pass_late.get_or_create(&[("controller", done.name)]).set(done.late.as_secs_f64());
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.entry(done.name).or_default().take(done);
    }

    fn planned(&self, steps: usize) {
        self.plan_steps.inc_by(steps as u64);
    }

    fn committed(&self, took: Duration, changes: &[&Change], world: &World) {
        self.commit_duration.observe(took.as_secs_f64());
        for change in changes {
            self.count(change);
        }
        self.shown(world);
    }

    fn shown(&self, world: &World) {
        for switch in Switch::ALL {
            let frozen = i64::from(world.frozen(switch).is_some());
            self.frozen.get_or_create(&[("switch", switch.as_str())]).set(frozen);
        }
        let tasks = world.tasks.values().map(|task| task.state.as_str());
        show(&self.tasks, "state", TASK_STATES.map(TaskState::as_str), tasks);
        let nodes = world.nodes.values().map(|node| node.state.as_str());
        show(&self.nodes, "state", NODE_STATES.map(NodeState::as_str), nodes);
    }

    fn waiting(&self, tasks: &[Waiting]) {
        let found = tasks.iter().map(|waiting| waiting.kind.as_str());
        show(&self.waiting, "reason", WaitKind::ALL.map(WaitKind::as_str), found);
    }

    fn told(&self, hook: &str, delivered: bool) {
        let outcome = if delivered { "delivered" } else { "failed" };
        let labels = [("hook", hook.to_owned()), ("outcome", outcome.to_owned())];
        self.notices.get_or_create(&labels).inc();
    }

    fn scraped(&self, outcome: ScrapeOutcome) {
        let word = match outcome {
            ScrapeOutcome::Ok => "ok",
            ScrapeOutcome::Failed => "failed",
            ScrapeOutcome::Late => "late",
        };
        self.scrapes.get_or_create(&[("outcome", word)]).inc();
    }

    fn lent(&self, figures: &[(&'static str, f64)]) {
        for (figure, value) in figures {
            self.overcommit.get_or_create(&[("figure", *figure)]).set(*value);
        }
    }

    fn scaling(&self, statuses: &BTreeMap<WorkloadName, ScaleStatus>) {
        // Services that are gone leave nothing behind.
        self.conditions.clear();
        self.startup.clear();
        self.held.clear();
        for (name, status) in statuses {
            for fault in MetricFault::ALL {
                let holds = status.conditions.iter().any(|condition| condition.fault == fault);
                let labels = [("workload", name.to_string()), ("condition", fault.to_string())];
                self.conditions.get_or_create(&labels).set(i64::from(holds));
            }
            let labels = [("workload", name.to_string())];
            if let Some(startup) = status.startup {
                self.startup.get_or_create(&labels).set(startup.seconds);
            }
            self.held.get_or_create(&labels).set(i64::try_from(status.held).unwrap_or(i64::MAX));
        }
    }

    fn decided(&self, decision: &Decision) {
        let kind = match decision.proposal.kind {
            DecisionKind::Size { .. } => "size",
            DecisionKind::Count { .. } => "count",
            DecisionKind::Pool { .. } => "pool",
        };
        let outcome = match decision.outcome {
            DecisionOutcome::Observed => "observed",
            DecisionOutcome::AwaitingApproval => "awaiting_approval",
            DecisionOutcome::Applied => "applied",
            DecisionOutcome::Superseded => "superseded",
            DecisionOutcome::Frozen { .. } => "frozen",
            DecisionOutcome::Reverted { .. } => "reverted",
        };
        self.decisions.get_or_create(&[("kind", kind), ("outcome", outcome)]).inc();
    }
}

impl EngineMetrics {
    /// Counts what a change says of restarts and kills for want of memory.
    fn count(&self, change: &Change) {
        match change {
            Change::RestartNoted { workload, restart } if restart.failures > 0 => {
                self.restarts.get_or_create(&[("workload", workload.to_string())]).inc();
            }
            Change::TaskMoved { task, exit: Some(exit), .. } if exit.is_oom() => {
                self.oom_kills.get_or_create(&[("workload", task.workload().to_string())]).inc();
            }
            _ => {}
        }
    }

    /// How the loops go, by name.
    pub fn loops(&self) -> Vec<LoopState> {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |passes: &Passes| {
            let (ended, done) = passes.last?;
            Some(LoopState {
                name: done.name,
                interval: done.interval,
                passes: passes.count,
                failed: passes.failed,
                ended_ago: ended.elapsed(),
                took: done.took,
                late: done.late,
                worst: passes.worst,
            })
        };
        loops.values().filter_map(state).collect()
    }

    /// Everything as `OpenMetrics` text, of the media type `exposition::CONTENT_TYPE`.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        write_text(&mut text, &self.registry).expect("a String takes all text");
        text
    }
}

/// Sets the gauge of each word to the number of times that it occurs.
fn show(
    family: &Family<Words<1>, Gauge>,
    label: &'static str,
    states: impl IntoIterator<Item = &'static str>,
    found: impl Iterator<Item = &'static str>,
) {
    let mut counts: BTreeMap<&'static str, i64> = states.into_iter().map(|state| (state, 0)).collect();
    for state in found {
        *counts.entry(state).or_default() += 1;
    }
    for (state, count) in counts {
        family.get_or_create(&[(label, state)]).set(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::prometheus::text;
    use crate::domain::world::RestartState;

    fn value(metrics: &EngineMetrics, name: &str, label: (&str, &str)) -> Option<f64> {
        let text = metrics.encode();
        let found = text::parse(&text).expect("our own text");
        found
            .samples
            .iter()
            .find(|s| s.name == name && (label.0.is_empty() || s.label(label.0) == Some(label.1)))
            .map(|s| s.value)
    }

    #[test]
    fn clones_count_together_and_the_text_reads_back() {
        let metrics = EngineMetrics::default();
        let clone = metrics.clone();
        let done = |took, late, failed| PassDone {
            name: "scheduler",
            interval: Duration::from_secs(1),
            late: Duration::from_millis(late),
            took: Duration::from_millis(took),
            failed,
        };
        clone.pass(&done(4, 9, false));
        metrics.pass(&done(3, 2, true));
        clone.planned(2);
        metrics.planned(5);
        metrics.scraped(ScrapeOutcome::Late);
        assert_eq!(value(&clone, "loadline_passes_total", ("outcome", "ok")), Some(1.0));
        assert_eq!(value(&clone, "loadline_passes_total", ("outcome", "failed")), Some(1.0));
        assert_eq!(value(&clone, "loadline_pass_late_seconds", ("", "")), Some(0.002));
        let told = clone.loops().remove(0);
        assert_eq!((told.name, told.passes, told.failed), ("scheduler", 2, 1));
        assert_eq!((told.took, told.late), (Duration::from_millis(3), Duration::from_millis(2)));
        assert_eq!(told.worst, (Duration::from_millis(4), Duration::from_millis(9)));
        assert_eq!(value(&clone, "loadline_plan_steps_total", ("", "")), Some(7.0));
        assert_eq!(value(&clone, "loadline_pass_duration_seconds_bucket", ("le", "0.0025")), Some(0.0));
        assert_eq!(value(&clone, "loadline_pass_duration_seconds_bucket", ("le", "0.005")), Some(2.0));
        assert_eq!(value(&clone, "loadline_scrapes_total", ("outcome", "late")), Some(1.0));
        assert_eq!(value(&clone, "loadline_scrapes_total", ("outcome", "ok")), Some(0.0));
    }

    #[test]
    fn waiting_tasks_are_counted_by_what_they_wait_for() {
        let metrics = EngineMetrics::default();
        let waits = |kind| Waiting {
            task: "web.1".parse().expect("an id"),
            request: crate::domain::quantity::Resources::ZERO,
            kind,
            reason: String::new(),
            nodes: Arc::default(),
            narrowed: Arc::default(),
        };
        metrics.waiting(&[waits(WaitKind::Quota), waits(WaitKind::Quota), waits(WaitKind::Room)]);
        assert_eq!(value(&metrics, "loadline_waiting_tasks", ("reason", "quota")), Some(2.0));
        metrics.waiting(&[waits(WaitKind::Room)]);
        assert_eq!(value(&metrics, "loadline_waiting_tasks", ("reason", "quota")), Some(0.0));
        assert_eq!(value(&metrics, "loadline_waiting_tasks", ("reason", "room")), Some(1.0));
    }

    #[test]
    fn restarts_are_counted_and_an_empty_world_shows_zero_in_every_state() {
        let metrics = EngineMetrics::default();
        let web = WorkloadName::new("web").expect("a name");
        let noted = |failures| Change::RestartNoted {
            workload: web.clone(),
            restart: RestartState { failures, ..RestartState::default() },
        };
        metrics.committed(Duration::from_millis(4), &[&noted(1), &noted(0)], &World::default());
        assert_eq!(value(&metrics, "loadline_restarts_total", ("workload", "web")), Some(1.0));
        assert_eq!(value(&metrics, "loadline_store_commit_duration_seconds_count", ("", "")), Some(1.0));
        assert_eq!(value(&metrics, "loadline_tasks", ("state", "pending")), Some(0.0));
        assert_eq!(value(&metrics, "loadline_nodes", ("state", "lost")), Some(0.0));
    }
}
