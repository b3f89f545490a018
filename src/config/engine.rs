//! The engine's own settings: an optional TOML file, every key of which has a default.
//! `config/engine.toml` lists them all.

use std::path::Path;

use jiff::SignedDuration;
use serde::Serialize;

use crate::config::api::{ApiConfig, api};
use crate::config::disaster::disaster;
use crate::config::error::SpecError;
use crate::config::hooks::{CommandHookConfig, WebhookConfig, command_hook, hooks, webhook};
use crate::config::limits::NUMBER_MAX;
use crate::config::overcommit::{OvercommitConfig, overcommit};
use crate::config::provider::{ProviderConfig, provider};
use crate::config::reader::{Document, Report, Table, Value};
use crate::config::simulated::{ClusterKind, SimulatedSettings, cluster_kind, simulated};
use crate::config::source::{Source, read_files};
use crate::config::values::{cores, duration, duration_from, interval, memory, number, whole};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::quantity::{Bytes, Millicores, Share};
use crate::scheduling::disaster::DisasterSettings;

/// The history goes by whole days.
const HISTORY_MIN: SignedDuration = SignedDuration::from_hours(24);
/// Least time that anything is kept: what is younger is still looked at.
const KEEP_MIN: SignedDuration = SignedDuration::from_hours(1);
const HALF_LIFE_MIN: SignedDuration = SignedDuration::from_mins(1);
const LIMIT_MIN: SignedDuration = SignedDuration::from_secs(1);
const POLICY_EXPECTED: &str = "a policy such as \"krr:margin=1.3\"; `loadline policy list` has them";
const TIMEOUT_MIN: SignedDuration = SignedDuration::from_millis(1);
const RISK_MIN: f64 = 0.0001;
const RISK_MAX: f64 = 0.49;
const ROWS_MIN: i64 = 1_000;
const ROWS_MAX: i64 = 1_000_000_000;
const SAMPLES_MAX: i64 = 1_000_000;
const LOG_FILES_MAX: i64 = 100;

/// All settings of the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EngineConfig {
    /// The HTTP API.
    pub api: ApiConfig,
    /// The local agent.
    pub agent: AgentConfig,
    /// Reading agents and metrics.
    pub scrape: ScrapeConfig,
    /// The scheduler's loop.
    pub engine: LoopConfig,
    /// What replaces the estimator's own constants.
    pub estimator: EstimatorOverrides,
    /// The loop that sets counts and pool sizes.
    pub autoscaler: AutoscalerConfig,
    /// What the number of nodes is decided by.
    pub cluster_scaler: ClusterScalerConfig,
    /// Tasks placed by the predicted peaks of nodes.
    pub overcommit: OvercommitConfig,
    /// The loop that recommends sizes.
    pub recommender: RecommenderConfig,
    /// What is learnt of load.
    pub load_models: LoadModelConfig,
    /// A cluster that is not there.
    pub simulated: SimulatedSettings,
    /// What resources cost where a pool has no price of its own.
    pub prices: PriceConfig,
    /// What is kept, and how long.
    pub store: StoreConfig,
    /// The history of what tasks had and used.
    pub history: HistoryConfig,
    /// Task logs.
    pub logs: LogConfig,
    /// When the engine freezes scaling and draining by itself.
    pub disaster: DisasterSettings,
    /// Programs that are told what happens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<WebhookConfig>,
    /// Commands that tell people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command_hooks: Vec<CommandHookConfig>,
    /// Where pools can get machines from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderConfig>,
}

/// `[agent]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentConfig {
    /// From one sample of a task to the next.
    pub sample_interval: SignedDuration,
}

/// `[scrape]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScrapeConfig {
    /// An answer later than this is a failed scrape.
    pub timeout: SignedDuration,
    /// From one scrape to the next.
    pub interval: SignedDuration,
}

/// `[engine]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoopConfig {
    /// What runs tasks.
    pub cluster: ClusterKind,
    /// Longest time from one plan to the next; events make it sooner.
    pub tick: SignedDuration,
    /// A node that has not joined by then is given up, and another one asked for.
    pub join_timeout: SignedDuration,
    /// A task that is not up by then is ended and replaced.
    pub start_timeout: SignedDuration,
}

/// `[estimator]`: what is absent is as the estimator's parameters say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EstimatorOverrides {
    /// The policy that sizes come from until somebody chooses one (`loadline policy set`).
    pub policy: Option<String>,
    /// With less time from a workload's first sample to its newest one nothing is recommended.
    pub min_history: Option<SignedDuration>,
    /// Smallest CPU request that is recommended.
    pub min_cpu: Option<Millicores>,
    /// Smallest memory request that is recommended.
    pub min_memory: Option<Bytes>,
    /// In this time a CPU sample loses half its weight.
    pub half_life_cpu: Option<SignedDuration>,
    /// In this time a memory peak loses half its weight.
    pub half_life_memory: Option<SignedDuration>,
    /// The interval of which the memory peak is one sample.
    pub memory_interval: Option<SignedDuration>,
    /// With fewer samples nothing is recommended.
    pub min_samples: Option<u64>,
}

/// `[cluster_scaler]`
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ClusterScalerConfig {
    /// Room is kept for runs that nobody announced, such that it is too little in this share of the times that a
    /// node takes to come. None is kept where it is absent.
    pub headroom_risk: Option<Share>,
}

/// `[autoscaler]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AutoscalerConfig {
    /// From one decision to the next.
    pub interval: SignedDuration,
    /// A size that is within its bounds is left alone for so long.
    pub size_min_age: SignedDuration,
    /// One instance lives so long with less memory before the others get less.
    pub size_soak: SignedDuration,
}

/// `[recommender]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecommenderConfig {
    /// From one recommendation to the next.
    pub interval: SignedDuration,
}

/// `[load_models]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadModelConfig {
    /// An instance counts once it has been ready, and its rollout over, for so long.
    pub warm_up: SignedDuration,
}

/// `[prices]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PriceConfig {
    /// Per core and per GiB, for an hour.
    #[serde(flatten)]
    pub prices: Prices,
    /// The currency of both, as ISO 4217 abbreviates it.
    pub currency: String,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreConfig {
    /// Usage and load samples are kept this long.
    pub keep_samples: SignedDuration,
    /// Everything else that happened is kept this long.
    pub keep_events: SignedDuration,
    /// Of each kind of row at most this many are kept.
    pub keep_rows: usize,
}

/// `[history]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryConfig {
    /// Days are kept this long.
    pub keep: SignedDuration,
}

/// `[logs]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogConfig {
    /// A log file that has grown to this size is put aside.
    pub max_size: Bytes,
    /// Files kept per task and stream, the one that is written to included.
    pub files: u32,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self { sample_interval: SignedDuration::from_secs(5) }
    }
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self { timeout: SignedDuration::from_secs(2), interval: SignedDuration::from_secs(5) }
    }
}

impl Default for LoopConfig {
    fn default() -> Self {
        Self {
            cluster: ClusterKind::default(),
            tick: SignedDuration::from_secs(1),
            join_timeout: SignedDuration::from_mins(10),
            start_timeout: SignedDuration::from_mins(10),
        }
    }
}

impl Default for AutoscalerConfig {
    /// Kubernetes' `--horizontal-pod-autoscaler-sync-period`, and the Vertical Pod Autoscaler's updater,
    /// which leaves pods alone for 12 hours.
    fn default() -> Self {
        Self {
            interval: SignedDuration::from_secs(15),
            size_min_age: SignedDuration::from_hours(12),
            size_soak: SignedDuration::from_secs(60),
        }
    }
}

impl Default for RecommenderConfig {
    /// The Vertical Pod Autoscaler's `--recommender-interval`.
    fn default() -> Self {
        Self { interval: SignedDuration::from_mins(1) }
    }
}

impl Default for LoadModelConfig {
    /// Caches fill and compilers in the process finish within the first minutes.
    fn default() -> Self {
        Self { warm_up: SignedDuration::from_mins(2) }
    }
}

impl Default for PriceConfig {
    /// Google Compute Engine, N2 predefined vCPU and memory, us-central1, on demand; source and date
    /// stand in `config/engine.toml`.
    fn default() -> Self {
        Self {
            prices: Prices {
                core_hour: MicroCents::from_units(0.031_611),
                gib_hour: MicroCents::from_units(0.004_237),
            },
            currency: "USD".to_owned(),
        }
    }
}

impl Default for StoreConfig {
    /// Eight days hold every weekday and the one before it, as the Vertical Pod Autoscaler's history does.
    fn default() -> Self {
        Self {
            keep_samples: SignedDuration::from_hours(8 * 24),
            keep_events: SignedDuration::from_hours(90 * 24),
            keep_rows: 2_000_000,
        }
    }
}

impl Default for HistoryConfig {
    /// Thirteen months: the same month of last year beside the one that is not over.
    fn default() -> Self {
        Self { keep: SignedDuration::from_hours(400 * 24) }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { max_size: Bytes::mib(10), files: 3 }
    }
}

/// Reads settings from a file; the defaults where no file is given.
pub fn load_engine_config(path: Option<&Path>) -> Result<EngineConfig, Vec<SpecError>> {
    let Some(path) = path else { return Ok(EngineConfig::default()) };
    read_settings(&read_files(&[path.to_owned()])?)
}

/// Reads settings from a text that stands in `file`.
pub fn parse_engine_config(file: &str, text: &str) -> Result<EngineConfig, Vec<SpecError>> {
    read_settings(&[Source::named(file, text)])
}

fn read_settings(sources: &[Source]) -> Result<EngineConfig, Vec<SpecError>> {
    let report = Report::default();
    let mut config = EngineConfig::default();
    for index in 0..sources.len() {
        Document::read(&report, sources, index, |root| config = settings(root));
    }
    let errors = report.into_errors(sources);
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

fn settings(root: &Table<'_>) -> EngineConfig {
    EngineConfig {
        api: section(root, "api", |table, default| api(table, &default)),
        agent: section(root, "agent", |table, default: AgentConfig| AgentConfig {
            sample_interval: table.or("sample_interval", default.sample_interval, interval),
        }),
        scrape: section(root, "scrape", |table, default: ScrapeConfig| ScrapeConfig {
            timeout: table.or("timeout", default.timeout, duration_from(TIMEOUT_MIN)),
            interval: table.or("interval", default.interval, interval),
        }),
        engine: section(root, "engine", |table, default: LoopConfig| LoopConfig {
            cluster: table.or("cluster", default.cluster, cluster_kind),
            tick: table.or("tick", default.tick, interval),
            join_timeout: table.or("join_timeout", default.join_timeout, duration_from(LIMIT_MIN)),
            start_timeout: table.or("start_timeout", default.start_timeout, duration_from(LIMIT_MIN)),
        }),
        estimator: section(root, "estimator", |table, _| estimator(table)),
        autoscaler: section(root, "autoscaler", |table, default: AutoscalerConfig| AutoscalerConfig {
            interval: table.or("interval", default.interval, interval),
            size_min_age: table.or("size_min_age", default.size_min_age, duration),
            size_soak: table.or("size_soak", default.size_soak, duration),
        }),
        cluster_scaler: section(root, "cluster_scaler", |table, _| ClusterScalerConfig {
            headroom_risk: table.optional("headroom_risk", risk).map(Share::new),
        }),
        overcommit: section(root, "overcommit", |table, default| overcommit(table, &default)),
        recommender: section(root, "recommender", |table, default: RecommenderConfig| RecommenderConfig {
            interval: table.or("interval", default.interval, interval),
        }),
        load_models: section(root, "load_models", |table, default: LoadModelConfig| LoadModelConfig {
            warm_up: table.or("warm_up", default.warm_up, duration),
        }),
        simulated: section(root, "simulated", |table, default| simulated(table, &default)),
        prices: section(root, "prices", prices),
        store: section(root, "store", |table, default| store(table, &default)),
        history: section(root, "history", |table, default: HistoryConfig| HistoryConfig {
            keep: table.or("keep", default.keep, duration_from(HISTORY_MIN)),
        }),
        logs: section(root, "logs", |table, default: LogConfig| LogConfig {
            max_size: table.or("max_size", default.max_size, memory),
            files: table
                .optional("files", whole(1..=LOG_FILES_MAX))
                .and_then(|files| u32::try_from(files).ok())
                .unwrap_or(default.files),
        }),
        disaster: section(root, "disaster", |table, default| disaster(table, &default)),
        webhooks: hooks(root, "webhook", webhook),
        command_hooks: hooks(root, "command_hook", command_hook),
        providers: hooks(root, "provider", provider),
    }
}

/// How often something may be too little.
fn risk(value: &Value<'_>) -> Option<f64> {
    number(RISK_MIN..=RISK_MAX, "a share from 0.0001 to 0.49")(value)
}

/// A table of settings, or its defaults.
fn section<T: Default>(root: &Table<'_>, key: &'static str, read: impl FnOnce(&Table<'_>, T) -> T) -> T {
    root.table(key, |table| read(table, T::default())).unwrap_or_default()
}

fn estimator(table: &Table<'_>) -> EstimatorOverrides {
    EstimatorOverrides {
        policy: table.optional("policy", |value| value.text(POLICY_EXPECTED).map(str::to_owned)),
        min_history: table.optional("min_history", duration),
        min_cpu: table.optional("min_cpu", cores),
        min_memory: table.optional("min_memory", memory),
        half_life_cpu: table.optional("half_life_cpu", duration_from(HALF_LIFE_MIN)),
        half_life_memory: table.optional("half_life_memory", duration_from(HALF_LIFE_MIN)),
        memory_interval: table.optional("memory_interval", duration_from(HALF_LIFE_MIN)),
        min_samples: table
            .optional("min_samples", whole(1..=SAMPLES_MAX))
            .and_then(|samples| u64::try_from(samples).ok()),
    }
}

fn prices(table: &Table<'_>, default: PriceConfig) -> PriceConfig {
    let price = || number(0.0..=NUMBER_MAX, "a price such as 0.03");
    let read = |key, default| table.optional(key, price()).map_or(default, MicroCents::from_units);
    PriceConfig {
        prices: Prices {
            core_hour: read("core_hour", default.prices.core_hour),
            gib_hour: read("gib_hour", default.prices.gib_hour),
        },
        currency: table.or("currency", default.currency, currency),
    }
}

fn store(table: &Table<'_>, default: &StoreConfig) -> StoreConfig {
    StoreConfig {
        keep_samples: table.or("keep_samples", default.keep_samples, duration_from(KEEP_MIN)),
        keep_events: table.or("keep_events", default.keep_events, duration_from(KEEP_MIN)),
        keep_rows: table
            .optional("keep_rows", whole(ROWS_MIN..=ROWS_MAX))
            .and_then(|rows| usize::try_from(rows).ok())
            .unwrap_or(default.keep_rows),
    }
}

fn currency(value: &Value<'_>) -> Option<String> {
    let expected = "a currency such as \"USD\"";
    let text = value.text(expected)?;
    let letters = |text: &str| text.len() == 3 && text.chars().all(|c| c.is_ascii_uppercase());
    if letters(text) {
        return Some(text.to_owned());
    }
    value.refuse_hint(expected, Some(text.to_uppercase()).filter(|upper| letters(upper)))
}
