//! What tasks hold and use, summed up by node and by team, and kept up with the steps of a plan.

use foldhash::HashMap;

use crate::domain::node::NodeName;
use crate::domain::overcommit;
use crate::domain::quantity::{Millicores, Resources};
use crate::domain::quota::Quota;

/// What one task holds.
pub(super) struct Held {
    pub(super) node: NodeName,
    /// Its team, where teams have quotas.
    pub(super) team: Option<String>,
    pub(super) request: Resources,
    /// The CPU that it counts with.
    pub(super) charged: Millicores,
    /// What it really uses, or is likely to.
    pub(super) used: Resources,
}

/// The load of a node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    pub(super) held: overcommit::Held,
    pub(super) used: Resources,
    /// Tasks that hold resources.
    pub(super) tasks: u32,
}

/// The load of a team.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TeamLoad {
    pub(super) reserved: Resources,
    pub(super) tasks: u32,
}

/// The sums.
#[derive(Default)]
pub(super) struct Loads {
    nodes: HashMap<NodeName, Load>,
    teams: HashMap<String, TeamLoad>,
}

impl Loads {
    pub(super) fn add(&mut self, held: &Held) {
        self.add_one(&held.node, held.team.as_deref(), (held.request, held.charged), held.used);
    }

    pub(super) fn add_one(
        &mut self,
        node: &NodeName,
        team: Option<&str>,
        (request, charged): (Resources, Millicores),
        used: Resources,
    ) {
        let load = match self.nodes.get_mut(node) {
            Some(load) => load,
            None => self.nodes.entry(node.clone()).or_default(),
        };
        load.held.add(request, charged);
        load.used += used;
        load.tasks += 1;
        if let Some(team) = team {
            self.teams.entry(team.to_owned()).or_default().add(request);
        }
    }

    /// Adds what was summed up apart.
    pub(super) fn merge(&mut self, other: Self) {
        for (node, load) in other.nodes {
            let sum = self.nodes.entry(node).or_default();
            sum.held.add(load.held.requests, load.held.charged);
            sum.used += load.used;
            sum.tasks += load.tasks;
        }
        for (team, load) in other.teams {
            let sum = self.teams.entry(team).or_default();
            sum.reserved += load.reserved;
            sum.tasks += load.tasks;
        }
    }

    pub(super) fn remove(&mut self, held: &Held) {
        if let Some(load) = self.nodes.get_mut(&held.node) {
            load.held.remove(held.request, held.charged);
            load.used = load.used.saturating_sub(held.used);
            load.tasks = load.tasks.saturating_sub(1);
        }
        if let Some(load) = held.team.as_ref().and_then(|team| self.teams.get_mut(team)) {
            load.reserved = load.reserved.saturating_sub(held.request);
            load.tasks = load.tasks.saturating_sub(1);
        }
    }

    pub(super) fn of_node(&self, node: &NodeName) -> Load {
        self.nodes.get(node).copied().unwrap_or_default()
    }

    pub(super) fn of_team(&self, team: &str) -> TeamLoad {
        self.teams.get(team).copied().unwrap_or_default()
    }
}

impl TeamLoad {
    pub(super) fn add(&mut self, request: Resources) {
        self.reserved += request;
        self.tasks += 1;
    }

    /// The part of a quota that this load goes beyond, in words.
    pub(super) fn beyond(&self, quota: &Quota) -> Option<String> {
        let cpu = quota.cpu.filter(|most| self.reserved.cpu > *most).map(|most| format!("{most} cores"));
        let memory = || quota.memory.filter(|most| self.reserved.memory > *most).map(|most| most.to_string());
        let tasks = || quota.tasks.filter(|most| self.tasks > *most).map(|most| format!("{most} tasks"));
        cpu.or_else(memory).or_else(tasks)
    }
}
