//! Usage traces from CSV, row by row, so that every fault is told with its row and column. The columns are
//! those of `trace_file`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::analytics::AnalyticsError;
use crate::analytics::import::broken_row;
use crate::analytics::trace_file::{COLUMNS, NAME, NEEDED, NUMBER, TIME, whole_number};
use crate::domain::trace::TraceRow;

/// One row, and where the columns stand in it.
struct Row<'a> {
    path: &'a Path,
    number: usize,
    record: &'a StringRecord,
    places: &'a [Option<usize>],
}

impl Row<'_> {
    fn fault(&self, column: usize, found: String, expected: &'static str) -> AnalyticsError {
        let (path, row, column) = (self.path.to_owned(), self.number, COLUMNS[column]);
        AnalyticsError::Value { path, row, column, found, expected }
    }

    fn raw(&self, column: usize) -> Option<&str> {
        self.places[column].and_then(|place| self.record.get(place)).filter(|text| !text.is_empty())
    }

    fn name(&self, column: usize) -> Result<String, AnalyticsError> {
        let name = self.raw(column).map(str::to_owned);
        name.ok_or_else(|| self.fault(column, "nothing".to_owned(), NAME))
    }

    fn time(&self, column: usize) -> Result<i64, AnalyticsError> {
        let text = self.raw(column).ok_or_else(|| self.fault(column, "nothing".to_owned(), TIME))?;
        let whole = || text.parse().ok().and_then(whole_number);
        text.parse().ok().or_else(whole).ok_or_else(|| self.fault(column, format!("`{text}`"), TIME))
    }

    fn amount(&self, column: usize) -> Result<Option<f64>, AnalyticsError> {
        let Some(text) = self.raw(column) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            Ok(number) => Err(self.fault(column, number.to_string(), NUMBER)),
            Err(_) => Err(self.fault(column, format!("`{text}`"), NUMBER)),
        }
    }

    fn read(&self) -> Result<TraceRow, AnalyticsError> {
        Ok(TraceRow {
            workload: self.name(0)?,
            task: self.name(1)?,
            time: self.time(2)?,
            cpu: self.amount(3)?,
            memory: self.amount(4)?,
            cpu_request: self.amount(5)?,
            memory_request: self.amount(6)?,
            load: self.amount(7)?,
        })
    }
}

/// Reads all rows, in the file's order.
pub(super) fn read(path: &Path, file: File) -> Result<Vec<TraceRow>, AnalyticsError> {
    let failed = |row: usize, error| broken_row(path, row, &error);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(BufReader::new(file));
    let header = reader.headers().map_err(|error| failed(0, error))?;
    let places: Vec<Option<usize>> =
        COLUMNS.iter().map(|column| header.iter().position(|name| name == *column)).collect();
    if let Some(missing) = places[..NEEDED].iter().position(Option::is_none) {
        return Err(AnalyticsError::Column {
            path: path.to_owned(),
            column: COLUMNS[missing],
            expected: format!("a trace has {}", COLUMNS.join(", ")),
        });
    }
    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| failed(rows.len() + 1, error))? {
        rows.push(Row { path, number: rows.len() + 1, record: &record, places: &places }.read()?);
    }
    Ok(rows)
}
