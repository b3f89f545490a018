//! Growth and shrinking see the room that placement sees.

use std::sync::Arc;

use crate::domain::change::Change;
use crate::domain::node::{NodeName, NodeState};
use crate::domain::overcommit::Overcommit;
use crate::domain::quantity::Millicores;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;
use crate::scaling::cluster::{ClusterTerms, ClusterVerdict, node_use};
use crate::scaling::cluster_given::*;

/// Tasks that count with so many millicores.
fn counting(tasks: &[(&str, u64, u64)]) -> ClusterTerms {
    let charge = |&(name, number, cpu): &(&str, u64, u64)| {
        (TaskId::new(WorkloadName::new(name).expect("a name"), number), Millicores::new(cpu))
    };
    let overcommit = Overcommit { charges: tasks.iter().map(charge).collect(), most: 2.0 };
    ClusterTerms { overcommit: Arc::new(overcommit), ..terms() }
}

/// A node is there whose requests leave nothing.
fn full() -> Build {
    Build::default()
        .pool("small", resources(1000, 1024), 1)
        .node("small", 1, NodeState::Ready)
        .task("idle", 1, resources(900, 300), Some("small-1"))
        .task("api", 1, resources(500, 300), None)
}

#[test]
fn no_node_is_bought_for_a_task_that_has_room_by_predicted_use() {
    assert_eq!(change(&full().decide()), Some(grown("small", 1, 2)));
    let idle = counting(&[("idle", 1, 100)]);
    assert_eq!(change(&full().decide_with(&idle)), None);
    let busy = counting(&[("idle", 1, 600)]);
    assert_eq!(change(&full().decide_with(&busy)), Some(grown("small", 1, 2)));
    let large = full().task("api", 2, resources(100, 500), None);
    assert_eq!(change(&large.decide_with(&idle)), Some(grown("small", 1, 2)), "memory is not lent");
}

/// Two nodes, each with a task that fills more than half of one.
fn two() -> Build {
    Build::default()
        .pool("small", resources(1000, 1024), 2)
        .node("small", 1, NodeState::Ready)
        .node("small", 2, NodeState::Ready)
        .task("idle", 1, resources(600, 100), Some("small-1"))
        .task("idle", 2, resources(600, 100), Some("small-2"))
}

fn rested_by(build: Build, terms: &ClusterTerms) -> Build {
    build.edit(|world| {
        for change in node_use(world, &terms.overcommit, ago(3600)) {
            let Change::NodeUse { node, underused_since } = change else { continue };
            world.nodes.get_mut(&node).expect("a node").underused_since = underused_since;
        }
    })
}

#[test]
fn a_node_is_emptied_only_onto_room_by_the_same_rule() {
    let gone = |verdict: &ClusterVerdict| change(verdict).map(|(_, from, to, _)| (from, to));
    assert_eq!(gone(&two().rested().decide()), None, "60 % are requested");
    let idle = counting(&[("idle", 1, 100), ("idle", 2, 100)]);
    let both = rested_by(two(), &idle);
    let name = |number: u64| NodeName::new(&format!("small-{number}")).expect("a name");
    assert!((1..=2).all(|number| both.0.nodes[&name(number)].underused_since.is_some()));
    // The one that moves counts with its request where it comes: 600 beside 100.
    assert_eq!(gone(&both.decide_with(&idle)), Some((2, 1)));
    assert_eq!(gone(&both.decide()), None, "by requests there is no room for it");
    let busy = counting(&[("idle", 1, 450), ("idle", 2, 450)]);
    assert_eq!(gone(&rested_by(two(), &busy).decide_with(&busy)), None, "450 and 600 do not fit");
}
