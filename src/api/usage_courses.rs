//! What each workload used lately, kept in memory for small charts: the same few instants for all of them. Where there
//! are too many, two become one, so that the span grows and the size does not. Fed from views, told by `/v1/usage`.
//! Not a history: an engine that starts again begins a new one.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::workload::WorkloadName;
use crate::ports::control::View;

/// Instants at most.
const POINTS: usize = 64;
/// One of so many instants that come is kept at most: at ten seconds each, a day lies between the first and the last.
const STRIDE_MAX: u32 = 128;

/// What workloads used, at the same instants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageCoursesDto {
    /// The instants, oldest first.
    #[schema(value_type = Vec<String>)]
    pub at: Vec<Timestamp>,
    /// Each workload.
    pub workloads: Vec<UsageCourseDto>,
}

/// What a workload used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageCourseDto {
    /// The workload.
    pub workload: String,
    /// Cores over all its tasks at each instant; nothing where it was not there.
    pub cpu: Vec<Option<f32>>,
    /// Bytes.
    pub memory: Vec<Option<f32>>,
}

/// Cores and bytes.
type Used = (f32, f32);

/// The courses as they are kept.
#[derive(Debug, Default)]
pub(super) struct UsageCourses {
    at: VecDeque<Timestamp>,
    /// A row a workload, as long as `at`.
    rows: BTreeMap<WorkloadName, VecDeque<Option<Used>>>,
    /// One of so many instants is kept.
    stride: u32,
    /// Instants that were left out since the last one that was kept.
    skipped: u32,
}

/// What each workload uses at the newest samples of its tasks.
pub(super) fn used(view: &View) -> BTreeMap<WorkloadName, Used> {
    let mut used: BTreeMap<WorkloadName, Used> = BTreeMap::new();
    let live = view.world.tasks.values().filter(|task| task.state.holds_resources());
    for task in live {
        if let Some(sample) = view.usage.get(&task.id) {
            let sum = used.entry(task.workload().clone()).or_default();
            sum.0 += sample.cpu_cores.unwrap_or(0.0) as f32;
            sum.1 += sample.memory.get() as f32;
        }
    }
    used
}

impl UsageCourses {
    /// Adds an instant.
    pub(super) fn push(&mut self, now: Timestamp, mut used: BTreeMap<WorkloadName, Used>) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        if self.at.len() == POINTS {
            self.make_room();
        }
        self.at.push_back(now);
        let points = self.at.len();
        for (name, row) in &mut self.rows {
            row.push_back(used.remove(name));
        }
        for (name, sum) in used {
            let mut row: VecDeque<Option<Used>> = std::iter::repeat_n(None, points - 1).collect();
            row.push_back(Some(sum));
            self.rows.insert(name, row);
        }
        // What was not there for the whole time is gone.
        self.rows.retain(|_, row| row.iter().any(Option::is_some));
    }

    /// Two instants become one; once that reaches back far enough the oldest goes.
    fn make_room(&mut self) {
        let stride = self.stride.max(1);
        if stride >= STRIDE_MAX {
            self.at.pop_front();
            for row in self.rows.values_mut() {
                row.pop_front();
            }
            return;
        }
        self.stride = stride * 2;
        self.at = self.at.iter().skip(1).step_by(2).copied().collect();
        for row in self.rows.values_mut() {
            let pairs: Vec<Option<Used>> = row.iter().copied().collect();
            *row = pairs.chunks(2).map(mean).collect();
        }
    }

    /// What these workloads used, or all where none are named.
    pub(super) fn told(&self, names: Option<&[&str]>) -> UsageCoursesDto {
        let one = |(name, row): (&WorkloadName, &VecDeque<Option<Used>>)| UsageCourseDto {
            workload: name.to_string(),
            cpu: row.iter().map(|used| used.map(|used| used.0)).collect(),
            memory: row.iter().map(|used| used.map(|used| used.1)).collect(),
        };
        let workloads = match names {
            None => self.rows.iter().map(one).collect(),
            Some(names) => {
                let named = names.iter().filter_map(|name| WorkloadName::new(name).ok());
                named.filter_map(|name| self.rows.get_key_value(&name)).map(one).collect()
            }
        };
        UsageCoursesDto { at: self.at.iter().copied().collect(), workloads }
    }
}

fn mean(pair: &[Option<Used>]) -> Option<Used> {
    let known: Vec<Used> = pair.iter().flatten().copied().collect();
    let count = known.len() as f32;
    let sum = known.into_iter().reduce(|a, b| (a.0 + b.0, a.1 + b.1))?;
    Some((sum.0 / count, sum.1 / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_grows_and_the_size_does_not() {
        let name = |text: &str| WorkloadName::new(text).expect("a name");
        let at = |second: i64| Timestamp::from_second(second).expect("an instant");
        let mut courses = UsageCourses::default();
        for step in 0..1_000_i64 {
            let mut used = BTreeMap::from([(name("web"), (step as f32, 1.0))]);
            if step >= 500 {
                used.insert(name("late"), (2.0, 2.0));
            }
            courses.push(at(step * 10), used);
            assert!(
                courses.at.len() <= POINTS && courses.rows.values().all(|row| row.len() == courses.at.len())
            );
        }
        let told = courses.told(Some(&["late", "none", "web"]));
        assert_eq!(
            told.workloads.iter().map(|row| row.workload.as_str()).collect::<Vec<_>>(),
            ["late", "web"]
        );
        assert!(told.at.windows(2).all(|pair| pair[0] < pair[1]) && told.at[0] < at(500));
        let web = &told.workloads[1].cpu;
        assert!(web.windows(2).all(|pair| pair[0] < pair[1]), "{web:?}");
        let late = &told.workloads[0].cpu;
        assert!(late[0].is_none() && late.last() == Some(&Some(2.0)), "{late:?}");
        assert_eq!(courses.told(None).workloads.len(), 2);
    }
}
