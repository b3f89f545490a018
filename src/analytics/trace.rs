//! Usage traces: samples laid on a regular grid of time, the form in which estimates are judged.
//! Not here: their files.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::analytics::AnalyticsError;
use crate::domain::load::LoadSample;
use crate::domain::quantity::Resources;
use crate::domain::task::TaskId;
use crate::domain::trace::TraceRow;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;

/// A mean over a longer time says nothing of one interval; such a sample, as after a long outage, tells
/// its memory only.
const SAMPLE_INTERVAL_MAX: f64 = 86_400.0;

/// What falls into one interval of the grid.
#[derive(Debug, Clone, Default)]
struct Cell {
    /// CPU time used, in core-microseconds, and the time that it was measured over.
    cpu: f64,
    measured: i64,
    memory: Option<u64>,
    request: Option<(i64, Resources)>,
}

/// Lays samples on a grid of `interval`: ends of intervals are its multiples since the epoch. CPU is the
/// mean weighted by time, memory the peak, requests the last ones in force; gaps stay gaps. Rows come by
/// task, then time.
pub fn resample(
    interval: SignedDuration,
    usage: &[UsageSample],
    load: &[LoadSample],
) -> Result<Vec<TraceRow>, AnalyticsError> {
    let seconds = interval.as_secs();
    if seconds < 1 || interval.subsec_nanos() != 0 {
        return Err(AnalyticsError::Interval { found: interval });
    }
    let step = seconds.saturating_mul(1_000_000);
    let load = load_by_interval(step, load);
    let mut cells: BTreeMap<(&TaskId, i64), Cell> = BTreeMap::new();
    for sample in usage {
        let at = sample.at.as_microsecond();
        let last = cells.entry((&sample.task, interval_of(at, step))).or_default();
        last.memory = last.memory.max(Some(sample.memory.get()));
        if last.request.is_none_or(|(before, _)| before <= at) {
            last.request = Some((at, sample.request));
        }
        let cores = sample.cpu_cores.filter(|cores| cores.is_finite());
        let length = sample.interval_seconds.filter(|length| (0.0..=SAMPLE_INTERVAL_MAX).contains(length));
        let (Some(cores), Some(length)) = (cores, length) else { continue };
        let mut from = at.saturating_sub((length * 1e6).round() as i64);
        while from < at {
            let index = from.div_euclid(step);
            let to = at.min((index + 1) * step);
            let cell = cells.entry((&sample.task, index)).or_default();
            cell.cpu += cores * (to - from) as f64;
            cell.measured += to - from;
            cell.request = cell.request.or(Some((from, sample.request)));
            from = to;
        }
    }
    Ok(cells
        .into_iter()
        .map(|((task, index), cell)| TraceRow {
            workload: task.workload().to_string(),
            task: task.to_string(),
            time: (index + 1) * seconds,
            cpu: (cell.measured > 0).then(|| cell.cpu / cell.measured as f64),
            memory: cell.memory.map(|bytes| bytes as f64),
            cpu_request: cell.request.map(|(_, request)| request.cpu.cores()),
            memory_request: cell.request.map(|(_, request)| request.memory.as_f64()),
            load: load.get(&(task.workload(), index)).copied(),
        })
        .collect())
}

/// The interval that an instant belongs to; its end does, its start does not.
fn interval_of(at: i64, step: i64) -> i64 {
    (at - 1).div_euclid(step)
}

/// Mean requests per second of each service in each interval.
fn load_by_interval(step: i64, load: &[LoadSample]) -> BTreeMap<(&WorkloadName, i64), f64> {
    let mut sums: BTreeMap<(&WorkloadName, i64), (f64, f64)> = BTreeMap::new();
    for sample in load {
        let key = (&sample.workload, interval_of(sample.at.as_microsecond(), step));
        let (sum, count) = sums.entry(key).or_default();
        *sum += sample.requests_per_second;
        *count += 1.0;
    }
    sums.into_iter().map(|(key, (sum, count))| (key, sum / count)).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::quantity::{Bytes, Millicores};

    fn sample(at: i64, seconds: Option<f64>, cores: Option<f64>, bytes: u64) -> UsageSample {
        let task: TaskId = "web.1".parse().expect("an id");
        UsageSample {
            workload: task.workload().clone(),
            task,
            at: Timestamp::from_second(at).expect("a time"),
            interval_seconds: seconds,
            cpu_cores: cores,
            throttled_share: None,
            memory: Bytes::new(bytes),
            page_cache: None,
            request: Resources::new(Millicores::new(500), Bytes::new(100)),
            oom_kills: 0,
        }
    }

    fn minutes(usage: &[UsageSample]) -> Vec<(i64, Option<f64>, Option<f64>)> {
        let rows = resample(SignedDuration::from_mins(1), usage, &[]).expect("rows");
        rows.into_iter().map(|row| (row.time, row.cpu, row.memory)).collect()
    }

    #[test]
    fn cpu_is_the_mean_by_time_and_memory_the_peak() {
        let usage = [sample(40, Some(40.0), Some(0.3), 90), sample(60, Some(20.0), Some(0.6), 40)];
        assert_eq!(minutes(&usage), [(60, Some(0.4), Some(90.0))]);
    }

    #[test]
    fn a_sample_over_a_full_minute_counts_in_both() {
        let usage = [sample(50, Some(50.0), Some(0.2), 10), sample(70, Some(20.0), Some(0.8), 20)];
        let rows = minutes(&usage);
        assert_eq!(rows.len(), 2);
        assert!((rows[0].1.expect("cpu") - 0.3).abs() < 1e-9);
        assert_eq!(rows[0].2, Some(10.0));
        assert_eq!(rows[1], (120, Some(0.8), Some(20.0)));
    }

    #[test]
    fn gaps_stay_gaps() {
        let usage = [sample(60, Some(5.0), Some(0.1), 10), sample(240, Some(5.0), Some(0.1), 10)];
        assert_eq!(minutes(&usage).iter().map(|row| row.0).collect::<Vec<_>>(), [60, 240]);
    }

    #[test]
    fn a_first_sample_has_memory_alone_and_a_long_one_no_peak_before_its_end() {
        assert_eq!(minutes(&[sample(60, None, None, 10)]), [(60, None, Some(10.0))]);
        assert_eq!(
            minutes(&[sample(120, Some(120.0), Some(0.5), 10)]),
            [(60, Some(0.5), None), (120, Some(0.5), Some(10.0))]
        );
    }

    #[test]
    fn load_and_requests_stand_on_each_row() {
        let load = |at, rate| LoadSample {
            workload: WorkloadName::new("web").expect("a name"),
            at: Timestamp::from_second(at).expect("a time"),
            requests_per_second: rate,
            errors_per_second: 0.0,
            latency_p50: None,
            latency_p95: None,
            ready: 1,
        };
        let usage = [sample(60, Some(5.0), Some(0.1), 10), sample(180, Some(5.0), Some(0.1), 10)];
        let interval = SignedDuration::from_mins(1);
        let rows = resample(interval, &usage, &[load(30, 10.0), load(60, 20.0)]).expect("rows");
        assert_eq!((rows[0].load, rows[1].load), (Some(15.0), None));
        assert_eq!((rows[0].cpu_request, rows[0].memory_request), (Some(0.5), Some(100.0)));
    }

    #[test]
    fn an_interval_is_whole_seconds() {
        for interval in [SignedDuration::ZERO, SignedDuration::from_millis(1500)] {
            assert!(matches!(resample(interval, &[], &[]), Err(AnalyticsError::Interval { .. })));
        }
    }
}
