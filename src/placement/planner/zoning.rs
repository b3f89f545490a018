//! Rules about places that are larger than a node (zones, racks: nodes with one value of an attribute) are
//! settled before anything is packed: the tasks of a group are divided over the values, each part then asks for
//! its value as for any other attribute.
//!
//! In: the request. Out: parts of groups with the conditions that keep them where they belong, and tasks that
//! have no such place. A workload that others must be near to, or away from, stays within one value unless its
//! own rules spread it.
//! Not here: rules about single nodes (`problem`), which are kept while packing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::placement::{BY_NODE, Constraint, Neighbour};
use crate::domain::workload::WorkloadName;
use crate::placement::fit::{Owner, admits, meets, value};
use crate::placement::planner::request::{Request, TaskGroup, Unplaced, Why};

/// Tasks of a group that may go to the same nodes.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) group: usize,
    pub(super) count: u32,
    /// What must hold beyond the group's own conditions.
    pub(super) pins: Vec<Constraint>,
    /// Whether spot nodes are good enough.
    pub(super) spot: bool,
}

/// Attribute, value, workload: how many tasks.
type Counts<'a> = HashMap<(&'a str, &'a str), HashMap<&'a WorkloadName, u32>>;

struct Zoner<'a> {
    request: &'a Request,
    /// Required rules about places that are not nodes: who, away from whom, by what.
    apart: Vec<(&'a WorkloadName, &'a WorkloadName, &'a str)>,
    /// The attributes by which somebody must be near a workload.
    sought: BTreeSet<(&'a WorkloadName, &'a str)>,
    counts: Counts<'a>,
}

/// Divides the groups; the parts come in the order of groups.
pub(super) fn divide(request: &Request) -> (Vec<Part>, Vec<Unplaced>) {
    let mut zoner = Zoner::new(request);
    let (mut parts, mut refused) = (Vec::new(), Vec::new());
    let mut order: Vec<usize> = (0..request.tasks.len()).collect();
    // Who is sought is settled before who seeks it, and the more important before the rest.
    order.sort_by_key(|&at| {
        let group = &request.tasks[at];
        (std::cmp::Reverse(group.priority), seeks(group), at)
    });
    for at in order {
        let group = &request.tasks[at];
        let mut own = vec![(Vec::new(), group.count)];
        for by in zoner.attributes(group) {
            own = zoner.over_values(group, by, own);
        }
        let left = group.count - own.iter().map(|(_, count)| count).sum::<u32>();
        if left > 0 {
            refused.push(Unplaced { group: at, count: left, why: Why::Neighbours });
        }
        parts.extend(own.into_iter().map(|(pins, count)| Part { group: at, count, pins, spot: true }));
    }
    parts.sort_by_key(|part| part.group);
    (split_spot(request, parts), refused)
}

/// Keeps what is more than the share for spot off spot nodes.
fn split_spot(request: &Request, parts: Vec<Part>) -> Vec<Part> {
    let share = request.spot_share;
    if share.get() >= 1.0 || !request.offers.iter().any(|offer| offer.spot) {
        return parts;
    }
    let mut split = Vec::with_capacity(parts.len());
    for part in parts {
        let steady = part.count - share.of(u64::from(part.count)) as u32;
        let pieces = [(steady, false), (part.count - steady, true)];
        let kept = pieces.into_iter().filter(|&(count, _)| count > 0);
        split.extend(kept.map(|(count, spot)| Part { count, spot, ..part.clone() }));
    }
    split
}

/// Whether it must be near another workload.
fn seeks(group: &TaskGroup) -> bool {
    let another = |rule: &Neighbour| rule.required && rule.by != BY_NODE && rule.workload != group.workload;
    group.placement.affinity.iter().any(another)
}

impl<'a> Zoner<'a> {
    fn new(request: &'a Request) -> Self {
        let mut zoner = Self { request, apart: Vec::new(), sought: BTreeSet::new(), counts: HashMap::new() };
        let required =
            |rules: &'a [Neighbour]| rules.iter().filter(|rule| rule.required && rule.by != BY_NODE);
        let mut apart = BTreeSet::new();
        for group in &request.tasks {
            for rule in required(&group.placement.anti_affinity) {
                apart.insert((&group.workload, &rule.workload, rule.by.as_str()));
                apart.insert((&rule.workload, &group.workload, rule.by.as_str()));
            }
            for rule in required(&group.placement.affinity) {
                zoner.sought.insert((&rule.workload, rule.by.as_str()));
            }
        }
        zoner.apart = apart.into_iter().collect();
        let ruled: BTreeSet<&str> = request.tasks.iter().flat_map(|group| zoner.attributes(group)).collect();
        for node in &request.nodes {
            for &by in &ruled {
                let Some(value) = value(&node.pool, &node.attributes, by) else { continue };
                let here = zoner.counts.entry((by, value)).or_default();
                node.residents.iter().for_each(|(name, count)| *here.entry(name).or_default() += count);
            }
        }
        zoner
    }

    /// The attributes by which the place of a group matters.
    fn attributes(&self, group: &'a TaskGroup) -> BTreeSet<&'a str> {
        let placement = &group.placement;
        let spread = placement.spread_over.iter().map(|spread| spread.by.as_str());
        let near = placement.affinity.iter().filter(|rule| rule.required).map(|rule| rule.by.as_str());
        let apart = self.apart.iter().filter(|(who, _, _)| *who == &group.workload).map(|&(_, _, by)| by);
        let sought = self.sought.iter().filter(|(who, _)| *who == &group.workload).map(|&(_, by)| by);
        spread.chain(near).chain(apart).chain(sought).filter(|&by| by != BY_NODE).collect()
    }

    fn count(&self, by: &str, value: &str, workload: &WorkloadName) -> u32 {
        self.counts.get(&(by, value)).and_then(|here| here.get(workload)).copied().unwrap_or(0)
    }

    /// The values of an attribute on nodes that the group may go to.
    fn values(&self, group: &TaskGroup, pins: &[Constraint], by: &str) -> BTreeSet<&'a str> {
        let owner = Owner { workload: &group.workload, team: group.team.as_deref() };
        let offers = self.request.offers.iter().map(|o| (&o.pool, &o.attributes, &o.reserved_for));
        let nodes = self.request.nodes.iter().map(|n| (&n.pool, &n.attributes, &n.reserved_for));
        let good = offers.chain(nodes).filter(|(pool, attributes, reserved_for)| {
            admits(Some(&group.placement), owner, pool, attributes, reserved_for).is_ok()
                && meets(pins, pool, attributes).is_ok()
        });
        good.filter_map(|(pool, attributes, _)| value(pool, attributes, by)).collect()
    }

    /// Divides parts of a group over the values of one more attribute.
    fn over_values(
        &mut self,
        group: &'a TaskGroup,
        by: &'a str,
        parts: Vec<(Vec<Constraint>, u32)>,
    ) -> Vec<(Vec<Constraint>, u32)> {
        let mut divided = Vec::new();
        for (pins, count) in parts {
            let values = self.values(group, &pins, by);
            let mut given: BTreeMap<&'a str, u32> = BTreeMap::new();
            let mut left = count;
            while left > 0 {
                let Some((value, many)) = self.next(group, by, &values, left) else { break };
                *given.entry(value).or_default() += many;
                *self.counts.entry((by, value)).or_default().entry(&group.workload).or_default() += many;
                left -= many;
            }
            for (value, count) in given {
                let mut pins = pins.clone();
                pins.push(Constraint::is_in(by, vec![value.to_owned()]));
                divided.push((pins, count));
            }
        }
        divided
    }

    /// Where the next tasks go, and how many at once.
    fn next(
        &self,
        group: &TaskGroup,
        by: &'a str,
        values: &BTreeSet<&'a str>,
        left: u32,
    ) -> Option<(&'a str, u32)> {
        let own = &group.workload;
        let here = |value: &str| self.count(by, value, own);
        let skew = group.placement.spread_over.as_ref().filter(|s| s.by == by).map(|s| s.max_skew);
        let least = values.iter().map(|value| here(value)).min()?;
        let alone = self.apart.iter().any(|&(who, whom, how)| how == by && who == own && whom == own);
        let near: Vec<&Neighbour> =
            group.placement.affinity.iter().filter(|rule| rule.required && rule.by == by).collect();
        // The first of those that want to be together goes anywhere.
        let first = !values.iter().any(|value| here(value) > 0);
        let allowed = |value: &&'a str| {
            let clear = self.apart.iter().filter(|&&(who, _, how)| how == by && who == own);
            let mut clear = clear.map(|&(_, whom, _)| whom);
            let found = |rule: &&Neighbour| {
                self.count(by, value, &rule.workload) > 0 || (first && rule.workload == *own)
            };
            clear.all(|whom| self.count(by, value, whom) == 0)
                && near.iter().all(found)
                && skew.is_none_or(|skew| here(value) - least < skew)
        };
        let many = if alone || skew.is_some() { 1 } else { left };
        values.iter().copied().filter(allowed).min_by_key(|value| here(value)).map(|value| (value, many))
    }
}
