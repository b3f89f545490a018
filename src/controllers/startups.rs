//! In: what becomes of instances. Out: how long they take from their launch until they are ready, by service
//! and revision (`scaling::startup`), kept over restarts of the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::domain::change::{Change, RecordedChange};
use crate::domain::scale_status::StartupTime;
use crate::domain::task::{TaskId, TaskOrigin, TaskState};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};
use crate::scaling::startup::StartupTimes;

/// What was learned, and what is being measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Startups {
    services: BTreeMap<WorkloadName, StartupTimes>,
    /// Instances that were launched and are not ready yet.
    launched: BTreeMap<TaskId, Timestamp>,
}

impl Startups {
    /// Takes in what happened since the last time.
    pub(super) fn take(&mut self, changes: &mut Receiver<Arc<RecordedChange>>, world: &World) {
        loop {
            match changes.try_recv() {
                Ok(change) => self.follow(&change, world),
                // What was missed is not learned from.
                Err(TryRecvError::Lagged(_)) => {}
                Err(_) => break,
            }
        }
        self.launched.retain(|task, _| world.tasks.contains_key(task));
        self.services.retain(|name, _| world.workloads.contains_key(name));
    }

    fn follow(&mut self, change: &RecordedChange, world: &World) {
        match &change.change {
            Change::TaskPlaced { task, .. } => {
                self.launched.insert(task.clone(), change.at);
            }
            Change::TaskMoved { task, state: TaskState::Running, .. } => {
                let Some(since) = self.launched.remove(task) else { return };
                let Some(known) = world.tasks.get(task) else { return };
                if known.origin == TaskOrigin::Instance {
                    let took = change.at.duration_since(since);
                    self.services
                        .entry(task.workload().clone())
                        .or_default()
                        .became_ready(known.revision, took);
                }
            }
            Change::TaskMoved { task, state, .. } if *state > TaskState::Running => {
                self.launched.remove(task);
            }
            Change::ClockMoved { by } => self.clock_moved(*by),
            _ => {}
        }
    }

    fn clock_moved(&mut self, by: SignedDuration) {
        for at in self.launched.values_mut() {
            *at = at.saturating_add(by).unwrap_or(*at);
        }
    }

    /// How long an instance of the revision in force takes.
    pub(super) fn of(&self, workload: &Workload) -> Option<StartupTime> {
        self.services.get(&workload.name)?.of(workload.revision)
    }
}
