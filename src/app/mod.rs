//! The composition root: the only module that knows every layer. It builds, wires, starts and ends.

mod advice;
mod clusters;
mod count_policies;
mod endpoint;
mod estimators;
mod hooks;
mod keeping;
mod loops;
mod own_state;
mod providers;
pub mod tokens;
mod web;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::adapters::commands::LocalCommands;
use crate::adapters::front_door::{FrontDoorOptions, FrontDoorServer};
use crate::adapters::local;
use crate::adapters::prometheus::engine_metrics::EngineMetrics;
use crate::adapters::prometheus::instance_metrics::InstanceMetrics;
use crate::adapters::prometheus::scraper::Scraper;
use crate::adapters::storage::SqliteStore;
use crate::adapters::system_clock::SystemClock;
use crate::analytics::task_time_files;
use crate::api::access::Access;
use crate::api::stars::Stars;
use crate::api::{ApiState, server};
use crate::app::clusters::AnyCluster;
use crate::app::endpoint::{Agent, listen};
use crate::app::keeping::housekeeper;
use crate::app::loops::{Bodies, Loops};
use crate::app::own_state::Own;
use crate::app::tokens::open_access;
use crate::backtests::Backtester;
use crate::config::{ApiLimits, EngineConfig, PriceConfig, TlsConfig};
use crate::controllers::advice_desk::AdviceDesk;
use crate::controllers::analyst::{AgentSource, Analysis, Analyst};
use crate::controllers::autoscaler::{Autoscaler, AutoscalerSettings};
use crate::controllers::cluster_scaler::ClusterScaler;
use crate::controllers::control::{EXECS_MAX, EngineControl};
use crate::controllers::decisions::Recorder;
use crate::controllers::disasters::{DisasterWatch, Intervals, Watched};
use crate::controllers::load_feed::LoadFeed;
use crate::controllers::load_forecasts::LoadForecasts;
use crate::controllers::machines::Machines;
use crate::controllers::notices::Sources;
use crate::controllers::real_use::RealUse;
use crate::controllers::routes::FrontDoorPorts;
use crate::controllers::scheduler::{Pass, Scheduler, SchedulerPorts};
use crate::controllers::sizing::Past;
use crate::controllers::state::EngineState;
use crate::controllers::steady_clock::SteadyClock;
use crate::controllers::waker::Waker;
use crate::controllers::what_if::WhatIfSources;
use crate::domain::intent::Submission;
use crate::domain::money::Prices;
use crate::domain::node::{PoolName, PoolSpec};
use crate::domain::observation::ProcessState;
use crate::domain::plan::Alarm;
use crate::domain::world::World;
use crate::ports::clock::Clock;
use crate::ports::control::{Control, ControlError};
use crate::ports::front_door::FrontDoor;
use crate::ports::health::HealthSource;
use crate::ports::logs::LogSource;
use crate::ports::metric_source::MetricSource;
use crate::ports::store::{EventQuery, Store};
use crate::ports::task_times::TaskTimeFiles;
use crate::ports::telemetry::Telemetry;
use crate::scaling::cluster::ClusterTerms;
use crate::scaling::horizontal::HorizontalParameters;
use crate::scaling::vertical::VerticalParameters;
use crate::scheduling::PlanSettings;

pub use advice::advice;
pub use providers::{Serving, serve_provider};

/// The store's file in the data folder.
const STORE_FILE: &str = "loadline.db";
/// The folder of the history in the data folder.
const HISTORY_FOLDER: &str = "history";
/// Requests under way at the front door get this long when the engine ends.
const FRONT_DOOR_GRACE: Duration = Duration::from_secs(5);

/// Runs this process as the supervisor of a task or as the helper that becomes its program, where the
/// arguments say so; none where they are a command for people. To be called before anything else.
pub fn hidden_command(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    local::hidden_command(arguments, &SystemClock)
}

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// Where state and logs are kept.
    pub data_dir: PathBuf,
    /// This program's own file: supervisors are started from it.
    pub executable: PathBuf,
    /// The settings.
    pub engine: EngineConfig,
}

impl AppConfig {
    /// An engine over `data_dir`, whose supervisors run this very binary.
    pub fn new(data_dir: PathBuf, engine: EngineConfig) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("cannot tell this binary's path")?;
        Ok(Self { data_dir, executable, engine })
    }
}

/// An engine that runs: scheduler, local agent, front door, API.
pub struct App {
    control: Arc<EngineControl>,
    cluster: Arc<dyn AnyCluster>,
    front_door: Arc<FrontDoorServer>,
    address: SocketAddr,
    data_dir: PathBuf,
    loops: Loops,
}

impl App {
    /// Takes up what is in the data folder and starts everything. When it returns, the API answers.
    pub async fn start(config: AppConfig) -> anyhow::Result<Self> {
        Self::start_with(config, Arc::new(SystemClock)).await
    }

    /// The same with another clock.
    pub async fn start_with(config: AppConfig, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        // First, since nothing is changed by it: an engine that cannot be reached must not take over tasks.
        let (agent, listener) = (Agent::listen()?, listen(config.engine.api.listen)?);
        let (data_dir, store) = open_store(&config.data_dir)?;
        let history = task_time_files(data_dir.join(HISTORY_FOLDER));
        let clock = steady(clock, &store)?;
        let (access, tls) = open_access(&config.engine.api, &store, clock.now()).await?;
        let (cluster, health) = clusters::open(&config, &data_dir, &clock)?;
        let (metrics, settings) = (EngineMetrics::default(), plan_settings(&config.engine));
        let counted: Arc<dyn Telemetry> = Arc::new(metrics.clone());
        let state = Arc::new(EngineState::open(store.clone(), Arc::clone(&clock), Arc::clone(&counted))?);
        let machines = providers::machines(&config.engine.providers, &data_dir, (&state, &cluster)).await?;
        let front_door = Arc::new(FrontDoorServer::new(Arc::clone(&clock), FrontDoorOptions::default()));

        let (passes, passed) = watch::channel(Pass::default());
        let (analyses, analysed) = watch::channel(Analysis::default());
        let doors = FrontDoorPorts::read(store.document(FrontDoorPorts::DOCUMENT)?.as_deref());
        let measured = (&analysed, real_use(&config.engine, &analysed));
        let ports = scheduler_ports((&cluster, &machines), &front_door, &health, measured);
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&state), ports, settings, doors, passes));
        let known = (&store, &*state.world().await, analyses);
        let analyst = analyst(&config.engine, &agent, &state, &front_door, known)?;
        let (recorder, seen) = (Recorder::new(Arc::clone(&state), store.clone()), (&analysed, &passed));
        let autoscaler = autoscaler(&config.engine, (&state, &analyst), seen, &front_door, &recorder)?;
        let watch = Watch::new(&config.engine, (&state, &store), seen, &autoscaler);
        let (messengers, hooks) = hooks::messengers(&config.engine, &watch.sources, &clock, &data_dir)?;
        let prices = config.engine.prices.prices;
        let headroom = config.engine.cluster_scaler.headroom_risk;
        let terms = ClusterTerms { prices, headroom, overcommit: Arc::default() };
        let cluster_scaler =
            Arc::new(ClusterScaler::new(Arc::clone(&state), passed.clone(), recorder.clone(), terms));
        let advice = Arc::new(AdviceDesk::new(&state, analysed.clone(), &recorder, prices));
        let control = Arc::new(EngineControl {
            state: Arc::clone(&state),
            scheduler: Arc::clone(&scheduler),
            passes: passed,
            analysis: analysed,
            decisions: store.clone(),
            health,
            providers: machines.providers(),
            nodes: Arc::new(machines),
            exec: cluster.clone(),
            exec_slots: Semaphore::new(EXECS_MAX),
            disasters: watch.alarms,
            what_if: WhatIfSources { history: store.clone(), prices },
            advice: Arc::clone(&advice),
            forecasts: LoadForecasts::new(store.clone()),
            outlook: cluster_scaler.outlook(),
            scaling: autoscaler.scaling(),
            hooks,
            limitations: cluster.limitations(),
            started_at: clock.now(),
        });
        let bodies = Bodies {
            advice,
            waker: waker(&state, &front_door, &recorder, prices),
            scheduler,
            analyst,
            autoscaler,
            housekeeper: Arc::new(housekeeper(&config.engine, (&store, &state), &clock, history.as_ref())),
            cluster_scaler,
            disasters: Arc::new(watch.disasters),
        };
        let mut loops = Loops::start(bodies, &config.engine, &counted);
        loops.tell(messengers);
        agent.serve(&cluster, config.engine.agent.sample_interval, &mut loops);
        let seen = (control.clone() as Arc<dyn Control>, &store, cluster.clone() as Arc<dyn LogSource>);
        let own = Own::new(metrics.clone(), &store, &config.engine.store);
        let api = api_state((seen, history), (metrics, own), clock, &config.engine.prices, access);
        let address = serve_api(listener, api, (config.engine.api.limits.clone(), tls), &mut loops)?;
        Ok(Self { control, cluster, front_door, address, data_dir, loops })
    }

    /// The engine as its edges see it.
    pub fn control(&self) -> &dyn Control {
        self.control.as_ref()
    }

    /// Applies what an engine is given at its start. What is refused as things stand, for example while
    /// deploys are frozen, is told; what runs already is no reason to stay away.
    pub async fn declare(&self, submission: Submission) -> anyhow::Result<Vec<String>> {
        match self.control.submit(submission).await {
            Err(ControlError::Refused(why)) => {
                tracing::error!("what is declared was not applied, the engine goes on without it: {why}");
                Ok(Vec::new())
            }
            answer => Ok(answer?),
        }
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where state and logs are kept.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Ends the loops, the API and the front door. Tasks go on running, unless they are to be stopped
    /// within a time; tells how many still run.
    pub async fn shutdown(mut self, stop_tasks_within: Option<Duration>) -> usize {
        self.loops.end().await;
        self.front_door.close(FRONT_DOOR_GRACE).await;
        if let Some(limit) = stop_tasks_within {
            self.stop_tasks(limit).await;
        }
        self.running().await.len()
    }

    /// Stops every task and waits until all have ended; the world still wants them, so the next start
    /// runs them again.
    async fn stop_tasks(&self, limit: Duration) {
        let world = self.control.view().await.world;
        for id in self.running().await {
            let grace = world
                .workloads
                .get(id.workload())
                .map_or(SignedDuration::from_secs(10), |workload| workload.spec.template().stop_grace);
            if let Err(error) = self.cluster.stop(&id, grace).await {
                tracing::warn!(task = %id, %error, "cannot stop");
            }
        }
        let began = Instant::now();
        while !self.running().await.is_empty() && began.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn running(&self) -> Vec<crate::domain::task::TaskId> {
        let observed = self.cluster.observe().await.unwrap_or_default();
        let live = observed.tasks.into_iter().filter(|(_, task)| {
            matches!(task.process, ProcessState::Starting | ProcessState::Running { .. })
        });
        live.map(|(id, _)| id).collect()
    }
}

/// The folder of an engine's data, and what is kept in it.
fn open_store(data_dir: &Path) -> anyhow::Result<(PathBuf, Arc<SqliteStore>)> {
    let data_dir = prepare(data_dir)?;
    let store = SqliteStore::open(&data_dir.join(STORE_FILE))?;
    Ok((data_dir, Arc::new(store)))
}

type Answered<'a> = (Arc<dyn Control>, &'a Arc<SqliteStore>, Arc<dyn LogSource>);

/// What the API answers from.
fn api_state(
    ((control, store, logs), task_times): (Answered<'_>, Option<Arc<dyn TaskTimeFiles>>),
    (metrics, own): (EngineMetrics, Own),
    clock: Arc<dyn Clock>,
    prices: &PriceConfig,
    access: Arc<Access>,
) -> ApiState {
    ApiState {
        control,
        events: store.clone(),
        archive: store.clone(),
        search: store.clone(),
        decisions: store.clone(),
        history: store.clone(),
        task_times,
        logs,
        metrics: Arc::new(move || metrics.encode()),
        prices: prices.prices,
        currency: prices.currency.clone(),
        backtests: Arc::new(Backtester::new(store.clone(), Arc::clone(&clock))),
        own: Arc::new(own),
        clock,
        access,
        stars: Arc::new(Stars::new(store.clone())),
        totals: Arc::default(),
    }
}

fn serve_api(
    listener: TcpListener,
    api: ApiState,
    (limits, tls): (ApiLimits, Option<(TlsConfig, RustlsConfig)>),
    loops: &mut Loops,
) -> anyhow::Result<SocketAddr> {
    let address = listener.local_addr()?;
    let (listener, shutdown, access) = (listener.into_std()?, loops.shutdown(), Arc::clone(&api.access));
    let router = web::everything(api, address.port(), tls.is_some(), loops)?;
    loops.spawn(async move {
        let closing = shutdown.clone();
        let serving = server::serve(listener, router, &limits, tls, shutdown);
        let close = async {
            closing.cancelled().await;
            access.close();
        };
        if let (Err(error), ()) = tokio::join!(serving, close) {
            tracing::error!(%error, "the API ended");
        }
    });
    Ok(address)
}

/// The clock of the loops, which goes on from where the store was last written.
fn steady(machine: Arc<dyn Clock>, store: &SqliteStore) -> anyhow::Result<Arc<dyn Clock>> {
    let newest = store.events(&EventQuery { limit: 1, ..EventQuery::default() })?;
    let last = newest.first().map(|change| change.recorded.at);
    Ok(Arc::new(SteadyClock::new(machine, last)))
}

/// Makes the data folder, for its owner only, and tells its absolute path.
fn prepare(folder: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot create the data folder {}", folder.display()))?;
    folder.canonicalize().with_context(|| format!("cannot open the data folder {}", folder.display()))
}

fn scheduler_ports(
    (cluster, machines): (&Arc<dyn AnyCluster>, &Machines),
    front_door: &Arc<FrontDoorServer>,
    health: &Arc<dyn HealthSource>,
    (analysed, real_use): (&watch::Receiver<Analysis>, RealUse),
) -> SchedulerPorts {
    SchedulerPorts {
        runner: cluster.clone(),
        observer: Arc::new(machines.clone()),
        nodes: Arc::new(machines.clone()),
        health: Arc::clone(health),
        front_door: front_door.clone(),
        commands: Arc::new(LocalCommands),
        analysis: analysed.clone(),
        real_use,
    }
}

fn real_use(config: &EngineConfig, analyses: &watch::Receiver<Analysis>) -> RealUse {
    RealUse::new(analyses.clone(), config.scrape.interval)
}

/// What loops saw last: what was measured, and what the scheduler's pass saw.
type Seen<'a> = (&'a watch::Receiver<Analysis>, &'a watch::Receiver<Pass>);

fn autoscaler(
    config: &EngineConfig,
    (state, analyst): (&Arc<EngineState>, &Arc<Analyst>),
    (analysed, passed): Seen<'_>,
    front_door: &Arc<FrontDoorServer>,
    recorder: &Recorder,
) -> anyhow::Result<Arc<Autoscaler>> {
    let metrics = Arc::new(InstanceMetrics::new(config.scrape.timeout.unsigned_abs())?);
    let (state, analyst, settings) = (Arc::clone(state), Arc::clone(analyst), autoscaler_settings(config));
    let seen = (analysed.clone(), passed.clone());
    let sources: (Arc<dyn MetricSource>, Arc<dyn FrontDoor>) = (metrics, front_door.clone());
    Ok(Arc::new(Autoscaler::new(state, analyst, seen, sources, recorder.clone(), settings)?))
}

fn waker(
    state: &Arc<EngineState>,
    front_door: &Arc<FrontDoorServer>,
    recorder: &Recorder,
    prices: Prices,
) -> Arc<Waker> {
    let (state, recorder) = (Arc::clone(state), recorder.clone());
    Arc::new(Waker { state, front_door: front_door.clone(), recorder, prices })
}

/// What looks after the engine, and where hooks learn what happens.
struct Watch {
    disasters: DisasterWatch,
    alarms: watch::Receiver<Arc<Vec<Alarm>>>,
    sources: Sources,
}

impl Watch {
    fn new(
        config: &EngineConfig,
        (state, store): (&Arc<EngineState>, &Arc<SqliteStore>),
        (analysed, passed): Seen<'_>,
        autoscaler: &Autoscaler,
    ) -> Self {
        let intervals = Intervals {
            scheduler: config.engine.tick,
            autoscaler: config.autoscaler.interval,
            sample: config.scrape.interval.max(config.agent.sample_interval),
        };
        let decided = autoscaler.finished();
        let watched = Watched { passes: passed.clone(), analysis: analysed.clone(), decided };
        let settings = config.disaster.clone();
        let (disasters, alarms) = DisasterWatch::new(Arc::clone(state), watched, intervals, settings);
        let sources = Sources {
            state: Arc::clone(state),
            decisions: store.clone(),
            alarms: hooks::alarms(passed.clone(), alarms.clone(), autoscaler.scaling()),
        };
        Self { disasters, alarms, sources }
    }
}

fn plan_settings(config: &EngineConfig) -> PlanSettings {
    PlanSettings {
        size_soak: config.autoscaler.size_soak,
        join_timeout: config.engine.join_timeout,
        start_timeout: config.engine.start_timeout,
        ..PlanSettings::default()
    }
}

fn autoscaler_settings(config: &EngineConfig) -> AutoscalerSettings {
    AutoscalerSettings {
        scrape_interval: config.scrape.interval,
        interval: config.autoscaler.interval,
        policies: count_policies::catalogue(),
        horizontal: HorizontalParameters::default(),
        vertical: VerticalParameters {
            min_age: config.autoscaler.size_min_age,
            ..VerticalParameters::default()
        },
        prices: config.prices.prices,
    }
}

fn analyst(
    config: &EngineConfig,
    agent: &Agent,
    state: &Arc<EngineState>,
    front_door: &Arc<FrontDoorServer>,
    (store, world, published): (&Arc<SqliteStore>, &World, watch::Sender<Analysis>),
) -> anyhow::Result<Arc<Analyst>> {
    let url = format!("http://{}/metrics", agent.address);
    let source = Arc::new(Scraper::new(&url, config.scrape.timeout.unsigned_abs())?);
    let agents = vec![AgentSource { name: url, source }];
    let past = Past { history: store.clone(), archive: store.clone() };
    let feed = LoadFeed::new(config.load_models.warm_up);
    let learns = (estimators::sizing(&config.estimator), feed, config.overcommit.settings());
    let given = (world, config.prices.prices);
    let state = Arc::clone(state);
    let analyst = Analyst::new((state, published), agents, front_door.clone(), past, learns, given)?;
    Ok(Arc::new(analyst))
}

/// The pool of a machine whose owner declares none: one node with everything that it has.
pub fn whole_machine() -> anyhow::Result<(PoolName, PoolSpec)> {
    let size = local::machine_size().context("cannot tell this machine's size")?;
    let name = PoolName::new("local").map_err(anyhow::Error::msg)?;
    Ok((name, PoolSpec::one_node(size)))
}
