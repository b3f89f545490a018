//! `loadline recommend NAME... --apply`, `--dismiss` and `--schedule`: what is made of advice, of several workloads at a
//! time.

use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::api::advice::ScheduleRequest;
use crate::api::client::Client;
use crate::api::dto::{Changed, RecommendationDto};
use crate::api::requests::LastingRequest;
use crate::cli::change::{duration, say_changed, whole_seconds};
use crate::cli::output::Output;

/// The word for the next rollout in place of an instant.
const NEXT_ROLLOUT: &str = "next-rollout";

/// What is to be made of advice.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ActArgs {
    /// Apply the advice for these workloads now.
    #[arg(long, group = "act", requires = "names")]
    apply: bool,
    /// Dismiss it, for a month or as long as `--for` says; `loadline cancel dismiss/NAME` takes that back.
    #[arg(long, group = "act", requires = "names")]
    dismiss: bool,
    /// Apply it at this time (such as 2026-11-22T02:00, or with a zone) or with the `next-rollout`; `loadline cancel
    /// schedule/NAME` takes that back.
    #[arg(long, group = "act", requires = "names", value_name = "TIME")]
    schedule: Option<String>,
    /// Show it again after this time, for example 14d.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, requires = "dismiss")]
    lasting: Option<SignedDuration>,
    /// Why, for the record.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT", requires = "act")]
    message: String,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Now.
    Apply(String),
    /// Not.
    Dismiss(LastingRequest),
    /// Later.
    Schedule(ScheduleRequest),
}

impl ActArgs {
    /// What is asked for, if anything is.
    pub(super) fn asked(&self) -> anyhow::Result<Option<Act>> {
        let message = self.message.clone();
        Ok(match &self.schedule {
            Some(time) if time == NEXT_ROLLOUT => {
                Some(Act::Schedule(ScheduleRequest { at: None, next_rollout: true, message }))
            }
            Some(time) => {
                let at = Some(instant(time, &TimeZone::system())?.to_string());
                Some(Act::Schedule(ScheduleRequest { at, next_rollout: false, message }))
            }
            None if self.apply => Some(Act::Apply(message)),
            None if self.dismiss => {
                let for_seconds = self.lasting.map(whole_seconds);
                Some(Act::Dismiss(LastingRequest { message, for_seconds }))
            }
            None => None,
        })
    }
}

/// An instant; without a zone it is by the clock on this wall.
fn instant(text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let civil = text.parse::<jiff::civil::DateTime>();
    civil.ok().and_then(|civil| zone.to_timestamp(civil).ok()).ok_or_else(|| {
        anyhow::anyhow!(
            "`{text}` is no time: expected 2026-11-22T02:00, 2026-11-22T02:00:00Z or `{NEXT_ROLLOUT}`"
        )
    })
}

/// Does it for each workload, and tells what changed of all of them. What was done before one is refused stays.
pub(super) async fn run(client: &Client, output: Output, names: &[String], act: Act) -> anyhow::Result<()> {
    let mut all = Changed::default();
    for name in names {
        let changed = match &act {
            Act::Apply(message) => client.apply_advice(name, message).await,
            Act::Dismiss(request) => client.dismiss_advice(name, request).await,
            Act::Schedule(request) => client.schedule_advice(name, request).await,
        };
        match changed {
            Ok(changed) => all.changes.extend(changed.changes),
            Err(error) => {
                if !all.changes.is_empty() {
                    say_changed(output, &all)?;
                }
                return Err(error.into());
            }
        }
    }
    say_changed(output, &all)
}

/// What was made of advice, in words.
pub(super) fn words(row: &RecommendationDto) -> Vec<String> {
    let told = |by: &str, message: &str| {
        if message.is_empty() { format!("by {by}") } else { format!("by {by}: {message}") }
    };
    let dismissed = row.dismissed.as_ref().map(|act| {
        let until = act.until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
        format!("dismissed{until} {}", told(&act.by, &act.message))
    });
    let scheduled = row.scheduled.as_ref().map(|act| {
        let when = act.due.map_or_else(|| "with the next rollout".to_owned(), |at| format!("at {at:.0}"));
        format!("applied {when}, {}", told(&act.by, &act.message))
    });
    dismissed.into_iter().chain(scheduled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_by_the_wall_unless_they_name_a_zone() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let read = |text: &str| instant(text, &berlin).map(|at| at.to_string());
        assert_eq!(read("2026-11-22T02:00").expect("a time"), "2026-11-22T01:00:00Z");
        assert_eq!(read("2026-11-22T02:00:00Z").expect("a time"), "2026-11-22T02:00:00Z");
        assert!(read("tonight").expect_err("no time").to_string().contains("next-rollout"));
    }
}
