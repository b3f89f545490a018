//! Sizes of cron jobs and jobs for the engine: the ladder by the names of workloads, within bounds, in words.
//!
//! In: how attempts at runs ended. Out: an `Estimate` as services get one, and the rungs that a retry after
//! a kill climbs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use crate::domain::recommendation::{Estimate, Recommendation, Withheld};
use crate::domain::workload::WorkloadName;
use crate::estimation::jobs::ladder::{Fleet, Ladder, LadderState};
use crate::estimation::jobs::state::JobState;
use crate::estimation::jobs::{Ask, RunOutcome};
use crate::estimation::{EstimationError, Subject};

/// Fewer runs that did their work say too little.
const RUNS_LEAST: u64 = 3;
/// Rungs that are worked out ahead.
const RUNGS: usize = 6;
/// CPU requests cover this share of the runs: a run that gets less takes longer, nothing worse.
const CPU_SHARE: f64 = 0.9;
/// No CPU request is smaller.
const CPU_LEAST: Millicores = Millicores::new(10);
/// A request above so many times the recommended one is too large.
const ROOM: f64 = 1.5;
/// The version of the checkpoint.
const VERSION: u32 = 1;

/// What is known of the runs of all workloads.
#[derive(Debug, Clone, Default)]
pub struct JobEstimator {
    ladder: Ladder,
    jobs: BTreeMap<WorkloadName, LadderState>,
}

#[derive(Serialize, Deserialize)]
struct Checkpoint {
    version: u32,
    fleet: Fleet,
    jobs: BTreeMap<WorkloadName, LadderState>,
}

impl JobEstimator {
    /// Takes in how an attempt at a run ended.
    pub fn observe_run(&mut self, workload: &WorkloadName, run: &RunOutcome) {
        if !self.jobs.contains_key(workload) {
            self.jobs.insert(workload.clone(), LadderState::default());
        }
        if let Some(job) = self.jobs.get_mut(workload) {
            self.ladder.observe(job, run);
        }
    }

    /// Drops what is known of a workload that is no more.
    pub fn forget(&mut self, workload: &WorkloadName) {
        if let Some(mut job) = self.jobs.remove(workload) {
            self.ladder.forget(&mut job);
        }
    }

    /// The size for the next run, or why there is none.
    pub fn estimate(&self, subject: &Subject<'_>, now: Timestamp) -> Estimate {
        let job = self.jobs.get(subject.workload);
        let finished = job.map_or(0, |job| job.state.finished());
        let Some(job) = job.filter(|_| finished >= RUNS_LEAST) else {
            return Estimate::Withheld(match finished {
                0 => Withheld::NoSamples,
                samples => Withheld::TooYoung { samples, needed: RUNS_LEAST },
            });
        };
        let (declared, bounds) = (subject.declared, subject.bounds);
        let rung = self.ladder.first(Some(job), &ask(declared));
        let limit = Bytes::from_f64(rung.bytes);
        let wanted = share_of(limit, declared.request.memory, declared.memory_limit);
        let memory = wanted
            .max(bounds.min_memory.unwrap_or_default())
            .min(bounds.max_memory.unwrap_or(Bytes::new(u64::MAX)));
        let (cpu, cpu_words) = cpu(&job.state, subject);
        let request = Resources::new(cpu, memory);
        let memory_limit = if memory == wanted {
            limit.max(memory)
        } else {
            share_of(memory, declared.memory_limit, declared.request.memory).max(memory)
        };
        let cpu_limit = declared.cpu_limit.map(|limit| in_ratio(cpu, limit, declared.request.cpu));
        let size = TaskSize { request, cpu_limit, memory_limit };
        let risk = rung.chance;
        let price = |request| subject.prices.per_hour(request);
        let highest = Bytes::from_f64(job.state.highest());
        let held = if memory == wanted { "" } else { ", held within the policy's bounds" };
        let peaks = format!("the highest of {} runs used {highest}", job.state.runs().len());
        Estimate::Recommended(Box::new(Recommendation {
            workload: subject.workload.clone(),
            at: now,
            size,
            lower: Resources::new(Millicores::new(cpu.get() / 2), memory.min(highest)),
            upper: Resources::new(
                Millicores::new(cpu.get().saturating_mul(2)),
                Bytes::from_f64(memory.as_f64() * ROOM),
            ),
            samples: finished,
            confidence_days: job.state.hours() * job.state.runs().len() as f64 / 24.0,
            reason: format!("{cpu_words}; memory by run peaks: {peaks}{held}"),
            price_effect: price(request) - price(subject.current.request),
            // Per run, not per task-day: a run is what a kill costs.
            risk: None,
            reasons: reasons(job, risk, peaks),
            candidates: Vec::new(),
            findings: Vec::new(),
        }))
    }

    /// The memory limits that retries climb after a kill at the workload's own size, ascending, none above
    /// `most`. Empty where too little is known.
    pub fn rungs(
        &self,
        workload: &WorkloadName,
        own: TaskSize,
        declared: TaskSize,
        most: Bytes,
    ) -> Vec<Bytes> {
        let job = self.jobs.get(workload).filter(|job| job.state.finished() >= RUNS_LEAST);
        let mut rungs = Vec::new();
        let mut limit = own.memory_limit;
        while let Some(job) = job.filter(|_| rungs.len() < RUNGS && limit < most) {
            let next = self.ladder.retry(Some(job), &ask(declared), limit.as_f64());
            limit = Bytes::from_f64(next.bytes).max(Bytes::new(limit.get().saturating_add(1))).min(most);
            rungs.push(limit);
        }
        rungs
    }

    /// Everything that it knows.
    pub fn checkpoint(&self) -> Result<Vec<u8>, EstimationError> {
        let (version, fleet, jobs) = (VERSION, self.ladder.fleet, self.jobs.clone());
        Ok(serde_json::to_vec(&Checkpoint { version, fleet, jobs })?)
    }

    /// Takes the place of what it knows. On an error nothing changes.
    pub fn restore(&mut self, checkpoint: &[u8]) -> Result<(), EstimationError> {
        let read: Checkpoint = serde_json::from_slice(checkpoint)?;
        let unfit = |why: String| Err(EstimationError::CheckpointUnfit(why));
        if read.version != VERSION {
            return unfit(format!("version {} of run peaks, this is {VERSION}", read.version));
        }
        if let Some((name, _)) = read.jobs.iter().find(|(_, job)| !job.is_sound()) {
            return unfit(format!("the runs of {name}"));
        }
        if !self.ladder.restore(read.fleet) {
            return unfit("what all jobs say".to_owned());
        }
        self.jobs = read.jobs;
        Ok(())
    }
}

fn ask(declared: TaskSize) -> Ask {
    Ask { memory: declared.memory_limit.as_f64(), input: None }
}

fn cpu(state: &JobState, subject: &Subject<'_>) -> (Millicores, String) {
    let current = subject.current.request.cpu;
    let Some(cores) = state.cpu_percentile(CPU_SHARE) else {
        return (current, "CPU as it is, runs too short to measure it".to_owned());
    };
    // Kept in 32 bits: without this 0.2 would be 201 millicores.
    let cores = (cores * 1e4).round() / 1e4;
    let bounds = subject.bounds;
    let wanted = Millicores::from_cores(cores).max(CPU_LEAST).max(bounds.min_cpu.unwrap_or_default());
    let cpu = wanted.min(bounds.max_cpu.unwrap_or(Millicores::new(u64::MAX)));
    (cpu, format!("CPU covers the peaks of 90 % of the runs, {cores:.3} cores"))
}

fn reasons(job: &LadderState, risk: Option<f64>, peaks: String) -> Vec<String> {
    let mut reasons = vec![peaks];
    if let Some(risk) = risk {
        reasons.push(format!("a run is killed with a chance of {:.3} %", risk * 100.0));
    }
    let minutes = job.state.hours() * 60.0;
    reasons.push(format!("a usual run takes {minutes:.1} minutes"));
    reasons
}

/// `amount` in the ratio of `part` to `whole`; itself where there is no ratio.
fn share_of(amount: Bytes, part: Bytes, whole: Bytes) -> Bytes {
    if part == whole || whole == Bytes::ZERO {
        return amount;
    }
    Bytes::from_f64(amount.as_f64() * part.as_f64() / whole.as_f64())
}

fn in_ratio(request: Millicores, limit: Millicores, declared: Millicores) -> Millicores {
    if declared == Millicores::ZERO {
        return limit.max(request);
    }
    Millicores::from_cores(request.cores() * limit.cores() / declared.cores()).max(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::{MicroCents, Prices};
    use crate::domain::policy::SizeBounds;
    use crate::estimation::jobs::RunEnd;

    fn name() -> WorkloadName {
        WorkloadName::new("report").expect("a name")
    }

    fn declared() -> TaskSize {
        TaskSize::of(Resources::new(Millicores::new(500), Bytes::mib(512)))
    }

    fn after(runs: u32) -> JobEstimator {
        let mut estimator = JobEstimator::default();
        for run in 0..runs {
            let peak = 40e6 + f64::from(run % 5) * 1e5;
            let outcome = RunOutcome {
                end: RunEnd::Finished { peak },
                limit: 5e8,
                hours: 0.01,
                cpu: Some(0.2),
                input: None,
            };
            estimator.observe_run(&name(), &outcome);
        }
        estimator
    }

    fn estimate(estimator: &JobEstimator, bounds: SizeBounds) -> Estimate {
        let name = name();
        let prices = Prices { core_hour: MicroCents::new(4_000_000), gib_hour: MicroCents::new(400_000) };
        let subject = Subject { workload: &name, declared: declared(), current: declared(), bounds, prices };
        estimator.estimate(&subject, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_job_gets_a_size_from_its_third_run_on() {
        assert_eq!(estimate(&after(0), SizeBounds::default()), Estimate::Withheld(Withheld::NoSamples));
        let young = Estimate::Withheld(Withheld::TooYoung { samples: 2, needed: 3 });
        assert_eq!(estimate(&after(2), SizeBounds::default()), young);
        let mut before = Bytes::mib(512);
        for runs in [3, 10, 40] {
            let Estimate::Recommended(said) = estimate(&after(runs), SizeBounds::default()) else {
                panic!("no size after {runs} runs");
            };
            let memory = said.size.request.memory;
            assert!(memory <= before && memory > Bytes::new(40_400_000), "{runs} runs: {memory}");
            assert_eq!((said.size.memory_limit, said.size.request.cpu), (memory, Millicores::new(200)));
            assert!(said.price_effect < MicroCents::new(0) && said.reasons.len() == 3, "{said:?}");
            before = memory;
        }
        // Three runs prove little: what was asked for stays. Forty do.
        assert!(before < Bytes::mib(96), "{before}");
    }

    #[test]
    fn bounds_hold() {
        let bounds = SizeBounds { min_memory: Some(Bytes::mib(300)), ..SizeBounds::default() };
        let Estimate::Recommended(said) = estimate(&after(10), bounds) else { panic!("no size") };
        assert_eq!(said.size.memory_limit, Bytes::mib(300));
        assert!(said.reason.ends_with("held within the policy's bounds"), "{}", said.reason);
    }

    #[test]
    fn rungs_ascend_to_the_most_and_no_further() {
        let own = TaskSize::of(Resources::new(Millicores::new(500), Bytes::mib(64)));
        assert!(after(2).rungs(&name(), own, own, Bytes::mib(900)).is_empty());
        let rungs = after(10).rungs(&name(), own, own, Bytes::mib(900));
        assert!(rungs[0] > Bytes::mib(64) && rungs.windows(2).all(|pair| pair[0] < pair[1]), "{rungs:?}");
        assert!(rungs.iter().all(|rung| *rung <= Bytes::mib(900)), "{rungs:?}");
        let close = after(10).rungs(&name(), own, own, Bytes::mib(70));
        assert_eq!(close.last(), Some(&Bytes::mib(70)));
    }

    #[test]
    fn a_checkpoint_is_exact_and_checked() {
        let mut estimator = after(20);
        let killed = RunOutcome { end: RunEnd::Killed, limit: 6e7, hours: 0.01, cpu: None, input: None };
        estimator.observe_run(&name(), &killed);
        let kept = estimator.checkpoint().expect("written");
        let mut again = JobEstimator::default();
        again.restore(&kept).expect("read");
        assert_eq!(estimate(&again, SizeBounds::default()), estimate(&estimator, SizeBounds::default()));
        assert_eq!(again.checkpoint().expect("written"), kept);
        let other = String::from_utf8(kept).expect("text").replace("\"version\":1", "\"version\":9");
        assert!(again.restore(other.as_bytes()).is_err_and(|error| error.to_string().contains("version 9")));
        again.forget(&name());
        assert_eq!(estimate(&again, SizeBounds::default()), Estimate::Withheld(Withheld::NoSamples));
    }
}
