//! Facts to figures: who requested and used what, what lay idle, and what it cost.
//!
//! In: task records, samples, prices, recommendations. Out: a ledger entry a task and hour, and the
//! words of a report; the bill of the nodes, split among tasks (`bill`). Not here: grouping entries into a report (`analytics`), text for people (`cli`).

pub mod amount;
pub mod bill;
pub mod facts;
pub mod instances;
pub mod ledger;
pub mod report;
pub mod task_times;
mod timeline;
