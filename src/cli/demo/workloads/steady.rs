//! Programs without a network: a worker, a cron job, and one that needs more memory than it was given.

use std::f64::consts::TAU;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use jiff::SignedDuration;
use signal_hook::consts::SIGTERM;

use crate::cli::demo::workloads::effort::{burn, hold};
use crate::domain::quantity::Bytes;

/// One turn of work and rest.
const TURN: Duration = Duration::from_millis(100);
/// The worker's CPU use rises and falls once in this time.
const WAVE: Duration = Duration::from_mins(1);
/// By this share of its mean.
const WAVE_HEIGHT: f64 = 0.3;

/// Uses CPU and memory steadily.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// Cores in use on average.
    #[arg(long, default_value_t = 0.1)]
    pub cpu: f64,
    /// Memory in use.
    #[arg(long, default_value = "40MiB")]
    pub memory: Bytes,
}

/// Works for a while and ends.
#[derive(Debug, Clone, Args)]
pub struct CronArgs {
    /// How long it works.
    #[arg(long, default_value = "3s")]
    pub duration: SignedDuration,
    /// Cores in use.
    #[arg(long, default_value_t = 0.3)]
    pub cpu: f64,
    /// Memory in use.
    #[arg(long, default_value = "32MiB")]
    pub memory: Bytes,
}

/// Grows until it has what it needs, or until the kernel kills it.
#[derive(Debug, Clone, Args)]
pub struct LeakyArgs {
    /// Growth per second.
    #[arg(long, default_value = "8MiB")]
    pub rate: Bytes,
    /// What it needs in total; it never takes more, with or without a limit.
    #[arg(long, default_value = "96MiB")]
    pub total: Bytes,
}

/// Whether SIGTERM has come.
fn told_to_stop() -> anyhow::Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&told)).context("cannot listen for SIGTERM")?;
    Ok(told)
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot write to stdout")
}

/// Turns until told to stop or until `length` has passed; `work` gets the time since the start.
fn turns(length: Option<Duration>, mut work: impl FnMut(Duration)) -> anyhow::Result<()> {
    let told = told_to_stop()?;
    let start = Instant::now();
    while !told.load(Ordering::Relaxed) && length.is_none_or(|length| start.elapsed() < length) {
        let turn = Instant::now();
        work(turn - start);
        thread::sleep(TURN.saturating_sub(turn.elapsed()));
    }
    Ok(())
}

fn check_cores(cpu: f64) -> anyhow::Result<()> {
    anyhow::ensure!((0.0..=1.0).contains(&cpu), "one thread uses from 0 to 1 core, not {cpu}");
    Ok(())
}

pub(super) fn worker(args: &WorkerArgs) -> anyhow::Result<()> {
    check_cores(args.cpu)?;
    let held = hold(args.memory);
    say(&format!("worker: uses {} cores and {}", args.cpu, args.memory))?;
    turns(None, |since| {
        let wave = (TAU * since.as_secs_f64() / WAVE.as_secs_f64()).sin();
        burn(TURN.mul_f64((args.cpu * (1.0 + WAVE_HEIGHT * wave)).min(1.0)));
    })?;
    drop(held);
    say("worker: ends as told")
}

pub(super) fn cron(args: &CronArgs) -> anyhow::Result<()> {
    check_cores(args.cpu)?;
    let length = Duration::try_from(args.duration).context("the duration is negative")?;
    let held = hold(args.memory);
    turns(Some(length), |_| burn(TURN.mul_f64(args.cpu)))?;
    drop(held);
    say(&format!("cron: done after {} s with {}", length.as_secs_f64(), args.memory))
}

pub(super) fn leaky(args: &LeakyArgs) -> anyhow::Result<()> {
    let step = Bytes::from_f64(args.rate.as_f64() * TURN.as_secs_f64());
    anyhow::ensure!(step > Bytes::ZERO, "the rate is nothing");
    say(&format!("leaky: grows by {} a second to {}", args.rate, args.total))?;
    let (mut held, mut pieces) = (Bytes::ZERO, Vec::new());
    let mut said = Ok(());
    turns(None, |_| {
        let missing = args.total.saturating_sub(held);
        if missing > Bytes::ZERO {
            let piece = missing.min(step);
            pieces.push(hold(piece));
            held += piece;
            if held >= args.total {
                said = say(&format!("leaky: has the {held} that it needs and grows no more"));
            }
        }
    })?;
    said
}
