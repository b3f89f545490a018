//! `loadline policy`: the policies that sizes can come from, and how to put one in force after a look at what it
//! would have done here.

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use serde::Serialize;

use crate::api::client::Client;
use crate::api::size_policies::{OwnPolicyRequest, SizePolicyRequest};
use crate::cli::backtest_history::{History, recorded};
use crate::cli::backtest_run::{How, score};
use crate::cli::backtest_table::say_report;
use crate::cli::change::{Message, duration, say_changes, whole_seconds};
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{
    Output, age, can_ask, confirmed, now, or_dash, say, say_error, say_json, say_table, table,
};
use crate::replay::backtest::{Contender, Report, Resource, report};
use crate::replay::grid::Trace;

/// `loadline policy`
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    action: PolicyAction,
}

#[derive(Debug, Subcommand)]
enum PolicyAction {
    /// List the policies that sizes can come from, with their keys, and tell which one is in force.
    List,
    /// Take sizes from another policy: shows what it would have done on the recorded usage, and asks.
    Set(SetArgs),
}

#[derive(Debug, Args)]
struct SetArgs {
    /// The policy as NAME[:key=value]..., for example krr:margin=1.3.
    policy: String,
    /// Only the sizes of this service; may be given several times. Undone by `loadline cancel size-policy/NAME`.
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<String>,
    /// For so long, for example 2d; then its sizes come from the policy of all others again.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, requires = "workloads")]
    lasting: Option<SignedDuration>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Try it on no more than the last so long, for example 3d. Default: everything that is kept.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<SignedDuration>,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn run(client: &Client, output: Output, args: PolicyArgs) -> anyhow::Result<()> {
    match args.action {
        PolicyAction::List => list(client, output).await,
        PolicyAction::Set(args) => set(client, output, args).await,
    }
}

async fn list(client: &Client, output: Output) -> anyhow::Result<()> {
    let found = client.size_policies().await?;
    if output == Output::Json {
        return say_json(&found);
    }
    let mut rows = table(&["policy", "in force", "risk knob", "keys"]);
    for policy in &found.policies {
        let keys: Vec<String> = policy.keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let name = |label: &str| label.split(':').next() == Some(policy.name.as_str());
        rows.add_row(vec![
            policy.name.clone(),
            if name(&found.in_force) { found.in_force.clone() } else { "-".to_owned() },
            policy.knob.clone(),
            keys.join(" "),
        ]);
    }
    say_table(&rows)?;
    for own in &found.own {
        say(&format!(
            "{} is sized by {}, chosen by {}, {} ago",
            own.workload,
            own.policy,
            own.by,
            age(own.since, now())
        ))?;
    }
    let since = or_dash(found.since, |since| format!("{} ago", age(since, now())));
    match (&found.chosen, &found.by) {
        (Some(chosen), Some(by)) => Ok(say(&format!("{chosen} was chosen by {by}, {since}"))?),
        _ => Ok(say(&format!("{} is what engines start with; nobody chose another", found.in_force))?),
    }
}

/// What a choice came to, for programs.
#[derive(Serialize)]
struct Chosen {
    /// What the policy in force and the chosen one would have done; empty where too little was recorded.
    reports: Vec<Report>,
    /// What changed.
    changes: Vec<String>,
}

async fn set(client: &Client, output: Output, args: SetArgs) -> anyhow::Result<()> {
    let found = client.size_policies().await?;
    let proposed =
        Contender::parse(&args.policy).map_err(|error| ended(Exit::BadInput, format!("{error:#}")))?;
    let names: Vec<&str> = found.policies.iter().map(|policy| policy.name.as_str()).collect();
    let name = args.policy.split(':').next().unwrap_or_default();
    if !names.contains(&name) {
        let known = names.join(", ");
        return Err(ended(Exit::BadInput, format!("the engine cannot size by `{name}`; it can by {known}")));
    }
    if args.workloads.is_empty() && found.chosen.as_deref().unwrap_or(&found.in_force) == args.policy {
        return match output {
            Output::Json => say_json(&Chosen { reports: Vec::new(), changes: Vec::new() }),
            Output::Table => Ok(say(&format!("sizes come from policy {} already", args.policy))?),
        };
    }
    let reports = match recorded(client, args.since, None).await? {
        History::Enough(trace) => tried(&trace, &found.in_force, proposed)?,
        History::TooLittle(why) => {
            say_error(&format!("{} cannot be tried here: {why}", args.policy));
            Vec::new()
        }
    };
    if output == Output::Table {
        reports.iter().try_for_each(say_report)?;
    }
    if !args.yes {
        if !can_ask() {
            let text =
                format!("sizes stay with policy {}: there is nobody to ask here; give --yes", found.in_force);
            return Err(ended(Exit::Refused, text));
        }
        let whose = if args.workloads.is_empty() {
            String::new()
        } else {
            format!(" of {}", args.workloads.join(", "))
        };
        let question =
            format!("Take sizes{whose} from policy {} in place of {}?", args.policy, found.in_force);
        if !confirmed(&question)? {
            return Err(ended(Exit::Refused, format!("sizes stay with policy {}", found.in_force)));
        }
    }
    let changes = taken(client, args).await?;
    match output {
        Output::Json => say_json(&Chosen { reports, changes }),
        Output::Table => say_changes(&changes),
    }
}

/// Takes the policy into force: for all workloads, or for those that were named, in their order.
async fn taken(client: &Client, args: SetArgs) -> anyhow::Result<Vec<String>> {
    let (policy, message) = (args.policy, args.why.message);
    if args.workloads.is_empty() {
        return Ok(client.set_size_policy(&SizePolicyRequest { policy, message }).await?.changes);
    }
    let request = OwnPolicyRequest { policy, message, for_seconds: args.lasting.map(whole_seconds) };
    let mut changes = Vec::new();
    for workload in &args.workloads {
        changes.extend(client.set_own_policy(workload, &request).await?.changes);
    }
    Ok(changes)
}

/// The policy in force and the proposed one on recorded usage.
fn tried(trace: &Trace, current: &str, proposed: Contender) -> anyhow::Result<Vec<Report>> {
    let mut contenders = Vec::new();
    // One that came with a later version of the engine is not known here.
    if let Ok(current) = Contender::parse(current)
        && current.label() != proposed.label()
    {
        contenders.push(current);
    }
    contenders.push(proposed);
    let scored = score(trace, &contenders, How::default())?;
    let of = |resource| report(trace, resource, &contenders, &scored);
    Ok([Resource::Memory, Resource::Cpu].map(of).into())
}
