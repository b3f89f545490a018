//! A provider behind the protocol.
//!
//! The protocol changes sizes by differences, the port by absolute numbers: each try reads the size first, so
//! that a call whose answer was lost is not made twice. Calls that change something never overlap.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::adapters::external_grpc::messages::{
    CREATING, DELETING, DeleteNodes, Empty, ExternalNode, Instance, InstanceError, Instances, NodeGroups,
    OUT_OF_RESOURCES, OfGroup, RUNNING, SERVICE, SizeDelta, TargetSize,
};
use crate::ports::machines::{
    FailureKind, Group, GroupState, Machine, MachineProvider, MachineState, ProviderError,
};

/// Calls for one thing, where another try may help.
const TRIES: u32 = 3;
/// The wait before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a provider listens.
#[derive(Debug, Clone)]
pub struct GrpcProviderConfig {
    /// `http://host:port`, or `https://host:port` with `tls`.
    pub address: String,
    /// An answer later than this is none.
    pub timeout: Duration,
    /// Certificates, where it speaks TLS.
    pub tls: Option<GrpcTls>,
}

/// Files in PEM; read when the provider is set up.
#[derive(Debug, Clone)]
pub struct GrpcTls {
    /// Who signed the provider's certificate.
    pub ca: PathBuf,
    /// Our own certificate and its key, where the provider asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A provider behind the protocol.
#[derive(Debug)]
pub struct GrpcProvider {
    channel: Channel,
    address: String,
    timeout: Duration,
    turn: Mutex<()>,
}

impl GrpcProvider {
    /// A provider that is connected to with the first call, and again after each break.
    pub fn new(config: &GrpcProviderConfig) -> Result<Self, ProviderError> {
        let refused = |what: String| ProviderError::new(FailureKind::Refused, what);
        let wrong = |error: &dyn std::fmt::Display| refused(format!("{}: {error}", config.address));
        let endpoint = Endpoint::from_shared(config.address.clone()).map_err(|error| wrong(&error))?;
        let mut endpoint = endpoint.timeout(config.timeout).connect_timeout(config.timeout);
        if let Some(tls) = &config.tls {
            let read = |path: &PathBuf| {
                std::fs::read(path)
                    .map_err(|error| refused(format!("cannot read {}: {error}", path.display())))
            };
            let mut own = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&tls.ca)?));
            if let Some((certificate, key)) = &tls.identity {
                own = own.identity(Identity::from_pem(read(certificate)?, read(key)?));
            }
            endpoint = endpoint.tls_config(own).map_err(|error| wrong(&error))?;
        }
        let channel = endpoint.connect_lazy();
        Ok(Self { channel, address: config.address.clone(), timeout: config.timeout, turn: Mutex::default() })
    }

    /// One call, once.
    async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, ProviderError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let failed = |status: &Status| self.failed(method, status);
        let path = PathAndQuery::try_from(format!("/{SERVICE}/{method}"))
            .map_err(|error| failed(&Status::internal(error.to_string())))?;
        let asking = async {
            let mut grpc = Grpc::new(self.channel.clone());
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await
        };
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(answer) => Ok(answer.map_err(|status| failed(&status))?.into_inner()),
            Err(_) => Err(failed(&Status::deadline_exceeded(format!("no answer within {:?}", self.timeout)))),
        }
    }

    fn failed(&self, method: &str, status: &Status) -> ProviderError {
        let kind = match status.code() {
            Code::ResourceExhausted | Code::OutOfRange => FailureKind::Quota,
            Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Unimplemented => FailureKind::Refused,
            _ => FailureKind::Unavailable,
        };
        let message = format!("{method} at {}: {:?}: {}", self.address, status.code(), status.message());
        ProviderError::new(kind, message)
    }

    /// A call that changes nothing, again where that may help.
    async fn read<Q, A>(&self, method: &'static str, request: Q) -> Result<A, ProviderError>
    where
        Q: prost::Message + Clone + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        again(|| self.call(method, request.clone())).await
    }

    async fn target(&self, group: &str) -> Result<i32, ProviderError> {
        let answer: TargetSize = self.read("NodeGroupTargetSize", OfGroup { id: group.to_owned() }).await?;
        Ok(answer.target_size)
    }

    async fn instances(&self, group: &str) -> Result<Vec<Instance>, ProviderError> {
        let answer: Instances = self.read("NodeGroupNodes", OfGroup { id: group.to_owned() }).await?;
        Ok(answer.instances)
    }

    /// Providers may answer from what they knew at the last refresh.
    async fn refresh(&self) -> Result<(), ProviderError> {
        self.read::<_, Empty>("Refresh", Empty {}).await.map(drop)
    }
}

/// Tries again where that may help.
async fn again<T, F: Future<Output = Result<T, ProviderError>>>(
    mut call: impl FnMut() -> F,
) -> Result<T, ProviderError> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match call().await {
            Err(error) if error.kind == FailureKind::Unavailable => {}
            answer => return answer,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    call().await
}

#[async_trait]
impl MachineProvider for GrpcProvider {
    async fn groups(&self) -> Result<Vec<Group>, ProviderError> {
        self.refresh().await?;
        let answer: NodeGroups = self.read("NodeGroups", Empty {}).await?;
        let group = |one: crate::adapters::external_grpc::messages::NodeGroup| Group {
            id: one.id,
            min: unsigned(one.min_size),
            max: unsigned(one.max_size),
        };
        Ok(answer.node_groups.into_iter().map(group).collect())
    }

    async fn look(&self, group: &str) -> Result<GroupState, ProviderError> {
        self.refresh().await?;
        let target = unsigned(self.target(group).await?);
        let machines = self.instances(group).await?.into_iter().map(machine).collect();
        Ok(GroupState { target, machines, failure: None })
    }

    async fn grow(&self, group: &str, to: u32) -> Result<(), ProviderError> {
        let _turn = self.turn.lock().await;
        let known = self.groups().await?;
        if let Some(known) = known.iter().find(|known| known.id == group)
            && to > known.max
        {
            let message = format!("group {group} has at most {} machines, {to} are wanted", known.max);
            return Err(ProviderError::new(FailureKind::Quota, message));
        }
        let wanted = i32::try_from(to).unwrap_or(i32::MAX);
        again(|| async {
            let delta = wanted.saturating_sub(self.target(group).await?);
            if delta <= 0 {
                return Ok(());
            }
            let request = SizeDelta { delta, id: group.to_owned() };
            self.call::<_, Empty>("NodeGroupIncreaseSize", request).await.map(drop)
        })
        .await
    }

    async fn withdraw(&self, group: &str, to: u32) -> Result<(), ProviderError> {
        let _turn = self.turn.lock().await;
        let wanted = i32::try_from(to).unwrap_or(i32::MAX);
        again(|| async {
            let state = self.look(group).await?;
            let wanted = wanted.max(i32::try_from(state.live()).unwrap_or(i32::MAX));
            let delta = wanted.saturating_sub(i32::try_from(state.target).unwrap_or(i32::MAX));
            if delta >= 0 {
                return Ok(());
            }
            let request = SizeDelta { delta, id: group.to_owned() };
            self.call::<_, Empty>("NodeGroupDecreaseTargetSize", request).await.map(drop)
        })
        .await
    }

    async fn terminate(&self, group: &str, machine: &str) -> Result<(), ProviderError> {
        let _turn = self.turn.lock().await;
        again(|| async {
            let state = self.look(group).await?;
            let there = state.machine(machine).is_some_and(|found| found.state != MachineState::Deleting);
            if !there {
                return Ok(());
            }
            let node = ExternalNode {
                provider_id: machine.to_owned(),
                name: machine.to_owned(),
                ..ExternalNode::default()
            };
            let request = DeleteNodes { nodes: vec![node], id: group.to_owned() };
            self.call::<_, Empty>("NodeGroupDeleteNodes", request).await.map(drop)
        })
        .await
    }
}

fn unsigned(size: i32) -> u32 {
    u32::try_from(size).unwrap_or(0)
}

fn machine(instance: Instance) -> Machine {
    let status = instance.status.unwrap_or_default();
    let state = match status.state {
        RUNNING => MachineState::Running,
        CREATING => MachineState::Creating,
        DELETING => MachineState::Deleting,
        _ => MachineState::Unknown,
    };
    let failure = status.error.filter(|error| !error.code.is_empty()).map(|error| failure(&error));
    Machine { id: instance.id, state, failure }
}

fn failure(error: &InstanceError) -> ProviderError {
    let kind = match error.class {
        OUT_OF_RESOURCES if error.code.to_lowercase().contains("quota") => FailureKind::Quota,
        OUT_OF_RESOURCES => FailureKind::Capacity,
        _ => FailureKind::Refused,
    };
    let said = if error.message.is_empty() { &error.code } else { &error.message };
    ProviderError::new(kind, said.clone())
}
