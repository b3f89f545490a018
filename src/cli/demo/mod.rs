//! `loadline demo`: a small shop of real processes through a compressed day. It ends with what was
//! requested, used and recommended, and fails unless everything that it promises really happened. With `--scenario`: a
//! reactive policy of counts and Loadline's own beside each other on the same load (`duel`).

mod duel;
pub mod load_generator;
pub mod load_profile;
mod picture;
mod scenario;
mod shop;
mod story;
mod tally;
pub mod workloads;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::accounting::report::Report;
use crate::api::client::Client;
use crate::api::dto::{ApplyRequest, RunDto, SpecFile, StatusDto, TaskDto};
use crate::app::{App, AppConfig};
use crate::cli::demo::duel::Plan;
use crate::cli::demo::load_generator::{LoadGenerator, LoadStats};
use crate::cli::demo::scenario::Scenario;
use crate::cli::demo::story::{Kept, Story};
use crate::cli::output::{now, say, say_error};
use crate::cli::up::{LogFormat, start_logging, wait_for_signal};
use crate::domain::decision::Decision;

/// The service that the load generator calls.
const WEB: &str = "web";
/// CPU that each request burns, in milliseconds.
const WORK_MS: u32 = 8;
/// The shop must be open within this time.
const OPENING_TIME_MAX: Duration = Duration::from_secs(30);
/// After the day, capacity gets this long to leave.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(45);
/// Tasks get this long to stop at the end.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);
/// From one look at the engine to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// `loadline demo`
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The load is the same for the same seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds that the compressed day lasts.
    #[arg(long, default_value_t = 110, value_parser = clap::value_parser!(u64).range(60..=3600))]
    duration: u64,
    /// Where state and logs are kept; a new temporary folder where absent.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Leave everything running at the end.
    #[arg(long)]
    keep: bool,
    /// Write the recorded usage as a trace to this file (`.parquet` or `.csv`).
    #[arg(long)]
    record: Option<PathBuf>,
    /// Instead of the shop: the same load on two services, one scaled by HPA, one by Loadline's own policy.
    #[arg(long, value_enum, conflicts_with_all = ["duration", "keep", "record"])]
    scenario: Option<Scenario>,
    /// Minutes that the scenario's four days take together.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=240), requires = "scenario")]
    minutes: u64,
    /// Write plots and figures of the scenario as an HTML page to this file.
    #[arg(long, value_name = "FILE", requires = "scenario")]
    page: Option<PathBuf>,
}

pub(super) fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    start_logging(LogFormat::Text, "error");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(scenario) = args.scenario {
        let length = Duration::from_secs(args.minutes * 60);
        let plan = Plan { scenario, seed: args.seed, length, data_dir: args.data_dir, page: args.page };
        runtime.block_on(duel::run(&plan))?;
        return Ok(ExitCode::SUCCESS);
    }
    let kept = runtime.block_on(day(args))?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the day and tells whether every promise was kept.
async fn day(args: DemoArgs) -> anyhow::Result<bool> {
    let (folder, temporary) = match &args.data_dir {
        Some(folder) => (folder.clone(), false),
        None => (shop::temporary_folder()?, true),
    };
    let app = App::start(AppConfig::new(folder.clone(), shop::engine_config())?).await?;
    let result = tokio::select! {
        told = tell(&app, &args) => told,
        signal = wait_for_signal() => signal.and_then(|()| Err(anyhow::anyhow!("interrupted"))),
    };
    if args.keep && result.is_ok() {
        say(&format!(
            "\nEverything goes on running at http://{} until Ctrl-C; data in {}",
            app.address(),
            folder.display()
        ))?;
        wait_for_signal().await?;
    }
    app.shutdown(Some(STOP_TIME_MAX)).await;
    if temporary {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    result
}

async fn tell(app: &App, args: &DemoArgs) -> anyhow::Result<bool> {
    let client = Client::new(&format!("http://{}", app.address()), "demo");
    let files = vec![SpecFile { name: "shop.toml".to_owned(), text: shop::specs()? }];
    let request = ApplyRequest { files, message: "the shop opens".to_owned(), dry_run: false };
    let _: crate::api::dto::Changed = client.post("/v1/apply", &request).await?;
    let opened = now();
    let opening = open(&client).await?;
    for line in &opening.engine.limitations {
        say_error(&format!("warning: {line}"));
    }
    let port = opening.workloads.iter().find(|workload| workload.name == WEB);
    let port = port.and_then(|web| web.front_doors.values().next().copied()).context("web has no address")?;
    say(&format!(
        "the shop is open: web at http://127.0.0.1:{port}, API at http://{}; a day takes {} s",
        app.address(),
        args.duration
    ))?;

    let stats = Arc::new(LoadStats::default());
    let (closed, day) = (CancellationToken::new(), Duration::from_secs(args.duration));
    let generator = LoadGenerator {
        target: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        path: format!("/work?ms={WORK_MS}"),
        days: vec![shop::profile(args.seed)],
        day,
    };
    let (counted, ended) = (Arc::clone(&stats), closed.clone());
    // An interrupted day sends nothing to an address that is about to be somebody else's.
    let _closed_at_last = closed.clone().drop_guard();
    let load = tokio::spawn(async move { generator.run(counted, ended).await });
    let mut story = Story::default();
    let watched = watch(&client, &mut story, &stats, day).await;
    closed.cancel();
    load.await??;
    watched?;

    let report: Report = client.get(&format!("/v1/report?from={opened}")).await?;
    say(&format!("\n{}", crate::cli::report_table::report_table(&report)))?;
    say(&format!("\n{}", shop::load_words(&stats.summary())))?;
    if let Some(file) = &args.record {
        crate::cli::dataset::record(&client, file, 1, Some(opened), None).await?;
    }
    conclude(&story)
}

/// Waits until the shop's services are ready.
async fn open(client: &Client) -> anyhow::Result<StatusDto> {
    let began = Instant::now();
    let spinner = ProgressBar::new_spinner().with_message("the shop is built up");
    loop {
        spinner.tick();
        let status: StatusDto = client.get("/v1/status").await?;
        if status.workloads.iter().any(|workload| workload.name == WEB && workload.ready > 0) {
            spinner.finish_and_clear();
            return Ok(status);
        }
        if began.elapsed() > OPENING_TIME_MAX {
            anyhow::bail!("the shop did not open:\n{}", crate::cli::status::render(&status));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Looks at the engine until the day is over and capacity has left again.
async fn watch(client: &Client, story: &mut Story, stats: &LoadStats, day: Duration) -> anyhow::Result<()> {
    let bar = ProgressBar::new(day.as_secs());
    bar.set_style(ProgressStyle::with_template("{bar:24} {elapsed} {msg}")?);
    let began = Instant::now();
    let mut decisions_told = 0;
    loop {
        let status: StatusDto = client.get("/v1/status").await?;
        let runs: Vec<RunDto> = client.get("/v1/runs?workload=stocktake&limit=100").await?;
        let leaky: Vec<TaskDto> = client.get("/v1/tasks?workload=leaky&ended=true&limit=100").await?;
        let sizes: Vec<Decision> = client.get("/v1/decisions?subject=leaky&limit=100").await?;
        story.note_status(&status);
        story.note_runs(&runs);
        story.note_leaky(&leaky);
        story.note_decisions(&sizes);
        let newest: Vec<Decision> = client.get("/v1/decisions?limit=20").await?;
        for decision in newest.iter().rev().filter(|decision| decision.id.0 > decisions_told) {
            let line = shop::line(began.elapsed(), decision);
            // A hidden bar swallows lines: there is no terminal, and somebody may read a log.
            if bar.is_hidden() {
                say(&line)?;
            } else {
                bar.println(line);
            }
        }
        decisions_told = newest.first().map_or(decisions_told, |decision| decision.id.0.max(decisions_told));
        bar.set_position(began.elapsed().as_secs().min(day.as_secs()));
        bar.set_message(shop::moment(&status, &runs, stats));
        let over = began.elapsed() > day;
        if (over && story.is_complete()) || began.elapsed() > day + CLOSING_TIME_MAX {
            bar.finish();
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Says which promises were kept.
fn conclude(story: &Story) -> anyhow::Result<bool> {
    say("")?;
    for promise in story.promises() {
        let mark = match promise.kept {
            Kept::Yes => "yes",
            Kept::No => "NO",
            Kept::NotEnforced => "not enforced here",
        };
        say(&format!("{mark:>17}  {}: {}", promise.what, promise.seen))?;
    }
    Ok(story.is_complete())
}
