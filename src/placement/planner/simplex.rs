//! A linear programme whose columns are found on the way: the revised simplex method for covering rows.
//!
//! In: how much of each row is wanted, columns with prices. Out: how much of each column is bought, and what
//! a unit of each row is worth (the dual values), which is what the search for the next column needs.
//!
//! Minimise the price of the columns so that every row is covered. Covering more than is wanted is free. The
//! inverse of the basis is kept whole: rows are kinds of tasks, a few hundred at most. Gilmore and Gomory, "A
//! linear programming approach to the cutting-stock problem", Operations Research 9 (1961).
//! Not here: where columns come from (`columns`).

/// Numbers smaller than this are nothing.
const TINY: f64 = 1e-9;
/// After so many exchanges the inverse is worked out afresh, so that errors do not pile up.
const FRESH_AFTER: usize = 200;

/// What is bought: an amount of some rows for a price.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// Rows and how much of each, in the order of rows.
    pub(super) parts: Vec<(u32, f64)>,
    pub(super) price: f64,
    /// What the caller knows it by.
    pub(super) tag: u32,
}

impl Column {
    /// What it holds is worth at these values of rows.
    pub(super) fn worth(&self, values: &[f64]) -> f64 {
        self.parts.iter().map(|&(row, amount)| values[row as usize] * amount).sum()
    }
}

/// Which column stands in a place of the basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basic {
    Column(u32),
    /// What is covered beyond what is wanted of a row.
    Surplus(u32),
}

/// The programme with the columns known so far, at its optimum over those that it was told to take in.
pub(super) struct Master {
    wanted: Vec<f64>,
    columns: Vec<Column>,
    basis: Vec<Basic>,
    /// The inverse of the basis, row by row.
    inverse: Vec<f64>,
    bought: Vec<f64>,
    values: Vec<f64>,
    exchanges: usize,
}

impl Master {
    /// A programme in which column `i` of `first` alone covers row `i`.
    pub(super) fn new(wanted: Vec<f64>, first: Vec<Column>) -> Self {
        let rows = wanted.len();
        let mut master = Self {
            basis: (0..rows as u32).map(Basic::Column).collect(),
            inverse: vec![0.0; rows * rows],
            bought: vec![0.0; rows],
            values: vec![0.0; rows],
            wanted,
            columns: first,
            exchanges: 0,
        };
        master.refresh();
        master
    }

    /// What a unit of each row is worth.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    /// What all that is bought costs.
    #[cfg(test)]
    fn price(&self) -> f64 {
        self.wanted.iter().zip(&self.values).map(|(wanted, value)| wanted * value).sum()
    }

    /// The columns bought and how much of each.
    pub(super) fn bought(&self) -> impl Iterator<Item = (&Column, f64)> {
        self.basis.iter().zip(&self.bought).filter_map(|(basic, &amount)| match basic {
            Basic::Column(at) if amount > TINY => Some((&self.columns[*at as usize], amount)),
            _ => None,
        })
    }

    /// Takes a column in where it lowers the price; says whether it did.
    pub(super) fn offer(&mut self, column: &Column) -> bool {
        if column.worth(&self.values) <= column.price * (1.0 + TINY) + TINY {
            return false;
        }
        let at = self.columns.len() as u32;
        self.columns.push(column.clone());
        self.enter(Basic::Column(at))
    }

    /// Takes out what covers rows for nothing: a row must not be worth less than nothing.
    pub(super) fn settle(&mut self) {
        for _ in 0..4 * self.values.len() {
            let least = self.values.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
            let Some((row, _)) = least.filter(|&(_, &value)| value < -TINY) else { return };
            if !self.enter(Basic::Surplus(row as u32)) {
                return;
            }
        }
    }

    /// The parts of a column, and its price.
    fn parts(&self, basic: Basic) -> (Vec<(u32, f64)>, f64) {
        match basic {
            Basic::Column(at) => {
                let column = &self.columns[at as usize];
                (column.parts.clone(), column.price)
            }
            Basic::Surplus(row) => (vec![(row, -1.0)], 0.0),
        }
    }

    /// Exchanges the column that runs out first for this one.
    fn enter(&mut self, basic: Basic) -> bool {
        let rows = self.wanted.len();
        let (parts, price) = self.parts(basic);
        let saved = price - parts.iter().map(|&(row, part)| self.values[row as usize] * part).sum::<f64>();
        let change: Vec<f64> = (0..rows)
            .map(|i| {
                let row = &self.inverse[i * rows..(i + 1) * rows];
                parts.iter().map(|&(column, part)| row[column as usize] * part).sum()
            })
            .collect();
        let steps = (0..rows).filter(|&i| change[i] > 1e-7).map(|i| (i, self.bought[i].max(0.0) / change[i]));
        // Of those that run out together the one with the largest pivot: the division loses least there.
        let leaving = steps.min_by(|a, b| {
            let by_step =
                if (a.1 - b.1).abs() < 1e-12 { std::cmp::Ordering::Equal } else { a.1.total_cmp(&b.1) };
            by_step.then_with(|| change[b.0].total_cmp(&change[a.0]))
        });
        let Some((out, step)) = leaving else { return false };
        self.basis[out] = basic;
        let pivot: Vec<f64> =
            self.inverse[out * rows..(out + 1) * rows].iter().map(|cell| cell / change[out]).collect();
        for i in (0..rows).filter(|&i| i != out && change[i].abs() > 1e-12) {
            let factor = change[i];
            let row = &mut self.inverse[i * rows..(i + 1) * rows];
            for (cell, pivot) in row.iter_mut().zip(&pivot) {
                *cell -= factor * pivot;
            }
            self.bought[i] -= factor * step;
        }
        self.inverse[out * rows..(out + 1) * rows].copy_from_slice(&pivot);
        self.bought[out] = step;
        for (value, pivot) in self.values.iter_mut().zip(&pivot) {
            *value += saved * pivot;
        }
        self.exchanges += 1;
        if self.exchanges.is_multiple_of(FRESH_AFTER) {
            self.refresh();
        }
        true
    }

    /// Works the inverse out from the basis, by Gauss and Jordan with the largest pivots.
    fn refresh(&mut self) {
        let rows = self.wanted.len();
        let width = 2 * rows;
        let mut table = vec![0.0; rows * width];
        for place in 0..rows {
            for (row, part) in self.parts(self.basis[place]).0 {
                table[row as usize * width + place] = part;
            }
            table[place * width + rows + place] = 1.0;
        }
        for place in 0..rows {
            let size = |row: usize| f64::abs(table[row * width + place]);
            let best = (place..rows).max_by(|&a, &b| size(a).total_cmp(&size(b))).unwrap_or(place);
            if size(best) < 1e-12 {
                // The old inverse is better than none.
                return;
            }
            for cell in 0..width {
                table.swap(place * width + cell, best * width + cell);
            }
            let pivot = table[place * width + place];
            table[place * width..(place + 1) * width].iter_mut().for_each(|cell| *cell /= pivot);
            let (before, rest) = table.split_at_mut(place * width);
            let (own, after) = rest.split_at_mut(width);
            for row in before.chunks_exact_mut(width).chain(after.chunks_exact_mut(width)) {
                let factor = row[place];
                if factor != 0.0 {
                    row.iter_mut().zip(&*own).for_each(|(cell, own)| *cell -= factor * own);
                }
            }
        }
        for row in 0..rows {
            self.inverse[row * rows..(row + 1) * rows]
                .copy_from_slice(&table[row * width + rows..(row + 1) * width]);
        }
        let prices: Vec<f64> = self.basis.iter().map(|&basic| self.parts(basic).1).collect();
        for row in 0..rows {
            let inverse = &self.inverse[row * rows..(row + 1) * rows];
            self.bought[row] = inverse.iter().zip(&self.wanted).map(|(a, b)| a * b).sum();
            self.values[row] = (0..rows).map(|i| prices[i] * self.inverse[i * rows + row]).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(parts: &[(u32, f64)], price: f64) -> Column {
        Column { parts: parts.to_vec(), price, tag: 0 }
    }

    /// Rolls of 10 cut to 44 of 3, 3, 4: by hand, 2 x (3, 3, 4) beats single cuts.
    #[test]
    fn the_cheapest_cover_is_found_and_its_values_prove_it() {
        let first = vec![column(&[(0, 3.0)], 1.0), column(&[(1, 2.0)], 1.0)];
        let mut master = Master::new(vec![4.0, 2.0], first);
        assert!((master.price() - (4.0 / 3.0 + 1.0)).abs() < 1e-9);
        assert!(master.offer(&column(&[(0, 2.0), (1, 1.0)], 1.0)));
        assert!((master.price() - 2.0).abs() < 1e-9, "{}", master.price());
        assert!(!master.offer(&column(&[(0, 1.0), (1, 1.0)], 1.0)));
        let amount: f64 = master.bought().map(|(_, amount)| amount).sum();
        assert!((amount - 2.0).abs() < 1e-9);
    }

    #[test]
    fn covering_too_much_is_free() {
        let mut master =
            Master::new(vec![1.0, 4.0], vec![column(&[(0, 1.0)], 5.0), column(&[(1, 1.0)], 5.0)]);
        assert!(master.offer(&column(&[(0, 1.0), (1, 1.0)], 1.0)));
        master.settle();
        assert!((master.price() - 4.0).abs() < 1e-9, "{}", master.price());
        assert!(master.values().iter().all(|&value| value > -1e-9));
    }
}
