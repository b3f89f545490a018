//! The world as a plan sees it while it is being made: what is, with the steps planned so far on top.
//!
//! Each phase sees the effect of the phases before it. A copy of the whole world would cost more than
//! the plan, so only rows that a step touches are copied, and the copy follows the step by the same
//! reducer as the real world will.

mod held;
mod in_force;
mod runs;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use foldhash::{HashMap, HashMapExt, HashSet};
use jiff::Timestamp;

use crate::domain::action::Switch;
use crate::domain::change::{Change, RecordedChange};
use crate::domain::node::{Node, NodeName, NodePool, NodeState, PoolName};
use crate::domain::observation::{Observed, TaskObservation};
use crate::domain::plan::Step;
use crate::domain::quantity::TaskSize;
use crate::domain::rollout::Actor;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{EntityKey, RunKey, RunOutcome, Workload, World};
use crate::scheduling::PlanSettings;
use crate::scheduling::calm;
use crate::scheduling::loads::Loads;
use crate::scheduling::parts::for_parts;
use crate::scheduling::rows::{copy_row, has, keep_member, task_of};
use crate::scheduling::view::survey::{Group, Survey, survey};

/// A task with what is observed of it.
#[derive(Clone, Copy)]
pub(super) struct Row<'v> {
    pub(super) task: &'v Task,
    pub(super) seen: Option<&'v TaskObservation>,
}

/// A task of a service that ended in this plan without having been asked to.
pub(super) struct Ended {
    pub(super) task: TaskId,
    pub(super) revision: u64,
    /// What was reserved for it.
    pub(super) size: TaskSize,
    /// The task failed; otherwise it was lost, which is nobody's fault.
    pub(super) failed: bool,
    pub(super) reason: String,
}

/// A workload before the plan, and where its tasks are among the rows.
struct Known<'a> {
    workload: Option<&'a Workload>,
    rows: Range<usize>,
}

/// The world with the steps so far.
pub(super) struct View<'a> {
    base: &'a World,
    pub(super) observed: &'a Observed,
    pub(super) settings: &'a PlanSettings,
    pub(super) now: Timestamp,
    rows: Vec<Row<'a>>,
    /// Looked into often and never walked through, so its order does not matter.
    index: HashMap<&'a WorkloadName, Known<'a>>,
    /// Where the tasks of each name are among the rows, in order.
    spans: Vec<(&'a WorkloadName, Range<usize>)>,
    ownerless: Vec<&'a WorkloadName>,
    /// Workloads that are not as they should be, or that an action is about: to the others only a change
    /// elsewhere is a reason to look at them.
    restless: BTreeSet<&'a WorkloadName>,
    changed: World,
    gone: BTreeSet<EntityKey>,
    /// Something else than tasks is among what is gone.
    more_than_tasks_gone: bool,
    /// Workloads whose tasks changed.
    moved_in: HashSet<WorkloadName>,
    /// Tasks without a node.
    pending: BTreeSet<TaskId>,
    /// Tasks that ended and are not forgotten.
    finals: BTreeSet<TaskId>,
    /// Runs without an outcome.
    active_runs: BTreeSet<RunKey>,
    /// Nodes that are not ready.
    leaving: BTreeSet<NodeName>,
    /// Workloads that a step of this round is about.
    dirty: BTreeSet<WorkloadName>,
    /// Nodes that a step of this round is about.
    dirty_nodes: HashSet<NodeName>,
    /// A step of this round made room somewhere.
    freed: bool,
    /// Workloads that found no room to grow in.
    cramped: BTreeSet<WorkloadName>,
    loads: Option<Loads>,
    ended: BTreeMap<WorkloadName, Vec<Ended>>,
    steps: Vec<Step>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        base: &'a World,
        observed: &'a Observed,
        settings: &'a PlanSettings,
        now: Timestamp,
    ) -> Self {
        let leaving: BTreeSet<NodeName> = base
            .nodes
            .values()
            .filter(|node| node.state != NodeState::Ready)
            .map(|node| node.name.clone())
            .collect();
        let surveyed = for_parts(base, |part| survey(part, base, observed, &leaving));
        let names = surveyed.iter().map(|part| part.groups.len()).sum();
        let mut view = Self {
            base,
            observed,
            settings,
            now,
            rows: Vec::with_capacity(base.tasks.len()),
            index: HashMap::with_capacity(names),
            spans: Vec::with_capacity(names),
            ownerless: Vec::new(),
            changed: World::default(),
            gone: BTreeSet::new(),
            more_than_tasks_gone: false,
            moved_in: HashSet::default(),
            pending: BTreeSet::new(),
            finals: BTreeSet::new(),
            active_runs: runs::active(base),
            leaving,
            restless: calm::acted_on(base).collect(),
            dirty: BTreeSet::new(),
            dirty_nodes: HashSet::default(),
            freed: false,
            cramped: BTreeSet::new(),
            loads: None,
            ended: BTreeMap::new(),
            steps: Vec::new(),
        };
        for part in surveyed {
            view.add(part);
        }
        view
    }

    fn add(&mut self, part: Survey<'a>) {
        let mut end = self.rows.len();
        self.rows.extend(part.rows);
        for Group { name, workload, tasks, calm } in part.groups {
            let rows = end..end + tasks;
            end = rows.end;
            if tasks > 0 {
                self.spans.push((name, rows.clone()));
            }
            if workload.is_none() {
                self.ownerless.push(name);
            }
            self.index.insert(name, Known { workload, rows: rows.clone() });
            if calm {
                continue;
            }
            if workload.is_some() {
                self.restless.insert(name);
            }
            for task in self.rows[rows].iter().map(|row| row.task) {
                if task.state == TaskState::Pending {
                    self.pending.insert(task.id.clone());
                } else if task.state.is_terminal() {
                    self.finals.insert(task.id.clone());
                }
            }
        }
    }

    /// Steps planned so far.
    pub(super) fn planned(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// Plans a step. One that would change nothing is not planned.
    pub(super) fn step(&mut self, change: Change, reason: impl Into<String>) {
        let reason = reason.into();
        self.bring_in(&change);
        let task = task_of(&change);
        let before = task.and_then(|id| self.held(self.changed.tasks.get(id)));
        let recorded = RecordedChange { at: self.now, by: Actor::Engine, reason, request: None, change };
        let touched = self.changed.apply(&recorded);
        let RecordedChange { reason, change, .. } = recorded;
        if touched.is_empty() {
            return;
        }
        if let Some(id) = task_of(&change) {
            self.moved_in.insert(id.workload().clone());
            let state = self.changed.tasks.get(id).map(|task| task.state);
            keep_member(&mut self.pending, id, state == Some(TaskState::Pending));
            keep_member(&mut self.finals, id, state.is_some_and(TaskState::is_terminal));
            let after = self.held(self.changed.tasks.get(id));
            self.freed |= before.is_some() && after.is_none();
            if let Some(loads) = self.loads.as_mut() {
                if let Some(held) = &before {
                    loads.remove(held);
                }
                if let Some(held) = &after {
                    loads.add(held);
                }
            }
        }
        if let Change::RunClosed { run, outcome: RunOutcome::Succeeded } = &change {
            self.dependents_follow(&run.workload);
        }
        for key in touched {
            self.note_touched(&key);
            if !has(&self.changed, &key) {
                self.more_than_tasks_gone |= !matches!(key, EntityKey::Task(_));
                self.gone.insert(key);
            }
        }
        self.steps.push(Step { change, reason });
    }

    fn note_touched(&mut self, key: &EntityKey) {
        type Key = EntityKey;
        let workload = match key {
            EntityKey::Workload(name) => name,
            EntityKey::Task(id) => id.workload(),
            EntityKey::Run(run) => {
                self.note_run(run);
                &run.workload
            }
            EntityKey::Node(name) => {
                // A new node has no tasks yet, one that is forgotten has none any more.
                if self.base.nodes.contains_key(name) && self.changed.nodes.contains_key(name) {
                    self.dirty_nodes.insert(name.clone());
                }
                if self.changed.nodes.get(name).is_some_and(|node| node.state != NodeState::Ready) {
                    self.leaving.insert(name.clone());
                } else {
                    self.leaving.remove(name);
                }
                return;
            }
            Key::Pool(_) | Key::Policy(_) | Key::Action(_) | Key::Quota(_) | Key::SizePolicy => return,
        };
        if !self.dirty.contains(workload) {
            self.dirty.insert(workload.clone());
        }
    }

    /// The workloads that the first round has to look at, in order of name.
    pub(super) fn take_restless(&mut self) -> Vec<&'a WorkloadName> {
        let mut restless = std::mem::take(&mut self.restless);
        restless.extend(self.take_dirty());
        restless.into_iter().filter(|name| self.base.workloads.contains_key(*name)).collect()
    }

    /// A workload would grow if there were room.
    pub(super) fn is_cramped(&mut self, name: &WorkloadName) {
        self.cramped.insert(name.clone());
    }

    /// The workloads that another round has to look at: those that a step was about, those with tasks on
    /// a node that changed, and those that wait for room where some was made.
    pub(super) fn take_dirty(&mut self) -> Vec<&'a WorkloadName> {
        let mut dirty = std::mem::take(&mut self.dirty);
        let nodes = std::mem::take(&mut self.dirty_nodes);
        if !nodes.is_empty() {
            let on = |row: &Row<'_>| row.task.node.as_ref().is_some_and(|node| nodes.contains(node));
            dirty.extend(self.all_rows().filter(on).map(|row| row.task.workload().clone()));
        }
        if std::mem::take(&mut self.freed) {
            dirty.append(&mut self.cramped);
        }
        let known = |name: &WorkloadName| self.base.workloads.get_key_value(name).map(|(name, _)| name);
        dirty.iter().filter_map(known).collect()
    }

    /// Whether a node is there to stay, or is not to be emptied for now.
    pub(super) fn stays(&self, node: &NodeName) -> bool {
        let stands_still = || {
            self.frozen(Switch::Draining)
                && self.node(node).is_some_and(|node| node.state == NodeState::Draining)
        };
        !self.leaving.contains(node) || stands_still()
    }

    pub(super) fn take(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.step(step.change, step.reason);
        }
    }

    /// Copies the rows that a change reads or writes, so that the reducer finds them.
    fn bring_in(&mut self, change: &Change) {
        for key in change.subjects() {
            self.bring_in_row(&key);
        }
        if let Change::TaskPreempted { task, .. } = change
            && let Some(run) = self.task(task).and_then(Task::run)
        {
            self.bring_in_row(&EntityKey::Run(run));
        }
        let all_of = match change {
            Change::RunClosed { run, .. } => Some((&run.workload, false)),
            Change::RunOpened { run, .. } => {
                self.bring_in_row(&EntityKey::Workload(run.workload.clone()));
                None
            }
            Change::WorkloadForgotten { workload } => Some((workload, true)),
            _ => None,
        };
        if let Some((workload, with_tasks)) = all_of {
            for run in self.base.runs_of(workload) {
                self.bring_in_row(&EntityKey::Run(run.key.clone()));
            }
            let tasks = self.base.tasks_of(workload).filter(|_| with_tasks);
            for task in tasks {
                self.bring_in_row(&EntityKey::Task(task.id.clone()));
            }
        }
    }

    fn bring_in_row(&mut self, key: &EntityKey) {
        if self.gone.contains(key) || has(&self.changed, key) {
            return;
        }
        match key {
            EntityKey::Workload(name) => copy_row(&self.base.workloads, &mut self.changed.workloads, name),
            EntityKey::Task(id) => copy_row(&self.base.tasks, &mut self.changed.tasks, id),
            EntityKey::Run(key) => copy_row(&self.base.runs, &mut self.changed.runs, key),
            EntityKey::Node(name) => copy_row(&self.base.nodes, &mut self.changed.nodes, name),
            EntityKey::Pool(name) => copy_row(&self.base.pools, &mut self.changed.pools, name),
            EntityKey::Policy(name) => copy_row(&self.base.policies, &mut self.changed.policies, name),
            EntityKey::Action(key) => copy_row(&self.base.actions, &mut self.changed.actions, key),
            EntityKey::Quota(team) => copy_row(&self.base.quotas, &mut self.changed.quotas, team),
            EntityKey::SizePolicy => self.changed.size_policy.clone_from(&self.base.size_policy),
        }
    }

    /// Names that tasks bear though there is no such workload.
    pub(super) fn ownerless(&self) -> Vec<&'a WorkloadName> {
        self.ownerless.clone()
    }

    pub(super) fn workload(&self, name: &WorkloadName) -> Option<&Workload> {
        if self.more_than_tasks_gone && self.gone.contains(&EntityKey::Workload(name.clone())) {
            return None;
        }
        if let Some(changed) = self.changed.workloads.get(name) {
            return Some(changed);
        }
        self.index.get(name).and_then(|known| known.workload)
    }

    pub(super) fn world(&self) -> &'a World {
        self.base
    }

    pub(super) fn task(&self, id: &TaskId) -> Option<&Task> {
        self.changed.tasks.get(id).or_else(|| self.base.tasks.get(id))
    }

    /// The tasks of a workload, by number.
    pub(super) fn rows_of(&self, name: &WorkloadName) -> Vec<Row<'_>> {
        let known = self.index.get(name).map_or(&[][..], |known| &self.rows[known.rows.clone()]);
        if !self.moved_in.contains(name) {
            return known.to_vec();
        }
        // All three are in order of number, so one walk over each is enough.
        let first = TaskId::new(name.clone(), 0);
        let own = |task: &&Task| task.workload() == name;
        let mut changed = self.changed.tasks.range(&first..).map(|(_, task)| task).take_while(own).peekable();
        let mut gone = self.gone.range(EntityKey::Task(first.clone())..).map_while(|key| match key {
            EntityKey::Task(id) if id.workload() == name => Some(id.number()),
            _ => None,
        });
        let mut next_gone = gone.next();
        let mut rows: Vec<Row<'_>> = Vec::with_capacity(known.len() + 1);
        for row in known {
            let number = row.task.id.number();
            while next_gone.is_some_and(|gone| gone < number) {
                next_gone = gone.next();
            }
            if next_gone == Some(number) {
                continue;
            }
            let task = changed.next_if(|task| task.id.number() == number).unwrap_or(row.task);
            rows.push(Row { task, seen: row.seen });
        }
        // New tasks have higher numbers than all before them.
        rows.extend(changed.map(|task| Row { task, seen: self.observed.tasks.get(&task.id) }));
        rows
    }

    pub(super) fn node(&self, name: &NodeName) -> Option<&Node> {
        if self.more_than_tasks_gone && self.gone.contains(&EntityKey::Node(name.clone())) {
            return None;
        }
        self.changed.nodes.get(name).or_else(|| self.base.nodes.get(name))
    }

    pub(super) fn pool(&self, name: &PoolName) -> Option<&NodePool> {
        self.changed.pools.get(name).or_else(|| self.base.pools.get(name))
    }

    /// Nodes that are not ready, by name.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &Node> {
        self.leaving.iter().filter_map(|name| self.node(name))
    }

    /// All nodes, by name.
    pub(super) fn nodes(&self) -> Vec<&Node> {
        let mut nodes = Vec::with_capacity(self.base.nodes.len() + self.changed.nodes.len());
        // Both are in order of name, so one walk over each is enough.
        let mut changed = self.changed.nodes.values().peekable();
        for node in self.base.nodes.values() {
            while let Some(new) = changed.next_if(|other| other.name < node.name) {
                nodes.push(new);
            }
            if let Some(new) = changed.next_if(|other| other.name == node.name) {
                nodes.push(new);
            } else if !self.more_than_tasks_gone || self.node(&node.name).is_some() {
                nodes.push(node);
            }
        }
        nodes.extend(changed);
        nodes
    }

    /// All tasks as they are now in the plan: those of workloads whose tasks did not change, then the
    /// others, each in order of id.
    pub(super) fn all_rows(&self) -> impl Iterator<Item = Row<'_>> {
        let same = self.spans.iter().filter(|(name, _)| !self.moved_in.contains(*name));
        same.flat_map(|(_, span)| &self.rows[span.clone()]).copied().chain(self.moved_rows())
    }

    /// The tasks of workloads whose tasks changed, by id.
    fn moved_rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut moved: Vec<&WorkloadName> = self.moved_in.iter().collect();
        moved.sort_unstable();
        moved.into_iter().flat_map(|name| self.rows_of(name))
    }

    /// Tasks without a node, by id.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Task> {
        self.pending.iter().filter_map(|id| self.task(id))
    }

    /// Tasks that ended and are not forgotten, by id.
    pub(super) fn finals(&self) -> impl Iterator<Item = &Task> {
        self.finals.iter().filter_map(|id| self.task(id))
    }

    pub(super) fn note_ended(&mut self, ended: Ended) {
        self.ended.entry(ended.task.workload().clone()).or_default().push(ended);
    }

    /// Everything that follows from ends seen so far has been planned.
    pub(super) fn ends_are_settled(&mut self) {
        self.ended.clear();
    }

    /// Instances of a service that ended in this plan without having been asked to.
    pub(super) fn ended_of(&self, name: &WorkloadName) -> &[Ended] {
        self.ended.get(name).map_or(&[], Vec::as_slice)
    }
}
