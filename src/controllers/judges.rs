//! What rollouts are judged by. In: the front door's counters of each instance, the usage of each task,
//! the ends of commands. Out: what the planner needs to see of them: each step's own share, by revision.
//! Not here: what follows from it (`scheduling`).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::load::{LoadReading, RequestCounters};
use crate::domain::observation::{CommandVerdict, Observed, RevisionLoad, SideBySide};
use crate::domain::rollout::{Rollout, StageKey, StageWait};
use crate::domain::task::TaskId;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};
use crate::ports::commands::CommandRun;
use crate::scheduling::{DueCommand, is_ready};

/// What was measured and judged of steps that are under way.
#[derive(Debug, Default)]
pub(super) struct Judges {
    windows: BTreeMap<WorkloadName, Window>,
    verdicts: BTreeMap<WorkloadName, CommandVerdict>,
}

/// The time in which one step is judged.
#[derive(Debug)]
struct Window {
    stage: StageKey,
    /// What the instances that were there had counted when it began.
    before: BTreeMap<TaskId, RequestCounters>,
    /// What each instance did since, those that are gone included.
    instances: BTreeMap<TaskId, Instance>,
}

#[derive(Debug, Default)]
struct Instance {
    revision: u64,
    requests: RequestCounters,
    cpu_seconds: Option<f64>,
    sampled_at: Option<Timestamp>,
}

/// The step of a workload that is judged by metrics now.
fn measured(workload: &Workload) -> Option<StageKey> {
    let rollout = workload.rollout.as_ref()?;
    let stage = rollout.open_stage()?;
    matches!(stage.waits, StageWait::Metric { .. }).then(|| rollout.stage_key())?
}

impl Judges {
    /// Whether counters are needed.
    pub(super) fn measure(world: &World) -> bool {
        world.workloads.values().any(|workload| measured(workload).is_some())
    }

    /// What the revisions of each service did since its step began to be judged.
    pub(super) fn compared(
        &mut self,
        world: &World,
        readings: &[LoadReading],
        usage: &BTreeMap<TaskId, UsageSample>,
    ) -> BTreeMap<WorkloadName, SideBySide> {
        self.windows.retain(|name, window| {
            world.workloads.get(name).and_then(measured).is_some_and(|stage| stage == window.stage)
        });
        let mut compared = BTreeMap::new();
        for reading in readings {
            let Some(workload) = world.workloads.get(&reading.workload) else { continue };
            let Some(stage) = measured(workload) else { continue };
            let window = self.windows.entry(workload.name.clone()).or_insert_with(|| Window {
                stage,
                before: reading.instances.clone(),
                instances: BTreeMap::new(),
            });
            window.take(world, reading, usage);
            let from = workload.rollout.as_ref().and_then(|rollout| rollout.from);
            let of = |revision| window.sum(revision);
            let seen = SideBySide { stage, old: from.map(of).unwrap_or_default(), new: of(stage.revision) };
            compared.insert(workload.name.clone(), seen);
        }
        compared
    }

    /// Keeps how a command ended.
    pub(super) fn judged(&mut self, workload: WorkloadName, verdict: CommandVerdict) {
        self.verdicts.insert(workload, verdict);
    }

    /// How commands ended that judge a step that is still under way.
    pub(super) fn verdicts(&mut self, world: &World) -> BTreeMap<WorkloadName, CommandVerdict> {
        self.verdicts.retain(|name, verdict| {
            let rollout = world.workloads.get(name).and_then(|workload| workload.rollout.as_ref());
            rollout.and_then(Rollout::stage_key) == Some(verdict.stage)
        });
        self.verdicts.clone()
    }
}

impl Window {
    fn take(&mut self, world: &World, reading: &LoadReading, usage: &BTreeMap<TaskId, UsageSample>) {
        for (id, counters) in &reading.instances {
            let Some(task) = world.tasks.get(id) else { continue };
            let before = self.before.entry(id.clone()).or_default();
            let instance = self.instances.entry(id.clone()).or_default();
            instance.revision = task.revision;
            instance.requests = counters.since(before);
            if let Some(sample) = usage.get(id) {
                instance.add_usage(sample, self.stage.since);
            }
        }
    }

    fn sum(&self, revision: u64) -> RevisionLoad {
        let mut sum = RevisionLoad::default();
        for instance in self.instances.values().filter(|instance| instance.revision == revision) {
            sum.requests.add(&instance.requests);
            if let Some(seconds) = instance.cpu_seconds {
                sum.cpu_seconds = Some(sum.cpu_seconds.unwrap_or(0.0) + seconds);
            }
        }
        sum
    }
}

impl Instance {
    /// Adds a sample whose interval lies within the window and was not added before.
    fn add_usage(&mut self, sample: &UsageSample, since: Timestamp) {
        let (Some(seconds), Some(cores)) = (sample.interval_seconds, sample.cpu_cores) else { return };
        let interval = SignedDuration::from_secs_f64(seconds);
        let within = sample.at.checked_sub(interval).is_ok_and(|start| start >= since);
        if within && self.sampled_at.is_none_or(|last| sample.at > last) {
            self.sampled_at = Some(sample.at);
            self.cpu_seconds = Some(self.cpu_seconds.unwrap_or(0.0) + cores * seconds);
        }
    }
}

/// The run of a command that is to judge a step. It finds what it is about in its environment.
pub(super) fn run_of(world: &World, observed: &Observed, due: &DueCommand) -> Option<CommandRun> {
    let workload = world.workloads.get(&due.workload)?;
    let template = workload.spec.template();
    let first_port = workload.spec.as_service().and_then(|service| service.ports.first());
    let addresses = |revision: u64| -> String {
        let ready = world.tasks_of(&due.workload).filter(|task| task.revision == revision);
        let ready = ready.filter(|task| is_ready(task, observed.tasks.get(&task.id)));
        let ports = ready.filter_map(|task| task.ports.get(&first_port?.name));
        ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(" ")
    };
    let mut env = BTreeMap::from([
        ("LOADLINE_SERVICE".to_owned(), due.workload.to_string()),
        ("LOADLINE_REVISION".to_owned(), due.stage.revision.to_string()),
        ("LOADLINE_STEP".to_owned(), (due.stage.index + 1).to_string()),
        ("LOADLINE_INSTANCES".to_owned(), addresses(due.stage.revision)),
    ]);
    if let Some(from) = due.from {
        env.insert("LOADLINE_OLD_REVISION".to_owned(), from.to_string());
        env.insert("LOADLINE_OLD_INSTANCES".to_owned(), addresses(from));
    }
    Some(CommandRun {
        command: due.command.clone(),
        env,
        working_dir: template.working_dir.clone(),
        user: template.user.clone(),
        time_limit: due.time_limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::{Change, RecordedChange};
    use crate::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
    use crate::domain::rollout::Actor;
    use crate::domain::task::{Task, TaskOrigin, TaskState};
    use crate::domain::workload::WorkloadKind;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn task(number: u64, revision: u64) -> Task {
        let web = WorkloadName::new("web").expect("a name");
        Task {
            id: TaskId::new(web, number),
            kind: WorkloadKind::Service,
            revision,
            origin: TaskOrigin::Instance,
            size: TaskSize::of(Resources::new(Millicores::new(100), Bytes::mib(64))),
            state: TaskState::Running,
            reason: String::new(),
            node: None,
            ports: BTreeMap::new(),
            created_at: at(0),
            not_before: at(0),
            started_at: None,
            ready_at: None,
            state_since: at(0),
            preempted_for: None,
            exit: None,
        }
    }

    fn reading(second: i64, counts: &[(u64, u64)]) -> LoadReading {
        let counters = |requests| RequestCounters { requests, ..RequestCounters::default() };
        let instances = counts.iter().map(|(number, requests)| (task(*number, 1).id, counters(*requests)));
        LoadReading {
            workload: WorkloadName::new("web").expect("a name"),
            at: at(second),
            total: RequestCounters::default(),
            instances: instances.collect(),
        }
    }

    #[test]
    fn a_window_begins_at_nothing_and_keeps_what_is_gone() {
        let mut world = World::default();
        for task in [task(1, 1), task(2, 2), task(3, 2)] {
            world.tasks.insert(task.id.clone(), task);
        }
        let first = reading(10, &[(1, 500), (2, 20)]);
        let stage = StageKey { revision: 2, index: 0, since: at(10) };
        let mut window = Window { stage, before: first.instances.clone(), instances: BTreeMap::new() };
        let none = BTreeMap::new();
        window.take(&world, &first, &none);
        assert_eq!((window.sum(1).requests.requests, window.sum(2).requests.requests), (0, 0));
        window.take(&world, &reading(20, &[(1, 700), (2, 60)]), &none);
        // 2 was replaced by 3 and forgotten: what it answered counts all the same.
        let forgotten = Change::TaskMoved {
            task: task(2, 2).id,
            state: TaskState::Failed,
            reason: "so".to_owned(),
            exit: None,
        };
        let (by, reason) = (Actor::Engine, "so".to_owned());
        world.apply(&RecordedChange { at: at(21), by, reason, request: None, change: forgotten });
        window.take(&world, &reading(30, &[(1, 900), (3, 5)]), &none);
        assert_eq!((window.sum(1).requests.requests, window.sum(2).requests.requests), (400, 45));
        assert_eq!(window.sum(2).cpu_seconds, None);
    }

    #[test]
    fn only_samples_within_the_window_count_and_each_once() {
        let mut instance = Instance::default();
        let mut sample = UsageSample {
            workload: WorkloadName::new("web").expect("a name"),
            task: task(1, 1).id,
            at: at(12),
            interval_seconds: Some(5.0),
            cpu_cores: Some(2.0),
            throttled_share: None,
            memory: Bytes::ZERO,
            page_cache: None,
            request: Resources::ZERO,
            oom_kills: 0,
        };
        instance.add_usage(&sample, at(10));
        assert_eq!(instance.cpu_seconds, None, "it began before the window");
        sample.at = at(17);
        instance.add_usage(&sample, at(10));
        instance.add_usage(&sample, at(10));
        assert_eq!(instance.cpu_seconds, Some(10.0));
    }
}
