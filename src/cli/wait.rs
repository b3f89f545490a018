//! Waiting until what was asked for has happened: rollouts and runs, with a progress bar each on a
//! terminal and a line a step elsewhere. Out: nothing if all went well, otherwise the ending.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};

use crate::api::client::Client;
use crate::api::dto::{RunDto, TaskDto, WorkloadDto};
use crate::cli::change::duration;
use crate::cli::cron::runs_of;
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{plain, say_error};
use crate::domain::rollout::RolloutState;
use crate::domain::task::TaskState;
use crate::domain::world::RunOutcome;

/// From one look at the engine to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Whether to wait, and how long.
#[derive(Debug, Clone, Args)]
pub(super) struct Wait {
    /// Wait until it is done; say by the exit code how it ended.
    #[arg(long)]
    pub(super) wait: bool,
    /// Wait no longer than this.
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
    timeout: Option<SignedDuration>,
}

impl Wait {
    /// The instant at which patience ends.
    fn deadline(&self) -> Option<Instant> {
        let timeout = self.timeout.and_then(|timeout| Duration::try_from(timeout).ok());
        timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }
}

/// How far a service is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// So many of so many instances are there.
    Going { there: u32, wanted: u32, note: String },
    /// It is as declared.
    Done,
    /// It will not be as declared.
    Failed(String),
}

/// When the last rollout of each service began, before something was asked for: how those ended is not
/// how that ends.
pub(super) type Earlier = BTreeMap<String, Timestamp>;

/// The rollouts of now.
pub(super) async fn earlier(client: &Client) -> anyhow::Result<Earlier> {
    let workloads = client.workloads().await?;
    let begun = workloads.into_iter().filter_map(|each| Some((each.name, each.rollout?.started_at)));
    Ok(begun.collect())
}

fn progress(workload: &WorkloadDto, tasks: &[TaskDto], earlier: Option<Timestamp>) -> Progress {
    let Some(wanted) = workload.wanted else { return Progress::Done };
    let there = |revision: u64| {
        let ready = tasks.iter().filter(|task| task.state == TaskState::Running && task.revision == revision);
        ready.count() as u32
    };
    let note = workload.notes.first().cloned().unwrap_or_default();
    let news = workload.rollout.as_ref().filter(|rollout| {
        rollout.state.is_open() || earlier.is_none_or(|earlier| rollout.started_at > earlier)
    });
    let (revision, open) = match news {
        None => (workload.revision, false),
        Some(rollout) => match &rollout.state {
            RolloutState::RolledBack { reason } => {
                return Progress::Failed(format!("revision {} was rolled back: {reason}", rollout.to));
            }
            RolloutState::Failing { reason } => {
                return Progress::Failed(format!(
                    "revision {} does not become healthy: {reason}",
                    rollout.to
                ));
            }
            state => (rollout.to, state.is_open()),
        },
    };
    if !open && workload.ready == wanted {
        return Progress::Done;
    }
    Progress::Going { there: there(revision).min(wanted), wanted, note }
}

/// Waits until each of the services is as declared, or cannot be.
pub(super) async fn for_rollouts(
    client: &Client,
    names: &[String],
    earlier: &Earlier,
    wait: &Wait,
) -> anyhow::Result<()> {
    let deadline = wait.deadline();
    let bars = Bars::new(names)?;
    let mut failed: Vec<String> = Vec::new();
    let mut waiting: Vec<&String> = names.iter().collect();
    loop {
        let mut going = Vec::new();
        for name in waiting {
            let workload = client.workload(name).await?;
            let tasks = client.tasks(Some(name), false, usize::MAX).await?;
            let progress = progress(&workload, &tasks, earlier.get(name).copied());
            bars.show(name, &progress);
            match progress {
                Progress::Going { .. } => going.push(name),
                Progress::Done => {}
                Progress::Failed(reason) => failed.push(format!("{name}: {reason}")),
            }
        }
        waiting = going;
        if waiting.is_empty() {
            break;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let names: Vec<&str> = waiting.iter().map(|name| name.as_str()).collect();
            return Err(ended(Exit::StillGoing, format!("not done in time: {}", names.join(", "))));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    if failed.is_empty() { Ok(()) } else { Err(ended(Exit::EndedBadly, failed.join("\n"))) }
}

/// Progress on a terminal; lines where there is none.
struct Bars {
    bars: BTreeMap<String, ProgressBar>,
    /// Kept, since bars vanish with it.
    _all: MultiProgress,
}

impl Bars {
    fn new(names: &[String]) -> anyhow::Result<Self> {
        let all = MultiProgress::new();
        let widest = names.iter().map(String::len).max().unwrap_or(0);
        let style = ProgressStyle::with_template("{prefix} [{bar:24}] {pos}/{len} {elapsed} {wide_msg}")?
            .progress_chars("=> ");
        let bar = |name: &String| {
            let bar = all.add(ProgressBar::new(0));
            bar.set_style(style.clone());
            bar.set_prefix(format!("{name:widest$}"));
            (name.clone(), bar)
        };
        let bars = names.iter().map(bar).collect();
        Ok(Self { bars, _all: all })
    }

    fn show(&self, name: &str, progress: &Progress) {
        let Some(bar) = self.bars.get(name) else { return };
        let (before, text) = (bar.message(), words(progress));
        if let Progress::Going { there, wanted, .. } = progress {
            bar.set_length(u64::from(*wanted));
            bar.set_position(u64::from(*there));
        }
        if *progress == Progress::Done {
            let all = bar.length().unwrap_or_default().max(1);
            bar.set_length(all);
            bar.set_position(all);
        }
        bar.set_message(text.clone());
        if !matches!(progress, Progress::Going { .. }) {
            bar.abandon();
        }
        // A hidden bar swallows its text: somebody may read a log instead.
        if bar.is_hidden() && before != text {
            say_error(&format!("{name}: {text}"));
        }
    }
}

fn words(progress: &Progress) -> String {
    match progress {
        Progress::Going { there, wanted, note } if note.is_empty() => {
            format!("{there} of {wanted} instances")
        }
        Progress::Going { there, wanted, note } => {
            format!("{there} of {wanted} instances; {}", plain(note))
        }
        Progress::Done => "done".to_owned(),
        Progress::Failed(reason) => plain(reason),
    }
}

/// Waits for the end of the run that was asked for after `before`, the newest runs of then.
pub(super) async fn for_run(
    client: &Client,
    name: &str,
    before: &[RunDto],
    wait: &Wait,
) -> anyhow::Result<RunDto> {
    let deadline = wait.deadline();
    let spinner = ProgressBar::new_spinner();
    spinner.set_message(format!("{name} runs"));
    loop {
        let runs = client.runs(&runs_of(name), 100).await?;
        let fresh = |run: &&RunDto| run.manual && before.iter().all(|earlier| earlier.at != run.at);
        let run = runs.iter().filter(fresh).min_by_key(|run| run.at);
        if let Some(run) = run.filter(|run| run.outcome != RunOutcome::Active) {
            spinner.finish_and_clear();
            return Ok(run.clone());
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(ended(Exit::StillGoing, format!("the run of {name} is not done in time")));
        }
        spinner.tick();
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
