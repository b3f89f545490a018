//! From an amount to a size, for every estimator: the policy's bounds, and limits in the ratio that the owner
//! declared. Not here: the amount.

use crate::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use crate::estimation::Subject;

/// A request with its bounds and why.
pub(super) struct Sized<T> {
    pub(super) target: T,
    pub(super) lower: T,
    pub(super) upper: T,
    pub(super) reason: String,
}

impl<T: Copy + Ord + std::fmt::Display> Sized<T> {
    /// Holds everything within the policy's bounds, and says so where that changes the request.
    pub(super) fn within(mut self, least: Option<T>, most: Option<T>, resource: &str) -> Self {
        let before = self.target;
        if let Some(least) = least {
            self.target = self.target.max(least);
            self.lower = self.lower.max(least);
            self.upper = self.upper.max(least);
            if self.target != before {
                self.reason = format!("{}, raised to the policy's min_{resource} of {least}", self.reason);
            }
        }
        if let Some(most) = most {
            let before = self.target;
            self.target = self.target.min(most);
            self.lower = self.lower.min(most);
            self.upper = self.upper.min(most);
            if self.target != before {
                self.reason = format!(
                    "{}, held at the policy's max_{resource} of {most} (would be {before})",
                    self.reason
                );
            }
        }
        self
    }
}

/// Limits in the declared ratio to the request: what its owner left as headroom stays headroom. A CPU
/// limit only where one was declared.
pub(super) fn with_limits(request: Resources, subject: &Subject<'_>) -> TaskSize {
    let declared = subject.declared;
    let memory = in_ratio(request.memory.get(), declared.memory_limit.get(), declared.request.memory.get());
    let cpu_limit = declared
        .cpu_limit
        .map(|limit| Millicores::new(in_ratio(request.cpu.get(), limit.get(), declared.request.cpu.get())));
    TaskSize { request, cpu_limit, memory_limit: Bytes::new(memory) }
}

/// `request * limit / of`, rounded up, at least the request; a request of nothing keeps the limit.
fn in_ratio(request: u64, limit: u64, of: u64) -> u64 {
    if of == 0 {
        return limit.max(request);
    }
    let scaled = (u128::from(request) * u128::from(limit)).div_ceil(u128::from(of));
    u64::try_from(scaled).unwrap_or(u64::MAX).max(request)
}
