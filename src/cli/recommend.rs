//! `loadline recommend`: the sizes that tasks should have.

use clap::Args;

use crate::api::client::Client;
use crate::cli::output::{Output, cores, memory, say, say_json, say_table, table};

/// `loadline recommend`
#[derive(Debug, Args)]
pub(super) struct RecommendArgs {
    /// This workload only.
    name: Option<String>,
}

pub(super) async fn run(client: &Client, output: Output, args: RecommendArgs) -> anyhow::Result<()> {
    let mut rows = client.recommendations().await?;
    if let Some(name) = &args.name {
        rows.retain(|row| row.workload == *name);
        if rows.is_empty() {
            anyhow::bail!("there is no workload named `{name}`");
        }
    }
    if output == Output::Json {
        return say_json(&rows);
    }
    let mut lines = table(&[
        "workload",
        "cpu now -> then",
        "memory now -> then",
        "limit",
        "per month",
        "samples",
        "mode",
    ]);
    for row in &rows {
        let (cpu, request, limit, price) = match &row.recommended {
            Some(then) => (
                format!("{} -> {}", cores(row.current.cpu_request), cores(then.cpu_request)),
                format!("{} -> {}", memory(row.current.memory_request), memory(then.memory_request)),
                memory(then.memory_limit),
                format!("{:+.2}", row.price_per_month),
            ),
            None => (
                cores(row.current.cpu_request),
                memory(row.current.memory_request),
                memory(row.current.memory_limit),
                "-".to_owned(),
            ),
        };
        lines.add_row(vec![
            row.workload.clone(),
            cpu,
            request,
            limit,
            price,
            row.samples.to_string(),
            row.mode.clone(),
        ]);
    }
    say_table(&lines)?;
    say("")?;
    for row in &rows {
        say(&format!("{}: {}", row.workload, row.reason))?;
        if let (Some((cpu_low, memory_low)), Some((cpu_high, memory_high))) = (row.lower, row.upper) {
            say(&format!(
                "  bounds: {} to {} cores, {} to {}; {:.2} days of history",
                cores(cpu_low),
                cores(cpu_high),
                memory(memory_low),
                memory(memory_high),
                row.confidence_days
            ))?;
        }
    }
    Ok(())
}
