//! Rules about where other tasks are: neighbours and evenness. Worked out once for an ask, then asked of
//! classes of nodes where a place is an attribute's value, and of single nodes where a place is a node.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::domain::placement::{BY_NODE, Constraint, Neighbour, Operator, SpreadOver};
use crate::domain::plan::Misfit;
use crate::placement::board::{Board, Guest};
use crate::placement::fit::{Ask, admits, value};
use crate::placement::index::Class;

/// Some of the nodes: by themselves, or by the value of an attribute.
enum Places {
    Nodes(HashSet<u32>),
    Values(BTreeSet<String>),
}

/// How many tasks of the workload are in each place.
enum Counts {
    Nodes(HashMap<u32, u32>),
    Values(BTreeMap<String, u32>),
}

enum Rule<'a> {
    Near(&'a Neighbour, Places),
    Apart(&'a Neighbour, Places),
    Even { spread: &'a SpreadOver, counts: Counts, least: u32 },
}

/// What holds for one ask.
pub(super) struct Rules<'a> {
    rules: Vec<Rule<'a>>,
    /// Classes whose attributes and reservation are right.
    admitted: Vec<u32>,
}

/// The rules of an ask with the first `kept` of its preferred ones.
pub(super) fn rules<'r>(board: &'r Board<'_>, ask: &Ask<'r>, kept: usize) -> Rules<'r> {
    let admitted = admitted(board, ask);
    let mut rules = Vec::new();
    let mut preferred = 0;
    let mut counts = |rule: &&Neighbour| {
        preferred += usize::from(!rule.required);
        rule.required || preferred <= kept
    };
    let own = ask.task.workload();
    for rule in ask.placement.affinity.iter().filter(&mut counts) {
        let guests = board.guests(&rule.workload);
        let there: Vec<Guest> = guests.iter().filter(|guest| guest.active).copied().collect();
        // The first of those that want to be together goes anywhere.
        if !(there.is_empty() && rule.workload == *own) {
            rules.push(Rule::Near(rule, places(board, &rule.by, &there)));
        }
    }
    let repelled = board.repelled.get(own).into_iter().flatten();
    for rule in ask.placement.anti_affinity.iter().filter(counts).chain(repelled) {
        rules.push(Rule::Apart(rule, places(board, &rule.by, &board.guests(&rule.workload))));
    }
    if let Some(spread) = &ask.placement.spread_over {
        rules.push(even(board, ask, spread, &admitted));
    }
    Rules { rules, admitted }
}

fn admitted(board: &Board<'_>, ask: &Ask<'_>) -> Vec<u32> {
    let classes = board.index.classes.iter().enumerate();
    let admitted = classes.filter(|(_, class)| {
        let (pool, attributes) = (class.pool, class.attributes);
        class.ready > 0
            && admits(Some(ask.placement), ask.owner(), pool, attributes, class.reserved_for).is_ok()
    });
    admitted.map(|(at, _)| at as u32).collect()
}

fn place_of<'b>(board: &'b Board<'_>, at: u32, by: &str) -> Option<&'b str> {
    let node = board.slots[at as usize].node;
    value(&node.pool, &node.attributes, by)
}

fn places(board: &Board<'_>, by: &str, guests: &[Guest]) -> Places {
    if by == BY_NODE {
        return Places::Nodes(guests.iter().map(|guest| guest.slot).collect());
    }
    let values = guests.iter().filter_map(|guest| place_of(board, guest.slot, by));
    Places::Values(values.map(str::to_owned).collect())
}

/// Counts tasks of the same revision that stay, over the places that the task may go to.
fn even<'r>(board: &Board<'_>, ask: &Ask<'_>, spread: &'r SpreadOver, admitted: &[u32]) -> Rule<'r> {
    let guests = board.guests(ask.task.workload());
    let counted = guests.iter().filter(|guest| {
        guest.active
            && guest.revision == ask.revision
            && board.is_open(guest.slot)
            && admitted.contains(&board.index.class_of[guest.slot as usize])
    });
    if spread.by == BY_NODE {
        let mut counts: HashMap<u32, u32> = HashMap::new();
        counted.for_each(|guest| *counts.entry(guest.slot).or_default() += 1);
        let nodes: usize = admitted.iter().map(|&class| board.index.classes[class as usize].ready).sum();
        let least = if counts.len() < nodes { 0 } else { counts.values().copied().min().unwrap_or(0) };
        return Rule::Even { spread, counts: Counts::Nodes(counts), least };
    }
    let mut counts = BTreeMap::new();
    for class in admitted.iter().map(|&class| &board.index.classes[class as usize]) {
        if let Some(place) = value(class.pool, class.attributes, &spread.by) {
            counts.entry(place.to_owned()).or_insert(0);
        }
    }
    for place in counted.filter_map(|guest| place_of(board, guest.slot, &spread.by)) {
        *counts.entry(place.to_owned()).or_insert(0) += 1;
    }
    let least = counts.values().copied().min().unwrap_or(0);
    Rule::Even { spread, counts: Counts::Values(counts), least }
}

impl Rule<'_> {
    /// Whether it holds of all nodes of a class; true where it is about single nodes.
    fn holds_of_class(&self, class: &Class<'_>) -> bool {
        let is_in = |values: &BTreeSet<String>, by: &str| {
            value(class.pool, class.attributes, by).is_some_and(|place| values.contains(place))
        };
        match self {
            Self::Near(rule, Places::Values(values)) => is_in(values, &rule.by),
            Self::Apart(rule, Places::Values(values)) => !is_in(values, &rule.by),
            Self::Even { spread, counts: Counts::Values(counts), least } => {
                let here =
                    value(class.pool, class.attributes, &spread.by).and_then(|place| counts.get(place));
                here.is_some_and(|here| here - least < spread.max_skew)
            }
            _ => true,
        }
    }

    /// Whether it holds of a node; true where it is about classes.
    fn holds_of_node(&self, at: u32) -> bool {
        match self {
            Self::Near(_, Places::Nodes(nodes)) => nodes.contains(&at),
            Self::Apart(_, Places::Nodes(nodes)) => !nodes.contains(&at),
            Self::Even { spread, counts: Counts::Nodes(counts), least } => {
                counts.get(&at).copied().unwrap_or(0).saturating_sub(*least) < spread.max_skew
            }
            _ => true,
        }
    }

    fn misfit(&self, class: &Class<'_>, at: u32) -> Misfit {
        match self {
            Self::Near(rule, _) => Misfit::Apart(Neighbour::clone(rule)),
            Self::Apart(rule, _) => Misfit::Near(Neighbour::clone(rule)),
            Self::Even { spread, counts, least } => {
                let here = match counts {
                    Counts::Nodes(counts) => counts.get(&at).copied(),
                    Counts::Values(counts) => value(class.pool, class.attributes, &spread.by)
                        .and_then(|place| counts.get(place).copied()),
                };
                Misfit::Skewed { by: spread.by.clone(), here: here.unwrap_or(0), least: *least }
            }
        }
    }

    /// What a new node must have for the rule to hold of it.
    fn narrowed(&self) -> Option<Constraint> {
        let constraint = |attribute: &str, operator, any_of: Vec<String>| {
            Some(Constraint { attribute: attribute.to_owned(), operator, any_of })
        };
        match self {
            // A new node has no tasks: it is near nobody and away from everybody.
            Self::Near(rule, Places::Nodes(_)) => constraint(&rule.by, Operator::In, Vec::new()),
            Self::Near(rule, Places::Values(values)) => {
                constraint(&rule.by, Operator::In, values.iter().cloned().collect())
            }
            Self::Apart(rule, Places::Values(values)) if !values.is_empty() => {
                constraint(&rule.by, Operator::NotIn, values.iter().cloned().collect())
            }
            Self::Even { spread, counts: Counts::Values(counts), least } => {
                let full = counts.iter().filter(|(_, here)| **here - least >= spread.max_skew);
                let full: Vec<String> = full.map(|(place, _)| place.clone()).collect();
                (!full.is_empty()).then(|| constraint(&spread.by, Operator::NotIn, full)).flatten()
            }
            _ => None,
        }
    }
}

impl Rules<'_> {
    /// Classes to search, the best ones first; later ones only where the earlier have nothing.
    pub(super) fn tiers(&self, board: &Board<'_>) -> Vec<Vec<u32>> {
        let class = |at: u32| &board.index.classes[at as usize];
        let holds = |at: &u32| self.rules.iter().all(|rule| rule.holds_of_class(class(*at)));
        let even = self.rules.iter().find_map(|rule| match rule {
            Rule::Even { spread, counts: Counts::Values(counts), .. } => Some((spread, counts)),
            _ => None,
        });
        let fit = self.admitted.iter().copied().filter(holds);
        let Some((spread, counts)) = even else { return vec![fit.collect()] };
        let mut tiers: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for at in fit {
            let place = value(class(at).pool, class(at).attributes, &spread.by);
            let here = place.and_then(|place| counts.get(place)).copied().unwrap_or(0);
            tiers.entry(here).or_default().push(at);
        }
        tiers.into_values().collect()
    }

    /// Whether the rules about single nodes hold of one in a class that `tiers` has.
    pub(super) fn allow(&self, at: u32) -> bool {
        self.rules.iter().all(|rule| rule.holds_of_node(at))
    }

    /// The first rule that a node breaks.
    pub(super) fn broken(&self, board: &Board<'_>, at: u32) -> Option<Misfit> {
        let class = &board.index.classes[board.index.class_of[at as usize] as usize];
        let broken = |rule: &&Rule<'_>| !(rule.holds_of_class(class) && rule.holds_of_node(at));
        self.rules.iter().find(broken).map(|rule| rule.misfit(class, at))
    }

    /// What must hold of a new node for it to help.
    pub(super) fn narrowed(&self) -> Vec<Constraint> {
        self.rules.iter().filter_map(Rule::narrowed).collect()
    }
}
