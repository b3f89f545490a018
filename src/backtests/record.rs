//! The engine's samples as a trace. They are read in pieces of time that hold about as many samples each, and kept
//! as rows of the trace's steps only.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Progress, Stopped};
use crate::analytics::trace::resample;
use crate::domain::trace::TraceRow;
use crate::ports::backtests::BacktestOrder;
use crate::ports::history::History;
use crate::replay::grid::Trace;

/// What the trace is called.
const NAME: &str = "recorded by the engine";
/// Rows of a trace at most: about 200 MB while they are laid on steps.
const ROWS_MAX: usize = 600_000;
/// A piece of time with fewer samples is followed by one twice as long, one with more by one half as long.
const SAMPLES_FEW: usize = 30_000;
const SAMPLES_MANY: usize = 120_000;
/// The longest piece.
const PIECE_MAX: i64 = 86_400;

/// Reads what an order is about.
pub(super) fn trace(
    history: &dyn History,
    order: &BacktestOrder,
    progress: &Progress,
) -> Result<Trace, Stopped> {
    let failed = |error: &dyn std::error::Error| Stopped::Failed(chain(error));
    let wanted: BTreeSet<&str> = order.workloads.iter().map(String::as_str).collect();
    let interval = SignedDuration::from_secs(order.step);
    let (mut from, to) = (order.from.as_second().div_euclid(order.step) * order.step, order.to.as_second());
    // Where nothing was recorded, the next piece may hold a lot: it is a short one.
    let (mut piece, mut rows): (i64, Vec<TraceRow>) = (order.step, Vec::new());
    while from < to {
        if progress.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        let until = (from + piece).min(to);
        // A sample belongs to the step that it ends.
        let after = |second: i64| {
            Timestamp::from_second(second).ok()?.checked_add(SignedDuration::from_micros(1)).ok()
        };
        let (Some(begin), Some(end)) = (after(from), after(until)) else { break };
        let mut samples = history.usage(None, begin, end).map_err(|error| failed(&error))?;
        let read = samples.len();
        samples.retain(|sample| wanted.is_empty() || wanted.contains(sample.workload.as_str()));
        let found = resample(interval, &samples, &[]).map_err(|error| failed(&error))?;
        // What a sample tells of the piece before is left out: that has its own.
        rows.extend(found.into_iter().filter(|row| row.time > from));
        if rows.len() > ROWS_MAX {
            return Err(Stopped::Failed(format!(
                "the record has more than {ROWS_MAX} rows: choose fewer workloads, a shorter window or a longer step"
            )));
        }
        from = until;
        piece = match read {
            0 => order.step,
            1..SAMPLES_FEW => (piece * 2).min(PIECE_MAX),
            SAMPLES_MANY.. => (piece / 2).max(order.step),
            _ => piece,
        };
        piece = piece.div_euclid(order.step).max(1) * order.step;
    }
    if rows.is_empty() {
        return Err(Stopped::Failed(
            "the engine has recorded no usage of these workloads in that time".to_owned(),
        ));
    }
    let trace = Trace::new(NAME, &rows, Some(order.step)).map_err(|error| failed(&error))?;
    Ok(trace)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
