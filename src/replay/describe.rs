//! A trace in figures: what is in it, series by series, before anything is concluded from it.
//!
//! In: a trace on its grid. Out: how long, how dense, how large each series is, and its course. Not here:
//! how that is printed (`cli`).

use serde::Serialize;

use crate::replay::grid::{Repairs, Step, Trace};

/// A trace and its series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Workloads.
    pub workloads: usize,
    /// Series: tasks of workloads.
    pub tasks: usize,
    /// Steps with usage.
    pub samples: usize,
    /// Seconds of a step.
    pub step: i64,
    /// The first time of a row.
    pub first: i64,
    /// The last time of a row.
    pub last: i64,
    /// Share of steps between a series' first and last that have no row.
    pub missing_share: f64,
    /// Share of samples that have a value.
    pub filled: Filled,
    /// What was repaired.
    pub repairs: Repairs,
    /// The series; the caller may keep some.
    pub series: Vec<Series>,
}

/// Share of samples that have a value, by column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Filled {
    /// `cpu`
    pub cpu: f64,
    /// `memory`
    pub memory: f64,
    /// `cpu_request`
    pub cpu_request: f64,
    /// `memory_request`
    pub memory_request: f64,
    /// `load`
    pub load: f64,
}

/// One task of one workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// The workload.
    pub workload: String,
    /// The task.
    pub task: String,
    /// Steps with usage.
    pub samples: usize,
    /// The first time of a row.
    pub first: i64,
    /// The last time of a row.
    pub last: i64,
    /// The median distance of its rows in seconds; absent for a single row.
    pub interval: Option<i64>,
    /// How often rows are missing.
    pub gaps: usize,
    /// Steps between the first and the last that have no row.
    pub missing: i64,
    /// Cores.
    pub cpu: Option<Spread>,
    /// Bytes.
    pub memory: Option<Spread>,
}

/// Where values lie: each is one of the values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// Half are not above it.
    pub p50: f64,
    /// 95 % are not above it.
    pub p95: f64,
    /// The greatest.
    pub max: f64,
    /// The sum over the steps, to tell large series from small ones.
    #[serde(skip)]
    pub sum: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (values.len() as f64 * share).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied()
        };
        let (min, p50, p95, max) = (at(0.0)?, at(0.5)?, at(0.95)?, at(1.0)?);
        Some(Self { min, p50, p95, max, sum: values.iter().sum() })
    }
}

/// The highest values of a series over its own time, in equal parts; absent where it has none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// Cores.
    pub cpu: Vec<Option<f64>>,
    /// Bytes.
    pub memory: Vec<Option<f64>>,
}

/// Every series, by workload, then task.
pub fn describe(trace: &Trace) -> Description {
    let mut series = Vec::new();
    let mut counts = [0_usize; 5];
    for workload in &trace.workloads {
        let mut by_task: Vec<Vec<&Step>> = vec![Vec::new(); workload.tasks.len()];
        for step in &workload.steps {
            by_task[step.task as usize].push(step);
            let values = [step.cpu, step.memory, step.cpu_request, step.memory_request, step.load];
            for (count, value) in counts.iter_mut().zip(values) {
                *count += usize::from(value.is_some());
            }
        }
        let names = workload.tasks.iter();
        series.extend(names.zip(&by_task).filter_map(|(task, steps)| one(&workload.name, task, steps)));
    }
    let samples = trace.samples();
    let [cpu, memory, cpu_request, memory_request, load] =
        counts.map(|count| count as f64 / samples.max(1) as f64);
    let missing: i64 = series.iter().map(|series| series.missing).sum();
    Description {
        workloads: trace.workloads.len(),
        tasks: series.len(),
        samples,
        step: trace.step,
        first: series.iter().map(|series| series.first).min().unwrap_or_default(),
        last: series.iter().map(|series| series.last).max().unwrap_or_default(),
        missing_share: missing as f64 / (missing as f64 + samples as f64).max(1.0),
        filled: Filled { cpu, memory, cpu_request, memory_request, load },
        repairs: trace.repairs,
        series,
    }
}

/// The course of one series, in so many parts of its time.
pub fn course(trace: &Trace, series: &Series, parts: usize) -> Course {
    let mut course = Course { cpu: vec![None; parts], memory: vec![None; parts] };
    let found = trace.workloads.iter().find(|workload| workload.name == series.workload);
    let task = found.and_then(|found| found.tasks.iter().position(|task| *task == series.task));
    let own = |step: &&Step| Some(step.task as usize) == task;
    let steps: Vec<&Step> = found.iter().flat_map(|found| &found.steps).filter(own).collect();
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return course };
    let span = (last.slot - first.slot + 1) as usize;
    for step in &steps {
        let part = (step.slot - first.slot) as usize * parts / span;
        for (of, value) in [(&mut course.cpu, step.cpu), (&mut course.memory, step.memory)] {
            of[part] = of[part].into_iter().chain(value).reduce(f64::max);
        }
    }
    course
}

/// One series; absent where it has no steps.
fn one(workload: &str, task: &str, steps: &[&Step]) -> Option<Series> {
    let (first, last) = (steps.first()?.time, steps.last()?.time);
    let apart = || steps.windows(2).map(|pair| pair[1].slot - pair[0].slot);
    let mut distances: Vec<i64> = steps.windows(2).map(|pair| pair[1].time - pair[0].time).collect();
    distances.sort_unstable();
    Some(Series {
        workload: workload.to_owned(),
        task: task.to_owned(),
        samples: steps.len(),
        first,
        last,
        interval: distances.get(distances.len() / 2).copied(),
        gaps: apart().filter(|slots| *slots > 1).count(),
        missing: apart().map(|slots| slots - 1).sum(),
        cpu: Spread::of(steps.iter().filter_map(|step| step.cpu)),
        memory: Spread::of(steps.iter().filter_map(|step| step.memory)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::trace::TraceRow;

    fn row(task: &str, time: i64, cpu: Option<f64>, memory: Option<f64>) -> TraceRow {
        TraceRow {
            workload: "w".to_owned(),
            task: task.to_owned(),
            time,
            cpu,
            memory,
            cpu_request: Some(1.0),
            memory_request: None,
            load: None,
        }
    }

    #[test]
    fn series_have_their_figures() {
        let mut rows: Vec<_> = (1..=20)
            .filter(|n| ![5, 6, 9].contains(n))
            .map(|n| row("a", n * 60, Some(f64::from(n as i32)), Some(100.0 - f64::from(n as i32))))
            .collect();
        rows.push(row("b", 600, None, Some(7.0)));
        let trace = Trace::new("t", &rows, None).expect("a trace");
        let found = describe(&trace);
        assert_eq!((found.workloads, found.tasks, found.samples, found.step), (1, 2, 18, 60));
        assert_eq!((found.first, found.last), (60, 1200));
        assert!((found.missing_share - 3.0 / 21.0).abs() < 1e-12);
        assert!((found.filled.cpu - 17.0 / 18.0).abs() < 1e-12);
        assert!((found.filled.cpu_request - 1.0).abs() < 1e-12 && found.filled.load.abs() < 1e-12);
        let [a, b] = &found.series[..] else { panic!("two series") };
        assert_eq!((a.samples, a.interval, a.gaps, a.missing), (17, Some(60), 2, 3));
        let cpu = a.cpu.expect("cpu");
        // Of seventeen values the ninth and the seventeenth.
        assert_eq!((cpu.min, cpu.p50, cpu.p95, cpu.max), (1.0, 12.0, 20.0, 20.0));
        assert_eq!((b.samples, b.interval, b.cpu), (1, None, None));
        let course = course(&trace, a, 10);
        assert_eq!(course.cpu, [2, 4, 0, 8, 10, 12, 14, 16, 18, 20].map(|n| (n > 0).then_some(f64::from(n))));
        assert_eq!(course.memory[0], Some(99.0));
    }
}
