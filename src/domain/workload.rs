//! What a user asks Loadline to run: services, cron jobs and jobs, as validated values.
//! Not here: how specs are written (`config`), what became of them (`world`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::cron::CronSchedule;
pub use crate::domain::placement::{Constraint, PlacementSpec};
use crate::domain::policy::PolicyName;
use crate::domain::quantity::{Share, TaskSize};
use crate::domain::scale::ScaleSpec;
use crate::domain::strategy::Strategy;

pub use crate::domain::run_policy::{CatchUp, CatchUpPolicy, OomRetry, OverlapPolicy, RunPolicy};

/// A name that is also a path component and a host label: `[a-z0-9-]`, 1 to 63 characters, beginning
/// with a letter and not ending with a hyphen.
///
/// Errors name the first rule that the text breaks.
pub fn check_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("a name has at least one character");
    }
    if text.len() > 63 {
        return Err("a name has at most 63 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("a name begins with a lower-case letter");
    }
    if !text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err("a name has lower-case letters, digits and hyphens only");
    }
    if text.ends_with('-') {
        return Err("a name does not end with a hyphen");
    }
    Ok(())
}

/// Declares a validated name type.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        // Equal names share their text (`interned`).
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                std::sync::Arc::ptr_eq(&self.0, &other.0)
            }
        }

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                state.write_usize(std::sync::Arc::as_ptr(&self.0).cast::<u8>().addr());
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            // Most comparisons in the maps of the world are of a name with itself.
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                if std::sync::Arc::ptr_eq(&self.0, &other.0) {
                    std::cmp::Ordering::Equal
                } else {
                    self.0.cmp(&other.0)
                }
            }
        }

        impl $name {
            /// A name; errors say which rule the text breaks (`check_name`).
            pub fn new(text: &str) -> Result<Self, &'static str> {
                $crate::domain::workload::check_name(text)?;
                Ok(Self($crate::domain::interned::shared(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                (*name.0).to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}
pub(crate) use name_type;

name_type!(
    /// The name of a service, cron job or job; one name space for all three.
    WorkloadName
);

/// Who owns a workload and pays for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The team that is answerable for it.
    pub team: Option<String>,
    /// Where its cost is booked.
    pub cost_centre: Option<String>,
}

/// Where a secret is read at launch. Its value is never stored or shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// The content of a file, without one trailing line break.
    File(PathBuf),
    /// A variable of the engine's own environment.
    Env(String),
}

/// The value of an environment variable of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// As written.
    Plain(String),
    /// Read at launch from where the reference says.
    Secret(SecretRef),
}

/// What a process is started with. A change here is a new revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTemplate {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Added to the environment that every task gets.
    pub env: BTreeMap<String, EnvValue>,
    /// The folder that the process starts in; the task's own folder where absent.
    pub working_dir: Option<PathBuf>,
    /// The user that it runs as; the engine's own where absent.
    pub user: Option<String>,
    /// Request and limit as the owner wrote them.
    pub size: TaskSize,
    /// Time between the polite signal and the kill.
    pub stop_grace: SignedDuration,
    /// Where it may run.
    pub placement: PlacementSpec,
    /// Higher is placed first.
    pub priority: i32,
}

/// A port that a service listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Its name; the instance finds its own number in `PORT_<NAME>`, the first one in `PORT` as well.
    pub name: String,
    /// The stable address of the front door on loopback; a free one is chosen and kept where absent.
    pub front_door: Option<u16>,
}

/// How a check over HTTP asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// GET
    #[default]
    Get,
    /// HEAD
    Head,
    /// POST, without a body
    Post,
}

impl HttpMethod {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

/// What a check over HTTP has beyond its path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpOptions {
    /// The method.
    pub method: HttpMethod,
    /// Sent along, or in place of what is sent otherwise (`Host`).
    pub headers: BTreeMap<String, String>,
    /// The statuses that pass; any from 200 to 399 where empty.
    pub statuses: Vec<u16>,
    /// The statuses that fail the check at once, however many failures it may have.
    pub fatal_statuses: Vec<u16>,
}

/// How a health check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A request, and what is made of the status of its answer.
    Http {
        /// Path and query.
        path: String,
        /// The port's name; the first port where absent.
        port: Option<String>,
        /// How it asks and what it accepts.
        #[serde(default)]
        options: HttpOptions,
    },
    /// A connection that is accepted.
    Tcp {
        /// The port's name; the first port where absent.
        port: Option<String>,
    },
    /// A command in the task's environment and folder; exit status 0 passes.
    Exec {
        /// Program and arguments; never empty.
        command: Vec<String>,
    },
}

/// A health check with its timing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// How it asks.
    pub probe: Probe,
    /// From one answer to the next question.
    pub interval: SignedDuration,
    /// An answer later than this is a failure.
    pub timeout: SignedDuration,
    /// Consecutive failures until the check counts as failed.
    pub failures: u32,
    /// Consecutive passes until the check counts as passed again.
    pub passes: u32,
    /// The first question comes no sooner after the task's process is there.
    #[serde(default)]
    pub delay: SignedDuration,
}

/// The health checks of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChecks {
    /// Until it passes, neither of the others is asked; its failure restarts the task.
    pub startup: Option<HealthCheck>,
    /// While it fails, the front door sends nothing to the instance.
    pub readiness: Option<HealthCheck>,
    /// Its failure restarts the task.
    pub liveness: Option<HealthCheck>,
}

/// When and how soon a task that ended is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Wait before the first restart.
    pub backoff: SignedDuration,
    /// The wait doubles up to this.
    pub backoff_max: SignedDuration,
    /// A share of the wait, from 0 to 1, that is spread at random (by a hash of the task, so that plans
    /// repeat).
    pub jitter: Share,
    /// A task that ran this long has its failures forgotten.
    pub reset_after: SignedDuration,
}

/// How a service moves from one revision to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutSpec {
    /// In which order.
    #[serde(default)]
    pub strategy: Strategy,
    /// Instances of the new revision started beyond the declared count.
    pub max_surge: u32,
    /// Without progress for this long the rollout is rolled back.
    pub deadline: SignedDuration,
    /// This many failed tasks of the new revision roll it back at once.
    pub max_failures: u32,
    /// An instance must stay ready this long before it counts.
    pub min_ready: SignedDuration,
}

/// A long-running workload with a number of equal instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Who owns it.
    pub owner: Owner,
    /// What runs.
    pub template: TaskTemplate,
    /// Where it listens.
    pub ports: Vec<PortSpec>,
    /// Health checks.
    pub checks: HealthChecks,
    /// The declared count; the starting point where `scale` is given.
    pub instances: u32,
    /// Automatic counts.
    pub scale: Option<ScaleSpec>,
    /// Restarts.
    pub restart: RestartPolicy,
    /// Rollouts.
    pub rollout: RolloutSpec,
    /// How long a retired instance may finish its requests before it is stopped.
    pub drain_timeout: SignedDuration,
    /// The policy that governs automatic changes.
    pub policy: Option<PolicyName>,
    /// The 95th percentile of latency is to stay under this.
    #[serde(default)]
    pub latency_objective: Option<SignedDuration>,
}

/// A job on a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronJobSpec {
    /// Who owns it.
    pub owner: Owner,
    /// What runs.
    pub template: TaskTemplate,
    /// When.
    pub schedule: CronSchedule,
    /// Overlapping runs.
    pub overlap: OverlapPolicy,
    /// Occurrences that may wait for their turn (`Queue`); one more is recorded as skipped.
    #[serde(default = "crate::domain::run_policy::queue_max")]
    pub queue_max: u32,
    /// An occurrence that could not start within this long is recorded as missed.
    pub start_deadline: SignedDuration,
    /// Occurrences that nobody looked at in time.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Each occurrence starts up to this much later, by a hash of its name and time; never as late as the
    /// next one.
    #[serde(default)]
    pub jitter: SignedDuration,
    /// Retries and time limit.
    pub run: RunPolicy,
    /// The policy that governs automatic changes.
    pub policy: Option<PolicyName>,
}

/// A job that runs once when it is applied, or whenever it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Who owns it.
    pub owner: Owner,
    /// What runs.
    pub template: TaskTemplate,
    /// Whether each new revision runs once by itself; otherwise it waits for `loadline run`.
    pub run_on_apply: bool,
    /// Retries and time limit.
    pub run: RunPolicy,
    /// The policy that governs automatic changes.
    pub policy: Option<PolicyName>,
}

/// What a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadKind {
    /// Long-running.
    Service,
    /// On a schedule.
    CronJob,
    /// Once or on demand.
    Job,
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Service => "service",
            Self::CronJob => "cron",
            Self::Job => "job",
        })
    }
}

/// What is asked for: one of the three kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadSpec {
    /// `[service.NAME]`
    Service(Box<ServiceSpec>),
    /// `[cron.NAME]`
    CronJob(Box<CronJobSpec>),
    /// `[job.NAME]`
    Job(Box<JobSpec>),
}

impl WorkloadSpec {
    /// Which of the three it is.
    pub fn kind(&self) -> WorkloadKind {
        match self {
            Self::Service(_) => WorkloadKind::Service,
            Self::CronJob(_) => WorkloadKind::CronJob,
            Self::Job(_) => WorkloadKind::Job,
        }
    }

    /// What its tasks are started with.
    pub fn template(&self) -> &TaskTemplate {
        match self {
            Self::Service(spec) => &spec.template,
            Self::CronJob(spec) => &spec.template,
            Self::Job(spec) => &spec.template,
        }
    }

    /// Who owns it.
    pub fn owner(&self) -> &Owner {
        match self {
            Self::Service(spec) => &spec.owner,
            Self::CronJob(spec) => &spec.owner,
            Self::Job(spec) => &spec.owner,
        }
    }

    /// The policy that it names.
    pub fn policy(&self) -> Option<&PolicyName> {
        match self {
            Self::Service(spec) => spec.policy.as_ref(),
            Self::CronJob(spec) => spec.policy.as_ref(),
            Self::Job(spec) => spec.policy.as_ref(),
        }
    }

    /// The service, if it is one.
    pub fn as_service(&self) -> Option<&ServiceSpec> {
        if let Self::Service(spec) = self { Some(spec) } else { None }
    }

    /// The cron job, if it is one.
    pub fn as_cron(&self) -> Option<&CronJobSpec> {
        if let Self::CronJob(spec) = self { Some(spec) } else { None }
    }

    /// How its runs are retried and bounded, if it is a cron job or a job.
    pub fn run_policy(&self) -> Option<&RunPolicy> {
        match self {
            Self::Service(_) => None,
            Self::CronJob(spec) => Some(&spec.run),
            Self::Job(spec) => Some(&spec.run),
        }
    }

    /// Whether moving from `self` to `next` needs new tasks: what runs, where it listens or how it is
    /// checked has changed. Counts, scaling, owner and policy change without a new revision.
    pub fn needs_new_revision(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Service(old), Self::Service(new)) => {
                old.template != new.template || old.ports != new.ports || old.checks != new.checks
            }
            _ => self.kind() != next.kind() || self.template() != next.template(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        assert!(WorkloadName::new("web-2").is_ok());
        for bad in ["", "Web", "2web", "web_", "web-", "a/b", "..", &"x".repeat(64)] {
            assert!(WorkloadName::new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
