//! The command line, one file a subcommand. Commands other than `up`, `demo`, `check` and `backtest` talk to a
//! running engine through its API.

mod apply;
mod backtest;
mod backtest_table;
mod check;
mod cron;
mod dataset;
pub mod demo;
mod lists;
mod logs;
mod manual;
mod output;
mod recommend;
mod report;
mod report_table;
mod status;
mod up;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::api::client::{Client, ClientError};
use crate::cli::output::Output;

/// Exit code for input that is wrong: bad specs, bad arguments (clap uses it as well).
const EXIT_BAD_INPUT: u8 = 2;

/// Launches services and cron jobs on this machine, watches them, sizes them and scales them.
#[derive(Debug, Parser)]
#[command(name = "loadline", version, propagate_version = true)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Global {
    /// Address of the engine's API.
    #[arg(long, global = true, env = "LOADLINE_SERVER", default_value = "http://127.0.0.1:7070")]
    server: String,
    /// Tables for people, JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Global {
    fn client(&self) -> Client {
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        Client::new(&self.server, &user.unwrap_or_else(|_| "unknown".to_owned()))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the engine with its local cluster and API, until Ctrl-C.
    Up(up::UpArgs),
    /// Check spec files; print every error with its position.
    Check(check::CheckArgs),
    /// Send spec files to the engine.
    Apply(apply::ApplyArgs),
    /// Stop a workload and forget it.
    Delete(manual::DeleteArgs),
    /// Show the engine, its pools and its workloads.
    Status(status::StatusArgs),
    /// List tasks.
    Tasks(lists::TasksArgs),
    /// List nodes, or fail or activate one.
    Nodes(lists::NodesArgs),
    /// List cron jobs and their runs.
    Cron(cron::CronArgs),
    /// Run a cron job or a job now.
    Run(manual::RunArgs),
    /// Set the number of instances of a service.
    Scale(manual::ScaleArgs),
    /// Move everything off a node.
    Drain(manual::DrainArgs),
    /// Print what tasks print.
    Logs(logs::LogsArgs),
    /// Show recommended sizes.
    Recommend(recommend::RecommendArgs),
    /// List decisions.
    Decisions(why::DecisionsArgs),
    /// Explain a decision.
    Why(why::WhyArgs),
    /// Carry out a decision that waits for approval.
    Approve(manual::ApproveArgs),
    /// Report what was requested, used, recommended and idle, with prices.
    Report(report::ReportArgs),
    /// Replay usage traces past sizing policies and compare what they would have cost and killed.
    Backtest(backtest::BacktestArgs),
    /// Record or generate usage traces.
    Dataset(dataset::DatasetArgs),
    /// Run a small shop of real processes through a compressed day.
    Demo(demo::DemoArgs),
    /// One of the demo's processes.
    #[command(hide = true)]
    #[command(subcommand)]
    DemoTask(demo::workloads::DemoTask),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Supervisors must stay small and quick to start, so they are told apart before anything else.
    if let Some(code) = crate::app::hidden_command(std::env::args_os()) {
        return code;
    }
    let line = CommandLine::parse();
    match dispatch(line) {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn dispatch(line: CommandLine) -> anyhow::Result<ExitCode> {
    let CommandLine { global, command } = line;
    match command {
        Command::Check(args) => return Ok(check::run(&args)),
        Command::Backtest(args) => return backtest::run(global.output, &args).map(|()| ExitCode::SUCCESS),
        Command::DemoTask(task) => return demo::workloads::run(&task).map(|()| ExitCode::SUCCESS),
        Command::Up(args) => return up::run(args),
        Command::Demo(args) => return demo::run(args),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(call(&global, command))?;
    Ok(ExitCode::SUCCESS)
}

async fn call(global: &Global, command: Command) -> anyhow::Result<()> {
    let (client, output) = (global.client(), global.output);
    match command {
        Command::Apply(args) => apply::run(&client, output, args).await,
        Command::Delete(args) => manual::delete(&client, output, args).await,
        Command::Status(args) => status::run(&client, output, args).await,
        Command::Tasks(args) => lists::tasks(&client, output, args).await,
        Command::Nodes(args) => lists::nodes(&client, output, args).await,
        Command::Cron(args) => cron::run(&client, output, args).await,
        Command::Run(args) => manual::run(&client, output, args).await,
        Command::Scale(args) => manual::scale(&client, output, args).await,
        Command::Drain(args) => manual::drain(&client, output, args).await,
        Command::Logs(args) => logs::run(&client, output, args).await,
        Command::Recommend(args) => recommend::run(&client, output, args).await,
        Command::Decisions(args) => why::decisions(&client, output, args).await,
        Command::Why(args) => why::why(&client, output, args).await,
        Command::Approve(args) => manual::approve(&client, output, args).await,
        Command::Report(args) => report::run(&client, output, args).await,
        Command::Dataset(args) => dataset::run(&client, args).await,
        Command::Backtest(_)
        | Command::Up(_)
        | Command::Check(_)
        | Command::Demo(_)
        | Command::DemoTask(_) => Ok(()),
    }
}

/// Spec errors come one a line, as `loadline check` prints them; other errors in one line with causes.
fn print_error(error: &anyhow::Error) {
    output::say_error(&format!("error: {error:#}"));
    if let Some(ClientError::Refused(problem)) = error.downcast_ref::<ClientError>() {
        for line in &problem.errors {
            output::say_error(line);
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(problem)) if problem.status == 422 => EXIT_BAD_INPUT,
        _ => 1,
    }
}

/// Spec files as they are sent: names and texts.
fn read_files(paths: &[PathBuf]) -> anyhow::Result<Vec<crate::api::dto::SpecFile>> {
    let sources = crate::config::read_sources(paths);
    let sources = sources.map_err(|errors| anyhow::anyhow!(crate::config::render_errors(&errors)))?;
    Ok(sources.into_iter().map(|(name, text)| crate::api::dto::SpecFile { name, text }).collect())
}
