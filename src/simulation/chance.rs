//! Numbers that look like chance and are the same each time (Steele, Lea and Flood, `SplitMix64`, 2014).
//! In: a seed, and what the numbers are for. Out: numbers.

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The sequence of a seed for one thing: what is drawn for it does not depend on when others are
    /// drawn for. By the FNV-1a hash of its name.
    pub fn of(seed: u64, what: &str) -> Self {
        let hash = what.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut mixed = Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed.draw();
        mixed
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly from `low` up to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// From `low` up to `high`, each doubling as likely as the next one.
    pub fn by_size(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// True in so many of all cases.
    pub fn happens(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// The time until something happens that happens at random, on the mean after `mean`.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// One of several; of none, none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let place = (self.unit() * of.len() as f64) as usize;
        of.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_each_time_and_spread() {
        let of = |what: &str| {
            let mut chance = Chance::of(7, what);
            (0..1000).map(|_| chance.unit()).collect::<Vec<_>>()
        };
        assert_eq!(of("web"), of("web"));
        assert_ne!(of("web"), of("wec"));
        let mean = of("web").iter().sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
        let mut chance = Chance::new(3);
        let waits: f64 = (0..10_000).map(|_| chance.wait(60.0)).sum();
        assert!((waits / 10_000.0 - 60.0).abs() < 3.0, "{waits}");
    }
}
