//! Tallies to figures, with intervals by block bootstrap: workloads are drawn anew, each with all its
//! steps, since the steps of one workload are not independent of each other.

use serde::Serialize;

use crate::replay::tally::{Counts, Tally, sum};

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// What a policy came to for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Days of tasks that were scored.
    pub task_days: f64,
    /// Memory: kills. CPU: steps short.
    pub missed: u64,
    /// Memory: kills per task-day.
    pub rate: f64,
    /// Share of task-time with usage above what was said.
    pub short_time: f64,
    /// Usage above what was said over all usage.
    pub short_amount: f64,
    /// What was said over time: byte-days or core-days.
    pub footprint: f64,
    /// That over the usage.
    pub footprint_over_use: f64,
    /// (limit - p95 of the day's usage) / limit, weighted by footprint.
    pub relative_slack: f64,
    /// Changes in place per workload-day.
    pub in_place: f64,
    /// Changes that need a restart per workload-day.
    pub restarts: f64,
    /// Share of task-time in which the policy knew nothing yet.
    pub withheld: f64,
}

impl Figures {
    /// The figures of counts with steps of so many seconds. Without any step all shares are absent,
    /// which JSON shows as null.
    pub fn of(counts: &Counts, step: i64) -> Self {
        let days = |steps: u64| steps as f64 * step as f64 / DAY;
        let steps = counts.steps as f64;
        Self {
            task_days: days(counts.steps),
            missed: counts.missed,
            rate: counts.missed as f64 / days(counts.steps),
            short_time: counts.missed as f64 / steps,
            short_amount: counts.excess / counts.usage,
            footprint: counts.footprint * step as f64 / DAY,
            footprint_over_use: counts.footprint / counts.usage,
            relative_slack: counts.slack / counts.footprint,
            in_place: counts.in_place as f64 / days(counts.workload_steps),
            restarts: counts.restarts as f64 / days(counts.workload_steps),
            withheld: counts.withheld as f64 / steps,
        }
    }
}

/// A figure's interval, 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// The middle 95 % of values; absent where fewer than half of them are numbers.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if sorted.is_empty() || sorted.len() * 2 < values.len() {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Some(Self { low: at(0.025), high: at(0.975) })
    }
}

/// Draws of workloads: how often each one is in each draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Draws {
    draws: Vec<Vec<u32>>,
}

impl Draws {
    /// So many draws of `workloads` out of as many, from a seed.
    pub fn new(workloads: usize, draws: usize, seed: u64) -> Self {
        let mut state = seed;
        let draws = (0..draws)
            .map(|_| {
                let mut times = vec![0; workloads];
                for _ in 0..workloads {
                    times[(split_mix(&mut state) % workloads as u64) as usize] += 1;
                }
                times
            })
            .collect();
        Self { draws }
    }

    /// How often each one is in each draw.
    pub fn times(&self) -> impl Iterator<Item = &[u32]> {
        self.draws.iter().map(Vec::as_slice)
    }

    /// The sum of the tallies in each draw, which stand in the same order of workloads in every call.
    pub fn sums(&self, tallies: &[Tally]) -> Vec<Tally> {
        let one = |times: &Vec<u32>| {
            sum(times
                .iter()
                .zip(tallies)
                .flat_map(|(times, tally)| std::iter::repeat_n(tally, *times as usize)))
        };
        self.draws.iter().map(one).collect()
    }
}

/// The next number of a sequence (Steele, Lea and Flood, `SplitMix64`): seeded, the same everywhere.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_their_definitions() {
        let mut counts = Counts { workload_steps: 4, in_place: 2, ..Counts::default() };
        for (usage, limit) in [(1.0, Some(4.0)), (3.0, Some(2.0)), (2.0, Some(4.0)), (5.0, None)] {
            counts.step(usage, limit, 1.0);
        }
        let figures = Figures::of(&counts, 21_600);
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        close(figures.task_days, 1.0);
        close(figures.rate, 1.0);
        close(figures.short_time, 0.25);
        close(figures.short_amount, 1.0 / 11.0);
        close(figures.footprint, 15.0 / 4.0);
        close(figures.relative_slack, 11.0 / 15.0);
        close(figures.in_place, 2.0);
        close(figures.withheld, 0.25);
    }

    #[test]
    fn draws_come_from_the_seed_and_have_the_size_of_the_whole() {
        let draws = Draws::new(7, 20, 1);
        assert_eq!(draws, Draws::new(7, 20, 1));
        assert_ne!(draws, Draws::new(7, 20, 2));
        assert!(draws.draws.iter().all(|times| times.iter().sum::<u32>() == 7));
    }

    #[test]
    fn an_interval_holds_the_middle() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(Interval::of(&values), Some(Interval { low: 25.0, high: 974.0 }));
        assert_eq!(Interval::of(&[1.0, f64::NAN, f64::NAN]), None);
    }
}
