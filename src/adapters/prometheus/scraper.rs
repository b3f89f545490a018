//! In: an agent's endpoint.
//! Out: `AgentReading`.
//!
//! Scrapes an agent. How that goes is counted by whoever asks.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;

use super::exposition;
use super::fetch;
use crate::domain::usage::AgentReading;
use crate::ports::usage_source::{UsageError, UsageSource};

/// Reads usage from an agent's endpoint over HTTP.
#[derive(Debug)]
pub struct Scraper {
    client: Client,
    endpoint: String,
}

impl Scraper {
    /// A scraper of `endpoint`, for example `http://127.0.0.1:9100/metrics`, that waits `timeout` for the
    /// whole answer.
    pub fn new(endpoint: &str, timeout: Duration) -> Result<Self, UsageError> {
        Ok(Self { client: fetch::client(timeout)?, endpoint: endpoint.to_owned() })
    }

    fn decode(&self, text: &str) -> Result<AgentReading, UsageError> {
        exposition::decode(text).map_err(|error| UsageError::Malformed {
            source_name: self.endpoint.clone(),
            message: error.to_string(),
        })
    }
}

#[async_trait]
impl UsageSource for Scraper {
    async fn read(&self) -> Result<AgentReading, UsageError> {
        match fetch::text(&self.client, &self.endpoint).await {
            Ok(text) => self.decode(&text),
            Err(error) => Err(error.of(&self.endpoint)),
        }
    }
}
