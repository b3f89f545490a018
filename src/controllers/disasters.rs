//! In: the world, what was measured, how the loops do. Out: the engine's own freezes, begun and lifted,
//! and alarms. Ends freezes of people whose time is up, too.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, watch};

use crate::controllers::analyst::Analysis;
use crate::controllers::scheduler::Pass;
use crate::controllers::state::EngineState;
use crate::domain::action::ActionKey;
use crate::domain::change::Change;
use crate::domain::plan::{Alarm, Step};
use crate::domain::rollout::Actor;
use crate::domain::task::TaskState;
use crate::domain::world::World;
use crate::ports::store::StoreError;
use crate::scheduling::disaster::{Detector, DisasterSettings, Look};

/// A sample that is older than so many scrapes is missing.
const SCRAPES_MISSED_MAX: i32 = 3;
/// A task is expected to have been measured so long after its start, on top of those scrapes.
const FIRST_SAMPLE: SignedDuration = SignedDuration::from_secs(10);

/// How often what is watched is to happen.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// From one pass of the scheduler to the next.
    pub scheduler: SignedDuration,
    /// From one pass of the autoscaler to the next.
    pub autoscaler: SignedDuration,
    /// From one usage sample of a task to the next.
    pub sample: SignedDuration,
}

/// What it watches.
pub struct Watched {
    /// What the scheduler saw last.
    pub passes: watch::Receiver<Pass>,
    /// What was measured last.
    pub analysis: watch::Receiver<Analysis>,
    /// When the autoscaler last finished.
    pub decided: watch::Receiver<Option<Timestamp>>,
}

/// The loop body.
pub struct DisasterWatch {
    state: Arc<EngineState>,
    watched: Watched,
    intervals: Intervals,
    settings: DisasterSettings,
    detector: Mutex<Detector>,
    alarms: watch::Sender<Arc<Vec<Alarm>>>,
}

impl DisasterWatch {
    /// A watch, and the alarms that it gives.
    pub fn new(
        state: Arc<EngineState>,
        watched: Watched,
        intervals: Intervals,
        settings: DisasterSettings,
    ) -> (Self, watch::Receiver<Arc<Vec<Alarm>>>) {
        let (alarms, given) = watch::channel(Arc::default());
        (Self { state, watched, intervals, settings, detector: Mutex::default(), alarms }, given)
    }

    /// Looks once, and follows what it finds.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let now = self.state.clock().now();
        let mut detector = self.detector.lock().await;
        let findings = if self.settings.enabled {
            let world = self.state.world().await;
            detector.look(self.look(&world, now), &self.settings)
        } else {
            Vec::new()
        };
        let alarms: Vec<Alarm> = findings.iter().map(crate::scheduling::disaster::Finding::alarm).collect();
        self.alarms.send_if_modified(|before| {
            let differs = **before != alarms;
            if differs {
                *before = Arc::new(alarms);
            }
            differs
        });
        let followed = self.state.update(&Actor::Engine, None, |world| {
            let steps = detector.follow(&findings, world, &self.settings, now);
            (steps.clone(), steps)
        });
        let steps = followed.await?;
        for Step { change, reason } in &steps {
            match change {
                Change::ActionBegun { action } => tracing::error!(action = %action.key, "disaster: {reason}"),
                Change::ActionEnded { action: action @ ActionKey::Freeze(_), .. } => {
                    tracing::warn!(%action, "no longer frozen: {reason}");
                }
                _ => {}
            }
        }
        if !steps.is_empty() {
            self.state.wake();
        }
        Ok(())
    }

    fn look(&self, world: &World, now: Timestamp) -> Look {
        let analysis = self.watched.analysis.borrow().clone();
        let old = self.intervals.sample.saturating_mul(SCRAPES_MISSED_MAX);
        let age = |at: Timestamp| now.duration_since(at);
        let (mut sampled, mut unsampled) = (0, 0);
        for task in world.tasks.values().filter(|task| task.state == TaskState::Running) {
            if task.started_at.is_some_and(|started| age(started) > old.saturating_add(FIRST_SAMPLE)) {
                sampled += 1;
                unsampled +=
                    u64::from(analysis.usage.get(&task.id).is_none_or(|sample| age(sample.at) > old));
            }
        }
        let scheduled = self.watched.passes.borrow().at;
        let decided = *self.watched.decided.borrow();
        let late = [
            ("scheduler", scheduled, self.intervals.scheduler),
            ("autoscaler", decided, self.intervals.autoscaler),
        ];
        let late = late.into_iter().filter_map(|(name, at, interval)| {
            let late = age(at?).saturating_sub(interval);
            late.is_positive().then_some((name, late))
        });
        Look { sampled, unsampled, late: late.collect(), ..Look::of(world, self.state.losses(), now) }
    }
}
