//! How a workload follows its declarations: revisions, counts, sizes, the way back.

use jiff::Timestamp;

use crate::domain::rollout::{Actor, Revision, Rollout, RolloutState, Stage, StageWait};
use crate::domain::scale::ScaleSpec;
use crate::domain::strategy::Strategy;
use crate::domain::workload::{WorkloadName, WorkloadSpec};
use crate::domain::world::{JobState, RestartState, Workload};

impl Workload {
    pub(super) fn declared(name: &WorkloadName, spec: &WorkloadSpec, at: Timestamp, by: &Actor) -> Self {
        let mut workload = Self {
            name: name.clone(),
            spec: spec.clone(),
            revision: 0,
            revisions: std::collections::BTreeMap::new(),
            last_revision: 0,
            count: 0,
            size: None,
            next_task: 1,
            restart: RestartState::default(),
            rollout: None,
            cron_cursor: spec.as_cron().map(|_| at),
            deleted: false,
            generation: 0,
            jobs: JobState::default(),
        };
        workload.look_ahead();
        workload.begin_revision(at, by);
        workload.count = workload.declared_count();
        workload
    }

    /// `by_hand`: the count was set by a person, and that is in force.
    pub(super) fn declare_again(
        &mut self,
        spec: &WorkloadSpec,
        (at, by): (Timestamp, &Actor),
        by_hand: bool,
    ) {
        let declared = self.declared_count();
        let old = std::mem::replace(&mut self.spec, spec.clone());
        let anew = std::mem::take(&mut self.deleted);
        if old.needs_new_revision(spec) {
            self.begin_revision(at, by);
        } else if let Some(revision) = self.revisions.get_mut(&self.revision) {
            // What needs no new tasks belongs to the revision in force, so that going back to it does
            // not undo it.
            revision.spec = spec.clone();
        }
        if old.template().size != spec.template().size {
            self.size = None;
        }
        // A count that was found automatically outlives a new declaration, within its bounds; one that
        // was set by hand outlives those that declare the count that they declared before.
        let kept = by_hand && !anew && declared == self.declared_count();
        self.count = match (spec.as_service().and_then(|s| s.scale.as_ref()), old.as_service()) {
            (None, Some(_)) if kept => self.count,
            (Some(scale), Some(_)) if !anew => within(scale, self.count),
            _ => self.declared_count(),
        };
        match (old.as_cron(), spec.as_cron()) {
            (Some(old), Some(new)) if old.schedule == new.schedule && !anew => {}
            // Never back: a clock that was set back must not bring what has been.
            (_, Some(_)) => self.cron_cursor = self.cron_cursor.max(Some(at)),
            (_, None) => self.cron_cursor = None,
        }
        self.look_ahead();
    }

    pub(super) fn begin_revision(&mut self, at: Timestamp, by: &Actor) {
        self.last_revision += 1;
        self.revision = self.last_revision;
        let revision =
            Revision { number: self.revision, spec: self.spec.clone(), at, by: by.clone(), healthy: false };
        self.revisions.insert(self.revision, revision);
        self.restart = RestartState::default();
        let from = self.rollout.take().and_then(|last| last.last_healthy());
        let (to, count) = (self.revision, self.count);
        self.rollout = self.spec.as_service().map(|service| Rollout {
            strategy: service.rollout.strategy.clone(),
            stage: first_stage(&service.rollout.strategy, count, at).filter(|_| from.is_some()),
            from,
            to,
            state: RolloutState::InProgress,
            started_at: at,
            progressed_at: at,
            failures: 0,
            ended_at: None,
        });
    }

    /// The count that the spec alone asks for.
    pub(super) fn declared_count(&self) -> u32 {
        let Some(service) = self.spec.as_service() else { return 0 };
        match &service.scale {
            Some(scale) => within(scale, service.instances),
            None => service.instances,
        }
    }

    /// What follows for the workload from where its rollout stands.
    pub(super) fn follow_rollout(&mut self) {
        let Some(rollout) = &self.rollout else { return };
        match (&rollout.state, rollout.from) {
            (RolloutState::RolledBack { .. }, Some(from)) => self.go_back_to(from),
            (RolloutState::Done, _) => {
                let to = rollout.to;
                if let Some(revision) = self.revisions.get_mut(&to) {
                    revision.healthy = true;
                }
            }
            _ => {}
        }
    }

    pub(super) fn go_back_to(&mut self, number: u64) {
        let Some(revision) = self.revisions.get(&number) else { return };
        let declared = self.declared_count();
        self.spec = revision.spec.clone();
        self.revision = number;
        self.restart = RestartState::default();
        if self.declared_count() != declared {
            self.count = self.declared_count();
        }
    }
}

/// A count within what the service may have at some time; what it may have now is the autoscaler's to say.
fn within(scale: &ScaleSpec, count: u32) -> u32 {
    let (min, max) = scale.widest();
    count.clamp(min, max)
}

/// Where a rollout begins that is accepted step by step.
fn first_stage(strategy: &Strategy, count: u32, at: Timestamp) -> Option<Stage> {
    (strategy.steps() > 0).then(|| Stage {
        index: 0,
        instances: strategy.instances(0, count),
        waits: StageWait::Ready,
        since: at,
        advanced: false,
        verdict: None,
    })
}
