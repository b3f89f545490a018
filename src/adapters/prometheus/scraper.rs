//! In: an agent's endpoint.
//! Out: `AgentReading`.
//!
//! Scrapes an agent and counts how that went.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Client;

use super::exposition;
use super::fetch::{self, FetchError};
use crate::domain::usage::AgentReading;
use crate::ports::usage_source::{UsageError, UsageSource};

/// How the scrapes of an agent went so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrapeStats {
    /// Scrapes that gave a reading.
    pub ok: u64,
    /// Scrapes that failed, late ones not included.
    pub failed: u64,
    /// Scrapes without a whole answer in time.
    pub late: u64,
    /// What the last one that failed or was late said.
    pub last_error: Option<String>,
    /// The newest sample so far, by the agent's clock.
    pub last_sample_at: Option<Timestamp>,
    /// How long the last scrape took, failed ones included.
    pub last_duration: Option<Duration>,
}

/// Reads usage from an agent's endpoint over HTTP.
#[derive(Debug)]
pub struct Scraper {
    client: Client,
    endpoint: String,
    stats: Mutex<ScrapeStats>,
}

impl Scraper {
    /// A scraper of `endpoint`, for example `http://127.0.0.1:9100/metrics`, that waits `timeout` for the
    /// whole answer.
    pub fn new(endpoint: &str, timeout: Duration) -> Result<Self, UsageError> {
        Ok(Self { client: fetch::client(timeout)?, endpoint: endpoint.to_owned(), stats: Mutex::default() })
    }

    /// How the scrapes went so far.
    pub fn stats(&self) -> ScrapeStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn decode(&self, text: &str) -> Result<AgentReading, UsageError> {
        exposition::decode(text).map_err(|error| UsageError::Malformed {
            source_name: self.endpoint.clone(),
            message: error.to_string(),
        })
    }

    fn count(&self, result: &Result<AgentReading, UsageError>, late: bool, took: Duration) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.last_duration = Some(took);
        match result {
            Ok(reading) => {
                stats.ok += 1;
                let of_tasks = reading.tasks.iter().map(|task| task.at);
                let newest = of_tasks.chain(reading.nodes.iter().map(|node| node.at)).max();
                stats.last_sample_at = stats.last_sample_at.max(newest);
            }
            Err(error) => {
                if late {
                    stats.late += 1;
                } else {
                    stats.failed += 1;
                }
                stats.last_error = Some(chain(error));
            }
        }
    }
}

#[async_trait]
impl UsageSource for Scraper {
    async fn read(&self) -> Result<AgentReading, UsageError> {
        let began = Instant::now();
        let fetched = fetch::text(&self.client, &self.endpoint).await;
        let late = matches!(fetched, Err(FetchError::Late(_)));
        let result = match fetched {
            Ok(text) => self.decode(&text),
            Err(error) => Err(error.of(&self.endpoint)),
        };
        self.count(&result, late, began.elapsed());
        result
    }
}

/// An error with its causes, for a person.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
