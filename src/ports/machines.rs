//! Machines in groups, as clouds, scripts and other autoscalers offer them: a group has a size that is asked
//! for, and machines that are there. Not here: nodes with names and tasks (`node_provider`, `cluster`).

use async_trait::async_trait;

/// A group of equal machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What the provider calls it.
    pub id: String,
    /// Never fewer machines.
    pub min: u32,
    /// Never more machines.
    pub max: u32,
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MachineState {
    /// It is being made.
    Creating,
    /// It runs.
    Running,
    /// It is being removed.
    Deleting,
    /// The provider does not say.
    Unknown,
}

/// A machine of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What the provider calls it.
    pub id: String,
    /// How far it is.
    pub state: MachineState,
    /// Why it cannot be made, if so; such a machine stands for a request that failed.
    pub failure: Option<ProviderError>,
}

impl Machine {
    /// Whether it is there, or will be: it counts towards the size of its group.
    pub fn is_live(&self) -> bool {
        self.state != MachineState::Deleting && self.failure.is_none()
    }
}

/// A group as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    /// How many machines the provider was asked for.
    pub target: u32,
    /// Those that are there, on their way, or failed.
    pub machines: Vec<Machine>,
    /// Why the group does not reach its target, where the provider says so of the group as a whole.
    pub failure: Option<ProviderError>,
}

impl GroupState {
    /// The machines that count.
    pub fn live(&self) -> u32 {
        u32::try_from(self.machines.iter().filter(|machine| machine.is_live()).count()).unwrap_or(u32::MAX)
    }

    /// A machine by its id.
    pub fn machine(&self, id: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.id == id)
    }
}

/// What kind of thing went wrong: what is worth doing next follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// The provider has no such machines now.
    Capacity,
    /// No more are allowed: a quota, or the group's own bounds.
    Quota,
    /// It was refused, and will be until somebody changes something: credentials, names, settings.
    Refused,
    /// It did not answer, not in time, or not so that it can be understood: worth another try.
    Unavailable,
}

impl FailureKind {
    /// The word in contracts and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Quota => "quota",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a provider did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What kind of thing it is.
    pub kind: FailureKind,
    /// For people; never holds a credential.
    pub message: String,
}

impl ProviderError {
    /// An error of a kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Makes and removes machines. Sizes are absolute and machines have ids, so every call may be repeated; each
/// returns within the adapter's own time limit.
#[async_trait]
pub trait MachineProvider: Send + Sync {
    /// The groups that it has.
    async fn groups(&self) -> Result<Vec<Group>, ProviderError>;

    /// A group as it is now.
    async fn look(&self, group: &str) -> Result<GroupState, ProviderError>;

    /// Asks for so many machines in all; a group that was asked for more already stays as it is. More than
    /// its most is refused. It returns when the request is known, not when the machines run.
    async fn grow(&self, group: &str, to: u32) -> Result<(), ProviderError>;

    /// Takes back requests that are not fulfilled: asks for so many machines in all, yet never for fewer than
    /// there are. No machine is removed by it.
    async fn withdraw(&self, group: &str, to: u32) -> Result<(), ProviderError>;

    /// Removes this machine and no other, and asks for one machine less. One that is not there, or is being
    /// removed already, is no error and changes nothing.
    async fn terminate(&self, group: &str, machine: &str) -> Result<(), ProviderError>;
}
