//! The one holder of the world: every change goes through it, onto disk first in effect, then to
//! whoever listens. Not here: what is to change (`scheduling`, `scaling`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, OwnedRwLockWriteGuard, RwLock, broadcast, watch};

use crate::controllers::driver::chain;
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
    world: Arc<RwLock<Worlds>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    telemetry: Arc<dyn Telemetry>,
    bell: Notify,
    changes: broadcast::Sender<Arc<RecordedChange>>,
    newest: watch::Sender<u64>,
    trouble: Mutex<Option<String>>,
    clock_moved: Mutex<ClockMoves>,
    losses: Arc<Losses>,
}

/// The world, and the one before it, to make the next one from.
///
/// A change is made on a copy, and copying a large world takes longer than planning on it. So the world before
/// is kept with the changes that it misses, and made good where nobody reads it any more.
struct Worlds {
    now: Arc<World>,
    before: Option<(Arc<World>, Vec<RecordedChange>)>,
}

impl Worlds {
    /// A world like the one that is now, for changes to be made on.
    fn copy(&mut self) -> World {
        let before = self.before.take();
        let unread = before.and_then(|(world, missed)| Some((Arc::try_unwrap(world).ok()?, missed)));
        let Some((mut world, missed)) = unread else { return World::clone(&self.now) };
        for change in &missed {
            world.apply(change);
        }
        world
    }

    fn become_next(&mut self, next: Arc<World>, changes: Vec<RecordedChange>) {
        self.before = Some((std::mem::replace(&mut self.now, next), changes));
    }
}

/// How the world keeps up with a clock that is set.
#[derive(Debug, Default)]
struct ClockMoves {
    /// By how much in all since the engine started.
    total: SignedDuration,
    /// Moved back already, and not written down yet.
    owed: Option<SignedDuration>,
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

impl ClockMoves {
    /// Lets the engine's own clock follow; the caller holds the lock that readers of both take.
    fn follow(&mut self, clock: &dyn Clock, by: SignedDuration) {
        clock.follow();
        self.total = self.total.saturating_add(by);
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
        let world = Arc::new(RwLock::new(Worlds { now: loaded, before: None }));
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let last = store.events(&EventQuery { limit: 1, ..EventQuery::default() })?;
        let newest = watch::Sender::new(last.first().map_or(0, |change| change.number));
        Ok(Self {
            world,
            store,
            clock,
            telemetry,
            bell: Notify::new(),
            changes,
            newest,
            trouble: Mutex::default(),
            clock_moved: Mutex::default(),
            losses: Arc::default(),
        })
    }

    /// The world as it is now.
    pub async fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.read().await.now)
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

    /// Notes how a write to the store went, for people to see.
    pub fn noted<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        let said = written.as_ref().err().map(|error| {
            let why = chain(error);
            format!("{why}; what runs goes on, and changes are made again once the store can be written")
        });
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = said;
        written
    }

    /// What is wrong with writing to the store, if the last write failed.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it is, and by how much the clock was set in all since the engine started, as far as the engine's
    /// own clock has followed: read at one instant, so that what is remembered can be moved along.
    pub fn now_and_moved(&self) -> (Timestamp, SignedDuration) {
        let moves = self.moves();
        (self.clock.now(), moves.total)
    }

    fn moves(&self) -> MutexGuard<'_, ClockMoves> {
        self.clock_moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the machine's clock was set, moves along what is counted from instants, then lets the engine's
    /// own clock follow. In between, ages are too small and never too large: nothing is done too early.
    pub async fn follow_clock(&self) -> Result<(), StoreError> {
        let owed = self.moves().owed;
        let Some(by) = owed.or_else(|| self.clock.was_set()) else { return Ok(()) };
        if by.is_negative() && owed.is_none() {
            let mut moves = self.moves();
            moves.owed = Some(by);
            moves.follow(self.clock.as_ref(), by);
        }
        let reason = format!("the machine's clock was set by {by:#}");
        tracing::warn!("{reason}");
        self.commit(&Actor::Engine, vec![Step { change: Change::ClockMoved { by }, reason }]).await?;
        let mut moves = self.moves();
        if by.is_positive() {
            moves.follow(self.clock.as_ref(), by);
        }
        moves.owed = None;
        Ok(())
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
    /// without error, the change is on disk. A caller that goes away meanwhile does not break it off: the
    /// change is made as a whole, or not at all.
    pub async fn update<R>(
        &self,
        by: &Actor,
        request: Option<&str>,
        decide: impl FnOnce(&World) -> (Vec<Step>, R),
    ) -> Result<R, StoreError> {
        let held = Arc::clone(&self.world).write_owned().await;
        let (steps, answer) = decide(&held.now);
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
        let commit = Commit {
            held,
            store: Arc::clone(&self.store),
            telemetry: Arc::clone(&self.telemetry),
            listeners: self.changes.clone(),
            newest: self.newest.clone(),
            losses: Arc::clone(&self.losses),
        };
        match tokio::spawn(commit.make(changes)).await {
            Ok(made) => self.noted(made).map(|()| answer),
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

/// One change of the world under way. It holds the world until the change is on disk or given up.
struct Commit {
    held: OwnedRwLockWriteGuard<Worlds>,
    store: Arc<dyn Store>,
    telemetry: Arc<dyn Telemetry>,
    listeners: broadcast::Sender<Arc<RecordedChange>>,
    newest: watch::Sender<u64>,
    losses: Arc<Losses>,
}

impl Commit {
    async fn make(mut self, changes: Vec<RecordedChange>) -> Result<(), StoreError> {
        // A copy: what cannot be written did not happen, and nobody has seen it.
        let mut next = self.held.copy();
        let touched: BTreeSet<_> = changes.iter().flat_map(|change| next.apply(change)).collect();
        let touched: Vec<_> = touched.into_iter().collect();
        let next = Arc::new(next);
        let (store, snapshot, listed) = (Arc::clone(&self.store), Arc::clone(&next), changes.clone());
        let began = Instant::now();
        let written = tokio::task::spawn_blocking(move || store.commit(&snapshot, &touched, &listed)).await;
        let first = match written {
            Ok(written) => written?,
            Err(panic) => {
                let operation = "write to the store".to_owned();
                return Err(StoreError::Failed { operation, source: Box::new(panic) });
            }
        };
        self.held.become_next(next, changes.clone());
        let told: Vec<_> = changes.iter().map(|recorded| &recorded.change).collect();
        self.telemetry.committed(began.elapsed(), &told, &self.held.now);
        self.newest.send_replace(first + (changes.len() as u64).saturating_sub(1));
        for change in changes {
            self.losses.count(&change.change);
            // Nobody listening is no error.
            let _ = self.listeners.send(Arc::new(change));
        }
        Ok(())
    }
}
