//! Runs a loop's pass periodically and on a signal, until shutdown; counts passes and failures.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::ports::telemetry::{PassDone, Telemetry};

/// What a loop is called and how often it runs at least.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// The name in logs and metrics.
    pub name: &'static str,
    /// From one pass to the next without a signal.
    pub interval: Duration,
}

/// Calls `pass` each interval, and at once whenever `signal` returns. A failed pass is logged and
/// counted; the next one begins from what is then, so nothing is retried in between.
pub async fn run<P, S, E>(
    schedule: Schedule,
    telemetry: Arc<dyn Telemetry>,
    shutdown: CancellationToken,
    mut signal: impl FnMut() -> S,
    mut pass: impl FnMut() -> P,
) where
    P: Future<Output = Result<(), E>>,
    S: Future<Output = ()>,
    E: std::error::Error,
{
    let mut timer = tokio::time::interval(schedule.interval);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due;
        tokio::select! {
            () = shutdown.cancelled() => return,
            at = timer.tick() => due = at.into_std(),
            () = signal() => due = Instant::now(),
        }
        let began = Instant::now();
        let failed = match pass().await {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(controller = schedule.name, error = %chain(&error), "pass failed");
                true
            }
        };
        let Schedule { name, interval } = schedule;
        let (late, took) = (began.duration_since(due), began.elapsed());
        telemetry.pass(&PassDone { name, interval, late, took, failed });
    }
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// A signal that never comes: for loops that only run by the clock.
pub async fn never() {
    std::future::pending::<()>().await;
}
