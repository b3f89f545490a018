//! Puts providers of machines together, from what the settings say of each.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::adapters::exec_provider::{ExecProvider, ExecProviderConfig};
use crate::adapters::external_grpc::{self, GrpcProvider, GrpcProviderConfig, GrpcTls, ServerTls};
use crate::app::clusters::AnyCluster;
use crate::config::{AsgSettings, GrpcTlsSettings, ProviderConfig, ProviderKind, TlsConfig};
use crate::controllers::machines::{Machines, Source};
use crate::controllers::state::EngineState;
use crate::ports::machines::MachineProvider;

/// The cluster's nodes, and behind some of them the machines of the providers that the settings name. Commands
/// start in `folder` unless they are told another one.
pub(super) async fn machines(
    configs: &[ProviderConfig],
    folder: &Path,
    (state, cluster): (&Arc<EngineState>, &Arc<dyn AnyCluster>),
) -> anyhow::Result<Machines> {
    let mut sources = BTreeMap::new();
    for config in configs {
        let source = Source { provider: open(config, folder).await?, poll: config.poll.unsigned_abs() };
        sources.insert(config.name.clone(), source);
    }
    Ok(Machines::open(Arc::clone(state), (cluster.clone(), cluster.clone()), sources)?)
}

async fn open(config: &ProviderConfig, folder: &Path) -> anyhow::Result<Arc<dyn MachineProvider>> {
    let timeout = config.timeout.unsigned_abs();
    Ok(match &config.kind {
        ProviderKind::Exec(exec) => Arc::new(ExecProvider::new(ExecProviderConfig {
            command: exec.command.clone(),
            working_dir: Some(exec.working_dir.clone().unwrap_or_else(|| folder.to_owned())),
            env: exec.env.clone(),
            timeout,
        })),
        ProviderKind::ExternalGrpc(grpc) => {
            let tls = |tls: &GrpcTlsSettings| GrpcTls {
                ca: tls.ca.clone(),
                identity: tls.cert.clone().zip(tls.key.clone()),
            };
            let settings = GrpcProviderConfig {
                address: grpc.address.clone(),
                timeout,
                tls: grpc.tls.as_ref().map(tls),
            };
            let provider = GrpcProvider::new(&settings);
            Arc::new(provider.with_context(|| format!("provider {} cannot be set up", config.name))?)
        }
        ProviderKind::Ec2Asg(asg) => ec2_asg(config, asg).await?,
    })
}

#[cfg(feature = "aws")]
async fn ec2_asg(config: &ProviderConfig, asg: &AsgSettings) -> anyhow::Result<Arc<dyn MachineProvider>> {
    let settings = crate::adapters::ec2_asg::AsgConfig {
        groups: asg.groups.clone(),
        region: asg.region.clone(),
        profile: asg.profile.clone(),
        endpoint: asg.endpoint.clone(),
        keys: asg.keys.clone(),
        timeout: config.timeout.unsigned_abs(),
    };
    let provider = crate::adapters::ec2_asg::AsgProvider::new(&settings).await;
    Ok(Arc::new(provider.with_context(|| format!("provider {} cannot be set up", config.name))?))
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
async fn ec2_asg(config: &ProviderConfig, _: &AsgSettings) -> anyhow::Result<Arc<dyn MachineProvider>> {
    anyhow::bail!(
        "provider {} is of kind ec2-asg, which this binary was built without: build it with `--features aws`",
        config.name
    )
}

/// How a provider is served.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The name of the provider.
    pub provider: String,
    /// Our certificate; plain HTTP/2 where absent.
    pub tls: Option<TlsConfig>,
    /// Who signs the certificates of callers.
    pub client_ca: Option<std::path::PathBuf>,
}

/// Serves one of the providers to a Cluster Autoscaler, until `end` is there.
pub async fn serve_provider(
    configs: &[ProviderConfig],
    serving: Serving,
    listener: TcpListener,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let config = configs.iter().find(|config| config.name == serving.provider).with_context(|| {
        let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("the settings name no provider {}; they name: {names}", serving.provider)
    })?;
    let provider = open(config, Path::new("/")).await?;
    let client_ca = serving.client_ca;
    let tls = serving.tls.map(|tls| ServerTls { identity: (tls.cert, tls.key), client_ca });
    Ok(external_grpc::serve(provider, listener, tls, end).await?)
}
