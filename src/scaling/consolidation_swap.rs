//! One node in the place of several.
//!
//! In: a node that is empty or not made yet, and nodes whose tasks find no room on those that stay. Out: which of
//! these it can take the place of, where that costs less. They go at once: one after the other, half of them
//! might stay for a reason that is new, and both the new node and they would be paid for.
//! Not here: nodes that need no other (`consolidation`).

use std::collections::HashMap;

use jiff::SignedDuration;

use crate::domain::money::MicroCents;
use crate::domain::node::{Node, NodeName};
use crate::domain::node_outlook::{Block, Blocker};
use crate::domain::task::TaskId;
use crate::placement::Board;
use crate::scaling::ahead::boot_time;
use crate::scaling::cluster::{KeptNode, price_of};
use crate::scaling::consolidation::{
    Candidate, Consolidation, Emptied, Move, PAID_BACK_WITHIN, Planner, Replacement, homes_at_once,
};

/// So many nodes at most make way for one.
const REPLACED_MAX: usize = 10;
/// No more of them are tried after so many that it did not help.
const FAILURES_MAX: usize = 50;
/// An empty node is kept so long for others that are still to make way for it.
const HELD_FOR: SignedDuration = SignedDuration::from_mins(15);
/// Empty nodes that are held against others: the dearest.
const EMPTIES_LOOKED_AT: usize = 10;

impl<'w> Planner<'w> {
    /// Lets each empty node go, or take the place of others.
    pub(super) fn place_empties(
        &mut self,
        board: &mut Board<'_>,
        empties: Vec<Candidate<'w>>,
        stuck: &[Candidate<'w>],
        found: &mut Consolidation,
    ) {
        let mut go = Vec::new();
        for (turn, empty) in empties.into_iter().enumerate() {
            let looked_at = turn < EMPTIES_LOOKED_AT;
            let at = (empty.slot, empty.node);
            let saves = |one: &Option<Replacement>| one.as_ref().map(|one| one.saves);
            let takeover = if looked_at { self.replace(board, at, stuck, false) } else { None };
            let takes_over = takeover.is_some();
            if saves(&takeover) > saves(&found.takeover) {
                found.takeover = takeover;
            }
            if !self.has_rested(&empty) {
                continue;
            }
            let held = self.now.duration_since(empty.node.state_since) < HELD_FOR;
            let purpose = takes_over || looked_at && held && self.replace(board, at, stuck, true).is_some();
            let wanted = || Block::new(Blocker::Receives, "it can take the place of others".to_owned());
            let block = if purpose { Some(wanted()) } else { self.stays(&empty) };
            let node = empty.node.name.clone();
            if let Some(block) = block {
                found.kept.push(KeptNode { node, block });
            } else {
                *self.gone.entry(&empty.pool.name).or_default() += 1;
                let pool = empty.pool.name.clone();
                go.push(Emptied { node, pool, moves: Vec::new(), saves: empty.price });
            }
        }
        found.emptied.splice(0..0, go);
    }

    /// Nodes with nothing on them and nothing expected, the dearest first.
    pub(super) fn empties(&self, board: &Board<'_>) -> Vec<Candidate<'w>> {
        let mut empties: Vec<Candidate<'w>> = self
            .ready()
            .filter_map(|node| self.candidate(board, node))
            .filter(|candidate| self.is_empty(candidate))
            .collect();
        empties.sort_by(|a, b| b.price.cmp(&a.price).then_with(|| a.node.name.cmp(&b.node.name)));
        empties
    }

    /// What a node would take the place of, if that pays. With patience, those count as well that only a wait
    /// or a disruption holds now. Only a trial: nothing of it stays on the board.
    pub(super) fn replace(
        &mut self,
        board: &mut Board<'_>,
        (slot, new): (usize, &Node),
        stuck: &[Candidate<'w>],
        patient: bool,
    ) -> Option<Replacement> {
        let pool = self.world.pools.get(&new.pool)?;
        let price = price_of(pool, 1, &self.terms.prices);
        // While it boots, both it and what it is to replace are paid for.
        let twice = boot_time(self.world, pool).as_secs_f64() / PAID_BACK_WITHIN.as_secs_f64();
        let before = (self.receives.clone(), self.expected.clone(), self.gone.clone());
        let mut chosen = self.choose(board, (slot, new), stuck, patient);
        (self.receives, self.expected, self.gone) = before;
        loop {
            let add = |a, b| a + b;
            let saves = chosen.iter().map(|one| one.price).fold(MicroCents::ZERO, add) - price;
            let cost = chosen.iter().map(|one| one.cost_of_moving()).fold(price.scale(twice), add);
            if chosen.is_empty() || saves <= cost {
                return None;
            }
            let nodes: Vec<&NodeName> = chosen.iter().map(|one| &one.node.name).collect();
            let made = (!self.world.nodes.contains_key(&new.name)).then_some(new);
            let terms = (self.terms, self.now);
            if let Some(homes) = homes_at_once(self.world, &self.ahead, (&nodes, made), terms) {
                let instead_of = chosen.iter().map(|one| emptied(one, &homes)).collect();
                let (pool, node) = (pool.name.clone(), new.name.clone());
                return Some(Replacement { pool, node, instead_of, saves });
            }
            chosen.pop();
        }
    }

    /// Nodes whose tasks find room where one more node is there.
    fn choose<'c>(
        &mut self,
        board: &mut Board<'_>,
        (slot, new): (usize, &Node),
        stuck: &'c [Candidate<'w>],
        patient: bool,
    ) -> Vec<&'c Candidate<'w>> {
        let (mut chosen, mut failures) = (Vec::new(), 0);
        board.attempt(|board| {
            board.open(slot);
            for candidate in stuck.iter().filter(|candidate| candidate.pool.name != new.pool) {
                if failures >= FAILURES_MAX || chosen.len() >= REPLACED_MAX {
                    break;
                }
                let held =
                    if patient { self.stays_for_good(candidate) } else { self.stays(candidate) }.is_some();
                if held || self.receives[candidate.slot] {
                    continue;
                }
                if self.empty(board, candidate).is_ok() {
                    *self.gone.entry(&candidate.pool.name).or_default() += 1;
                    chosen.push(candidate);
                } else {
                    failures += 1;
                }
            }
            None::<()>
        });
        chosen
    }
}

/// A node that is emptied, with where its tasks go.
fn emptied(node: &Candidate<'_>, homes: &HashMap<TaskId, NodeName>) -> Emptied {
    let moves = node.tasks.iter().filter_map(|task| {
        let to = homes.get(&task.id)?.clone();
        Some(Move { task: task.id.clone(), to })
    });
    let mut moves: Vec<Move> = moves.collect();
    moves.sort_by(|one, other| one.task.cmp(&other.task));
    Emptied { node: node.node.name.clone(), pool: node.pool.name.clone(), moves, saves: node.price }
}
