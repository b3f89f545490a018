//! Resources times time, as integers, so that parts add up exactly however they are grouped.
//! Not here: amounts at an instant (`domain::quantity`), money (`domain::money`).

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

use crate::domain::money::MicroCents;
use crate::domain::quantity::GIB;

/// Microseconds in an hour.
pub(crate) const HOUR_MICROS: i64 = 3_600_000_000;

/// Declares an integer amount that adds up.
macro_rules! amount_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// An amount in the unit of this type.
            pub const fn new(amount: i64) -> Self {
                Self(amount)
            }

            /// The amount in the unit of this type.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }
    };
}

amount_type!(
    /// Time that tasks ran, in microseconds, added over tasks. 64 bits hold 2.5e9 task-hours.
    TaskTime
);
amount_type!(
    /// CPU time, requested or used: microseconds of one core. 64 bits hold 2.5e9 core-hours.
    CoreTime
);
amount_type!(
    /// Memory held over time, in KiB-seconds: fine enough for a small task in a short time, coarse
    /// enough that 64 bits hold 2.4e9 GiB-hours.
    MemoryTime
);

impl TaskTime {
    /// The amount in hours, for display.
    pub fn hours(self) -> f64 {
        self.0 as f64 / HOUR_MICROS as f64
    }
}

impl CoreTime {
    /// The amount in core-hours, for display.
    pub fn core_hours(self) -> f64 {
        self.0 as f64 / HOUR_MICROS as f64
    }
}

impl MemoryTime {
    /// The amount in GiB-hours, for display.
    pub fn gib_hours(self) -> f64 {
        self.0 as f64 / (GIB / 1024 * 3600) as f64
    }
}

/// One resource, or its price, seen from the sides that a report shows.
///
/// `requested + overuse = used + idle + unsampled` holds exactly, for each entry and each sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures<T> {
    /// Reserved while tasks ran.
    pub requested: T,
    /// Used, as far as it was measured.
    pub used: T,
    /// Requested and, as was measured, not used. Never negative: use beyond the request at one time
    /// does not make up for idleness at another.
    pub idle: T,
    /// Used beyond the request.
    pub overuse: T,
    /// Requested in time that nothing was measured in: neither used nor idle as far as anyone knows.
    pub unsampled: T,
}

impl<T> Figures<T> {
    /// Five integers in the order of the fields, each in the unit of `T`.
    fn of(five: &[i64], unit: impl Fn(i64) -> T) -> Self {
        Self {
            requested: unit(five[0]),
            used: unit(five[1]),
            idle: unit(five[2]),
            overuse: unit(five[3]),
            unsampled: unit(five[4]),
        }
    }

    /// The same figures in another unit.
    pub(crate) fn map<U>(self, unit: impl Fn(T) -> U) -> Figures<U> {
        Figures {
            requested: unit(self.requested),
            used: unit(self.used),
            idle: unit(self.idle),
            overuse: unit(self.overuse),
            unsampled: unit(self.unsampled),
        }
    }
}

impl<T: Add<Output = T>> Add for Figures<T> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            requested: self.requested + other.requested,
            used: self.used + other.used,
            idle: self.idle + other.idle,
            overuse: self.overuse + other.overuse,
            unsampled: self.unsampled + other.unsampled,
        }
    }
}

/// What running tasks came to: time, resources and their price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Time that tasks ran.
    #[serde(rename = "task_microseconds")]
    pub time: TaskTime,
    /// Of it, time that no sample covers.
    #[serde(rename = "unsampled_task_microseconds")]
    pub unsampled_time: TaskTime,
    /// CPU.
    #[serde(rename = "cpu_core_microseconds")]
    pub cpu: Figures<CoreTime>,
    /// Memory; used is the working set.
    #[serde(rename = "memory_kib_seconds")]
    pub memory: Figures<MemoryTime>,
    /// What CPU and memory cost together.
    #[serde(rename = "price_micro_cents")]
    pub price: Figures<MicroCents>,
}

impl Amounts {
    /// The names of `columns`, in order.
    pub const COLUMNS: [&'static str; 17] = [
        "task_microseconds",
        "unsampled_task_microseconds",
        "cpu_requested",
        "cpu_used",
        "cpu_idle",
        "cpu_overuse",
        "cpu_unsampled",
        "memory_requested",
        "memory_used",
        "memory_idle",
        "memory_overuse",
        "memory_unsampled",
        "price_requested",
        "price_used",
        "price_idle",
        "price_overuse",
        "price_unsampled",
    ];

    /// The amounts as one row of integers, for tables.
    pub fn columns(&self) -> [i64; 17] {
        let Self { time, unsampled_time, cpu, memory, price } = self;
        [
            time.get(),
            unsampled_time.get(),
            cpu.requested.get(),
            cpu.used.get(),
            cpu.idle.get(),
            cpu.overuse.get(),
            cpu.unsampled.get(),
            memory.requested.get(),
            memory.used.get(),
            memory.idle.get(),
            memory.overuse.get(),
            memory.unsampled.get(),
            price.requested.get(),
            price.used.get(),
            price.idle.get(),
            price.overuse.get(),
            price.unsampled.get(),
        ]
    }

    /// The amounts that `columns` shows.
    pub fn from_columns(columns: [i64; 17]) -> Self {
        let [time, unsampled_time, figures @ ..] = columns;
        let (cpu, rest) = figures.split_at(5);
        let (memory, price) = rest.split_at(5);
        Self {
            time: TaskTime::new(time),
            unsampled_time: TaskTime::new(unsampled_time),
            cpu: Figures::of(cpu, CoreTime::new),
            memory: Figures::of(memory, MemoryTime::new),
            price: Figures::of(price, MicroCents::new),
        }
    }
}

impl Add for Amounts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            time: self.time + other.time,
            unsampled_time: self.unsampled_time + other.unsampled_time,
            cpu: self.cpu + other.cpu,
            memory: self.memory + other.memory,
            price: self.price + other.price,
        }
    }
}

/// What the same task-hours would have requested at the recommended size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommended {
    /// CPU.
    #[serde(rename = "cpu_core_microseconds")]
    pub cpu: CoreTime,
    /// Memory.
    #[serde(rename = "memory_kib_seconds")]
    pub memory: MemoryTime,
    /// What they would have cost.
    #[serde(rename = "price_micro_cents")]
    pub price: MicroCents,
}

impl Add for Recommended {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            memory: self.memory + other.memory,
            price: self.price + other.price,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_hours() {
        assert!((CoreTime::new(HOUR_MICROS).core_hours() - 1.0).abs() < 1e-12);
        assert!((MemoryTime::new(3600 * 1024 * 1024).gib_hours() - 1.0).abs() < 1e-12);
        assert!((TaskTime::new(HOUR_MICROS / 2).hours() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn columns_read_back() {
        let mut columns = [0; 17];
        (7..).step_by(3).zip(&mut columns).for_each(|(value, column)| *column = value);
        let amounts = Amounts::from_columns(columns);
        assert_eq!(amounts.columns(), columns);
        let place = |name| Amounts::COLUMNS.iter().position(|column| *column == name).expect("a column");
        assert_eq!(amounts.price.idle, MicroCents::new(columns[place("price_idle")]));
        assert_eq!(amounts.memory.used, MemoryTime::new(columns[place("memory_used")]));
    }
}
