//! The sizing rules of other products with their published constants: what Loadline's own estimator is
//! measured against. Not here: VPA (`estimation::vpa`), which the engine itself can run.
//!
//! Where a product says nothing of kills for want of memory, it gets VPA's answer: the peak counts as
//! the greater of use + 100 MiB and use x 1.2. Without it percentiles would be killed for ever.

pub mod autopilot_ml;
pub mod crane;
pub mod krr;
pub mod load_adjusted;
pub mod request;
mod windows;

/// Bytes in a MiB.
const MIB: f64 = 1_048_576.0;
/// No memory limit is smaller; KRR's floor, given to all peers that publish none.
const MEMORY_FLOOR: f64 = 100.0 * MIB;
/// No CPU request is smaller; KRR's floor.
const CPU_FLOOR: f64 = 0.01;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// The peak that a kill at `reached` is taken to have needed.
fn bumped(reached: f64) -> f64 {
    (reached + 100.0 * MIB).max(reached * 1.2)
}

#[cfg(test)]
mod known_answers {
    use jiff::Timestamp;

    use crate::estimation::catalogue::{ENTRIES, Recipe};
    use crate::estimation::policy::{Asked, Kill, Limits, Observation, SizePolicy, WorkloadIndex};

    const MIB: f64 = super::MIB;
    const HOUR: i64 = 3_600;
    const WEB: WorkloadIndex = WorkloadIndex(3);

    fn policy(text: &str) -> Box<dyn SizePolicy> {
        Recipe::parse(text, ENTRIES).and_then(|recipe| recipe.make()).expect("a policy")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn tell(policy: &mut dyn SizePolicy, seconds: i64, cpu: f64, memory: f64) {
        let observation =
            Observation { task: 0, at: at(seconds), cpu: Some(cpu), memory: Some(memory), load: None };
        policy.observe(WEB, &observation);
    }

    /// A hundred samples: 0.1 to 10 cores and 10 to 1000 MiB, five minutes apart, from `from` on.
    fn ramp(policy: &mut dyn SizePolicy, from: i64) {
        for n in 1..=100 {
            tell(policy, from + i64::from(n) * 300, f64::from(n) / 10.0, f64::from(n) * 10.0 * MIB);
        }
    }

    fn answer(policy: &dyn SizePolicy, seconds: i64) -> (f64, f64) {
        let Limits { memory, cpu } = policy.limits(WEB, None, at(seconds));
        (memory.expect("memory"), cpu.expect("cpu"))
    }

    fn within(found: f64, least: f64, most: f64) {
        assert!((least..=most).contains(&found), "{found}, expected {least} to {most}");
    }

    #[test]
    fn krr_is_the_peak_of_fourteen_days_and_the_95th_percentile() {
        let mut krr = policy("krr");
        assert_eq!(krr.limits(WEB, None, at(0)), Limits::default());
        ramp(krr.as_mut(), 0);
        let (memory, cpu) = answer(krr.as_ref(), 40_000);
        assert!((memory - 1150.0 * MIB).abs() < 1.0);
        // 95 of 100 samples are at most 9.5; buckets have 1 %.
        within(cpu, 9.5, 9.6);
        krr.observe_oom(WEB, &Kill { task: 0, at: at(40_000), reached: 1150.0 * MIB });
        within(answer(krr.as_ref(), 40_001).0, 1379.99 * MIB, 1380.01 * MIB);
        // Thirteen days later the peak still counts, fourteen days later it does not.
        for day in 1..=14 {
            let before = answer(krr.as_ref(), day * 24 * HOUR).0;
            within(before, 1379.99 * MIB, 1380.01 * MIB);
            tell(krr.as_mut(), 300 + day * 24 * HOUR, 1.0, 20.0 * MIB);
        }
        assert!((answer(krr.as_ref(), 15 * 24 * HOUR).0 - 100.0 * MIB).abs() < 1.0, "the floor");
    }

    #[test]
    fn the_window_maximum_has_its_margin_and_holds_for_an_hour() {
        let mut window = policy("autopilot-window");
        ramp(window.as_mut(), 0);
        within(answer(window.as_ref(), 30_000).0, 1124.99 * MIB, 1125.01 * MIB);
        for day in 1..=3 {
            tell(window.as_mut(), 300 + day * 24 * HOUR, 1.0, 200.0 * MIB);
        }
        // The ramp's day left with the third day's first sample; what was said in the hour before that
        // sample is more than a day old, so nothing holds.
        within(answer(window.as_ref(), 300 + 3 * 24 * HOUR).0, 224.99 * MIB, 225.01 * MIB);
    }

    #[test]
    fn what_was_said_within_the_hour_holds() {
        let mut window = policy("autopilot-window:days=1");
        let before = 24 * HOUR - 300;
        tell(window.as_mut(), 0, 1.0, 50.0 * MIB);
        tell(window.as_mut(), before, 1.0, 400.0 * MIB);
        tell(window.as_mut(), before + 600, 1.0, 200.0 * MIB);
        within(answer(window.as_ref(), before + 600).0, 449.99 * MIB, 450.01 * MIB);
        tell(window.as_mut(), before + 3_900, 1.0, 200.0 * MIB);
        within(answer(window.as_ref(), before + 3_900).0, 224.99 * MIB, 225.01 * MIB);
    }

    #[test]
    fn load_adjusted_percentiles_weigh_samples_by_their_use() {
        // All at one instant, so nothing fades: 90 samples of 1 and 10 of 10 weigh 90 and 100. The
        // median by load is 10, the 40th percentile 1; by time both would be 1.
        for (percentile, cores) in [(0.5, 10.0), (0.4, 1.0)] {
            let mut nomad = policy(&format!("nomad:percentile={percentile}"));
            for n in 0..100 {
                let cores = if n < 90 { 1.0 } else { 10.0 };
                tell(nomad.as_mut(), 0, cores, cores * 1e9);
            }
            assert_eq!(nomad.limits(WEB, None, at(0)), Limits::default(), "nothing in the first day");
            tell(nomad.as_mut(), 24 * HOUR, 0.01, 1e6);
            let (memory, cpu) = answer(nomad.as_ref(), 24 * HOUR);
            within(cpu, cores, cores * 1.05);
            within(memory, cores * 1e9, cores * 1.05e9);
        }
    }

    #[test]
    fn crane_is_the_99th_percentile_in_even_buckets() {
        let mut crane = policy("crane");
        for n in 0..1000 {
            let high = n % 200 == 0;
            tell(crane.as_mut(), 0, if high { 8.05 } else { 2.05 }, if high { 5e9 } else { 250.0 * MIB });
        }
        let (memory, cpu) = answer(crane.as_ref(), 0);
        within(memory, 300.0 * 1.15 * MIB - 1.0, 300.0 * 1.15 * MIB + 1.0);
        within(cpu, 2.1 * 1.15 - 1e-9, 2.1 * 1.15 + 1e-9);
        crane.observe_oom(WEB, &Kill { task: 0, at: at(0), reached: 345.0 * MIB });
        within(answer(crane.as_ref(), 7 * 24 * HOUR - 1).0, 413.9 * MIB, 414.1 * MIB);
        within(answer(crane.as_ref(), 7 * 24 * HOUR).0, 344.9 * MIB, 345.1 * MIB);
    }

    #[test]
    fn autopilot_ml_covers_steady_use_closely_and_rare_peaks_when_overruns_are_dear() {
        let said = |text: &str| {
            let mut ml = policy(text);
            for n in 0..1000 {
                let memory = if n % 100 == 50 { 900e6 } else { 300e6 };
                tell(ml.as_mut(), n * 300, 1.0, memory);
            }
            answer(ml.as_ref(), 1000 * 300)
        };
        // One sample in a hundred is a peak: it is worth covering only if an overrun costs much more than
        // the underruns of all others.
        within(said("autopilot-ml:overrun=1000").0, 900e6, 950e6 * 1.4);
        within(said("autopilot-ml:overrun=0.001").0, 300e6, 320e6 * 1.4);
        within(said("autopilot-ml").1, 1.0, 1.05 * 1.4);
    }

    #[test]
    fn a_request_is_what_was_declared() {
        let mut request = policy("request:factor=0.5");
        assert_eq!(request.limits(WEB, None, at(0)), Limits::default());
        request.declare(WEB, Asked { cpu: Some(2.0), memory: Some(1e9) }, at(0));
        tell(request.as_mut(), 300, 9.0, 9e9);
        assert_eq!(request.limits(WEB, None, at(300)), Limits { cpu: Some(1.0), memory: Some(5e8) });
        request.forget(WEB);
        assert_eq!(request.limits(WEB, None, at(300)), Limits::default());
    }

    #[test]
    fn vpa_is_the_engines_own() {
        let mut vpa = policy("vpa");
        tell(vpa.as_mut(), 0, 0.015, 300e6);
        let (memory, cpu) = answer(vpa.as_ref(), 0);
        // The ends of the buckets, computed apart: 10 MB x (1.05^19 - 1) / 0.05, and 0.0205 cores.
        within(memory, 351_198_544.0, 351_198_546.0);
        within(cpu, 0.025, 0.025);
        vpa.observe_oom(WEB, &Kill { task: 0, at: at(0), reached: memory });
        assert!(answer(vpa.as_ref(), 0).0 > memory + 100.0 * MIB);
    }
}
