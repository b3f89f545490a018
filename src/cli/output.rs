//! How commands print: tables for people, JSON for programs. The only place that writes to the
//! terminal. Colours come out only where a terminal shows them, or `CLICOLOR_FORCE` asks for them;
//! `NO_COLOR` turns them off.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli::exit::{Exit, ended};
use crate::domain::quantity::Bytes;

/// What is new or well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What goes or is wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// What is on its way, or wants a look.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
/// What matters less.
pub(super) const DIM: Style = Style::new().dimmed();

/// For whom a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// People.
    Table,
    /// Programs.
    Json,
}

/// For whom a command prints, and pages where it makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables for people.
    Table,
    /// JSON for programs.
    Json,
    /// A page with charts: `backtest` and `simulate` alone.
    Html,
}

impl Format {
    /// The output of a command that makes no page.
    pub(super) fn plain(self) -> anyhow::Result<Output> {
        match self {
            Self::Table => Ok(Output::Table),
            Self::Json => Ok(Output::Json),
            Self::Html => Err(ended(
                Exit::BadInput,
                "only `backtest` and `simulate` have --output html; others have table and json",
            )),
        }
    }
}

/// Writes a line to standard output.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes text to standard output as it is, with whatever colours a task printed.
pub(super) fn say_raw(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to standard error. Where that cannot be written there is nobody left to tell.
pub(super) fn say_error(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Asks a question that is answered by yes or no; anything but yes is no.
pub(super) fn confirmed(question: &str) -> io::Result<bool> {
    let mut out = anstream::stderr().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Whether a person can be asked: both ends are a terminal.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Writes a value as JSON.
pub(super) fn say_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    Ok(say_raw(&format!("{}\n", serde_json::to_string_pretty(value)?))?)
}

/// Writes a value as JSON in one line, for streams of them.
pub(super) fn say_json_line<T: Serialize>(value: &T) -> anyhow::Result<()> {
    Ok(say_raw(&format!("{}\n", serde_json::to_string(value)?))?)
}

/// Writes a listing: JSON for programs; for people `rows` as a table, or `none` where there are none.
pub(super) fn say_listing<T: Serialize>(
    output: Output,
    rows: &[T],
    none: &str,
    shown: impl FnOnce() -> Table,
) -> anyhow::Result<()> {
    match output {
        Output::Json => say_json(&rows),
        Output::Table if rows.is_empty() => Ok(say(none)?),
        Output::Table => say_table(&shown()),
    }
}

/// Text in a style.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Text from elsewhere without the characters that would steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// The first line of a text from elsewhere.
pub(super) fn first_line(text: &str) -> String {
    plain(text.lines().next().unwrap_or_default())
}

/// A cell with a state in a word, in the colour of what it means.
pub(super) fn state_cell(state: &str) -> Cell {
    let cell = Cell::new(state);
    match state {
        "healthy" | "passed" | "ready" | "running" | "succeeded" | "done" => cell.fg(Color::DarkGreen),
        "degraded" | "crash loop" | "failed" | "failing" | "lost" | "rolled back" | "missed" | "frozen" => {
            cell.fg(Color::DarkRed)
        }
        "starting" | "rolling out" | "waiting" | "pending" | "paused" | "draining" | "stopping"
        | "in progress" | "active" => cell.fg(Color::DarkYellow),
        _ => cell,
    }
}

/// A table with a header and no borders, that fits the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    // What cannot show colours gets them taken out on the way.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).enforce_styling();
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table
}

/// A table's lines without the space that pads them.
pub(super) fn say_table(table: &Table) -> anyhow::Result<()> {
    Ok(say(&table.trim_fmt())?)
}

/// Characters of a line where neither the environment nor a terminal says how many.
const WIDTH_DEFAULT: usize = 120;

/// Characters of a line: `COLUMNS` where it is set, else the terminal's.
pub(super) fn line_width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let shown = || crossterm::terminal::size().ok().filter(|_| io::stdout().is_terminal());
    told.or_else(|| shown().map(|(width, _)| usize::from(width)))
        .filter(|width| *width > 0)
        .unwrap_or(WIDTH_DEFAULT)
}

/// A text in lines of at most `width` characters, cut between words; a longer word has a line of its own.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_does_not_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\tc"), "a\u{fffd}[2Jb\u{fffd}\n\tc");
        assert_eq!(first_line("one\ntwo"), "one");
    }
}
