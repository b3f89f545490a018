//! Loadline's own sizes of runs: each rung is the size of least expected cost, from the first attempt to
//! the retries after kills.
//!
//! In: how attempts ended. Out: sizes. The cost of a size is what it reserves over the time of a usual run,
//! plus, by the chance that it does not do: that time again at the next rung, and the price of a killed
//! run. The price is in GiB-hours, so that a short run gets room where room costs next to nothing and a
//! long one gets none that it is unlikely to need.
//!
//! What the owner asks for is taken as enough until a run has come near it or was killed at it. Room
//! that brings the chance of a kill under `risk` is enough, whatever its price. Chances are multiplied by what
//! came true over what was said, over all jobs: where the past says too little of the future, caution
//! grows.

use serde::{Deserialize, Serialize};

use crate::estimation::EstimationError;
use crate::estimation::jobs::state::JobState;
use crate::estimation::jobs::tail::{Prediction, own_excess};
use crate::estimation::jobs::{Ask, ByJob, JobIndex, JobPolicy, RunEnd, RunOutcome};

/// Bytes in a GiB.
const GIB: f64 = 1_073_741_824.0;
/// The chances of a kill that are weighed against each other, from much risk to none worth telling.
const CHANCES: [f64; 16] =
    [0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5];
/// A job that has used this share of what its owner asks for has come near it.
const NEAR: f64 = 0.95;
/// A rung is at least this much above the one before.
const STEP_LEAST: f64 = 1.02;
/// And at most this much, where it is above what the owner asks for: a leak has no right size.
const STEP_MOST: f64 = 4.0;
/// The prior of the pool's mean excess counts as so many jobs.
const POOL_PRIOR_JOBS: f64 = 4.0;
/// The prior of chances being right counts as so many kills.
const CALIBRATION_PRIOR: f64 = 3.0;

/// What sizes depend on besides what is learned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LadderParameters {
    /// What a killed run costs besides the memory that it wasted, in GiB-hours.
    pub price: f64,
    /// A chance of a kill that is low enough, whatever a kill costs.
    pub risk: f64,
    /// The mean excess of a tail before any job has shown one, in logarithms.
    pub excess: f64,
    /// Bytes: no run gets less, unless its owner asks for less.
    pub floor: f64,
}

impl Default for LadderParameters {
    fn default() -> Self {
        Self { price: 2000.0, risk: 1e-4, excess: 0.2, floor: 33_554_432.0 }
    }
}

impl LadderParameters {
    fn check(self) -> Result<Self, EstimationError> {
        let fault = |name, found, expected| Err(EstimationError::Parameter { name, found, expected });
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.price) {
            return fault("price", self.price, "GiB-hours above 0");
        }
        if !(positive(self.risk) && self.risk <= 1.0) {
            return fault("risk", self.risk, "a chance above 0, at most 1");
        }
        if !positive(self.excess) {
            return fault("excess", self.excess, "above 0");
        }
        if !positive(self.floor) {
            return fault("floor", self.floor, "bytes above 0");
        }
        Ok(self)
    }
}

/// What all jobs together say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    excess: f64,
    jobs: f64,
    /// Kills that were to be expected of the attempts that ended, and those that came.
    expected: f64,
    killed: f64,
}

impl Fleet {
    /// The mean excess of a usual job's tail.
    fn excess(&self, parameters: &LadderParameters) -> f64 {
        (POOL_PRIOR_JOBS * parameters.excess + self.excess) / (POOL_PRIOR_JOBS + self.jobs)
    }

    /// How much too low chances have been.
    fn calibration(&self) -> f64 {
        ((CALIBRATION_PRIOR + self.killed) / (CALIBRATION_PRIOR + self.expected)).max(1.0)
    }

    fn is_sound(&self) -> bool {
        let fine = |value: f64| value.is_finite() && value >= 0.0;
        fine(self.excess.max(0.0)) && fine(self.jobs) && fine(self.expected) && fine(self.killed)
    }
}

/// What is remembered of one job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LadderState {
    /// Its runs.
    pub state: JobState,
    /// What it brings to the pool.
    excess: Option<f64>,
}

impl LadderState {
    pub(super) fn is_sound(&self) -> bool {
        self.state.is_sound() && self.excess.is_none_or(|excess| excess.is_finite() && excess >= 0.0)
    }
}

/// A size and the chance of a kill that is expected of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rung {
    /// Bytes.
    pub bytes: f64,
    /// The chance that a run which got here needs more; absent where nothing was learned.
    pub chance: Option<f64>,
}

/// What all sizes follow from.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ladder {
    parameters: LadderParameters,
    /// What all jobs together say.
    pub fleet: Fleet,
}

impl Ladder {
    /// A ladder that has seen nothing.
    pub fn new(parameters: LadderParameters) -> Result<Self, EstimationError> {
        Ok(Self { parameters: parameters.check()?, fleet: Fleet::default() })
    }

    /// Takes the place of what the fleet says; tells whether it can.
    pub(super) fn restore(&mut self, fleet: Fleet) -> bool {
        let sound = fleet.is_sound();
        if sound {
            self.fleet = fleet;
        }
        sound
    }

    /// Takes in how an attempt at a run of a job ended.
    pub fn observe(&mut self, job: &mut LadderState, run: &RunOutcome) {
        let pool = self.fleet.excess(&self.parameters);
        // What would have been said of this limit before the attempt ended.
        if let Some(prediction) = Prediction::of(&job.state, run.input, pool) {
            self.fleet.expected += prediction.survival(run.limit);
            self.fleet.killed += f64::from(u8::from(run.end == RunEnd::Killed));
        }
        job.state.observe(run);
        self.pool(job, own_excess(&job.state));
    }

    /// Drops what a job that is no more brought to the pool.
    pub fn forget(&mut self, job: &mut LadderState) {
        self.pool(job, None);
        *job = LadderState::default();
    }

    fn pool(&mut self, job: &mut LadderState, excess: Option<f64>) {
        for (one, sign) in [(job.excess, -1.0), (excess, 1.0)] {
            self.fleet.excess += sign * one.unwrap_or_default();
            self.fleet.jobs += sign * f64::from(u8::from(one.is_some()));
        }
        job.excess = excess;
    }

    /// The size of the first attempt.
    pub fn first(&self, job: Option<&LadderState>, ask: &Ask) -> Rung {
        let Some((state, prediction)) = self.known(job, ask) else {
            let reached = job.map_or(0.0, |job| job.state.reached());
            // Killed, and nothing else known: twice that, if it was not less than asked for.
            let bytes = if reached >= ask.memory { reached * 2.0 } else { ask.memory };
            return Rung { bytes, chance: None };
        };
        let best = self.choose(state, &prediction, ask, 0.0);
        let enough = self.parameters.risk / self.fleet.calibration();
        let bytes = prediction.quantile(enough).min(best).max(self.parameters.floor.min(ask.memory));
        Rung { bytes, chance: Some(self.chance(&prediction, bytes)) }
    }

    /// The size of the attempt after one that was killed at `limit`.
    pub fn retry(&self, job: Option<&LadderState>, ask: &Ask, limit: f64) -> Rung {
        let Some((state, prediction)) = self.known(job, ask) else {
            let bytes = if limit < ask.memory { ask.memory } else { limit * 2.0 };
            return Rung { bytes, chance: None };
        };
        let most = ask.memory.max(limit * STEP_MOST);
        let bytes = self.choose(state, &prediction, ask, limit).clamp(limit * STEP_LEAST, most);
        let chance = self.chance(&prediction, bytes) / self.chance(&prediction, limit).max(f64::MIN_POSITIVE);
        Rung { bytes, chance: Some(chance.min(1.0)) }
    }

    fn known<'a>(&self, job: Option<&'a LadderState>, ask: &Ask) -> Option<(&'a JobState, Prediction)> {
        let state = &job?.state;
        let pool = self.fleet.excess(&self.parameters);
        // Peaks near what was asked for may have been held back by it, as heaps sized by the limit are:
        // how far they would go is not known, but doubling is what everyone tries next.
        let excess = if is_near(state, ask) { pool.max(std::f64::consts::LN_2) } else { pool };
        Some((state, Prediction::of(state, ask.input, excess)?))
    }

    fn chance(&self, prediction: &Prediction, bytes: f64) -> f64 {
        (prediction.survival(bytes) * self.fleet.calibration()).min(1.0)
    }

    /// The size above `limit` of least expected cost, given that `limit` did not do.
    fn choose(&self, state: &JobState, prediction: &Prediction, ask: &Ask, limit: f64) -> f64 {
        let asked = ask.memory;
        let trusted = !is_near(state, ask) && limit < asked;
        let reached = if limit > 0.0 { prediction.survival(limit) } else { 1.0 };
        let given = |bytes: f64| (prediction.survival(bytes) / reached.max(f64::MIN_POSITIVE)).min(1.0);
        let calibration = self.fleet.calibration();
        let hours = state.hours();
        let cost = |bytes: f64, chance: f64| {
            let chance = (chance * calibration).min(1.0);
            let next = prediction.quantile(reached * chance / 10.0).max(bytes * 1.1);
            let next = if trusted { next.min(asked).max(bytes) } else { next };
            let reserved = bytes * (1.0 - chance) + chance * (bytes + next);
            hours * reserved / GIB + self.parameters.price * chance
        };
        let mut best = (f64::INFINITY, limit * STEP_MOST);
        let mut weigh = |bytes: f64, chance: f64| {
            let cost = cost(bytes, chance);
            if cost < best.0 {
                best = (cost, bytes);
            }
        };
        for chance in CHANCES {
            let bytes = prediction.quantile(reached * chance);
            if bytes > limit * STEP_LEAST && !(trusted && bytes >= asked) {
                weigh(bytes, chance);
            }
        }
        if asked > limit {
            weigh(asked, if trusted { 0.0 } else { given(asked) });
        }
        if limit > 0.0 && !trusted {
            weigh(limit * 2.0, given(limit * 2.0));
            weigh(limit * STEP_MOST, 0.0);
        }
        best.1
    }
}

/// Whether a run has come near what its owner asks for, or was killed there.
fn is_near(state: &JobState, ask: &Ask) -> bool {
    state.highest() >= ask.memory * NEAR || state.reached() >= ask.memory * NEAR
}

/// The ladder with the states of any number of jobs.
#[derive(Debug, Clone, Default)]
pub struct LadderPolicy {
    ladder: Ladder,
    jobs: ByJob<LadderState>,
}

impl LadderPolicy {
    /// A policy that knows nothing yet.
    pub fn new(parameters: LadderParameters) -> Result<Self, EstimationError> {
        Ok(Self { ladder: Ladder::new(parameters)?, jobs: ByJob::default() })
    }
}

impl JobPolicy for LadderPolicy {
    fn observe_run(&mut self, job: JobIndex, run: &RunOutcome) {
        self.ladder.observe(self.jobs.of(job), run);
    }

    fn first_size(&self, job: JobIndex, ask: &Ask) -> f64 {
        self.ladder.first(self.jobs.get(job), ask).bytes
    }

    fn retry_size(&self, job: JobIndex, ask: &Ask, _: u32, limit: f64) -> f64 {
        self.ladder.retry(self.jobs.get(job), ask, limit).bytes
    }

    fn forget(&mut self, job: JobIndex) {
        self.ladder.forget(self.jobs.of(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobIndex = JobIndex(0);

    fn run(end: RunEnd, limit: f64, hours: f64) -> RunOutcome {
        RunOutcome { end, limit: limit * GIB, hours, cpu: None, input: None }
    }

    /// Twenty runs of so many hours with peaks from 1 to 1.2 GiB.
    fn after(parameters: LadderParameters, hours: f64) -> LadderPolicy {
        let mut policy = LadderPolicy::new(parameters).expect("a policy");
        for n in 0..20 {
            let peak = (1.0 + f64::from(n % 5) * 0.05) * GIB;
            policy.observe_run(JOB, &run(RunEnd::Finished { peak }, 16.0, hours));
        }
        policy
    }

    const ASK: Ask = Ask { memory: 16.0 * GIB, input: None };

    #[test]
    fn long_runs_get_little_room_and_short_ones_much() {
        let parameters = LadderParameters { risk: 1e-9, ..LadderParameters::default() };
        let first = |hours| after(parameters, hours).first_size(JOB, &ASK) / GIB;
        let sizes = [1000.0, 10.0, 0.1, 0.0001].map(first);
        assert!(sizes[0] > 1.2 && sizes[0] < 2.0, "{sizes:?}");
        assert!(sizes.windows(2).all(|pair| pair[0] <= pair[1]), "{sizes:?}");
        assert!((sizes[3] - 16.0).abs() < 1e-6, "what its owner asks for costs next to nothing: {sizes:?}");
        // A chance that is low enough whatever the price ends that.
        let short = after(LadderParameters::default(), 0.0001).first_size(JOB, &ASK) / GIB;
        assert!(short < 8.0 && short > 1.2, "{short}");
    }

    #[test]
    fn a_dearer_kill_gives_more_room() {
        let first = |price| {
            let parameters = LadderParameters { price, ..LadderParameters::default() };
            after(parameters, 1.0).first_size(JOB, &ASK)
        };
        let sizes = [1.0, 10.0, 100.0, 1000.0].map(first);
        assert!(sizes.windows(2).all(|pair| pair[0] < pair[1]), "{sizes:?}");
    }

    #[test]
    fn a_retry_climbs_and_ends_at_what_was_asked_for_while_that_is_trusted() {
        let policy = after(LadderParameters::default(), 1.0);
        let (mut limit, mut rungs) = (1.3 * GIB, 0);
        while limit < ASK.memory {
            let next = policy.retry_size(JOB, &ASK, 1, limit);
            assert!(next >= limit * STEP_LEAST && next <= ASK.memory, "{} after {}", next / GIB, limit / GIB);
            (limit, rungs) = (next, rungs + 1);
        }
        assert!(rungs <= 3, "{rungs}");
        assert!(policy.retry_size(JOB, &ASK, 2, 16.0 * GIB) <= 64.0 * GIB);
    }

    #[test]
    fn kills_make_the_whole_fleet_more_careful() {
        let mut policy = after(LadderParameters::default(), 1.0);
        let before = policy.first_size(JOB, &ASK);
        for _ in 0..30 {
            policy.observe_run(JobIndex(1), &run(RunEnd::Finished { peak: GIB }, 8.0, 1.0));
            policy.observe_run(JobIndex(1), &run(RunEnd::Killed, 2.0, 1.0));
        }
        assert!(policy.ladder.fleet.calibration() > 5.0, "{:?}", policy.ladder.fleet);
        assert!(policy.first_size(JOB, &ASK) > before);
    }

    #[test]
    fn near_its_limit_a_job_gets_more_than_it_asks_for() {
        let ask = Ask { memory: 1.22 * GIB, input: None };
        assert!(after(LadderParameters::default(), 0.1).first_size(JOB, &ask) > 1.5 * ask.memory);
    }

    #[test]
    fn a_job_that_is_forgotten_leaves_the_pool() {
        let mut policy = after(LadderParameters::default(), 1.0);
        assert!((policy.ladder.fleet.jobs - 1.0).abs() < 1e-12);
        policy.forget(JOB);
        assert!(policy.ladder.fleet.jobs.abs() < 1e-12 && policy.ladder.fleet.excess.abs() < 1e-9);
        assert!((policy.first_size(JOB, &ASK) - ASK.memory).abs() < 1e-3);
    }
}
