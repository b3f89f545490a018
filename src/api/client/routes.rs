//! A method for each route.

use jiff::Timestamp;
use serde_json::Value;

use crate::api::answers::{
    ActionDto, AlarmDto, Applied, AuditDto, CheckDto, EventDto, FreezeDto, NewTokenDto, PolicyDto, QuotaDto,
    RevisionDto, TokenDto, WhoAmI,
};
use crate::api::bill::{BillImported, BillRequest};
use crate::api::client::{Client, ClientError, encoded};
use crate::api::cron_advice::CronAdviceDto;
use crate::api::dto::{
    ApplyRequest, Approved, Changed, ExplanationDto, LogDto, MessageRequest, NodeDto, PoolDto,
    RecommendationDto, RunDto, ScaleRequest, StatusDto, TaskDto, WorkloadDto,
};
use crate::api::load_models::{LoadModelDto, WhatIfDto};
use crate::api::requests::{
    BounceRequest, LastingRequest, ResizeRequest, RollbackRequest, RunRequest, TokenRequest,
};
use crate::api::size_policies::{SizePoliciesDto, SizePolicyRequest};
use crate::domain::decision::Decision;

type Answer<T> = Result<T, ClientError>;

/// Which runs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this cron job or job only.
    pub workload: Option<String>,
    /// With this outcome only.
    pub outcome: Option<String>,
    /// Planned or asked for at this instant or later.
    pub from: Option<Timestamp>,
    /// Planned or asked for before this instant.
    pub to: Option<Timestamp>,
    /// Only those that someone asked for, or only those of the schedule.
    pub manual: Option<bool>,
    /// With this text in the name or in why it ended as it did.
    pub text: Option<String>,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// About this workload only.
    pub workload: Option<String>,
    /// About this task only.
    pub task: Option<String>,
    /// With a lower number than this.
    pub before: Option<u64>,
    /// With a higher number than this; then the oldest come first.
    pub after: Option<u64>,
}

/// A path with the parameters that are given.
fn with_query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", encoded(value))));
    let query: Vec<String> = given.collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Rows of a page, where `most` are wanted.
fn page(most: usize) -> String {
    most.clamp(1, 1_000).to_string()
}

fn because(message: &str) -> Option<String> {
    (!message.is_empty()).then(|| message.to_owned())
}

fn workload(name: &str, verb: &str) -> String {
    format!("/v1/workloads/{}/{verb}", encoded(name))
}

fn said(message: &str) -> MessageRequest {
    MessageRequest { message: message.to_owned() }
}

/// The engine.
impl Client {
    /// Everything at a glance.
    pub async fn status(&self) -> Answer<StatusDto> {
        self.get("/v1/status").await
    }

    /// What wants a person's eye.
    pub async fn alarms(&self) -> Answer<Vec<AlarmDto>> {
        self.get("/v1/alarms").await
    }

    /// Who this client is to the engine.
    pub async fn whoami(&self) -> Answer<WhoAmI> {
        self.get("/v1/whoami").await
    }

    /// The description of the API.
    pub async fn openapi(&self) -> Answer<Value> {
        self.get("/v1/openapi.json").await
    }

    /// Events, newest first unless the filter says `after`.
    pub async fn events(&self, filter: &EventFilter, most: usize) -> Answer<Vec<EventDto>> {
        let path = with_query(
            "/v1/events",
            &[
                ("workload", filter.workload.clone()),
                ("task", filter.task.clone()),
                ("before", filter.before.map(|number| number.to_string())),
                ("after", filter.after.map(|number| number.to_string())),
                ("limit", Some(page(most))),
            ],
        );
        self.list(&path, most).await
    }
}

/// Workloads.
impl Client {
    /// All workloads.
    pub async fn workloads(&self) -> Answer<Vec<WorkloadDto>> {
        self.get("/v1/workloads").await
    }

    /// One workload.
    pub async fn workload(&self, name: &str) -> Answer<WorkloadDto> {
        self.get(&format!("/v1/workloads/{}", encoded(name))).await
    }

    /// Recommended sizes.
    pub async fn recommendations(&self) -> Answer<Vec<RecommendationDto>> {
        self.get("/v1/recommendations").await
    }

    /// A recommendation with usage of the last hours in so many parts, and with the decisions about it.
    pub async fn explanation(&self, name: &str, hours: u32, parts: u32) -> Answer<ExplanationDto> {
        let asked = [("hours", Some(hours.to_string())), ("parts", Some(parts.to_string()))];
        self.get(&with_query(&format!("/v1/recommendations/{}", encoded(name)), &asked)).await
    }

    /// What an instance of a service uses as a function of its load.
    pub async fn load_model(&self, name: &str) -> Answer<LoadModelDto> {
        self.get(&workload(name, "model")).await
    }

    /// What a service would need under another load.
    pub async fn what_if(
        &self,
        name: &str,
        load: Option<&str>,
        peak: Option<Timestamp>,
    ) -> Answer<WhatIfDto> {
        let asked = [("load", load.map(str::to_owned)), ("peak", peak.map(|at| at.to_string()))];
        self.get(&with_query(&workload(name, "what-if"), &asked)).await
    }

    /// Which schedules, moved by at most so many minutes, need fewer nodes.
    pub async fn cron_advice(&self, minutes: u32) -> Answer<CronAdviceDto> {
        self.get(&with_query("/v1/cron/advice", &[("minutes", Some(minutes.to_string()))])).await
    }

    /// Makes what specs declare so, or tells what would change.
    pub async fn apply(&self, request: &ApplyRequest) -> Answer<Applied> {
        self.post("/v1/apply", request).await
    }

    /// Stops a workload and forgets it.
    pub async fn delete_workload(&self, name: &str, message: &str) -> Answer<Changed> {
        let path = format!("/v1/workloads/{}", encoded(name));
        self.delete(&with_query(&path, &[("message", because(message))])).await
    }

    /// Another number of instances.
    pub async fn scale(&self, name: &str, request: &ScaleRequest) -> Answer<Changed> {
        self.post(&workload(name, "scale"), request).await
    }

    /// Another size.
    pub async fn resize(&self, name: &str, request: &ResizeRequest) -> Answer<Changed> {
        self.post(&workload(name, "resize"), request).await
    }

    /// Replaces instances by equal ones.
    pub async fn bounce(&self, name: &str, request: &BounceRequest) -> Answer<Changed> {
        self.post(&workload(name, "bounce"), request).await
    }

    /// Wants no task of a workload for a while.
    pub async fn pause(&self, name: &str, request: &LastingRequest) -> Answer<Changed> {
        self.post(&workload(name, "pause"), request).await
    }

    /// Wants the tasks of a paused workload again.
    pub async fn resume(&self, name: &str, message: &str) -> Answer<Changed> {
        self.post(&workload(name, "resume"), &said(message)).await
    }

    /// The revisions of a workload, oldest first.
    pub async fn revisions(&self, name: &str) -> Answer<Vec<RevisionDto>> {
        self.get(&workload(name, "revisions")).await
    }

    /// Lets a rollout that waits go on.
    pub async fn advance_rollout(&self, name: &str, message: &str) -> Answer<Changed> {
        self.post(&workload(name, "rollout/advance"), &said(message)).await
    }

    /// Takes a rollout back.
    pub async fn abort_rollout(&self, name: &str, message: &str) -> Answer<Changed> {
        self.post(&workload(name, "rollout/abort"), &said(message)).await
    }

    /// Goes back to an earlier revision.
    pub async fn rollback(&self, name: &str, request: &RollbackRequest) -> Answer<Changed> {
        self.post(&workload(name, "rollback"), request).await
    }
}

/// Runs and tasks.
impl Client {
    /// Runs, newest first.
    pub async fn runs(&self, filter: &RunFilter, most: usize) -> Answer<Vec<RunDto>> {
        let path = with_query(
            "/v1/runs",
            &[
                ("workload", filter.workload.clone()),
                ("outcome", filter.outcome.clone()),
                ("from", filter.from.map(|at| at.to_string())),
                ("to", filter.to.map(|at| at.to_string())),
                ("manual", filter.manual.map(|manual| manual.to_string())),
                ("text", filter.text.clone()),
                ("limit", Some(page(most))),
            ],
        );
        self.list(&path, most).await
    }

    /// Runs a cron job or a job now.
    pub async fn run(&self, name: &str, request: &RunRequest) -> Answer<Changed> {
        self.post(&workload(name, "run"), request).await
    }

    /// Stops a run and closes it as cancelled.
    pub async fn cancel_run(&self, name: &str, at: Timestamp, message: &str) -> Answer<Changed> {
        let verb = format!("runs/{}/cancel", encoded(&at.to_string()));
        self.post(&workload(name, &verb), &said(message)).await
    }

    /// Tasks that live, and then those that ended where they are wanted.
    pub async fn tasks(&self, workload: Option<&str>, ended: bool, most: usize) -> Answer<Vec<TaskDto>> {
        let path = with_query(
            "/v1/tasks",
            &[
                ("workload", workload.map(str::to_owned)),
                ("ended", ended.then(|| "true".to_owned())),
                ("limit", Some(page(most))),
            ],
        );
        self.list(&path, most).await
    }

    /// One task, also one that ended.
    pub async fn task(&self, id: &str) -> Answer<TaskDto> {
        self.get(&format!("/v1/tasks/{}", encoded(id))).await
    }

    /// The newest answers of a task's health checks, oldest first.
    pub async fn checks(&self, id: &str) -> Answer<Vec<CheckDto>> {
        self.get(&format!("/v1/tasks/{}/checks", encoded(id))).await
    }

    /// The last lines of what a task printed (`stdout` or `stderr`).
    pub async fn log_tail(&self, id: &str, stream: &str, lines: usize) -> Answer<LogDto> {
        let path = format!("/v1/tasks/{}/logs", encoded(id));
        let (stream, lines) = (Some(stream.to_owned()), Some(lines.to_string()));
        self.get(&with_query(&path, &[("stream", stream), ("tail", lines)])).await
    }

    /// What a task printed after an earlier piece (its `next`).
    pub async fn log_after(&self, id: &str, stream: &str, next: &str) -> Answer<LogDto> {
        let path = format!("/v1/tasks/{}/logs", encoded(id));
        let (stream, next) = (Some(stream.to_owned()), Some(next.to_owned()));
        self.get(&with_query(&path, &[("stream", stream), ("after", next)])).await
    }

    /// Stops one task; a service replaces it.
    pub async fn stop_task(&self, id: &str, message: &str) -> Answer<Changed> {
        self.post(&format!("/v1/tasks/{}/stop", encoded(id)), &said(message)).await
    }
}

/// Nodes, pools, policies, quotas.
impl Client {
    /// All nodes.
    pub async fn nodes(&self) -> Answer<Vec<NodeDto>> {
        self.get("/v1/nodes").await
    }

    /// All pools.
    pub async fn pools(&self) -> Answer<Vec<PoolDto>> {
        self.get("/v1/pools").await
    }

    /// Moves everything off a node.
    pub async fn drain(&self, node: &str, request: &LastingRequest) -> Answer<Changed> {
        self.post(&format!("/v1/nodes/{}/drain", encoded(node)), request).await
    }

    /// Lets a drained node take tasks again.
    pub async fn activate(&self, node: &str, message: &str) -> Answer<Changed> {
        self.post(&format!("/v1/nodes/{}/activate", encoded(node)), &said(message)).await
    }

    /// Fails a node with everything on it.
    pub async fn fail_node(&self, node: &str, message: &str) -> Answer<Changed> {
        self.post(&format!("/v1/nodes/{}/fail", encoded(node)), &said(message)).await
    }

    /// Drains and removes all nodes of a pool.
    pub async fn delete_pool(&self, name: &str, message: &str) -> Answer<Changed> {
        let path = format!("/v1/pools/{}", encoded(name));
        self.delete(&with_query(&path, &[("message", because(message))])).await
    }

    /// All policies.
    pub async fn policies(&self) -> Answer<Vec<PolicyDto>> {
        self.get("/v1/policies").await
    }

    /// Forgets a policy.
    pub async fn delete_policy(&self, name: &str, message: &str) -> Answer<Changed> {
        let path = format!("/v1/policies/{}", encoded(name));
        self.delete(&with_query(&path, &[("message", because(message))])).await
    }

    /// All quotas.
    pub async fn quotas(&self) -> Answer<Vec<QuotaDto>> {
        self.get("/v1/quotas").await
    }

    /// The policies that sizes can come from, and which one is in force.
    pub async fn size_policies(&self) -> Answer<SizePoliciesDto> {
        self.get("/v1/size-policies").await
    }

    /// Takes sizes from another policy.
    pub async fn set_size_policy(&self, request: &SizePolicyRequest) -> Answer<Changed> {
        self.put("/v1/size-policies", request).await
    }

    /// Forgets a team's quota.
    pub async fn delete_quota(&self, team: &str, message: &str) -> Answer<Changed> {
        let path = format!("/v1/quotas/{}", encoded(team));
        self.delete(&with_query(&path, &[("message", because(message))])).await
    }
}

/// Actions, freezes, decisions, tokens.
impl Client {
    /// What is in force by hand, or by the engine in an emergency.
    pub async fn actions(&self) -> Answer<Vec<ActionDto>> {
        self.get("/v1/actions").await
    }

    /// Ends an action and undoes what it did.
    pub async fn cancel_action(&self, kind: &str, subject: &str, message: &str) -> Answer<Changed> {
        let path = format!("/v1/actions/{}/{}", encoded(kind), encoded(subject));
        self.delete(&with_query(&path, &[("message", because(message))])).await
    }

    /// What can be frozen, and what is.
    pub async fn freezes(&self) -> Answer<Vec<FreezeDto>> {
        self.get("/v1/freezes").await
    }

    /// Freezes a kind of change.
    pub async fn freeze(&self, switch: &str, request: &LastingRequest) -> Answer<Changed> {
        self.put(&format!("/v1/freezes/{}", encoded(switch)), request).await
    }

    /// Lifts a freeze.
    pub async fn unfreeze(&self, switch: &str, message: &str) -> Answer<Changed> {
        let path = format!("/v1/freezes/{}", encoded(switch));
        self.delete(&with_query(&path, &[("message", because(message))])).await
    }

    /// Decisions about a workload or pool, or about all; newest first.
    pub async fn decisions(&self, subject: Option<&str>, most: usize) -> Answer<Vec<Decision>> {
        let subject = subject.map(str::to_owned);
        self.list(&with_query("/v1/decisions", &[("subject", subject), ("limit", Some(page(most)))]), most)
            .await
    }

    /// One decision.
    pub async fn decision(&self, id: u64) -> Answer<Decision> {
        self.get(&format!("/v1/decisions/{id}")).await
    }

    /// Carries out a decision that waits for approval.
    pub async fn approve(&self, id: u64, message: &str) -> Answer<Approved> {
        self.post(&format!("/v1/decisions/{id}/approve"), &said(message)).await
    }

    /// All tokens, without their secrets.
    pub async fn tokens(&self) -> Answer<Vec<TokenDto>> {
        self.get("/v1/tokens").await
    }

    /// Makes a token.
    pub async fn create_token(&self, request: &TokenRequest) -> Answer<NewTokenDto> {
        self.post("/v1/tokens", request).await
    }

    /// Makes a token invalid.
    pub async fn revoke_token(&self, id: u64, message: &str) -> Answer<Changed> {
        self.delete(&with_query(&format!("/v1/tokens/{id}"), &[("message", because(message))])).await
    }

    /// Every write, newest first.
    pub async fn audit(&self, most: usize) -> Answer<Vec<AuditDto>> {
        self.list(&with_query("/v1/audit", &[("limit", Some(page(most)))]), most).await
    }
}

/// Reports.
impl Client {
    /// What was requested, used, recommended and idle, with prices.
    pub async fn report(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Answer<crate::accounting::report::Report> {
        let (from, to) = (from.map(|at| at.to_string()), to.map(|at| at.to_string()));
        self.get(&with_query("/v1/report", &[("from", from), ("to", to)])).await
    }

    /// What the nodes cost, split among those who had them. The query's parameters are those of
    /// `/v1/reports/cost`.
    pub async fn cost_report(
        &self,
        query: &[(&str, Option<String>)],
    ) -> Answer<crate::accounting::bill::report::BillReport> {
        self.get(&with_query("/v1/reports/cost", query)).await
    }

    /// The same as a file, with the warnings of the report: the query names its format.
    pub async fn cost_file(&self, query: &[(&str, Option<String>)]) -> Answer<(Vec<u8>, Vec<String>)> {
        self.download_with_warnings(&with_query("/v1/reports/cost", query)).await
    }

    /// What applied recommendations promised to save in a month, and what they did save.
    pub async fn savings(
        &self,
        month: Option<String>,
    ) -> Answer<Vec<crate::accounting::bill::savings::Saving>> {
        self.get(&with_query("/v1/reports/savings", &[("month", month)])).await
    }

    /// Takes the bill of a month in place of the price list.
    pub async fn import_bill(&self, bill: &BillRequest) -> Answer<BillImported> {
        self.put("/v1/reports/bill", bill).await
    }

    /// What the tasks used, as a file of the given format (`parquet` or `csv`).
    pub async fn trace(
        &self,
        format: &str,
        interval_seconds: u32,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Answer<Vec<u8>> {
        let path = with_query(
            "/v1/trace",
            &[
                ("format", Some(format.to_owned())),
                ("interval", Some(interval_seconds.to_string())),
                ("from", from.map(|at| at.to_string())),
                ("to", to.map(|at| at.to_string())),
            ],
        );
        self.download(&path).await
    }
}
