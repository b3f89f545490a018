//! `/v1/tasks/ID/exec`: a command in a task.

use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::caller::Caller;
use crate::api::dto::Problem;
use crate::api::extract::{At, Body};
use crate::api::names::task_id;
use crate::domain::task::ExitStatus;
use crate::ports::exec::ExecOutput;

/// A command's time where nothing else is asked for, and at most: every call ends within a minute.
const SECONDS_DEFAULT: u32 = 30;
const SECONDS_MAX: u32 = 50;
/// A signal's number counts from here, as in shells.
const SIGNALS_FROM: i32 = 128;

/// A command to run in a task.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// After this it is killed with everything that it started; at most 50.
    #[serde(default)]
    pub timeout_seconds: Option<u32>,
    /// Why, in words: for the audit log, which does not have the command.
    #[serde(default)]
    pub message: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecResult {
    /// Its exit status; 128 and the number of the signal that ended it; absent where its time was up.
    pub status: Option<i32>,
    /// The beginning of its standard output.
    pub stdout: String,
    /// The beginning of its standard error.
    pub stderr: String,
    /// Whether it wrote more than that.
    pub truncated: bool,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
}

/// Run a command in a task.
#[utoipa::path(post, path = "/v1/tasks/{id}/exec", tag = "tasks", security(("token" = ["operate"])),
    params(("id" = String, Path, description = "The task")), request_body = ExecRequest,
    responses((status = 200, description = "What came of the command", body = ExecResult)))]
pub(super) async fn run(
    State(api): State<ApiState>,
    caller: Caller,
    At(id): At<String>,
    Body(request): Body<ExecRequest>,
) -> Result<Json<ExecResult>, Problem> {
    let task = task_id(&id)?;
    let seconds = request.timeout_seconds.unwrap_or(SECONDS_DEFAULT).clamp(1, SECONDS_MAX);
    let time = SignedDuration::from_secs(i64::from(seconds));
    let output = api.control.exec(caller.actor(), &task, &request.command, time).await?;
    let ExecOutput { status, stdout, stderr, truncated, timed_out } = output;
    let status = status.map(|status| match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => SIGNALS_FROM + signal,
    });
    Ok(Json(ExecResult { status, stdout, stderr, truncated, timed_out }))
}
