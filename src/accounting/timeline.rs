//! The time that one task ran, cut into pieces that each have one request and one measured use, or none.
//!
//! In: the task's intervals and samples. Out: pieces, ascending, without overlap.

use jiff::Timestamp;

use crate::accounting::facts::TaskInterval;
use crate::domain::quantity::{Bytes, Resources};
use crate::domain::usage::UsageSample;

/// A span of time in microseconds since the epoch, end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Span {
    pub(crate) fn length(self) -> i64 {
        self.to - self.from
    }

    pub(crate) fn clip(self, window: Self) -> Option<Self> {
        let clipped = Self { from: self.from.max(window.from), to: self.to.min(window.to) };
        (clipped.from < clipped.to).then_some(clipped)
    }
}

/// What was measured over a piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// Mean cores in use; absent where the sample has none.
    pub(crate) cores: Option<f64>,
    /// Working set.
    pub(crate) memory: Bytes,
}

/// A piece of a task's life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Piece {
    pub(crate) span: Span,
    pub(crate) request: Resources,
    /// Absent where no sample covers the piece.
    pub(crate) measured: Option<Measured>,
}

/// The pieces of one task within `window`.
///
/// A sample is evidence that the task ran, even where no interval says so. Where samples overlap, the
/// one that begins first counts, and the other for what comes after it, so that no time is counted
/// twice; the same holds for intervals. The order of the input does not matter.
pub(crate) fn pieces(intervals: &[&TaskInterval], samples: &[&UsageSample], window: Span) -> Vec<Piece> {
    let sampled = sampled(samples, window);
    let recorded = recorded(intervals, window);
    let mut all = Vec::with_capacity(sampled.len() + recorded.len());
    let mut next = 0;
    for piece in recorded {
        let mut from = piece.span.from;
        while let Some(covering) = sampled.get(next).filter(|s| s.span.from < piece.span.to) {
            if covering.span.from > from {
                all.push(Piece { span: Span { from, to: covering.span.from }, ..piece });
            }
            from = from.max(covering.span.to);
            if covering.span.to > piece.span.to {
                break; // It reaches into the next interval, which must see it too.
            }
            next += 1;
        }
        if from < piece.span.to {
            all.push(Piece { span: Span { from, to: piece.span.to }, ..piece });
        }
    }
    all.extend(sampled);
    all.sort_unstable_by_key(|piece| piece.span.from);
    all
}

fn sampled(samples: &[&UsageSample], window: Span) -> Vec<Piece> {
    let mut spans: Vec<(Span, &UsageSample)> = samples
        .iter()
        .filter_map(|sample| {
            let seconds = sample.interval_seconds.filter(|s| s.is_finite() && *s > 0.0)?;
            let to = sample.at.as_microsecond();
            Some((Span { from: to.saturating_sub((seconds * 1e6).round() as i64), to }, *sample))
        })
        .collect();
    // Every field that counts takes part, so that equal spans have one order whatever the input's.
    spans.sort_by(|(a, x), (b, y)| {
        let rest = |s: &UsageSample| (s.memory, s.request.cpu, s.request.memory);
        let cores = |s: &UsageSample| s.cpu_cores.unwrap_or(f64::NEG_INFINITY);
        (a.from, a.to)
            .cmp(&(b.from, b.to))
            .then_with(|| rest(x).cmp(&rest(y)))
            .then_with(|| cores(x).total_cmp(&cores(y)))
    });
    let mut covered = window.from;
    let mut all = Vec::with_capacity(spans.len());
    for (span, sample) in spans {
        let left = Span { from: span.from.max(covered), to: span.to };
        if let Some(span) = left.clip(window) {
            covered = span.to;
            let cores = sample.cpu_cores.filter(|cores| cores.is_finite());
            let measured = Some(Measured { cores, memory: sample.memory });
            all.push(Piece { span, request: sample.request, measured });
        }
    }
    all
}

fn recorded(intervals: &[&TaskInterval], window: Span) -> Vec<Piece> {
    // In the order in which they began, not in the one in which the window sees them: so it is the same one that
    // counts in every window.
    let mut known = intervals.to_vec();
    known.sort_by_key(|known| {
        (known.from, known.to.is_none(), known.to, known.request.cpu, known.request.memory)
    });
    let spans: Vec<(Span, Resources)> = known
        .iter()
        .filter_map(|interval| {
            let to = interval.to.map_or(window.to, Timestamp::as_microsecond);
            let span = Span { from: interval.from.as_microsecond(), to }.clip(window)?;
            Some((span, interval.request))
        })
        .collect();
    let mut covered = window.from;
    let mut all = Vec::with_capacity(spans.len());
    for (span, request) in spans {
        if let Some(span) = (Span { from: span.from.max(covered), to: span.to }).clip(window) {
            covered = span.to;
            all.push(Piece { span, request, measured: None });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::Millicores;
    use crate::domain::task::TaskId;

    const WINDOW: Span = Span { from: 0, to: 100_000_000 };

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn task() -> TaskId {
        "web.1".parse().expect("an id")
    }

    fn interval(from: i64, to: Option<i64>) -> TaskInterval {
        let request = Resources::new(Millicores::new(500), Bytes::mib(100));
        TaskInterval { task: task(), pool: None, node: None, from: second(from), to: to.map(second), request }
    }

    fn sample(at: i64, seconds: f64) -> UsageSample {
        UsageSample {
            workload: task().workload().clone(),
            task: task(),
            at: second(at),
            interval_seconds: Some(seconds),
            cpu_cores: Some(0.25),
            throttled_share: None,
            memory: Bytes::mib(50),
            page_cache: None,
            request: Resources::new(Millicores::new(1000), Bytes::mib(100)),
            oom_kills: 0,
        }
    }

    /// Spans in seconds, with a star where they were measured.
    fn shown(intervals: &[TaskInterval], samples: &[UsageSample]) -> String {
        let intervals: Vec<_> = intervals.iter().collect();
        let samples: Vec<_> = samples.iter().collect();
        let shown: Vec<_> = pieces(&intervals, &samples, WINDOW)
            .iter()
            .map(|piece| {
                let star = if piece.measured.is_some() { "*" } else { "" };
                format!("{}-{}{star}", piece.span.from / 1_000_000, piece.span.to / 1_000_000)
            })
            .collect();
        shown.join(" ")
    }

    #[test]
    fn time_that_no_sample_covers_stays_apart() {
        let samples = [sample(20, 5.0), sample(25, 5.0), sample(40, 5.0)];
        assert_eq!(shown(&[interval(10, Some(50))], &samples), "10-15 15-20* 20-25* 25-35 35-40* 40-50");
    }

    #[test]
    fn a_running_task_ends_with_the_window_and_begins_with_it() {
        assert_eq!(shown(&[interval(-50, None)], &[sample(2, 5.0), sample(103, 5.0)]), "0-2* 2-98 98-100*");
    }

    #[test]
    fn a_sample_is_evidence_without_a_record() {
        assert_eq!(shown(&[], &[sample(20, 5.0)]), "15-20*");
        assert_eq!(shown(&[interval(18, Some(30))], &[sample(20, 5.0)]), "15-20* 20-30");
    }

    #[test]
    fn overlaps_are_counted_once() {
        assert_eq!(shown(&[], &[sample(20, 10.0), sample(25, 10.0), sample(20, 10.0)]), "10-20* 20-25*");
        assert_eq!(shown(&[interval(10, Some(40)), interval(20, Some(60))], &[]), "10-40 40-60");
    }

    #[test]
    fn a_sample_may_reach_over_a_resize() {
        assert_eq!(
            shown(&[interval(0, Some(22)), interval(22, Some(40))], &[sample(25, 5.0)]),
            "0-20 20-25* 25-40"
        );
    }

    #[test]
    fn intervals_without_length_are_no_time() {
        let first = UsageSample { interval_seconds: None, ..sample(20, 5.0) };
        assert_eq!(shown(&[], &[first, sample(30, 0.0), sample(40, f64::NAN)]), "");
    }
}
