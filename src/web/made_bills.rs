//! Bills that were made lately. A month of thousands of tasks takes seconds, and a page is not to wait for it: the
//! bill is made beside it, and is there for the next look.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::accounting::bill::report::BillReport;
use crate::web::backend::Failure;

/// So long a page waits for it.
const PATIENCE: Duration = Duration::from_millis(120);
/// A bill that is older is made again.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// A bill, or the status and the words of a refusal.
type Made = Result<Arc<BillReport>, (StatusCode, String)>;

/// Bills by the path of the API that tells them.
#[derive(Debug, Default)]
pub(super) struct MadeBills(Mutex<BTreeMap<String, (Timestamp, watch::Receiver<Option<Made>>)>>);

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
        match waited.ok().and_then(Result::ok).and_then(|made| made.clone()) {
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
            let waiting = made.borrow().is_none();
            (waiting && made.has_changed().is_ok()) || (!waiting && now.duration_since(*begun) < FRESH)
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
            let made = make.await.map(Arc::new).map_err(refused);
            let _ = sender.send(Some(made));
        });
        known.insert(path.to_owned(), (now, receiver.clone()));
        receiver
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Timestamp, watch::Receiver<Option<Made>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
