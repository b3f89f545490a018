//! Estimator v1: the recommender of the Kubernetes Vertical Pod Autoscaler, with its constants
//! (`models/vpa-v1.json`). Its parts: `vpa_state` remembers, `vpa_size` makes a size of it.
//!
//! In: samples and kills of all workloads. Out: an `Estimate` a workload.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::recommendation::Estimate;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::estimation::policy::{Kill, Limits, Model, Observation};
use crate::estimation::profile::Profile;
use crate::estimation::vpa_parameters::{ResourceParameters, VpaModel, VpaParameters};
use crate::estimation::vpa_size;
use crate::estimation::vpa_state::VpaState;
use crate::estimation::{EstimationError, Estimator, OomKill, Subject};

/// The version of the checkpoint's layout.
const CHECKPOINT_VERSION: u32 = 1;

/// The VPA recommender for any number of workloads.
#[derive(Debug, Clone, PartialEq)]
pub struct VpaEstimator {
    model: VpaModel,
    workloads: BTreeMap<WorkloadName, Known>,
}

/// What is known of a workload: what sizes are made of, and what findings are.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    state: VpaState,
    profile: Profile,
}

#[derive(Serialize)]
struct CheckpointOut<'a> {
    version: u32,
    parameters: &'a VpaParameters,
    workloads: BTreeMap<&'a WorkloadName, &'a VpaState>,
    profiles: BTreeMap<&'a WorkloadName, &'a Profile>,
}

#[derive(Deserialize)]
struct CheckpointIn {
    version: u32,
    parameters: VpaParameters,
    workloads: BTreeMap<WorkloadName, VpaState>,
    #[serde(default)]
    profiles: BTreeMap<WorkloadName, Profile>,
}

impl VpaEstimator {
    /// An estimator that knows nothing yet; errors name the first parameter that is out of its range.
    pub fn new(parameters: VpaParameters) -> Result<Self, EstimationError> {
        Ok(Self { model: VpaModel::new(parameters)?, workloads: BTreeMap::new() })
    }

    /// What is remembered of a workload.
    pub fn state(&self, workload: &WorkloadName) -> Option<&VpaState> {
        self.workloads.get(workload).map(|known| &known.state)
    }

    fn known(&mut self, workload: &WorkloadName) -> (&VpaModel, &mut Known) {
        if !self.workloads.contains_key(workload) {
            self.workloads.insert(workload.clone(), Known::default());
        }
        let known = self.workloads.get_mut(workload).expect("a workload inserted just now");
        (&self.model, known)
    }
}

impl Estimator for VpaEstimator {
    fn observe(&mut self, sample: &UsageSample) {
        let (model, Known { state, profile }) = self.known(&sample.workload);
        if !state.observe(model, &Observation::of(sample)) {
            return;
        }
        let (task, memory) = (sample.task.number(), sample.memory.as_f64());
        profile.observe(task, sample.at, sample.cpu_cores.map(|cores| cores as f32), Some(memory as f32));
        if sample.oom_kills > 0 {
            // The task lived on: a process within it was killed.
            let reached = sample.request.memory.as_f64();
            state.observe_oom(model, &Kill { task, at: sample.at, reached });
            profile.restarted(task, sample.at);
        }
    }

    fn observe_oom(&mut self, kill: &OomKill) {
        let (model, Known { state, profile }) = self.known(kill.task.workload());
        if state.observe_oom(model, &Kill::of(kill)) {
            profile.restarted(kill.task.number(), kill.at);
        }
    }

    fn estimate(&self, subject: &Subject<'_>, now: Timestamp) -> Estimate {
        let known = self.workloads.get(subject.workload);
        let mut estimate = vpa_size::estimate(&self.model, known.map(|known| &known.state), subject, now);
        if let (Estimate::Recommended(recommendation), Some(known)) = (&mut estimate, known) {
            recommendation.findings = known.profile.findings(now);
        }
        estimate
    }

    fn last_oom(&self, workload: &WorkloadName) -> Option<Timestamp> {
        self.workloads.get(workload)?.state.last_oom().map(|note| note.at)
    }

    fn forget(&mut self, workload: &WorkloadName) {
        self.workloads.remove(workload);
    }

    fn checkpoint(&self) -> Result<Vec<u8>, EstimationError> {
        let content = CheckpointOut {
            version: CHECKPOINT_VERSION,
            parameters: self.model.parameters(),
            workloads: self.workloads.iter().map(|(name, known)| (name, &known.state)).collect(),
            profiles: self.workloads.iter().map(|(name, known)| (name, &known.profile)).collect(),
        };
        Ok(serde_json::to_vec(&content)?)
    }

    /// A checkpoint that was made with other parameters is refused where histograms would mean
    /// something else: the caller begins anew from history.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), EstimationError> {
        let mut content: CheckpointIn = serde_json::from_slice(checkpoint)?;
        let unfit = |message: String| Err(EstimationError::CheckpointUnfit(message));
        if content.version != CHECKPOINT_VERSION {
            return unfit(format!("version {}, expected {CHECKPOINT_VERSION}", content.version));
        }
        if !same_histograms(&content.parameters, self.model.parameters()) {
            return unfit("it was made with other buckets, half-lives, weights or intervals".to_owned());
        }
        if let Some((name, _)) = content.workloads.iter().find(|(_, state)| !state.is_sound(&self.model)) {
            return unfit(format!("the histograms of {name} are damaged"));
        }
        let of = |(name, state): (WorkloadName, VpaState)| {
            let profile = content.profiles.remove(&name).unwrap_or_default();
            (name, Known { state, profile })
        };
        self.workloads = content.workloads.into_iter().map(of).collect();
        Ok(())
    }
}

/// The same states and sizes for a fleet whose workloads have numbers instead of names.
impl Model for VpaModel {
    type State = VpaState;

    fn observe(&self, state: &mut VpaState, sample: &Observation) {
        state.observe(self, sample);
    }

    fn observe_oom(&self, state: &mut VpaState, kill: &Kill) {
        state.observe_oom(self, kill);
    }

    fn limits(&self, state: &VpaState, _: Timestamp) -> Limits {
        vpa_size::targets(self, state)
    }
}

/// Whether states made with either parameters mean the same: percentiles, margins and floors may
/// differ, they are applied when an estimate is made.
fn same_histograms(ours: &VpaParameters, theirs: &VpaParameters) -> bool {
    let of = |p: &VpaParameters| {
        let part = |r: &ResourceParameters| (r.first_bucket, r.largest, r.half_life_seconds, r.sample_weight);
        (part(&p.cpu), part(&p.memory), p.bucket_growth, p.memory_interval_seconds)
    };
    of(ours) == of(theirs)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::{MicroCents, Prices};
    use crate::domain::policy::SizeBounds;
    use crate::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
    use crate::domain::recommendation::{Recommendation, Withheld};
    use crate::domain::task::TaskId;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn web() -> WorkloadName {
        WorkloadName::new("web").expect("a name")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn size() -> TaskSize {
        TaskSize::of(Resources::new(Millicores::new(500), Bytes::mib(128)))
    }

    fn sample(task: u64, seconds: i64, cores: Option<f64>, memory: Bytes) -> UsageSample {
        UsageSample {
            workload: web(),
            task: TaskId::new(web(), task),
            at: at(seconds),
            interval_seconds: Some(5.0),
            cpu_cores: cores,
            throttled_share: None,
            memory,
            page_cache: None,
            request: size().request,
            oom_kills: 0,
        }
    }

    fn kill(task: u64, seconds: i64, limit: Bytes) -> OomKill {
        OomKill {
            task: TaskId::new(web(), task),
            at: at(seconds),
            request: limit,
            limit: Some(limit),
            peak: None,
        }
    }

    fn megabytes(amount: u64) -> Bytes {
        Bytes::new(amount * 1_000_000)
    }

    fn published() -> VpaEstimator {
        VpaEstimator::new(VpaParameters::default()).expect("published parameters")
    }

    /// Without floors, so that small amounts show.
    fn without_floors() -> VpaEstimator {
        let mut parameters = VpaParameters::default();
        (parameters.cpu.floor, parameters.memory.floor) = (0.0, 0.0);
        VpaEstimator::new(parameters).expect("parameters")
    }

    fn answer(estimator: &VpaEstimator, declared: TaskSize, bounds: SizeBounds) -> Estimate {
        let prices =
            Prices { core_hour: MicroCents::from_units(0.04), gib_hour: MicroCents::from_units(0.004) };
        let name = web();
        let subject = Subject { workload: &name, declared, current: declared, bounds, prices };
        estimator.estimate(&subject, at(30 * DAY))
    }

    fn recommended(estimator: &VpaEstimator) -> Recommendation {
        match answer(estimator, size(), SizeBounds::default()) {
            Estimate::Recommended(recommendation) => *recommendation,
            Estimate::Withheld(why) => panic!("withheld: {why}"),
        }
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 1e-6
    }

    #[test]
    fn memory_follows_the_daily_peaks() {
        // Targets and lower percentiles computed apart, by sorting the peaks with weights 2^-age.
        let expected = [
            (300, 351_198_545_u64),
            (320, 380_258_473),
            (310, 380_258_473),
            (900, 1_038_683_535),
            (305, 1_038_683_535),
            (315, 1_038_683_535),
            (330, 380_258_473),
            (300, 380_258_473),
        ];
        let mut estimator = published();
        for (day, (peak, target)) in (0_u32..).zip(expected) {
            for hour in 0..24_u32 {
                // The peak comes at eleven and is held for an hour; the rest of the day is lower.
                let used = if hour == 11 { peak } else { 40 + u64::from(hour) };
                let seconds = i64::from(day) * DAY + i64::from(hour) * HOUR;
                estimator.observe(&sample(1, seconds, Some(0.1), megabytes(used)));
            }
            let found = recommended(&estimator).size.request.memory.get();
            assert!(found.abs_diff(target) <= 1, "day {day}: {found}, expected {target}");
        }
    }

    #[test]
    fn a_running_peak_takes_the_place_of_the_one_before() {
        let mut estimator = published();
        for hour in 0..20 {
            estimator.observe(&sample(1, hour * HOUR, Some(0.1), megabytes(300 + 10 * hour as u64)));
        }
        // One peak of 490 MB, not twenty: its bucket ends at 512.4 MB, and p50 is p90.
        let recommendation = recommended(&estimator);
        let end = 1e7 * (1.05_f64.powi(26) - 1.0) / 0.05;
        assert!(near(recommendation.size.request.memory.as_f64(), end * 1.15), "{recommendation:?}");
    }

    #[test]
    fn cpu_is_the_ninetieth_percentile_with_its_margin() {
        let mut estimator = published();
        for i in 0..100 {
            let cores = match i % 20 {
                0..=9 => 0.1,
                10..=18 => 0.2,
                _ => 0.5,
            };
            estimator.observe(&sample(1, i, Some(cores), Bytes::mib(300)));
        }
        let recommendation = recommended(&estimator);
        // p90 is the end of 0.2's bucket, 0.215785..; x 1.15 = 0.248153..
        assert_eq!(recommendation.size.request.cpu, Millicores::new(249));
        assert!(recommendation.reason.contains("CPU p90 0.216 cores x 1.15"), "{}", recommendation.reason);
    }

    #[test]
    fn floors_hold() {
        let mut estimator = published();
        estimator.observe(&sample(1, 0, Some(0.001), Bytes::mib(1)));
        let recommendation = recommended(&estimator);
        assert_eq!(recommendation.size.request, Resources::new(Millicores::new(25), megabytes(250)));
        assert!(recommendation.reason.contains("raised to the floor"), "{}", recommendation.reason);
    }

    #[test]
    fn bounds_narrow_with_history() {
        // A sample a minute: days of history by both measures. VPA publishes x 0.6, 0.9 and x 3, 2.
        for (minutes, lower, upper) in
            [(5, 0.6, 289.0), (30, 0.91, 49.0), (720, 0.996, 3.0), (1440, 0.998, 2.0)]
        {
            let mut estimator = without_floors();
            for minute in 0..=minutes {
                estimator.observe(&sample(1, minute * 60, Some(0.2), megabytes(300)));
            }
            let recommendation = recommended(&estimator);
            let target = recommendation.size.request.memory.as_f64();
            let found = (
                recommendation.lower.memory.as_f64() / target,
                recommendation.upper.memory.as_f64() / target,
            );
            assert!((found.0 - lower).abs() < 0.01, "{minutes} min: {found:?}");
            assert!((found.1 / upper - 1.0).abs() < 0.01, "{minutes} min: {found:?}");
        }
    }

    #[test]
    fn one_sample_gives_wide_bounds_not_infinite_ones() {
        let mut estimator = without_floors();
        estimator.observe(&sample(1, 0, Some(0.2), megabytes(300)));
        let recommendation = recommended(&estimator);
        assert_eq!(recommendation.lower, Resources::ZERO);
        assert!(recommendation.upper.cpu > Millicores::new(900_000));
        assert!(recommendation.upper.memory > megabytes(900_000));
        assert!(near(recommendation.confidence_days + 1.0, 1.0));
    }

    #[test]
    fn a_kill_counts_as_a_higher_peak_once() {
        let mut estimator = without_floors();
        estimator.observe(&sample(1, 0, Some(0.2), Bytes::mib(100)));
        // used = 128 MiB; + 100 MiB is more than x 1.2; the bucket ends at 258.40 MB; x 1.15.
        for _ in 0..3 {
            estimator.observe_oom(&kill(1, 60, Bytes::mib(128)));
        }
        let recommendation = recommended(&estimator);
        assert!(recommendation.size.request.memory.get().abs_diff(297_164_214) <= 1, "{recommendation:?}");
        assert!(
            recommendation.reason.contains("OOM kill at 128.0 MiB raised it"),
            "{}",
            recommendation.reason
        );
        assert_eq!(estimator.last_oom(&web()), Some(at(60)));
        // 1.2 x 1 GiB is more than + 100 MiB.
        estimator.observe_oom(&kill(1, 61, Bytes::mib(1024)));
        assert!(recommended(&estimator).size.request.memory.get().abs_diff(1_555_165_138) <= 1);
    }

    #[test]
    fn a_kill_within_a_task_that_lives_on_counts_too() {
        let mut estimator = without_floors();
        let mut survivor = sample(1, 0, Some(0.2), Bytes::mib(100));
        survivor.oom_kills = 1;
        estimator.observe(&survivor);
        assert!(recommended(&estimator).size.request.memory.get().abs_diff(297_164_214) <= 1);
    }

    #[test]
    fn a_kill_from_before_the_current_interval_is_discarded() {
        let mut estimator = without_floors();
        for day in 0..3 {
            estimator.observe(&sample(1, day * DAY, Some(0.2), Bytes::mib(100)));
        }
        let before = recommended(&estimator);
        estimator.observe_oom(&kill(1, DAY, Bytes::mib(4096)));
        assert_eq!(recommended(&estimator), before);
        assert_eq!(estimator.last_oom(&web()), None);
    }

    #[test]
    fn a_killed_job_without_any_sample_gets_more_memory_and_keeps_its_cpu() {
        let mut estimator = published();
        estimator.observe_oom(&kill(1, 0, Bytes::mib(512)));
        let recommendation = recommended(&estimator);
        assert!(recommendation.size.request.memory > Bytes::mib(612));
        assert_eq!(recommendation.size.request.cpu, size().request.cpu);
    }

    #[test]
    fn limits_keep_the_declared_ratio_and_never_fall_below_the_request() {
        let mut estimator = published();
        estimator.observe(&sample(1, 0, Some(0.2), megabytes(300)));
        let declared = TaskSize {
            request: Resources::new(Millicores::new(100), Bytes::mib(100)),
            cpu_limit: Some(Millicores::new(250)),
            memory_limit: Bytes::mib(150),
        };
        let Estimate::Recommended(found) = answer(&estimator, declared, SizeBounds::default()) else {
            panic!("withheld")
        };
        let size = found.size;
        assert_eq!(size.cpu_limit, Some(Millicores::new(623)), "2.5 x 249");
        assert_eq!(size.memory_limit.get(), (size.request.memory.get() * 3).div_ceil(2));
        // 249 m instead of 100 m at 0.04 an hour; 351 MB instead of 100 MiB at 0.004.
        assert!((found.price_effect.units() - 0.006_877).abs() < 1e-5, "{}", found.price_effect.units());
    }

    #[test]
    fn the_policy_has_the_last_word() {
        let mut estimator = published();
        estimator.observe(&sample(1, 0, Some(0.2), megabytes(300)));
        let bounds = SizeBounds {
            min_cpu: Some(Millicores::new(400)),
            max_memory: Some(Bytes::mib(256)),
            ..SizeBounds::default()
        };
        let Estimate::Recommended(found) = answer(&estimator, size(), bounds) else { panic!("withheld") };
        assert_eq!(found.size.request, Resources::new(Millicores::new(400), Bytes::mib(256)));
        assert!(found.upper.memory == Bytes::mib(256) && found.lower.cpu == Millicores::new(400));
        assert!(found.reason.contains("min_cpu of 0.4"), "{}", found.reason);
        assert!(found.reason.contains("max_memory of 256.0 MiB (would be"), "{}", found.reason);
    }

    #[test]
    fn too_little_history_is_withheld_with_its_reason() {
        let parameters = VpaParameters { min_samples: 3, ..VpaParameters::default() };
        let mut estimator = VpaEstimator::new(parameters).expect("parameters");
        let none = Estimate::Withheld(Withheld::NoSamples);
        assert_eq!(answer(&estimator, size(), SizeBounds::default()), none);
        estimator.observe(&sample(1, 0, None, Bytes::mib(100)));
        estimator.observe(&sample(1, 5, Some(0.1), Bytes::mib(100)));
        let young = Estimate::Withheld(Withheld::TooYoung { samples: 2, needed: 3 });
        assert_eq!(answer(&estimator, size(), SizeBounds::default()), young);
        estimator.observe(&sample(1, 10, Some(0.1), Bytes::mib(100)));
        assert!(recommended(&estimator).samples == 3);
    }

    #[test]
    fn odd_samples_do_no_harm() {
        let mut estimator = published();
        estimator.observe(&sample(1, 100 * DAY, Some(0.2), megabytes(300)));
        let before = estimator.clone();
        // Told twice, out of order, from long ago.
        for seconds in [100 * DAY, 100 * DAY - 5, 0] {
            estimator.observe(&sample(1, seconds, Some(9.0), megabytes(9000)));
        }
        assert_eq!(estimator, before);
        for (seconds, cores) in [(5, f64::NAN), (6, f64::INFINITY), (7, -1.0)] {
            estimator.observe(&sample(1, 100 * DAY + seconds, Some(cores), megabytes(300)));
        }
        assert_eq!(recommended(&estimator).size, recommended(&before).size);
        // Another task's sample from a year before weighs nothing.
        estimator.observe(&sample(2, -265 * DAY, Some(9.0), megabytes(9000)));
        assert_eq!(recommended(&estimator).size, recommended(&before).size);
    }

    #[test]
    fn usage_before_a_long_silence_counts_for_nothing() {
        let mut estimator = published();
        estimator.observe(&sample(1, 0, Some(4.0), megabytes(9000)));
        estimator.observe(&sample(1, 9 * DAY, Some(0.2), megabytes(300)));
        let mut fresh = published();
        fresh.observe(&sample(1, 9 * DAY, Some(0.2), megabytes(300)));
        assert_eq!(recommended(&estimator), recommended(&fresh));
    }

    #[test]
    fn what_comes_later_changes_no_earlier_answer() {
        let trace: Vec<UsageSample> = (0..400_u32)
            .map(|i| {
                let used = megabytes(200 + u64::from(i * 7919 % 311));
                sample(u64::from(i % 3), i64::from(i) * 1800, Some(f64::from(i % 17) / 10.0), used)
            })
            .collect();
        let mut whole = published();
        let answers: Vec<Recommendation> = trace
            .iter()
            .map(|sample| {
                whole.observe(sample);
                recommended(&whole)
            })
            .collect();
        let mut cut = published();
        trace[..250].iter().for_each(|sample| cut.observe(sample));
        assert_eq!(recommended(&cut), answers[249]);
    }

    #[test]
    fn a_restored_checkpoint_goes_on_to_the_last_bit() {
        let mut estimator = published();
        for i in 0..300_u32 {
            let cores = f64::from(i).sin().abs() / 3.0;
            estimator.observe(&sample(
                u64::from(i % 4),
                i64::from(i) * 977,
                Some(cores),
                megabytes(u64::from(i)),
            ));
        }
        estimator.observe_oom(&kill(2, 300 * 977, Bytes::mib(400)));
        let mut restored = published();
        restored.restore(&estimator.checkpoint().expect("a checkpoint")).expect("restored");
        assert_eq!(restored, estimator);
        for other in [&mut restored, &mut estimator] {
            other.observe(&sample(1, 301 * 977, Some(0.123), megabytes(444)));
        }
        assert_eq!(restored, estimator);
    }

    #[test]
    fn a_checkpoint_from_before_there_were_profiles_is_taken() {
        let mut estimator = published();
        estimator.observe(&sample(1, 0, Some(0.2), megabytes(300)));
        let mut old: serde_json::Value =
            serde_json::from_slice(&estimator.checkpoint().expect("a checkpoint")).expect("JSON");
        assert!(old.as_object_mut().expect("an object").remove("profiles").is_some());
        let mut restored = published();
        restored.restore(old.to_string().as_bytes()).expect("restored");
        assert_eq!(recommended(&restored), recommended(&estimator));
    }

    #[test]
    fn an_unfit_checkpoint_changes_nothing() {
        let mut estimator = published();
        estimator.observe(&sample(1, 0, Some(0.2), megabytes(300)));
        let before = estimator.clone();
        let checkpoint = String::from_utf8(estimator.checkpoint().expect("a checkpoint")).expect("text");
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"bucket_growth\":1.05", "\"bucket_growth\":1.06"),
            ("\"total\":", "\"total\":-"),
            ("{", "["),
        ] {
            let damaged = checkpoint.replacen(from, to, 1);
            assert!(estimator.restore(damaged.as_bytes()).is_err(), "{from} -> {to}");
            assert_eq!(estimator, before);
        }
    }

    #[test]
    fn tasks_that_ended_are_let_go_and_their_peaks_stay() {
        let mut estimator = without_floors();
        // A cron job each 20 s for a day, each run a new task.
        for run in 0..4320_u32 {
            estimator.observe(&sample(u64::from(run), i64::from(run) * 20, Some(0.2), Bytes::mib(100)));
        }
        let state = estimator.state(&web()).expect("a state");
        assert!(state.size_in_memory() < 40_000, "{}", state.size_in_memory());
        assert_eq!(recommended(&estimator).samples, 4320);
    }

    #[test]
    fn joined_states_know_what_both_knew() {
        let model = VpaModel::new(VpaParameters::default()).expect("parameters");
        let (mut left, mut right, mut both) = (VpaState::default(), VpaState::default(), VpaState::default());
        for i in 0..200_u32 {
            let memory = Bytes::mib(100 + u64::from(i));
            let sample = sample(u64::from(i % 2), i64::from(i) * HOUR, Some(f64::from(i) / 100.0), memory);
            both.observe(&model, &Observation::of(&sample));
            if i % 2 == 0 {
                left.observe(&model, &Observation::of(&sample))
            } else {
                right.observe(&model, &Observation::of(&sample))
            };
        }
        left.merge(&model, &right);
        assert_eq!(
            (left.samples(), left.confidence_days(&model)),
            (both.samples(), both.confidence_days(&model))
        );
        for share in [0.1, 0.5, 0.9] {
            assert_eq!(left.cpu().percentile(model.cpu(), share), both.cpu().percentile(model.cpu(), share));
            assert_eq!(
                left.memory().percentile(model.memory(), share),
                both.memory().percentile(model.memory(), share)
            );
        }
    }

    /// The weighted 90th percentile by sorting: the same answer by other means.
    fn by_sorting(peaks: &[(f64, f64)]) -> f64 {
        let mut sorted = peaks.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = sorted.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        let reached = sorted.iter().find(|(_, weight)| {
            sum += weight;
            sum >= 0.9 * total
        });
        let bucket = ((reached.expect("peaks").0 / 1e7 * 0.05).ln_1p() / 1.05_f64.ln()).floor();
        1e7 * (1.05_f64.powf(bucket + 1.0) - 1.0) / 0.05 * 1.15
    }

    proptest! {
        #[test]
        fn the_histogram_answers_as_sorting_all_peaks_would(
            // Three tasks, seven days, four samples a day, in MB; odd so that no value meets a bound.
            usage in proptest::collection::vec(11_u64..4000, 84),
        ) {
            let mut estimator = without_floors();
            for (i, megabyte) in (0_u32..).zip(&usage) {
                // All tasks' samples of an instant, then the next instant: 6 h apart.
                let (instant, task) = (i64::from(i / 3), u64::from(i % 3));
                let used = Bytes::new(megabyte * 1_000_000 + 12_345);
                estimator.observe(&sample(task, instant * 6 * HOUR, Some(0.1), used));
            }
            let peak = |day: usize, task: usize| {
                (0..4).map(|of_day| usage[(day * 4 + of_day) * 3 + task]).max().map(|mb| mb as f64 * 1e6 + 12_345.0)
            };
            let peaks: Vec<(f64, f64)> = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
                .into_iter()
                .enumerate()
                .flat_map(|(day, weight)| (0..3).filter_map(move |task| Some((peak(day, task)?, weight))))
                .collect();
            let found = recommended(&estimator).size.request.memory.as_f64();
            prop_assert!(near(found, by_sorting(&peaks)), "{found} {}", by_sorting(&peaks));
        }
    }
}
