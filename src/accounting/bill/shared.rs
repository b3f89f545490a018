//! Cost that no task caused, given to those who pay: evenly, in proportion to what they pay, or by weights.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How shared cost is given to the rows of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Not at all: it has a row of its own.
    #[default]
    None,
    /// The same to each row.
    Even,
    /// In proportion to what each row pays for its allocations.
    Proportional,
    /// By weights of rows, by their names; rows that are not named get nothing.
    Weights(BTreeMap<String, u64>),
}

impl FromStr for Sharing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected none, even, proportional or weights such as `shop=3,search=1`";
        match text {
            "none" => return Ok(Self::None),
            "even" => return Ok(Self::Even),
            "proportional" => return Ok(Self::Proportional),
            _ => {}
        }
        let weight = |part: &str| {
            let (name, weight) = part.rsplit_once('=').ok_or(format!("found `{part}`, {EXPECTED}"))?;
            let weight = weight.trim().parse::<u32>();
            let weight = weight.map_err(|_| format!("found the weight `{part}`, expected a whole number"))?;
            Ok((name.trim().to_owned(), u64::from(weight)))
        };
        text.split(',').map(weight).collect::<Result<_, _>>().map(Self::Weights)
    }
}

impl Sharing {
    /// The weights of rows by name and what they pay; none where nothing is to be given to them.
    pub(crate) fn weights<'a>(&self, rows: impl Iterator<Item = (&'a str, i64)>) -> Option<Vec<u128>> {
        let weigh = |(name, pays): (&str, i64)| match self {
            Self::None | Self::Even => 1,
            Self::Proportional => u128::from(pays.max(0).unsigned_abs()),
            Self::Weights(weights) => weights.get(name).copied().unwrap_or(0).into(),
        };
        let found: Vec<u128> = rows.map(weigh).collect();
        (*self != Self::None && found.iter().any(|weight| *weight > 0)).then_some(found)
    }
}

/// Cuts `amount` by weights, of which one at least is above zero. Rounded down first; the micro-cents that are
/// left go to those with the largest remainders, of equal ones to the first.
pub fn distribute(amount: i64, weights: &[u128]) -> Vec<i64> {
    let whole: u128 = weights.iter().sum();
    // Weights are at most 64 bits wide (`weights`), amounts 63: products fit.
    let scaled = |weight: u128| {
        let product = u128::from(amount.unsigned_abs()) * weight;
        (product / whole, product % whole)
    };
    let parts: Vec<(u128, u128)> = weights.iter().map(|weight| scaled(*weight)).collect();
    let mut shares: Vec<i64> =
        parts.iter().map(|(part, _)| i64::try_from(*part).unwrap_or(i64::MAX)).collect();
    let left = i64::try_from(amount.unsigned_abs()).unwrap_or(i64::MAX) - shares.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(parts[*place].1));
    for place in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        shares[place] += 1;
    }
    if amount < 0 {
        for share in &mut shares {
            *share = -*share;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_remainder_gets_what_is_left() {
        assert_eq!(distribute(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(distribute(10, &[1, 2, 0]), [3, 7, 0]);
        assert_eq!(distribute(-10, &[1, 1, 1]), [-4, -3, -3]);
    }

    #[test]
    fn words_and_weights_are_understood() {
        assert_eq!("even".parse(), Ok(Sharing::Even));
        let weights = BTreeMap::from([("shop".to_owned(), 3), ("search".to_owned(), 1)]);
        assert_eq!("shop=3, search=1".parse(), Ok(Sharing::Weights(weights)));
        assert!("fair".parse::<Sharing>().is_err_and(|error| error.contains("expected none, even")));
        assert!("shop=-1".parse::<Sharing>().is_err());
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_fair(
            amount in -1_000_000_000_000_i64..1_000_000_000_000,
            weights in prop::collection::vec(0_u64..1_000_000, 1..20),
        ) {
            let weights: Vec<u128> = weights.into_iter().map(u128::from).collect();
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let shares = distribute(amount, &weights);
            prop_assert_eq!(shares.iter().sum::<i64>(), amount);
            let whole: u128 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(weights) {
                let exact = amount as f64 * weight as f64 / whole as f64;
                prop_assert!((*share as f64 - exact).abs() <= 1.001);
            }
        }
    }
}
