//! Amounts of what a task needs and uses: CPU in millicores, memory in bytes.
//! Not here: money (`money`), what was measured (`usage`).

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A thousandth of a CPU core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millicores(u64);

impl Millicores {
    /// No CPU at all.
    pub const ZERO: Self = Self(0);

    /// An amount in millicores.
    pub const fn new(millicores: u64) -> Self {
        Self(millicores)
    }

    /// An amount in cores, rounded up to the next millicore; negative and non-finite values give zero.
    pub fn from_cores(cores: f64) -> Self {
        // A measured 0.1 is 0.1 + 5e-18 in binary: the tolerance keeps it from becoming 101.
        if cores.is_finite() && cores > 0.0 {
            Self((cores * 1000.0 - 1e-9).ceil() as u64)
        } else {
            Self::ZERO
        }
    }

    /// The amount in millicores.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount in cores.
    pub fn cores(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// `self - other`, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}", self.cores()))
    }
}

impl Add for Millicores {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Millicores {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Millicores {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

/// An amount of memory or storage in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(u64);

/// Bytes in a GiB, the unit that memory is priced in.
pub const GIB: u64 = 1 << 30;
/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;

impl Bytes {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount in bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// An amount in MiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib * MIB)
    }

    /// A measured amount, rounded up; negative and non-finite values give zero.
    pub fn from_f64(bytes: f64) -> Self {
        if bytes.is_finite() && bytes > 0.0 { Self(bytes.ceil() as u64) } else { Self::ZERO }
    }

    /// The amount in bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount in bytes, for arithmetic with measured values.
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// The amount in GiB.
    pub fn gib(self) -> f64 {
        self.0 as f64 / GIB as f64
    }

    /// `self - other`, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&bytesize::ByteSize::b(self.0).display().iec().to_string())
    }
}

impl FromStr for Bytes {
    type Err = String;

    /// Reads `256MiB`, `1.5GiB`, `64MB`, `1024`.
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<bytesize::ByteSize>().map(|size| Self(size.as_u64()))
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

/// CPU and memory together: a request, a free amount, a node's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// CPU in millicores.
    pub cpu: Millicores,
    /// Memory in bytes.
    pub memory: Bytes,
}

impl Resources {
    /// Neither CPU nor memory.
    pub const ZERO: Self = Self { cpu: Millicores::ZERO, memory: Bytes::ZERO };

    /// CPU and memory together.
    pub const fn new(cpu: Millicores, memory: Bytes) -> Self {
        Self { cpu, memory }
    }

    /// Whether both parts fit into `free`.
    pub fn fits(self, free: Self) -> bool {
        self.cpu <= free.cpu && self.memory <= free.memory
    }

    /// `self - other`, each part at least zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(other.cpu), memory: self.memory.saturating_sub(other.memory) }
    }
}

impl Add for Resources {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Resources {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores, {}", self.cpu, self.memory)
    }
}

/// A share from 0 to 1, in thousandths, so that it compares and stores exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A share from 0 to 1, rounded to a thousandth; values outside are clamped.
    pub fn new(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * 1000.0).round() as u32)
    }

    /// The share as a number from 0 to 1.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// This share of a whole, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * u128::from(self.0) / 1000).unwrap_or(u64::MAX)
    }

    /// What is left of a whole without this share, rounded down.
    pub fn rest_of(self, whole: u64) -> u64 {
        let rest = u128::from(whole) * u128::from(1000 - self.0) / 1000;
        u64::try_from(rest).unwrap_or(u64::MAX)
    }
}

/// The size of a task: what is reserved for it and what it may not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskSize {
    /// What placement reserves on the node.
    pub request: Resources,
    /// CPU that the kernel grants at most; absent means up to what the node has.
    pub cpu_limit: Option<Millicores>,
    /// Memory above which the kernel kills the task.
    pub memory_limit: Bytes,
}

impl TaskSize {
    /// A size whose memory limit is its request and whose CPU is not capped.
    pub const fn of(request: Resources) -> Self {
        Self { request, cpu_limit: None, memory_limit: request.memory }
    }
}

impl fmt::Display for TaskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.request)?;
        // A limit that is the request goes without saying.
        let memory = (self.memory_limit != self.request.memory).then_some(self.memory_limit);
        match (memory, self.cpu_limit) {
            (Some(memory), Some(cpu)) => write!(f, " (memory limit {memory}, CPU limit {cpu} cores)"),
            (Some(memory), None) => write!(f, " (memory limit {memory})"),
            (None, Some(cpu)) => write!(f, " (CPU limit {cpu} cores)"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_tells_limits_that_are_not_the_request() {
        let plain = TaskSize::of(Resources::new(Millicores::new(200), Bytes::mib(64)));
        assert_eq!(plain.to_string(), "0.2 cores, 64.0 MiB");
        let capped = TaskSize { cpu_limit: Some(Millicores::new(500)), ..plain };
        assert_eq!(capped.to_string(), "0.2 cores, 64.0 MiB (CPU limit 0.5 cores)");
        let roomy = TaskSize { memory_limit: Bytes::mib(128), ..capped };
        assert_eq!(roomy.to_string(), "0.2 cores, 64.0 MiB (memory limit 128.0 MiB, CPU limit 0.5 cores)");
    }

    #[test]
    fn cores_round_up_but_not_past_their_decimal_value() {
        assert_eq!(Millicores::from_cores(0.1), Millicores::new(100));
        assert_eq!(Millicores::from_cores(0.2501), Millicores::new(251));
        assert_eq!(Millicores::from_cores(f64::NAN), Millicores::ZERO);
        assert_eq!(Millicores::from_cores(-1.0), Millicores::ZERO);
    }

    #[test]
    fn bytes_read_what_people_write() {
        assert_eq!("256MiB".parse(), Ok(Bytes::mib(256)));
        assert_eq!("1GB".parse(), Ok(Bytes::new(1_000_000_000)));
        assert!("many".parse::<Bytes>().is_err());
        assert_eq!(Bytes::mib(256).to_string(), "256.0 MiB");
    }
}
