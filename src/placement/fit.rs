//! Whether a node is one that a task may go to at all, whoever else is there: attributes and
//! reservations. The same answer for placement, for the size of the cluster, and for reasons.

use std::collections::BTreeMap;

use crate::domain::node::PoolName;
use crate::domain::placement::{Constraint, PlacementSpec};
use crate::domain::plan::Misfit;
use crate::domain::quantity::Resources;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

/// Whose task it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The workload.
    pub workload: &'a WorkloadName,
    /// Its team.
    pub team: Option<&'a str>,
}

/// A task that wants a node.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// Its team.
    pub team: Option<&'a str>,
    /// The revision that it was made from.
    pub revision: u64,
    /// Tasks of lower priority make room for it.
    pub priority: i32,
    /// What has to fit.
    pub request: Resources,
    /// What it is likely to use; not less than the request.
    pub expected: Resources,
    /// What it wants of the node.
    pub placement: &'a PlacementSpec,
}

impl<'a> Ask<'a> {
    /// Whose it is.
    pub fn owner(&self) -> Owner<'a> {
        Owner { workload: self.task.workload(), team: self.team }
    }
}

/// The value of an attribute of a node; `pool` is the name of its pool.
pub(super) fn value<'n>(
    pool: &'n PoolName,
    attributes: &'n BTreeMap<String, String>,
    name: &str,
) -> Option<&'n str> {
    if name == "pool" { Some(pool.as_str()) } else { attributes.get(name).map(String::as_str) }
}

/// The first of the conditions that nodes of a pool with these attributes do not meet, if there is one.
///
/// # Errors
/// With that condition.
pub fn meets(
    constraints: &[Constraint],
    pool: &PoolName,
    attributes: &BTreeMap<String, String>,
) -> Result<(), Misfit> {
    for constraint in constraints {
        let found = value(pool, attributes, &constraint.attribute);
        if !constraint.holds(found) {
            let (constraint, found) = (constraint.clone(), found.map(str::to_owned));
            return Err(Misfit::Attribute { constraint, found });
        }
    }
    Ok(())
}

/// Why nodes of a pool with these attributes are no place for the task, if so.
///
/// # Errors
/// With the first thing that is wrong with them.
pub fn admits(
    placement: Option<&PlacementSpec>,
    owner: Owner<'_>,
    pool: &PoolName,
    attributes: &BTreeMap<String, String>,
    reserved_for: &[String],
) -> Result<(), Misfit> {
    meets(placement.map_or(&[][..], |placement| &placement.constraints), pool, attributes)?;
    let named = |name: &String| name == owner.workload.as_str() || Some(name.as_str()) == owner.team;
    if !reserved_for.is_empty() && !reserved_for.iter().any(named) {
        return Err(Misfit::Reserved { reserved_for: reserved_for.to_vec() });
    }
    Ok(())
}
