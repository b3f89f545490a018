//! Files of load traces, Parquet by polars or CSV: the columns `series`, `time`, `load`, others are ignored.
//!
//! `time` is whole seconds since 1970, or an instant as text (`2018-03-15 00:00:00+00:00`, `2018-03-15T00:00`);
//! text without an offset is UTC. What is no time or load is told with its row and column.

use std::fs::File;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::analytics::trace_csv::Table;
use crate::analytics::trace_file::{TraceFrame, open};
use crate::analytics::{AnalyticsError, TraceFormat};
use crate::domain::load_series::{LoadRepairs, LoadRow, LoadSeries};

const COLUMNS: [&str; 3] = ["series", "time", "load"];

/// What a time may be, for people.
const TIME: &str = "whole seconds since 1970 or an instant like 2018-03-15T00:00:00Z";

/// Seconds since 1970 of an instant as text.
fn seconds(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_second());
    }
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Reads all series of a file.
pub(super) fn read(path: &Path) -> Result<(Vec<LoadSeries>, LoadRepairs), AnalyticsError> {
    let (format, file) = open(path)?;
    let rows = match format {
        TraceFormat::Parquet => read_parquet(path, file)?,
        TraceFormat::Csv => read_csv(path, file)?,
    };
    if rows.is_empty() {
        return Err(AnalyticsError::Empty { path: path.to_owned() });
    }
    Ok(LoadSeries::of_rows(rows))
}

fn read_parquet(path: &Path, file: File) -> Result<Vec<LoadRow>, AnalyticsError> {
    let frame = TraceFrame::read(path, file, &COLUMNS, &COLUMNS)?;
    let series = frame.text("series")?;
    let times = if frame.is_text("time") {
        let texts = frame.text("time")?.into_iter().enumerate();
        texts
            .map(|(row, text)| {
                seconds(&text).ok_or_else(|| frame.fault(row, "time", format!("`{text}`"), TIME))
            })
            .collect::<Result<_, _>>()?
    } else {
        frame.times("time")?
    };
    let loads = frame.needed("load")?;
    let rows = series.into_iter().zip(times).zip(loads);
    Ok(rows.map(|((series, time), load)| LoadRow { series, time, load }).collect())
}

fn read_csv(path: &Path, file: File) -> Result<Vec<LoadRow>, AnalyticsError> {
    let table = Table::open(path, file)?;
    table.need(&COLUMNS, &COLUMNS)?;
    table.rows(&COLUMNS, |row| {
        let time = match row.raw(1).and_then(seconds) {
            Some(time) => time,
            None => row.time(1)?,
        };
        Ok(LoadRow { series: row.name(0)?, time, load: row.amount(2)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<(Vec<LoadSeries>, LoadRepairs), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("load.csv");
        std::fs::write(&path, text).expect("a file");
        let place = format!("{}: ", path.display());
        read(&path).map_err(|error| error.to_string().replace(&place, ""))
    }

    #[test]
    fn times_are_seconds_or_instants() {
        let text = "load,time,series\n1,0,a\n2,1970-01-01 00:01:00,a\n3,1970-01-01T00:02,a\n4,1970-01-01 02:03:00+02:00,a\n";
        let (series, repairs) = read_text(text).expect("series");
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].times, [0, 60, 120, 180]);
        assert_eq!(series[0].loads, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(repairs, LoadRepairs::default());
    }

    #[test]
    fn faults_name_row_and_column() {
        let fault = |text: &str| read_text(text).expect_err("a fault");
        assert_eq!(
            fault("series,time,load\na,0,1\na,soon,1\n"),
            "row 2, column `time`: found `soon`, expected a whole number of seconds"
        );
        assert_eq!(
            fault("series,time,load\na,0,NaN\n"),
            "row 1, column `load`: found NaN, expected a number of at least 0, or nothing"
        );
        assert!(fault("series,time\na,0\n").starts_with("there is no column `load`"));
        assert!(fault("series,time,load\n").contains("no rows"));
    }
}
