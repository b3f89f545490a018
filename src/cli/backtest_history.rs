//! What the running engine recorded, as a trace to replay.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use jiff::{SignedDuration, Timestamp};

use crate::analytics::decode_trace;
use crate::api::client::Client;
use crate::cli::output::{duration, now, time};
use crate::domain::trace::TraceRow;
use crate::replay::grid::Trace;

/// Seconds from one row of a task to the next, unless asked otherwise.
const STEP_DEFAULT: i64 = 300;
/// The first day of a workload is scored apart, so that less than this leaves nothing to compare.
const NEEDED: SignedDuration = SignedDuration::from_hours(24);
/// What the trace is called.
const NAME: &str = "recorded by the engine";

/// What the engine recorded, or why it is too little.
pub(super) enum History {
    /// Enough to score something.
    Enough(Box<Trace>),
    /// Too little; in words, with what there is.
    TooLittle(String),
}

/// Asks the engine for its recorded usage: for everything, or no further back than `since`.
pub(super) async fn recorded(
    client: &Client,
    since: Option<SignedDuration>,
    step: Option<i64>,
) -> anyhow::Result<History> {
    let step = step.unwrap_or(STEP_DEFAULT);
    let from = since.and_then(|since| now().checked_sub(since).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    let spinner = ProgressBar::new_spinner().with_message("collecting what was recorded");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let content = client.trace("parquet", u32::try_from(step)?, Some(from), None).await;
    spinner.finish_and_clear();
    let rows = decode_trace(Path::new(NAME), content?)?;
    if let Some(why) = too_little(&rows, step, now().as_second()) {
        return Ok(History::TooLittle(why));
    }
    let trace = Trace::new(NAME, &rows, Some(step)).context(NAME)?;
    Ok(History::Enough(Box::new(trace)))
}

/// Why nothing can be compared on rows of this step, if so.
fn too_little(rows: &[TraceRow], step: i64, now: i64) -> Option<String> {
    let rule = "the first 24 h of each workload are its cold start, and nothing after them was recorded yet";
    let (Some(first), Some(last)) =
        (rows.iter().map(|row| row.time).min(), rows.iter().map(|row| row.time).max())
    else {
        return Some("the engine has recorded no usage in that time".to_owned());
    };
    let oldest = longest(rows) + step;
    if oldest > NEEDED.as_secs() {
        return None;
    }
    // The step that is under way ends in the future.
    let ahead = (last - now).clamp(0, step);
    let workloads: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.workload.as_str()).collect();
    let at = |seconds: i64| Timestamp::from_second(seconds).map_or_else(|_| "-".to_owned(), time);
    Some(format!(
        "too little history: {rule}. There is {} of {} workload{}, from {} to {}",
        duration(SignedDuration::from_secs(oldest - ahead)),
        workloads.len(),
        if workloads.len() == 1 { "" } else { "s" },
        at(first - step),
        at(last - ahead)
    ))
}

/// Seconds from the first to the last row of the workload that has most of them.
fn longest(rows: &[TraceRow]) -> i64 {
    let mut lives: std::collections::BTreeMap<&str, (i64, i64)> = std::collections::BTreeMap::new();
    for row in rows {
        let life = lives.entry(&row.workload).or_insert((row.time, row.time));
        *life = (life.0.min(row.time), life.1.max(row.time));
    }
    lives.values().map(|(first, last)| last - first).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: &str, time: i64) -> TraceRow {
        TraceRow {
            workload: workload.to_owned(),
            task: format!("{workload}.1"),
            time,
            cpu: Some(0.1),
            memory: Some(1e8),
            cpu_request: None,
            memory_request: None,
            load: None,
        }
    }

    #[test]
    fn what_there_is_is_said_where_it_is_too_little() {
        assert!(too_little(&[], 300, 0).is_some_and(|why| why.contains("no usage")));
        let short: Vec<TraceRow> = (0..12).map(|step| row("web", 1_000_000_200 + step * 300)).collect();
        let why = too_little(&short, 300, 1_000_003_500).expect("too little");
        assert!(why.contains("There is 1h00m of 1 workload, from 2001-09-09"), "{why}");
        // Two workloads that ran for 20 h each, one after the other, are both still cold.
        let turns = [row("a", 0), row("a", 72_000), row("b", 72_000), row("b", 144_000)];
        assert!(too_little(&turns, 300, 1_000_000).is_some());
        assert_eq!(too_little(&[row("a", 0), row("a", 90_000)], 300, 90_000), None);
    }
}
