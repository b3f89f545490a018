//! The first look at a part of the world: its tasks with what is observed of them, and which workloads are calm.

use std::collections::BTreeSet;

use crate::domain::node::NodeName;
use crate::domain::observation::Observed;
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};
use crate::scheduling::calm::is_calm;
use crate::scheduling::parts::Part;
use crate::scheduling::rows::walk;
use crate::scheduling::view::Row;

/// A name, with the tasks that bear it.
pub(super) struct Group<'a> {
    pub(super) name: &'a WorkloadName,
    /// None where there is no such workload any more.
    pub(super) workload: Option<&'a Workload>,
    /// How many rows are its own.
    pub(super) tasks: usize,
    /// As it should be.
    pub(super) calm: bool,
}

/// What was found in a part.
pub(super) struct Survey<'a> {
    /// By id.
    pub(super) rows: Vec<Row<'a>>,
    /// By name; the rows are theirs one after the other.
    pub(super) groups: Vec<Group<'a>>,
}

pub(super) fn survey<'a>(
    part: Part<'a>,
    world: &'a World,
    observed: &'a Observed,
    leaving: &BTreeSet<NodeName>,
) -> Survey<'a> {
    let mut rows = Vec::new();
    walk(part, world, observed, |row| rows.push(row), |_, _| {});
    let mut groups = Vec::new();
    // Both are in order of name, so one walk over each is enough.
    let mut workloads = part.workloads(world).peekable();
    for own in rows.chunk_by(|one, other| one.task.workload() == other.task.workload()) {
        let name = own[0].task.workload();
        while let Some(idle) = workloads.next_if(|(other, _)| *other < name) {
            groups.push(group(idle, &[], leaving));
        }
        groups.push(match workloads.next_if(|(other, _)| *other == name) {
            Some(known) => group(known, own, leaving),
            None => Group { name, workload: None, tasks: own.len(), calm: false },
        });
    }
    groups.extend(workloads.map(|idle| group(idle, &[], leaving)));
    Survey { rows, groups }
}

fn group<'a>(
    (name, workload): (&'a WorkloadName, &'a Workload),
    own: &[Row<'a>],
    leaving: &BTreeSet<NodeName>,
) -> Group<'a> {
    // A workload without tasks is always looked at: it may be one that is to have some.
    let calm = !own.is_empty() && is_calm(workload, own, leaving);
    Group { name, workload: Some(workload), tasks: own.len(), calm }
}
