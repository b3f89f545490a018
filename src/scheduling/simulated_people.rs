//! For tests: people who ask for things in a simulation, and what rollouts are judged by in it.
//!
//! The third word of a service's command is the latency of its requests in milliseconds, the fourth the
//! percentage of errors among them; each ready instance answers `rate` requests a second.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::change::Change;
use crate::domain::intent::Intent;
use crate::domain::load::{FINE_BUCKETS, RequestCounters, fine_bucket};
use crate::domain::observation::{CommandVerdict, Observed, RevisionLoad, SideBySide};
use crate::domain::rollout::{Actor, Rollout, StageKey, StageWait};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};
use crate::scheduling::due_commands;
use crate::scheduling::intent::{Asked, changes};
use crate::scheduling::simulation::Simulation;

/// What rollouts are judged by.
pub(super) struct Judges {
    /// Requests a second to each revision.
    pub(super) rate: u64,
    /// What commands say; nothing comes of them where absent.
    pub(super) command_accepts: Option<bool>,
    /// How often a command was run.
    pub(super) commands_run: u32,
    verdicts: BTreeMap<WorkloadName, CommandVerdict>,
}

impl Default for Judges {
    fn default() -> Self {
        Self { rate: 50, command_accepts: None, commands_run: 0, verdicts: BTreeMap::new() }
    }
}

impl Judges {
    /// Adds to what is observed what was measured and judged so far.
    pub(super) fn observe(&mut self, world: &World, observed: &mut Observed, now: Timestamp) {
        for workload in world.workloads.values() {
            let rollout = workload.rollout.as_ref();
            if let Some(seen) = rollout.and_then(|rollout| self.compared(workload, rollout, now)) {
                observed.compared.insert(workload.name.clone(), seen);
            }
        }
        observed.judged = self.verdicts.clone();
        let Some(accepted) = self.command_accepts else { return };
        for due in due_commands(world, observed, now) {
            self.commands_run += 1;
            let message = format!("{} ended", due.command.join(" "));
            let verdict = CommandVerdict { stage: due.stage, accepted, message };
            self.verdicts.insert(due.workload, verdict);
        }
        observed.judged = self.verdicts.clone();
    }

    fn compared(&self, workload: &Workload, rollout: &Rollout, now: Timestamp) -> Option<SideBySide> {
        let stage = rollout.open_stage()?;
        let StageWait::Metric { .. } = stage.waits else { return None };
        let key: StageKey = rollout.stage_key()?;
        let requests = self.rate * u64::try_from(now.duration_since(stage.since).as_secs()).ok()?;
        let load = |revision: u64| {
            let words = &workload.revisions.get(&revision)?.spec.template().command;
            let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(0);
            let mut fine = vec![0; FINE_BUCKETS];
            fine[fine_bucket(number(2) as f64 / 1000.0)] = requests;
            let errors = requests * number(3) / 100;
            let requests = RequestCounters { requests, errors, fine, ..RequestCounters::default() };
            Some(RevisionLoad { requests, cpu_seconds: None })
        };
        Some(SideBySide { stage: key, old: load(rollout.from?)?, new: load(rollout.to)? })
    }
}

impl Simulation {
    /// Somebody asks for something; what came of it in words, or why not.
    pub(super) fn ask(&mut self, message: &str, intent: &Intent) -> Result<Vec<String>, String> {
        let by = Actor::User("ann".to_owned());
        let asked = Asked { by: &by, message, at: self.now };
        let worded = changes(&self.world, intent, &asked).map_err(|error| error.to_string())?;
        let (changes, words): (Vec<Change>, Vec<String>) = worded.into_iter().unzip();
        for (change, words) in changes.into_iter().zip(&words) {
            self.follow(change, words.clone(), by.clone());
        }
        Ok(words)
    }
}
