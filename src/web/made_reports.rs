//! Reports that were made lately. A month of thousands of tasks takes seconds, and a page is not to wait for it: the
//! report is made beside it, and is there for the next look.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::web::backend::Failure;

/// So long a page waits for it.
const PATIENCE: Duration = Duration::from_millis(120);
/// A report that is older is made again, or once so many times as long has gone by as making it took: pages that stay
/// open are not to cost the engine more than a fiftieth of its time.
const FRESH: Duration = Duration::from_mins(1);
const REST: u32 = 50;

/// A report, or the status and the words of a refusal; and how long it took.
#[derive(Debug)]
struct Made<T> {
    report: Result<Arc<T>, (StatusCode, String)>,
    took: Duration,
}

/// When a report was begun, and the report once it is there.
type Begun<T> = (Timestamp, watch::Receiver<Option<Made<T>>>);

/// Reports by name.
#[derive(Debug)]
pub(super) struct MadeReports<T>(Mutex<BTreeMap<String, Begun<T>>>);

impl<T> Default for MadeReports<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Send + Sync + 'static> MadeReports<T> {
    /// The report of a name, made by `make` where there is no fresh one; none where that takes longer than a page
    /// waits.
    pub(super) async fn get(
        &self,
        name: &str,
        now: Timestamp,
        make: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<Option<Arc<T>>, Failure> {
        let mut made = self.begin(name, now, make);
        let waited = tokio::time::timeout(PATIENCE, made.wait_for(Option::is_some)).await;
        let report = |made: &Option<Made<T>>| made.as_ref().map(|made| made.report.clone());
        match waited.ok().and_then(Result::ok).and_then(|made| report(&made)) {
            None => Ok(None),
            Some(Ok(report)) => Ok(Some(report)),
            Some(Err((status, detail))) => {
                self.lock().remove(name);
                Err(Failure::new(status, detail))
            }
        }
    }

    fn begin(
        &self,
        name: &str,
        now: Timestamp,
        make: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> watch::Receiver<Option<Made<T>>> {
        let mut known = self.lock();
        // One that is being made is waited for, however long it takes; one whose making was cut off is begun anew.
        known.retain(|_, (begun, made)| {
            let took = made.borrow().as_ref().map(|made| made.took);
            let age = now.duration_since(*begun).unsigned_abs();
            took.map_or_else(|| made.has_changed().is_ok(), |took| age < FRESH.max(took * REST))
        });
        if let Some((_, made)) = known.get(name) {
            return made.clone();
        }
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let refused = |failure: Failure| {
                let status = StatusCode::from_u16(failure.status());
                (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), failure.detail().to_owned())
            };
            let began = Instant::now();
            let report = make.await.map(Arc::new).map_err(refused);
            // Where nobody waits any more, it is there for the next one.
            sender.send_replace(Some(Made { report, took: began.elapsed() }));
        });
        known.insert(name.to_owned(), (now, receiver.clone()));
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Begun<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
