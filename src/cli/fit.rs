//! `loadline fit`: parameters of a policy, fitted to traces with one command: the model of Loadline's own
//! estimator, or the weights of a baseline (`fit_weights`).

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::analytics::read_trace;
use crate::cli::exit::{Exit, ended};
use crate::cli::fit_weights;
use crate::cli::output::say_error;
use crate::domain::trace::TraceRow;
use crate::replay::fit::{FitPlan, FittedModel};
use crate::replay::grid::Trace;

/// `loadline fit`
#[derive(Debug, Args)]
pub(super) struct FitArgs {
    /// The file to write.
    file: PathBuf,
    /// Usage traces: `.parquet` or `.csv`.
    #[arg(long, required = true, num_args = 1..)]
    trace: Vec<PathBuf>,
    /// Whose parameters. The other arguments are of `loadline`; `autopilot-ml` is always fitted on every other
    /// workload and the first half of the time.
    #[arg(long, value_enum, default_value_t = Fitted::Loadline)]
    policy: Fitted,
    /// Fit on these workloads only, so that the others can judge (`loadline backtest --model`).
    #[arg(long, value_enum, default_value_t = Half::All)]
    workloads: Half,
    /// Fit on the first so large a share of each trace's time only, so that the rest can judge (`loadline
    /// backtest --after`).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    until: Option<f64>,
    /// Trees of a forest.
    #[arg(long, default_value_t = FitPlan::default().trees)]
    trees: usize,
    /// Leaves of a tree.
    #[arg(long, default_value_t = FitPlan::default().leaves)]
    leaves: usize,
    /// Lessons of each trace that the splits of a tree are chosen by.
    #[arg(long, default_value_t = FitPlan::default().draw)]
    draw: usize,
    /// The seed.
    #[arg(long, default_value_t = FitPlan::default().seed)]
    seed: u64,
}

/// Policies that have parameters to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fitted {
    /// Loadline's own.
    Loadline,
    /// A baseline whose product publishes no weights.
    AutopilotMl,
}

/// Workloads of a trace, by their place in the order of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Half {
    /// Every workload.
    All,
    /// The first, the third, and so on.
    Even,
    /// The second, the fourth, and so on.
    Odd,
}

impl Half {
    /// Keeps the rows of these workloads.
    pub(super) fn keep(self, rows: &mut Vec<TraceRow>) {
        let names: std::collections::BTreeSet<String> = rows.iter().map(|row| row.workload.clone()).collect();
        let kept: std::collections::BTreeSet<&String> = names
            .iter()
            .enumerate()
            .filter(|(place, _)| match self {
                Self::All => true,
                Self::Even => place % 2 == 0,
                Self::Odd => place % 2 == 1,
            })
            .map(|(_, name)| name)
            .collect();
        rows.retain(|row| kept.contains(&row.workload));
    }
}

/// A share of a trace's time.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let expected = || format!("found `{text}`, expected a share of the time above 0 and below 1");
    text.parse().ok().filter(|share| 0.0 < *share && *share < 1.0).ok_or_else(expected)
}

/// Keeps the rows of the first part of the time.
fn keep_until(share: f64, rows: &mut Vec<TraceRow>) {
    let times = || rows.iter().map(|row| row.time);
    if let (Some(first), Some(last)) = (times().min(), times().max()) {
        let end = first + ((last - first) as f64 * share) as i64;
        rows.retain(|row| row.time < end);
    }
}

/// Reads a fitted model from a file.
pub(super) fn read_model(path: &Path) -> anyhow::Result<FittedModel> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    FittedModel::read(&text).with_context(|| format!("{} is no fitted model", path.display()))
}

pub(super) fn run(args: &FitArgs) -> anyhow::Result<()> {
    if args.policy == Fitted::AutopilotMl {
        if args.workloads != Half::All || args.until.is_some() {
            return Err(ended(
                Exit::BadInput,
                "--workloads and --until are for --policy loadline; autopilot-ml has its half",
            ));
        }
        return fit_weights::fit(&args.trace, &args.file);
    }
    let mut traces = Vec::new();
    for path in &args.trace {
        let mut rows = read_trace(path)?;
        args.workloads.keep(&mut rows);
        if let Some(share) = args.until {
            keep_until(share, &mut rows);
        }
        let trace = Trace::new(&path.display().to_string(), &rows, None)
            .with_context(|| path.display().to_string())?;
        traces.push(trace);
    }
    let plan = FitPlan { trees: args.trees, leaves: args.leaves, draw: args.draw, seed: args.seed };
    let text = FittedModel::fit(&traces, plan)?.write()?;
    std::fs::write(&args.file, text).with_context(|| format!("cannot write {}", args.file.display()))?;
    say_error(&format!("wrote {}", args.file.display()));
    Ok(())
}
