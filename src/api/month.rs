//! What the nodes cost in the month that goes on: from the book of nodes now and then, and their price in between. Not
//! here: who owes it (`bill`).

use std::sync::Mutex;
use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};

use crate::accounting::bill::nodes::{NodeBook, NodeLife};
use crate::api::bill_source::{month_at, node_book};
use crate::api::dto::Problem;
use crate::api::{ApiState, present};
use crate::ports::control::View;

/// The book is read so often.
const READ_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// Seconds of an hour.
const HOUR: f64 = 3_600.0;

/// What a month came to by an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    at: Timestamp,
    /// Units of the currency.
    cost: f64,
    /// What the book was last read at.
    read: Timestamp,
}

/// The cost of the month so far.
#[derive(Debug, Default)]
pub struct MonthCost(Mutex<Option<Known>>);

impl MonthCost {
    /// Brings it up to date.
    pub async fn keep(api: &ApiState, view: &View) -> Result<(), Problem> {
        let now = api.clock.now();
        let of = |known: &MonthCost| *known.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = of(&api.totals.month);
        let fresh = known.filter(|known| {
            now.duration_since(known.read) < READ_EVERY
                && month_at(known.at) == month_at(now)
                && known.at <= now
        });
        let next = if let Some(known) = fresh {
            let hours = now.duration_since(known.at).as_secs_f64() / HOUR;
            let cost = known.cost + present::price_per_hour(view, &api.prices).units() * hours;
            Known { at: now, cost, ..known }
        } else {
            let (api, view) = (api.clone(), view.clone());
            let book = tokio::task::spawn_blocking(move || node_book(&api, &view, now)).await??;
            Known { at: now, cost: cost(&book, month_at(now).0, now), read: now }
        };
        *api.totals.month.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        Ok(())
    }

    /// What the month came to so far, in units of the currency; absent before it was first looked at.
    pub fn told(&self) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|known| known.cost)
    }
}

fn cost(book: &NodeBook, from: Timestamp, to: Timestamp) -> f64 {
    book.lives().iter().map(|life| cost_of(life, from, to)).sum()
}

/// What a node cost in a span of time: each price from its step to the next one.
fn cost_of(life: &NodeLife, from: Timestamp, to: Timestamp) -> f64 {
    let begin = |place: usize, at: Timestamp| if place == 0 { life.from } else { at };
    let steps = life.prices.iter().enumerate();
    let cost = steps.map(|(place, step)| {
        let until = life.prices.get(place + 1).map(|next| next.from).or(life.to).unwrap_or(to);
        let (from, to) = (begin(place, step.from).max(from), until.min(to));
        step.per_hour.units() * to.duration_since(from).as_secs_f64().max(0.0) / HOUR
    });
    cost.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::bill::nodes::PriceStep;
    use crate::domain::money::MicroCents;
    use crate::domain::node::{NodeName, PoolName};
    use crate::domain::quantity::Resources;

    #[test]
    fn a_node_costs_its_prices_for_as_long_as_it_is_there() {
        let at = |hour: i64| Timestamp::from_second(hour * 3_600).expect("an instant");
        let price = |hour, units| PriceStep { from: at(hour), per_hour: MicroCents::from_units(units) };
        let mut life = NodeLife {
            node: NodeName::new("small-1").expect("a name"),
            pool: PoolName::new("small").expect("a name"),
            size: Resources::ZERO,
            from: at(10),
            ready: None,
            leaving: None,
            to: None,
            prices: vec![price(10, 1.0), price(14, 3.0)],
        };
        let cost = |life: &NodeLife, from, to| (cost_of(life, at(from), at(to)) * 1e3).round() as i64;
        assert_eq!([cost(&life, 0, 20), cost(&life, 12, 20), cost(&life, 15, 16)], [22_000, 20_000, 3_000]);
        assert_eq!(cost(&life, 0, 9), 0);
        life.to = Some(at(15));
        assert_eq!(cost(&life, 0, 20), 7_000);
    }
}
