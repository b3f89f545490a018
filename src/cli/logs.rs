//! `loadline logs`: what the tasks of a workload print.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::LogDto;
use crate::cli::output::{Output, say_json_line, say_raw};

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
            let chunk = match positions.get(task) {
                Some(place) => client.log_after(task, stream, place).await?,
                None if first => client.log_tail(task, stream, args.tail).await?,
                None => client.log_after(task, stream, "").await?,
            };
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
        let task = client.task(name).await?;
        return Ok(vec![task.id]);
    }
    if first {
        // An unknown name is an error, not an empty log.
        client.workload(name).await?;
    }
    let live = client.tasks(Some(name), false, usize::MAX).await?;
    if !live.is_empty() || !first {
        return Ok(live.into_iter().filter(|task| task.started_at.is_some()).map(|task| task.id).collect());
    }
    let ended = client.tasks(Some(name), true, 1).await?;
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
