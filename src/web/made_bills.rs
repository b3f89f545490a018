//! Bills that were made lately. A month of thousands of tasks takes seconds, and a page is not to wait for it: the
//! bill is made beside it, and is there for the next look.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::accounting::bill::report::BillReport;
use crate::web::backend::Failure;

/// So long a page waits for it.
const PATIENCE: Duration = Duration::from_millis(120);
/// A bill that is older is made again, or once so many times as long has gone by as making it took: pages that stay
/// open are not to cost the engine more than a fiftieth of its time.
const FRESH: Duration = Duration::from_mins(1);
const REST: u32 = 50;

/// A bill, or the status and the words of a refusal; and how long it took.
#[derive(Debug, Clone)]
struct Made {
    bill: Result<Arc<BillReport>, (StatusCode, String)>,
    took: Duration,
}

/// When a bill was begun, and the bill once it is there.
type Begun = (Timestamp, watch::Receiver<Option<Made>>);

/// Bills by the path of the API that tells them.
#[derive(Debug, Default)]
pub(super) struct MadeBills(Mutex<BTreeMap<String, Begun>>);

impl MadeBills {
    /// The bill, made by `make` where there is no fresh one; none where that takes longer than a page waits.
    pub(super) async fn get(
        &self,
        path: &str,
        now: Timestamp,
        make: impl Future<Output = Result<BillReport, Failure>> + Send + 'static,
    ) -> Result<Option<Arc<BillReport>>, Failure> {
        let mut made = self.begin(path, now, make);
        let waited = tokio::time::timeout(PATIENCE, made.wait_for(Option::is_some)).await;
        let found = waited.ok().and_then(Result::ok).and_then(|made| made.clone());
        match found.map(|made| made.bill) {
            None => Ok(None),
            Some(Ok(report)) => Ok(Some(report)),
            Some(Err((status, detail))) => {
                self.lock().remove(path);
                Err(Failure::new(status, detail))
            }
        }
    }

    fn begin(
        &self,
        path: &str,
        now: Timestamp,
        make: impl Future<Output = Result<BillReport, Failure>> + Send + 'static,
    ) -> watch::Receiver<Option<Made>> {
        let mut known = self.lock();
        // One that is being made is waited for, however long it takes; one whose making was cut off is begun anew.
        known.retain(|_, (begun, made)| {
            let took = made.borrow().as_ref().map(|made| made.took);
            let age = now.duration_since(*begun).unsigned_abs();
            took.map_or_else(|| made.has_changed().is_ok(), |took| age < FRESH.max(took * REST))
        });
        if let Some((_, made)) = known.get(path) {
            return made.clone();
        }
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let refused = |failure: Failure| {
                let status = StatusCode::from_u16(failure.status());
                (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), failure.detail().to_owned())
            };
            let began = Instant::now();
            let bill = make.await.map(Arc::new).map_err(refused);
            // Where nobody waits any more, it is there for the next one.
            sender.send_replace(Some(Made { bill, took: began.elapsed() }));
        });
        known.insert(path.to_owned(), (now, receiver.clone()));
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
