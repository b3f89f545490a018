//! Kinds of machines that can be had, with what they offer and cost.
//! Not here: pools and nodes (`node`), how types are written (`config`).

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::money::MicroCents;
use crate::domain::quantity::{Bytes, Millicores, Resources, Share};

/// CPU, memory, and other things that come in whole numbers, such as GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capacity {
    /// CPU and memory.
    #[serde(flatten)]
    pub base: Resources,
    /// Other things by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, u64>,
}

impl Capacity {
    /// CPU and memory only.
    pub const fn of(base: Resources) -> Self {
        Self { base, extra: BTreeMap::new() }
    }

    /// Whether all of it fits into `free`.
    pub fn fits(&self, free: &Self) -> bool {
        let has = |(name, amount): (&String, &u64)| *amount <= free.extra.get(name).copied().unwrap_or(0);
        self.base.fits(free.base) && self.extra.iter().all(has)
    }
}

/// What of a machine the system and the agent keep for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overhead {
    /// Of its CPU.
    pub cpu_share: Share,
    /// And this much more.
    pub cpu: Millicores,
    /// Of its memory.
    pub memory_share: Share,
    /// And this much more.
    pub memory: Bytes,
}

impl Overhead {
    /// Nothing is kept.
    pub const NONE: Self = Self {
        cpu_share: Share::ZERO,
        cpu: Millicores::ZERO,
        memory_share: Share::ZERO,
        memory: Bytes::ZERO,
    };

    /// What is left of a machine for tasks.
    pub fn allocatable(&self, machine: Resources) -> Resources {
        let cpu = Millicores::new(self.cpu_share.rest_of(machine.cpu.get()));
        let memory = Bytes::new(self.memory_share.rest_of(machine.memory.get()));
        Resources::new(cpu, memory).saturating_sub(Resources::new(self.cpu, self.memory))
    }
}

/// How a machine is paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purchase {
    /// By the hour, for as long as wanted.
    #[default]
    OnDemand,
    /// For less, and taken away at any time.
    Spot,
}

impl Purchase {
    /// The word in files and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        }
    }
}

/// A kind of machine that can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeType {
    /// As its provider calls it, such as `m7i.large`.
    pub name: String,
    /// Who has it: `ec2`, `gce`, `azure`, or the owner's own word.
    pub provider: String,
    /// Where the price holds.
    pub region: String,
    /// The zone that it can be had in; any zone of the region where absent.
    #[serde(default)]
    pub zone: Option<String>,
    /// The processor's instruction set: `amd64`, `arm64`.
    pub arch: String,
    /// The whole machine.
    pub machine: Capacity,
    /// What of it is not for tasks.
    pub overhead: Overhead,
    /// Price per hour.
    pub price_per_hour: MicroCents,
    /// How it is paid for.
    pub purchase: Purchase,
    /// From asking for one to its taking tasks, where it is known.
    #[serde(default)]
    pub boot_time: Option<SignedDuration>,
}

impl NodeType {
    /// What a node of it has for tasks.
    pub fn allocatable(&self) -> Capacity {
        Capacity { base: self.overhead.allocatable(self.machine.base), extra: self.machine.extra.clone() }
    }

    /// What placement conditions can ask for.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::from([
            ("arch".to_owned(), self.arch.clone()),
            ("provider".to_owned(), self.provider.clone()),
            ("region".to_owned(), self.region.clone()),
            ("type".to_owned(), self.name.clone()),
            ("purchase".to_owned(), self.purchase.as_str().to_owned()),
        ]);
        attributes.extend(self.zone.clone().map(|zone| ("zone".to_owned(), zone)));
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_keeps_is_not_for_tasks() {
        let overhead = Overhead {
            cpu_share: Share::new(0.03),
            cpu: Millicores::new(100),
            memory_share: Share::new(0.05),
            memory: Bytes::mib(512),
        };
        let machine = Resources::new(Millicores::new(2000), Bytes::mib(8192));
        let left = overhead.allocatable(machine);
        assert_eq!(left.cpu, Millicores::new(1840));
        assert_eq!(left.memory.get(), 8192 * 1024 * 1024 * 95 / 100 - 512 * 1024 * 1024);
        assert_eq!(overhead.allocatable(Resources::ZERO), Resources::ZERO);
    }

    #[test]
    fn a_task_with_a_gpu_fits_no_machine_without() {
        let task = Capacity { base: Resources::ZERO, extra: BTreeMap::from([("gpu".to_owned(), 1)]) };
        assert!(!task.fits(&Capacity::of(Resources::new(Millicores::new(9), Bytes::mib(9)))));
        assert!(task.fits(&task));
    }
}
