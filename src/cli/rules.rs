//! `loadline quotas` and `loadline policies`: what teams may have reserved, and how sizes and counts are
//! decided.

use clap::Args;

use crate::api::client::Client;
use crate::cli::output::{Output, cores, memory, or_dash, say_listing, table};

/// `loadline quotas`
#[derive(Debug, Args)]
pub(super) struct QuotasArgs {}

/// `loadline policies`
#[derive(Debug, Args)]
pub(super) struct PoliciesArgs {}

pub(super) async fn quotas(client: &Client, output: Output, _args: QuotasArgs) -> anyhow::Result<()> {
    let quotas = client.quotas().await?;
    say_listing(output, &quotas, "no team has a quota", || {
        let mut rows = table(&["team", "cpu", "memory", "tasks"]);
        for quota in &quotas {
            let of =
                |used: String, bound: Option<String>| format!("{used} of {}", or_dash(bound, |bound| bound));
            rows.add_row(vec![
                quota.team.clone(),
                of(cores(quota.cpu_used), quota.cpu.map(cores)),
                of(memory(quota.memory_used), quota.memory.map(memory)),
                of(quota.tasks_used.to_string(), quota.tasks.map(|tasks| tasks.to_string())),
            ]);
        }
        rows
    })
}

pub(super) async fn policies(client: &Client, output: Output, _args: PoliciesArgs) -> anyhow::Result<()> {
    let policies = client.policies().await?;
    say_listing(output, &policies, "there are no policies", || {
        let mut rows = table(&["policy", "size", "count", "governs"]);
        for policy in &policies {
            let rule = |name: &str| policy.rules[name].as_str().unwrap_or("-").to_owned();
            rows.add_row(vec![
                policy.name.clone(),
                rule("size"),
                rule("count"),
                if policy.workloads.is_empty() { "-".to_owned() } else { policy.workloads.join(", ") },
            ]);
        }
        rows
    })
}
