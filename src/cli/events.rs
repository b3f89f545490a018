//! `loadline events`: what happened, and what happens. Following goes on after a lost connection where
//! it stopped: each event has a number, none comes twice and none is left out.

use clap::Args;

use crate::api::answers::EventDto;
use crate::api::client::{Client, EventFilter};
use crate::cli::output::{DIM, Output, paint, plain, say, say_json, say_json_line, time};

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
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: usize,
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
    let filter = EventFilter {
        workload: args.workload.clone(),
        task: args.task.clone(),
        before: args.before,
        after: args.after,
    };
    let mut known = client.events(&filter, args.limit).await?;
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
async fn follow(client: &Client, output: Output, args: &EventsArgs, last: u64) -> anyhow::Result<()> {
    let mut events = client.follow_on(last);
    loop {
        let event = events.next().await?;
        if args.wants(&event) {
            show(output, &event)?;
        }
    }
}

/// The number of the newest event of all.
async fn newest(client: &Client) -> anyhow::Result<u64> {
    let newest = client.events(&EventFilter::default(), 1).await?;
    Ok(newest.first().map_or(0, |event| event.number))
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
