//! What is paid for a node over a span of time: from a price list or from a bill.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounting::amount::HOUR_MICROS;
use crate::accounting::timeline::Span;
use crate::domain::money::MicroCents;
use crate::domain::node::NodeName;

/// What kind of charge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeKind {
    /// The use of a machine.
    Usage,
    /// Money back: a discount or a credit; its cost is negative.
    Discount,
    /// The part of a commitment paid at another time that falls on this span.
    Commitment,
}

impl ChargeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Usage, Self::Discount, Self::Commitment];

    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Discount => "discount",
            Self::Commitment => "commitment",
        }
    }
}

/// How much is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terms {
    /// So much for each hour.
    PerHour(MicroCents),
    /// So much for all of the span, evenly over it; for a span without length or end, at its start.
    Whole(MicroCents),
}

/// A line of a bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The node; absent for what no node stands for: support, network, a control plane.
    pub node: Option<NodeName>,
    /// From this instant on.
    pub from: Timestamp,
    /// Before this instant; absent while it goes on.
    pub to: Option<Timestamp>,
    /// How much.
    pub terms: Terms,
    /// What kind of charge.
    pub kind: ChargeKind,
}

impl Charge {
    /// What falls on the time from `from` (inclusive) to `to` (exclusive). Parts of a charge over spans that
    /// touch add up to the charge: each is the difference of two cumulative sums, rounded down.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> MicroCents {
        self.within(Span { from: from.as_microsecond(), to: to.as_microsecond() })
    }

    pub(crate) fn within(&self, span: Span) -> MicroCents {
        let part = self.until(span.to) - self.until(span.from);
        MicroCents::new(i64::try_from(part).unwrap_or(if part < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Everything from the start of the charge to `at`.
    fn until(&self, at: i64) -> i128 {
        let from = self.from.as_microsecond();
        if at <= from {
            return 0;
        }
        let to = self.to.map(Timestamp::as_microsecond);
        let passed = i128::from(to.map_or(at, |to| at.min(to.max(from))) - from);
        match self.terms {
            Terms::PerHour(price) => (i128::from(price.get()) * passed).div_euclid(HOUR_MICROS.into()),
            Terms::Whole(cost) => {
                let cost = i128::from(cost.get());
                let length = to.map_or(0, |to| i128::from(to) - i128::from(from));
                if length > 0 { (cost * passed).div_euclid(length) } else { cost }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn charge(from: i64, to: Option<i64>, terms: Terms) -> Charge {
        Charge { node: None, from: second(from), to: to.map(second), terms, kind: ChargeKind::Usage }
    }

    #[test]
    fn an_hour_costs_its_price_and_the_rest_nothing() {
        let charge = charge(0, Some(5400), Terms::PerHour(MicroCents::new(1001)));
        assert_eq!(charge.between(second(-3600), second(3600)).get(), 1001);
        assert_eq!(charge.between(second(3600), second(9000)).get(), 500);
        assert_eq!(charge.between(second(9000), second(90_000)).get(), 0);
    }

    #[test]
    fn a_line_without_length_falls_on_its_instant() {
        let line = charge(100, Some(100), Terms::Whole(MicroCents::new(-7)));
        assert_eq!(line.between(second(0), second(100)).get(), 0);
        assert_eq!(line.between(second(100), second(101)).get(), -7);
    }

    proptest! {
        #[test]
        fn cut_anywhere_the_parts_add_up(
            (from, length) in (0_i64..10_000, 0_i64..10_000),
            cost in -1_000_000_i64..1_000_000,
            mut cuts in prop::collection::vec(-100_i64..30_000, 0..8),
        ) {
            for terms in [Terms::Whole(MicroCents::new(cost)), Terms::PerHour(MicroCents::new(cost))] {
                let charge = charge(from, Some(from + length), terms);
                cuts.extend([-100, 30_000]);
                cuts.sort_unstable();
                let parts: i64 =
                    cuts.windows(2).map(|cut| charge.between(second(cut[0]), second(cut[1])).get()).sum();
                prop_assert_eq!(parts, charge.between(second(-100), second(30_000)).get());
                if let Terms::Whole(whole) = terms {
                    prop_assert_eq!(parts, whole.get());
                }
            }
        }
    }
}
