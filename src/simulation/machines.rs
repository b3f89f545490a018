//! Types of machines that a simulated provider has.
//!
//! Prices are those of EC2 in us-east-1, on demand, as of 2026-07-20 (the price table that Karpenter's AWS
//! provider ships). What is left to tasks is 97 % of the vCPUs less a tenth of one, and 95 % of the memory
//! less half a GiB: the rest is the system's.

use jiff::SignedDuration;
use serde::Serialize;

use crate::domain::money::MicroCents;
use crate::domain::quantity::{Bytes, MIB, Millicores, Resources};

/// A type of machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Its name; the pool's is the same with `-` for dots.
    pub name: String,
    /// What one offers to tasks.
    pub size: Resources,
    /// Price of one and hour.
    pub price: MicroCents,
    /// Usual time from asking for one until it takes tasks.
    pub boot: SignedDuration,
}

/// Name, vCPUs, GiB, dollars per hour.
const EC2: [(&str, u64, u64, f64); 18] = [
    ("c7i.large", 2, 4, 0.08925),
    ("c7i.xlarge", 4, 8, 0.1785),
    ("c7i.2xlarge", 8, 16, 0.357),
    ("c7i.4xlarge", 16, 32, 0.714),
    ("c7i.8xlarge", 32, 64, 1.428),
    ("c7i.16xlarge", 64, 128, 2.856),
    ("m7i.large", 2, 8, 0.1008),
    ("m7i.xlarge", 4, 16, 0.2016),
    ("m7i.2xlarge", 8, 32, 0.4032),
    ("m7i.4xlarge", 16, 64, 0.8064),
    ("m7i.8xlarge", 32, 128, 1.6128),
    ("m7i.16xlarge", 64, 256, 3.2256),
    ("r7i.large", 2, 16, 0.1323),
    ("r7i.xlarge", 4, 32, 0.2646),
    ("r7i.2xlarge", 8, 64, 0.5292),
    ("r7i.4xlarge", 16, 128, 1.0584),
    ("r7i.8xlarge", 32, 256, 2.1168),
    ("r7i.16xlarge", 64, 512, 4.2336),
];

/// Every type, each of which boots in a time.
pub fn all(boot: SignedDuration) -> Vec<Machine> {
    let one = |&(name, cores, gib, dollars): &(&str, u64, u64, f64)| Machine {
        name: name.to_owned(),
        size: Resources::new(
            Millicores::new(cores * 970 - 100),
            Bytes::new((gib * 1024 * 95 / 100 - 512) * MIB),
        ),
        price: MicroCents::from_units(dollars),
        boot,
    };
    EC2.iter().map(one).collect()
}

/// Those named, or an error that names the ones that there are.
pub fn named(names: &[String], boot: SignedDuration) -> Result<Vec<Machine>, String> {
    let all = all(boot);
    let find = |name: &String| all.iter().find(|machine| machine.name == *name).cloned();
    let unknown = |name: &String| {
        let known: Vec<&str> = EC2.iter().map(|(name, ..)| *name).collect();
        format!("`{name}` is not a type of machine; those known are {}", known.join(", "))
    };
    names.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_name() {
        let found = named(&["m7i.xlarge".to_owned()], SignedDuration::from_secs(60)).expect("it is there");
        assert_eq!(found[0].size.cpu, Millicores::new(3780));
        assert_eq!(found[0].size.memory, Bytes::mib(15_564 - 512));
        let error = named(&["m9".to_owned()], SignedDuration::ZERO).expect_err("it is not");
        assert!(error.starts_with("`m9` is not a type") && error.contains("c7i.large"), "{error}");
    }
}
