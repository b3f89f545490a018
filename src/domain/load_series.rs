//! A load over time, as traces hold it and forecasts and replays read it.
//!
//! In: rows in any order. Out: series in order of time, each instant once, and what was repaired for that.
//! Not here: files (`analytics`), what the engine itself measured (`load`).

use std::collections::BTreeMap;

/// One row of a load trace.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadRow {
    /// The series.
    pub series: String,
    /// Seconds since 1970, UTC.
    pub time: i64,
    /// Requests per second or whatever the owner counts; none where it was not measured.
    pub load: Option<f64>,
}

/// A load over time: times rise, each with the load measured then.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadSeries {
    /// The series.
    pub name: String,
    /// Seconds since 1970, UTC; each greater than the one before.
    pub times: Vec<i64>,
    /// The load at each of `times`: finite, at least zero.
    pub loads: Vec<f64>,
}

/// What was repaired in the rows of a load trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadRepairs {
    /// Rows that stood before an earlier one of their series; they were sorted.
    pub unordered: usize,
    /// Rows with the series and time of a later row; they were left out.
    pub duplicates: usize,
    /// Rows without a load; they were left out, as if not measured.
    pub empty: usize,
}

impl LoadRepairs {
    /// Each kind that happened, with its count, for people.
    pub fn said(self) -> impl Iterator<Item = (usize, &'static str)> {
        [
            (self.unordered, "rows stood before an earlier one of their series: sorted"),
            (self.duplicates, "rows repeat the series and time of another: the last was kept"),
            (self.empty, "rows have no load: left out, as if not measured"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
    }
}

impl LoadSeries {
    /// Series of rows, in the order in which they first appear.
    pub fn of_rows(rows: Vec<LoadRow>) -> (Vec<Self>, LoadRepairs) {
        let mut repairs = LoadRepairs::default();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut found: Vec<(String, Vec<(i64, f64)>)> = Vec::new();
        for row in rows {
            let Some(load) = row.load else {
                repairs.empty += 1;
                continue;
            };
            let place = match places.get(&row.series) {
                Some(&place) => place,
                None => {
                    places.insert(row.series.clone(), found.len());
                    found.push((row.series, Vec::new()));
                    found.len() - 1
                }
            };
            let points = &mut found[place].1;
            repairs.unordered += usize::from(points.last().is_some_and(|last| row.time < last.0));
            points.push((row.time, load));
        }
        let series = found.into_iter().map(|(name, points)| ordered(name, points, &mut repairs)).collect();
        (series, repairs)
    }

    /// Seconds from one point to the next, as most of them lie; none with fewer than two points.
    pub fn step(&self) -> Option<i64> {
        let mut steps: Vec<i64> = self.times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied()
    }
}

fn ordered(name: String, mut points: Vec<(i64, f64)>, repairs: &mut LoadRepairs) -> LoadSeries {
    // Stable: of points at one instant the last of the file stays last.
    points.sort_by_key(|point| point.0);
    let mut series = LoadSeries { name, ..LoadSeries::default() };
    for (time, load) in points {
        if series.times.last() == Some(&time) {
            repairs.duplicates += 1;
            series.loads.pop();
        } else {
            series.times.push(time);
        }
        series.loads.push(load);
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(series: &str, time: i64, load: Option<f64>) -> LoadRow {
        LoadRow { series: series.to_owned(), time, load }
    }

    #[test]
    fn rows_become_series_in_order_of_time_and_the_last_of_an_instant_stays() {
        let rows = vec![
            row("b", 60, Some(1.0)),
            row("a", 0, Some(5.0)),
            row("b", 0, Some(2.0)),
            row("b", 120, None),
            row("b", 60, Some(3.0)),
        ];
        let (series, repairs) = LoadSeries::of_rows(rows);
        let b = LoadSeries { name: "b".to_owned(), times: vec![0, 60], loads: vec![2.0, 3.0] };
        let a = LoadSeries { name: "a".to_owned(), times: vec![0], loads: vec![5.0] };
        assert_eq!((b.step(), a.step()), (Some(60), None));
        assert_eq!(series, [b, a]);
        assert_eq!(repairs, LoadRepairs { unordered: 1, duplicates: 1, empty: 1 });
        assert_eq!(repairs.said().count(), 3);
    }
}
