//! How a workload follows its declarations: revisions, counts, sizes, the way back.

use jiff::Timestamp;

use crate::domain::rollout::{Actor, Revision, Rollout, RolloutState};
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

    pub(super) fn declare_again(&mut self, spec: &WorkloadSpec, at: Timestamp, by: &Actor) {
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
        // A count that was found automatically outlives a new declaration, within its bounds.
        self.count = match (spec.as_service().and_then(|s| s.scale.as_ref()), old.as_service()) {
            (Some(scale), Some(_)) if !anew => self.count.clamp(scale.min, scale.max.max(scale.min)),
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
        let revision = Revision { number: self.revision, spec: self.spec.clone(), at, by: by.clone() };
        self.revisions.insert(self.revision, revision);
        self.restart = RestartState::default();
        let from = self.rollout.take().and_then(|last| last.last_healthy());
        self.rollout = self.spec.as_service().map(|_| Rollout {
            from,
            to: self.revision,
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
            Some(scale) => service.instances.clamp(scale.min, scale.max.max(scale.min)),
            None => service.instances,
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
