//! `loadline events`: what happened, and what happens. Following goes on after a lost connection where
//! it stopped: each event has a number, none comes twice and none is left out.

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;

use crate::api::answers::EventDto;
use crate::api::client::{Client, ClientError};
use crate::cli::output::{DIM, Output, paint, plain, say, say_error, say_json, say_json_line, time};
use crate::cli::query::Query;

/// After a lost connection it is tried again after this time, later after more, up to the second one.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// `loadline events`
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Go on printing what happens.
    #[arg(short, long, conflicts_with = "before")]
    follow: bool,
    /// About this workload only.
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// About this task only.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Those after this number, oldest first.
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// Those before this number.
    #[arg(long, value_name = "NUMBER", conflicts_with = "after")]
    before: Option<u64>,
    /// At most this many, to begin with where more follow.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

impl EventsArgs {
    /// Whether an event is wanted: streams tell them all.
    fn wants(&self, event: &EventDto) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        is(&self.workload, &event.workload) && is(&self.task, &event.task)
    }
}

pub(super) async fn run(client: &Client, output: Output, args: EventsArgs) -> anyhow::Result<()> {
    let head = if args.follow { newest(client).await? } else { 0 };
    let mut query = Query::default();
    query.add("workload", args.workload.as_deref());
    query.add("task", args.task.as_deref());
    query.add("after", args.after);
    query.add("before", args.before);
    query.add("limit", Some(args.limit));
    let mut known: Vec<EventDto> = client.get(&query.of("/v1/events")).await?;
    // The newest one stands last, as in a log.
    known.sort_by_key(|event| event.number);
    if output == Output::Json && !args.follow {
        return say_json(&known);
    }
    known.iter().try_for_each(|event| show(output, event))?;
    if !args.follow {
        return if known.is_empty() { Ok(say("nothing happened")?) } else { Ok(()) };
    }
    // What came between the two looks is among what was shown; with --after, more may follow that.
    let shown = known.last().map(|event| event.number);
    let last = if args.after.is_some() { shown.or(args.after) } else { shown.max(Some(head)) };
    follow(client, output, &args, last.unwrap_or(head)).await
}

/// Prints events from after `last` on, until what reads them goes away.
async fn follow(client: &Client, output: Output, args: &EventsArgs, mut last: u64) -> anyhow::Result<()> {
    let mut pause = RETRY_FIRST;
    let mut lost = false;
    loop {
        match client.events_after(last).await {
            Ok(mut events) => {
                if std::mem::take(&mut lost) {
                    say_error("connected again");
                }
                while let Some(event) = events.next().await {
                    pause = RETRY_FIRST;
                    // What was asked for again may begin with what is known.
                    if event.number > last && args.wants(&event) {
                        show(output, &event)?;
                    }
                    last = last.max(event.number);
                }
            }
            Err(error) if may_pass(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if !std::mem::replace(&mut lost, true) {
            say_error(&format!("connection to {} lost after event {last}; trying again", client.address()));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// The number of the newest event of all.
async fn newest(client: &Client) -> anyhow::Result<u64> {
    let newest: Vec<EventDto> = client.get("/v1/events?limit=1").await?;
    Ok(newest.first().map_or(0, |event| event.number))
}

/// Whether an error may be over at another time: an engine that restarts or is too busy.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(problem) => matches!(problem.status, 408 | 429 | 500..),
        _ => true,
    }
}

fn show(output: Output, event: &EventDto) -> anyhow::Result<()> {
    if output == Output::Json {
        return say_json_line(event);
    }
    let about = event.task.as_ref().or(event.workload.as_ref()).map_or("-", String::as_str);
    let head = paint(DIM, &format!("{:>6} {}", event.number, time(event.at)));
    let (kind, by, reason) = (event.kind.replace('_', " "), &event.by, plain(&event.reason));
    Ok(say(&format!("{head}  {about:16} {kind:18} {by}: {reason}"))?)
}
