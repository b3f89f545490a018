//! Starts the loops and ends them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::EngineConfig;
use crate::controllers::advice_desk::AdviceDesk;
use crate::controllers::analyst::Analyst;
use crate::controllers::autoscaler::Autoscaler;
use crate::controllers::cluster_scaler::ClusterScaler;
use crate::controllers::disasters::DisasterWatch;
use crate::controllers::driver::{Schedule, never, run};
use crate::controllers::housekeeper::Housekeeper;
use crate::controllers::notices::Messenger;
use crate::controllers::scheduler::Scheduler;
use crate::controllers::waker::Waker;
use crate::ports::telemetry::Telemetry;

/// From one pruning of the store to the next.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_mins(10);
/// Pools are looked at as often as Cluster Autoscaler scans (10 s) at least; a waiting task makes it
/// sooner by way of the autoscaler's interval where that is shorter.
const CLUSTER_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// What a request that came did not wake, for example because the store could not be written, is woken then.
const WAKER_INTERVAL: Duration = Duration::from_secs(1);
/// Loops that have not ended by then are left behind.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// The loop bodies.
pub(super) struct Bodies {
    pub(super) waker: Arc<Waker>,
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) analyst: Arc<Analyst>,
    pub(super) autoscaler: Arc<Autoscaler>,
    pub(super) cluster_scaler: Arc<ClusterScaler>,
    pub(super) disasters: Arc<DisasterWatch>,
    pub(super) housekeeper: Arc<Housekeeper>,
    pub(super) advice: Arc<AdviceDesk>,
}

/// The loops that run.
pub(super) struct Loops {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Loops {
    /// Starts every loop at its interval.
    pub(super) fn start(bodies: Bodies, config: &EngineConfig, telemetry: &Arc<dyn Telemetry>) -> Self {
        let mut loops = Self { tasks: JoinSet::new(), shutdown: CancellationToken::new() };
        let every = |name, interval: SignedDuration| Schedule { name, interval: interval.unsigned_abs() };
        let scheduler = bodies.scheduler;
        let (signal, body) = (Arc::clone(&scheduler), scheduler);
        loops.spawn(run(
            every("scheduler", config.engine.tick),
            Arc::clone(telemetry),
            loops.shutdown.clone(),
            move || {
                let scheduler = Arc::clone(&signal);
                async move { scheduler.signal().await }
            },
            move || {
                let scheduler = Arc::clone(&body);
                async move { scheduler.pass().await }
            },
        ));
        loops.wake(bodies.waker, telemetry);
        let (analyst, recommender) = (Arc::clone(&bodies.analyst), bodies.analyst);
        loops.periodic(every("analyst", config.scrape.interval), telemetry, move || {
            let analyst = Arc::clone(&analyst);
            async move { analyst.sample().await }
        });
        loops.periodic(every("recommender", config.recommender.interval), telemetry, move || {
            let analyst = Arc::clone(&recommender);
            async move { analyst.recommend().await }
        });
        let autoscaler = bodies.autoscaler;
        loops.periodic(every("autoscaler", config.autoscaler.interval), telemetry, move || {
            let autoscaler = Arc::clone(&autoscaler);
            async move { autoscaler.pass().await }
        });
        let cluster = bodies.cluster_scaler;
        let interval = config.autoscaler.interval.unsigned_abs().min(CLUSTER_INTERVAL_MAX);
        loops.periodic(Schedule { name: "cluster scaler", interval }, telemetry, move || {
            let cluster = Arc::clone(&cluster);
            async move { cluster.pass().await }
        });
        let advice = bodies.advice;
        loops.periodic(every("advice desk", config.autoscaler.interval), telemetry, move || {
            let advice = Arc::clone(&advice);
            async move { advice.pass().await }
        });
        let disasters = bodies.disasters;
        loops.periodic(every("disaster watch", config.disaster.interval), telemetry, move || {
            let disasters = Arc::clone(&disasters);
            async move { disasters.pass().await }
        });
        let housekeeper = bodies.housekeeper;
        let schedule = Schedule { name: "housekeeper", interval: HOUSEKEEPING_INTERVAL };
        loops.periodic(schedule, telemetry, move || {
            let housekeeper = Arc::clone(&housekeeper);
            async move { housekeeper.pass().await }
        });
        loops
    }

    /// Requests for a service without instances are looked after at once.
    fn wake(&mut self, waker: Arc<Waker>, telemetry: &Arc<dyn Telemetry>) {
        let schedule = Schedule { name: "waker", interval: WAKER_INTERVAL };
        let (signal, body) = (Arc::clone(&waker), waker);
        let shutdown = self.shutdown.clone();
        self.spawn(run(
            schedule,
            Arc::clone(telemetry),
            shutdown,
            move || {
                let waker = Arc::clone(&signal);
                async move { waker.signal().await }
            },
            move || {
                let waker = Arc::clone(&body);
                async move { waker.pass().await }
            },
        ));
    }

    /// Runs something until it ends by itself on shutdown.
    pub(super) fn spawn(&mut self, body: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(body);
    }

    /// Starts the loops of hooks.
    pub(super) fn tell(&mut self, messengers: Vec<Messenger>) {
        for messenger in messengers {
            let shutdown = self.shutdown();
            self.spawn(messenger.run(shutdown));
        }
    }

    /// Ends with the loops.
    pub(super) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Answers requests until shutdown.
    pub(super) fn serve(&mut self, name: &'static str, listener: TcpListener, router: axum::Router) {
        let ended = self.shutdown().cancelled_owned();
        self.spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ended).await {
                tracing::error!(%error, "{name} ended");
            }
        });
    }

    fn periodic<P, E>(
        &mut self,
        schedule: Schedule,
        telemetry: &Arc<dyn Telemetry>,
        pass: impl FnMut() -> P + Send + 'static,
    ) where
        P: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.spawn(run(schedule, Arc::clone(telemetry), shutdown, never, pass));
    }

    /// Ends every loop after the pass that it is in.
    pub(super) async fn end(&mut self) {
        self.shutdown.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END_TIME_MAX, all).await.is_err() {
            tracing::warn!("some loops did not end in time");
            self.tasks.abort_all();
        }
    }
}
