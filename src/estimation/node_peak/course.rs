//! What a task used, window by window, for a day of windows of 5 minutes; and what several used together.

use std::collections::VecDeque;
use std::ops::Range;

/// So many windows are looked back on.
pub(super) const HISTORY: usize = 288;
const HISTORY_LENGTH: i64 = 288;
/// A window of which less is covered by samples is unknown.
const COVERED_MIN: f64 = 0.5;

/// The use of one task. Windows are numbered from the epoch.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    /// Mean use in cores by window, the oldest first; not a number where it is unknown.
    closed: VecDeque<f32>,
    /// The number of the window after the last closed one.
    next: i64,
    /// Windows with samples that are not closed yet: number, windows covered, cores times windows.
    open: Vec<(i64, f64, f64)>,
    sum: f64,
    known: usize,
}

impl Course {
    /// Use over a span of time, in windows. What is of windows that are closed comes too late.
    pub(super) fn add(&mut self, span: Range<f64>, cores: f64) {
        let (first, last) = (span.start.floor() as i64, span.end.ceil() as i64);
        for window in first..last {
            let covered = span.end.min((window + 1) as f64) - span.start.max(window as f64);
            if covered <= 0.0 || (!self.closed.is_empty() && window < self.next) {
                continue;
            }
            match self.open.iter_mut().rev().find(|open| open.0 == window) {
                Some(open) => {
                    open.1 += covered;
                    open.2 += covered * cores;
                }
                None => self.open.push((window, covered, covered * cores)),
            }
        }
    }

    /// Closes all windows before one.
    pub(super) fn close(&mut self, before: i64) {
        self.open.sort_unstable_by_key(|open| open.0);
        let ended = self.open.partition_point(|open| open.0 < before);
        let ended: Vec<(i64, f64, f64)> = self.open.drain(..ended).collect();
        if self.closed.is_empty() {
            let Some(first) = ended.first() else { return };
            self.next = first.0;
        }
        if before - self.next > HISTORY_LENGTH {
            // All that was known is too long ago.
            *self = Self { open: std::mem::take(&mut self.open), ..Self::default() };
            self.next = before - HISTORY_LENGTH;
        }
        let mut ended = ended.into_iter().peekable();
        while self.next < before {
            while ended.next_if(|open| open.0 < self.next).is_some() {}
            let found = ended.next_if(|open| open.0 == self.next).filter(|open| open.1 >= COVERED_MIN);
            self.push(found.map_or(f32::NAN, |(_, covered, used)| (used / covered) as f32));
        }
    }

    fn push(&mut self, used: f32) {
        self.closed.push_back(used);
        self.next += 1;
        self.count(used, true);
        if self.closed.len() > HISTORY
            && let Some(oldest) = self.closed.pop_front()
        {
            self.count(oldest, false);
        }
    }

    fn count(&mut self, used: f32, comes: bool) {
        if used.is_nan() {
            return;
        }
        let sign = if comes { 1.0 } else { -1.0 };
        self.sum += sign * f64::from(used);
        self.known = if comes { self.known + 1 } else { self.known - 1 };
    }

    /// Mean use in a window, in cores.
    pub(super) fn at(&self, window: i64) -> Option<f64> {
        let back = usize::try_from(self.next.checked_sub(window)?).ok()?;
        let used = *self.closed.get(self.closed.len().checked_sub(back)?)?;
        (!used.is_nan()).then_some(f64::from(used))
    }

    /// How many windows are known.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// Mean use over the windows that are known.
    pub(super) fn mean(&self) -> f64 {
        self.sum.max(0.0) / self.known.max(1) as f64
    }
}

/// Mean and standard deviation of what tasks used together in the windows before one. Where a task's use is
/// unknown, as before it began, its mean stands for it.
pub(super) fn together(courses: &[&Course], before: i64) -> (f64, f64) {
    let longest = courses.iter().map(|course| course.closed.len()).max().unwrap_or(0);
    let mut totals = vec![0.0_f64; longest];
    for course in courses {
        let mean = course.mean();
        // The course may end earlier than asked for; where it does, its mean stands for what is missing.
        let behind = usize::try_from(before - course.next).unwrap_or(0).min(longest);
        for (back, total) in totals.iter_mut().rev().enumerate() {
            let at = back.checked_sub(behind).and_then(|back| course.closed.len().checked_sub(back + 1));
            let used = at.and_then(|at| course.closed.get(at)).copied().unwrap_or(f32::NAN);
            *total += if used.is_nan() { mean } else { f64::from(used) };
        }
    }
    let count = longest.max(1) as f64;
    let mean = totals.iter().sum::<f64>() / count;
    let variance = totals.iter().map(|total| (total - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}
