//! What is to be done next so that what runs becomes what is wanted.
//! In: the world (what was asked for and what was set in motion), the observation, the time.
//! Out: a plan: changes of the world with their reasons, and the tasks that wait with theirs.
//!
//! The same input gives the same plan, and planning again on the world after the plan gives no steps.
//! What the cluster is asked to do follows from the world that results (`effects`).
//!
//! Not here: how many instances, of which size, on how many nodes (`scaling`); carrying out (`controllers`).

mod calm;
mod cron;
mod effects;
pub mod intent;
mod loads;
mod nodes;
mod placing;
mod preempting;
mod removal;
mod restart;
mod rollout;
mod rows;
mod runs;
mod services;
mod size;
mod tasks;
mod view;

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod placement_properties;
#[cfg(test)]
mod placement_scenarios;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod run_scenarios;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulation;

use jiff::{SignedDuration, Timestamp};

use crate::domain::observation::Observed;
use crate::domain::plan::{Plan, Waiting};
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::scheduling::view::View;

pub use cron::OCCURRENCES_RECORDED_MAX;
pub use effects::{Effect, STRAY_GRACE, effects};
pub use restart::{CRASH_LOOP_FAILURES, wait};
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
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self { size_soak: SignedDuration::from_secs(60), retire_settle: SignedDuration::from_millis(500) }
    }
}

/// Plans what is to be done next.
pub fn plan(world: &World, observed: &Observed, settings: &PlanSettings, now: Timestamp) -> Plan {
    let mut view = View::new(world, observed, settings, now);
    let mut waiting = Vec::new();
    for number in 0..ROUNDS_MAX {
        let before = view.planned();
        nodes::observe(&mut view);
        let names = if number == 0 { view.take_restless() } else { view.take_dirty() };
        waiting = round(&mut view, &names);
        if view.planned() == before {
            break;
        }
    }
    waiting.sort_by(|one, other| one.task.cmp(&other.task));
    Plan { steps: view.into_steps(), waiting, alarms: Vec::new() }
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
    let rolls = workload.rollout.as_ref().is_some_and(|rollout| rollout.state.is_open());
    let is_service = workload.spec.as_service().is_some();
    if failed {
        restart::forgive(view, name);
    }
    if rolls {
        rollout::judge(view, name);
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
