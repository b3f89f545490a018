//! A compressed day of demand: how many requests a second at which time of day, and when each arrives.
//! Not here: the requests themselves (`load_generator`).

use std::f64::consts::TAU;
use std::time::Duration;

/// Points of the noise over a day, one a quarter of an hour; between them it is interpolated.
const NOISE_POINTS: u64 = 96;
/// Share of a flash crowd's length in which it gathers.
const CROWD_RISE: f64 = 0.1;
/// Share of a flash crowd's length from which on it leaves.
const CROWD_FALL: f64 = 0.6;
/// The rate is taken as constant over this many seconds.
const STEP_SECONDS: f64 = 0.005;

/// A crowd that comes all at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlashCrowd {
    /// When it begins, as a share of the day.
    pub at: f64,
    /// How long it lasts, as a share of the day.
    pub length: f64,
    /// Requests per second that it adds at its height.
    pub requests_per_second: f64,
}

/// Demand over a day.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadProfile {
    /// Requests per second at midnight.
    pub night: f64,
    /// Requests per second at noon.
    pub noon: f64,
    /// How far the rate strays at most, as a share of it.
    pub noise: f64,
    /// A flash crowd.
    pub crowd: Option<FlashCrowd>,
    /// Decides the noise and the arrivals.
    pub seed: u64,
}

impl LoadProfile {
    /// Requests per second at a time of day from 0 (midnight) to 1 (the next midnight).
    pub fn requests_per_second(&self, time: f64) -> f64 {
        let time = time.clamp(0.0, 1.0);
        let daylight = (1.0 - (TAU * time).cos()) / 2.0;
        let curve = self.night + (self.noon - self.night) * daylight;
        let crowd = self.crowd.map_or(0.0, |crowd| crowd.requests_per_second_at(time));
        (curve * (1.0 + self.noise * self.stray(time)) + crowd).max(0.0)
    }

    /// How the rate strays, from -1 to 1.
    fn stray(&self, time: f64) -> f64 {
        let place = time * NOISE_POINTS as f64;
        let point = |index: u64| {
            let mixed = self.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            fastrand::Rng::with_seed(mixed).f64() * 2.0 - 1.0
        };
        let (before, share) = (place.floor() as u64, place.fract());
        point(before) * (1.0 - share) + point(before + 1) * share
    }

    /// When each request arrives over a day that lasts `day`: a Poisson process whose rate changes, by
    /// time rescaling (Çinlar, "Introduction to Stochastic Processes", 1975, 4.7). The same profile
    /// gives the same arrivals.
    pub fn arrivals(&self, day: Duration) -> impl Iterator<Item = Duration> + Send + use<> {
        let (profile, day) = (self.clone(), day.as_secs_f64());
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut now = 0.0;
        std::iter::from_fn(move || {
            let mut needed = -(1.0 - rng.f64()).ln();
            while now < day {
                let rate = profile.requests_per_second(now / day);
                if rate * STEP_SECONDS >= needed {
                    now += needed / rate;
                    return Some(Duration::from_secs_f64(now));
                }
                needed -= rate * STEP_SECONDS;
                now += STEP_SECONDS;
            }
            None
        })
    }
}

impl FlashCrowd {
    fn requests_per_second_at(self, time: f64) -> f64 {
        let place = (time - self.at) / self.length;
        let height = match place {
            place if !(0.0..1.0).contains(&place) => 0.0,
            place if place < CROWD_RISE => place / CROWD_RISE,
            place if place < CROWD_FALL => 1.0,
            place => (1.0 - place) / (1.0 - CROWD_FALL),
        };
        height * self.requests_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> LoadProfile {
        let crowd = Some(FlashCrowd { at: 0.7, length: 0.1, requests_per_second: 100.0 });
        LoadProfile { night: 10.0, noon: 50.0, noise: 0.1, crowd, seed: 7 }
    }

    #[test]
    fn the_day_rises_to_noon_and_a_crowd_stands_out() {
        let at = |time| day().requests_per_second(time);
        assert!((9.0..=11.0).contains(&at(0.0)), "{}", at(0.0));
        assert!((45.0..=55.0).contains(&at(0.5)), "{}", at(0.5));
        assert!(at(0.73) > 100.0, "{}", at(0.73));
        assert!(at(0.81) < 30.0, "{}", at(0.81));
    }

    #[test]
    fn arrivals_repeat_with_the_seed_and_follow_the_rate() {
        let length = Duration::from_secs(120);
        let arrivals: Vec<Duration> = day().arrivals(length).collect();
        assert_eq!(arrivals, day().arrivals(length).collect::<Vec<_>>());
        assert_ne!(arrivals, LoadProfile { seed: 8, ..day() }.arrivals(length).collect::<Vec<_>>());
        assert!(arrivals.is_sorted());
        let expected: f64 =
            (0..12_000).map(|i| day().requests_per_second(f64::from(i) / 12_000.0) * 0.01).sum();
        let came = arrivals.len() as f64;
        // Four standard deviations of a Poisson count.
        assert!((came - expected).abs() < 4.0 * expected.sqrt(), "{came} came, {expected} expected");
    }

    #[test]
    fn nothing_arrives_without_demand() {
        let idle = LoadProfile { night: 0.0, noon: 0.0, noise: 0.5, crowd: None, seed: 1 };
        assert_eq!(idle.arrivals(Duration::from_secs(5)).count(), 0);
    }
}
