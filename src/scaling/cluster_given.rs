//! Worlds in few words, for the tests of what is decided about nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::change::Change;
use crate::domain::decision::DecisionKind;
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{JoinState, Node, NodeName, NodePool, NodeSource, NodeState, PoolName, PoolSpec};
use crate::domain::overcommit::Overcommit;
use crate::domain::plan::{WaitKind, Waiting};
use crate::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use crate::domain::rollout::{Actor, Revision};
use crate::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use crate::domain::workload::{
    Constraint, JobSpec, Owner, PlacementSpec, RestartPolicy, RunPolicy, TaskTemplate, WorkloadKind,
    WorkloadName, WorkloadSpec,
};
use crate::domain::world::{RestartState, Workload, World};
use crate::scaling::cluster::{ClusterTerms, ClusterVerdict, decide, node_use};

pub(super) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
}

pub(super) fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub(super) fn prices() -> Prices {
    Prices { core_hour: MicroCents::from_units(0.04), gib_hour: MicroCents::from_units(0.004) }
}

pub(super) fn terms() -> ClusterTerms {
    ClusterTerms { prices: prices(), headroom: None, overcommit: Arc::default() }
}

pub(super) fn resources(cpu: u64, mib: u64) -> Resources {
    Resources::new(Millicores::new(cpu), Bytes::mib(mib))
}

/// Builds worlds in few words.
#[derive(Default)]
pub(super) struct Build(pub(super) World);

impl Build {
    /// A pool of 1 to 5 nodes that shrinks under 50 % after 60 s.
    pub(super) fn pool(mut self, name: &str, size: Resources, target: u32) -> Self {
        let name = PoolName::new(name).expect("a name");
        let spec = PoolSpec {
            size,
            min: 1,
            max: 5,
            price_per_hour: None,
            attributes: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            reserved_for: Vec::new(),
            scale_down_below: Share::new(0.5),
            scale_down_after: SignedDuration::from_secs(60),
            cooldown_up: SignedDuration::from_secs(30),
            cooldown_down: SignedDuration::from_secs(60),
            source: NodeSource::default(),
        };
        let pool = NodePool {
            name: name.clone(),
            spec,
            target,
            next_node: 1,
            grown_at: None,
            shrunk_at: None,
            deleted: false,
            joins: JoinState::default(),
            regrown: 0,
            grown_for: String::new(),
        };
        self.0.pools.insert(name, pool);
        self
    }

    pub(super) fn node(mut self, pool: &str, number: u64, state: NodeState) -> Self {
        let pool = self.0.pools[&PoolName::new(pool).expect("a name")].clone();
        let name = NodeName::new(&format!("{}-{number}", pool.name)).expect("a name");
        let node = Node {
            name: name.clone(),
            pool: pool.name,
            size: pool.spec.size,
            attributes: pool.spec.attributes,
            state,
            reason: String::new(),
            remove_when_empty: state == NodeState::Draining,
            created_at: ago(9000),
            state_since: ago(9000),
            underused_since: None,
            made_for: String::new(),
        };
        self.0.nodes.insert(name, node);
        self
    }

    pub(super) fn task(mut self, name: &str, number: u64, request: Resources, node: Option<&str>) -> Self {
        let workload = WorkloadName::new(name).expect("a name");
        let id = TaskId::new(workload, number);
        let task = Task {
            id: id.clone(),
            kind: WorkloadKind::Service,
            revision: 1,
            origin: TaskOrigin::Instance,
            size: TaskSize::of(request),
            state: if node.is_some() { TaskState::Running } else { TaskState::Pending },
            reason: String::new(),
            node: node.map(|node| NodeName::new(node).expect("a name")),
            ports: BTreeMap::new(),
            created_at: ago(9000),
            not_before: ago(9000),
            started_at: None,
            ready_at: None,
            state_since: ago(9000),
            exit: None,
            preempted_for: None,
        };
        self.0.tasks.insert(id, task);
        self
    }

    /// Everything is underused for as long as it takes, where its requests say so.
    pub(super) fn rested(mut self) -> Self {
        for change in node_use(&self.0, &Overcommit::default(), ago(3600)) {
            let Change::NodeUse { node, underused_since } = change else { panic!("{change:?}") };
            self.0.nodes.get_mut(&node).expect("a node").underused_since = underused_since;
        }
        self
    }

    pub(super) fn edit(mut self, edit: impl FnOnce(&mut World)) -> Self {
        edit(&mut self.0);
        self
    }

    pub(super) fn pool_mut(&mut self, name: &str) -> &mut NodePool {
        self.0.pools.get_mut(&PoolName::new(name).expect("a name")).expect("a pool")
    }

    pub(super) fn decide(&self) -> ClusterVerdict {
        self.decide_with(&terms())
    }

    pub(super) fn decide_with(&self, terms: &ClusterTerms) -> ClusterVerdict {
        let waiting: Vec<Waiting> = self
            .0
            .tasks
            .values()
            .filter(|task| task.state == TaskState::Pending)
            .map(|task| Waiting {
                task: task.id.clone(),
                request: task.size.request,
                kind: WaitKind::Room,
                reason: String::new(),
                nodes: Arc::default(),
                narrowed: Arc::default(),
            })
            .collect();
        decide(&self.0, &waiting, terms, now())
    }
}

/// The pool, its target before and after, and the rule.
pub(super) fn change(verdict: &ClusterVerdict) -> Option<(String, u32, u32, String)> {
    let proposal = &verdict.decision.as_ref()?.proposal;
    let DecisionKind::Pool { pool, from, to } = &proposal.kind else { panic!("not a pool") };
    Some((pool.to_string(), *from, *to, proposal.rule.clone()))
}

pub(super) fn grown(pool: &str, from: u32, to: u32) -> (String, u32, u32, String) {
    (pool.to_owned(), from, to, "least waste".to_owned())
}

pub(super) fn small_full() -> Build {
    Build::default().pool("small", resources(1000, 1024), 1).node("small", 1, NodeState::Ready).task(
        "web",
        1,
        resources(900, 900),
        Some("small-1"),
    )
}

/// A workload with constraints, for tasks of revision 1.
pub(super) fn with_constraints(world: &mut World, name: &str, constraints: &[(&str, &str)]) {
    let constraints = constraints
        .iter()
        .map(|(attribute, value)| Constraint::is_in(attribute, vec![(*value).to_owned()]))
        .collect();
    let restart = RestartPolicy {
        backoff: SignedDuration::from_secs(1),
        backoff_max: SignedDuration::from_secs(1),
        jitter: Share::new(0.0),
        reset_after: SignedDuration::from_secs(1),
    };
    let spec = WorkloadSpec::Job(Box::new(JobSpec {
        owner: Owner::default(),
        template: TaskTemplate {
            command: vec!["true".to_owned()],
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            size: TaskSize::of(resources(100, 100)),
            stop_grace: SignedDuration::from_secs(1),
            placement: PlacementSpec { constraints, ..PlacementSpec::default() },
            priority: 0,
        },
        run_on_apply: false,
        run: RunPolicy::new(0, restart, None),
        policy: None,
    }));
    let name = WorkloadName::new(name).expect("a name");
    let revision =
        Revision { number: 1, spec: spec.clone(), at: ago(9000), by: Actor::Engine, healthy: true };
    let workload = Workload {
        name: name.clone(),
        spec,
        revision: 1,
        revisions: BTreeMap::from([(1, revision)]),
        last_revision: 1,
        count: 0,
        size: None,
        next_task: 1,
        restart: RestartState::default(),
        rollout: None,
        cron_cursor: None,
        deleted: false,
        generation: 0,
        jobs: crate::domain::world::JobState::default(),
    };
    world.workloads.insert(name, workload);
}

pub(super) fn two_with_room() -> Build {
    Build::default()
        .pool("small", resources(1000, 1024), 2)
        .node("small", 1, NodeState::Ready)
        .node("small", 2, NodeState::Ready)
        .task("web", 1, resources(500, 500), Some("small-1"))
        .task("web", 2, resources(200, 100), Some("small-2"))
        .rested()
}
