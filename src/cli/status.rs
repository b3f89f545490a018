//! `loadline status`: everything at a glance.

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::{StatusDto, WorkloadDto};
use crate::cli::output::{Output, age, cores, memory, now, or_dash, say, say_json, table};

/// `loadline status`
#[derive(Debug, Args)]
pub(super) struct StatusArgs {}

pub(super) async fn run(client: &Client, output: Output, _args: StatusArgs) -> anyhow::Result<()> {
    let status = client.status().await?;
    if output == Output::Json {
        return say_json(&status);
    }
    say(&render(&status))?;
    Ok(())
}

/// The status as text.
pub(super) fn render(status: &StatusDto) -> String {
    let mut text = Vec::new();
    let now = now();
    let passed = or_dash(status.engine.scheduled_at, |at| format!("{} ago", age(at, now)));
    text.push(format!(
        "loadline {}, up {}, last pass {passed}, sizes by {}, nodes cost {:.4} per hour",
        status.engine.version,
        age(status.engine.started_at, now),
        status.engine.size_policy,
        status.price_per_hour
    ));
    for scrape in status.engine.scrapes.iter().filter(|scrape| scrape.last_error.is_some()) {
        let error = scrape.last_error.as_deref().unwrap_or_default();
        let (failed, late) = (scrape.failed, scrape.late);
        let all = scrape.succeeded + failed + late;
        text.push(format!(
            "agent {}: of {all} scrapes {failed} failed, {late} were late; last: {error}",
            scrape.agent
        ));
    }
    text.extend(status.engine.limitations.iter().map(|line| format!("warning: {line}")));
    text.extend(status.engine.problems.iter().map(|line| format!("problem: {line}")));
    text.push(String::new());
    let mut pools = table(&["pool", "nodes ready/wanted", "min", "max", "node size", "price/hour"]);
    for pool in &status.pools {
        pools.add_row(vec![
            pool.name.clone(),
            format!("{} / {}", pool.ready, pool.target),
            pool.min.to_string(),
            pool.max.to_string(),
            format!("{} cores, {}", cores(pool.cpu), memory(pool.memory)),
            format!("{:.5}", pool.price_per_hour),
        ]);
    }
    text.push(pools.trim_fmt());
    text.push(String::new());
    text.push(workloads(&status.workloads));
    text.extend(scaling(&status.workloads));
    for waiting in &status.waiting {
        text.push(format!("\n{} waits: {}", waiting.task, waiting.reason));
        text.extend(waiting.nodes.iter().map(|(node, why)| format!("  {node} {why}")));
    }
    text.join("\n")
}

fn workloads(workloads: &[WorkloadDto]) -> String {
    let mut rows = table(&[
        "workload", "kind", "team", "state", "ready", "rev", "request", "used", "req/s", "p95", "address",
    ]);
    for workload in workloads {
        let used = match (workload.cpu_used, workload.memory_used) {
            (Some(cpu), Some(bytes)) => format!("{} cores, {}", cores(cpu), memory(bytes)),
            _ => "-".to_owned(),
        };
        let addresses: Vec<String> =
            workload.front_doors.values().map(|port| format!("127.0.0.1:{port}")).collect();
        let ready = match workload.wanted {
            Some(wanted) => format!("{}/{wanted}", workload.ready),
            None => workload.ready.to_string(),
        };
        rows.add_row(vec![
            workload.name.clone(),
            workload.kind.to_string(),
            or_dash(workload.team.clone(), |team| team),
            workload.state.clone(),
            ready,
            workload.revision.to_string(),
            format!("{} cores, {}", cores(workload.size.cpu_request), memory(workload.size.memory_request)),
            used,
            or_dash(workload.requests_per_second, |rate| format!("{rate:.1}")),
            or_dash(workload.latency_p95, |p95| format!("{:.0} ms", p95 * 1000.0)),
            if addresses.is_empty() { "-".to_owned() } else { addresses.join(" ") },
        ]);
    }
    let notes = workloads
        .iter()
        .flat_map(|workload| workload.notes.iter().map(|note| format!("{}: {note}", workload.name)));
    std::iter::once(rows.trim_fmt()).chain(notes).collect::<Vec<_>>().join("\n")
}

/// How the counts stand of services that follow the load.
fn scaling(workloads: &[WorkloadDto]) -> Option<String> {
    let mut rows = table(&["scales", "by", "bounds", "window", "starts in", "held", "rule"]);
    let mut any = false;
    for (name, scale) in workloads.iter().filter_map(|one| Some((&one.name, one.scale.as_ref()?))) {
        any = true;
        let starts = scale.startup_seconds.map(|seconds| match scale.startup_samples {
            Some(0) | None => format!("{seconds:.1} s (as before)"),
            Some(samples) => format!("{seconds:.1} s (of {samples})"),
        });
        rows.add_row(vec![
            name.clone(),
            scale.policy.clone(),
            format!("{} to {}", scale.min, scale.max),
            or_dash(scale.window.clone(), |window| window),
            or_dash(starts, |starts| starts),
            scale.held_requests.to_string(),
            scale.rule.clone(),
        ]);
    }
    any.then(|| format!("\n{}", rows.trim_fmt()))
}
