//! The shop: its specs, its engine's settings, and how a moment of it looks in one line.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;

use crate::api::dto::{RunDto, StatusDto};
use crate::app::Settings;
use crate::cli::demo::load_generator::LoadStats;
use crate::config::EngineConfig;
use crate::domain::decision::Decision;
use crate::domain::quantity::{Bytes, Millicores};
use crate::domain::world::RunOutcome;

/// The specs, with `LOADLINE` in place of the binary's path.
const SPECS: &str = include_str!("shop.toml");

/// The specs of the shop, run by this very binary.
pub(super) fn specs() -> anyhow::Result<String> {
    let executable = std::env::current_exe().context("cannot tell this binary's path")?;
    let path = executable.to_str().context("this binary's path is not text")?;
    Ok(SPECS.replace("\"LOADLINE\"", &serde_json::to_string(path)?))
}

/// Engine settings in which minutes are seconds.
pub(super) fn engine_config() -> EngineConfig {
    let second = SignedDuration::from_secs(1);
    let mut config = EngineConfig::default();
    config.api.listen.set_port(0);
    config.agent.sample_interval = second;
    config.scrape.interval = second;
    config.autoscaler.interval = second * 2;
    config.recommender.interval = second * 2;
    config.estimator.min_cpu = Some(Millicores::new(25));
    config.estimator.min_memory = Some(Bytes::mib(16));
    config.estimator.min_samples = Some(10);
    config
}
