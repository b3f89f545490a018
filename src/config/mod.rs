//! Specs, engine settings and the command line's contexts: from what is written in TOML to what is valid.
//! Not here: what the values mean (`domain`), what is done with them (`app`, `api`).
//!
//! Every mistake of every file is reported at once, each with its position. A reader of a table
//! (`reader::Table`) notes which keys it was asked for, so a new key is one new line in the struct that
//! it fills; the same line makes the key valid, checks its value and gives its default.

mod api;
mod checks;
mod contexts;
mod cron;
mod crosscheck;
mod disaster;
mod engine;
mod error;
mod hooks;
mod limits;
mod node_types;
mod overcommit;
mod placement;
mod planning;
mod pool;
mod provider;
mod reader;
mod rollout;
mod scale;
mod scale_event;
mod scale_queue;
mod scale_window;
mod simulated;
mod source;
mod specs;
mod task;
mod values;
mod wording;
mod workload;

pub use api::{ApiConfig, ApiLimits, TlsConfig};
pub use contexts::{ClientConfig, Context, parse_client_config};
pub use engine::{
    AgentConfig, AutoscalerConfig, EngineConfig, EstimatorOverrides, LogConfig, LoopConfig, PriceConfig,
    RecommenderConfig, ScrapeConfig, StoreConfig, load_engine_config, parse_engine_config,
};
pub use error::{SpecError, render_errors};
pub use hooks::{CommandHookConfig, WebhookConfig};
pub use node_types::{GPU, parse_node_types, shipped_node_types};
pub use overcommit::OvercommitConfig;
pub use planning::{PlanningError, read_node_types, read_nodes, read_tasks};
pub use provider::{AsgSettings, ExecSettings, GrpcSettings, GrpcTlsSettings, ProviderConfig, ProviderKind};
pub use simulated::{ClusterKind, SimulatedSettings};
pub use source::read_sources;
pub use specs::{Known, load_specs, parse_specs, parse_specs_with};
pub use values::read_duration;
