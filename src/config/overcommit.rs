//! `[overcommit]`: tasks placed by the predicted peak of CPU use of nodes. Off unless a risk is stated.

use jiff::SignedDuration;
use serde::Serialize;

use crate::config::reader::{Table, Value};
use crate::config::values::{duration_from, number};
use crate::domain::quantity::Share;
use crate::estimation::node_peak::PeakSettings;

/// A window shorter than this holds no use that is worth a mean.
const WINDOW_MIN: SignedDuration = SignedDuration::from_secs(1);
const RISK_MIN: f64 = 0.0001;
const RISK_MAX: f64 = 0.2;
/// More than so many times a node's CPU is requested nowhere.
const MOST_MAX: f64 = 10.0;

/// `[overcommit]`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OvercommitConfig {
    /// In this share of windows the CPU use of a node may go beyond what it has; requests count where absent.
    pub risk: Option<Share>,
    /// Requests for CPU on a node come to at most so many times what it has.
    pub most: f64,
    /// A task counts with its request until so much of its use is known.
    pub warm_up: SignedDuration,
    /// Use is the mean over so long.
    pub window: SignedDuration,
}

impl Default for OvercommitConfig {
    fn default() -> Self {
        Self {
            risk: None,
            most: 2.0,
            warm_up: SignedDuration::from_hours(2),
            window: SignedDuration::from_mins(5),
        }
    }
}

impl OvercommitConfig {
    /// What peaks are predicted by, where a risk is stated.
    pub fn settings(&self) -> Option<PeakSettings> {
        let (most, warm_up, window) = (self.most, self.warm_up, self.window);
        self.risk.map(|risk| PeakSettings { risk, most, warm_up, window })
    }
}

pub(super) fn overcommit(table: &Table<'_>, default: &OvercommitConfig) -> OvercommitConfig {
    OvercommitConfig {
        risk: table.optional("risk", risk).map(Share::new),
        most: table.or("most", default.most, number(1.0..=MOST_MAX, "a number from 1 to 10")),
        warm_up: table.or("warm_up", default.warm_up, duration_from(WINDOW_MIN)),
        window: table.or("window", default.window, duration_from(WINDOW_MIN)),
    }
}

fn risk(value: &Value<'_>) -> Option<f64> {
    number(RISK_MIN..=RISK_MAX, "a share from 0.0001 to 0.2")(value)
}
