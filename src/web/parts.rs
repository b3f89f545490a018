//! Small things that pages are made of: times, sizes, money, states, bars, empty states. Values in, markup
//! out.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use crate::api::dto::SizeDto;
use crate::domain::quantity::Bytes;
use crate::web::visitor::Visitor;

/// A path of a page or of the API that ends with a name.
pub(super) fn path(before: &str, name: &str) -> String {
    format!("{before}/{}", crate::api::client::encoded(name))
}

/// An instant, in the reader's zone: the time of day, and the day where it is not today's.
pub(super) fn time(visitor: &Visitor, at: Timestamp) -> Markup {
    let (zoned, now) = (at.to_zoned(visitor.zone.clone()), visitor.now.to_zoned(visitor.zone.clone()));
    let pattern = if zoned.date() == now.date() {
        "%H:%M:%S"
    } else if zoned.year() == now.year() {
        "%-d %b %H:%M"
    } else {
        "%-d %b %Y %H:%M"
    };
    let whole = zoned.strftime("%A, %-d %B %Y, %H:%M:%S %Z (UTC%:z)").to_string();
    html! { time datetime=(format!("{at:.0}")) title=(whole) { (zoned.strftime(pattern)) } }
}

/// How long ago, or until when: to one unit.
pub(super) fn away(visitor: &Visitor, at: Timestamp) -> String {
    let passed = visitor.now.duration_since(at);
    if passed.is_negative() {
        format!("in {}", lasting(passed.abs()))
    } else {
        format!("{} ago", lasting(passed))
    }
}

/// A span of time, to one unit.
pub(super) fn lasting(span: SignedDuration) -> String {
    let seconds = span.as_secs().abs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Cores: `0.25`, `12`.
pub(super) fn cores(cores: f64) -> String {
    let digits = if cores >= 100.0 {
        0
    } else if cores >= 10.0 {
        1
    } else if cores >= 0.1 {
        2
    } else {
        3
    };
    let text = format!("{cores:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text.is_empty() || text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Cores with their unit.
pub(super) fn in_cores(value: f64) -> String {
    format!("{} cores", cores(value))
}

/// Bytes: `256.0 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    Bytes::new(bytes).to_string()
}

/// The same of a number that is not whole.
pub(super) fn in_bytes(value: f64) -> String {
    bytes(value.max(0.0) as u64)
}

/// Money in the currency of the prices.
pub(super) fn money(units: f64) -> String {
    // What rounds to nothing has no sign.
    let units = if units.abs() < 0.000_05 { 0.0 } else { units };
    let size = units.abs();
    let digits = if size >= 1000.0 {
        0
    } else if size >= 0.1 || size == 0.0 {
        2
    } else {
        4
    };
    format!("{units:.digits$}")
}

/// A size in a line: request, and the limit where it is another.
pub(super) fn size(size: &SizeDto) -> String {
    let mut text = format!("{} cores, {}", cores(size.cpu_request), bytes(size.memory_request));
    if size.memory_limit != size.memory_request {
        let _ = write!(text, " (limit {})", bytes(size.memory_limit));
    }
    if let Some(limit) = size.cpu_limit {
        let _ = write!(text, ", at most {} cores", cores(limit));
    }
    text
}

/// How a state looks: good, moving, bad or at rest.
fn tone(state: &str) -> &'static str {
    match state {
        "healthy" | "ready" | "running" | "succeeded" | "applied" | "finished" | "done" => "good",
        "degraded" | "crash loop" | "failed" | "lost" | "missed" | "failing" => "bad",
        "waiting" | "pending" | "scheduled" | "awaiting approval" | "rolling out" | "starting"
        | "launching" | "joining" | "draining" | "retiring" | "stopping" | "active" | "removing"
        | "deleting" => "moving",
        _ => "rest",
    }
}

/// A state as a word with a colour.
pub(super) fn state(word: &str) -> Markup {
    html! { span class=(format!("state {}", tone(word))) { (word) } }
}

/// Values on one bar.
pub(super) struct Bar {
    /// All that there is.
    pub(super) whole: f64,
    /// What is reserved.
    pub(super) requested: f64,
    /// What is used.
    pub(super) used: f64,
    /// What would be right.
    pub(super) recommended: Option<f64>,
}

/// Reserved and used on one bar, and a mark where the advice is.
pub(super) fn bar(bar: &Bar, words: &str) -> Markup {
    let whole = bar.whole.max(bar.used).max(bar.requested).max(f64::MIN_POSITIVE);
    let share = |value: f64| format!("{:.1}", (value / whole * 100.0).clamp(0.0, 100.0));
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=(words) {
            title { (words) }
            rect.whole x="0" y="0" width="100" height="8" {}
            rect.requested x="0" y="0" width=(share(bar.requested)) height="8" {}
            rect.used x="0" y="2" width=(share(bar.used)) height="4" {}
            @if let Some(recommended) = bar.recommended {
                rect.recommended x=(share((recommended - whole * 0.006).max(0.0))) y="0" width="1.2" height="8" {}
            }
        }
    }
}

/// A figure with its name.
pub(super) fn figure(name: &str, value: &str, more: &str) -> Markup {
    html! { div.figure { span.name { (name) } b { (value) } @if !more.is_empty() { small { (more) } } } }
}

/// What stands where nothing is: what to do first.
pub(super) fn empty(what: &str, first: &Markup) -> Markup {
    html! { div.empty { p { b { (what) } } (first) } }
}

/// A command to type, as an example.
pub(super) fn command(text: &str) -> Markup {
    html! { pre.command { code { (text) } } }
}

/// Links to the next and the first page of a list.
pub(super) fn pager(visitor: &Visitor, next: Option<&str>) -> Markup {
    let here = visitor.path.split('?').next().unwrap_or("/");
    let moved = visitor.path.contains("cursor=") || visitor.path.contains("before=");
    html! {
        @if next.is_some() || moved {
            p.pager {
                @if moved { a href=(here) { "Newest" } " " }
                @if let Some(next) = next { a rel="next" href=(next) { "Older" } }
            }
        }
    }
}

/// A word that follows a number.
pub(super) fn counted(number: usize, one: &str, more: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {more}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 0.05, 0.25, 1.0, 12.34, 250.4].map(cores),
            ["0", "0.05", "0.25", "1", "12.3", "250"]
        );
        assert_eq!([0.0, 0.0045, 3.1, 12_345.6].map(money), ["0.00", "0.0045", "3.10", "12346"]);
        let spans = [5, 300, 10_000, 400_000].map(|seconds| lasting(SignedDuration::from_secs(seconds)));
        assert_eq!(spans, ["5 s", "5 min", "2 h", "4 days"]);
    }

    #[test]
    fn names_in_paths_and_words_in_bars_are_text() {
        assert_eq!(path("/workloads", "a/../b"), "/workloads/a%2F..%2Fb");
        let bar = Bar { whole: 4.0, requested: 2.0, used: 9.0, recommended: Some(1.0) };
        let drawn = super::bar(&bar, "<b>").into_string();
        assert!(drawn.contains("&lt;b&gt;") && !drawn.contains("<b>"), "{drawn}");
        assert!(drawn.contains("width=\"100.0\" height=\"4\""), "{drawn}");
    }
}
