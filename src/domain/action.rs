//! What people, or the engine in an emergency, set in force for a while: scaled counts, paused
//! workloads, bounces, drained nodes, frozen kinds of change, advice that was dismissed or is applied later, sizes from another policy. Each
//! has at most one in force on a subject, may revert by itself, and can be cancelled; who did it and why stays with it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::node::NodeName;
use crate::domain::quantity::TaskSize;
use crate::domain::rollout::Actor;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

/// A kind of change that can be frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// New revisions are refused, rollouts stand still.
    Deploys,
    /// Counts, sizes and pools are not changed automatically.
    Scaling,
    /// No task is moved off a node that is to be emptied, and no node is drained.
    Draining,
    /// Occurrences of cron jobs do not start.
    Cron,
}

impl Switch {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Deploys, Self::Scaling, Self::Draining, Self::Cron];

    /// The word in commands and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploys => "deploys",
            Self::Scaling => "scaling",
            Self::Draining => "draining",
            Self::Cron => "cron",
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Switch {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|switch| switch.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of deploys, scaling, draining, cron"))
    }
}

/// The identity of an action: what is done to what. A newer one on the same subject takes its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ActionKey {
    /// The count of a service was set by hand.
    Scale(WorkloadName),
    /// A workload is paused: no tasks of it are wanted.
    Pause(WorkloadName),
    /// Instances of a service are replaced by equal ones.
    Bounce(WorkloadName),
    /// A node is emptied.
    Drain(NodeName),
    /// A kind of change is frozen.
    Freeze(Switch),
    /// The size that is advised for a workload is not wanted.
    Dismiss(WorkloadName),
    /// The size that is advised for a workload is applied later.
    Schedule(WorkloadName),
    /// Sizes of a workload come from a policy of its own.
    SizePolicy(WorkloadName),
}

impl ActionKey {
    /// The workload that it is about, if it is about one.
    pub fn workload(&self) -> Option<&WorkloadName> {
        match self {
            Self::Scale(name)
            | Self::Pause(name)
            | Self::Bounce(name)
            | Self::Dismiss(name)
            | Self::Schedule(name)
            | Self::SizePolicy(name) => Some(name),
            Self::Drain(_) | Self::Freeze(_) => None,
        }
    }
}

/// When advice is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// At an instant.
    At(Timestamp),
    /// With the rollout of the first revision after this one: its tasks are new anyway.
    Rollout {
        /// The newest revision when it was asked for.
        after: u64,
    },
}

impl fmt::Display for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Scale(name) => format!("scale/{name}"),
            Self::Pause(name) => format!("pause/{name}"),
            Self::Bounce(name) => format!("bounce/{name}"),
            Self::Drain(node) => format!("drain/{node}"),
            Self::Freeze(switch) => format!("freeze/{switch}"),
            Self::Dismiss(name) => format!("dismiss/{name}"),
            Self::Schedule(name) => format!("schedule/{name}"),
            Self::SizePolicy(name) => format!("size-policy/{name}"),
        })
    }
}

impl std::str::FromStr for ActionKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is not an action such as `pause/web`");
        let (kind, subject) = text.split_once('/').ok_or_else(invalid)?;
        let workload = || WorkloadName::new(subject).map_err(|_| invalid());
        match kind {
            "scale" => workload().map(Self::Scale),
            "pause" => workload().map(Self::Pause),
            "bounce" => workload().map(Self::Bounce),
            "drain" => NodeName::new(subject).map(Self::Drain).map_err(|_| invalid()),
            "freeze" => subject.parse().map(Self::Freeze).map_err(|_| invalid()),
            "dismiss" => workload().map(Self::Dismiss),
            "schedule" => workload().map(Self::Schedule),
            "size-policy" => workload().map(Self::SizePolicy),
            _ => Err(invalid()),
        }
    }
}

impl TryFrom<String> for ActionKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ActionKey> for String {
    fn from(key: ActionKey) -> Self {
        key.to_string()
    }
}

/// Something that was set in force by hand, or by the engine in an emergency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is done to what.
    pub key: ActionKey,
    /// Who did it.
    pub by: Actor,
    /// Why, in words.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// When it ends by itself; never where absent.
    pub until: Option<Timestamp>,
    /// The count to go back to (`Scale`).
    pub count_before: Option<u32>,
    /// The one instance that it is about (`Bounce`); all that were there at its time where absent.
    pub task: Option<TaskId>,
    /// The count that was asked for (`Scale`).
    #[serde(default)]
    pub count: Option<u32>,
    /// Instances with lower numbers were there at its time (`Bounce`): a clock that is set back makes
    /// nothing old that is new.
    #[serde(default)]
    pub before_task: Option<u64>,
    /// The size that was advised (`Dismiss`, `Schedule`).
    #[serde(default)]
    pub size: Option<TaskSize>,
    /// When it is applied (`Schedule`).
    #[serde(default)]
    pub due: Option<Due>,
    /// The policy that sizes come from (`SizePolicy`), as it was written.
    #[serde(default)]
    pub policy: Option<String>,
}

impl Action {
    /// An action that goes on until somebody ends it, and knows no more than that.
    pub fn new(key: ActionKey, by: Actor, message: &str, at: Timestamp) -> Self {
        let message = message.to_owned();
        let (until, count_before, task, count, before_task) = Default::default();
        let (size, due, policy) = (None, None, None);
        Self { key, by, message, at, until, count_before, task, count, before_task, size, due, policy }
    }

    /// Who did it and why, for reasons and messages.
    pub fn told(&self) -> String {
        if self.message.is_empty() {
            format!("by {}", self.by)
        } else {
            format!("by {}: {}", self.by, self.message)
        }
    }

    /// Whether it is about this instance (`Bounce`).
    pub fn bounces(&self, task: &TaskId) -> bool {
        match &self.task {
            Some(one) => one == task,
            None => self.before_task.is_some_and(|number| task.number() < number),
        }
    }
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionEnd {
    /// What it was for is done.
    Done,
    /// Its time was up; it was undone.
    Expired,
    /// Somebody cancelled it; it was undone.
    Cancelled,
    /// A later act took its place; nothing was undone.
    Superseded,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        for text in [
            "scale/web",
            "pause/web",
            "bounce/web-2",
            "drain/small-1",
            "freeze/cron",
            "dismiss/web",
            "schedule/web",
            "size-policy/web",
        ] {
            let key: ActionKey = text.parse().expect("a key");
            assert_eq!(key.to_string(), text);
        }
        for bad in ["pause", "pause/../x", "freeze/all", "stop/web"] {
            assert!(bad.parse::<ActionKey>().is_err(), "{bad} was accepted");
        }
    }
}
