//! `loadline simulate`: weeks of a cluster that is not there, past policies of nodes.
//!
//! In: how large, how long, a seed, faults, policies. Out: a table, JSON or a page with charts. Not here: the
//! simulation and its figures (`simulation`), how charts look (`charts`).

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::charts::simulation as drawn;
use crate::cli::Global;
use crate::cli::backtest::write;
use crate::cli::backtest_run::progress;
use crate::cli::backtest_table::say_cells;
use crate::cli::change::duration;
use crate::cli::output::{Format, say, say_json, say_raw};
use crate::scaling::counts::catalogue::CountRecipe;
use crate::simulation::engine::{Caller, Setting, simulate};
use crate::simulation::faults::Faults;
use crate::simulation::machines::{Machine, all, named};
use crate::simulation::policies::{self, ALL};
use crate::simulation::scene::{Scene, Wish};
use crate::simulation::tally::{Effort, Outcome};

/// `loadline simulate`
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// At most so many nodes of each type.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    nodes: u32,
    /// Tasks at the peak, about.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    tasks: u32,
    /// How long; parts of days are fine.
    #[arg(long, default_value_t = 1.0, value_name = "DAYS")]
    days: f64,
    /// What chance is drawn from: the same seed gives the same week.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// What goes wrong: `none`, `all`, or KEY=RATE,... with node-loss and silence per node and day, and shares
    /// of slow-boot, failed-boot and lost-messages.
    #[arg(long, default_value = "none", value_name = "FAULTS")]
    faults: Faults,
    /// A policy of nodes: fixed, cluster-autoscaler, karpenter, loadline, or loadline:RISK with room for runs that
    /// nobody announced (`headroom_risk`), or loadline:overcommit=RISK with CPU lent by predicted peaks of nodes; repeat it to compare. Default: the first four.
    #[arg(long = "policy", value_name = "POLICY")]
    policies: Vec<String>,
    /// The policy of counts of services, the same for all policies of nodes; as in `backtest --load`.
    #[arg(long, default_value = "loadline", value_name = "POLICY")]
    counts: String,
    /// Types of machines, such as m7i.xlarge,c7i.2xlarge. Default: c7i, m7i and r7i of all sizes.
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    types: Vec<String>,
    /// Usual time until a new node takes tasks.
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration)]
    boot: SignedDuration,
    /// From one look of the scheduler to the next.
    #[arg(long, default_value = "15s", value_name = "DURATION", value_parser = duration)]
    tick: SignedDuration,
    /// With --output json or html: write it to this file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What a run came to, for programs.
#[derive(Debug, Serialize)]
struct Said<'a> {
    tasks: u32,
    days: f64,
    seed: u64,
    faults: Faults,
    policies: Vec<One<'a>>,
    /// The most memory that the process had, in MiB.
    peak_memory_mib: Option<u64>,
}

#[derive(Debug, Serialize)]
struct One<'a> {
    price_per_hour: f64,
    over_bound: f64,
    #[serde(flatten)]
    outcome: &'a Outcome,
    effort: &'a Effort,
}

impl SimulateArgs {
    fn machines(&self) -> anyhow::Result<Vec<Machine>> {
        if self.types.is_empty() {
            return Ok(all(self.boot));
        }
        named(&self.types, self.boot).map_err(anyhow::Error::msg)
    }

    fn policies(&self) -> Vec<&str> {
        if self.policies.is_empty() {
            return ALL.to_vec();
        }
        self.policies.iter().map(String::as_str).collect()
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.tasks > 0 && self.nodes > 0, "--tasks and --nodes should be at least 1");
        let days = self.days.is_finite() && self.days > 0.0 && self.days <= 366.0;
        anyhow::ensure!(days, "--days should be a number above 0, at most 366");
        for policy in self.policies() {
            policies::check(policy).map_err(anyhow::Error::msg)?;
        }
        Ok(())
    }

    fn words(&self) -> String {
        format!(
            "About {} tasks at the peak for {} days, seed {}, counts by {}, nodes boot in about {:#}.",
            self.tasks, self.days, self.seed, self.counts, self.boot
        )
    }
}

pub(super) fn run(global: &Global, args: &SimulateArgs) -> anyhow::Result<()> {
    args.check()?;
    let machines = args.machines()?;
    let counts = CountRecipe::parse(&args.counts)?;
    let wish = Wish { tasks: args.tasks, days: args.days, seed: args.seed, counts };
    let bar = progress("making the scene", args.tasks as usize);
    let scene =
        Scene::of(&wish, &mut |done| bar.set_position(u64::from(done))).map_err(anyhow::Error::msg)?;
    bar.finish_and_clear();
    let setting = Setting { faults: args.faults, tick: args.tick, ..Setting::new(machines, args.nodes) };
    let (mut outcomes, mut efforts) = (Vec::new(), Vec::new());
    for policy in args.policies() {
        let (outcome, effort) = past(&scene, &setting, policy)?;
        outcomes.push(outcome);
        efforts.push(effort);
    }
    show(global.output, args, &outcomes, &efforts)
}

fn past(scene: &Scene, setting: &Setting, policy: &str) -> anyhow::Result<(Outcome, Effort)> {
    let seconds = |at: Timestamp| at.duration_since(scene.begin).as_secs().max(0).unsigned_abs();
    let bar = progress(policy, usize::try_from(seconds(scene.end)).unwrap_or(usize::MAX));
    let mut policy = policies::named(policy, scene, &setting.machines).map_err(anyhow::Error::msg)?;
    let began = Instant::now();
    let stopwatch = || began.elapsed();
    let mut caller = Caller { stopwatch: &stopwatch, progress: &mut |at| bar.set_position(seconds(at)) };
    let done = simulate(scene, setting, policy.as_mut(), &mut caller).map_err(anyhow::Error::msg)?;
    bar.finish_and_clear();
    Ok(done)
}

fn show(output: Format, args: &SimulateArgs, outcomes: &[Outcome], efforts: &[Effort]) -> anyhow::Result<()> {
    let peak = peak_memory();
    match output {
        Format::Table => {
            say(&args.words())?;
            say_cells(&drawn::figures(outcomes))?;
            say_cells(&drawn::tasks(outcomes))?;
            say_cells(&drawn::efforts(outcomes, efforts))?;
            if let Some(peak) = peak {
                say(&format!("peak memory of this process: {peak} MiB"))?;
            }
            Ok(say(drawn::LEGEND)?)
        }
        Format::Json => {
            let one = |(outcome, effort)| One {
                price_per_hour: Outcome::price_per_hour(outcome),
                over_bound: outcome.over_bound(),
                outcome,
                effort,
            };
            let policies = outcomes.iter().zip(efforts).map(one).collect();
            let (tasks, days, seed, faults) = (args.tasks, args.days, args.seed, args.faults);
            let said = Said { tasks, days, seed, faults, policies, peak_memory_mib: peak };
            match &args.file {
                Some(file) => write(file, &serde_json::to_vec_pretty(&said)?),
                None => say_json(&said),
            }
        }
        Format::Html => {
            let page = drawn::page(&args.words(), outcomes, efforts);
            match &args.file {
                Some(file) => write(file, page.as_bytes()),
                None => Ok(say_raw(&page)?),
            }
        }
    }
}

/// The most memory that this process had, in MiB, where the system tells it.
fn peak_memory() -> Option<u64> {
    let status = procfs::process::Process::myself().ok()?.status().ok()?;
    Some(status.vmhwm? / 1024)
}
