//! The nodes while tasks are placed on them one after the other, so the first one chooses first.
//!
//! A task goes to a node where all hard conditions hold: attributes, reservation, neighbours, evenness,
//! room for its request. Soft ones come on top: room for what it is likely to use, then its preferred
//! neighbours in the order in which they are written. Where no node meets all of them, they are left out
//! one after the other, the last one first.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::domain::node::{Node, NodeName, NodeState};
use crate::domain::placement::{Neighbour, PlacementSpec, Strategy};
use crate::domain::plan::Waiting;
use crate::domain::quantity::{Millicores, Resources};
use crate::domain::workload::WorkloadName;
use crate::placement::explain::explain;
use crate::placement::fit::{Ask, Owner};
use crate::placement::index::Index;
use crate::placement::rules::{Rules, rules};
use crate::placement::tree::Want;

/// A node and what is free on it.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its size less what the tasks on it take: their requests, or less CPU where overcommit is on.
    pub free: Resources,
    /// How much more CPU that is than their requests leave.
    pub lent: Millicores,
    /// Its size less what the tasks on it really use, or are likely to.
    pub unused: Resources,
    /// Its memory is nearly used up.
    pub crowded: bool,
    /// Whom it is kept for; anybody where empty.
    pub reserved_for: &'a [String],
}

/// A task that holds resources of a node.
#[derive(Debug, Clone, Copy)]
pub struct Resident<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// The revision that it was made from.
    pub revision: u64,
    /// Whether it is neither leaving nor gone.
    pub active: bool,
}

/// Where the tasks of workloads are.
pub trait Residents {
    /// The tasks of a workload that hold resources.
    fn of(&self, workload: &WorkloadName) -> Vec<Resident<'_>>;
}

/// A task of a workload on one of the slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    pub(super) slot: u32,
    pub(super) revision: u64,
    pub(super) active: bool,
}

/// An ask that found nothing, for others like it.
struct Refusal<'a> {
    ask: Ask<'a>,
    /// Depends on where other tasks are.
    with_rules: bool,
    /// Tasks placed by then.
    placed: usize,
    waiting: Waiting,
}

/// A task that found no node.
pub struct Refused {
    /// Why.
    pub waiting: Waiting,
    /// Equal for asks that are refused for the same reasons.
    pub shape: usize,
}

/// The nodes while tasks are placed on them.
pub struct Board<'a> {
    pub(super) slots: Vec<Slot<'a>>,
    pub(super) index: Index<'a>,
    residents: &'a dyn Residents,
    /// Workloads with those that keep away from them.
    pub(super) repelled: &'a BTreeMap<WorkloadName, Vec<Neighbour>>,
    known: RefCell<HashMap<WorkloadName, Rc<Vec<Guest>>>>,
    /// Tasks placed here of workloads that nobody has asked about.
    newcomers: HashMap<WorkloadName, Vec<Guest>>,
    refusals: Vec<Refusal<'a>>,
    refused: HashMap<Resources, Vec<usize>>,
    placed: usize,
    reserves: bool,
    /// Slots that take nothing for now.
    closed: Vec<bool>,
    /// What an attempt that fails has to take back.
    undo: Vec<Undo>,
    attempts: usize,
}

/// How something done in an attempt is undone.
enum Undo {
    Room { at: usize, free: Resources, unused: Resources },
    Guest(WorkloadName),
    Closed(usize),
    Opened(usize),
}

impl<'a> Board<'a> {
    /// The slots in order of name. `repelled` are workloads with those whose tasks must keep away from
    /// theirs.
    pub fn new(
        slots: Vec<Slot<'a>>,
        residents: &'a dyn Residents,
        repelled: &'a BTreeMap<WorkloadName, Vec<Neighbour>>,
    ) -> Self {
        Self {
            index: Index::new(&slots),
            reserves: slots.iter().any(|slot| !slot.reserved_for.is_empty()),
            closed: vec![false; slots.len()],
            undo: Vec::new(),
            attempts: 0,
            slots,
            residents,
            repelled,
            known: RefCell::default(),
            newcomers: HashMap::new(),
            refusals: Vec::new(),
            refused: HashMap::new(),
            placed: 0,
        }
    }

    /// A node and what is free on it now.
    pub fn slot(&self, at: usize) -> &Slot<'a> {
        &self.slots[at]
    }

    /// How many nodes there are.
    #[expect(clippy::len_without_is_empty, reason = "a count of slots, not a collection")]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Where a node is among the slots.
    pub fn find(&self, node: &NodeName) -> Option<usize> {
        self.slots.binary_search_by(|slot| slot.node.name.cmp(node)).ok()
    }

    /// Finds a node for the task and puts it there, or says why there is none.
    ///
    /// # Errors
    /// With the reasons, node by node, where no node takes it.
    pub fn place(&mut self, ask: &Ask<'a>) -> Result<usize, Refused> {
        let with_rules = ask.placement.looks_at_others() || self.repelled.contains_key(ask.task.workload());
        if let Some(shape) = self.refused_before(ask, with_rules) {
            let waiting = &self.refusals[shape].waiting;
            return Err(Refused { waiting: Waiting { task: ask.task.clone(), ..waiting.clone() }, shape });
        }
        self.seat(ask).ok_or_else(|| self.refuse(ask, with_rules))
    }

    /// Finds a node for the task and puts it there, as `place` does, without a reason where there is none.
    pub fn seat(&mut self, ask: &Ask<'_>) -> Option<usize> {
        let at = self.search(ask)? as usize;
        self.put(ask, at);
        Some(at)
    }

    /// Tries something: where nothing comes of it, all that was placed, closed and opened in it is taken
    /// back.
    pub fn attempt<T>(&mut self, trial: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let (mark, refusals) = (self.undo.len(), self.refusals.len());
        self.attempts += 1;
        let result = trial(self);
        self.attempts -= 1;
        if result.is_none() {
            self.take_back(mark, refusals);
        }
        if self.attempts == 0 {
            self.undo.clear();
        }
        result
    }

    fn take_back(&mut self, mark: usize, refusals: usize) {
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::Room { at, free, unused }) => {
                    (self.slots[at].free, self.slots[at].unused) = (free, unused);
                    self.index.changed(at, free, unused);
                }
                Some(Undo::Guest(workload)) => {
                    match self.known.get_mut().get_mut(&workload) {
                        Some(guests) => Rc::make_mut(guests).pop(),
                        None => self.newcomers.get_mut(&workload).and_then(Vec::pop),
                    };
                }
                Some(Undo::Closed(at)) => self.set_closed(at, false),
                Some(Undo::Opened(at)) => self.set_closed(at, true),
                None => {}
            }
        }
        // There is room again that they were refused for want of.
        self.refusals.truncate(refusals);
        self.refused.values_mut().for_each(|shapes| shapes.retain(|&shape| shape < refusals));
        self.placed += 1;
    }

    fn note(&mut self, undo: Undo) {
        if self.attempts > 0 {
            self.undo.push(undo);
        }
    }

    /// Lets a node take nothing from now on: it is to be emptied, or not there yet.
    pub fn close(&mut self, at: usize) {
        if !self.closed[at] {
            self.set_closed(at, true);
            self.note(Undo::Closed(at));
        }
    }

    /// Lets a node that was closed take tasks. Asks that were refused before are not asked anew.
    pub fn open(&mut self, at: usize) {
        if self.closed[at] {
            self.set_closed(at, false);
            self.note(Undo::Opened(at));
        }
    }

    fn set_closed(&mut self, at: usize, closed: bool) {
        self.closed[at] = closed;
        self.placed += 1;
        self.index.counted(at, self.slots[at].node, !closed);
    }

    /// Whether a node is ready for tasks.
    pub(super) fn is_open(&self, at: u32) -> bool {
        self.slots[at as usize].node.state == NodeState::Ready && !self.closed[at as usize]
    }

    fn search(&self, ask: &Ask<'_>) -> Option<u32> {
        let preferred = |rules: &[Neighbour]| rules.iter().filter(|rule| !rule.required).count();
        let soft = preferred(&ask.placement.affinity) + preferred(&ask.placement.anti_affinity);
        (0..=soft).rev().map(|kept| (kept, true)).chain([(0, false)]).find_map(|(kept, use_fits)| {
            let rules = rules(self, ask, kept);
            self.best(ask, &rules, use_fits)
        })
    }

    fn best(&self, ask: &Ask<'_>, rules: &Rules<'_>, use_fits: bool) -> Option<u32> {
        let expected = if use_fits { ask.expected } else { Resources::ZERO };
        let want = Want { request: ask.request, expected };
        let allowed = |at: u32| !self.closed[at as usize] && rules.allow(at);
        let mut tiers = rules.tiers(self).into_iter();
        match ask.placement.strategy {
            Strategy::Pack => tiers.find_map(|classes| self.index.fullest(&classes, &want, &allowed)),
            Strategy::Spread => {
                let mut own = HashMap::new();
                for guest in self.guests(ask.task.workload()).iter().filter(|guest| guest.active) {
                    if self.is_open(guest.slot) {
                        *own.entry(guest.slot).or_default() += 1;
                    }
                }
                tiers.find_map(|classes| self.index.emptiest(&classes, &want, &own, &allowed))
            }
        }
    }

    fn put(&mut self, ask: &Ask<'_>, at: usize) {
        self.placed += 1;
        self.take_both(at, ask.request, ask.expected);
        let guest = Guest { slot: at as u32, revision: ask.revision, active: true };
        match self.known.get_mut().get_mut(ask.task.workload()) {
            Some(guests) => Rc::make_mut(guests).push(guest),
            None => self.newcomers.entry(ask.task.workload().clone()).or_default().push(guest),
        }
        if self.attempts > 0 {
            self.undo.push(Undo::Guest(ask.task.workload().clone()));
        }
    }

    /// Takes room on a node that is to be kept for somebody.
    pub fn take(&mut self, at: usize, amount: Resources) {
        self.take_both(at, amount, Resources::ZERO);
    }

    fn take_both(&mut self, at: usize, amount: Resources, used: Resources) {
        let slot = &mut self.slots[at];
        let (free, unused) = (slot.free, slot.unused);
        slot.free = free.saturating_sub(amount);
        slot.unused = unused.saturating_sub(used);
        self.index.changed(at, slot.free, slot.unused);
        self.note(Undo::Room { at, free, unused });
    }

    /// The tasks of a workload on the slots, those placed here included.
    pub(super) fn guests(&self, workload: &WorkloadName) -> Rc<Vec<Guest>> {
        if let Some(known) = self.known.borrow().get(workload) {
            return Rc::clone(known);
        }
        let there = self.residents.of(workload).into_iter().filter_map(|resident| {
            let slot = self.find(resident.node)? as u32;
            Some(Guest { slot, revision: resident.revision, active: resident.active })
        });
        let placed = self.newcomers.get(workload).into_iter().flatten().copied();
        let guests = Rc::new(there.chain(placed).collect::<Vec<_>>());
        self.known.borrow_mut().insert(workload.clone(), Rc::clone(&guests));
        guests
    }

    /// Free space only shrinks here (attempts aside), so an ask that failed fails again, unless its rules look at tasks
    /// that were placed since.
    fn refused_before(&self, ask: &Ask<'_>, with_rules: bool) -> Option<usize> {
        let same = |&&at: &&usize| {
            let other = &self.refusals[at];
            let same_owner = || {
                let (one, another): (Owner<'_>, Owner<'_>) = (other.ask.owner(), ask.owner());
                one == another
            };
            same_placement(other.ask.placement, ask.placement)
                && other.with_rules == with_rules
                && (!self.reserves || same_owner())
                && (!with_rules
                    || (other.placed == self.placed
                        && other.ask.revision == ask.revision
                        && other.ask.task.workload() == ask.task.workload()))
        };
        self.refused.get(&ask.request)?.iter().find(same).copied()
    }

    fn refuse(&mut self, ask: &Ask<'a>, with_rules: bool) -> Refused {
        let waiting = explain(self, ask);
        let shape = self.refusals.len();
        self.refused.entry(ask.request).or_default().push(shape);
        let placed = self.placed;
        self.refusals.push(Refusal { ask: *ask, with_rules, placed, waiting: waiting.clone() });
        Refused { waiting, shape }
    }
}

fn same_placement(one: &PlacementSpec, other: &PlacementSpec) -> bool {
    std::ptr::eq(one, other) || one == other
}
