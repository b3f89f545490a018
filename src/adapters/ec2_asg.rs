//! Machines of EC2 Auto Scaling groups, by the AWS SDK. Not here: what is asked for, and when.
//!
//! Credentials are found as every AWS tool finds them (environment, profile, the role of a container or of the
//! machine), or are keys that the settings refer to. The SDK tries again where that may help, and keeps the time limit.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::Credentials;
use aws_sdk_autoscaling::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance, LifecycleState, ScalingActivityStatusCode};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::sync::Mutex;

use crate::domain::workload::SecretRef;
use crate::ports::machines::{
    FailureKind, Group, GroupState, Machine, MachineProvider, MachineState, ProviderError,
};

/// Tries of one call, by the SDK.
const TRIES: u32 = 3;
/// Activities looked at for the reason why a group stays small.
const ACTIVITIES: i32 = 5;

/// Which groups, and how they are reached.
#[derive(Debug, Clone)]
pub struct AsgConfig {
    /// The groups by name; no other group of the account is looked at.
    pub groups: Vec<String>,
    /// The region; as AWS tools find it where absent.
    pub region: Option<String>,
    /// The profile of the credentials; as AWS tools find them where absent.
    pub profile: Option<String>,
    /// Where the service listens, if not at AWS.
    pub endpoint: Option<String>,
    /// The access key and its secret; as AWS tools find them where absent. Read once, at the start.
    pub keys: Option<(SecretRef, SecretRef)>,
    /// A call with all its tries takes no longer.
    pub timeout: Duration,
}

/// EC2 Auto Scaling groups.
#[derive(Debug)]
pub struct AsgProvider {
    client: Client,
    groups: Vec<String>,
    turn: Mutex<()>,
}

impl AsgProvider {
    /// A client of the service; nothing is asked yet.
    pub async fn new(config: &AsgConfig) -> Result<Self, ProviderError> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let times = TimeoutConfig::builder()
            .operation_timeout(config.timeout)
            .operation_attempt_timeout(config.timeout / TRIES)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .timeout_config(times)
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES));
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &config.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some((access, secret)) = &config.keys {
            let (access, secret) = (read(access)?, read(secret)?);
            loader = loader.credentials_provider(Credentials::new(access, secret, None, None, "settings"));
        }
        let client = Client::new(&loader.load().await);
        Ok(Self { client, groups: config.groups.clone(), turn: Mutex::default() })
    }

    /// The groups of these names that exist.
    async fn described(&self, names: &[String]) -> Result<Vec<AutoScalingGroup>, ProviderError> {
        let asked =
            self.client.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(names.to_vec()));
        let mut items = asked.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(group) = items.next().await {
            found.push(group.map_err(|error| failed("DescribeAutoScalingGroups", &error))?);
        }
        Ok(found)
    }

    async fn one(&self, group: &str) -> Result<AutoScalingGroup, ProviderError> {
        if !self.groups.iter().any(|known| known == group) {
            let message = format!("Auto Scaling group {group} is not one of those that the settings name");
            return Err(ProviderError::new(FailureKind::Refused, message));
        }
        let found = self.described(&[group.to_owned()]).await?.into_iter().next();
        found.ok_or_else(|| {
            let message = format!("there is no Auto Scaling group {group} in this account and region");
            ProviderError::new(FailureKind::Refused, message)
        })
    }

    /// Why the newest attempt to change a group failed, if it did.
    async fn last_failure(&self, group: &str) -> Result<Option<ProviderError>, ProviderError> {
        let asked = self.client.describe_scaling_activities().auto_scaling_group_name(group);
        let answer = asked.max_records(ACTIVITIES).send().await;
        let answer = answer.map_err(|error| failed("DescribeScalingActivities", &error))?;
        let newest = answer
            .activities()
            .iter()
            .max_by_key(|activity| activity.start_time().map(|at| (at.secs(), at.subsec_nanos())));
        let newest = newest.filter(|activity| {
            matches!(
                activity.status_code(),
                Some(ScalingActivityStatusCode::Failed | ScalingActivityStatusCode::Cancelled)
            )
        });
        Ok(newest.map(|activity| {
            let words = activity.status_message().or(activity.description()).unwrap_or("it was not said why");
            ProviderError::new(kind_of(words), words)
        }))
    }

    async fn set_capacity(&self, group: &str, to: u32) -> Result<(), ProviderError> {
        let to = i32::try_from(to).unwrap_or(i32::MAX);
        let asked = self.client.set_desired_capacity().auto_scaling_group_name(group);
        let answer = asked.desired_capacity(to).honor_cooldown(false).send().await;
        answer.map(drop).map_err(|error| failed("SetDesiredCapacity", &error))
    }
}

#[async_trait]
impl MachineProvider for AsgProvider {
    async fn groups(&self) -> Result<Vec<Group>, ProviderError> {
        if self.groups.is_empty() {
            // Without a name the service would describe all that there are.
            return Ok(Vec::new());
        }
        let group = |one: AutoScalingGroup| Group {
            min: size(one.min_size),
            max: size(one.max_size),
            id: one.auto_scaling_group_name.unwrap_or_default(),
        };
        Ok(self.described(&self.groups).await?.into_iter().map(group).collect())
    }

    async fn look(&self, group: &str) -> Result<GroupState, ProviderError> {
        let described = self.one(group).await?;
        let machines: Vec<Machine> = described.instances().iter().filter_map(machine).collect();
        let state = GroupState { target: size(described.desired_capacity), machines, failure: None };
        let failure = if state.live() < state.target { self.last_failure(group).await? } else { None };
        Ok(GroupState { failure, ..state })
    }

    async fn grow(&self, group: &str, to: u32) -> Result<(), ProviderError> {
        let _turn = self.turn.lock().await;
        let described = self.one(group).await?;
        if size(described.desired_capacity) >= to {
            return Ok(());
        }
        let max = size(described.max_size);
        if to > max {
            let message = format!("Auto Scaling group {group} has at most {max} machines, {to} are wanted");
            return Err(ProviderError::new(FailureKind::Quota, message));
        }
        self.set_capacity(group, to).await
    }

    async fn withdraw(&self, group: &str, to: u32) -> Result<(), ProviderError> {
        let _turn = self.turn.lock().await;
        let described = self.one(group).await?;
        let machines: Vec<Machine> = described.instances().iter().filter_map(machine).collect();
        let target = size(described.desired_capacity);
        let live = GroupState { target, machines, failure: None }.live();
        let to = to.max(live).max(size(described.min_size));
        if to < target { self.set_capacity(group, to).await } else { Ok(()) }
    }

    async fn terminate(&self, group: &str, machine: &str) -> Result<(), ProviderError> {
        let _turn = self.turn.lock().await;
        let described = self.one(group).await?;
        let mut there = described.instances().iter().filter_map(self::machine);
        if !there.any(|found| found.id == machine && found.is_live()) {
            return Ok(());
        }
        let asked = self.client.terminate_instance_in_auto_scaling_group().instance_id(machine);
        let answer = asked.should_decrement_desired_capacity(true).send().await;
        answer.map(drop).map_err(|error| failed("TerminateInstanceInAutoScalingGroup", &error))
    }
}

/// A secret; of one that cannot be read the reference is told.
fn read(secret: &SecretRef) -> Result<String, ProviderError> {
    let refused = |message| ProviderError::new(FailureKind::Refused, message);
    match secret {
        SecretRef::File(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| refused(format!("cannot read {}: {error}", path.display())))?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        SecretRef::Env(variable) => std::env::var(variable)
            .map_err(|_| refused(format!("the engine's environment has no {variable}"))),
    }
}

fn size(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

/// An instance as a machine; those of a warm pool are in no group's size.
fn machine(instance: &Instance) -> Option<Machine> {
    let state = instance.lifecycle_state().map(LifecycleState::as_str).unwrap_or_default();
    let state = match state {
        warm if warm.starts_with("Warmed") => return None,
        "Terminated" | "Detached" => return None,
        going if going.starts_with("Terminating") || going == "Detaching" => MachineState::Deleting,
        coming if coming.starts_with("Pending") => MachineState::Creating,
        "" => MachineState::Unknown,
        _ => MachineState::Running,
    };
    Some(Machine { id: instance.instance_id()?.to_owned(), state, failure: None })
}

/// What kind of failure a message of the service is about.
fn kind_of(words: &str) -> FailureKind {
    let about = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if about(&[
        "InsufficientInstanceCapacity",
        "UnfulfillableCapacity",
        "sufficient capacity",
        "Capacity not available",
    ]) {
        FailureKind::Capacity
    } else if about(&["LimitExceeded", "Quota", "quota", "MaxSpotInstanceCount"]) {
        FailureKind::Quota
    } else {
        FailureKind::Refused
    }
}

fn failed<E>(operation: &str, error: &SdkError<E>) -> ProviderError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (kind, words) = match error {
        SdkError::ServiceError(said) => {
            let (code, message) =
                (said.err().code().unwrap_or("?"), said.err().message().unwrap_or("no message"));
            let kind = match code {
                "ScalingActivityInProgress"
                | "ResourceContention"
                | "Throttling"
                | "RequestLimitExceeded"
                | "InternalFailure"
                | "ServiceUnavailable" => FailureKind::Unavailable,
                "LimitExceeded" => FailureKind::Quota,
                _ => FailureKind::Refused,
            };
            (kind, format!("{code}: {message}"))
        }
        SdkError::ConstructionFailure(_) => (FailureKind::Refused, DisplayErrorContext(error).to_string()),
        _ => (FailureKind::Unavailable, DisplayErrorContext(error).to_string()),
    };
    ProviderError::new(kind, format!("{operation}: {words}"))
}
