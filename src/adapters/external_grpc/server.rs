//! Any of Loadline's providers, served by the protocol to a Cluster Autoscaler.
//!
//! What Cluster Autoscaler reads within one of its loops is one look at the provider, which `Refresh` and every
//! change renew. Requests that the provider cannot fulfil are shown as instances that failed, which is how
//! Cluster Autoscaler learns to back off; deleting one of those takes the request back.
//! Not served: prices, options of groups and templates of nodes, which the protocol leaves optional.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::adapters::external_grpc::messages::{
    CREATING, DELETING, DeleteNodes, Empty, ExternalNode, Instance, InstanceError, InstanceStatus, Instances,
    Label, NodeGroup, NodeGroups, OTHER, OUT_OF_RESOURCES, OfGroup, OfNode, OneGroup, RUNNING, SERVICE,
    SizeDelta, TargetSize,
};
use crate::ports::machines::{
    FailureKind, Group, GroupState, Machine, MachineProvider, MachineState, ProviderError,
};

/// What stands for a request that the group as a whole cannot fulfil.
const PLACEHOLDER: &str = "loadline-placeholder://";

/// Files in PEM.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Our certificate and its key.
    pub identity: (PathBuf, PathBuf),
    /// Who signs the certificates of those that may call; absent where anybody may who reaches us.
    pub client_ca: Option<PathBuf>,
}

/// Serves a provider until `end` is there.
pub async fn serve(
    provider: Arc<dyn MachineProvider>,
    listener: TcpListener,
    tls: Option<ServerTls>,
    end: impl Future<Output = ()>,
) -> Result<(), ProviderError> {
    let refused = |error: &dyn std::fmt::Display| ProviderError::new(FailureKind::Refused, error.to_string());
    let mut server = Server::builder();
    if let Some(tls) = tls {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| refused(&format!("cannot read {}: {error}", path.display())))
        };
        let (certificate, key) = (read(&tls.identity.0)?, read(&tls.identity.1)?);
        let mut own = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        if let Some(ca) = &tls.client_ca {
            own = own.client_ca_root(Certificate::from_pem(read(ca)?));
        }
        server = server.tls_config(own).map_err(|error| refused(&error))?;
    }
    let service = ProviderService { inner: Arc::new(Inner { provider, seen: Mutex::default() }) };
    let serving =
        server.add_service(service).serve_with_incoming_shutdown(TcpListenerStream::new(listener), end);
    serving.await.map_err(|error| refused(&error))
}

/// The service on the wire.
#[derive(Clone)]
struct ProviderService {
    inner: Arc<Inner>,
}

struct Inner {
    provider: Arc<dyn MachineProvider>,
    /// The last look; it is held while something is changed, so that no two calls do so at a time.
    seen: Mutex<Option<BTreeMap<String, Seen>>>,
}

#[derive(Clone)]
struct Seen {
    group: Group,
    state: GroupState,
}

impl NamedService for ProviderService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for ProviderService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        Box::pin(async move { Ok(dispatch(inner, &method, request).await) })
    }
}

async fn dispatch(inner: Arc<Inner>, method: &str, request: http::Request<Body>) -> http::Response<Body> {
    match method {
        "NodeGroups" => unary(request, |_: Empty| async move { inner.node_groups().await }).await,
        "NodeGroupForNode" => {
            unary(request, |asked: OfNode| async move { inner.group_of(asked).await }).await
        }
        "NodeGroupTargetSize" => {
            unary(request, |asked: OfGroup| async move { inner.target(&asked.id).await }).await
        }
        "NodeGroupIncreaseSize" => {
            unary(request, |asked: SizeDelta| async move { inner.increase(asked).await }).await
        }
        "NodeGroupDeleteNodes" => {
            unary(request, |asked: DeleteNodes| async move { inner.delete(asked).await }).await
        }
        "NodeGroupDecreaseTargetSize" => {
            unary(request, |asked: SizeDelta| async move { inner.decrease(asked).await }).await
        }
        "NodeGroupNodes" => {
            unary(request, |asked: OfGroup| async move { inner.instances(&asked.id).await }).await
        }
        "GPULabel" => unary(request, |_: Empty| async { Ok(Label::default()) }).await,
        "GetAvailableGPUTypes" | "Cleanup" => unary(request, |_: Empty| async { Ok(Empty {}) }).await,
        "Refresh" => unary(request, |_: Empty| async move { inner.refresh().await }).await,
        _ => Status::unimplemented(format!("{method} is not served")).into_http(),
    }
}

/// A call whose whole request is there before it is answered.
struct Call<F>(Option<F>);

impl<Q, A, F, T> UnaryService<Q> for Call<F>
where
    F: FnOnce(Q) -> T,
    T: Future<Output = Result<A, Status>> + Send + 'static,
    A: Send + 'static,
{
    type Response = A;
    type Future = BoxFuture<Response<A>, Status>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let answer = self.0.take().map(|answer| answer(request.into_inner()));
        Box::pin(async move {
            let answer = answer.ok_or_else(|| Status::internal("called twice"))?;
            answer.await.map(Response::new)
        })
    }
}

async fn unary<Q, A, F, T>(request: http::Request<Body>, answer: F) -> http::Response<Body>
where
    Q: prost::Message + Default + Send + Sync + 'static,
    A: prost::Message + Send + Sync + 'static,
    F: FnOnce(Q) -> T + Send,
    T: Future<Output = Result<A, Status>> + Send + 'static,
{
    Grpc::new(ProstCodec::<A, Q>::default()).unary(Call(Some(answer)), request).await
}

impl Inner {
    /// Everything as it was at the last refresh.
    async fn view(&self) -> Result<BTreeMap<String, Seen>, Status> {
        let mut seen = self.seen.lock().await;
        if let Some(seen) = &*seen {
            return Ok(seen.clone());
        }
        let fresh = self.look().await?;
        *seen = Some(fresh.clone());
        Ok(fresh)
    }

    async fn look(&self) -> Result<BTreeMap<String, Seen>, Status> {
        let mut seen = BTreeMap::new();
        for group in self.provider.groups().await.map_err(status)? {
            let state = self.provider.look(&group.id).await.map_err(status)?;
            seen.insert(group.id.clone(), Seen { group, state });
        }
        Ok(seen)
    }

    async fn seen(&self, id: &str) -> Result<Seen, Status> {
        self.view().await?.remove(id).ok_or_else(|| no_group(id))
    }

    async fn node_groups(&self) -> Result<NodeGroups, Status> {
        let node_groups = self.view().await?.into_values().map(|seen| node_group(&seen)).collect();
        Ok(NodeGroups { node_groups })
    }

    async fn group_of(&self, asked: OfNode) -> Result<OneGroup, Status> {
        let node = asked.node.ok_or_else(|| Status::invalid_argument("no node is named"))?;
        let view = self.view().await?;
        let found =
            view.values().find(|seen| seen.state.machines.iter().any(|machine| is_for(machine, &node)));
        // One without an id says that the node is none of ours.
        Ok(OneGroup { node_group: Some(found.map(node_group).unwrap_or_default()) })
    }

    async fn target(&self, id: &str) -> Result<TargetSize, Status> {
        Ok(TargetSize { target_size: signed(self.seen(id).await?.state.target) })
    }

    async fn instances(&self, id: &str) -> Result<Instances, Status> {
        let seen = self.seen(id).await?;
        let mut instances: Vec<Instance> = seen.state.machines.iter().map(instance).collect();
        if let Some(failure) = &seen.state.failure {
            let missing = seen.state.target.saturating_sub(seen.state.live());
            instances.extend((1..=missing).map(|number| Instance {
                id: format!("{PLACEHOLDER}{id}/{number}"),
                status: Some(InstanceStatus { state: CREATING, error: Some(instance_error(failure)) }),
            }));
        }
        Ok(Instances { instances })
    }

    async fn increase(&self, asked: SizeDelta) -> Result<Empty, Status> {
        let delta = u32::try_from(asked.delta).ok().filter(|delta| *delta > 0);
        let delta = delta.ok_or_else(|| Status::invalid_argument("an increase is by one at least"))?;
        let mut seen = self.seen.lock().await;
        *seen = None;
        let state = self.provider.look(&asked.id).await.map_err(status)?;
        self.provider.grow(&asked.id, state.target.saturating_add(delta)).await.map_err(status)?;
        Ok(Empty {})
    }

    async fn decrease(&self, asked: SizeDelta) -> Result<Empty, Status> {
        if asked.delta >= 0 {
            return Err(Status::invalid_argument("a decrease is by a negative number"));
        }
        let mut seen = self.seen.lock().await;
        *seen = None;
        let state = self.provider.look(&asked.id).await.map_err(status)?;
        let to = state.target.saturating_sub(asked.delta.unsigned_abs());
        if to < state.live() {
            let words =
                format!("group {} has {} machines, none is deleted by this call", asked.id, state.live());
            return Err(Status::failed_precondition(words));
        }
        self.provider.withdraw(&asked.id, to).await.map_err(status)?;
        Ok(Empty {})
    }

    async fn delete(&self, asked: DeleteNodes) -> Result<Empty, Status> {
        let mut seen = self.seen.lock().await;
        *seen = None;
        let state = self.provider.look(&asked.id).await.map_err(status)?;
        let mut machines = Vec::new();
        let mut placeholders = 0;
        // All are looked up before the first one goes: a wrong name in the list changes nothing.
        for node in &asked.nodes {
            if node.provider_id.starts_with(PLACEHOLDER) {
                placeholders += 1;
                continue;
            }
            let machine = state.machines.iter().find(|machine| is_for(machine, node)).ok_or_else(|| {
                Status::invalid_argument(format!("node {} is not one of group {}", node.name, asked.id))
            })?;
            machines.push(machine.id.as_str());
        }
        if placeholders > 0 {
            let to = state.target.saturating_sub(placeholders);
            self.provider.withdraw(&asked.id, to).await.map_err(status)?;
        }
        for machine in machines {
            self.provider.terminate(&asked.id, machine).await.map_err(status)?;
        }
        Ok(Empty {})
    }

    async fn refresh(&self) -> Result<Empty, Status> {
        let mut seen = self.seen.lock().await;
        *seen = Some(self.look().await?);
        Ok(Empty {})
    }
}

fn no_group(id: &str) -> Status {
    Status::not_found(format!("there is no group {id}"))
}

/// A node is found by its provider id, or by its name where it has none.
fn is_for(machine: &Machine, node: &ExternalNode) -> bool {
    if node.provider_id.is_empty() { machine.id == node.name } else { machine.id == node.provider_id }
}

fn signed(size: u32) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

fn node_group(seen: &Seen) -> NodeGroup {
    let group = &seen.group;
    let debug = format!("{}: {} of {} to {} wanted", group.id, seen.state.target, group.min, group.max);
    NodeGroup { id: group.id.clone(), min_size: signed(group.min), max_size: signed(group.max), debug }
}

fn instance(machine: &Machine) -> Instance {
    let state = match machine.state {
        MachineState::Creating => CREATING,
        MachineState::Running => RUNNING,
        MachineState::Deleting => DELETING,
        MachineState::Unknown => 0,
    };
    let error = machine.failure.as_ref().map(instance_error);
    Instance { id: machine.id.clone(), status: Some(InstanceStatus { state, error }) }
}

fn instance_error(failure: &ProviderError) -> InstanceError {
    let class = match failure.kind {
        FailureKind::Capacity | FailureKind::Quota => OUT_OF_RESOURCES,
        FailureKind::Refused | FailureKind::Unavailable => OTHER,
    };
    InstanceError { code: failure.kind.as_str().to_owned(), message: failure.message.clone(), class }
}

fn status(error: ProviderError) -> Status {
    match error.kind {
        FailureKind::Capacity | FailureKind::Quota => Status::resource_exhausted(error.message),
        FailureKind::Refused => Status::failed_precondition(error.message),
        FailureKind::Unavailable => Status::unavailable(error.message),
    }
}
