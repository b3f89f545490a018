//! How many tasks of a workload ran over time.

use serde::{Deserialize, Serialize};

use crate::accounting::timeline::Span;

/// Parts that a window is cut into for the course of the count; a table row has room for as many.
pub const COURSE_PARTS: usize = 20;

/// The number of a workload's tasks over a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceCounts {
    /// The most at one instant.
    pub peak: u32,
    /// The mean over the window.
    pub mean: f64,
    /// The mean in each of `COURSE_PARTS` equal parts of the window, in order.
    pub course: Vec<f64>,
}

/// Gathers when the tasks of one workload ran.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    /// Instants at which a task began (+1) or ended (-1).
    steps: Vec<(i64, i32)>,
}

impl Instances {
    /// Adds the pieces of one task, ascending and without overlap.
    pub(crate) fn add(&mut self, spans: impl Iterator<Item = Span>) {
        let mut current: Option<Span> = None;
        for span in spans {
            match &mut current {
                Some(run) if run.to == span.from => run.to = span.to,
                _ => {
                    self.close(current);
                    current = Some(span);
                }
            }
        }
        self.close(current);
    }

    fn close(&mut self, run: Option<Span>) {
        if let Some(run) = run {
            self.steps.extend([(run.from, 1), (run.to, -1)]);
        }
    }

    /// The counts over `window`; none where nothing ran.
    pub(crate) fn counts(mut self, window: Span) -> Option<InstanceCounts> {
        if self.steps.is_empty() {
            return None;
        }
        // At one instant, ends come before beginnings: a task replaced without overlap is one.
        self.steps.sort_unstable();
        let (mut now, mut peak, mut since) = (0_i32, 0_i32, window.from);
        let mut parts = vec![0_f64; COURSE_PARTS];
        for (at, step) in self.steps {
            spread(&mut parts, window, Span { from: since, to: at }, f64::from(now));
            now += step;
            peak = peak.max(now);
            since = at;
        }
        let part = window.length() as f64 / COURSE_PARTS as f64;
        let total: f64 = parts.iter().sum();
        Some(InstanceCounts {
            peak: peak.unsigned_abs(),
            mean: total / window.length() as f64,
            course: parts.into_iter().map(|sum| sum / part).collect(),
        })
    }
}

/// Adds `count` times the length of `span` to the parts of `window` that it touches.
fn spread(parts: &mut [f64], window: Span, span: Span, count: f64) {
    if count <= 0.0 {
        return;
    }
    let length = window.length() as f64 / parts.len() as f64;
    let place = |at: i64| (at - window.from) as f64 / length;
    let (from, to) = (place(span.from), place(span.to));
    let last = parts.len() - 1;
    for (index, part) in parts.iter_mut().enumerate().take((to as usize).min(last) + 1).skip(from as usize) {
        let overlap = to.min(index as f64 + 1.0) - from.max(index as f64);
        *part += overlap.max(0.0) * length * count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Span = Span { from: 0, to: 20_000 };

    fn span(from: i64, to: i64) -> Span {
        Span { from, to }
    }

    #[test]
    fn a_second_task_for_half_of_the_window() {
        let mut instances = Instances::default();
        instances.add([span(0, 6_000), span(6_000, 20_000)].into_iter());
        instances.add([span(10_000, 20_000)].into_iter());
        let counts = instances.counts(WINDOW).expect("counts");
        assert_eq!(counts.peak, 2);
        assert!((counts.mean - 1.5).abs() < 1e-9);
        assert!((counts.course[9] - 1.0).abs() < 1e-9 && (counts.course[10] - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_replaced_task_is_one_and_a_gap_shows() {
        let mut instances = Instances::default();
        instances.add([span(0, 1_000)].into_iter());
        instances.add([span(1_000, 1_500)].into_iter());
        let counts = instances.counts(WINDOW).expect("counts");
        assert_eq!(counts.peak, 1);
        assert!((counts.course[1] - 0.5).abs() < 1e-9);
        assert!(counts.course[2].abs() < 1e-9);
    }

    #[test]
    fn nothing_has_no_counts() {
        assert_eq!(Instances::default().counts(WINDOW), None);
    }
}
