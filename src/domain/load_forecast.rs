//! The load that is forecast for a service, over the hours to come. Not here: how it is made (`forecasting`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The load at an instant to come, over all instances, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForecastPoint {
    /// When.
    pub at: Timestamp,
    /// The load that is expected.
    pub expected: f64,
    /// It is below this with a chance of 5 %.
    pub low: f64,
    /// It is below this with a chance of 95 %.
    pub high: f64,
}

/// The course of a load to come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadForecast {
    /// By time; empty where nothing can be said.
    pub points: Vec<ForecastPoint>,
    /// What it rests on, or why there is none, in words.
    pub words: String,
}
