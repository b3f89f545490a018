//! A recommendation in words. In: what an estimator says. Out: how far to trust it, what its risk means,
//! and what to do about a finding. Not here: what is found (`estimation`), how it is laid out (`cli`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::quantity::{Bytes, Resources, TaskSize};
use crate::domain::recommendation::{Finding, Recommendation};

/// Days of a month as prices count them: 730 hours.
pub const DAYS_PER_MONTH: f64 = 730.0 / 24.0;

/// What a word of confidence asks for, all of it: days of history, samples, and the wider of CPU's and
/// memory's upper bound over its lower one.
const HIGH: (f64, u64, f64) = (7.0, 1_000, 2.0);
const FAIR: (f64, u64, f64) = (2.0, 100, 5.0);

/// How far a recommendation is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// It will change as usage becomes known.
    Low,
    /// It will move within its bounds.
    Fair,
    /// A week or more of much the same.
    High,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Low => "low",
            Self::Fair => "fair",
            Self::High => "high",
        })
    }
}

impl Confidence {
    /// High from 7 days of history, 1000 samples and bounds no more than a factor of 2 apart on; fair from
    /// 2 days, 100 samples and a factor of 5 on; else low.
    pub fn of(recommendation: &Recommendation) -> Self {
        let reaches = |(days, samples, spread): (f64, u64, f64)| {
            recommendation.confidence_days >= days
                && recommendation.samples >= samples
                && bounds_spread(recommendation) <= spread
        };
        match () {
            () if reaches(HIGH) => Self::High,
            () if reaches(FAIR) => Self::Fair,
            () => Self::Low,
        }
    }
}

/// The wider of CPU's and memory's upper bound over its lower one; without end where nothing is too small.
pub fn bounds_spread(recommendation: &Recommendation) -> f64 {
    let Resources { cpu: cpu_low, memory: memory_low } = recommendation.lower;
    let Resources { cpu: cpu_high, memory: memory_high } = recommendation.upper;
    let spread = |low: f64, high: f64| if low > 0.0 { high / low } else { f64::INFINITY };
    spread(cpu_low.cores(), cpu_high.cores()).max(spread(memory_low.as_f64(), memory_high.as_f64()))
}

/// What the confidence rests on.
pub fn grounds(recommendation: &Recommendation) -> String {
    let spread = bounds_spread(recommendation);
    let bounds =
        if spread.is_finite() { format!("bounds x{spread:.1} apart") } else { "no lower bound".to_owned() };
    let (days, samples) = (recommendation.confidence_days, recommendation.samples);
    format!("{days:.1} days of history, {samples} samples, {bounds}")
}

/// A risk, in kills for want of memory per task-day.
pub fn risk_words(risk: f64) -> String {
    if risk >= 1.0 {
        return format!("{risk:.1} OOM kills a task-day");
    }
    let days = 1.0 / risk;
    if risk <= 0.0 || days > 100_000.0 {
        return "no OOM kill in 100000 task-days".to_owned();
    }
    let days = if days < 10.0 { format!("{days:.1}") } else { format!("{days:.0}") };
    format!("1 OOM kill in {days} task-days")
}

/// Kills a month that a risk means for so many instances.
pub fn kills_per_month(risk: f64, instances: f64) -> f64 {
    risk * DAYS_PER_MONTH * instances
}

impl Finding {
    /// What was seen.
    pub fn words(&self) -> String {
        match *self {
            Self::Leak { bytes_per_day } => {
                format!(
                    "memory grows {} a day as long as a task runs, and falls at its restart",
                    bytes(bytes_per_day)
                )
            }
            Self::Trend { bytes_per_day } if bytes_per_day < 0.0 => {
                format!("memory falls by {} from day to day", bytes(-bytes_per_day))
            }
            Self::Trend { bytes_per_day } => {
                format!("memory grows by {} from day to day", bytes(bytes_per_day))
            }
            Self::Plateau { memory } => format!("memory rises to {memory} after a start and stays there"),
            Self::StartupPeak { memory, settled } => {
                format!("tasks take up to {memory} while they start and {settled} afterwards")
            }
            Self::Daily { ratio } => {
                format!("the highest hours of a usual day need {ratio:.1} times the lowest")
            }
        }
    }

    /// What to do about it, for tasks of this size.
    pub fn advice(&self, size: TaskSize) -> String {
        match *self {
            Self::Leak { bytes_per_day } => {
                let days = size.memory_limit.as_f64() / bytes_per_day.max(1.0);
                format!(
                    "a leak to report, not a size to chase: {} holds less than {days:.1} days of it",
                    size.memory_limit
                )
            }
            Self::Trend { bytes_per_day } if bytes_per_day < 0.0 => {
                "the size can follow: look again in a week".to_owned()
            }
            Self::Trend { bytes_per_day } => {
                format!(
                    "at this pace it needs {} more in a week: let the size follow",
                    bytes(7.0 * bytes_per_day)
                )
            }
            Self::Plateau { memory } => format!(
                "a heap of fixed size looks so, and usage says little of need: bound the heap (-Xmx on a JVM) \
                 below {memory} and see"
            ),
            Self::StartupPeak { memory, settled } => format!(
                "the size is paid for the start: a start that needs less would free {} a task",
                memory.saturating_sub(settled)
            ),
            Self::Daily { .. } => {
                "instances or sizes that follow the hour would not pay for the highest all day".to_owned()
            }
        }
    }
}

fn bytes(amount: f64) -> Bytes {
    Bytes::from_f64(amount)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::money::MicroCents;
    use crate::domain::quantity::Millicores;
    use crate::domain::workload::WorkloadName;

    fn resources(cpu: u64, mib: u64) -> Resources {
        Resources::new(Millicores::new(cpu), Bytes::mib(mib))
    }

    fn recommendation(days: f64, samples: u64, lower: Resources, upper: Resources) -> Recommendation {
        Recommendation {
            workload: WorkloadName::new("web").expect("a name"),
            at: Timestamp::UNIX_EPOCH,
            size: TaskSize::of(upper),
            lower,
            upper,
            samples,
            confidence_days: days,
            reason: String::new(),
            price_effect: MicroCents::ZERO,
            risk: None,
            reasons: Vec::new(),
            candidates: Vec::new(),
            findings: Vec::new(),
        }
    }

    #[test]
    fn confidence_asks_for_history_samples_and_narrow_bounds() {
        let (low, twice, thrice) = (resources(100, 100), resources(200, 200), resources(150, 300));
        for (days, samples, upper, expected) in [
            (8.0, 5000, twice, Confidence::High),
            (6.9, 5000, twice, Confidence::Fair),
            (8.0, 999, twice, Confidence::Fair),
            (8.0, 5000, thrice, Confidence::Fair),
            (1.9, 5000, twice, Confidence::Low),
            (8.0, 99, twice, Confidence::Low),
            (8.0, 5000, resources(100, 501), Confidence::Low),
        ] {
            let found = Confidence::of(&recommendation(days, samples, low, upper));
            assert_eq!(found, expected, "{days} {samples} {upper}");
        }
        let endless = recommendation(8.0, 5000, Resources::default(), twice);
        assert_eq!(Confidence::of(&endless), Confidence::Low);
        assert_eq!(grounds(&endless), "8.0 days of history, 5000 samples, no lower bound");
    }

    #[test]
    fn a_risk_is_told_as_what_happens() {
        for (risk, expected) in [
            (2.34, "2.3 OOM kills a task-day"),
            (0.4, "1 OOM kill in 2.5 task-days"),
            (1.0 / 120.0, "1 OOM kill in 120 task-days"),
            (0.0, "no OOM kill in 100000 task-days"),
            (1e-9, "no OOM kill in 100000 task-days"),
        ] {
            assert_eq!(risk_words(risk), expected);
        }
        assert!((kills_per_month(0.01, 3.0) - 0.9125).abs() < 1e-9);
    }

    #[test]
    fn a_leak_is_told_with_what_the_size_holds() {
        let leak = Finding::Leak { bytes_per_day: 120.0 * 1_048_576.0 };
        assert!(
            leak.words().starts_with("memory grows 120.0 MiB a day as long as a task runs"),
            "{}",
            leak.words()
        );
        let advice = leak.advice(TaskSize::of(resources(100, 840)));
        assert!(advice.ends_with("840.0 MiB holds less than 7.0 days of it"), "{advice}");
    }
}
