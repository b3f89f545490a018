//! How likely usage passes each candidate limit, from a context: an ensemble of decision trees.
//!
//! In: a `Context`. Out: a probability for each candidate, a candidate being a reference level times a
//! margin. The trees are fitted offline (`replay::fit`) so that choosing by them costs least; here they are
//! only read. Each leaf holds the share of its lessons that passed each candidate; a forest's answer is
//! the mean of its trees' leaves (bagging: Breiman, 2001; leaves that hold distributions: Meinshausen,
//! 2006).

use serde::{Deserialize, Serialize};

use crate::estimation::EstimationError;
use crate::estimation::loadline::recent::{Context, FEATURES};

/// Places of the reference levels that candidates are multiples of.
pub const CANDIDATE_REFERENCES: [usize; 6] = [0, 1, 3, 4, 7, 8];
/// The margins, as factors. The least one is just above the level itself, which rounding must not pass.
pub const MARGINS: [f32; 9] = [1.0005, 1.02, 1.05, 1.1, 1.2, 1.4, 1.8, 2.6, 5.0];
/// Candidates: each margin of each reference.
pub const CANDIDATES: usize = CANDIDATE_REFERENCES.len() * MARGINS.len();

/// Probabilities as written in a file: one character each, by which `LETTERS` says how many steps of 0.33
/// binary orders it lies below 1.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ORDERS: f64 = 0.33;

/// A tree as written in a file: node 0 is the root. A node with a left and a right branch splits; the others
/// are leaves, numbered in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeFile {
    /// The place of the feature that a node asks for; null in a leaf.
    pub feature: Vec<Option<u8>>,
    /// At most so much leads to the left. 0 in a leaf.
    pub threshold: Vec<f32>,
    /// The node to the left, then the one to the right of it follows.
    pub left: Vec<u16>,
    /// A leaf's probabilities, a character a candidate; leaves in the order of their nodes.
    pub leaves: Vec<String>,
}

/// A node. At most `threshold` of its feature leads to the node `left`, more to the one after it. A leaf leads to
/// itself, so that all trees can be walked in step: the processor need not guess where one ends.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    threshold: f32,
    left: u16,
    feature: u8,
}

/// Trees that can be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    nodes: Vec<Node>,
    /// The place of each node's probabilities; 0 where it has none.
    places: Vec<u32>,
    roots: Vec<u16>,
    leaves: Vec<[f32; CANDIDATES]>,
}

/// Trees that are walked in step.
const ABREAST: usize = 10;
const PADDED: usize = FEATURES.next_power_of_two();

fn unfit(message: String) -> EstimationError {
    EstimationError::ModelUnfit(message)
}

impl Forest {
    /// Reads trees; errors say which tree and node is wrong.
    pub fn new(trees: &[TreeFile]) -> Result<Self, EstimationError> {
        if trees.is_empty() {
            return Err(unfit("a forest without trees".to_owned()));
        }
        let mut forest =
            Self { nodes: Vec::new(), places: Vec::new(), roots: Vec::new(), leaves: Vec::new() };
        for (number, tree) in trees.iter().enumerate() {
            forest.add(tree).map_err(|what| unfit(format!("tree {number}: {what}")))?;
        }
        Ok(forest)
    }

    fn add(&mut self, tree: &TreeFile) -> Result<(), String> {
        let count = tree.feature.len();
        if count == 0 || tree.threshold.len() != count || tree.left.len() != count {
            return Err("its columns differ in length, or are empty".to_owned());
        }
        let first = self.nodes.len();
        let number = |place: usize| u16::try_from(first + place).map_err(|_| "too many nodes".to_owned());
        self.roots.push(number(0)?);
        let mut leaves = tree.leaves.iter();
        for (place, &feature) in tree.feature.iter().enumerate() {
            if let Some(feature) = feature {
                let left = usize::from(tree.left[place]);
                // Branches lie behind their node: no walk can go on for ever.
                if usize::from(feature) >= FEATURES || left <= place || left + 1 >= count {
                    return Err(format!("node {place} asks or leads astray"));
                }
                self.nodes.push(Node { threshold: tree.threshold[place], left: number(left)?, feature });
                self.places.push(0);
            } else {
                let text = leaves.next().ok_or_else(|| format!("node {place} has no probabilities"))?;
                self.nodes.push(Node { threshold: f32::INFINITY, left: number(place)?, feature: 0 });
                self.places.push(self.leaves.len() as u32);
                self.leaves.push(decode(text).ok_or_else(|| format!("node {place}: `{text}`"))?);
            }
        }
        if leaves.next().is_some() {
            return Err("there are more probabilities than leaves".to_owned());
        }
        Ok(())
    }

    /// The chance that usage passes each candidate.
    pub fn chances(&self, context: &Context) -> [f32; CANDIDATES] {
        let mut sum = [0.0; CANDIDATES];
        for roots in self.roots.chunks(ABREAST) {
            let ends = self.walk(roots, &context.features);
            for end in &ends[..roots.len()] {
                let leaf = &self.leaves[self.places[usize::from(*end)] as usize];
                for (sum, chance) in sum.iter_mut().zip(leaf) {
                    *sum += chance;
                }
            }
        }
        let share = 1.0 / self.roots.len() as f32;
        sum.map(|sum| sum * share)
    }

    /// The leaf that each root leads to.
    fn walk(&self, roots: &[u16], features: &[f32; FEATURES]) -> [u16; ABREAST] {
        // A power of two: every feature number is then within it, and needs no look whether it is.
        let mut padded = [0.0; PADDED];
        padded[..FEATURES].copy_from_slice(features);
        let mut at = [roots[0]; ABREAST];
        at[..roots.len()].copy_from_slice(roots);
        loop {
            let mut moved = 0;
            for at in &mut at {
                let node = self.nodes[usize::from(*at)];
                let next = node.left + u16::from(padded[usize::from(node.feature) % PADDED] > node.threshold);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                return at;
            }
        }
    }
}

/// Writes probabilities, each within 11 % of itself.
pub fn encode(chances: &[f64; CANDIDATES]) -> String {
    chances
        .iter()
        .map(|chance| {
            let steps = (-chance.log2() / ORDERS).round().clamp(0.0, 63.0);
            char::from(LETTERS[steps as usize])
        })
        .collect()
}

fn decode(text: &str) -> Option<[f32; CANDIDATES]> {
    let mut chances = [0.0; CANDIDATES];
    if text.len() != CANDIDATES {
        return None;
    }
    for (chance, letter) in chances.iter_mut().zip(text.bytes()) {
        let steps = LETTERS.iter().position(|known| *known == letter)?;
        *chance = (-ORDERS * steps as f64).exp2() as f32;
    }
    Some(chances)
}
