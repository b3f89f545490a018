//! Backtests that run beside the engine: what the recorded usage would have come to under other sizing policies.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is to be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacktestOrder {
    /// These workloads only; all that were recorded where empty.
    pub workloads: Vec<String>,
    /// From this instant on.
    pub from: Timestamp,
    /// Before this instant.
    pub to: Timestamp,
    /// Seconds of a step.
    pub step: i64,
    /// Policies as `NAME[:key=value]...`.
    pub policies: Vec<String>,
    /// Whether each policy is replayed over its risk knob as well, for a curve.
    pub sweep: bool,
}

/// How far a backtest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BacktestPhase {
    /// Others go first.
    Waiting,
    /// The record is being read.
    Reading,
    /// Policies are being replayed.
    Replaying,
    /// There is a result.
    Done,
    /// Somebody called it off, or the engine ended.
    Cancelled,
    /// There is none, and the reason is told.
    Failed,
}

impl BacktestPhase {
    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }

    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Reading => "reading",
            Self::Replaying => "replaying",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// A table: its columns, and its rows with as many cells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacktestTable {
    /// Names of the columns.
    pub head: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<String>>,
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacktestPoint {
    /// How often the policy falls short.
    pub x: f64,
    /// What it costs, as a multiple of the use.
    pub y: f64,
    /// In words.
    pub words: String,
}

/// What a policy costs against how often it falls short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacktestCurve {
    /// The policy.
    pub policy: String,
    /// Its place among the policies: its colour.
    pub place: usize,
    /// Over its risk knob.
    pub points: Vec<BacktestPoint>,
    /// As it was asked for; absent where too little is known of it.
    pub asked: Option<BacktestPoint>,
}

/// What a backtest came to for one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResourceResult {
    /// `memory` or `CPU`.
    pub resource: String,
    /// Figures of all but the first 24 h of each workload; without rows where nothing is older.
    pub figures: BacktestTable,
    /// Figures of the first 24 h of each workload.
    pub cold_start: BacktestTable,
    /// What readers should know of the figures.
    pub notes: Vec<String>,
    /// What the axes of the curves are.
    pub axes: (String, String),
    /// The curves.
    pub curves: Vec<BacktestCurve>,
    /// Everything in numbers, as `loadline backtest -o json` writes it.
    pub report: serde_json::Value,
}

/// What a backtest came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacktestResult {
    /// How large the record was, in words.
    pub extent: String,
    /// What was repaired in it, in words.
    pub repairs: Vec<String>,
    /// By resource.
    pub resources: Vec<ResourceResult>,
}

/// A backtest and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct BacktestState {
    /// Its number, counted from 1 since the engine started.
    pub id: u64,
    /// What it replays.
    pub order: BacktestOrder,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub asked_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How far it is.
    pub phase: BacktestPhase,
    /// The share of the replays that is done.
    pub done: f64,
    /// Why it failed.
    pub problem: Option<String>,
    /// What it came to.
    pub result: Option<Arc<BacktestResult>>,
}

/// Why a backtest was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// It cannot be read.
    #[error("{0}")]
    Invalid(String),
    /// Too many wait.
    #[error("{0}")]
    Busy(String),
    /// There is none of this number.
    #[error("there is no backtest {0}")]
    Unknown(u64),
}

/// Runs backtests, one at a time, beside the engine. Calls return at once.
pub trait Backtests: Send + Sync {
    /// Takes an order.
    fn start(&self, order: BacktestOrder, by: &str) -> Result<BacktestState, BacktestError>;

    /// All that are known, the newest first, without results.
    fn all(&self) -> Vec<BacktestState>;

    /// One of them.
    fn one(&self, id: u64) -> Result<BacktestState, BacktestError>;

    /// Calls one off; one that has ended stays as it is.
    fn cancel(&self, id: u64) -> Result<BacktestState, BacktestError>;
}
