//! The revisions of a workload, and the way of a service from one to the next.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::strategy::Strategy;
use crate::domain::workload::WorkloadSpec;

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A person or program, by the name that it gave.
    User(String),
    /// The engine itself.
    Engine,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::User(name) => name,
            Self::Engine => "engine",
        })
    }
}

/// One immutable version of a workload's spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Counted from 1.
    pub number: u64,
    /// The spec.
    pub spec: WorkloadSpec,
    /// When it came.
    pub at: Timestamp,
    /// Who brought it.
    pub by: Actor,
    /// Whether a rollout to it was done.
    #[serde(default)]
    pub healthy: bool,
}

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// Instances are being replaced.
    InProgress,
    /// Every instance is of the new revision.
    Done,
    /// The new revision did not become healthy; the service is back on the old one.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// The new revision did not become healthy and there is none to go back to; its instances are
    /// tried on, and it is done once they are healthy after all.
    Failing {
        /// Why.
        reason: String,
    },
    /// A newer revision came before this one was done.
    Superseded,
}

impl RolloutState {
    /// Whether it still moves.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::InProgress | Self::Failing { .. })
    }
}

/// What a step of a rollout waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageWait {
    /// Its instances are to be ready.
    Ready,
    /// They are ready and watched until then; after that it goes on by itself.
    Time {
        /// When.
        until: Timestamp,
    },
    /// They are ready and compared with the old revision, which is judged then, or as soon as both have
    /// answered enough requests.
    Metric {
        /// When.
        until: Timestamp,
    },
    /// They are ready; a command judges them from then on.
    Command {
        /// When.
        from: Timestamp,
    },
    /// They are ready; somebody has to let it go on.
    Advance,
    /// All requests go to the new revision; the old instances stay until then.
    Hold {
        /// When.
        until: Timestamp,
    },
    /// Every step was accepted; the last old instances go.
    Rest,
}

impl fmt::Display for StageWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("waits until its instances are ready"),
            Self::Time { until } => write!(f, "is watched until {until:.0}"),
            Self::Metric { until } => write!(f, "is compared with the old revision until {until:.0}"),
            Self::Command { from } => write!(f, "is judged by a command from {from:.0} on"),
            Self::Advance => {
                f.write_str("waits until somebody lets it go on (`loadline rollout NAME advance`)")
            }
            Self::Hold { until } => {
                write!(f, "gets all requests; the old instances stay until {until:.0}")
            }
            Self::Rest => f.write_str("was accepted; the last old instances go"),
        }
    }
}

/// The step that a rollout by groups or by a switch is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Steps that were accepted before.
    pub index: u32,
    /// Instances of the new revision that it wants.
    pub instances: u32,
    /// What it waits for.
    pub waits: StageWait,
    /// Since when it waits for that.
    pub since: Timestamp,
    /// Somebody asked to go on: its instances must be ready, nothing else.
    pub advanced: bool,
    /// What the last judgement said, with its figures.
    pub verdict: Option<String>,
}

/// Names the time in which a step of a rollout is judged, so that what was measured in it is not taken
/// for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageKey {
    /// The new revision.
    pub revision: u64,
    /// The step.
    pub index: u32,
    /// When it began to be judged.
    pub since: Timestamp,
}

/// The way of a service from one revision to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The last revision that was healthy, to go back to; absent for the first one.
    pub from: Option<u64>,
    /// The new revision.
    pub to: u64,
    /// Where it stands.
    pub state: RolloutState,
    /// When it began.
    pub started_at: Timestamp,
    /// When an instance of the new revision last became ready.
    pub progressed_at: Timestamp,
    /// Tasks of the new revision that failed during it.
    pub failures: u32,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it goes on: as its spec said when it began. Another strategy in the spec is for the next one,
    /// so that instances that serve are not taken for instances that wait for a switch.
    #[serde(default)]
    pub strategy: Strategy,
    /// The step that it is in, or ended in; none where it goes on by itself.
    #[serde(default)]
    pub stage: Option<Stage>,
}

impl Rollout {
    /// The newest revision known to be healthy, as far as this rollout tells. One that was switched to
    /// has been accepted.
    pub fn last_healthy(&self) -> Option<u64> {
        let proven = self.state == RolloutState::Done || (self.state.is_open() && self.has_switched());
        if proven { Some(self.to) } else { self.from }
    }

    /// The step that decides which instances are wanted: none where the rollout has ended, or goes on by
    /// itself.
    pub fn open_stage(&self) -> Option<&Stage> {
        self.stage.as_ref().filter(|_| self.state.is_open() && self.from.is_some())
    }

    /// Names the step and its time.
    pub fn stage_key(&self) -> Option<StageKey> {
        let stage = self.open_stage()?;
        Some(StageKey { revision: self.to, index: stage.index, since: stage.since })
    }

    /// What a step of it is called.
    pub fn title(&self, stage: &Stage) -> String {
        let (to, steps) = (self.to, self.strategy.steps());
        match (&self.strategy, self.from) {
            (Strategy::BlueGreen { .. }, Some(from)) if stage.index == 0 => {
                format!("revision {to} beside revision {from}")
            }
            (Strategy::BlueGreen { .. }, _) => format!("revision {to}"),
            _ if stage.index < steps => format!("group {} of {steps}", stage.index + 1),
            _ => format!("the rest of revision {to}"),
        }
    }

    fn has_switched(&self) -> bool {
        let blue_green = matches!(self.strategy, Strategy::BlueGreen { .. });
        blue_green && self.stage.as_ref().is_some_and(|stage| stage.index > 0)
    }

    /// Whether the front door sends requests to instances of a revision.
    pub fn takes_traffic(&self, revision: u64) -> bool {
        let Some(stage) = self.open_stage() else { return true };
        match self.strategy {
            // After the switch the old ones only wait to be returned to.
            Strategy::BlueGreen { .. } => (revision == self.to) == (stage.index > 0),
            Strategy::Rolling | Strategy::Canary { .. } => true,
        }
    }
}
