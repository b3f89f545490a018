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

/// A node: a split, or a leaf with the place of its probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    Split { feature: u8, left: u16, threshold: f32 },
    Leaf { place: u32 },
}

/// Trees that can be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    nodes: Vec<Node>,
    roots: Vec<u32>,
    leaves: Vec<[f32; CANDIDATES]>,
}

fn unfit(message: String) -> EstimationError {
    EstimationError::ModelUnfit(message)
}

impl Forest {
    /// Reads trees; errors say which tree and node is wrong.
    pub fn new(trees: &[TreeFile]) -> Result<Self, EstimationError> {
        if trees.is_empty() {
            return Err(unfit("a forest without trees".to_owned()));
        }
        let mut forest = Self { nodes: Vec::new(), roots: Vec::new(), leaves: Vec::new() };
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
        self.roots.push(first as u32);
        let mut leaves = tree.leaves.iter();
        for (place, &feature) in tree.feature.iter().enumerate() {
            let node = if let Some(feature) = feature {
                let left = usize::from(tree.left[place]);
                // Branches lie behind their node: no walk can go on for ever.
                if usize::from(feature) >= FEATURES || left <= place || left + 1 >= count {
                    return Err(format!("node {place} asks or leads astray"));
                }
                Node::Split { feature, left: tree.left[place], threshold: tree.threshold[place] }
            } else {
                let text = leaves.next().ok_or_else(|| format!("node {place} has no probabilities"))?;
                self.leaves.push(decode(text).ok_or_else(|| format!("node {place}: `{text}`"))?);
                Node::Leaf { place: self.leaves.len() as u32 - 1 }
            };
            self.nodes.push(node);
        }
        if leaves.next().is_some() {
            return Err("there are more probabilities than leaves".to_owned());
        }
        Ok(())
    }

    /// The chance that usage passes each candidate.
    pub fn chances(&self, context: &Context) -> [f32; CANDIDATES] {
        let mut sum = [0.0; CANDIDATES];
        for &root in &self.roots {
            let leaf = self.leaf(root as usize, &context.features);
            for (sum, chance) in sum.iter_mut().zip(leaf) {
                *sum += chance;
            }
        }
        let share = 1.0 / self.roots.len() as f32;
        sum.map(|sum| sum * share)
    }

    fn leaf(&self, root: usize, features: &[f32; FEATURES]) -> &[f32; CANDIDATES] {
        let mut at = root;
        loop {
            match self.nodes[at] {
                Node::Leaf { place } => return &self.leaves[place as usize],
                Node::Split { feature, left, threshold } => {
                    let right = usize::from(features[usize::from(feature)] > threshold);
                    at = root + usize::from(left) + right;
                }
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
