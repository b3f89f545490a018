//! What tasks hold as a plan sees it while it is being made.

use crate::domain::node::{Node, NodeName};
use crate::domain::quantity::Resources;
use crate::domain::task::Task;
use crate::domain::workload::WorkloadName;
use crate::scheduling::loads::{Held, Load, Loads, TeamLoad};
use crate::scheduling::parts::for_pieces;
use crate::scheduling::view::{Row, View};

impl View<'_> {
    /// What the tasks on a node have reserved.
    pub(in crate::scheduling) fn reserved(&mut self, node: &NodeName) -> Resources {
        self.loads().of_node(node).held.requests
    }

    /// What the tasks on a node take of it.
    pub(in crate::scheduling) fn taken(&self, node: &Node) -> Resources {
        self.observed.usage.overcommit.taken(node.size, self.load_of(&node.name).held)
    }

    /// What is held, by node and by team.
    pub(in crate::scheduling) fn loads(&mut self) -> &Loads {
        if self.loads.is_none() {
            // What did not change is added up in pieces at once.
            let same = for_pieces(&self.spans, self.rows.len(), |spans| {
                let same = spans.iter().filter(|(name, _)| !self.moved_in.contains(*name));
                self.sum(same.flat_map(|(_, span)| &self.rows[span.clone()]).copied())
            });
            let mut loads = self.sum(self.moved_rows());
            for other in same {
                loads.merge(other);
            }
            self.loads = Some(loads);
        }
        self.loads.get_or_insert_with(Loads::default)
    }

    fn sum<'v>(&self, rows: impl Iterator<Item = Row<'v>>) -> Loads {
        let mut loads = Loads::default();
        let counted = !self.base.quotas.is_empty();
        for Row { task, .. } in rows {
            let Some(node) = task.node.as_ref().filter(|_| task.state.holds_resources()) else {
                continue;
            };
            let team = if counted { self.team_of(task.workload()) } else { None };
            let counts = (task.size.request, self.observed.usage.overcommit.charge(task));
            loads.add_one(node, team, counts, self.used(task));
        }
        loads
    }

    /// The load of a node, once `loads` was called.
    pub(in crate::scheduling) fn load_of(&self, node: &NodeName) -> Load {
        self.loads.as_ref().map(|loads| loads.of_node(node)).unwrap_or_default()
    }

    /// The load of a team, once `loads` was called.
    pub(in crate::scheduling) fn load_of_team(&self, team: &str) -> TeamLoad {
        self.loads.as_ref().map(|loads| loads.of_team(team)).unwrap_or_default()
    }

    /// The node that a task holds resources of, and how much.
    pub(super) fn held(&self, task: Option<&Task>) -> Option<Held> {
        let task = task.filter(|task| task.state.holds_resources())?;
        let counted = !self.base.quotas.is_empty();
        let team = if counted { self.team_of(task.workload()).map(str::to_owned) } else { None };
        let (request, charged) = (task.size.request, self.observed.usage.overcommit.charge(task));
        Some(Held { node: task.node.clone()?, team, request, charged, used: self.used(task) })
    }

    /// What a task really uses, or is likely to.
    fn used(&self, task: &Task) -> Resources {
        let measured = self.observed.usage.tasks.get(&task.id).copied();
        measured.unwrap_or_else(|| self.expected(task.workload(), task.size.request))
    }

    /// The team that owns a workload.
    pub(in crate::scheduling) fn team_of(&self, name: &WorkloadName) -> Option<&str> {
        self.workload(name)?.spec.owner().team.as_deref()
    }

    /// What a task of which nothing is measured is likely to use.
    pub(in crate::scheduling) fn expected(&self, workload: &WorkloadName, request: Resources) -> Resources {
        let expected = &self.observed.usage.expected;
        if expected.is_empty() {
            return request;
        }
        let likely = expected.get(workload).copied().unwrap_or_default();
        Resources::new(request.cpu.max(likely.cpu), request.memory.max(likely.memory))
    }
}
