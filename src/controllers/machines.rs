//! Nodes of pools whose machines come from a provider: which machine stands behind which node.
//! In: what the scheduler asks for, a node at a time. Out: sizes of groups, and machines that are removed.
//! Not here: which nodes there should be (`scheduling`), and how a provider is reached (`adapters`).
//!
//! A node is first a claim: its group is asked for one machine more. The first machine that nobody has is
//! bound to it. Both are written down before the provider is asked, so that nothing that was asked for is
//! forgotten in a crash. Only machines that are bound, or came for a claim, are ever removed; others of the
//! group are taken for new nodes first and left alone otherwise.
//!
//! No agent runs on those machines yet: once a machine runs, a slice of this machine stands for it
//! (`rehearse`); pools without that ask for no nodes at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::controllers::driver::chain;
use crate::controllers::state::EngineState;
use crate::domain::node::{Node, NodeName, NodeState};
use crate::domain::observation::NodeObservation;
use crate::ports::cluster::{ClusterError, ClusterObservation, ClusterObserver};
use crate::ports::machines::{
    FailureKind, GroupState, Machine, MachineProvider, MachineState, ProviderError,
};
use crate::ports::node_provider::NodeProvider;
use crate::ports::store::StoreError;

/// The document that the store keeps claims and machines in.
const DOCUMENT: &str = "machines";

/// A provider, and how often it is looked at.
#[derive(Clone)]
pub struct Source {
    /// The provider.
    pub provider: Arc<dyn MachineProvider>,
    /// From one look at a group to the next.
    pub poll: Duration,
}

/// A group of a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct GroupKey {
    provider: String,
    group: String,
}

/// A node's claim, and the machine once there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    of: GroupKey,
    machine: Option<String>,
}

/// A look at a group.
#[derive(Clone)]
struct Look {
    at: Instant,
    state: GroupState,
}

struct Inner {
    state: Arc<EngineState>,
    nodes: Arc<dyn NodeProvider>,
    observer: Arc<dyn ClusterObserver>,
    sources: BTreeMap<String, Source>,
    claims: Mutex<BTreeMap<NodeName, Claim>>,
    looks: Mutex<BTreeMap<GroupKey, Look>>,
    /// Calls about one group are made one after the other.
    turns: Mutex<BTreeMap<GroupKey, Arc<tokio::sync::Mutex<()>>>>,
    watched: Mutex<BTreeSet<GroupKey>>,
}

/// The cluster's nodes, and behind some of them the machines of providers.
#[derive(Clone)]
pub struct Machines(Arc<Inner>);

impl Machines {
    /// Takes up what the store knows of claims.
    pub fn open(
        state: Arc<EngineState>,
        (nodes, observer): (Arc<dyn NodeProvider>, Arc<dyn ClusterObserver>),
        sources: BTreeMap<String, Source>,
    ) -> Result<Self, StoreError> {
        let known = state.store().document(DOCUMENT)?;
        // An engine that went on without them would leave machines running that nobody knows.
        let claims = known.map(|text| serde_json::from_slice(&text)).transpose().map_err(|error| {
            let (operation, source) = (format!("read the document {DOCUMENT}"), Box::new(error));
            StoreError::Failed { operation, source }
        })?;
        Ok(Self(Arc::new(Inner {
            state,
            nodes,
            observer,
            sources,
            claims: Mutex::new(claims.unwrap_or_default()),
            looks: Mutex::default(),
            turns: Mutex::default(),
            watched: Mutex::default(),
        })))
    }

    /// The names of the providers.
    pub fn providers(&self) -> BTreeSet<String> {
        self.0.sources.keys().cloned().collect()
    }
}

#[async_trait]
impl NodeProvider for Machines {
    async fn create(&self, node: &Node) -> Result<(), ClusterError> {
        let world = self.0.state.world().await;
        let source = world.pools.get(&node.pool).map(|pool| pool.spec.source.clone()).unwrap_or_default();
        let known = lock(&self.0.claims).get(&node.name).map(|claim| claim.of.clone());
        let of = match (known, source.provider) {
            (Some(of), _) => of,
            (None, None) => return self.0.nodes.create(node).await,
            (None, Some(provider)) => {
                GroupKey { provider, group: source.group.unwrap_or_else(|| node.pool.to_string()) }
            }
        };
        let _turn = self.0.turn(&of).await;
        // The turn may have come late, after the node was given up.
        let joining = |known: &Node| known.state == NodeState::Joining;
        if !self.0.state.world().await.nodes.get(&node.name).is_some_and(joining) {
            return Ok(());
        }
        match self.0.obtain(&of, &node.name).await.map_err(|error| told(&of, &error))? {
            MachineState::Running | MachineState::Unknown => self.0.nodes.create(node).await,
            MachineState::Creating | MachineState::Deleting => Ok(()),
        }
    }

    async fn remove(&self, node: &NodeName) -> Result<(), ClusterError> {
        // First, since it is refused where tasks are.
        self.0.nodes.remove(node).await?;
        let Some(of) = lock(&self.0.claims).get(node).map(|claim| claim.of.clone()) else { return Ok(()) };
        let _turn = self.0.turn(&of).await;
        self.0.let_go(&of, node).await.map_err(|error| told(&of, &error))
    }

    async fn fail(&self, node: &NodeName) -> Result<(), ClusterError> {
        self.0.nodes.fail(node).await
    }
}

#[async_trait]
impl ClusterObserver for Machines {
    async fn observe(&self) -> Result<ClusterObservation, ClusterError> {
        let mut seen = self.0.observer.observe().await?;
        let claims = lock(&self.0.claims).clone();
        for (node, claim) in claims {
            if claim.machine.is_some() && seen.nodes.get(&node) == Some(&NodeObservation::Ready) {
                self.watch(&claim.of);
            }
            seen.nodes.entry(node).or_insert(NodeObservation::Arriving);
        }
        Ok(seen)
    }

    async fn changed(&self) {
        self.0.observer.changed().await;
    }

    fn limitations(&self) -> Vec<String> {
        self.0.observer.limitations()
    }
}

impl Machines {
    /// Looks whether machines behind nodes are still there, once in a while and beside the pass.
    fn watch(&self, of: &GroupKey) {
        let Some(source) = self.0.sources.get(&of.provider) else { return };
        let fresh = lock(&self.0.looks).get(of).is_some_and(|look| look.at.elapsed() < source.poll);
        if fresh || !lock(&self.0.watched).insert(of.clone()) {
            return;
        }
        let (inner, of) = (Arc::clone(&self.0), of.clone());
        tokio::spawn(async move {
            inner.find_gone(&of).await;
            lock(&inner.watched).remove(&of);
        });
    }
}

impl Inner {
    async fn turn(&self, of: &GroupKey) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = Arc::clone(lock(&self.turns).entry(of.clone()).or_default());
        turn.lock_owned().await
    }

    fn source(&self, of: &GroupKey) -> Result<&Source, ProviderError> {
        self.sources.get(&of.provider).ok_or_else(|| {
            let known: Vec<&str> = self.sources.keys().map(String::as_str).collect();
            let message = format!(
                "the engine's settings name no provider {}; they name: {}",
                of.provider,
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
            ProviderError::new(FailureKind::Refused, message)
        })
    }

    /// A group, as it was within the provider's poll interval.
    async fn look(&self, of: &GroupKey) -> Result<GroupState, ProviderError> {
        let source = self.source(of)?;
        let known = lock(&self.looks).get(of).filter(|look| look.at.elapsed() < source.poll).cloned();
        if let Some(known) = known {
            return Ok(known.state);
        }
        let state = source.provider.look(&of.group).await?;
        lock(&self.looks).insert(of.clone(), Look { at: Instant::now(), state: state.clone() });
        Ok(state)
    }

    async fn look_anew(&self, of: &GroupKey) -> Result<GroupState, ProviderError> {
        lock(&self.looks).remove(of);
        self.look(of).await
    }

    /// Changes claims and writes them down.
    async fn note(&self, change: impl FnOnce(&mut BTreeMap<NodeName, Claim>)) -> Result<(), ProviderError> {
        let text = {
            let mut claims = lock(&self.claims);
            change(&mut claims);
            serde_json::to_vec(&*claims).unwrap_or_default()
        };
        let store = Arc::clone(self.state.store());
        let written = tokio::task::spawn_blocking(move || store.put_document(DOCUMENT, &text)).await;
        let failed = |words: String| {
            ProviderError::new(
                FailureKind::Unavailable,
                format!("cannot write down which machine is whose: {words}"),
            )
        };
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(chain(&error))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Sees to it that a node has a machine, or that one is on its way. Tells how far it is.
    async fn obtain(&self, of: &GroupKey, node: &NodeName) -> Result<MachineState, ProviderError> {
        let provider = Arc::clone(&self.source(of)?.provider);
        let state = self.look(of).await?;
        let bound = lock(&self.claims).get(node).and_then(|claim| claim.machine.clone());
        if let Some(id) = bound {
            return self.follow(of, node, state.machine(&id), &id).await;
        }
        if let Some(machine) = self.free(of, &state) {
            let claim = Claim { of: of.clone(), machine: Some(machine.id.clone()) };
            self.note(|claims| drop(claims.insert(node.clone(), claim))).await?;
            return Ok(machine.state);
        }
        let claim = Claim { of: of.clone(), machine: None };
        self.note(|claims| drop(claims.insert(node.clone(), claim))).await?;
        let wanted = self.wanted(of, &state);
        if state.target < wanted {
            lock(&self.looks).remove(of);
            provider.grow(&of.group, wanted).await?;
            return Ok(MachineState::Creating);
        }
        // Asked for, and not there: the provider may say why.
        let unbound = |machine: &&Machine| !self.is_bound(of, &machine.id);
        let failed = state.machines.iter().filter(unbound).find_map(|machine| machine.failure.clone());
        match failed.or(state.failure) {
            Some(failure) => Err(failure),
            None => Ok(MachineState::Creating),
        }
    }

    /// How a node's own machine does. One that failed or is gone is its no more.
    async fn follow(
        &self,
        of: &GroupKey,
        node: &NodeName,
        machine: Option<&Machine>,
        id: &str,
    ) -> Result<MachineState, ProviderError> {
        match machine {
            Some(machine) if machine.is_live() => Ok(machine.state),
            Some(Machine { failure: Some(failure), .. }) => Err(failure.clone()),
            _ => {
                let claim = Claim { of: of.clone(), machine: None };
                self.note(|claims| drop(claims.insert(node.clone(), claim))).await?;
                Err(ProviderError::new(
                    FailureKind::Unavailable,
                    format!("machine {id} was removed before it joined"),
                ))
            }
        }
    }

    /// Removes what is behind a node: its machine, or the request for one.
    async fn let_go(&self, of: &GroupKey, node: &NodeName) -> Result<(), ProviderError> {
        let provider = Arc::clone(&self.source(of)?.provider);
        let bound = lock(&self.claims).get(node).and_then(|claim| claim.machine.clone());
        let state = self.look_anew(of).await?;
        lock(&self.looks).remove(of);
        // One that came for the claim after the last look is its machine.
        let machine = bound.or_else(|| self.free(of, &state).map(|machine| machine.id));
        if let Some(machine) = machine {
            let claim = Claim { of: of.clone(), machine: Some(machine.clone()) };
            self.note(|claims| drop(claims.insert(node.clone(), claim))).await?;
            provider.terminate(&of.group, &machine).await?;
        } else {
            // What stands for requests that failed goes with the requests.
            for failed in state.machines.iter().filter(|machine| machine.failure.is_some()) {
                provider.terminate(&of.group, &failed.id).await?;
            }
            provider.withdraw(&of.group, self.wanted(of, &state).saturating_sub(1)).await?;
        }
        self.note(|claims| drop(claims.remove(node))).await
    }

    /// Machines of a group that is wanted: those behind nodes, those of nobody, and one for each claim.
    fn wanted(&self, of: &GroupKey, state: &GroupState) -> u32 {
        let open =
            lock(&self.claims).values().filter(|claim| claim.of == *of && claim.machine.is_none()).count();
        state.live().saturating_add(u32::try_from(open).unwrap_or(u32::MAX))
    }

    fn is_bound(&self, of: &GroupKey, machine: &str) -> bool {
        lock(&self.claims).values().any(|claim| claim.of == *of && claim.machine.as_deref() == Some(machine))
    }

    fn free(&self, of: &GroupKey, state: &GroupState) -> Option<Machine> {
        state.machines.iter().find(|machine| machine.is_live() && !self.is_bound(of, &machine.id)).cloned()
    }

    /// Fails nodes whose machines are gone: what stands for them here goes with them.
    async fn find_gone(&self, of: &GroupKey) {
        let _turn = self.turn(of).await;
        let state = match self.look_anew(of).await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(provider = of.provider, group = of.group, %error, "cannot be looked at");
                return;
            }
        };
        let claims = lock(&self.claims).clone();
        for (node, claim) in claims {
            let Some(id) = claim.machine.filter(|_| claim.of == *of) else { continue };
            let gone = state.machine(&id).is_none_or(|machine| machine.state == MachineState::Deleting);
            if !gone {
                continue;
            }
            tracing::warn!(%node, machine = id, "its machine is gone");
            match self.nodes.fail(&node).await {
                Ok(()) | Err(ClusterError::NoSuchNode(_)) => {}
                Err(error) => tracing::warn!(%node, %error, "cannot be failed"),
            }
        }
    }
}

/// What the scheduler makes of a provider's error.
fn told(of: &GroupKey, error: &ProviderError) -> ClusterError {
    let words = format!("provider {}, group {}: {}", of.provider, of.group, error.message);
    match error.kind {
        FailureKind::Unavailable => ClusterError::Refused(words),
        FailureKind::Capacity | FailureKind::Quota | FailureKind::Refused => ClusterError::NoMachine(words),
    }
}

/// A poisoned lock only means that another thread panicked; the maps behind these stay whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
