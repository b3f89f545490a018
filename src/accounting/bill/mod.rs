//! The bill of the nodes, split to the last micro-cent: what each task was allocated and used of the nodes
//! that were paid for, what lay idle in its allocation, what the system kept and what was free.
//!
//! In: lives of nodes (`nodes`), charges for them (`charge`), what tasks took of them (`taken`). Out: a
//! `Statement`, whose cells add up to the charges, and reports made of it. The rules, with their reasons, are
//! in `docs/decisions/013-node-bill.md`. Not here: files, text for people.

pub mod charge;
pub mod nodes;
pub mod report;
pub mod savings;
pub mod shared;
pub mod split;
pub mod statement;
pub mod taken;

#[cfg(test)]
mod exact;
