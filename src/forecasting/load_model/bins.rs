//! Observations by load, in a fixed number of bins of equal width.
//!
//! In: loads with what was used at them. Out: means. A bin's mean follows its newest observations and rests while
//! none come, so that what is known of rare loads is not forgotten for the sake of usual ones. A load beyond the
//! last bin doubles the width of all.

use serde::{Deserialize, Serialize};

/// More bins tell a curve no better and make every service larger.
pub(super) const BINS: usize = 16;
/// A bin's mean is that of about so many observations.
const WEIGHT_MAX: f32 = 400.0;

/// What is known of one span of loads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Bin {
    /// Observations, up to `WEIGHT_MAX`.
    pub(super) weight: f32,
    pub(super) load: f32,
    pub(super) cpu: f32,
    pub(super) memory: f32,
    /// Observations with a latency.
    pub(super) timed: f32,
    /// Mean logarithm of the latency, and the mean load that goes with it.
    pub(super) log_latency: f32,
    pub(super) timed_load: f32,
}

/// All bins of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Bins {
    width: f32,
    bins: Vec<Bin>,
}

fn towards(mean: &mut f32, value: f64, share: f32) {
    *mean += share * (value as f32 - *mean);
}

fn joined((mean, weight): (f32, f32), (other, other_weight): (f32, f32)) -> f32 {
    let sum = weight + other_weight;
    if sum > 0.0 { (mean * weight + other * other_weight) / sum } else { 0.0 }
}

impl Bin {
    fn merged(a: &Self, b: &Self) -> Self {
        let of = |value: fn(&Self) -> f32| joined((value(a), a.weight), (value(b), b.weight));
        let timed = |value: fn(&Self) -> f32| joined((value(a), a.timed), (value(b), b.timed));
        Self {
            weight: (a.weight + b.weight).min(WEIGHT_MAX),
            load: of(|bin| bin.load),
            cpu: of(|bin| bin.cpu),
            memory: of(|bin| bin.memory),
            timed: (a.timed + b.timed).min(WEIGHT_MAX),
            log_latency: timed(|bin| bin.log_latency),
            timed_load: timed(|bin| bin.timed_load),
        }
    }
}

impl Bins {
    /// The bin of a load; makes room for it.
    fn at(&mut self, load: f64) -> &mut Bin {
        if self.bins.is_empty() {
            self.bins = vec![Bin::default(); BINS];
        }
        if self.width <= 0.0 && load > 0.0 {
            self.width = load as f32 / 4.0;
        }
        while self.width > 0.0 && load >= f64::from(self.width) * BINS as f64 {
            let merged: Vec<Bin> = self.bins.chunks(2).map(|pair| Bin::merged(&pair[0], &pair[1])).collect();
            self.bins = merged;
            self.bins.resize(BINS, Bin::default());
            self.width *= 2.0;
        }
        let index = if self.width > 0.0 { (load / f64::from(self.width)) as usize } else { 0 };
        &mut self.bins[index.min(BINS - 1)]
    }

    /// Takes in what was used at a load.
    pub(super) fn add(&mut self, load: f64, cpu: f64, memory: f64) {
        let bin = self.at(load);
        bin.weight = (bin.weight + 1.0).min(WEIGHT_MAX);
        let share = 1.0 / bin.weight;
        towards(&mut bin.load, load, share);
        towards(&mut bin.cpu, cpu, share);
        towards(&mut bin.memory, memory, share);
    }

    /// Takes in a latency at a load.
    pub(super) fn add_latency(&mut self, load: f64, latency: f64) {
        let bin = self.at(load);
        bin.timed = (bin.timed + 1.0).min(WEIGHT_MAX);
        let share = 1.0 / bin.timed;
        towards(&mut bin.timed_load, load, share);
        towards(&mut bin.log_latency, latency.ln(), share);
    }

    /// Bins with anything in them, by load.
    pub(super) fn known(&self) -> impl Iterator<Item = &Bin> {
        self.bins.iter().filter(|bin| bin.weight > 0.0 || bin.timed > 0.0)
    }

    /// Loads with what was used at them and how much that weighs.
    pub(super) fn points(&self, of: fn(&Bin) -> f32) -> Vec<(f64, f64, f64)> {
        let used = self.bins.iter().filter(|bin| bin.weight > 0.0);
        used.map(|bin| (bin.load.into(), of(bin).into(), bin.weight.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_load_widens_the_bins_and_loses_nothing() {
        let mut bins = Bins::default();
        for load in [1.0, 2.0, 3.0, 200.0] {
            bins.add(load, load * 0.01, 1e6);
        }
        let points = bins.points(|bin| bin.cpu);
        let weight: f64 = points.iter().map(|point| point.2).sum();
        assert!((weight - 4.0).abs() < 1e-6, "{points:?}");
        assert!(points.iter().all(|(load, cpu, _)| (cpu / load - 0.01).abs() < 1e-6), "{points:?}");
        assert_eq!(points.len(), 2, "{points:?}");
    }

    #[test]
    fn no_load_is_a_load() {
        let mut bins = Bins::default();
        bins.add(0.0, 0.1, 1e6);
        bins.add(8.0, 0.5, 1e6);
        assert_eq!(bins.points(|bin| bin.cpu).len(), 2);
    }

    #[test]
    fn a_bin_follows_what_is_new() {
        let mut bins = Bins::default();
        (0..2000).for_each(|_| bins.add(5.0, 1.0, 1e6));
        (0..2000).for_each(|_| bins.add(5.0, 2.0, 1e6));
        let cpu = bins.points(|bin| bin.cpu)[0].1;
        assert!(cpu > 1.98, "{cpu}");
    }
}
