//! What the commands that change something have in common: a message for the record, a duration, and
//! how they tell what changed.

use clap::Args;
use jiff::SignedDuration;

use crate::api::dto::Changed;
use crate::cli::output::{Output, say, say_json};
use crate::config::read_duration;

/// Why something is done.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Message {
    /// Why, for the record.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(super) message: String,
}

/// Why something is done, and for how long.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Lasting {
    /// Undo it by itself after this time, for example 90s or 2h30m.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(super) lasting: Option<SignedDuration>,
    /// Why, for the record.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(super) message: String,
}

impl Lasting {
    /// The duration as the API takes it.
    pub(super) fn seconds(&self) -> Option<u64> {
        self.lasting.map(whole_seconds)
    }
}

/// A duration in seconds, a begun one counted as whole.
pub(super) fn whole_seconds(duration: SignedDuration) -> u64 {
    u64::try_from(duration.as_millis().max(0)).unwrap_or(u64::MAX).div_ceil(1_000)
}

/// Reads a duration of more than nothing from an argument.
pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let read = read_duration(text).filter(SignedDuration::is_positive);
    read.ok_or_else(|| {
        let seconds = text.parse::<u32>().ok().filter(|number| *number > 0);
        let hint = seconds.map(|number| format!(", perhaps {number}s")).unwrap_or_default();
        format!("expected a duration such as 90s, 2h30m or 1d{hint}")
    })
}

/// Prints what a call changed.
pub(super) fn say_changed(output: Output, changed: &Changed) -> anyhow::Result<()> {
    match output {
        Output::Json => say_json(changed),
        Output::Table => say_changes(&changed.changes),
    }
}

/// Prints changes, a line each.
pub(super) fn say_changes(changes: &[String]) -> anyhow::Result<()> {
    if changes.is_empty() {
        say("nothing to change")?;
    }
    for line in changes {
        say(line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let seconds = |text| duration(text).map(whole_seconds);
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2h30m"), Ok(9_000));
        assert_eq!(seconds("1d"), Ok(86_400));
        assert_eq!(seconds("1500ms"), Ok(2));
        assert!(duration("90").is_err_and(|error| error.ends_with("perhaps 90s")));
        for bad in ["0s", "-5s", "1 month", "soon", ""] {
            assert!(duration(bad).is_err(), "{bad} was accepted");
        }
    }
}
