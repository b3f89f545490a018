//! How commands print: tables for people, JSON for programs. The only place that writes to the
//! terminal.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::domain::quantity::Bytes;

/// For whom a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// People.
    Table,
    /// Programs.
    Json,
}

/// Writes a line to standard output.
pub(super) fn say(text: &str) {
    // A reader that is gone, or a full disk behind it, ends no engine.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes text to standard output as it is.
pub(super) fn say_raw(text: &str) {
    let mut output = std::io::stdout();
    let _ = write!(output, "{text}").and_then(|()| output.flush());
}

/// Writes a line to standard error.
pub(super) fn say_error(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes a value as JSON.
pub(super) fn say_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    say(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A table with a header and no borders, that fits the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table
}

/// A table's lines without the space that pads them.
pub(super) fn say_table(table: &Table) {
    say(&table.trim_fmt());
}

/// An amount of memory.
pub(super) fn memory(bytes: u64) -> String {
    Bytes::new(bytes).to_string()
}

/// Cores with as many digits as matter.
pub(super) fn cores(cores: f64) -> String {
    if cores >= 10.0 { format!("{cores:.1}") } else { format!("{cores:.3}") }
}

/// A value, or a dash where there is none.
pub(super) fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// How long ago something was, or how far ahead it lies.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    let span = now.duration_since(at);
    if span.is_negative() { format!("in {}", duration(-span)) } else { duration(span) }
}

/// A duration in its two largest units.
pub(super) fn duration(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// An instant in the reader's time zone, which is shown.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Now, as the reader's clock has it.
#[expect(clippy::disallowed_methods, reason = "an edge: ages are shown as of the reader's clock")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
