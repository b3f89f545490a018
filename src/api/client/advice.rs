//! A method for each route of `api::advice`, for policies of single workloads, and for what is forecast.

use crate::api::advice::ScheduleRequest;
use crate::api::client::{Client, ClientError, encoded};
use crate::api::courses::ForecastDto;
use crate::api::dto::{Changed, MessageRequest};
use crate::api::requests::LastingRequest;
use crate::api::size_policies::OwnPolicyRequest;

type Answer<T> = Result<T, ClientError>;

fn path(name: &str, verb: &str) -> String {
    format!("/v1/recommendations/{}/{verb}", encoded(name))
}

impl Client {
    /// Applies the size that is advised.
    pub async fn apply_advice(&self, name: &str, message: &str) -> Answer<Changed> {
        let request = MessageRequest { message: message.to_owned() };
        self.post(&path(name, "apply"), &request).await
    }

    /// Dismisses it.
    pub async fn dismiss_advice(&self, name: &str, request: &LastingRequest) -> Answer<Changed> {
        self.post(&path(name, "dismiss"), request).await
    }

    /// Has it applied later.
    pub async fn schedule_advice(&self, name: &str, request: &ScheduleRequest) -> Answer<Changed> {
        self.post(&path(name, "schedule"), request).await
    }

    /// Takes the sizes of one workload from a policy of its own.
    pub async fn set_own_policy(&self, name: &str, request: &OwnPolicyRequest) -> Answer<Changed> {
        self.put(&format!("/v1/workloads/{}/size-policy", encoded(name)), request).await
    }

    /// The load that is forecast for a service.
    pub async fn forecast(&self, name: &str, hours: u32) -> Answer<ForecastDto> {
        self.get(&format!("/v1/workloads/{}/forecast?hours={hours}", encoded(name))).await
    }
}
