//! What must hold of every plan, looked at by a judge that shares no code with the packing: it reads requests and
//! plans, never the problem that is packed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::domain::node::PoolName;
use crate::domain::node_type::Capacity;
use crate::domain::placement::{BY_NODE, Constraint, Neighbour, PlacementSpec, SpreadOver};
use crate::domain::quantity::{Bytes, Millicores, Resources, Share};
use crate::domain::workload::WorkloadName;

fn workload(text: &str) -> WorkloadName {
    WorkloadName::new(text).expect("a name")
}

fn pool() -> PoolName {
    PoolName::new("p").expect("a name")
}

fn capacity(cpu: u64, mib: u64) -> Capacity {
    Capacity::of(Resources::new(Millicores::new(cpu), Bytes::mib(mib)))
}

fn group(name: &str, count: u32, cpu: u64, mib: u64) -> TaskGroup {
    TaskGroup {
        workload: workload(name),
        team: None,
        count,
        priority: 0,
        need: capacity(cpu, mib),
        placement: PlacementSpec::default(),
    }
}

fn offer(name: &str, zone: &str, cpu: u64, mib: u64, price: i64) -> Offer {
    Offer {
        name: name.to_owned(),
        pool: pool(),
        capacity: capacity(cpu, mib),
        price: MicroCents::new(price),
        attributes: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
        reserved_for: Vec::new(),
        spot: false,
        boot: None,
        limit: None,
    }
}

fn existing(name: &str, zone: &str, cpu: u64, mib: u64) -> Existing {
    Existing {
        name: name.to_owned(),
        pool: pool(),
        capacity: capacity(cpu, mib),
        free: capacity(cpu, mib),
        price: MicroCents::ZERO,
        attributes: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
        reserved_for: Vec::new(),
        residents: BTreeMap::new(),
    }
}

/// One node of a plan, as the judge sees it.
struct Seen<'a> {
    attributes: &'a BTreeMap<String, String>,
    free: Resources,
    groups: &'a [(usize, u32)],
    residents: BTreeMap<WorkloadName, u32>,
}

fn seen<'a>(request: &'a Request, plan: &'a ClusterPlan) -> Vec<Seen<'a>> {
    let keep = |size: Resources| {
        let free = |amount: u64| (amount as f64 * (1.0 - request.headroom.get())).floor() as u64;
        Resources::new(Millicores::new(free(size.cpu.get())), Bytes::new(free(size.memory.get())))
    };
    let mut all: Vec<Seen<'_>> = Vec::new();
    let mut used = BTreeSet::new();
    for node in &plan.nodes {
        all.push(match node.place {
            Place::New(at) => Seen {
                attributes: &request.offers[at].attributes,
                free: keep(request.offers[at].capacity.base),
                groups: &node.tasks,
                residents: BTreeMap::new(),
            },
            Place::Existing(at) => {
                assert!(used.insert(at), "node {at} stands twice in the plan");
                let had = &request.nodes[at];
                let kept = had.capacity.base.saturating_sub(keep(had.capacity.base));
                Seen {
                    attributes: &had.attributes,
                    free: had.free.base.saturating_sub(kept),
                    groups: &node.tasks,
                    residents: had.residents.clone(),
                }
            }
        });
    }
    for (_, had) in request.nodes.iter().enumerate().filter(|(at, _)| !used.contains(at)) {
        let (attributes, residents) = (&had.attributes, had.residents.clone());
        all.push(Seen { attributes, free: had.free.base, groups: &[], residents });
    }
    all
}

fn count_of(request: &Request, node: &Seen<'_>, name: &WorkloadName) -> u32 {
    let new = node.groups.iter().filter(|(group, _)| request.tasks[*group].workload == *name);
    new.map(|(_, count)| count).sum::<u32>() + node.residents.get(name).copied().unwrap_or(0)
}

/// Everything that is wrong with a plan.
fn faults(request: &Request, plan: &ClusterPlan) -> Vec<String> {
    let mut faults = Vec::new();
    let nodes = seen(request, plan);
    let mut placed = vec![0; request.tasks.len()];
    for (at, node) in nodes.iter().enumerate() {
        let mut used = Resources::ZERO;
        for &(group, count) in node.groups {
            let asked = &request.tasks[group];
            placed[group] += count;
            (0..count).for_each(|_| used += asked.need.base);
            for constraint in &asked.placement.constraints {
                if !constraint.holds(node.attributes.get(&constraint.attribute).map(String::as_str)) {
                    faults.push(format!("node {at}: {constraint} does not hold for group {group}"));
                }
            }
        }
        if !used.fits(node.free) {
            faults.push(format!("node {at} holds {used} and has {}", node.free));
        }
    }
    for left in &plan.unplaced {
        placed[left.group] += left.count;
    }
    for (group, asked) in request.tasks.iter().enumerate() {
        if placed[group] != asked.count {
            faults.push(format!("group {group}: {} of {} tasks told of", placed[group], asked.count));
        }
        faults.extend(neighbour_faults(request, &nodes, group));
    }
    let limits =
        plan.bought().into_iter().filter(|(offer, count)| request.offers[*offer].limit < Some(*count));
    faults.extend(
        limits.filter(|(at, _)| request.offers[*at].limit.is_some()).map(|(at, _)| format!("offer {at}")),
    );
    faults
}

fn neighbour_faults(request: &Request, nodes: &[Seen<'_>], group: usize) -> Vec<String> {
    let asked = &request.tasks[group];
    let mut faults = Vec::new();
    let place = |at: usize, by: &str| match by {
        BY_NODE => Some(at.to_string()),
        by => nodes[at].attributes.get(by).cloned(),
    };
    let own_new = |at: usize| nodes[at].groups.iter().any(|(known, _)| *known == group);
    for rule in asked.placement.anti_affinity.iter().filter(|rule| rule.required) {
        for at in (0..nodes.len()).filter(|&at| own_new(at)) {
            let Some(here) = place(at, &rule.by) else { continue };
            let same = (0..nodes.len()).filter(|&other| place(other, &rule.by).as_ref() == Some(&here));
            let others: u32 = same.map(|other| count_of(request, &nodes[other], &rule.workload)).sum();
            if others > u32::from(rule.workload == asked.workload) {
                faults.push(format!("group {group}: {} is at {} {here}", rule.workload, rule.by));
            }
        }
    }
    if let Some(spread) = &asked.placement.spread_over {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        if spread.by != BY_NODE {
            let good = |attributes: &BTreeMap<String, String>| {
                let holds = |c: &Constraint| c.holds(attributes.get(&c.attribute).map(String::as_str));
                asked.placement.constraints.iter().all(holds)
            };
            let offers = request.offers.iter().map(|offer| &offer.attributes);
            let all = offers.chain(request.nodes.iter().map(|node| &node.attributes));
            let values = all.filter(|had| good(had)).filter_map(|had| had.get(&spread.by));
            values.for_each(|value| *counts.entry(value.clone()).or_default() += 0);
        }
        for (at, node) in nodes.iter().enumerate() {
            let own = count_of(request, node, &asked.workload);
            if let Some(place) = place(at, &spread.by).filter(|_| own > 0 || spread.by == BY_NODE) {
                *counts.entry(place).or_default() += own;
            }
        }
        let new: u32 = (0..nodes.len()).filter(|&at| own_new(at)).count() as u32;
        let (least, most) = (counts.values().min(), counts.values().max());
        let least = if spread.by == BY_NODE { Some(&0) } else { least };
        if new > 0 && most.copied().unwrap_or(0) - least.copied().unwrap_or(0) > spread.max_skew {
            faults.push(format!("group {group} is uneven over {}: {counts:?}", spread.by));
        }
    }
    faults
}

/// A task without a place that could stand where tasks of lower priority stand.
fn jumped(request: &Request, plan: &ClusterPlan) -> Option<String> {
    let nodes = seen(request, plan);
    for left in plan.unplaced.iter().filter(|left| left.why == Why::Full) {
        let asked = &request.tasks[left.group];
        for (at, node) in nodes.iter().enumerate() {
            let holds = |c: &Constraint| c.holds(node.attributes.get(&c.attribute).map(String::as_str));
            if !asked.placement.constraints.iter().all(holds) {
                continue;
            }
            let higher =
                node.groups.iter().filter(|(group, _)| request.tasks[*group].priority >= asked.priority);
            let mut used = Resources::ZERO;
            higher.for_each(|&(group, count)| {
                (0..count).for_each(|_| used += request.tasks[group].need.base);
            });
            let lower = node.groups.iter().any(|(group, _)| request.tasks[*group].priority < asked.priority);
            if lower && asked.need.base.fits(node.free.saturating_sub(used)) {
                return Some(format!("group {} would have a place on node {at}", left.group));
            }
        }
    }
    None
}

fn neighbour() -> impl Strategy<Value = Neighbour> {
    let by = prop_oneof![Just(BY_NODE), Just("zone")];
    (0..6usize, by).prop_map(|(other, by)| Neighbour {
        workload: workload(&format!("w{other}")),
        by: by.to_owned(),
        required: true,
    })
}

fn any_group(at: usize, rules: bool) -> impl Strategy<Value = TaskGroup> {
    let zones = proptest::option::weighted(0.3, proptest::sample::subsequence(vec!["a", "b", "c"], 1..=2));
    let spread = proptest::option::weighted(0.3, (prop_oneof![Just(BY_NODE), Just("zone")], 1..3u32));
    let apart = proptest::collection::vec(neighbour(), 0..2);
    (1..8u32, 1..40u64, 1..40u64, 0..3i32, zones, spread, apart).prop_map(
        move |(count, cpu, mib, priority, zones, spread, apart)| {
            let mut made = group(&format!("w{at}"), count, cpu * 100, mib * 100);
            made.priority = priority;
            let zones = zones.map(|zones| zones.into_iter().map(str::to_owned).collect());
            made.placement.constraints =
                zones.map(|zones| Constraint::is_in("zone", zones)).into_iter().collect();
            if rules {
                made.placement.spread_over =
                    spread.map(|(by, max_skew)| SpreadOver { by: by.to_owned(), max_skew });
                made.placement.anti_affinity = apart;
            }
            made
        },
    )
}

fn any_request(rules: bool, offers: bool) -> impl Strategy<Value = Request> {
    let groups =
        (1..6usize).prop_flat_map(move |many| (0..many).map(|at| any_group(at, rules)).collect::<Vec<_>>());
    let zone = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let had = (zone(), 5..60u64, 5..60u64, 1..500i64, proptest::option::weighted(0.3, 0..3u32));
    let had = proptest::collection::vec(had, 0..5);
    let there = proptest::collection::vec(
        (zone(), 5..60u64, 5..60u64, proptest::option::weighted(0.3, 0..6usize)),
        0..5,
    );
    (groups, had, there, 0..3u32).prop_map(move |(tasks, had, there, headroom)| {
        let had =
            had.into_iter().enumerate().filter(|_| offers).map(|(at, (zone, cpu, mib, price, limit))| {
                Offer { limit, ..offer(&format!("t{at}"), zone, cpu * 100, mib * 100, price) }
            });
        let there = there.into_iter().enumerate().map(|(at, (zone, cpu, mib, resident))| {
            let mut node = existing(&format!("n{at}"), zone, cpu * 100, mib * 100);
            node.residents = resident.map(|who| (workload(&format!("w{who}")), 1)).into_iter().collect();
            node
        });
        let (offers, nodes) = (had.collect(), there.collect());
        Request { nodes, headroom: Share::new(f64::from(headroom) / 20.0), ..Request::new(tasks, offers) }
    })
}

/// Residents that already break a rule among themselves are nobody's fault.
fn residents_only(request: &Request) -> Request {
    Request {
        nodes: request
            .nodes
            .iter()
            .cloned()
            .map(|mut node| {
                node.residents.clear();
                node
            })
            .collect(),
        ..request.clone()
    }
}

fn steps(many: u32) -> impl FnMut() -> bool {
    let mut left = many;
    move || {
        left = left.saturating_sub(1);
        left > 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_plan_breaks_a_rule(request in any_request(true, true), seed in 1..1000u64) {
        let request = residents_only(&request);
        for packer in [Packer::Loadline, Packer::Karpenter, Packer::ClusterAutoscaler] {
            let made = plan(&request, packer, seed, &mut steps(12));
            let faults = faults(&request, &made);
            prop_assert!(faults.is_empty(), "{packer:?}: {faults:?}\n{made:?}");
        }
    }

    #[test]
    fn no_task_of_lower_priority_stands_where_another_could(request in any_request(false, false)) {
        let request = residents_only(&request);
        let made = plan(&request, Packer::Loadline, 1, &mut steps(12));
        prop_assert_eq!(jumped(&request, &made), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Capacity and residents of nodes that are there, with the rules that look at them.
    #[test]
    fn what_is_there_counts_for_the_rules(request in any_request(true, true)) {
        let mut request = request;
        // Rules among residents alone may be broken before: only those between a newcomer and residents count.
        request.tasks.iter_mut().for_each(|group| group.placement.spread_over = None);
        let made = plan(&request, Packer::Loadline, 1, &mut steps(6));
        let faults = faults(&request, &made);
        prop_assert!(faults.is_empty(), "{faults:?}\n{made:?}");
    }

    #[test]
    fn no_plan_costs_less_than_the_bound(request in any_request(false, true), seed in 1..1000u64) {
        let mut request = residents_only(&request);
        request.offers.iter_mut().for_each(|offer| offer.limit = None);
        let lowest = bound(&request, &mut || true);
        for packer in [Packer::Loadline, Packer::Karpenter, Packer::ClusterAutoscaler] {
            let made = plan(&request, packer, seed, &mut steps(40));
            if made.unplaced.is_empty() {
                let price = made.price(&request);
                prop_assert!(price >= lowest.best(), "{packer:?}: {price:?} under {lowest:?}");
            }
        }
        // Both are bounds. That over contents is the tighter one but for what its search leaves open, and for the gaps
        // of nodes that are there, which both take off as if fractions could fill them.
        if let Some(contents) = lowest.contents.filter(|_| request.nodes.is_empty()) {
            prop_assert!(contents.get() as f64 >= 0.99 * lowest.fractions.get() as f64 - 1.0, "{lowest:?}");
        }
    }
}

#[test]
fn the_best_plan_of_a_case_that_can_be_worked_out_by_hand() {
    // Three of 3 and three of 2 cores: two nodes of 8 hold 3 + 3 + 2 each... 15 cores in all, one of 16 is cheaper.
    let tasks = vec![group("three", 3, 3000, 100), group("two", 3, 2000, 100)];
    let offers = vec![offer("eight", "a", 8000, 8000, 100), offer("sixteen", "a", 16_000, 16_000, 190)];
    let request = Request::new(tasks, offers);
    let made = plan(&request, Packer::Loadline, 1, &mut steps(100));
    assert_eq!(made.bought(), BTreeMap::from([(1, 1)]));
    let lowest = bound(&request, &mut || true);
    assert!(lowest.best() <= MicroCents::new(190) && lowest.fractions >= MicroCents::new(177), "{lowest:?}");
}

#[test]
fn gaps_of_nodes_that_are_there_are_used_before_anything_is_bought() {
    let tasks = vec![group("web", 4, 1000, 100)];
    let mut request = Request::new(tasks, vec![offer("small", "a", 1000, 200, 10)]);
    request.nodes = vec![existing("n", "a", 3000, 1000)];
    let made = plan(&request, Packer::Loadline, 1, &mut steps(10));
    assert_eq!(made.price(&request), MicroCents::new(10));
    assert!(bound(&request, &mut || true).best() <= MicroCents::new(10));
}

#[test]
fn spot_nodes_take_no_more_than_their_share() {
    let mut cheap = offer("spot", "a", 4000, 4000, 10);
    cheap.spot = true;
    let mut request =
        Request::new(vec![group("web", 10, 1000, 100)], vec![cheap, offer("steady", "a", 4000, 4000, 40)]);
    request.spot_share = Share::new(0.5);
    let made = plan(&request, Packer::Loadline, 1, &mut steps(100));
    let on_spot: u32 =
        made.nodes.iter().filter(|n| n.place == Place::New(0)).flat_map(|n| &n.tasks).map(|t| t.1).sum();
    // Five may; four fill one node, and a second one for the fifth would cost more than the room on steady nodes.
    assert_eq!((made.unplaced.len(), on_spot, made.price(&request)), (0, 4, MicroCents::new(90)));
}

#[test]
fn why_tasks_have_no_place_is_told() {
    let mut picky = group("picky", 1, 100, 100);
    picky.placement.constraints = vec![Constraint::is_in("zone", vec!["z".to_owned()])];
    let mut near = group("near", 1, 100, 100);
    let rule = Neighbour { workload: workload("picky"), by: BY_NODE.to_owned(), required: true };
    near.placement.affinity = vec![rule];
    let mut apart = group("apart", 3, 100, 100);
    apart.placement.anti_affinity =
        vec![Neighbour { workload: workload("apart"), by: "zone".to_owned(), required: true }];
    let request = Request::new(
        vec![picky, group("huge", 1, 90_000, 100), near, apart],
        vec![offer("t", "a", 4000, 4000, 10), offer("t", "b", 4000, 4000, 10)],
    );
    let made = plan(&request, Packer::Loadline, 1, &mut steps(10));
    let mut why: Vec<(usize, u32, Why)> =
        made.unplaced.iter().map(|left| (left.group, left.count, left.why)).collect();
    why.sort();
    assert_eq!(
        why,
        [(0, 1, Why::Conditions), (1, 1, Why::TooLarge), (2, 1, Why::Together), (3, 1, Why::Neighbours)]
    );
}

#[test]
fn extra_resources_have_to_fit() {
    let mut learn = group("learn", 4, 1000, 100);
    learn.need.extra.insert("gpu".to_owned(), 1);
    let mut with = offer("gpu", "a", 8000, 8000, 500);
    with.capacity.extra.insert("gpu".to_owned(), 2);
    let request = Request::new(
        vec![learn, group("web", 2, 1000, 100)],
        vec![offer("plain", "a", 8000, 8000, 50), with],
    );
    let made = plan(&request, Packer::Loadline, 1, &mut steps(100));
    assert_eq!((made.unplaced.len(), made.price(&request)), (0, MicroCents::new(1000)));
}
