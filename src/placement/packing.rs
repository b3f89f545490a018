//! How full a node is, as one number.
//!
//! It is the greater of the shares of CPU and memory (the dominant share of Ghodsi et al., "Dominant
//! Resource Fairness", NSDI 2011, section 3): a node with free memory but no CPU is not full for the next
//! task that wants memory only.

use crate::domain::quantity::Resources;

/// The greater of the shares of CPU and memory that `part` is of `whole`, in millionths. Whole numbers,
/// so that equal nodes tie.
pub(crate) fn dominant_share(part: Resources, whole: Resources) -> u64 {
    let share = |part: u64, whole: u64| match part.checked_mul(1_000_000) {
        Some(millionths) => millionths / whole.max(1),
        None => u64::try_from(u128::from(part) * 1_000_000 / u128::from(whole.max(1))).unwrap_or(u64::MAX),
    };
    share(part.cpu.get(), whole.cpu.get()).max(share(part.memory.get(), whole.memory.get()))
}
