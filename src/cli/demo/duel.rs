//! Runs a scenario: the same load at the same time on two services of one engine, and what came of each. Real processes
//! behind the real front door; nothing is replayed.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::client::Client;
use crate::api::dto::{ApplyRequest, Changed, SpecFile, StatusDto, TaskDto};
use crate::app::{App, AppConfig};
use crate::charts::cells::Cells;
use crate::charts::run::page;
use crate::cli::backtest::write;
use crate::cli::backtest_table::say_cells;
use crate::cli::demo::load_generator::{LoadGenerator, LoadStats};
use crate::cli::demo::picture::{drawing, pictures};
use crate::cli::demo::scenario::{DAYS, SIDES, Scenario, engine_config};
use crate::cli::demo::tally::{Figures, Look, figures, table, verdict};
use crate::cli::demo::{STOP_TIME_MAX, shop};
use crate::cli::output::{line_width, say, say_error, wrapped};
use crate::cli::up::wait_for_signal;
use crate::domain::task::TaskState;

/// Both services must be ready within this time.
const OPENING_TIME_MAX: Duration = Duration::from_mins(1);
/// From one look at the engine to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A longer time without a look, in seconds, is told.
const GAP_MAX: f64 = 5.0;
/// Where there is no terminal, a line says how it goes each so many seconds.
const TOLD_EVERY: f64 = 15.0;

/// What is run.
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    pub(super) seed: u64,
    /// How long all days take.
    pub(super) length: Duration,
    pub(super) data_dir: Option<PathBuf>,
    /// Where the page with the plots goes.
    pub(super) page: Option<PathBuf>,
}

/// What is known of a run.
struct Run {
    looks: [Vec<Look>; SIDES.len()],
    /// Seconds that an instance took to start, as learned.
    startup: Option<f64>,
    /// What the load models say of a dearer revision.
    told: Vec<String>,
}

/// Runs the scenario and tells what came of it. Nothing that it started is left.
pub(super) async fn run(plan: &Plan) -> anyhow::Result<()> {
    let (folder, temporary) = match &plan.data_dir {
        Some(folder) => (folder.clone(), false),
        None => (shop::temporary_folder()?, true),
    };
    let app = App::start(AppConfig::new(folder.clone(), engine_config())?).await?;
    let result = tokio::select! {
        played = play(&app, plan) => played,
        signal = wait_for_signal() => signal.and_then(|()| Err(anyhow::anyhow!("interrupted"))),
    };
    app.shutdown(Some(STOP_TIME_MAX)).await;
    if temporary {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    report(plan, &result?)
}

async fn play(app: &App, plan: &Plan) -> anyhow::Result<Run> {
    let client = Client::new(&format!("http://{}", app.address()), "demo");
    apply(&client, plan, 1).await?;
    say(&format!("scenario {}: {}", plan.scenario.name(), plan.scenario.words()))?;
    let status = open(&client).await?;
    for line in &status.engine.limitations {
        say_error(&format!("warning: {line}"));
    }
    let stats: [Arc<LoadStats>; SIDES.len()] = std::array::from_fn(|_| Arc::default());
    // Interrupted, they end with this.
    let mut loads = JoinSet::new();
    for (side, stats) in SIDES.iter().zip(&stats) {
        let service = status.workloads.iter().find(|workload| workload.name == side.service);
        let port = service.and_then(|service| service.front_doors.values().next().copied());
        let generator = LoadGenerator {
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, port.context("a service has no address")?)),
            path: "/work".to_owned(),
            days: plan.scenario.days(plan.seed),
            day: plan.day(),
        };
        let stats = Arc::clone(stats);
        loads.spawn(async move { generator.run(stats, CancellationToken::new()).await });
    }
    let looks = watch(&client, plan, &stats, &mut loads).await?;
    let status: StatusDto = client.status().await?;
    let startups = status.workloads.iter().filter_map(|workload| workload.scale.as_ref()?.startup_seconds);
    let startup = startups.reduce(f64::max);
    let told = if plan.scenario.deploy_at().is_some() { costs(&client).await? } else { Vec::new() };
    Ok(Run { looks, startup, told })
}

impl Plan {
    fn day(&self) -> Duration {
        self.length / DAYS
    }

    /// Requests per second that are due at a second of the run.
    fn load_at(&self, second: f64) -> f64 {
        let (days, day) = (self.scenario.days(self.seed), self.day().as_secs_f64());
        let today = days.get((second / day) as usize);
        today.map_or(0.0, |profile| profile.requests_per_second(second / day % 1.0))
    }
}

async fn apply(client: &Client, plan: &Plan, revision: u64) -> anyhow::Result<()> {
    let text = plan.scenario.specs(revision, plan.day())?;
    let files = vec![SpecFile { name: "scenario.toml".to_owned(), text }];
    let message = format!("revision {revision}");
    let _: Changed = client.post("/v1/apply", &ApplyRequest { files, message, dry_run: false }).await?;
    Ok(())
}

/// Waits until both services are ready and the engine has seen how long that takes.
async fn open(client: &Client) -> anyhow::Result<StatusDto> {
    let began = Instant::now();
    loop {
        let status = client.status().await?;
        let is_open = |name: &str| {
            status.workloads.iter().any(|workload| {
                let learned = workload.scale.as_ref().is_some_and(|scale| scale.startup_seconds.is_some());
                workload.name == name && workload.ready > 0 && learned && !workload.front_doors.is_empty()
            })
        };
        if SIDES.iter().all(|side| is_open(side.service)) {
            return Ok(status);
        }
        if began.elapsed() > OPENING_TIME_MAX {
            anyhow::bail!("the services did not get ready:\n{}", crate::cli::status::render(&status));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Looks at both services until the last request has ended, and deploys when it is time to.
async fn watch(
    client: &Client,
    plan: &Plan,
    stats: &[Arc<LoadStats>; SIDES.len()],
    loads: &mut JoinSet<Result<(), hyper::http::uri::InvalidUri>>,
) -> anyhow::Result<[Vec<Look>; SIDES.len()]> {
    let bar = ProgressBar::new(plan.length.as_secs());
    bar.set_style(ProgressStyle::with_template("{bar:24} {elapsed} {msg}")?);
    let mut looks: [Vec<Look>; SIDES.len()] = std::array::from_fn(|_| Vec::new());
    let mut deploy_at = plan.scenario.deploy_at().map(|days| days * plan.day().as_secs_f64());
    let (began, mut told) = (Instant::now(), 0.0);
    loop {
        // Before the look: what ended by then is in it.
        while let Some(ended) = loads.try_join_next() {
            ended??;
        }
        let over = loads.is_empty();
        let at = began.elapsed().as_secs_f64();
        if deploy_at.is_some_and(|due| at >= due) {
            apply(client, plan, 2).await?;
            bar.println(format!("{at:>5.0} s  revision 2 is rolled out"));
            deploy_at = None;
        }
        let mut line = format!("load {:.0}/s", plan.load_at(at));
        for ((side, stats), looks) in SIDES.iter().zip(stats).zip(&mut looks) {
            let look = look(client, plan, side.service, began, stats).await?;
            let (instances, capacity) = (look.instances, look.capacity);
            // Writing to a string cannot fail.
            let _ = write!(line, ", {} {instances} instances for {capacity:.0}/s", side.service);
            looks.push(look);
        }
        bar.set_position((at as u64).min(plan.length.as_secs()));
        if bar.is_hidden() && at - told >= TOLD_EVERY {
            told = at;
            say(&format!("{at:>5.0} s  {line}"))?;
        }
        bar.set_message(line);
        if over {
            bar.finish_and_clear();
            return Ok(looks);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn look(
    client: &Client,
    plan: &Plan,
    service: &str,
    began: Instant,
    stats: &LoadStats,
) -> anyhow::Result<Look> {
    let workload = client.workload(service).await?;
    let tasks: Vec<TaskDto> = client.tasks(Some(service), false, 1000).await?;
    let serves = |task: &&TaskDto| {
        task.state == TaskState::Running && task.health.as_deref().is_some_and(|health| health == "ready")
    };
    // A machine that is busy answers late: the look is of now.
    let at = began.elapsed().as_secs_f64();
    Ok(Look {
        at,
        load: plan.load_at(at),
        // A sum of nothing is -0.
        capacity: tasks.iter().filter(serves).map(|task| plan.scenario.capacity(task.revision)).sum::<f64>()
            + 0.0,
        instances: workload.tasks,
        wanted: workload.wanted.unwrap_or(0),
        held: workload.scale.map_or(0, |scale| scale.held_requests),
        requests: stats.summary(),
    })
}

/// What the load models say about the second revision.
async fn costs(client: &Client) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    for side in SIDES {
        let model = client.load_model(side.service).await?;
        let change = model.model.as_ref().and_then(|model| model.change.as_ref());
        told.push(match change {
            Some(change) => format!("load model of {}: {change}", side.service),
            None => format!("load model of {}: no change of cost was told in time", side.service),
        });
    }
    Ok(told)
}

/// Says so where the machine was too busy for its figures to be worth much.
fn gap_told(looks: &[Look]) -> Option<String> {
    let longest = looks.windows(2).map(|pair| pair[1].at - pair[0].at).fold(0.0, f64::max);
    (longest > GAP_MAX).then(|| {
        format!(
            "For {longest:.0} s nothing could be seen: this machine was too busy with other things, and the figures tell \
             more about that than about policies."
        )
    })
}

fn report(plan: &Plan, run: &Run) -> anyhow::Result<()> {
    let day = plan.day().as_secs_f64();
    let named = |from: f64| -> Vec<(String, Figures)> {
        let of = SIDES.iter().zip(&run.looks);
        of.map(|(side, looks)| (format!("{}: {}", side.service, side.words), figures(looks, from))).collect()
    };
    let (late, all) = (named(2.0 * day), named(0.0));
    let tables: [(String, Cells); 2] = [
        ("days 3 and 4, after two days to learn from".to_owned(), table(&late)),
        ("all 4 days".to_owned(), table(&all)),
    ];
    let mut words = vec![format!("In days 3 and 4 {}.", verdict(&late[0].1, &late[1].1))];
    words.extend(gap_told(&run.looks[0]));
    words.extend(run.told.iter().map(|told| format!("{told}.")));
    words.push(format!(
        "One run. A day took {day:.0} s and an instance {} s to start: load rises more steeply than in most clusters, and \
         that is what a forecast is good for. Under-provisioned: more load than ready instances serve well.",
        run.startup.map_or_else(|| "unknown".to_owned(), |seconds| format!("{seconds:.1}"))
    ));
    let sides = SIDES.iter().zip(&run.looks).map(|(side, looks)| (side.service.to_owned(), looks.clone()));
    let pictures = pictures(&sides.collect::<Vec<_>>());
    for line in drawing(&pictures[0], line_width()) {
        say(&line)?;
    }
    for (caption, cells) in &tables {
        say(&format!("\n{caption}:"))?;
        say_cells(cells)?;
    }
    say("")?;
    for sentence in &words {
        for line in wrapped(sentence, line_width()) {
            say(&line)?;
        }
    }
    if let Some(file) = &plan.page {
        let title = format!("Scenario {}", plan.scenario.name());
        write(file, page(&title, &words, &tables, &pictures).as_bytes())?;
    }
    Ok(())
}
