//! Requests to a front door that go on until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::machine::eventually;

/// Clients that send one request after another.
const CLIENTS: usize = 8;

pub(super) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    failures: Arc<std::sync::Mutex<Vec<String>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(port: u16) -> Self {
        let (stop, sent, failures) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::default());
        let clients = (0..CLIENTS)
            .map(|_| {
                let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
                let failures: Arc<std::sync::Mutex<Vec<String>>> = Arc::clone(&failures);
                tokio::spawn(async move {
                    let http = crate::http::client().build().expect("a client");
                    while !stop.load(Ordering::Relaxed) {
                        let answer = http.get(format!("http://127.0.0.1:{port}/work?ms=1")).send().await;
                        sent.fetch_add(1, Ordering::Relaxed);
                        match answer {
                            Ok(answer) if answer.status().is_success() => {}
                            Ok(answer) => failures.lock().expect("a lock").push(answer.status().to_string()),
                            Err(error) => failures.lock().expect("a lock").push(format!("{error:?}")),
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
            })
            .collect();
        Self { stop, sent, failures, clients }
    }

    /// How many were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many were sent: on a busy machine they take their time.
    pub(super) async fn reaches(&self, least: u64) {
        eventually(&format!("{least} requests are sent"), || self.sent() >= least).await;
    }

    /// How many were sent, and what failed.
    pub(super) async fn end(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.await.expect("a client");
        }
        let failures = self.failures.lock().expect("a lock").clone();
        (self.sent.load(Ordering::Relaxed), failures)
    }
}

impl Drop for Load {
    /// A test that fails sends nothing more, while its engine ends and others get its port.
    fn drop(&mut self) {
        for client in &self.clients {
            client.abort();
        }
    }
}
