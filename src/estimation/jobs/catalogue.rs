//! Policies for batch work by name: `NAME[:key=value]...`.
//!
//! In: a text. Out: a policy that knows nothing yet.

use crate::estimation::EstimationError;
use crate::estimation::catalogue::{CatalogueError, read_values};
use crate::estimation::jobs::JobPolicy;
use crate::estimation::jobs::ladder::{LadderParameters, LadderPolicy};
use crate::estimation::jobs::peers::{Peer, Rule};

type Make = fn(&[f64]) -> Result<Box<dyn JobPolicy>, EstimationError>;

/// A policy that can be asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct JobEntry {
    /// Its name.
    pub name: &'static str,
    /// Its keys with the values that they have unless written.
    pub keys: &'static [(&'static str, f64)],
    make: Make,
}

fn peer(rule: Rule) -> Box<dyn JobPolicy> {
    Box::new(Peer::new(rule))
}

/// Every policy, in the order in which they are compared.
pub const JOB_ENTRIES: &[JobEntry] = &[
    JobEntry { name: "request", keys: &[], make: |_| Ok(peer(Rule::Request)) },
    JobEntry { name: "doubling", keys: &[], make: |_| Ok(peer(Rule::Doubling)) },
    JobEntry {
        name: "percentile",
        keys: &[("percentile", 0.95), ("margin", 1.15)],
        make: |values| Ok(peer(Rule::Percentile { percentile: values[0], margin: values[1] })),
    },
    JobEntry {
        name: "witt-lr",
        keys: &[("deviations", 1.0)],
        make: |values| Ok(peer(Rule::WittLine { deviations: values[0] })),
    },
    JobEntry { name: "tovar-ppm", keys: &[], make: |_| Ok(peer(Rule::Tovar)) },
    JobEntry {
        name: "loadline",
        // The floor in MiB.
        keys: &[("price", 2000.0), ("risk", 1e-4), ("excess", 0.2), ("floor", 32.0)],
        make: |values| {
            let &[price, risk, excess, floor] = values else {
                return Ok(Box::new(LadderPolicy::default()));
            };
            let parameters = LadderParameters { price, risk, excess, floor: floor * 1_048_576.0 };
            Ok(Box::new(LadderPolicy::new(parameters)?))
        },
    },
];

/// Makes the policy that a text names.
pub fn job_policy(text: &str) -> Result<Box<dyn JobPolicy>, CatalogueError> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let Some(entry) = JOB_ENTRIES.iter().find(|entry| entry.name == name) else {
        let known: Vec<&str> = JOB_ENTRIES.iter().map(|entry| entry.name).collect();
        return Err(CatalogueError::Name { name: name.to_owned(), known: known.join(", ") });
    };
    let values = read_values(entry.name, entry.keys, rest)?;
    (entry.make)(&values).map_err(|source| CatalogueError::Parameters { policy: entry.name, source })
}
