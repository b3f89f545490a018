//! What is to be done next so that what runs becomes what is wanted.
//! In: the world (what was asked for and what was set in motion), the observation, the time.
//! Out: a plan: changes of the world with their reasons, and the tasks that wait with theirs.
//!
//! The same input gives the same plan, and planning again on the world after the plan gives no steps.
//! What the cluster is asked to do follows from the world that results (`effects`).
//!
//! Not here: how many instances, of which size, on how many nodes (`scaling`); carrying out (`controllers`).

mod cron;
mod effects;
pub mod intent;
mod nodes;
mod placing;
mod removal;
mod restart;
mod rollout;
mod runs;
mod services;
mod size;
mod summary;
mod tasks;
mod view;

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
use crate::domain::world::World;
use crate::scheduling::view::View;

pub use cron::OCCURRENCES_RECORDED_MAX;
pub use effects::{Effect, STRAY_GRACE, effects};
pub use restart::{CRASH_LOOP_FAILURES, wait};
pub use summary::{Summary, summary};
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
    for _ in 0..ROUNDS_MAX {
        let before = view.planned();
        waiting = round(&mut view);
        if view.planned() == before {
            break;
        }
    }
    Plan { steps: view.into_steps(), waiting }
}

/// All phases once, each on the result of those before it.
fn round(view: &mut View<'_>) -> Vec<Waiting> {
    nodes::observe(view);
    tasks::observe(view);
    nodes::keep_pools(view);
    for name in view.ownerless() {
        removal::clear(view, name);
    }
    for name in view.workload_names() {
        removal::clear(view, name);
        restart::forgive(view, name);
        rollout::judge(view, name);
        size::keep(view, name);
        services::keep(view, name);
        rollout::finish(view, name);
        cron::keep(view, name);
        runs::keep(view, name);
    }
    view.ends_are_settled();
    let waiting = placing::place_pending(view);
    tasks::forget_ended(view);
    for name in view.workload_names() {
        removal::forget(view, name);
    }
    waiting
}
