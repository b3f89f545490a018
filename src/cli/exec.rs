//! `loadline exec`: runs a command in the surroundings of a task, and ends as it does.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::api::client::Client;
use crate::cli::change::{duration, whole_seconds};
use crate::cli::output::{Output, say_error, say_json, say_raw};
use crate::domain::task::TaskId;

/// `loadline exec`
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// The task, for example web.3.
    task: TaskId,
    /// It is killed after this time; the engine allows 50 s.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    timeout: SignedDuration,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What is asked for.
#[derive(Debug, Serialize)]
struct ExecRequest {
    command: Vec<String>,
    timeout_seconds: u64,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
struct ExecAnswer {
    /// The exit status; 128 and the number of the signal that ended it; absent where its time was up.
    status: Option<i32>,
    stdout: String,
    stderr: String,
    /// Whether there was more output than is kept.
    truncated: bool,
    /// Whether it was killed because its time was up.
    #[serde(default)]
    timed_out: bool,
}

/// The code where the command did not end by itself: as `timeout` has it.
const EXIT_TIME_UP: u8 = 124;
/// The code where the command could not be run: as `docker exec` has it.
const EXIT_NOT_RUN: u8 = 125;

/// Ends as the command does; codes that are free of the meaning that they have elsewhere stand for the
/// rest.
pub(super) async fn run(client: &Client, output: Output, args: ExecArgs) -> anyhow::Result<ExitCode> {
    let body = ExecRequest { command: args.command, timeout_seconds: whole_seconds(args.timeout) };
    let path = format!("/v1/tasks/{}/exec", args.task);
    let answer: ExecAnswer = match client.post(&path, &body).await {
        Ok(answer) => answer,
        Err(error) => {
            say_error(&format!("error: {:#}", anyhow::Error::from(error)));
            return Ok(ExitCode::from(EXIT_NOT_RUN));
        }
    };
    if output == Output::Json {
        say_json(&answer)?;
    } else {
        say_raw(&answer.stdout)?;
        // Where standard error is closed there is nobody left to tell.
        let _ = io::stderr().write_all(answer.stderr.as_bytes());
    }
    if answer.truncated {
        say_error("warning: there was more output than is kept");
    }
    if answer.timed_out {
        say_error("its time was up: it was killed");
    }
    let code = answer.status.map(|status| u8::try_from(status.clamp(0, 255)).unwrap_or(u8::MAX));
    Ok(ExitCode::from(code.unwrap_or(EXIT_TIME_UP)))
}
