//! The shop: its specs, its engine's settings, and how a moment of it looks in one line.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;

use crate::api::dto::{RunDto, StatusDto};
use crate::cli::demo::load_generator::{LoadStats, LoadSummary};
use crate::cli::demo::load_profile::{FlashCrowd, LoadProfile};
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
    config.autoscaler.size_min_age = second * 20;
    config.autoscaler.size_soak = second * 5;
    // A day of two minutes is shorter than the slots of five that policy `loadline` learns from.
    config.estimator.policy = Some("vpa".to_owned());
    config.estimator.min_cpu = Some(Millicores::new(25));
    config.estimator.min_memory = Some(Bytes::mib(16));
    config.estimator.min_samples = Some(10);
    config
}

/// A day with a quiet night, a busy noon and a crowd in the afternoon.
pub(super) fn profile(seed: u64) -> LoadProfile {
    let crowd = FlashCrowd { at: 0.62, length: 0.08, requests_per_second: 14.0 };
    LoadProfile { night: 3.0, noon: 26.0, noise: 0.15, crowd: Some(crowd), seed }
}

/// A folder of the demo's own.
pub(super) fn temporary_folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("loadline-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// A decision in one line.
pub(super) fn line(since: Duration, decision: &Decision) -> String {
    let proposal = &decision.proposal;
    let (subject, outcome) = (proposal.kind.subject(), &decision.outcome);
    format!(
        "{:>5.1} s  #{} {subject}: {} ({outcome}): {}",
        since.as_secs_f64(),
        decision.id,
        proposal.kind,
        proposal.reason
    )
}

/// The shop at this moment in one line.
pub(super) fn moment(status: &StatusDto, runs: &[RunDto], stats: &LoadStats) -> String {
    let mut text = String::new();
    for workload in &status.workloads {
        let Some(wanted) = workload.wanted else { continue };
        // Writing to a string cannot fail.
        let _ = write!(text, "{} {}/{wanted}  ", workload.name, workload.ready);
    }
    for pool in &status.pools {
        let _ = write!(text, "{} {}/{} nodes  ", pool.name, pool.ready, pool.target);
    }
    let done = runs.iter().filter(|run| run.outcome == RunOutcome::Succeeded).count();
    let summary = stats.summary();
    let p95 = summary.ended.latency_quantile(0.95).map_or_else(|| "-".to_owned(), milliseconds);
    let rate = status.workloads.iter().find_map(|workload| workload.requests_per_second).unwrap_or(0.0);
    let _ = write!(text, "cron {done} runs  {rate:.0} req/s, p95 {p95}, {} failed", summary.failed());
    text
}

/// What became of the day's requests.
pub(super) fn load_words(summary: &LoadSummary) -> String {
    let quantile = |q| summary.ended.latency_quantile(q).map_or_else(|| "-".to_owned(), milliseconds);
    format!(
        "{} requests sent, {} failed, {} not sent; latency p50 {}, p95 {}, p99 {}",
        summary.sent,
        summary.failed(),
        summary.shed,
        quantile(0.5),
        quantile(0.95),
        quantile(0.99)
    )
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1000.0)
}
