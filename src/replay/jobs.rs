//! Batch runs past policies: what each would have reserved, wasted and had killed.
//!
//! In: runs with their times, requests and peaks, policies by name. Out: figures. Runs are replayed in the
//! order of time: a policy is asked when a run is submitted and told when it ends; a retry begins when the
//! attempt before it was killed, and the run ends as much later. Not here: files and tables.
//!
//! Wasted is what was reserved and not used: for an attempt that did its work (limit - peak) x its time, for a
//! killed one its whole limit x the time until the kill. When in a run memory first exceeds a limit is not
//! recorded anywhere: the kill is taken to come at the end of the run, the dearest case, and the figures are
//! given for half of the run too. A retry takes as long as the run did.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;

use crate::estimation::catalogue::CatalogueError;
use crate::estimation::jobs::catalogue::job_policy;
use crate::estimation::jobs::{Ask, JobIndex, JobPolicy, RunEnd, RunOutcome};
use crate::replay::figures::{Draws, Interval};

/// Bytes in a GiB.
const GIB: f64 = 1_073_741_824.0;
/// Milliseconds of an hour.
const HOUR: f64 = 3_600_000.0;
/// Draws of the bootstrap.
const DRAWS: usize = 400;
/// The seed of the bootstrap.
const SEED: u64 = 1;
/// What all policies are compared with.
const BASE: &str = "doubling";
/// Milliseconds: some times are whole seconds, others not, so they may seem out of order by that much.
const ROUNDING: i64 = 1000;
/// A retry that asks for no more than it had would go on for ever.
const STEP_LEAST: f64 = 1.01;

/// A batch run as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Which work it does: runs of the same job are expected to be alike.
    pub job: String,
    /// When it was submitted, in milliseconds.
    pub submit: i64,
    /// When it began.
    pub start: i64,
    /// When it ended.
    pub end: i64,
    /// How long it took in milliseconds, where that is not all from start to end.
    pub took: Option<f64>,
    /// Bytes asked for.
    pub request: Option<f64>,
    /// Bytes used at most.
    pub peak: Option<f64>,
    /// Bytes of its input, where known.
    pub input: Option<f64>,
    /// Which attempt it is, from 1.
    pub attempt: u32,
}

/// When a policy is asked for the size of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedAt {
    /// When it is submitted: nothing that ends while it waits is known.
    #[default]
    Submit,
    /// When it begins.
    Start,
}

/// A run that is replayed.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    job: JobIndex,
    asked: i64,
    start: i64,
    /// From start to end with everything around the work.
    lasts: i64,
    hours: f64,
    ask: Ask,
    peak: f64,
    /// Whether it is in the later half of its job's runs.
    late: bool,
}

/// Why runs cannot be replayed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobTraceError {
    /// Nothing is left to replay.
    #[error("no run has a request, a peak and an end; there is nothing to replay")]
    Empty,
    /// A run ends before it begins, or begins before it is submitted.
    #[error("row {row}: submit, start and end are out of order")]
    Times {
        /// The row, from 1.
        row: usize,
    },
}

/// Runs in the order in which they are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobTrace {
    /// Its name, for people.
    pub name: String,
    /// The names of jobs by their numbers.
    pub jobs: Vec<String>,
    runs: Vec<Run>,
    /// Rows left out, since they have no request or no peak.
    pub unknown: usize,
}

impl JobTrace {
    /// Lays out recorded runs for a replay.
    ///
    /// What the owner asked for is the request of the first attempt; where a row is a later attempt, the
    /// lowest request of its job.
    pub fn new(name: &str, rows: &[JobRow], asked_at: AskedAt) -> Result<Self, JobTraceError> {
        let mut lowest: BTreeMap<&str, f64> = BTreeMap::new();
        let mut known = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            if row.start < row.submit.saturating_sub(ROUNDING) || row.end < row.start.saturating_sub(ROUNDING)
            {
                return Err(JobTraceError::Times { row: place + 1 });
            }
            let (Some(request), Some(peak)) = (positive(row.request), positive(row.peak)) else { continue };
            let least = lowest.entry(&row.job).or_insert(request);
            *least = least.min(request);
            known.push((row, request, peak));
        }
        if known.is_empty() {
            return Err(JobTraceError::Empty);
        }
        let unknown = rows.len() - known.len();
        let asked = |row: &JobRow| if asked_at == AskedAt::Submit { row.submit } else { row.start };
        known.sort_by_key(|(row, ..)| (asked(row), row.start, row.end));
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut jobs = Vec::new();
        let mut runs = Vec::new();
        for (row, request, peak) in known {
            let next = jobs.len() as u32;
            let job = JobIndex(*numbers.entry(&row.job).or_insert(next));
            if job.0 == next {
                jobs.push(row.job.clone());
            }
            let start = row.start.max(row.submit);
            let lasts = row.end.saturating_sub(start).max(0);
            let memory = if row.attempt > 1 { lowest[row.job.as_str()] } else { request };
            runs.push(Run {
                job,
                asked: asked(row),
                start,
                lasts,
                hours: row.took.unwrap_or(lasts as f64) / HOUR,
                ask: Ask { memory, input: positive(row.input) },
                peak,
                late: false,
            });
        }
        mark_late(&mut runs, jobs.len());
        Ok(Self { name: name.to_owned(), jobs, runs, unknown })
    }

    /// Runs that are replayed.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }
}

fn positive(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite() && *value > 0.0)
}

fn mark_late(runs: &mut [Run], jobs: usize) {
    let mut left = vec![0_usize; jobs];
    for run in runs.iter() {
        left[run.job.0 as usize] += 1;
    }
    let all = left.clone();
    for run in runs {
        let job = run.job.0 as usize;
        run.late = left[job] * 2 <= all[job];
        left[job] -= 1;
    }
}

/// What runs came to. Memory over time in GiB-hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct JobTally {
    /// Runs.
    pub runs: u64,
    /// Runs whose first attempt was killed.
    pub failed_runs: u64,
    /// Attempts that were killed; each of them is retried.
    pub killed: u64,
    /// Reserved and not used, killed attempts included.
    pub wasted: f64,
    /// The part of it that killed attempts wasted.
    pub wasted_by_kills: f64,
    /// Used by the attempts that did their work: peak x time.
    pub used: f64,
}

impl JobTally {
    fn add(&mut self, other: &Self, times: u32) {
        let (whole, share) = (u64::from(times), f64::from(times));
        self.runs += other.runs * whole;
        self.failed_runs += other.failed_runs * whole;
        self.killed += other.killed * whole;
        self.wasted += other.wasted * share;
        self.wasted_by_kills += other.wasted_by_kills * share;
        self.used += other.used * share;
    }

    /// Used over reserved.
    pub fn used_over_reserved(&self) -> f64 {
        self.used / (self.used + self.wasted)
    }
}

/// The tallies of each job, of the earlier and of the later half of its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobTallies {
    halves: Vec<[JobTally; 2]>,
}

impl JobTallies {
    fn sum(&self, part: impl Fn(usize, usize) -> u32) -> JobTally {
        let mut sum = JobTally::default();
        for (job, halves) in self.halves.iter().enumerate() {
            for (half, tally) in halves.iter().enumerate() {
                sum.add(tally, part(job, half));
            }
        }
        sum
    }

    /// All runs.
    pub fn all(&self) -> JobTally {
        self.sum(|_, _| 1)
    }
}

/// What comes next: kills before ends before new runs, so that what is known at an instant is known.
type Event = Reverse<(i64, Kind, usize, u32)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Killed,
    Finished,
    Asked,
}

/// Replays all runs past a policy. A killed attempt is killed after this share of the run's time.
pub fn replay(trace: &JobTrace, policy: &mut dyn JobPolicy, killed_after: f64) -> JobTallies {
    let mut tallies = JobTallies { halves: vec![[JobTally::default(); 2]; trace.jobs.len()] };
    let mut limits = vec![0.0_f64; trace.runs.len()];
    let mut events: BinaryHeap<Event> =
        trace.runs.iter().enumerate().map(|(n, run)| Reverse((run.asked, Kind::Asked, n, 1))).collect();
    while let Some(Reverse((at, kind, number, attempt))) = events.pop() {
        let run = &trace.runs[number];
        let outcome =
            |end, hours| RunOutcome { end, limit: limits[number], hours, cpu: None, input: run.ask.input };
        let (limit, from, attempt) = match kind {
            Kind::Finished => {
                policy.observe_run(run.job, &outcome(RunEnd::Finished { peak: run.peak }, run.hours));
                continue;
            }
            Kind::Killed => {
                policy.observe_run(run.job, &outcome(RunEnd::Killed, run.hours * killed_after));
                let before = limits[number];
                let next = policy.retry_size(run.job, &run.ask, attempt, before);
                (next.max(before * STEP_LEAST), at, attempt + 1)
            }
            Kind::Asked => (policy.first_size(run.job, &run.ask), at.max(run.start), 1),
        };
        limits[number] = limit;
        let tally = &mut tallies.halves[run.job.0 as usize][usize::from(run.late)];
        tally.runs += u64::from(attempt == 1);
        if limit < run.peak {
            let wasted = limit / GIB * run.hours * killed_after;
            tally.failed_runs += u64::from(attempt == 1);
            tally.killed += 1;
            tally.wasted += wasted;
            tally.wasted_by_kills += wasted;
            let lasts = (run.hours * killed_after * HOUR) as i64;
            events.push(Reverse((from.saturating_add(lasts), Kind::Killed, number, attempt)));
        } else {
            tally.wasted += (limit - run.peak) / GIB * run.hours;
            tally.used += run.peak / GIB * run.hours;
            let lasts = run.lasts.max((run.hours * HOUR) as i64);
            events.push(Reverse((from.saturating_add(lasts), Kind::Finished, number, attempt)));
        }
    }
    tallies
}

/// One policy's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobLine {
    /// The policy as it was asked for.
    pub policy: String,
    /// All runs, kills at the end of a run.
    pub all: JobTally,
    /// Used over reserved.
    pub used_over_reserved: f64,
    /// The interval of what was wasted, over draws of jobs.
    pub wasted_interval: Option<Interval>,
    /// Wasted over what doubling wasted.
    pub over_doubling: f64,
    /// Its interval, over the same draws.
    pub over_doubling_interval: Option<Interval>,
    /// All runs, kills at half of a run.
    pub killed_at_half: JobTally,
    /// The later half of each job's runs.
    pub later: JobTally,
    /// Every second job, and the others.
    pub jobs_apart: [JobTally; 2],
}

/// The figures of a trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobReport {
    /// Its name.
    pub trace: String,
    /// Jobs.
    pub jobs: usize,
    /// Runs.
    pub runs: usize,
    /// Rows left out.
    pub unknown: usize,
    /// A line a policy, in the order asked for.
    pub lines: Vec<JobLine>,
}

/// Replays a trace past policies by name.
pub fn report(trace: &JobTrace, policies: &[&str]) -> Result<JobReport, CatalogueError> {
    let run = |policy: &str, killed_after: f64| -> Result<JobTallies, CatalogueError> {
        Ok(replay(trace, job_policy(policy)?.as_mut(), killed_after))
    };
    let draws = Draws::new(trace.jobs.len(), DRAWS, SEED);
    let drawn = |tallies: &JobTallies| -> Vec<f64> {
        draws.times().map(|times| tallies.sum(|job, _| times[job]).wasted).collect()
    };
    let base = run(BASE, 1.0)?;
    let base_drawn = drawn(&base);
    let line = |policy: &&str| -> Result<JobLine, CatalogueError> {
        let (tallies, half) = (run(policy, 1.0)?, run(policy, 0.5)?);
        let wasted = drawn(&tallies);
        let ratios: Vec<f64> = wasted.iter().zip(&base_drawn).map(|(own, base)| own / base).collect();
        let all = tallies.all();
        Ok(JobLine {
            policy: (*policy).to_owned(),
            all,
            used_over_reserved: all.used_over_reserved(),
            wasted_interval: Interval::of(&wasted),
            over_doubling: all.wasted / base.all().wasted,
            over_doubling_interval: Interval::of(&ratios),
            killed_at_half: half.all(),
            later: tallies.sum(|_, half| half as u32),
            jobs_apart: [0, 1].map(|parity| tallies.sum(|job, _| u32::from(job % 2 == parity))),
        })
    };
    Ok(JobReport {
        trace: trace.name.clone(),
        jobs: trace.jobs.len(),
        runs: trace.runs(),
        unknown: trace.unknown,
        lines: policies.iter().map(line).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn row(job: &str, submit: i64, peak_gib: f64) -> JobRow {
        JobRow {
            job: job.to_owned(),
            submit: submit * HOUR_MS,
            start: submit * HOUR_MS,
            end: (submit + 1) * HOUR_MS,
            took: None,
            request: Some(8.0 * GIB),
            peak: Some(peak_gib * GIB),
            input: None,
            attempt: 1,
        }
    }

    fn tally(rows: &[JobRow], policy: &str, killed_after: f64) -> JobTally {
        let trace = JobTrace::new("t", rows, AskedAt::Submit).expect("runs");
        replay(&trace, job_policy(policy).expect("a policy").as_mut(), killed_after).all()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
    }

    #[test]
    fn what_is_wasted_follows_its_definition() {
        // 8 GiB are too little for 10, 16 are not: 8 wasted by the kill and 6 by the retry.
        let rows = [row("a", 0, 2.0), row("a", 5, 10.0)];
        let all = tally(&rows, "doubling", 1.0);
        assert_eq!((all.runs, all.failed_runs, all.killed), (2, 1, 1));
        close(all.wasted, 6.0 + 8.0 + 6.0);
        close(all.wasted_by_kills, 8.0);
        close(all.used_over_reserved(), 12.0 / 32.0);
        close(tally(&rows, "doubling", 0.5).wasted, 6.0 + 4.0 + 6.0);
    }

    #[test]
    fn nothing_is_known_of_a_run_before_it_ends() {
        // The second run is submitted before the first has ended, the third afterwards.
        let mut rows = vec![row("a", 0, 2.0), row("a", 0, 2.0), row("a", 3, 2.0)];
        rows[1].submit += HOUR_MS / 2;
        rows[1].start += HOUR_MS * 2;
        rows[1].end += HOUR_MS * 2;
        let policy = "percentile:margin=1.5";
        close(tally(&rows, policy, 1.0).wasted, 6.0 + 6.0 + 1.0);
        let trace = JobTrace::new("t", &rows, AskedAt::Start).expect("runs");
        let asked_later = replay(&trace, job_policy(policy).expect("a policy").as_mut(), 1.0).all();
        close(asked_later.wasted, 6.0 + 1.0 + 1.0);
    }

    #[test]
    fn later_runs_change_nothing_that_came_before() {
        let rows: Vec<JobRow> = (0..60).map(|n| row("a", n * 2, 1.0 + (n % 7) as f64 / 3.0)).collect();
        let mut other = rows.clone();
        other[59].peak = Some(100.0 * GIB);
        for policy in ["loadline", "tovar-ppm", "witt-lr"] {
            let halves = |rows: &[JobRow]| {
                let trace = JobTrace::new("t", rows, AskedAt::Submit).expect("runs");
                replay(&trace, job_policy(policy).expect("a policy").as_mut(), 1.0)
            };
            assert_eq!(halves(&rows).halves[0][0], halves(&other).halves[0][0], "{policy}");
        }
    }

    #[test]
    fn rows_that_cannot_be_replayed_are_counted_or_named() {
        let mut rows = vec![row("a", 0, 2.0), row("a", 1, 2.0)];
        rows[1].peak = None;
        let trace = JobTrace::new("t", &rows, AskedAt::Submit).expect("runs");
        assert_eq!((trace.runs(), trace.unknown), (1, 1));
        rows[0].end = -1_000_000;
        let fault = JobTrace::new("t", &rows, AskedAt::Submit).expect_err("a fault");
        assert_eq!(fault.to_string(), "row 1: submit, start and end are out of order");
        assert_eq!(JobTrace::new("t", &[], AskedAt::Submit), Err(JobTraceError::Empty));
    }

    #[test]
    fn a_later_attempt_asks_for_what_the_first_asked_for() {
        let mut rows = vec![row("a", 0, 2.0), row("a", 5, 10.0)];
        (rows[1].request, rows[1].attempt) = (Some(16.0 * GIB), 2);
        assert_eq!(tally(&rows, "request", 1.0).killed, 1);
        rows[1].attempt = 1;
        assert_eq!(tally(&rows, "request", 1.0).killed, 0);
    }
}
