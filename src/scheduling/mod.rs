//! What is to be done next so that what runs becomes what is wanted.
//! In: the world (what was asked for and what was set in motion), the observation, the time.
//! Out: a plan: changes of the world with their reasons, and the tasks that wait with theirs.
//!
//! The same input gives the same plan, and planning again on the world after the plan gives no steps.
//! What the cluster is asked to do follows from the world that results (`effects`).
//!
//! Not here: how many instances, of which size, on how many nodes (`scaling`); carrying out (`controllers`).

mod acceptance;
mod actions;
mod advice;
mod alarms;
mod calm;
mod cron;
pub mod disaster;
mod effects;
mod held;
pub mod intent;
mod intent_runs;
mod joining;
pub mod launching;
mod loads;
mod manual;
mod nodes;
mod parts;
mod placing;
mod preempting;
mod removal;
mod restart;
mod rollout;
mod rows;
mod runs;
mod services;
mod size;
mod stages;
mod tasks;
mod view;

#[cfg(test)]
mod action_scenarios;
#[cfg(test)]
mod cron_properties;
#[cfg(test)]
mod cron_scenarios;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod job_scenarios;
#[cfg(test)]
mod joining_scenarios;
#[cfg(test)]
mod overcommit_scenarios;
#[cfg(test)]
mod placement_properties;
#[cfg(test)]
mod placement_scenarios;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rollout_properties;
#[cfg(test)]
mod rollout_scenarios;
#[cfg(test)]
mod run_scenarios;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulated_people;
#[cfg(test)]
mod simulated_specs;
#[cfg(test)]
mod simulation;

use jiff::{SignedDuration, Timestamp};

use crate::domain::observation::Observed;
use crate::domain::plan::{Plan, Waiting};
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::scheduling::view::View;

pub use alarms::DURATIONS_NEEDED;
pub use cron::OCCURRENCES_RECORDED_MAX;
pub use effects::{Effect, STRAY_GRACE, effects};
pub use joining::NODES_DO_NOT_JOIN;
pub use restart::{CRASH_LOOP_FAILURES, wait};
pub use stages::{DueCommand, due_commands};
pub use tasks::is_ready;

/// A plan looks at its own result until nothing follows from it, at most this often. Two rounds are the
/// rule, the second one empty; what is left for a later plan is no fault, only later.
const ROUNDS_MAX: usize = 8;

/// Times that the scheduler waits for, where no spec says them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanSettings {
    /// How long one instance lives with less memory before all get it.
    pub size_soak: SignedDuration,
    /// An instance without open requests is stopped no sooner after it was retired: the front door
    /// learns of its retirement in between.
    pub retire_settle: SignedDuration,
    /// A node that has not joined by then is given up, and another one asked for.
    pub join_timeout: SignedDuration,
    /// A task that is not up by then is ended and replaced; where a start-up check says how long that
    /// may take, only until its process runs.
    pub start_timeout: SignedDuration,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            size_soak: SignedDuration::from_secs(60),
            retire_settle: SignedDuration::from_millis(500),
            join_timeout: SignedDuration::from_mins(10),
            start_timeout: SignedDuration::from_mins(10),
        }
    }
}

/// Plans what is to be done next.
pub fn plan(world: &World, observed: &Observed, settings: &PlanSettings, now: Timestamp) -> Plan {
    let mut view = View::new(world, observed, settings, now);
    let mut waiting = Vec::new();
    for number in 0..ROUNDS_MAX {
        let before = view.planned();
        actions::keep(&mut view);
        nodes::observe(&mut view);
        let names = if number == 0 { view.take_restless() } else { view.take_dirty() };
        waiting = round(&mut view, &names);
        if view.planned() == before {
            break;
        }
    }
    waiting.sort_by(|one, other| one.task.cmp(&other.task));
    let alarms = [alarms::raise(&view), joining::alarms(&view)].concat();
    Plan { steps: view.into_steps(), waiting, alarms }
}

/// All phases once, each on the result of those before it, for the workloads named.
fn round(view: &mut View<'_>, names: &[&WorkloadName]) -> Vec<Waiting> {
    let ownerless = view.ownerless();
    tasks::observe(view, names);
    tasks::observe(view, &ownerless);
    nodes::keep_pools(view);
    for name in ownerless {
        removal::clear(view, name);
    }
    for name in names {
        keep_workload(view, name);
    }
    view.ends_are_settled();
    let waiting = placing::place_pending(view);
    tasks::forget_ended(view);
    for name in names {
        removal::forget(view, name);
    }
    waiting
}

fn keep_workload(view: &mut View<'_>, name: &WorkloadName) {
    removal::clear(view, name);
    let Some(workload) = view.workload(name).filter(|workload| !workload.deleted) else { return };
    let failed = workload.restart.failures > 0;
    let open = workload.rollout.as_ref().is_some_and(|rollout| rollout.state.is_open());
    // A paused service has nothing that a rollout could be judged by.
    let rolls = open && !view.paused(name);
    let is_service = workload.spec.as_service().is_some();
    if failed {
        restart::forgive(view, name);
    }
    if rolls {
        rollout::judge(view, name);
    }
    if open {
        stages::keep(view, name);
    }
    size::keep(view, name);
    if is_service {
        services::keep(view, name);
    } else {
        cron::keep(view, name);
        runs::keep(view, name);
    }
    if rolls {
        rollout::finish(view, name);
    }
}
