//! Gathers what a bill is made from: the record of nodes, what tasks took of them (`past`), bills that were
//! imported, decisions. Not here: how it is split (`accounting::bill`), how it is shown.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::accounting::bill::charge::Charge;
use crate::accounting::bill::nodes::NodeBook;
use crate::accounting::bill::report::Frame;
use crate::accounting::bill::savings::{Saving, SizeStep, savings, steps};
use crate::accounting::bill::statement::{Detail, Fleet, Statement};
use crate::api::ApiState;
use crate::api::dto::Problem;
use crate::api::past::Past;
use crate::domain::decision::{Decision, DecisionId, DecisionKind};
use crate::domain::history_book::day_of;
use crate::domain::quantity::Resources;
use crate::domain::workload::WorkloadName;
use crate::ports::control::View;
use crate::ports::store::{EventQuery, StoreError};

/// Rows that are read at a time.
const PAGE: usize = 5_000;
/// A forecast goes on like this much of the time before.
const RECENT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A span of time.
pub(super) type Span = (Timestamp, Timestamp);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) window: Span,
    pub(super) detail: Detail,
    /// Whether tasks of a workload are told apart.
    pub(super) tasks: bool,
}

/// What a report is made of.
pub(super) struct Gathered {
    pub(super) frame: Frame,
    pub(super) statement: Statement,
    pub(super) savings: Vec<Saving>,
}

/// The month of UTC that a text such as `2026-11` names.
pub(super) fn month(text: &str) -> Result<Span, Problem> {
    let bad = || Problem::bad_request(format!("`month` is `{text}`, expected one such as 2026-11"));
    let first: Date = format!("{text}-01").parse().map_err(|_| bad())?;
    if text.len() != 7 {
        return Err(bad());
    }
    span_of(first).ok_or_else(bad)
}

/// The month of UTC that an instant is in.
pub(super) fn month_at(at: Timestamp) -> Span {
    span_of(at.to_zoned(TimeZone::UTC).date()).unwrap_or((at, at))
}

fn span_of(date: Date) -> Option<Span> {
    let start = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    Some((start(date.first_of_month())?, start(date.last_of_month().tomorrow().ok()?)?))
}

/// The document that an imported bill is kept under.
pub(super) fn bill_document(month: Span) -> String {
    format!("bill/{}", month.0.to_zoned(TimeZone::UTC).strftime("%Y-%m"))
}

/// The bill that was imported for a month, if one was.
pub(super) fn imported(api: &ApiState, month: Span) -> Result<Option<Vec<Charge>>, Problem> {
    let Some(content) = api.events.document(&bill_document(month))? else { return Ok(None) };
    let lines: Vec<Charge> = serde_json::from_slice(&content)
        .map_err(|error| Problem::internal(format!("the imported bill cannot be read: {error}")))?;
    // A bill that was taken back is kept as one without lines.
    Ok((!lines.is_empty()).then_some(lines))
}

/// The lives of nodes up to now.
pub(super) fn node_book(api: &ApiState, view: &View, now: Timestamp) -> Result<NodeBook, Problem> {
    let kept = api.events.document(NodeBook::DOCUMENT)?;
    let kept = kept.and_then(|content| serde_json::from_slice(&content).ok());
    let mut book = kept.unwrap_or_else(|| NodeBook::new(api.prices));
    book.catch_up(|after| {
        let query = EventQuery { after: Some(after), limit: PAGE, ..EventQuery::default() };
        let changes = api.events.events(&query)?;
        Ok::<_, StoreError>(changes.into_iter().map(|change| (change.number, change.recorded)).collect())
    })?;
    book.reconcile(&view.world, api.prices, now);
    Ok(book)
}

/// Gathers everything for a window.
pub(super) fn gather(api: &ApiState, view: &View, asked: Asked, now: Timestamp) -> Result<Gathered, Problem> {
    let (from, to) = asked.window;
    let until = to.min(now).max(from);
    let book = node_book(api, view, now)?;
    // Before the first node there was nothing to go on like.
    let first = book.lives().iter().map(|life| life.from).min().unwrap_or(from).min(until);
    let recent_from = hour_of(until.checked_sub(RECENT).unwrap_or(from)).max(from).max(first);
    let steps = size_steps(api, &book)?;
    let watched: BTreeSet<WorkloadName> = steps.iter().map(|step| step.workload.clone()).collect();
    let mut statement = Statement::new(asked.detail, recent_from, watched);
    let mut past = Past::new(api, view, &book, asked.tasks)?;
    add_days(api, (from, until), (&book, &mut past), &mut statement)?;
    let savings = savings((from, until), steps, &statement, book.base());
    let (sampled_from, warnings) = past.told()?;
    let frame =
        Frame { from, to, until, recent_from, currency: api.currency.clone(), sampled_from, warnings };
    Ok(Gathered { frame, statement, savings })
}

/// Adds what a window cost a day after the other, each while the next one is read.
fn add_days(
    api: &ApiState,
    window: Span,
    (book, past): (&NodeBook, &mut Past<'_>),
    statement: &mut Statement,
) -> Result<(), Problem> {
    let listed = book.charges();
    let days = |month: Span| parts(month, |at| day_of(at).1);
    let months = parts(window, |at| month_at(at).1);
    let all: Vec<Span> = months.iter().flat_map(|month| days(*month)).collect();
    std::thread::scope(|scope| {
        let (sender, read) = std::sync::mpsc::sync_channel(1);
        let reader = past.reader();
        scope.spawn(move || all.into_iter().all(|day| sender.send(reader.read(day)).is_ok()));
        for month in months {
            let bill = imported(api, month_at(month.0))?;
            let fleet = Fleet {
                lives: book.lives(),
                charges: bill.as_deref().unwrap_or(&listed),
                prices: book.base(),
                system: Resources::ZERO,
            };
            for day in days(month) {
                let read =
                    read.recv().map_err(|_| Problem::internal("the history was not read to its end"))?;
                let mut subjects = std::mem::take(&mut statement.subjects);
                let found = past.day(day, read, &mut subjects)?;
                statement.subjects = subjects;
                statement.add(day, &fleet, &found);
            }
        }
        Ok(())
    })
}

fn hour_of(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(3600) * 3600).unwrap_or(at)
}

/// A span cut where `end` says that the part from an instant on ends.
fn parts(span: Span, end: impl Fn(Timestamp) -> Timestamp) -> Vec<Span> {
    let (mut from, to) = span;
    let mut all = Vec::new();
    while from < to {
        let until = end(from).min(to);
        if until <= from {
            break;
        }
        all.push((from, until));
        from = until;
    }
    all
}

fn size_steps(api: &ApiState, book: &NodeBook) -> Result<Vec<SizeStep>, Problem> {
    let mut found: Vec<Decision> = Vec::new();
    let mut after = DecisionId::default();
    loop {
        let page = api.decisions.decisions_after(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(steps(&found, book.resized())) };
        after = last.id;
        let of_size = |decision: &Decision| matches!(decision.proposal.kind, DecisionKind::Size { .. });
        found.extend(page.into_iter().filter(of_size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_of_utc_and_nothing_else_is_one() {
        let (from, to) = month("2026-12").expect("a month");
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("2026-12-01T00:00:00Z".into(), "2027-01-01T00:00:00Z".into())
        );
        for text in ["2026", "2026-13", "2026-1", "2026-11-05", "november"] {
            assert!(month(text).is_err(), "{text}");
        }
        assert_eq!(bill_document((from, to)), "bill/2026-12");
    }

    #[test]
    fn a_span_is_cut_at_midnight() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let days = parts((at("2026-11-30T20:00:00Z"), at("2026-12-02T01:00:00Z")), |at| day_of(at).1);
        assert_eq!(days.len(), 3);
        assert_eq!(days[0].1, at("2026-12-01T00:00:00Z"));
        assert_eq!(days[2], (at("2026-12-02T00:00:00Z"), at("2026-12-02T01:00:00Z")));
        let months = parts((at("2026-11-30T20:00:00Z"), at("2026-12-02T01:00:00Z")), |at| month_at(at).1);
        assert_eq!(months.len(), 2);
    }
}
