//! In: a `UsageSource`, asked at each interval.
//! Out: the newest `AgentReading`, for whoever serves it.
//!
//! It keeps no history and computes no rates: a late scraper must see what is true now.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::usage::AgentReading;
use crate::ports::usage_source::UsageSource;

/// Reads `source` now and then every `interval` until `shutdown`, and publishes what it reads. A reading
/// that fails is logged and leaves the last one in place: its instants tell how old it is.
pub async fn run(
    source: Arc<dyn UsageSource>,
    interval: Duration,
    publish: watch::Sender<AgentReading>,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval);
    // After a stall the next reading is worth more than those that were missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        match source.read().await {
            Ok(reading) => {
                publish.send_replace(reading);
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "usage was not read");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use jiff::Timestamp;

    use crate::domain::node::NodeName;
    use crate::domain::quantity::{Bytes, Resources};
    use crate::domain::usage::NodeReading;
    use crate::ports::usage_source::UsageError;

    /// Tells at each reading how often it was asked; every second reading fails.
    struct Counting(AtomicU64);

    #[async_trait]
    impl UsageSource for Counting {
        async fn read(&self) -> Result<AgentReading, UsageError> {
            let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            if number.is_multiple_of(2) {
                let message = "every second reading fails".to_owned();
                return Err(UsageError::Malformed { source_name: "test".to_owned(), message });
            }
            let node = NodeReading {
                node: NodeName::new("small-1").expect("a name"),
                at: Timestamp::UNIX_EPOCH,
                size: Resources::ZERO,
                cpu_seconds: 0.0,
                working_set: Bytes::ZERO,
                tasks: number,
            };
            Ok(AgentReading { tasks: Vec::new(), nodes: vec![node] })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_reading_that_succeeded_is_published_until_the_end() {
        let source = Arc::new(Counting(AtomicU64::new(0)));
        let (publish, readings) = watch::channel(AgentReading::default());
        let shutdown = CancellationToken::new();
        let sampler =
            tokio::spawn(run(Arc::clone(&source) as _, Duration::from_secs(5), publish, shutdown.clone()));
        let newest =
            |readings: &watch::Receiver<AgentReading>| readings.borrow().nodes.first().map(|n| n.tasks);

        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(newest(&readings), Some(1), "the first reading does not wait");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((source.0.load(Ordering::Relaxed), newest(&readings)), (2, Some(1)));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(newest(&readings), Some(3));

        shutdown.cancel();
        sampler.await.expect("its end");
        assert_eq!(source.0.load(Ordering::Relaxed), 3);
    }
}
