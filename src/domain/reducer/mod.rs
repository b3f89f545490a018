//! How the world follows a change. The only place where the world is written: the store, the engine,
//! a simulation and a replay agree because all of them come through here.
//! Not here: whether a change is wise (`scheduling`, `scaling`) or permitted (`api`).

mod clock;
mod run;
mod workload;

use jiff::Timestamp;

use crate::domain::action::{Action, ActionKey};
use crate::domain::change::{Change, RecordedChange};
use crate::domain::node::{JoinState, Node, NodeName, NodePool, NodeState, PoolName, PoolSpec};
use crate::domain::quantity::TaskSize;
use crate::domain::rollout::Actor;
use crate::domain::size_policy::SizePolicyChoice;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::workload::{WorkloadName, WorkloadSpec};
use crate::domain::world::{EntityKey, Run, RunKey, RunOrder, SizeOverride, Workload, World};

pub use run::{DURATIONS_KEPT, chance, due, next_run};

/// Final runs of a workload that stay in the world; older ones are in the archive only.
pub const RUNS_KEPT: usize = 20;

/// Revisions of a workload that stay in the world beside those that tasks are of.
pub const REVISIONS_KEPT: usize = 5;

impl World {
    /// Follows a change and tells which rows it touched, gone ones included. Total and deterministic: a
    /// change that names what does not exist, or that would raise the dead, changes nothing and touches
    /// nothing.
    pub fn apply(&mut self, recorded: &RecordedChange) -> Vec<EntityKey> {
        let mut touched = recorded.change.subjects();
        let followed = match &recorded.change {
            Change::WorkloadApplied { .. }
            | Change::WorkloadDeleted { .. }
            | Change::WorkloadForgotten { .. }
            | Change::CountSet { .. }
            | Change::RolloutMoved { .. }
            | Change::RolloutStaged { .. }
            | Change::RestartNoted { .. }
            | Change::CronAdvanced { .. } => self.follow_workload(recorded, &mut touched),
            Change::SizeSet { .. }
            | Change::SizeCanaryChosen { .. }
            | Change::SizeConfirmed { .. }
            | Change::SizeReverted { .. } => self.follow_size(recorded),
            Change::TaskCreated { .. }
            | Change::TaskPlaced { .. }
            | Change::TaskMoved { .. }
            | Change::TaskPreempted { .. }
            | Change::TaskPorts { .. }
            | Change::TaskResized { .. }
            | Change::TaskForgotten { .. } => self.follow_task(recorded, &mut touched),
            Change::RunOpened { .. } | Change::RunPartDone { .. } | Change::RunClosed { .. } => {
                self.follow_run(recorded, &mut touched)
            }
            Change::PoolApplied { .. }
            | Change::PoolDeleted { .. }
            | Change::PoolForgotten { .. }
            | Change::PoolTargetSet { .. }
            | Change::PoolJoinNoted { .. }
            | Change::PolicyApplied { .. }
            | Change::PolicyDeleted { .. } => self.follow_pool(recorded),
            Change::ActionBegun { .. }
            | Change::ActionEnded { .. }
            | Change::QuotaApplied { .. }
            | Change::QuotaDeleted { .. }
            | Change::SizePolicySet { .. } => self.follow_action(recorded),
            // News, which change nothing.
            Change::CostChanged { workload, .. } => self.workloads.get(workload).map(|_| ()),
            Change::ClockMoved { by } => {
                self.follow_clock(*by, &mut touched);
                Some(())
            }
            Change::NodeCreated { .. }
            | Change::NodeMoved { .. }
            | Change::NodeUse { .. }
            | Change::NodeForgotten { .. } => self.follow_node(recorded),
        };
        if followed.is_none() {
            return Vec::new();
        }
        let about = touched.iter().find_map(|key| match key {
            EntityKey::Workload(name) => Some(name),
            _ => None,
        });
        if is_told(&recorded.change)
            && let Some(workload) = about.and_then(|name| self.workloads.get_mut(name))
        {
            workload.generation += 1;
        }
        touched
    }

    fn follow_workload(&mut self, recorded: &RecordedChange, touched: &mut Vec<EntityKey>) -> Option<()> {
        let at = recorded.at;
        match &recorded.change {
            Change::WorkloadApplied { workload, spec } => {
                self.declare(workload, spec, at, &recorded.by, touched);
            }
            Change::WorkloadDeleted { workload } => self.workloads.get_mut(workload)?.deleted = true,
            Change::WorkloadForgotten { workload } => self.forget_workload(workload, touched)?,
            Change::CountSet { workload, count, .. } => self.workloads.get_mut(workload)?.count = *count,
            Change::RolloutMoved { workload, state, failures, progressed_at } => {
                let workload = self.workloads.get_mut(workload)?;
                let rollout = workload.rollout.as_mut()?;
                rollout.state = state.clone();
                rollout.failures = *failures;
                rollout.progressed_at = *progressed_at;
                rollout.ended_at = (!state.is_open()).then_some(at);
                workload.follow_rollout();
            }
            Change::RolloutStaged { workload, stage } => {
                let rollout = self.workloads.get_mut(workload)?.rollout.as_mut()?;
                rollout.stage.as_mut().filter(|_| rollout.state.is_open())?.clone_from(stage);
            }
            Change::RestartNoted { workload, restart } => {
                self.workloads.get_mut(workload)?.restart = restart.clone();
            }
            Change::CronAdvanced { workload, to } => {
                let workload = self.workloads.get_mut(workload)?;
                workload.cron_cursor = workload.cron_cursor.max(Some(*to));
                workload.look_ahead();
            }
            _ => return None,
        }
        Some(())
    }

    fn declare(
        &mut self,
        name: &WorkloadName,
        spec: &WorkloadSpec,
        at: Timestamp,
        by: &Actor,
        touched: &mut Vec<EntityKey>,
    ) {
        let before = self.workloads.get(name).map_or(0, |workload| workload.last_revision);
        let by_hand = self.actions.contains_key(&ActionKey::Scale(name.clone()));
        let workload = self
            .workloads
            .entry(name.clone())
            .and_modify(|workload| workload.declare_again(spec, (at, by), by_hand))
            .or_insert_with(|| Workload::declared(name, spec, at, by));
        let newest = workload.last_revision > before;
        let runs_by_itself =
            matches!(spec, WorkloadSpec::Job(job) if job.run_on_apply && job.run.after.is_empty());
        let keep_from = workload.last_revision.saturating_sub(REVISIONS_KEPT as u64);
        let healthy = workload.rollout.as_ref().and_then(|rollout| rollout.from);
        let current = workload.revision;
        let used: Vec<u64> = self.tasks_of(name).map(|task| task.revision).collect();
        if let Some(workload) = self.workloads.get_mut(name) {
            workload.revisions.retain(|number, _| {
                *number > keep_from || *number == current || Some(*number) == healthy || used.contains(number)
            });
        }
        if newest && runs_by_itself {
            let key = RunKey { workload: name.clone(), at };
            if !self.runs.contains_key(&key) {
                touched.push(EntityKey::Run(key.clone()));
                let count = spec.run_policy().map_or(1, |policy| policy.count);
                self.runs.insert(key.clone(), Run::opened(key, false, RunOrder::default(), count));
            }
        }
    }

    fn forget_workload(&mut self, name: &WorkloadName, touched: &mut Vec<EntityKey>) -> Option<()> {
        self.workloads.remove(name)?;
        let tasks: Vec<TaskId> = self.tasks_of(name).map(|task| task.id.clone()).collect();
        let runs: Vec<RunKey> = self.runs_of(name).map(|run| run.key.clone()).collect();
        for task in tasks {
            self.tasks.remove(&task);
            touched.push(EntityKey::Task(task));
        }
        for run in runs {
            self.runs.remove(&run);
            touched.push(EntityKey::Run(run));
        }
        Some(())
    }

    fn follow_size(&mut self, recorded: &RecordedChange) -> Option<()> {
        match &recorded.change {
            Change::SizeSet { workload, size, decision } => {
                let workload = self.workloads.get_mut(workload)?;
                let previous = workload.size();
                // A run of a job is its own trial; only instances have neighbours to try it on first.
                let everywhere = workload.spec.as_service().is_none() || !takes_memory(previous, *size);
                workload.size = Some(SizeOverride {
                    size: *size,
                    previous,
                    decision: *decision,
                    since: recorded.at,
                    canary: None,
                    canary_since: None,
                    everywhere,
                });
            }
            Change::SizeCanaryChosen { workload, task } => {
                let size = self.workloads.get_mut(workload)?.size.as_mut()?;
                size.canary = Some(task.clone());
                size.canary_since = Some(recorded.at);
            }
            Change::SizeConfirmed { workload } => {
                let size = self.workloads.get_mut(workload)?.size.as_mut()?;
                size.everywhere = true;
                size.canary = None;
                size.canary_since = None;
            }
            Change::SizeReverted { workload, .. } => {
                let workload = self.workloads.get_mut(workload)?;
                let tried = workload.size.take()?;
                if tried.previous != workload.spec.template().size {
                    workload.size = Some(SizeOverride {
                        size: tried.previous,
                        everywhere: true,
                        canary: None,
                        canary_since: None,
                        since: recorded.at,
                        decision: None,
                        previous: tried.previous,
                    });
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn follow_task(&mut self, recorded: &RecordedChange, touched: &mut Vec<EntityKey>) -> Option<()> {
        match &recorded.change {
            Change::TaskCreated { task } => self.create_task(task, recorded.at)?,
            Change::TaskPlaced { task, node } => {
                let task = self.tasks.get_mut(task).filter(|task| task.state == TaskState::Pending)?;
                task.node = Some(node.clone());
                task.enter(TaskState::Launching, &recorded.reason, recorded.at);
            }
            Change::TaskMoved { task, state, reason, exit } => {
                let task = self.tasks.get_mut(task).filter(|task| !task.state.is_terminal())?;
                task.enter(*state, reason, recorded.at);
                if exit.is_some() {
                    task.exit.clone_from(exit);
                }
            }
            Change::TaskPreempted { task, by } => self.preempt_task(task, by, touched)?,
            Change::TaskPorts { task, ports } => self.tasks.get_mut(task)?.ports.clone_from(ports),
            Change::TaskResized { task, size } => self.tasks.get_mut(task)?.size = *size,
            Change::TaskForgotten { task } => {
                self.tasks.get(task).filter(|task| task.state.is_terminal())?;
                self.tasks.remove(task);
            }
            _ => return None,
        }
        Some(())
    }

    fn preempt_task(&mut self, task: &TaskId, by: &TaskId, touched: &mut Vec<EntityKey>) -> Option<()> {
        let row = self.tasks.get_mut(task).filter(|task| !task.state.is_terminal())?;
        let index = row.index();
        let first = row.preempted_for.replace(by.clone()).is_none();
        if let Some(run) = row.run().filter(|_| first).and_then(|key| self.runs.get_mut(&key)) {
            run.note_preempted(index);
            touched.push(EntityKey::Run(run.key.clone()));
        }
        Some(())
    }

    fn create_task(&mut self, task: &Task, at: Timestamp) -> Option<()> {
        let workload = self.workloads.get_mut(task.workload())?;
        // A number is never given twice: one below the counter has had its task.
        if task.id.number() < workload.next_task {
            return None;
        }
        workload.next_task = task.id.number() + 1;
        if task.run().is_some() && task.attempt() == 0 {
            workload.jobs.last_begun = workload.jobs.last_begun.max(Some(at));
            workload.jobs.missed_since = None;
        }
        if let Some(run) = task.run().and_then(|key| self.runs.get_mut(&key)) {
            run.note_try(task);
            run.started_at = run.started_at.or(Some(at));
        }
        self.tasks.insert(task.id.clone(), task.clone());
        Some(())
    }

    fn follow_pool(&mut self, recorded: &RecordedChange) -> Option<()> {
        match &recorded.change {
            Change::PoolApplied { pool, spec } => self.declare_pool(pool, spec, recorded.at),
            Change::PoolDeleted { pool } => self.pools.get_mut(pool)?.deleted = true,
            Change::PoolForgotten { pool } => {
                self.pools.remove(pool)?;
            }
            Change::PoolTargetSet { pool, target, .. } => {
                let pool = self.pools.get_mut(pool)?;
                if *target > pool.target {
                    pool.grown_for.clone_from(&recorded.reason);
                }
                pool.aim_at(*target, recorded.at);
            }
            Change::PoolJoinNoted { pool, joins } => self.pools.get_mut(pool)?.joins = joins.clone(),
            Change::PolicyApplied { policy, rules } => {
                self.policies.insert(policy.clone(), rules.clone());
            }
            Change::PolicyDeleted { policy } => {
                self.policies.remove(policy)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn follow_action(&mut self, recorded: &RecordedChange) -> Option<()> {
        match &recorded.change {
            Change::ActionBegun { action } => {
                self.actions.insert(action.key.clone(), Action::clone(action));
            }
            Change::ActionEnded { action, .. } => {
                self.actions.remove(action)?;
            }
            Change::QuotaApplied { team, quota } => {
                self.quotas.insert(team.clone(), *quota);
            }
            Change::QuotaDeleted { team } => {
                self.quotas.remove(team)?;
            }
            Change::SizePolicySet { policy } => {
                let (policy, by) = (policy.clone(), recorded.by.clone());
                self.size_policy = Some(SizePolicyChoice { policy, by, since: recorded.at });
            }
            _ => return None,
        }
        Some(())
    }

    fn declare_pool(&mut self, name: &PoolName, spec: &PoolSpec, at: Timestamp) {
        let pool = self.pools.entry(name.clone()).or_insert_with(|| NodePool {
            name: name.clone(),
            spec: spec.clone(),
            target: spec.min,
            next_node: 1,
            grown_at: None,
            shrunk_at: None,
            deleted: false,
            joins: JoinState::default(),
            regrown: 0,
            grown_for: String::new(),
        });
        pool.spec = spec.clone();
        pool.deleted = false;
        pool.aim_at(pool.target, at);
    }

    fn follow_node(&mut self, recorded: &RecordedChange) -> Option<()> {
        match &recorded.change {
            Change::NodeCreated { node, pool } => {
                self.create_node(node, pool, &recorded.reason, recorded.at)?;
            }
            Change::NodeMoved { node, state, reason, remove_when_empty } => {
                let node = self.nodes.get_mut(node)?;
                if node.state != *state {
                    node.state_since = recorded.at;
                }
                node.state = *state;
                node.reason.clone_from(reason);
                node.remove_when_empty = *remove_when_empty;
            }
            Change::NodeUse { node, underused_since } => {
                self.nodes.get_mut(node)?.underused_since = *underused_since;
            }
            Change::NodeForgotten { node } => {
                self.nodes.remove(node)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn create_node(&mut self, name: &NodeName, pool: &PoolName, reason: &str, at: Timestamp) -> Option<()> {
        let pool = self.pools.get_mut(pool)?;
        if self.nodes.contains_key(name) {
            return None;
        }
        pool.next_node += 1;
        let grown = pool.target > pool.spec.min && !pool.grown_for.is_empty();
        let made_for = if grown {
            pool.grown_for.clone()
        } else if pool.spec.min > 0 {
            format!("pool {} keeps at least {}", pool.name, pool.spec.min)
        } else {
            reason.to_owned()
        };
        let node = Node {
            name: name.clone(),
            pool: pool.name.clone(),
            size: pool.spec.size,
            attributes: pool.spec.attributes.clone(),
            state: NodeState::Joining,
            reason: reason.to_owned(),
            remove_when_empty: false,
            created_at: at,
            state_since: at,
            underused_since: None,
            made_for,
        };
        self.nodes.insert(name.clone(), node);
        Some(())
    }
}

impl Task {
    fn enter(&mut self, state: TaskState, reason: &str, at: Timestamp) {
        self.state = state;
        reason.clone_into(&mut self.reason);
        self.state_since = at;
        if matches!(state, TaskState::Starting | TaskState::Running) {
            self.started_at = self.started_at.or(Some(at));
        }
        if state == TaskState::Running {
            self.ready_at = self.ready_at.or(Some(at));
        }
    }
}

impl NodePool {
    /// Sets the target within the bounds and remembers the direction for the cooldowns.
    fn aim_at(&mut self, target: u32, at: Timestamp) {
        let target = target.clamp(self.spec.min, self.spec.max.max(self.spec.min));
        if target > self.target {
            self.learn_from_growth(at);
            self.grown_at = Some(at);
        } else if target < self.target {
            self.shrunk_at = Some(at);
        }
        self.target = target;
    }
}

/// Whether a change is what a person or a decision wants of a workload, not what came of it.
fn is_told(change: &Change) -> bool {
    matches!(
        change,
        Change::WorkloadApplied { .. }
            | Change::WorkloadDeleted { .. }
            | Change::CountSet { .. }
            | Change::SizeSet { .. }
            | Change::ActionBegun { .. }
            | Change::ActionEnded { .. }
    )
}

/// Whether a task would have less memory than before: what may get it killed.
pub(crate) fn takes_memory(from: TaskSize, to: TaskSize) -> bool {
    to.memory_limit < from.memory_limit || to.request.memory < from.request.memory
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;

    use super::*;
    use crate::domain::quantity::Resources;
    use crate::domain::rollout::RolloutState;
    use crate::domain::sample_specs::{self, job, name, service_spec as service};
    use crate::domain::scale::{MetricTarget, ScaleSpec};
    use crate::domain::task::TaskOrigin;
    use crate::domain::workload::{ServiceSpec, WorkloadKind};
    use crate::domain::world::RunOutcome;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_pool_learns_whether_its_shrinking_lasted() {
        let name = PoolName::new("small").expect("a name");
        let spec = PoolSpec {
            max: 5,
            cooldown_down: SignedDuration::from_secs(60),
            ..PoolSpec::one_node(Resources::ZERO)
        };
        let mut world = World::default();
        let mut follow = |second, change| {
            let (reason, request) = (String::new(), None);
            world.apply(&RecordedChange { at: at(second), by: Actor::Engine, reason, request, change });
            world.pools.values().next().map(|pool| (pool.regrown, pool.settles_in().as_secs()))
        };
        let aim = |target| Change::PoolTargetSet { pool: name.clone(), target, decision: None };
        follow(0, Change::PoolApplied { pool: name.clone(), spec });
        assert_eq!(follow(0, aim(3)), Some((0, 60)));
        follow(100, aim(2));
        assert_eq!(follow(150, aim(3)), Some((1, 120)), "too soon");
        assert_eq!(follow(160, aim(4)), Some((1, 120)), "the same growth goes on");
        follow(300, aim(3));
        assert_eq!(follow(530, aim(4)), Some((1, 120)), "within twice its wait");
        follow(1000, aim(3));
        assert_eq!(follow(2000, aim(4)), Some((0, 60)), "it lasted");
    }

    fn web() -> WorkloadName {
        name("web")
    }

    fn size(mib: u64) -> TaskSize {
        sample_specs::size(100, mib)
    }

    fn scaled(instances: u32, min: u32, max: u32) -> ServiceSpec {
        let scale = ScaleSpec::new(min, max, vec![MetricTarget::Cpu { utilization: 0.8 }]);
        ServiceSpec { scale: Some(scale), ..service("a", instances) }
    }

    fn follow(world: &mut World, second: i64, change: Change) -> Vec<EntityKey> {
        let (by, reason) = (Actor::Engine, "a reason".to_owned());
        world.apply(&RecordedChange { at: at(second), by, reason, request: None, change })
    }

    fn apply(world: &mut World, second: i64, spec: ServiceSpec) {
        let spec = WorkloadSpec::Service(Box::new(spec));
        follow(world, second, Change::WorkloadApplied { workload: web(), spec });
    }

    fn task(number: u64) -> Box<Task> {
        Box::new(Task {
            id: TaskId::new(web(), number),
            kind: WorkloadKind::Service,
            revision: 1,
            origin: TaskOrigin::Instance,
            size: size(100),
            state: TaskState::Pending,
            reason: String::new(),
            node: None,
            ports: BTreeMap::new(),
            created_at: at(0),
            not_before: at(0),
            started_at: None,
            ready_at: None,
            state_since: at(0),
            exit: None,
            preempted_for: None,
        })
    }

    fn move_to(world: &mut World, second: i64, number: u64, state: TaskState) -> Vec<EntityKey> {
        let task = TaskId::new(web(), number);
        follow(world, second, Change::TaskMoved { task, state, reason: "so".to_owned(), exit: None })
    }

    fn move_rollout(world: &mut World, second: i64, state: RolloutState) {
        let (failures, progressed_at) = (0, at(second));
        follow(world, second, Change::RolloutMoved { workload: web(), state, failures, progressed_at });
    }

    #[test]
    fn what_names_nothing_changes_nothing_and_touches_nothing() {
        let mut world = World::default();
        assert!(follow(&mut world, 1, Change::WorkloadDeleted { workload: web() }).is_empty());
        assert!(follow(&mut world, 1, Change::TaskCreated { task: task(1) }).is_empty());
        assert!(move_to(&mut world, 1, 1, TaskState::Running).is_empty());
        let run = RunKey { workload: web(), at: at(1) };
        assert!(
            follow(&mut world, 1, Change::RunOpened { run, manual: true, order: Box::default() }).is_empty()
        );
        assert_eq!(world, World::default());
    }

    #[test]
    fn only_what_needs_new_tasks_makes_a_revision() {
        let mut world = World::default();
        apply(&mut world, 1, service("a", 2));
        apply(&mut world, 2, service("a", 5));
        let workload = &world.workloads[&web()];
        assert_eq!((workload.revision, workload.count), (1, 5));
        assert_eq!(workload.revisions[&1].spec.as_service().map(|spec| spec.instances), Some(5));
        apply(&mut world, 3, service("b", 5));
        assert_eq!(world.workloads[&web()].revision, 2);
    }

    #[test]
    fn a_rollout_begins_from_the_last_healthy_revision() {
        let mut world = World::default();
        let from = |world: &World| world.workloads[&web()].rollout.as_ref().and_then(|rollout| rollout.from);
        apply(&mut world, 1, service("a", 2));
        assert_eq!(from(&world), None);
        apply(&mut world, 2, service("b", 2));
        assert_eq!(from(&world), None, "revision 1 has never been healthy");
        move_rollout(&mut world, 3, RolloutState::Done);
        apply(&mut world, 4, service("c", 2));
        assert_eq!(from(&world), Some(2));
        apply(&mut world, 5, service("d", 2));
        assert_eq!(from(&world), Some(2), "revision 3 was superseded");
        move_rollout(&mut world, 6, RolloutState::RolledBack { reason: "bad".to_owned() });
        let workload = &world.workloads[&web()];
        assert_eq!((workload.revision, workload.last_revision), (2, 4));
        assert_eq!(workload.spec.template().command, ["b"]);
        apply(&mut world, 7, service("e", 2));
        assert_eq!((from(&world), world.workloads[&web()].revision), (Some(2), 5));
    }

    #[test]
    fn a_count_that_was_found_automatically_outlives_a_new_declaration() {
        let mut world = World::default();
        let count = |world: &World| world.workloads[&web()].count;
        apply(&mut world, 1, scaled(2, 1, 10));
        follow(&mut world, 2, Change::CountSet { workload: web(), count: 7, decision: None });
        apply(&mut world, 3, scaled(2, 1, 10));
        assert_eq!(count(&world), 7);
        apply(&mut world, 4, scaled(2, 1, 5));
        assert_eq!(count(&world), 5);
        apply(&mut world, 5, service("a", 2));
        assert_eq!(count(&world), 2);
    }

    #[test]
    fn less_memory_waits_for_its_trial_and_an_owners_size_ends_it() {
        let mut world = World::default();
        let wanted = |world: &World| world.workloads[&web()].size();
        apply(&mut world, 1, service("a", 2));
        follow(&mut world, 2, Change::SizeSet { workload: web(), size: size(200), decision: None });
        assert_eq!(wanted(&world), size(200), "more memory harms nobody");
        follow(&mut world, 3, Change::SizeSet { workload: web(), size: size(50), decision: None });
        assert_eq!(wanted(&world), size(200));
        follow(&mut world, 4, Change::SizeConfirmed { workload: web() });
        assert_eq!(wanted(&world), size(50));
        apply(&mut world, 5, service("b", 2));
        assert_eq!(wanted(&world), size(50), "the owner did not speak of the size");
        let mut spec = service("b", 2);
        spec.template.size = size(120);
        apply(&mut world, 6, spec);
        assert_eq!(wanted(&world), size(120));
    }

    #[test]
    fn a_size_that_is_taken_back_leaves_the_one_before() {
        let mut world = World::default();
        apply(&mut world, 1, service("a", 2));
        for mib in [200, 50] {
            follow(&mut world, 2, Change::SizeSet { workload: web(), size: size(mib), decision: None });
        }
        follow(&mut world, 3, Change::SizeReverted { workload: web(), reason: "OOM".to_owned() });
        assert_eq!(world.workloads[&web()].size(), size(200));
    }

    #[test]
    fn a_number_is_given_once_and_the_dead_stay_dead() {
        let mut world = World::default();
        apply(&mut world, 1, service("a", 1));
        assert_eq!(follow(&mut world, 2, Change::TaskCreated { task: task(3) }).len(), 2);
        assert!(follow(&mut world, 2, Change::TaskCreated { task: task(2) }).is_empty());
        assert_eq!(world.workloads[&web()].next_task, 4);
        move_to(&mut world, 3, 3, TaskState::Running);
        move_to(&mut world, 4, 3, TaskState::Failed);
        assert!(move_to(&mut world, 5, 3, TaskState::Running).is_empty());
        let task = &world.tasks[&TaskId::new(web(), 3)];
        assert_eq!((task.ready_at, task.state_since), (Some(at(3)), at(4)));
    }

    #[test]
    fn old_final_runs_leave_the_world_and_are_named_as_touched() {
        let mut world = World::default();
        let spec = WorkloadSpec::Job(Box::new(job("a", false, 0)));
        follow(&mut world, 0, Change::WorkloadApplied { workload: web(), spec });
        let mut touched = Vec::new();
        for second in (0..).take(RUNS_KEPT + 1) {
            let run = RunKey { workload: web(), at: at(second) };
            follow(
                &mut world,
                second,
                Change::RunOpened { run: run.clone(), manual: true, order: Box::default() },
            );
            let outcome = RunOutcome::Succeeded;
            touched = follow(&mut world, second, Change::RunClosed { run, outcome });
        }
        assert_eq!(world.runs.len(), RUNS_KEPT);
        assert!(touched.contains(&EntityKey::Run(RunKey { workload: web(), at: at(0) })));
    }
}
