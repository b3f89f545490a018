//! The command line, one file a subcommand. Commands other than `up`, `demo`, `check`, `serve-provider`,
//! `backtest`, `simulate`, `plan`, `node-types` and most of `dataset` talk to a running engine through its API.

mod access;
mod actions;
mod alarms;
mod apply;
mod approve;
mod backtest;
mod backtest_forecast;
mod backtest_history;
mod backtest_jobs;
mod backtest_load;
mod backtest_run;
mod backtest_table;
mod bill_table;
mod bounce;
mod change;
mod check;
mod checks;
mod completions;
mod connection;
mod cron;
mod cron_advice;
mod dataset;
mod dataset_describe;
mod dataset_import;
mod delete;
pub mod demo;
mod drain;
mod events;
mod exec;
mod exit;
mod fit;
mod fit_weights;
mod freeze;
mod lists;
mod logs;
mod model;
mod node_types;
mod output;
mod pause;
mod plan;
mod policy;
mod recommend;
mod recommend_acts;
mod recommend_explain;
mod report;
mod report_table;
mod resize;
mod revisions;
mod rollout;
mod rules;
mod run;
mod scale;
mod serve_provider;
mod simulate;
mod status;
mod stop;
mod top;
mod top_view;
mod up;
mod wait;
mod why;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::api::client::{Client, ClientError};
use crate::cli::connection::{Connection, ConnectionArgs};
use crate::cli::exit::{Ended, Exit, is_closed_pipe};
use crate::cli::output::{Format, Output};

/// Launches services and cron jobs on this machine, watches them, sizes them and scales them.
#[derive(Debug, Parser)]
#[command(name = "loadline", version, propagate_version = true, after_help = Exit::help())]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Global {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Tables for people, JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the engine with its local cluster and API, until Ctrl-C.
    Up(up::UpArgs),
    /// Check spec files; print every error with its position.
    Check(check::CheckArgs),
    /// Run a small shop of real processes through a compressed day.
    Demo(demo::DemoArgs),
    /// Replay usage traces past sizing policies and compare what they would have cost and killed.
    Backtest(backtest::BacktestArgs),
    /// Fit the model of Loadline's own estimator to usage traces.
    Fit(fit::FitArgs),
    /// List kinds of machines that can be had, with prices.
    NodeTypes(node_types::NodeTypesArgs),
    /// Tell which nodes, and how many of each type, cost least for a list of tasks.
    Plan(Box<plan::PlanArgs>),
    /// Serve a provider of machines to a Cluster Autoscaler, by its external gRPC protocol.
    ServeProvider(serve_provider::ServeProviderArgs),
    /// Run weeks of a cluster that is not there past policies of nodes and compare them.
    Simulate(simulate::SimulateArgs),
    /// Print a shell's completions: source them, or put them where the shell looks.
    Completions(completions::CompletionsArgs),
    /// One of the demo's processes.
    #[command(hide = true)]
    #[command(subcommand)]
    DemoTask(demo::workloads::DemoTask),
    #[command(flatten)]
    Remote(Remote),
}

/// Commands that talk to a running engine.
#[derive(Debug, Subcommand)]
enum Remote {
    /// Send spec files to the engine, after a look at what they would change.
    Apply(apply::ApplyArgs),
    /// Stop a workload and forget it.
    Delete(delete::DeleteArgs),
    /// Show the engine, its pools and its workloads.
    Status(status::StatusArgs),
    /// Show who uses most CPU or memory, live.
    Top(top::TopArgs),
    /// List tasks.
    Tasks(lists::TasksArgs),
    /// List nodes, or fail one.
    Nodes(lists::NodesArgs),
    /// List cron jobs and their runs.
    Cron(cron::CronArgs),
    /// Search runs.
    Runs(cron::RunsArgs),
    /// Run a cron job or a job now.
    Run(run::RunArgs),
    /// Show a rollout, let it go on, or take it back.
    Rollout(rollout::RolloutArgs),
    /// Go back to an earlier revision.
    Rollback(rollout::RollbackArgs),
    /// List the revisions of a workload.
    Revisions(revisions::RevisionsArgs),
    /// Set the number of instances of a service.
    Scale(scale::ScaleArgs),
    /// Set the size of a workload's tasks.
    Resize(resize::ResizeArgs),
    /// Replace instances of a service by equal ones.
    Bounce(bounce::BounceArgs),
    /// Want no task of a workload for a while.
    Pause(pause::PauseArgs),
    /// Want the tasks of a paused workload again.
    Resume(pause::ResumeArgs),
    /// Stop one task; a service replaces it.
    Stop(stop::StopArgs),
    /// Run a command in the surroundings of a task.
    Exec(exec::ExecArgs),
    /// Move everything off a node.
    Drain(drain::DrainArgs),
    /// List what is in force by hand.
    Actions(actions::ActionsArgs),
    /// End an action and undo it, or stop a run.
    Cancel(actions::CancelArgs),
    /// Freeze a kind of change.
    Freeze(freeze::FreezeArgs),
    /// Lift a freeze.
    Unfreeze(freeze::UnfreezeArgs),
    /// List what is frozen.
    Freezes(freeze::FreezesArgs),
    /// Print what tasks print.
    Logs(logs::LogsArgs),
    /// Show the answers of a task's health checks.
    Checks(checks::ChecksArgs),
    /// Show what happened, and what happens.
    Events(events::EventsArgs),
    /// List what wants a person's eye.
    Alarms(alarms::AlarmsArgs),
    /// Show recommended sizes.
    Recommend(recommend::RecommendArgs),
    /// Show what an instance of a service uses as a function of its load.
    Model(model::ModelArgs),
    /// Tell what a service would need under another load.
    #[command(name = "whatif")]
    WhatIf(model::WhatIfArgs),
    /// List decisions.
    Decisions(why::DecisionsArgs),
    /// Explain a decision.
    Why(why::WhyArgs),
    /// Carry out a decision that waits for approval.
    Approve(approve::ApproveArgs),
    /// Report what was requested, used, recommended and idle, with prices; what the nodes cost, and whom.
    Report(report::ReportArgs),
    /// Record, generate, import or describe usage traces.
    Dataset(dataset::DatasetArgs),
    /// List the quotas of teams.
    Quotas(rules::QuotasArgs),
    /// List policies.
    Policies(rules::PoliciesArgs),
    /// List the policies that sizes can come from, try one on recorded usage, and put one in force.
    Policy(policy::PolicyArgs),
    /// Make, list and revoke tokens.
    Token(access::TokenArgs),
    /// Show who you are to the engine.
    Whoami(access::WhoamiArgs),
    /// List writes, carried out and refused.
    Audit(access::AuditArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Supervisors must stay small and quick to start, so they are told apart before anything else.
    if let Some(code) = crate::app::hidden_command(std::env::args_os()) {
        return code;
    }
    let line = CommandLine::parse();
    dispatch(line).unwrap_or_else(|error| Exit::of(&error).into())
}

fn dispatch(line: CommandLine) -> anyhow::Result<ExitCode> {
    let CommandLine { global, command } = line;
    let ended = match command {
        Command::Check(args) => check::run(&args),
        Command::DemoTask(task) => demo::workloads::run(&task).map(|()| ExitCode::SUCCESS),
        Command::Up(args) => up::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Backtest(args) => backtest::run(&global, &args).map(|()| ExitCode::SUCCESS),
        Command::Fit(args) => fit::run(&args).map(|()| ExitCode::SUCCESS),
        Command::NodeTypes(args) => {
            node_types::run(global.output.plain()?, &args).map(|()| ExitCode::SUCCESS)
        }
        Command::Plan(args) => plan::run(global.output.plain()?, &args).map(|()| ExitCode::SUCCESS),
        Command::ServeProvider(args) => serve_provider::run(args),
        Command::Simulate(args) => simulate::run(&global, &args).map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => completions::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Remote(Remote::Dataset(args)) if args.is_local() => {
            dataset::run_local(global.output.plain()?, &args).map(|()| ExitCode::SUCCESS)
        }
        Command::Remote(command) => return remote(&global, command),
    };
    ended.inspect_err(print_error)
}

/// Calls the engine; an error is followed by where the values came from that led to it.
fn remote(global: &Global, command: Remote) -> anyhow::Result<ExitCode> {
    let output = global.output.plain().inspect_err(print_error)?;
    let connection = Connection::of(&global.connection).inspect_err(print_error)?;
    let client = connection.client().inspect_err(print_error)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(call(&client, output, command)).inspect_err(|error| {
        print_error(error);
        if let Some(hint) = error.downcast_ref::<ClientError>().and_then(|error| connection.hint(error)) {
            output::say_error(&hint);
        }
    })
}

async fn call(client: &Client, output: Output, command: Remote) -> anyhow::Result<ExitCode> {
    let done = match command {
        // It ends as what it runs does.
        Remote::Exec(args) => return exec::run(client, output, args).await,
        Remote::Apply(args) => apply::run(client, output, args).await,
        Remote::Delete(args) => delete::run(client, output, args).await,
        Remote::Status(args) => status::run(client, output, args).await,
        Remote::Top(args) => top::run(client, output, args).await,
        Remote::Tasks(args) => lists::tasks(client, output, args).await,
        Remote::Nodes(args) => lists::nodes(client, output, args).await,
        Remote::Cron(args) => cron::run(client, output, args).await,
        Remote::Runs(args) => cron::search(client, output, args).await,
        Remote::Run(args) => run::run(client, output, args).await,
        Remote::Rollout(args) => rollout::rollout(client, output, args).await,
        Remote::Rollback(args) => rollout::rollback(client, output, args).await,
        Remote::Revisions(args) => revisions::run(client, output, args).await,
        Remote::Scale(args) => scale::run(client, output, args).await,
        Remote::Resize(args) => resize::run(client, output, args).await,
        Remote::Bounce(args) => bounce::run(client, output, args).await,
        Remote::Pause(args) => pause::pause(client, output, args).await,
        Remote::Resume(args) => pause::resume(client, output, args).await,
        Remote::Stop(args) => stop::run(client, output, args).await,
        Remote::Drain(args) => drain::run(client, output, args).await,
        Remote::Actions(args) => actions::list(client, output, args).await,
        Remote::Cancel(args) => actions::cancel(client, output, args).await,
        Remote::Freeze(args) => freeze::freeze(client, output, args).await,
        Remote::Unfreeze(args) => freeze::unfreeze(client, output, args).await,
        Remote::Freezes(args) => freeze::list(client, output, args).await,
        Remote::Logs(args) => logs::run(client, output, args).await,
        Remote::Checks(args) => checks::run(client, output, args).await,
        Remote::Events(args) => events::run(client, output, args).await,
        Remote::Alarms(args) => alarms::run(client, output, args).await,
        Remote::Recommend(args) => recommend::run(client, output, args).await,
        Remote::Model(args) => model::model(client, output, args).await,
        Remote::WhatIf(args) => model::what_if(client, output, args).await,
        Remote::Decisions(args) => why::decisions(client, output, args).await,
        Remote::Why(args) => why::why(client, output, args).await,
        Remote::Approve(args) => approve::run(client, output, args).await,
        Remote::Report(args) => report::run(client, output, args).await,
        Remote::Dataset(args) => dataset::run(client, output, args).await,
        Remote::Quotas(args) => rules::quotas(client, output, args).await,
        Remote::Policies(args) => rules::policies(client, output, args).await,
        Remote::Policy(args) => policy::run(client, output, args).await,
        Remote::Token(args) => access::token(client, output, args).await,
        Remote::Whoami(args) => access::whoami(client, output, args).await,
        Remote::Audit(args) => access::audit(client, output, args).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Spec errors come one a line, as `loadline check` prints them; other errors in one line with causes.
fn print_error(error: &anyhow::Error) {
    let said = error.downcast_ref::<Ended>().is_none_or(|Ended(_, message)| !message.is_empty());
    if is_closed_pipe(error) || !said {
        return;
    }
    output::say_error(&format!("{}: {error:#}", output::paint(output::BAD, "error")));
    if let Some(ClientError::Refused(problem)) = error.downcast_ref::<ClientError>() {
        for line in &problem.errors {
            output::say_error(line);
        }
    }
}
