//! In: numbered changes, decisions, alarms. Out: each hook is told those that it wants, in their order.
//!
//! Each hook has a loop and a cursor of its own. The cursor is kept in the store and moves on only after
//! a notice was delivered or given up, so that nothing is lost by a crash, and what was told shortly
//! before one is told again (with the same id). Nothing is queued: what a hook has not been told yet is
//! read from the store when its turn comes, so a dead hook costs no memory and holds up no other loop.

mod hook;
mod translate;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controllers::control::blocking;
use crate::controllers::driver::chain;
use crate::controllers::notices::hook::{Cursor, Spacing, wait};
use crate::controllers::notices::translate::{key_of, of_alarm, of_change, of_decision};
use crate::controllers::state::EngineState;
use crate::domain::decision::DecisionId;
use crate::domain::plan::Alarm;
use crate::domain::world::World;
use crate::ports::notifier::{NotTold, Notice};
use crate::ports::store::{DecisionLog, EventQuery, StoreError};

pub use hook::{Hook, HookFilter, HookHealth, Patience};
pub use translate::OWNER_EVENTS;

/// Changes and decisions that are read at a time.
const BATCH: usize = 200;
/// Decisions and alarms come without a bell.
const POLL: Duration = Duration::from_secs(2);
/// The cursor is put into the store at most this often within a batch.
const SAVE_INTERVAL: Duration = Duration::from_millis(500);
/// The first wait after a failed try; it doubles.
const BACKOFF: Duration = Duration::from_secs(1);

/// Where notices come from.
#[derive(Clone)]
pub struct Sources {
    /// Changes.
    pub state: Arc<EngineState>,
    /// Decisions.
    pub decisions: Arc<dyn DecisionLog>,
    /// Everything that wants a person's eye now.
    pub alarms: Arc<dyn Fn() -> Vec<Alarm> + Send + Sync>,
}

/// The loop of one hook.
pub struct Messenger {
    sources: Sources,
    hook: Hook,
    health: watch::Sender<HookHealth>,
    spacing: Spacing,
    saved_at: Option<Instant>,
}

/// A notice, or only that there is none to tell, and the cursor after it.
struct Entry {
    at: Timestamp,
    change: Option<u64>,
    decision: Option<DecisionId>,
    notice: Option<Notice>,
}

impl Messenger {
    /// A messenger, and how it does.
    pub fn new(sources: Sources, hook: Hook) -> (Self, watch::Receiver<HookHealth>) {
        let (health, seen) = watch::channel(HookHealth::new(&hook.name));
        let spacing = Spacing::new(hook.spacing);
        (Self { sources, hook, health, spacing, saved_at: None }, seen)
    }

    /// Tells notices until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut newest = self.sources.state.newest();
        let Some(mut cursor) = self.begin(&shutdown).await else { return };
        loop {
            let told = tokio::select! {
                () = shutdown.cancelled() => break,
                told = self.round(&mut cursor) => told,
            };
            if let Err(error) = told {
                tracing::warn!(
                    hook = self.hook.name,
                    error = chain(&error),
                    "cannot read what is to be told"
                );
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                // The sender lives as long as the state does.
                _ = newest.changed() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        if let Err(error) = self.save(&cursor).await {
            tracing::warn!(hook = self.hook.name, error = chain(&error), "cannot keep what was told");
        }
    }

    /// The cursor of the last engine; a new hook begins with what happens from now on.
    async fn begin(&self, shutdown: &CancellationToken) -> Option<Cursor> {
        loop {
            match self.load().await {
                Ok(cursor) => return Some(cursor),
                Err(error) => tracing::warn!(hook = self.hook.name, error = chain(&error), "cannot begin"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn load(&self) -> Result<Cursor, StoreError> {
        let (store, name) = (Arc::clone(self.sources.state.store()), self.document());
        let kept = blocking(move || store.document(&name)).await?;
        if let Some(cursor) = kept.and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(cursor);
        }
        let log = Arc::clone(&self.sources.decisions);
        let last = blocking(move || log.decisions(None, 1)).await?;
        let cursor = Cursor {
            change: *self.sources.state.newest().borrow(),
            decision: last.first().map_or(DecisionId(0), |decision| decision.id),
            ..Cursor::default()
        };
        self.put(&cursor).await?;
        Ok(cursor)
    }

    /// Tells everything that there is to tell.
    async fn round(&mut self, cursor: &mut Cursor) -> Result<(), StoreError> {
        loop {
            self.tell_alarms(cursor).await?;
            let world = self.sources.state.world().await;
            let entries = self.batch(cursor, &world).await?;
            if entries.is_empty() {
                self.note_lag(cursor);
                return Ok(());
            }
            for entry in entries {
                if let Some(notice) = entry.notice {
                    self.deliver(notice, cursor).await;
                }
                cursor.change = entry.change.unwrap_or(cursor.change);
                cursor.decision = entry.decision.unwrap_or(cursor.decision);
                if self.saved_at.is_none_or(|at| at.elapsed() >= SAVE_INTERVAL) {
                    self.save(cursor).await?;
                }
            }
            self.save(cursor).await?;
        }
    }

    /// What comes next, changes and decisions in the order of their time.
    async fn batch(&self, cursor: &Cursor, world: &World) -> Result<Vec<Entry>, StoreError> {
        let (store, log) = (Arc::clone(self.sources.state.store()), Arc::clone(&self.sources.decisions));
        let query = EventQuery { after: Some(cursor.change), limit: BATCH, ..EventQuery::default() };
        let after = cursor.decision;
        let (changes, decisions) =
            blocking(move || Ok((store.events(&query)?, log.decisions_after(after, BATCH)?))).await?;
        let wanted = |notice: Notice| Some(notice).filter(|notice| self.hook.filter.wants(notice));
        let changes = changes.iter().map(|change| Entry {
            at: change.recorded.at,
            change: Some(change.number),
            decision: None,
            notice: of_change(change, world).and_then(wanted),
        });
        let decisions = decisions.iter().map(|decision| Entry {
            at: decision.at,
            change: None,
            decision: Some(decision.id),
            notice: wanted(of_decision(decision, world)),
        });
        Ok(merged(changes.collect(), decisions.collect()))
    }

    async fn tell_alarms(&mut self, cursor: &mut Cursor) -> Result<(), StoreError> {
        let alarms = (self.sources.alarms)();
        let before = cursor.alarms.clone();
        cursor.alarms.retain(|told| alarms.iter().any(|alarm| key_of(alarm) == *told));
        let world = self.sources.state.world().await;
        for alarm in &alarms {
            if cursor.alarms.contains(&key_of(alarm)) {
                continue;
            }
            let notice = of_alarm(alarm, &world);
            if self.hook.filter.wants(&notice) {
                self.deliver(notice, cursor).await;
            }
            cursor.alarms.insert(key_of(alarm));
        }
        if cursor.alarms == before { Ok(()) } else { self.save(cursor).await }
    }

    /// Returns once a notice was delivered, or given up.
    async fn deliver(&mut self, mut notice: Notice, cursor: &Cursor) {
        match self.spacing.admit(&notice, Instant::now()) {
            None => return,
            Some(0) => {}
            Some(left_out) => {
                notice.body.insert("left_out".to_owned(), left_out.into());
            }
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = self.hook.notifier.tell(&notice).await;
            let now = self.sources.state.clock().now();
            let Err(NotTold(error)) = answer else {
                self.sources.state.telemetry().told(&self.hook.name, true);
                self.health.send_modify(HookHealth::delivered);
                self.note_lag(cursor);
                return;
            };
            self.sources.state.telemetry().told(&self.hook.name, false);
            let given_up = self.hook.patience.is_over(tries, now.duration_since(notice.at));
            let name = &self.hook.name;
            tracing::warn!(hook = name, id = notice.id, tries, given_up, "not delivered: {error}");
            self.health.send_modify(|health| health.failed(&error, now, given_up));
            self.note_lag(cursor);
            if given_up {
                return;
            }
            tokio::time::sleep(wait(BACKOFF, tries, fastrand::f64())).await;
        }
    }

    fn note_lag(&self, cursor: &Cursor) {
        let behind = self.sources.state.newest().borrow().saturating_sub(cursor.change);
        self.health.send_modify(|health| health.behind = behind);
    }

    async fn save(&mut self, cursor: &Cursor) -> Result<(), StoreError> {
        self.put(cursor).await?;
        self.saved_at = Some(Instant::now());
        Ok(())
    }

    async fn put(&self, cursor: &Cursor) -> Result<(), StoreError> {
        let text = serde_json::to_vec(cursor).unwrap_or_default();
        let (store, name) = (Arc::clone(self.sources.state.store()), self.document());
        blocking(move || store.put_document(&name, &text)).await
    }

    fn document(&self) -> String {
        format!("hook {}", self.hook.name)
    }
}

/// Both in the order of their time, each in its own order whatever the clock did. Behind the end of one
/// that is full there may be more, so the other one waits there.
fn merged(changes: VecDeque<Entry>, decisions: VecDeque<Entry>) -> Vec<Entry> {
    let (mut one, mut other) = (Side::new(changes), Side::new(decisions));
    let mut entries = Vec::new();
    loop {
        let next = match (one.left.front(), other.left.front()) {
            (Some(a), Some(b)) if b.at < a.at => other.left.pop_front(),
            (Some(_), Some(_)) => one.left.pop_front(),
            (Some(_), None) if !other.full => one.left.pop_front(),
            (None, Some(_)) if !one.full => other.left.pop_front(),
            _ => None,
        };
        let Some(next) = next else { return entries };
        entries.push(next);
    }
}

/// Entries that are not merged yet, and whether there may be more behind them.
struct Side {
    left: VecDeque<Entry>,
    full: bool,
}

impl Side {
    fn new(left: VecDeque<Entry>) -> Self {
        Self { full: left.len() >= BATCH, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(seconds: impl IntoIterator<Item = i64>, changes: bool) -> VecDeque<Entry> {
        let entry = |(at, second): (usize, i64)| Entry {
            at: Timestamp::from_second(second).expect("a time"),
            change: changes.then_some(at as u64),
            decision: (!changes).then_some(DecisionId(at as u64)),
            notice: None,
        };
        seconds.into_iter().enumerate().map(entry).collect()
    }

    fn order(entries: &[Entry]) -> Vec<i64> {
        entries.iter().map(|entry| entry.at.as_second()).collect()
    }

    #[test]
    fn changes_and_decisions_are_merged_by_time_and_keep_their_order() {
        let found = merged(entries([1, 4, 2, 9], true), entries([3, 5], false));
        assert_eq!(order(&found), [1, 3, 4, 2, 5, 9]);
        let numbers: Vec<u64> = found.iter().filter_map(|entry| entry.change).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }

    #[test]
    fn nothing_overtakes_what_was_not_read_yet() {
        let full = i64::try_from(BATCH).expect("a count");
        let found = merged(entries(0..full, true), entries([5, full + 7], false));
        assert_eq!(found.len(), BATCH + 1, "the later decision waits for later changes");
        assert!(found.last().is_some_and(|last| last.change == Some(full as u64 - 1)));
    }
}
