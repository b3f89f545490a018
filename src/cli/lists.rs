//! `loadline tasks` and `loadline nodes`.

use clap::{Args, Subcommand};

use crate::api::client::Client;
use crate::api::node_answers::NodeOutlookDto;
use crate::cli::change::{Message, say_changed};
use crate::cli::output::{
    Output, age, cores, first_line, memory, now, or_dash, say, say_json, say_table, state_cell, table,
};

/// Rows of a listing with tasks that ended.
const ROWS_MAX: usize = 1_000;

/// `loadline tasks`
#[derive(Debug, Args)]
pub(super) struct TasksArgs {
    /// Tasks of this workload only.
    workload: Option<String>,
    /// Tasks that ended as well.
    #[arg(short, long)]
    all: bool,
}

/// `loadline nodes`
#[derive(Debug, Args)]
pub(super) struct NodesArgs {
    #[command(subcommand)]
    action: Option<NodeAction>,
}

#[derive(Debug, Subcommand)]
enum NodeAction {
    /// Fail a node with everything on it, as a machine would, to see what the engine makes of it.
    Fail {
        /// The node.
        name: String,
        #[command(flatten)]
        why: Message,
    },
}

pub(super) async fn tasks(client: &Client, output: Output, args: TasksArgs) -> anyhow::Result<()> {
    // What ended may be more than anybody reads: its newest ones are enough.
    let most = if args.all { ROWS_MAX } else { usize::MAX };
    let tasks = client.tasks(args.workload.as_deref(), args.all, most).await?;
    if output == Output::Json {
        return say_json(&tasks);
    }
    let now = now();
    let mut rows = table(&["task", "state", "since", "node", "rev", "cpu", "memory", "reason"]);
    for task in &tasks {
        let cpu = or_dash(task.cpu_used, cores);
        let used = or_dash(task.memory_used, memory);
        let reason = task.waiting.first().unwrap_or(&task.reason);
        rows.add_row(vec![
            (&task.id).into(),
            state_cell(&task.state.to_string()),
            age(task.state_since, now).into(),
            or_dash(task.node.clone(), |node| node).into(),
            task.revision.into(),
            format!("{cpu} of {}", cores(task.size.cpu_request)).into(),
            format!("{used} of {}", memory(task.size.memory_request)).into(),
            first_line(reason).into(),
        ]);
    }
    say_table(&rows)?;
    for task in tasks.iter().filter(|task| task.waiting.len() > 1) {
        say(&format!("\n{} waits:", task.id))?;
        task.waiting.iter().skip(1).try_for_each(|line| say(&format!("  {line}")))?;
    }
    Ok(())
}

pub(super) async fn nodes(client: &Client, output: Output, args: NodesArgs) -> anyhow::Result<()> {
    if let Some(NodeAction::Fail { name, why }) = args.action {
        let changed = client.fail_node(&name, &why.message).await?;
        return say_changed(output, &changed);
    }
    let nodes = client.nodes().await?;
    if output == Output::Json {
        return say_json(&nodes);
    }
    let now = now();
    let mut rows = table(&[
        "node",
        "pool",
        "state",
        "since",
        "tasks",
        "cpu used/requested/size",
        "memory used/requested/size",
        "outlook",
    ]);
    for node in &nodes {
        rows.add_row(vec![
            (&node.name).into(),
            (&node.pool).into(),
            state_cell(&node.state.to_string()),
            age(node.created_at, now).into(),
            node.tasks.into(),
            format!("{} / {} / {}", cores(node.cpu_used), cores(node.cpu_requested), cores(node.cpu)).into(),
            format!(
                "{} / {} / {}",
                memory(node.memory_used),
                memory(node.memory_requested),
                memory(node.memory)
            )
            .into(),
            or_dash(node.outlook.as_ref(), outlook).into(),
        ]);
    }
    say_table(&rows)
}

/// What is to become of a node, and the first thing that keeps it.
fn outlook(outlook: &NodeOutlookDto) -> String {
    match outlook.blocks.first() {
        Some(block) => format!("{}: {}", outlook.prospect, block.reason),
        None => outlook.prospect.clone(),
    }
}
