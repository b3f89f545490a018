//! The composition root: the only module that knows every layer. It builds, wires, starts and ends.

#[cfg(feature = "analytics")]
mod analytics;
mod loops;
mod telemetry;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::adapters::front_door::{FrontDoorOptions, FrontDoorServer};
use crate::adapters::health::Prober;
use crate::adapters::local::{CgroupMode, LocalCluster, LocalConfig};
use crate::adapters::prometheus::engine_metrics::EngineMetrics;
use crate::adapters::prometheus::scraper::{InstanceMetrics, Scraper};
use crate::adapters::storage::SqliteStore;
use crate::adapters::system_clock::SystemClock;
use crate::api::ApiState;
use crate::config::EngineConfig;
use crate::controllers::analyst::{AgentSource, Analysis, Analyst};
use crate::controllers::autoscaler::{Autoscaler, AutoscalerSettings};
use crate::controllers::cluster_scaler::ClusterScaler;
use crate::controllers::control::EngineControl;
use crate::controllers::decisions::Recorder;
use crate::controllers::housekeeper::Housekeeper;
use crate::controllers::routes::FrontDoorPorts;
use crate::controllers::scheduler::{Pass, Scheduler, SchedulerPorts};
use crate::controllers::state::EngineState;
use crate::domain::usage::AgentReading;
use crate::estimation::vpa::VpaEstimator;
use crate::ports::clock::Clock;
use crate::ports::cluster::{ClusterObserver, TaskRunner};
use crate::ports::control::Control;
use crate::ports::store::{Store, StoreError};

/// The store's file in the data folder.
const STORE_FILE: &str = "loadline.db";
/// Requests under way at the front door get this long when the engine ends.
const FRONT_DOOR_GRACE: Duration = Duration::from_secs(5);
