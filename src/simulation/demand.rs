//! Load of services with a rhythm, and the counts that a policy of counts makes of it. In: a seed, a
//! service's size at its peak, a policy of `scaling::counts`. Out: counts with the times from which they
//! hold, the same for whatever policy of nodes is tried: the tasks that arrive are not its doing.

use std::f64::consts::TAU;

use jiff::Timestamp;

use crate::domain::workload::WorkloadName;
use crate::replay::horizontal::{Asked, Steps, replay};
use crate::scaling::counts::Terms;
use crate::scaling::counts::catalogue::CountRecipe;
use crate::simulation::chance::Chance;

/// Seconds from one decision about a count to the next: four times the interval that the engine has by
/// default, since ten thousand services for a week are half a milliard decisions at that.
const INTERVAL: i64 = 60;
const HOUR: f64 = 3600.0;
const DAY: f64 = 86_400.0;

/// The load of a service, in instances that serve it exactly.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    peak: f64,
    /// The share of the peak that is left at night.
    night: f64,
    peak_hour: f64,
    weekend: f64,
    noise: f64,
    drift: f64,
}

impl Rhythm {
    fn of(chance: &mut Chance, peak: f64) -> Self {
        // Three in four follow the day of people in one part of the world, one that of others.
        let peak_hour =
            if chance.happens(0.75) { chance.between(12.0, 17.0) } else { chance.between(0.0, 24.0) };
        Self {
            peak,
            night: chance.between(0.15, 0.8),
            peak_hour,
            weekend: chance.between(0.5, 1.0),
            noise: chance.between(0.01, 0.06),
            drift: chance.between(-0.01, 0.02),
        }
    }

    fn at(&self, second: i64, chance: &mut Chance) -> f64 {
        let second = second as f64;
        let wave = 0.5 + 0.5 * ((second / HOUR - self.peak_hour) / 24.0 * TAU).cos();
        let level = self.night + (1.0 - self.night) * wave.powf(1.5);
        let week = if (second / DAY) % 7.0 >= 5.0 { self.weekend } else { 1.0 };
        let noise = 1.0 + self.noise * (chance.unit() + chance.unit() - 1.0) * 2.0;
        (self.peak * level * week * (1.0 + self.drift * second / DAY) * noise).max(0.0)
    }
}

/// The counts of a service over a time of so many seconds; the first one holds from the beginning.
pub fn counts(
    name: &WorkloadName,
    (seed, peak, startup): (u64, u32, f64),
    (begin, seconds): (Timestamp, i64),
    recipe: &CountRecipe,
) -> Vec<Asked> {
    let mut chance = Chance::of(seed, name.as_str());
    let rhythm = Rhythm::of(&mut chance, f64::from(peak) * 0.8);
    let load = (0..=seconds / INTERVAL).map(|step| rhythm.at(step * INTERVAL, &mut chance)).collect();
    let steps = Steps { begin: begin.as_second(), interval: INTERVAL, load };
    let terms = Terms {
        capacity: 1.0,
        startup,
        interval: INTERVAL as f64,
        min: 1,
        max: peak.saturating_mul(3).max(2),
    };
    let mut asked = Vec::new();
    replay(&steps, &terms, recipe.make(name).as_mut(), |count| asked.push(count));
    asked
}
