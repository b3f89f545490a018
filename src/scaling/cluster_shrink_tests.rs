//! Which nodes go, in what order, and what is said of those that stay.

use jiff::{SignedDuration, Timestamp};

use crate::domain::action::{Action, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::money::MicroCents;
use crate::domain::node::{NodeName, NodeState};
use crate::domain::node_outlook::{Blocker, PlannedKind, Prospect};
use crate::domain::overcommit::Overcommit;
use crate::domain::plan::Step;
use crate::domain::quantity::Share;
use crate::domain::rollout::Actor;
use crate::domain::workload::{WorkloadKind, WorkloadName};
use crate::domain::world::{Run, RunKey, RunOrder, World};
use crate::scaling::cluster::{ClusterTerms, decide, node_use};
use crate::scaling::cluster_given::*;
use crate::scaling::node_outlook::outlook;

#[test]
fn an_underused_node_goes_when_its_tasks_fit_elsewhere() {
    let verdict = two_with_room().decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 2, 1, "underused node".to_owned())));
    let decision = verdict.decision.expect("a decision");
    assert!(decision.proposal.reason.contains("web.2 to small-1"), "{}", decision.proposal.reason);
    let drained = decision.steps.iter().find_map(|step| match &step.change {
        Change::NodeMoved { node, state: NodeState::Draining, remove_when_empty: true, .. } => {
            Some(node.as_str())
        }
        _ => None,
    });
    assert_eq!(drained, Some("small-2"));
    assert!(decision.proposal.price_after < decision.proposal.price_before);
}

#[test]
fn a_node_stays_while_its_tasks_have_no_other_place() {
    let verdict = two_with_room().task("api", 1, resources(100, 500), Some("small-1")).decide();
    assert_eq!(change(&verdict), None);
    assert!(verdict.kept[0].block.reason.contains("web.2"), "{}", verdict.kept[0].block.reason);
    // Room is there, yet for a task that waits for its backoff.
    let mut build = two_with_room();
    build = build.task("job", 1, resources(400, 100), None);
    let verdict = decide(&build.0, &[], &terms(), now());
    assert_eq!(change(&verdict), None);
    // The constraint keeps it where it is.
    let build = two_with_room().edit(|world| {
        world.nodes.values_mut().take(1).for_each(|node| node.attributes.clear());
        with_constraints(world, "web", &[("disk", "ssd")]);
    });
    assert_eq!(change(&build.decide()), None);
}

#[test]
fn nothing_shrinks_too_soon_too_far_or_twice_at_a_time() {
    let unchanged = |build: &Build, why: &str| {
        let verdict = build.decide();
        assert_eq!(change(&verdict), None, "{why}");
        verdict.kept.first().map_or(String::new(), |kept| kept.block.reason.clone())
    };
    let mut build = two_with_room();
    build.pool_mut("small").shrunk_at = Some(ago(59));
    assert!(unchanged(&build, "changed lately").contains("waits 1 s"));
    let mut build = two_with_room();
    build.pool_mut("small").spec.min = 2;
    assert!(unchanged(&build, "at its least").contains("least of 2"));
    let build = two_with_room().edit(|world| {
        world.nodes.values_mut().for_each(|node| node.underused_since = Some(ago(59)));
    });
    assert_eq!(unchanged(&build, "not for long enough"), "");
    let build = two_with_room().node("small", 3, NodeState::Draining);
    unchanged(&build, "another one is leaving");
    let build = two_with_room().task("api", 1, resources(900, 900), None);
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(grown("small", 2, 3)), "a task waits: it grows instead");
    let build = two_with_room().edit(|world| {
        world.tasks.values_mut().for_each(|task| task.kind = WorkloadKind::Job);
    });
    assert!(unchanged(&build, "a run is going on").contains("begin again"));
}

/// Nodes of a core with one task each: its service, and what it asks for.
fn nodes_with(tasks: &[(&str, u64)]) -> Build {
    let mut build = Build::default().pool("small", resources(1000, 1024), tasks.len() as u32);
    for (number, (name, cpu)) in tasks.iter().enumerate() {
        let node = format!("small-{}", number + 1);
        build = build.node("small", number as u64 + 1, NodeState::Ready);
        build = build.task(name, number as u64 + 1, resources(*cpu, 100), Some(&node));
    }
    build.rested()
}

#[test]
fn several_nodes_go_together_as_far_as_no_service_is_on_two_of_them() {
    let verdict = nodes_with(&[("web", 400), ("api", 200), ("db", 100)]).decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 3, 1, "underused nodes".to_owned())));
    let inputs = verdict.decision.expect("a decision").proposal.inputs;
    assert_eq!((inputs["tasks moved"].as_str(), inputs["saves"].as_str()), ("2", "0.088000 an hour"));
    let verdict = nodes_with(&[("web", 400), ("web", 200), ("web", 100)]).decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 3, 2, "underused node".to_owned())));
}

#[test]
fn a_cheaper_node_takes_the_place_of_one_that_cannot_be_emptied() {
    let mut build = Build::default()
        .pool("big", resources(4000, 4096), 1)
        .pool("small", resources(1000, 1024), 0)
        .node("big", 1, NodeState::Ready)
        .task("web", 1, resources(300, 300), Some("big-1"))
        .rested();
    build.pool_mut("big").spec.min = 0;
    build.pool_mut("small").spec.min = 0;
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 0, 1, "cheaper node".to_owned())));
    let proposal = verdict.decision.expect("a decision").proposal;
    assert!(proposal.reason.contains("takes the place of big-1"), "{}", proposal.reason);
    assert!(proposal.price_after < proposal.price_before);
    // It is awaited; then the other one goes, and nothing more happens.
    build.pool_mut("small").target = 1;
    build.pool_mut("small").grown_at = Some(ago(10));
    assert_eq!(change(&build.decide()), None);
    // One that has just joined stays until it had time to be of use.
    let joined = |world: &mut World| {
        for node in world.nodes.values_mut().filter(|node| node.pool.as_str() == "small") {
            node.state_since = ago(5);
        }
    };
    let build = build.node("small", 1, NodeState::Ready).rested().edit(joined);
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(("big".to_owned(), 1, 0, "cheaper node".to_owned())));
    let drains =
        |step: &Step| matches!(&step.change, Change::NodeMoved { node, .. } if node.as_str() == "big-1");
    assert!(verdict.decision.expect("a decision").steps.iter().any(drains));
    // Others still have to make way for it: it does not go in the meantime.
    let mut waits = build.edit(|world| {
        for node in world.nodes.values_mut().filter(|node| node.pool.as_str() == "small") {
            node.state_since = ago(300);
        }
    });
    waits.pool_mut("big").shrunk_at = Some(ago(5));
    let verdict = waits.decide();
    assert_eq!(change(&verdict), None);
    let held = verdict.kept.iter().find(|kept| kept.node.as_str() == "small-1").expect("small-1 stays");
    assert!(held.block.reason.contains("take the place"), "{}", held.block.reason);
    // In the end it goes all the same.
    let gives_up = waits.edit(|world| {
        for node in world.nodes.values_mut().filter(|node| node.pool.as_str() == "small") {
            node.state_since = ago(901);
        }
    });
    assert_eq!(change(&gives_up.decide()), Some(("small".to_owned(), 1, 0, "underused node".to_owned())));
    let build = gives_up;
    // One that costs as much is no reason to move.
    let mut build = build.edit(|world| {
        world.nodes.retain(|name, _| name.as_str() == "big-1");
    });
    build.pool_mut("small").target = 0;
    build.pool_mut("small").grown_at = None;
    build.pool_mut("small").spec.price_per_hour = Some(MicroCents::from_units(0.175));
    assert_eq!(change(&build.decide()), None);
}

/// Two nodes with an instance each; a run has been on the second for so many seconds of the usual 600.
fn with_a_run(began: i64) -> Build {
    two_with_room().task("job", 7, resources(50, 50), Some("small-2")).edit(|world| {
        with_constraints(world, "job", &[]);
        let name = WorkloadName::new("job").expect("a name");
        let jobs = &mut world.workloads.get_mut(&name).expect("a job").jobs;
        jobs.took = vec![SignedDuration::from_secs(600)];
        for task in world.tasks.values_mut().filter(|task| *task.workload() == name) {
            (task.kind, task.started_at) = (WorkloadKind::Job, Some(ago(began)));
        }
    })
}

#[test]
fn a_node_is_left_where_its_runs_are_about_to_end() {
    let verdict = with_a_run(301).decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 2, 1, "underused node".to_owned())));
    let decision = verdict.decision.expect("a decision");
    assert_eq!(decision.proposal.inputs["tasks moved"], "1", "the run ends where it is");
    assert!(decision.proposal.reason.contains("web.2 to small-1"), "{}", decision.proposal.reason);
    // With more time to go, or where it takes much longer than usual, the node stays.
    for began in [299, 901] {
        let verdict = with_a_run(began).decide();
        assert_eq!(change(&verdict), None, "{began}");
        assert!(verdict.kept.iter().any(|kept| kept.block.reason.contains("begin again")));
    }
}

#[test]
fn a_node_stays_for_runs_that_come_often_where_a_risk_is_said() {
    let build = with_a_run(301).edit(|world| {
        let name = WorkloadName::new("job").expect("a name");
        for turn in 1..=10 {
            let key = RunKey { workload: name.clone(), at: ago(turn * 6) };
            world.runs.insert(key.clone(), Run::opened(key, true, RunOrder::default(), 1));
        }
    });
    assert_eq!(change(&build.decide()).map(|change| change.2), Some(1));
    let kept = ClusterTerms { headroom: Some(Share::new(0.05)), ..terms() };
    let verdict = decide(&build.0, &[], &kept, now());
    assert_eq!(change(&verdict), None);
    let why = &verdict.kept.first().expect("a node that stays").block.reason;
    assert!(why.contains("job.") && why.contains("no room"), "{why}");
}

#[test]
fn a_node_that_was_to_go_stays_where_tasks_wait_again() {
    let leaving =
        |size| small_full().node("small", 2, NodeState::Draining).task("api", 1, resources(size, 500), None);
    let verdict = leaving(500).decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 1, 2, "taken back".to_owned())));
    let steps = verdict.decision.expect("a decision").steps;
    let stays = |step: &Step| {
        let Change::NodeMoved { node, state, remove_when_empty, .. } = &step.change else { return false };
        node.as_str() == "small-2" && *state == NodeState::Ready && !remove_when_empty
    };
    assert!(steps.iter().any(stays), "{steps:?}");
    // One that is told to go by a person, or is too dear for what waits, does not come back.
    let told = leaving(500).edit(|world| {
        world.nodes.values_mut().for_each(|node| node.remove_when_empty = false);
    });
    assert_eq!(change(&told.decide()).map(|change| change.3), Some("least waste".to_owned()));
    let mut dear = leaving(500).pool("tiny", resources(600, 600), 0);
    dear.pool_mut("tiny").spec.min = 0;
    assert_eq!(change(&dear.decide()), Some(grown("tiny", 0, 1)));
}

/// What is said to become of a node, in words: where it is going, and the kinds of what keeps it.
fn prospects(build: &Build, node: &str) -> (Prospect, Vec<Blocker>, Option<Timestamp>) {
    let told = outlook(&build.0, &build.decide(), &Overcommit::default(), now());
    let found = &told.nodes[&NodeName::new(node).expect("a name")];
    (found.prospect, found.blocks.iter().map(|block| block.by).collect(), found.not_before)
}

#[test]
fn what_is_said_of_a_node_is_what_is_decided_about_it() {
    use Blocker::{Minimum, NoRoom, Resting, Run, Settling, TasksWait, Turn, Used};
    use Prospect::{Leaves, Stays};
    // The one that the decision drains leaves, the one that takes its task stays.
    assert_eq!(prospects(&two_with_room(), "small-2"), (Leaves, Vec::new(), None));
    assert_eq!(prospects(&two_with_room(), "small-1"), (Stays, vec![Used], None));
    let full = two_with_room().task("api", 1, resources(100, 500), Some("small-1"));
    assert_eq!(prospects(&full, "small-2"), (Stays, vec![NoRoom], None));
    let mut settling = two_with_room();
    settling.pool_mut("small").shrunk_at = Some(ago(20));
    let until = Some(now() + SignedDuration::from_secs(40));
    assert_eq!(prospects(&settling, "small-2"), (Stays, vec![Settling], until));
    let young = two_with_room().edit(|world| {
        world.nodes.values_mut().for_each(|node| node.underused_since = Some(ago(50)));
    });
    let until = Some(now() + SignedDuration::from_secs(10));
    assert_eq!(prospects(&young, "small-2"), (Stays, vec![Resting], until));
    let mut least = young;
    least.pool_mut("small").spec.min = 2;
    assert_eq!(prospects(&least, "small-2"), (Stays, vec![Resting, Minimum], None));
    let mut least = two_with_room();
    least.pool_mut("small").spec.min = 2;
    assert_eq!(prospects(&least, "small-2"), (Stays, vec![Minimum], None), "said once");
    let waits = two_with_room().task("api", 1, resources(900, 900), None);
    assert_eq!(prospects(&waits, "small-2"), (Stays, vec![TasksWait], None));
    let runs = two_with_room().edit(|world| {
        world.tasks.values_mut().for_each(|task| task.kind = WorkloadKind::Job);
    });
    assert_eq!(prospects(&runs, "small-2"), (Stays, vec![Run], None));
    // Two of one service: one after the other.
    let turn = nodes_with(&[("web", 400), ("web", 200), ("web", 100)]);
    let told = ["small-1", "small-2", "small-3"].map(|node| prospects(&turn, node).1);
    assert!(
        told.contains(&Vec::new()) && told.iter().any(|by| *by == [Turn] || *by == [Minimum]),
        "{told:?}"
    );
}

#[test]
fn freezes_and_drains_by_hand_are_said_to_keep_nodes() {
    let until = now() + SignedDuration::from_mins(5);
    let freeze = |build: Build| {
        build.edit(|world| {
            let key = ActionKey::Freeze(Switch::Scaling);
            let by = Actor::User("ann".to_owned());
            let action = Action { until: Some(until), ..Action::new(key.clone(), by, "an audit", now()) };
            world.actions.insert(key, action);
        })
    };
    let frozen = freeze(two_with_room());
    assert_eq!(prospects(&frozen, "small-2"), (Prospect::Stays, vec![Blocker::Frozen], Some(until)));
    let drained = two_with_room().node("small", 3, NodeState::Draining).edit(|world| {
        world.nodes.values_mut().for_each(|node| node.remove_when_empty = false);
    });
    assert_eq!(prospects(&drained, "small-3"), (Prospect::Stays, vec![Blocker::ByHand], None));
}

#[test]
fn changes_of_nodes_under_way_are_told_with_the_time_that_others_took() {
    let mut build = small_full().node("small", 2, NodeState::Joining).node("small", 3, NodeState::Draining);
    build.pool_mut("small").target = 3;
    let build = build.task("web", 2, resources(100, 100), Some("small-3")).edit(|world| {
        for node in world.nodes.values_mut() {
            match node.state {
                NodeState::Ready => node.state_since = node.created_at + SignedDuration::from_secs(30),
                _ => node.created_at = ago(10),
            }
        }
    });
    let told = outlook(&build.0, &build.decide(), &Overcommit::default(), now()).planned;
    let found: Vec<_> = told.iter().map(|one| (one.kind, one.nodes, one.tasks, one.expected_at)).collect();
    let after = |seconds| Some(now() + SignedDuration::from_secs(seconds));
    assert_eq!(
        found,
        [
            (PlannedKind::Ask, 1, 0, after(30)),
            (PlannedKind::Join, 1, 0, after(20)),
            (PlannedKind::Empty, 1, 1, None)
        ]
    );
}

#[test]
fn a_pool_that_had_to_grow_again_stays_the_longer() {
    let mut build = two_with_room();
    let pool = build.pool_mut("small");
    (pool.regrown, pool.shrunk_at) = (1, Some(ago(100)));
    let verdict = build.decide();
    assert_eq!(change(&verdict), None);
    assert!(verdict.kept[0].block.reason.contains("waits 20 s"), "{}", verdict.kept[0].block.reason);
}

#[test]
fn a_task_that_fits_nowhere_keeps_no_node() {
    let verdict = two_with_room().task("api", 1, resources(9000, 100), None).decide();
    assert_eq!(change(&verdict).map(|change| change.3), Some("underused node".to_owned()));
    assert_eq!(verdict.unserved.len(), 1);
}

#[test]
fn node_use_notes_both_crossings_once() {
    let build = Build::default()
        .pool("small", resources(1000, 1024), 2)
        .node("small", 1, NodeState::Ready)
        .node("small", 2, NodeState::Ready)
        .task("web", 1, resources(100, 512), Some("small-1"));
    let changes = node_use(&build.0, &Overcommit::default(), now());
    let second =
        Change::NodeUse { node: NodeName::new("small-2").expect("a name"), underused_since: Some(now()) };
    assert_eq!(changes, [second], "half is not under half");
    let build = build.rested();
    assert_eq!(node_use(&build.0, &Overcommit::default(), now()), []);
    let build = build.task("web", 2, resources(600, 1), Some("small-2"));
    assert!(matches!(
        node_use(&build.0, &Overcommit::default(), now())[..],
        [Change::NodeUse { underused_since: None, .. }]
    ));
}
