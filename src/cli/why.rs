//! `loadline decisions` and `loadline why`: what was decided, and from what.

use clap::Args;

use crate::api::client::Client;
use crate::cli::output::{Output, say, say_json, say_table, table, time};
use crate::domain::decision::Decision;
use crate::domain::money::MicroCents;

/// `loadline decisions`
#[derive(Debug, Args)]
pub(super) struct DecisionsArgs {
    /// About this workload or pool only.
    subject: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// `loadline why`
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The decision's number.
    id: u64,
}

pub(super) async fn decisions(client: &Client, output: Output, args: DecisionsArgs) -> anyhow::Result<()> {
    let found = client.decisions(args.subject.as_deref(), args.limit).await?;
    if output == Output::Json {
        return say_json(&found);
    }
    let mut rows = table(&["id", "at", "about", "decision", "outcome", "rule", "per hour"]);
    for decision in &found {
        let proposal = &decision.proposal;
        rows.add_row(vec![
            decision.id.to_string(),
            time(decision.at),
            proposal.kind.subject().to_owned(),
            proposal.kind.to_string(),
            decision.outcome.to_string(),
            proposal.rule.clone(),
            signed(proposal.price_after - proposal.price_before),
        ]);
    }
    say_table(&rows)?;
    Ok(())
}

pub(super) async fn why(client: &Client, output: Output, args: WhyArgs) -> anyhow::Result<()> {
    let decision = client.decision(args.id).await?;
    match output {
        Output::Json => say_json(&decision),
        Output::Table => {
            say(&explain(&decision))?;
            Ok(())
        }
    }
}

fn signed(amount: MicroCents) -> String {
    if amount.get() > 0 { format!("+{amount}") } else { amount.to_string() }
}

/// A decision for a person.
pub(super) fn explain(decision: &Decision) -> String {
    let proposal = &decision.proposal;
    let mut lines = vec![
        format!("decision {}: {} {}", decision.id, proposal.kind.subject(), proposal.kind),
        format!("  made      {}", time(decision.at)),
        format!("  outcome   {} (policy: {})", decision.outcome, decision.mode),
        format!("  because   {}", proposal.reason),
        format!("  bound by  {}", proposal.rule),
        format!(
            "  price     {} -> {} per hour ({})",
            proposal.price_before,
            proposal.price_after,
            signed(proposal.price_after - proposal.price_before)
        ),
    ];
    if !proposal.inputs.is_empty() {
        lines.push("  known".to_owned());
        lines.extend(proposal.inputs.iter().map(|(name, value)| format!("    {name}: {value}")));
    }
    if !proposal.candidates.is_empty() {
        lines.push("  considered".to_owned());
        lines.extend(proposal.candidates.iter().map(|candidate| {
            let mark = if candidate.chosen { "*" } else { "-" };
            format!("    {mark} {}: {}", candidate.source, candidate.answer)
        }));
    }
    lines.join("\n")
}
