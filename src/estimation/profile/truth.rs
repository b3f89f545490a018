//! Findings against the truth: shapes that are known because they were made.
//!
//! The shapes are those of `replay::families`, which stands above this layer, written again in the few
//! lines that matter here; `tests/findings.rs` runs the families themselves and the real traces.

use jiff::{SignedDuration, Timestamp};

use super::Profile;
use crate::domain::recommendation::Finding;

const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_700_000_000 / DAY * DAY + seconds)
}

/// Fifteen days of one workload, a sample every five minutes: `of(second)` is the task and its memory.
fn after(days: i64, of: impl Fn(i64) -> Option<(u64, f64)>) -> Vec<Finding> {
    let mut profile = Profile::default();
    for second in (0..days * DAY).step_by(300) {
        if let Some((task, memory)) = of(second) {
            profile.observe(task, at(second), Some(0.5), Some(memory as f32));
        }
    }
    profile.findings(at(days * DAY))
}

fn days(second: i64) -> f64 {
    second as f64 / DAY as f64
}

#[test]
fn a_leak_is_told_by_its_growth_once_it_fell_at_a_restart() {
    let mib = 1_048_576.0;
    let leak = |second: i64| {
        Some(((second / (3 * DAY)).cast_unsigned(), (500.0 + 120.0 * (days(second) % 3.0)) * mib))
    };
    match after(8, leak).as_slice() {
        [Finding::Leak { bytes_per_day }] => {
            assert!((bytes_per_day / mib - 120.0).abs() < 6.0, "{}", bytes_per_day / mib);
        }
        other => panic!("{other:?}"),
    }
    // Growth that no restart took back is a trend.
    let never = |second| Some((1, (500.0 + 60.0 * days(second)) * mib));
    match after(9, never).as_slice() {
        [Finding::Trend { bytes_per_day }] => assert!((bytes_per_day / mib - 60.0).abs() < 3.0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_process_that_began_anew_under_its_number_is_another_life() {
    let mut profile = Profile::default();
    for hour in 0..8 * 24_i64 {
        if hour % 48 == 0 {
            profile.restarted(7, at(hour * 3600));
        }
        profile.observe(7, at(hour * 3600), None, Some(1e9 + 1e7 * (hour % 48) as f32));
    }
    assert!(matches!(profile.findings(at(8 * DAY)).as_slice(), [Finding::Leak { .. }]));
}

#[test]
fn warming_up_is_no_leak() {
    // Each task climbs for four hours and then stays: a cache, a heap; restarted every other day.
    let warm = |second: i64| {
        let age = days(second) % 2.0;
        Some(((second / (2 * DAY)).cast_unsigned(), 1e9 * (1.0 + (age * 6.0).min(1.0))))
    };
    assert!(
        !after(10, warm).iter().any(|found| matches!(found, Finding::Leak { .. })),
        "{:?}",
        after(10, warm)
    );
    // A service that is restarted every night at its lowest.
    let nightly = |second: i64| {
        let wave = 1.0 - 0.5 * (days(second) * std::f64::consts::TAU).cos();
        Some(((second / DAY).cast_unsigned(), 1e9 * wave))
    };
    match after(10, nightly).as_slice() {
        [Finding::Daily { ratio }] => assert!((2.2..3.2).contains(ratio), "{ratio}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_start_up_peak_names_both_levels() {
    let start = |second: i64| {
        let memory = if second % (2 * DAY) < 900 { 3e9 } else { 1e9 };
        Some(((second / (2 * DAY)).cast_unsigned(), memory))
    };
    match after(8, start).as_slice() {
        [Finding::StartupPeak { memory, settled }] => {
            assert!(
                (memory.as_f64() / 3e9 - 1.0).abs() < 0.01 && (settled.as_f64() / 1e9 - 1.0).abs() < 0.01
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_silent_for_days_is_not_spoken_of() {
    let mut profile = Profile::default();
    for second in (0..8 * DAY).step_by(300) {
        let wave = 1.0 - 0.5 * (days(second) * std::f64::consts::TAU).cos();
        profile.observe(1, at(second), None, Some((1e9 * wave) as f32));
    }
    assert!(!profile.findings(at(9 * DAY)).is_empty());
    assert!(profile.findings(at(12 * DAY)).is_empty());
}

#[test]
fn several_tasks_are_judged_as_one() {
    // Three instances that leak, restarted one after another, a day apart.
    let mut profile = Profile::default();
    for second in (0..12 * DAY).step_by(300) {
        for instance in 0..3_i64 {
            let since = second + instance * DAY;
            let life = since / (3 * DAY);
            let number = (life * 3 + instance).cast_unsigned();
            let memory = 1e9 * (1.0 + 0.3 * (days(since) % 3.0));
            profile.observe(number, at(second), None, Some(memory as f32));
        }
    }
    assert!(
        matches!(profile.findings(at(12 * DAY)).as_slice(), [Finding::Leak { .. }]),
        "{:?}",
        profile.findings(at(12 * DAY))
    );
}
