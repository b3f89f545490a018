//! What a service would need under another load: the question and its answer. Not here: how it is computed
//! (`scaling::what_if`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::money::MicroCents;
use crate::domain::quantity::TaskSize;

/// More than this in one place is a mistake.
const LOAD_MAX: f64 = 1e12;

/// Another load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OtherLoad {
    /// So many times the present one.
    Times(f64),
    /// So many requests per second in all.
    Total(f64),
}

impl FromStr for OtherLoad {
    type Err = String;

    /// Reads `x2`, `+30%`, `-20%` and `250/s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |text: &str| text.trim().parse::<f64>().ok().filter(|number| (0.0..=LOAD_MAX).contains(number));
        let read = if let Some(times) = text.strip_prefix('x') {
            number(times).map(Self::Times)
        } else if let Some(percent) = text.strip_suffix('%') {
            let (sign, percent) = match percent.strip_prefix('-') {
                Some(percent) => (-1.0, percent),
                None => (1.0, percent.strip_prefix('+').unwrap_or_default()),
            };
            number(percent).map(|percent| Self::Times(1.0 + sign * percent / 100.0))
        } else {
            text.strip_suffix("/s").and_then(number).map(Self::Total)
        };
        read.filter(|load| !matches!(load, Self::Times(times) if *times < 0.0)).ok_or_else(|| {
            format!("`{text}` is no load: expected x2, +30%, -20% or 250/s (requests per second)")
        })
    }
}

/// A load, and what it is served with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stand {
    /// Requests per second over all instances.
    pub load: f64,
    /// Instances.
    pub instances: u32,
    /// The size of each.
    pub size: TaskSize,
    /// Nodes of the pool that they fill, where they fit on any.
    pub nodes: Option<u32>,
    /// What the requests of all instances cost for an hour.
    pub price: MicroCents,
    /// What the nodes cost for an hour.
    pub node_price: Option<MicroCents>,
    /// CPU that an instance uses, in cores, by the model.
    pub cpu: Option<f64>,
    /// Memory that an instance uses, in bytes, by the model.
    pub memory: Option<f64>,
    /// The 95th percentile of latency in seconds, by the model; absent where it is not known or without end.
    pub latency: Option<f64>,
}

/// What a service would need under another load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    /// As it is.
    pub now: Stand,
    /// As it would be.
    pub then: Stand,
    /// The cheapest size and count together for that load, where that can be computed.
    pub best: Option<Stand>,
    /// What decides the count then.
    pub rule: String,
    /// Where the load comes from.
    pub load_from: String,
    /// What the answer rests on, and what it leaves open.
    pub notes: Vec<String>,
}

impl fmt::Display for OtherLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "x{times}"),
            Self::Total(total) => write!(f, "{total}/s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_read_as_people_write_them() {
        for (text, load) in [
            ("x2", OtherLoad::Times(2.0)),
            ("x0.5", OtherLoad::Times(0.5)),
            ("+30%", OtherLoad::Times(1.3)),
            ("-20%", OtherLoad::Times(0.8)),
            ("250/s", OtherLoad::Total(250.0)),
            ("0/s", OtherLoad::Total(0.0)),
        ] {
            assert_eq!(text.parse(), Ok(load), "{text}");
        }
        for text in ["", "2", "30%", "x", "x-1", "-120%", "NaN/s", "xinf", "1e99/s", "/s"] {
            assert!(text.parse::<OtherLoad>().is_err(), "{text}");
        }
    }
}
