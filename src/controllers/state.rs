//! The one holder of the world: every change goes through it, onto disk first in effect, then to
//! whoever listens. Not here: what is to change (`scheduling`, `scaling`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{Notify, RwLock, broadcast, watch};

use crate::domain::change::{Change, RecordedChange};
use crate::domain::node::NodeState;
use crate::domain::plan::Step;
use crate::domain::rollout::Actor;
use crate::domain::task::TaskState;
use crate::domain::world::World;
use crate::ports::clock::Clock;
use crate::ports::store::{EventQuery, Store, StoreError};
use crate::ports::telemetry::Telemetry;

/// Changes that a slow listener may lag behind before it misses some.
const CHANGES_KEPT: usize = 4096;

/// The world, its store, and the bell that wakes the scheduler.
pub struct EngineState {
    world: RwLock<Arc<World>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    telemetry: Arc<dyn Telemetry>,
    bell: Notify,
    changes: broadcast::Sender<Arc<RecordedChange>>,
    newest: watch::Sender<u64>,
    losses: Losses,
}

/// Tasks and nodes that were lost since the engine started.
#[derive(Debug, Default)]
struct Losses {
    tasks: AtomicU64,
    nodes: AtomicU64,
}

impl Losses {
    fn count(&self, change: &Change) {
        match change {
            Change::TaskMoved { state: TaskState::Lost, .. } => self.tasks.fetch_add(1, Ordering::Relaxed),
            Change::NodeMoved { state: NodeState::Lost, .. } => self.nodes.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

impl EngineState {
    /// Takes up the world as the store has it.
    pub fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        telemetry: Arc<dyn Telemetry>,
    ) -> Result<Self, StoreError> {
        let loaded = Arc::new(store.load()?);
        telemetry.shown(&loaded);
        let world = RwLock::new(loaded);
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let last = store.events(&EventQuery { limit: 1, ..EventQuery::default() })?;
        let newest = watch::Sender::new(last.first().map_or(0, |change| change.number));
        let losses = Losses::default();
        Ok(Self { world, store, clock, telemetry, bell: Notify::new(), changes, newest, losses })
    }

    /// The world as it is now.
    pub async fn world(&self) -> Arc<World> {
        Arc::clone(&*self.world.read().await)
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// The counters.
    pub fn telemetry(&self) -> &dyn Telemetry {
        self.telemetry.as_ref()
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Asks the scheduler for a pass soon.
    pub fn wake(&self) {
        self.bell.notify_one();
    }

    /// Returns when somebody asked for a pass.
    pub async fn woken(&self) {
        self.bell.notified().await;
    }

    /// Every change from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<RecordedChange>> {
        self.changes.subscribe()
    }

    /// The number of the newest change, and a way to wait for the next one.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// How many tasks and nodes were lost since the engine started.
    pub fn losses(&self) -> (u64, u64) {
        (self.losses.tasks.load(Ordering::Relaxed), self.losses.nodes.load(Ordering::Relaxed))
    }

    /// Decides on the world as it is and makes the change, with nobody in between. When it returns
    /// without error, the change is on disk.
    pub async fn update<R>(
        &self,
        by: &Actor,
        request: Option<&str>,
        decide: impl FnOnce(&World) -> (Vec<Step>, R),
    ) -> Result<R, StoreError> {
        let mut held = self.world.write().await;
        let (steps, answer) = decide(&held);
        if steps.is_empty() {
            return Ok(answer);
        }
        let at = self.clock.now();
        let changes: Vec<RecordedChange> = steps
            .into_iter()
            .map(|Step { change, reason }| {
                let request = request.map(str::to_owned);
                RecordedChange { at, by: by.clone(), reason, request, change }
            })
            .collect();
        let world = Arc::make_mut(&mut held);
        let touched: BTreeSet<_> = changes.iter().flat_map(|change| world.apply(change)).collect();
        let touched: Vec<_> = touched.into_iter().collect();
        let (store, snapshot, listed) = (Arc::clone(&self.store), Arc::clone(&held), changes.clone());
        let began = Instant::now();
        let written = tokio::task::spawn_blocking(move || store.commit(&snapshot, &touched, &listed)).await;
        match written {
            Ok(Ok(first)) => {
                let told: Vec<_> = changes.iter().map(|recorded| &recorded.change).collect();
                self.telemetry.committed(began.elapsed(), &told, &held);
                self.newest.send_replace(first + (changes.len() as u64).saturating_sub(1));
                for change in changes {
                    self.losses.count(&change.change);
                    // Nobody listening is no error.
                    let _ = self.changes.send(Arc::new(change));
                }
                Ok(answer)
            }
            Ok(Err(error)) => {
                // What could not be written did not happen: go back to what is on disk.
                *held = Arc::new(self.store.load()?);
                Err(error)
            }
            Err(panic) => Err(StoreError::Failed {
                operation: "write to the store".to_owned(),
                source: Box::new(panic),
            }),
        }
    }

    /// Makes the given steps.
    pub async fn commit(&self, by: &Actor, steps: Vec<Step>) -> Result<(), StoreError> {
        self.update(by, None, |_| (steps, ())).await
    }
}
