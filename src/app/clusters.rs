//! The cluster that an engine runs tasks on, whichever it is. In: settings. Out: its ports.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::adapters::local::{LocalCluster, LocalConfig, LogLimits};
use crate::adapters::simulated::{SimulatedCluster, SimulatedConfig};
use crate::agent::prober::Prober;
use crate::app::AppConfig;
use crate::config::ClusterKind;
use crate::ports::clock::Clock;
use crate::ports::cluster::{ClusterObserver, TaskRunner};
use crate::ports::exec::TaskExec;
use crate::ports::health::HealthSource;
use crate::ports::logs::LogSource;
use crate::ports::node_provider::NodeProvider;
use crate::ports::usage_source::UsageSource;

/// Everything that an engine needs of a cluster.
pub(super) trait AnyCluster:
    TaskRunner + ClusterObserver + NodeProvider + TaskExec + LogSource + UsageSource
{
}

impl<T: TaskRunner + ClusterObserver + NodeProvider + TaskExec + LogSource + UsageSource> AnyCluster for T {}

/// A cluster, and how the tasks on it are asked how they are.
pub(super) type Opened = (Arc<dyn AnyCluster>, Arc<dyn HealthSource>);

/// Takes up what is in the data folder, or begins with nothing where the cluster is simulated.
pub(super) fn open(config: &AppConfig, data_dir: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<Opened> {
    let engine = &config.engine;
    if engine.engine.cluster == ClusterKind::Simulated {
        let settings = engine.simulated;
        let config = SimulatedConfig { seed: settings.seed, faults: settings.faults, boot: settings.boot };
        let cluster = SimulatedCluster::new(config, Arc::clone(clock));
        return Ok((Arc::new(cluster.clone()), Arc::new(cluster)));
    }
    let local = LocalConfig {
        logs: LogLimits {
            file_bytes: engine.logs.max_size.get(),
            rotated_files: engine.logs.files.saturating_sub(1),
        },
        ..LocalConfig::new(data_dir.to_owned(), config.executable.clone(), instance_of(data_dir))
    };
    let cluster = LocalCluster::open(local, Arc::clone(clock))?;
    let prober = Prober::new(Handle::current(), Arc::clone(clock), Arc::new(cluster.clone()));
    Ok((Arc::new(cluster), Arc::new(prober)))
}

/// A short name for this engine's control groups: the same for the same data folder.
fn instance_of(data_dir: &Path) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    data_dir.hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}
