//! Money as integers, so that sums are exact: micro-cents, and prices per hour.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};

use serde::{Deserialize, Serialize};

use crate::domain::quantity::{GIB, Resources};

/// A millionth of a cent of the currency that the prices are given in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroCents(i64);

impl MicroCents {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Micro-cents in one unit of the currency (100 cents).
    pub const PER_UNIT: i64 = 100_000_000;

    /// An amount in micro-cents.
    pub const fn new(micro_cents: i64) -> Self {
        Self(micro_cents)
    }

    /// An amount in currency units (for example dollars), rounded to the nearest micro-cent.
    pub fn from_units(units: f64) -> Self {
        Self((units * Self::PER_UNIT as f64).round() as i64)
    }

    /// The amount in micro-cents.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The amount in currency units, for display and charts, never for sums.
    pub fn units(self) -> f64 {
        self.0 as f64 / Self::PER_UNIT as f64
    }

    /// The amount times `factor`, rounded to the nearest micro-cent.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor).round() as i64)
    }
}

impl fmt::Display for MicroCents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.units();
        // Small machines cost fractions of a cent: keep four significant digits there.
        let text =
            if units != 0.0 && units.abs() < 0.1 { format!("{units:.6}") } else { format!("{units:.2}") };
        f.pad(&text)
    }
}

impl Add for MicroCents {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for MicroCents {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for MicroCents {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for MicroCents {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for MicroCents {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::ZERO, Add::add)
    }
}

/// What an hour of a core and of a GiB cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    /// Per core and hour.
    pub core_hour: MicroCents,
    /// Per GiB of memory and hour.
    pub gib_hour: MicroCents,
}

impl Prices {
    /// The price of keeping `resources` for one hour.
    pub fn per_hour(&self, resources: Resources) -> MicroCents {
        // i128: 2^64 bytes times a price overflows 64 bits long before it is a realistic bill.
        let cpu = i128::from(resources.cpu.get()) * i128::from(self.core_hour.0) / 1000;
        let memory = i128::from(resources.memory.get()) * i128::from(self.gib_hour.0) / i128::from(GIB);
        MicroCents(i64::try_from(cpu + memory).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::{Bytes, Millicores};

    #[test]
    fn an_hour_of_two_cores_and_a_gib() {
        let prices =
            Prices { core_hour: MicroCents::from_units(0.03), gib_hour: MicroCents::from_units(0.004) };
        let size = Resources::new(Millicores::new(2000), Bytes::new(GIB));
        assert_eq!(prices.per_hour(size), MicroCents::from_units(0.064));
    }
}
