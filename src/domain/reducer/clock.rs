//! The machine's clock was set: everything that is counted from an instant, or until one, goes on being
//! counted from where it was. Not moved: what instants identify (tasks by when they were made, runs by when
//! they were planned), and up to where the occurrences of cron jobs are accounted for.

use jiff::{SignedDuration, Timestamp};

use crate::domain::node::{Node, NodePool};
use crate::domain::task::Task;
use crate::domain::world::{EntityKey, Workload, World};

impl World {
    /// Moves waits and ages along with the clock.
    pub(super) fn follow_clock(&mut self, by: SignedDuration, touched: &mut Vec<EntityKey>) {
        for task in self.tasks.values_mut().filter(|task| !task.state.is_terminal()) {
            move_task(task, by);
            touched.push(EntityKey::Task(task.id.clone()));
        }
        for workload in self.workloads.values_mut() {
            move_workload(workload, by);
            touched.push(EntityKey::Workload(workload.name.clone()));
        }
        for node in self.nodes.values_mut() {
            let Node { state_since, underused_since, .. } = node;
            shift(state_since, by);
            shift_some(underused_since, by);
            touched.push(EntityKey::Node(node.name.clone()));
        }
        for pool in self.pools.values_mut() {
            let NodePool { grown_at, shrunk_at, .. } = pool;
            shift_some(grown_at, by);
            shift_some(shrunk_at, by);
            touched.push(EntityKey::Pool(pool.name.clone()));
        }
        for action in self.actions.values_mut() {
            shift(&mut action.at, by);
            shift_some(&mut action.until, by);
            touched.push(EntityKey::Action(action.key.clone()));
        }
    }
}

fn move_task(task: &mut Task, by: SignedDuration) {
    shift(&mut task.not_before, by);
    shift(&mut task.state_since, by);
    shift_some(&mut task.started_at, by);
    shift_some(&mut task.ready_at, by);
}

fn move_workload(workload: &mut Workload, by: SignedDuration) {
    shift_some(&mut workload.restart.last_failure, by);
    shift_some(&mut workload.restart.not_before, by);
    if let Some(rollout) = &mut workload.rollout {
        shift(&mut rollout.started_at, by);
        shift(&mut rollout.progressed_at, by);
    }
    if let Some(size) = &mut workload.size {
        shift(&mut size.since, by);
        shift_some(&mut size.canary_since, by);
    }
    for revision in workload.revisions.values_mut() {
        shift(&mut revision.at, by);
    }
}

fn shift(at: &mut Timestamp, by: SignedDuration) {
    *at = at.saturating_add(by).unwrap_or(*at);
}

fn shift_some(at: &mut Option<Timestamp>, by: SignedDuration) {
    if let Some(at) = at {
        shift(at, by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_move_with_the_clock_and_never_beyond_the_last_one() {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let day = SignedDuration::from_hours(24);
        for by in [day, -day] {
            let mut at = noon;
            shift(&mut at, by);
            assert_eq!((noon + by).duration_since(at), SignedDuration::ZERO);
            let mut none = None;
            shift_some(&mut none, by);
            assert_eq!(none, None);
        }
        let mut last = Timestamp::MAX;
        shift(&mut last, day);
        assert_eq!(last, Timestamp::MAX, "there is no later instant");
    }
}
