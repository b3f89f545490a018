//! `[simulated]`: what a cluster is like that is not there.

use jiff::SignedDuration;
use serde::Serialize;

use crate::config::reader::{Table, Value};
use crate::config::values::{duration_from, whole};
use crate::simulation::faults::Faults;

const BOOT_MIN: SignedDuration = SignedDuration::from_millis(1);

/// What runs tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterKind {
    /// Processes of this machine.
    #[default]
    Local,
    /// Nothing: nodes and tasks are simulated.
    Simulated,
}

/// `[simulated]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SimulatedSettings {
    /// What chance is drawn from.
    pub seed: u64,
    /// Usual time until a node takes tasks.
    pub boot: SignedDuration,
    /// What goes wrong.
    pub faults: Faults,
}

impl Default for SimulatedSettings {
    fn default() -> Self {
        Self { seed: 1, boot: SignedDuration::from_secs(5), faults: Faults::default() }
    }
}

pub(super) fn cluster_kind(value: &Value<'_>) -> Option<ClusterKind> {
    let expected = "\"local\" or \"simulated\"";
    match value.text(expected)? {
        "local" => Some(ClusterKind::Local),
        "simulated" => Some(ClusterKind::Simulated),
        _ => value.refuse(expected),
    }
}

pub(super) fn simulated(table: &Table<'_>, default: &SimulatedSettings) -> SimulatedSettings {
    SimulatedSettings {
        seed: table
            .optional("seed", whole(0..=i64::MAX))
            .and_then(|seed| u64::try_from(seed).ok())
            .unwrap_or(default.seed),
        boot: table.or("boot", default.boot, duration_from(BOOT_MIN)),
        faults: table.or("faults", default.faults, faults),
    }
}

fn faults(value: &Value<'_>) -> Option<Faults> {
    let expected = "faults such as \"none\", \"all\" or \"node-loss=0.05,failed-boot=0.02\"";
    let text = value.text(expected)?;
    text.parse().map_or_else(|why: String| value.refuse_hint(expected, Some(why)), Some)
}
