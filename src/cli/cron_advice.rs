//! `loadline cron --advise`: which schedules, moved by minutes, need fewer nodes.

use crate::api::client::Client;
use crate::cli::output::{Output, or_dash, say, say_json, say_table, table, time};
use crate::domain::cron_advice::CronAdvice;

pub(super) async fn run(client: &Client, output: Output, minutes: u32) -> anyhow::Result<()> {
    let found = client.cron_advice(minutes).await?;
    if output == Output::Json {
        return say_json(&found);
    }
    let advice = found.advice;
    for line in words(&advice) {
        say(&line)?;
    }
    if advice.shifts.is_empty() {
        return Ok(());
    }
    let mut rows = table(&["job", "schedule", "move", "becomes", "saves a day"]);
    for shift in &advice.shifts {
        let way = if shift.minutes < 0 { "earlier" } else { "later" };
        rows.add_row(vec![
            shift.workload.to_string(),
            shift.schedule.clone(),
            format!("{} min {way}", shift.minutes.abs()),
            or_dash(shift.becomes.clone(), |becomes| becomes),
            shift.saves.to_string(),
        ]);
    }
    say_table(&rows)
}

/// What the moves come to.
fn words(advice: &CronAdvice) -> Vec<String> {
    let most = advice.most.as_secs() / 60;
    let mut words = vec![format!(
        "{} cron jobs are due in the day from {}; at the peak, {}, services and jobs need {} nodes",
        advice.jobs,
        time(advice.from),
        time(advice.peak_at),
        advice.peak_before,
    )];
    words.push(if advice.shifts.is_empty() {
        format!("no move of up to {most} minutes makes it cheaper ({} a day)", advice.cost_before)
    } else {
        format!(
            "moved by up to {most} minutes they need {}, and nodes cost {} a day in place of {}",
            advice.peak_after, advice.cost_after, advice.cost_before
        )
    });
    if !advice.unknown.is_empty() {
        let names: Vec<String> = advice.unknown.iter().map(ToString::to_string).collect();
        words.push(format!("not known how long they take, a minute is assumed: {}", names.join(", ")));
    }
    words
}
