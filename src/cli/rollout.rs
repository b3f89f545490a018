//! `loadline rollout` and `loadline rollback`: the way of a service from one revision to another.

use clap::{Args, ValueEnum};

use crate::api::client::Client;
use crate::api::requests::RollbackRequest;
use crate::cli::change::{Message, say_changed};
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{Output, age, now, or_dash, plain, say, say_json};
use crate::cli::wait::{Earlier, Wait, earlier, for_rollouts};
use crate::domain::rollout::{Rollout, RolloutState};

/// What is to become of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// Show where it stands.
    Status,
    /// Let it go on to its next step.
    Advance,
    /// Take it back.
    Abort,
}

/// `loadline rollout`
#[derive(Debug, Args)]
pub(super) struct RolloutArgs {
    /// The service.
    name: String,
    /// What to do.
    #[arg(value_enum, default_value_t = Verb::Status)]
    verb: Verb,
    #[command(flatten)]
    why: Message,
    #[command(flatten)]
    wait: Wait,
}

/// `loadline rollback`
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The service.
    name: String,
    /// The revision; the last healthy one before the one in force where absent.
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    #[command(flatten)]
    why: Message,
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn rollout(client: &Client, output: Output, args: RolloutArgs) -> anyhow::Result<()> {
    match args.verb {
        Verb::Status => {}
        Verb::Advance => {
            say_changed(output, &client.advance_rollout(&args.name, &args.why.message).await?)?;
        }
        Verb::Abort => {
            // That it is rolled back is what was asked for.
            return say_changed(output, &client.abort_rollout(&args.name, &args.why.message).await?);
        }
    }
    if args.wait.wait {
        for_rollouts(client, std::slice::from_ref(&args.name), &Earlier::default(), &args.wait).await?;
    }
    if args.verb == Verb::Status { status(client, output, &args.name).await } else { Ok(()) }
}

async fn status(client: &Client, output: Output, name: &str) -> anyhow::Result<()> {
    let workload = client.workload(name).await?;
    let rollout = workload.rollout.as_ref();
    if output == Output::Json {
        return say_json(&rollout);
    }
    let Some(rollout) = rollout else {
        return Err(ended(Exit::Refused, format!("{name} is a {}: it has no rollouts", workload.kind)));
    };
    let now = now();
    say(&format!("{name}: {}", words(rollout)))?;
    say(&format!("  began      {} ago", age(rollout.started_at, now)))?;
    say(&format!("  ended      {}", or_dash(rollout.ended_at, |at| format!("{} ago", age(at, now)))))?;
    say(&format!("  instances  {} of {} ready", workload.ready, workload.wanted.unwrap_or_default()))?;
    say(&format!("  failures   {}", rollout.failures))?;
    for note in &workload.notes {
        say(&format!("  {}", plain(note)))?;
    }
    Ok(())
}

fn words(rollout: &Rollout) -> String {
    let way = match rollout.from {
        Some(from) => format!("revision {from} -> {}", rollout.to),
        None => format!("revision {}", rollout.to),
    };
    match &rollout.state {
        RolloutState::InProgress => format!("{way} is rolling out"),
        RolloutState::Done => format!("{way} is done"),
        RolloutState::RolledBack { reason } => format!("{way} was rolled back: {}", plain(reason)),
        RolloutState::Failing { reason } => format!("{way} does not become healthy: {}", plain(reason)),
        RolloutState::Superseded => format!("{way} was superseded by a newer revision"),
    }
}

pub(super) async fn rollback(client: &Client, output: Output, args: RollbackArgs) -> anyhow::Result<()> {
    let earlier = if args.wait.wait { earlier(client).await? } else { Earlier::default() };
    let body = RollbackRequest { to: args.to, message: args.why.message };
    let changed = client.rollback(&args.name, &body).await?;
    say_changed(output, &changed)?;
    if !args.wait.wait {
        return Ok(());
    }
    for_rollouts(client, &[args.name], &earlier, &args.wait).await
}
