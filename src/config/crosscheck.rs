//! Checks what one part of the specs says of another: policies and pools that exist, addresses that are
//! asked for once, requests that fit on a node somewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::placement::{Condition, PlacementUse};
use crate::config::reader::{Report, describe};
use crate::config::source::Source;
use crate::config::task::Uses;
use crate::config::wording::nearest;
use crate::domain::node::{PoolName, PoolSpec};
use crate::domain::placement::Operator;
use crate::domain::policy::PolicyName;
use crate::domain::quantity::Resources;

/// What the specs may refer to.
#[derive(Debug)]
pub(super) struct Targets<'a> {
    /// Policies by name, refused ones included.
    pub(super) policies: BTreeSet<&'a PolicyName>,
    /// Pools; where there are none, it is not known what tasks will be placed on.
    pub(super) pools: BTreeMap<&'a PoolName, &'a PoolSpec>,
    /// A pool was refused: placement cannot be checked.
    pub(super) pools_refused: bool,
}

/// Reports everything in `uses` that `targets` does not have.
pub(super) fn check(uses: &Uses, targets: &Targets<'_>, sources: &[Source], report: &Report) {
    check_policies(uses, targets, report);
    check_front_doors(uses, sources, report);
    if !targets.pools.is_empty() && !targets.pools_refused {
        for placement in &uses.placements {
            check_placement(placement, targets, report);
        }
    }
}

fn check_policies(uses: &Uses, targets: &Targets<'_>, report: &Report) {
    for (policy, at) in &uses.policies {
        if !targets.policies.contains(policy) {
            let hint = nearest(policy.as_str(), targets.policies.iter().map(|name| name.as_str()));
            let expected = format!("a policy that is declared as [policy.{policy}]");
            report.disagreement(*at, format!("unknown policy \"{policy}\""), expected, hint);
        }
    }
}

fn check_front_doors(uses: &Uses, sources: &[Source], report: &Report) {
    let mut first = BTreeMap::new();
    let mut front_doors = uses.front_doors.clone();
    // Tables are read by name; the one that stands later is the second.
    front_doors.sort_by_key(|(_, at)| *at);
    for (number, at) in front_doors {
        if let Some(first) = first.get(&number) {
            let expected = format!("a port that is not taken, see {}", describe(*first, sources));
            report.disagreement(at, format!("front_door = {number} a second time"), expected, None);
        } else {
            first.insert(number, at);
        }
    }
}

/// The value that the nodes of a pool have for an attribute.
fn attribute_of<'p>(name: &'p PoolName, pool: &'p PoolSpec, attribute: &str) -> Option<&'p str> {
    if attribute == "pool" { Some(name.as_str()) } else { pool.attributes.get(attribute).map(String::as_str) }
}

fn check_placement(placement: &PlacementUse, targets: &Targets<'_>, report: &Report) {
    let known = placement.conditions.iter().map(|condition| check_condition(condition, targets, report));
    // Counted, not short-circuited, so that each condition is reported.
    if known.filter(|known| !known).count() > 0 {
        return;
    }
    let suitable: Vec<_> = targets
        .pools
        .iter()
        .filter(|(name, pool)| {
            placement.conditions.iter().all(|condition| {
                let constraint = &condition.constraint;
                constraint.holds(attribute_of(name, pool, &constraint.attribute))
            })
        })
        .collect();
    if let (true, Some(last)) = (suitable.is_empty(), placement.conditions.last()) {
        let found = "conditions that no pool meets together".to_owned();
        report.disagreement(last.at, found, "a declared pool that meets all of them".to_owned(), None);
    } else if !suitable.iter().any(|(_, pool)| placement.request.fits(pool.size)) {
        let sizes: Vec<_> = suitable
            .iter()
            .map(|(name, pool)| format!("[pool.{name}] offers {}", in_words(pool.size)))
            .collect();
        let found = format!("a request of {}", in_words(placement.request));
        report.disagreement(
            placement.at,
            found,
            format!("one that fits on a node ({})", sizes.join("; ")),
            None,
        );
    }
}

fn in_words(size: Resources) -> String {
    format!("{} cores and {}", size.cpu, size.memory)
}

/// Whether some pool meets this condition by itself; reports it if not.
fn check_condition(condition: &Condition, targets: &Targets<'_>, report: &Report) -> bool {
    let attribute = &condition.constraint.attribute;
    let operator = condition.constraint.operator;
    if matches!(operator, Operator::NotIn | Operator::Absent) {
        return true;
    }
    let values: BTreeSet<&str> =
        targets.pools.iter().filter_map(|(name, pool)| attribute_of(name, pool, attribute)).collect();
    if values.is_empty() {
        let names = targets.pools.values().flat_map(|pool| pool.attributes.keys().map(String::as_str));
        let hint = nearest(attribute, names.chain(["pool"]));
        let expected = "an attribute that a declared pool has".to_owned();
        report.disagreement(condition.at, format!("unknown attribute `{attribute}`"), expected, hint);
        return false;
    }
    if operator != Operator::In {
        return true;
    }
    let wanted = condition.constraint.any_of.iter().zip(&condition.values_at);
    if condition.constraint.any_of.iter().any(|wanted| values.contains(wanted.as_str())) {
        return true;
    }
    for (wanted, at) in wanted {
        let (found, expected) = if attribute == "pool" {
            (format!("unknown pool \"{wanted}\""), format!("a pool that is declared as [pool.{wanted}]"))
        } else {
            let expected = format!("a value that a declared pool has for `{attribute}`");
            (format!("\"{wanted}\", which no pool has"), expected)
        };
        report.disagreement(*at, found, expected, nearest(wanted, values.iter().copied()));
    }
    false
}
