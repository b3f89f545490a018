//! The rules of others for batch work: what Loadline's ladder is measured against.
//!
//! In: how attempts ended. Out: sizes by the rules as published.
//!
//! - request: what the owner asks for; a retry gets that times the number of the attempt (the usual
//!   setting of nf-core workflows, `memory * task.attempt`).
//! - doubling: what the owner asks for; a retry gets twice what was too little.
//! - percentile: a percentile of the peaks with a margin; a retry gets twice.
//! - witt-lr: a line through input and peak plus the standard deviation of its errors; a retry gets twice
//!   (Witt, Wagner, Leser: Feedback-based resource allocation for batch scheduling of scientific workflows,
//!   HPCS 2019). Without inputs the line is the mean.
//! - tovar-ppm: the first size that would have wasted least over the peaks seen; a retry gets the highest
//!   peak seen, then what the owner asks for (Tovar et al.: A job sizing strategy for high-throughput
//!   scientific workflows, TPDS 2018).
//!
//! Until a run has done its work they give what the owner asks for. Peers that learn do not go under
//! the same floor as the ladder, and remember as many runs.

use crate::estimation::jobs::state::{JobState, KeptRun};
use crate::estimation::jobs::{Ask, ByJob, JobIndex, JobPolicy, RunOutcome};

/// Bytes: no peer goes under this, unless the owner asks for less.
const FLOOR: f64 = 33_554_432.0;

/// A rule for sizes over what is remembered of one job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// What the owner asks for, times the attempt.
    Request,
    /// What the owner asks for, doubled at each failure.
    Doubling,
    /// A percentile of peaks, times a margin.
    Percentile {
        /// The share of peaks that it covers.
        percentile: f64,
        /// The margin.
        margin: f64,
    },
    /// A line plus standard deviations.
    WittLine {
        /// How many.
        deviations: f64,
    },
    /// Least waste over the peaks seen.
    Tovar,
}

/// A rule with the states of any number of jobs.
#[derive(Debug, Clone)]
pub struct Peer {
    rule: Rule,
    jobs: ByJob<JobState>,
}

impl Peer {
    /// A peer that knows nothing yet.
    pub fn new(rule: Rule) -> Self {
        Self { rule, jobs: ByJob::default() }
    }

    fn learned(&self, state: &JobState, ask: &Ask) -> f64 {
        match self.rule {
            Rule::Request | Rule::Doubling => ask.memory,
            Rule::Percentile { percentile, margin } => peak_percentile(state, percentile) * margin,
            Rule::WittLine { deviations } => witt_line(state, ask.input, deviations),
            Rule::Tovar => tovar(state),
        }
    }
}

impl JobPolicy for Peer {
    fn observe_run(&mut self, job: JobIndex, run: &RunOutcome) {
        self.jobs.of(job).observe(run);
    }

    fn first_size(&self, job: JobIndex, ask: &Ask) -> f64 {
        let known = self.jobs.get(job).filter(|state| state.runs().len() > 0);
        known.map_or(ask.memory, |state| self.learned(state, ask).max(FLOOR.min(ask.memory)))
    }

    fn retry_size(&self, job: JobIndex, ask: &Ask, attempt: u32, limit: f64) -> f64 {
        match self.rule {
            Rule::Request => (ask.memory * f64::from(attempt + 1)).max(limit * 1.01),
            Rule::Tovar => {
                let highest = self.jobs.get(job).map_or(0.0, JobState::highest);
                // The kept peak is a logarithm: the next number up, so that the same run fits.
                let rungs = [highest * 1.0001, ask.memory, limit * 2.0];
                rungs.into_iter().find(|bytes| *bytes > limit * 1.01).unwrap_or(limit * 2.0)
            }
            _ => limit * 2.0,
        }
    }

    fn forget(&mut self, job: JobIndex) {
        *self.jobs.of(job) = JobState::default();
    }
}

fn bytes(run: &KeptRun) -> f64 {
    f64::from(run.memory).exp()
}

fn peak_percentile(state: &JobState, percentile: f64) -> f64 {
    let mut peaks: Vec<f64> = state.runs().map(bytes).collect();
    peaks.sort_by(f64::total_cmp);
    let place = (peaks.len() as f64 * percentile).ceil() as usize;
    peaks[place.clamp(1, peaks.len()) - 1]
}

fn witt_line(state: &JobState, input: Option<f64>, deviations: f64) -> f64 {
    let count = state.runs().len() as f64;
    let usable = input.filter(|_| state.runs().all(|run| run.input > 0.0));
    let input_of = |run: &KeptRun| if usable.is_some() { f64::from(run.input).exp() } else { 0.0 };
    let x_mean = state.runs().map(input_of).sum::<f64>() / count;
    let y_mean = state.runs().map(bytes).sum::<f64>() / count;
    let spread: f64 = state.runs().map(|run| (input_of(run) - x_mean).powi(2)).sum();
    let shared: f64 = state.runs().map(|run| (input_of(run) - x_mean) * (bytes(run) - y_mean)).sum();
    let slope = if spread > 0.0 { shared / spread } else { 0.0 };
    let error = |run: &KeptRun| bytes(run) - y_mean - slope * (input_of(run) - x_mean);
    let deviation = (state.runs().map(|run| error(run).powi(2)).sum::<f64>() / count).sqrt();
    y_mean + slope * (usable.unwrap_or(x_mean) - x_mean) + deviations * deviation
}

fn tovar(state: &JobState) -> f64 {
    let highest = state.highest();
    let waste = |size: f64| -> f64 {
        let of = |run: &KeptRun| {
            let (peak, hours) = (bytes(run), f64::from(run.hours));
            if peak <= size { (size - peak) * hours } else { (size + highest - peak) * hours }
        };
        state.runs().map(of).sum()
    };
    let best = state.runs().map(bytes).min_by(|a, b| waste(*a).total_cmp(&waste(*b)));
    best.unwrap_or(highest) * 1.0001
}

#[cfg(test)]
mod known_answers {
    use crate::estimation::jobs::catalogue::job_policy;
    use crate::estimation::jobs::{Ask, JobIndex, JobPolicy, RunEnd, RunOutcome};

    const JOB: JobIndex = JobIndex(2);
    const GIB: f64 = 1_073_741_824.0;
    const ASK: Ask = Ask { memory: 16.0 * GIB, input: None };

    /// Runs of an hour each with these peaks in GiB and inputs in GB.
    fn after(policy: &str, runs: &[(f64, f64)]) -> Box<dyn JobPolicy> {
        let mut policy = job_policy(policy).expect("a policy");
        for &(peak, input) in runs {
            let end = RunEnd::Finished { peak: peak * GIB };
            let (limit, input) = (ASK.memory, Some(input * 1e9));
            policy.observe_run(JOB, &RunOutcome { end, limit, hours: 1.0, cpu: None, input });
        }
        policy
    }

    fn close(found: f64, gib: f64) {
        assert!((found / GIB / gib - 1.0).abs() < 2e-4, "{} GiB, expected {gib}", found / GIB);
    }

    #[test]
    fn all_give_what_is_asked_for_until_a_run_has_done_its_work() {
        for name in ["request", "doubling", "percentile", "witt-lr", "tovar-ppm", "loadline"] {
            close(after(name, &[]).first_size(JOB, &ASK), 16.0);
            close(after(name, &[]).retry_size(JOB, &ASK, 1, ASK.memory), 32.0);
        }
    }

    #[test]
    fn request_multiplies_and_doubling_doubles() {
        let runs = [(1.0, 1.0); 9];
        close(after("request", &runs).first_size(JOB, &ASK), 16.0);
        close(after("request", &runs).retry_size(JOB, &ASK, 2, 32.0 * GIB), 48.0);
        close(after("doubling", &runs).first_size(JOB, &ASK), 16.0);
        close(after("doubling", &runs).retry_size(JOB, &ASK, 2, 32.0 * GIB), 64.0);
    }

    #[test]
    fn a_percentile_has_its_margin() {
        let runs: Vec<(f64, f64)> = (1..=20).map(|n| (f64::from(n) / 10.0, 1.0)).collect();
        close(after("percentile", &runs).first_size(JOB, &ASK), 1.9 * 1.15);
        close(after("percentile:percentile=0.5:margin=2", &runs).first_size(JOB, &ASK), 2.0);
        close(after("percentile", &runs).retry_size(JOB, &ASK, 1, GIB), 2.0);
    }

    #[test]
    fn witts_line_follows_the_input_and_adds_a_deviation() {
        let exact = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)];
        let at = |input| Ask { input: Some(input), ..ASK };
        close(after("witt-lr", &exact).first_size(JOB, &at(8e9)), 8.0);
        // Without an input: mean 2, deviation sqrt(2 / 3).
        close(after("witt-lr", &exact).first_size(JOB, &ASK), 2.0 + (2.0_f64 / 3.0).sqrt());
    }

    #[test]
    fn tovars_size_wastes_least_over_the_peaks_seen() {
        // 1 GiB wastes 1 + 4 - 4 = 1 GiB-h over these runs, 4 GiB wastes 9 x 3.
        let rare = [[(1.0, 1.0); 9].as_slice(), &[(4.0, 1.0)]].concat();
        let tovar = after("tovar-ppm", &rare);
        close(tovar.first_size(JOB, &ASK), 1.0);
        close(tovar.retry_size(JOB, &ASK, 1, 1.0001 * GIB), 4.0);
        close(tovar.retry_size(JOB, &ASK, 2, 4.001 * GIB), 16.0);
        let even = [[(3.0, 1.0); 5].as_slice(), &[(4.0, 1.0); 5]].concat();
        close(after("tovar-ppm", &even).first_size(JOB, &ASK), 4.0);
    }

    #[test]
    fn unknown_names_and_keys_are_refused() {
        let fault = |text: &str| job_policy(text).err().expect("a fault").to_string();
        assert!(fault("best").starts_with("there is no policy `best`; there are request, doubling"));
        assert_eq!(
            fault("loadline:speed=1"),
            "policy loadline has no key `speed`; it has price, risk, excess, floor"
        );
        assert_eq!(fault("loadline:risk=2"), "policy loadline cannot be made");
        let mut forgotten = after("percentile", &[(1.0, 1.0)]);
        forgotten.forget(JOB);
        close(forgotten.first_size(JOB, &ASK), 16.0);
    }
}
