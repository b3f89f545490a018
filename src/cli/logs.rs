//! `loadline logs`: what the tasks of a workload print.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::{LogDto, TaskDto, WorkloadDto};
use crate::cli::output::{Output, say_json_line, say_raw};
use crate::cli::query::named;

/// Between two looks for new output.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// `loadline logs`
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// A workload, or a task such as `web.3`.
    name: String,
    /// Go on printing what comes, from new tasks as well.
    #[arg(short, long)]
    follow: bool,
    /// Lines of each task to begin with.
    #[arg(short = 'n', long, default_value_t = 20)]
    tail: usize,
    /// Standard error instead of standard output.
    #[arg(long)]
    stderr: bool,
}

pub(super) async fn run(client: &Client, output: Output, args: LogsArgs) -> anyhow::Result<()> {
    let stream = if args.stderr { "stderr" } else { "stdout" };
    let mut positions: BTreeMap<String, String> = BTreeMap::new();
    let mut first = true;
    loop {
        let tasks = tasks(client, &args.name, first).await?;
        let prefix = tasks.len() > 1;
        for task in &tasks {
            let from = match positions.get(task) {
                Some(place) => format!("after={place}"),
                None if first => format!("tail={}", args.tail),
                None => "after=".to_owned(),
            };
            let chunk: LogDto = client.get(&format!("/v1/tasks/{task}/logs?stream={stream}&{from}")).await?;
            print(output, task, &chunk, prefix)?;
            positions.insert(task.clone(), chunk.next);
        }
        if !args.follow {
            return Ok(());
        }
        first = false;
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

/// The tasks meant: one by its id, or those of a workload that live; at first the newest one that ended
/// where none lives, since that is what one wants to see after a failure.
async fn tasks(client: &Client, name: &str, first: bool) -> anyhow::Result<Vec<String>> {
    if name.contains('.') {
        let task: TaskDto = client.get(&named("tasks", name, "")).await?;
        return Ok(vec![task.id]);
    }
    if first {
        // An unknown name is an error, not an empty log.
        let _: WorkloadDto = client.get(&named("workloads", name, "")).await?;
    }
    let live: Vec<TaskDto> = client.get_all(&format!("/v1/tasks?workload={name}")).await?;
    if !live.is_empty() || !first {
        return Ok(live.into_iter().filter(|task| task.started_at.is_some()).map(|task| task.id).collect());
    }
    let ended: Vec<TaskDto> = client.get(&format!("/v1/tasks?workload={name}&ended=true&limit=1")).await?;
    Ok(ended.into_iter().map(|task| task.id).collect())
}

fn print(output: Output, task: &str, chunk: &LogDto, prefix: bool) -> anyhow::Result<()> {
    match output {
        Output::Json if chunk.text.is_empty() => Ok(()),
        Output::Json => say_json_line(&BTreeMap::from([("task", task), ("text", &chunk.text)])),
        Output::Table if prefix => {
            let lines = chunk.text.lines().map(|line| format!("{task} | {line}\n"));
            Ok(say_raw(&lines.collect::<String>())?)
        }
        Output::Table => Ok(say_raw(&chunk.text)?),
    }
}
