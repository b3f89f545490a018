//! How many standard deviations over the mean a stated risk takes, learnt from what came of predictions.

use serde::{Deserialize, Serialize};

/// A window in which all nodes go beyond adds so many deviations, less what is aimed at; one in which none does takes away
/// so many times the share that is aimed at.
const STEP: f64 = 2.0;
/// What is aimed at, as a share of the stated risk. Tracking holds in the long run; over days, of few nodes whose tasks
/// peak together, what came of it was up to 1.5 times what was aimed at.
const AIMED: f64 = 0.75;
/// Never fewer deviations.
const LEAST: f64 = 1.0;
/// Never more than so many times those that Cantelli's inequality asks for.
const MOST: f64 = 3.0;

/// What was learnt, and what came of it so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    risk: f64,
    multiplier: f64,
    /// Windows of nodes that were compared with their prediction.
    pub windows: u64,
    /// Of these, those in which use went beyond it, or the node was lent and full.
    pub beyond: u64,
    /// Windows of nodes with more CPU requested than they have.
    pub lent: u64,
    /// Of these, those in which the node was full.
    pub full: u64,
}

impl Calibration {
    pub(super) fn new(risk: f64) -> Self {
        Self { risk, multiplier: cantelli(risk), windows: 0, beyond: 0, lent: 0, full: 0 }
    }

    /// Whether it was learnt for this risk, and can be gone on with.
    pub(super) fn is_for(&self, risk: f64) -> bool {
        let within = LEAST..=MOST * cantelli(risk);
        (self.risk - risk).abs() < 1e-12 && within.contains(&self.multiplier)
    }

    /// Standard deviations over the mean.
    pub fn multiplier(&self) -> f64 {
        self.multiplier
    }

    /// The same by name, for people who watch it.
    pub fn figures(&self) -> [(&'static str, f64); 5] {
        [
            ("deviations", self.multiplier),
            ("windows", self.windows as f64),
            ("windows_beyond", self.beyond as f64),
            ("windows_lent", self.lent as f64),
            ("windows_lent_and_full", self.full as f64),
        ]
    }

    /// Learns from a window: nodes that were compared and how many of them went beyond, nodes that were lent and how
    /// many of them were full.
    pub(super) fn learn(&mut self, (nodes, beyond): (u64, u64), (lent, full): (u64, u64)) {
        if nodes == 0 {
            return;
        }
        self.windows += nodes;
        self.beyond += beyond;
        self.lent += lent;
        self.full += full;
        let wrong = beyond as f64 / nodes as f64;
        let next = self.multiplier + STEP * (wrong - AIMED * self.risk);
        self.multiplier = next.clamp(LEAST, MOST * cantelli(self.risk));
    }
}

/// At most this share is more than so many standard deviations over the mean: 1 / (1 + n^2) = risk.
fn cantelli(risk: f64) -> f64 {
    (1.0 / risk - 1.0).max(0.0).sqrt().max(LEAST)
}
