//! Tables from CSV, row by row, so that every fault is told with its row and column. Usage traces have the
//! columns of `trace_file`, batch runs those of `jobs_file`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use crate::analytics::AnalyticsError;
use crate::analytics::import::broken_row;
use crate::analytics::trace_file::{COLUMNS, NAME, NEEDED, NUMBER, TIME, whole_number};
use crate::domain::trace::TraceRow;

/// One row, and where the columns stand in it. A column is told by its place in `columns`.
pub(super) struct Row<'a> {
    path: &'a Path,
    number: usize,
    record: &'a StringRecord,
    columns: &'a [&'static str],
    places: &'a [Option<usize>],
}

impl Row<'_> {
    fn fault(&self, column: usize, found: String, expected: &'static str) -> AnalyticsError {
        let (path, row, column) = (self.path.to_owned(), self.number, self.columns[column]);
        AnalyticsError::Value { path, row, column, found, expected }
    }

    pub(super) fn raw(&self, column: usize) -> Option<&str> {
        self.places[column].and_then(|place| self.record.get(place)).filter(|text| !text.is_empty())
    }

    pub(super) fn name(&self, column: usize) -> Result<String, AnalyticsError> {
        let name = self.raw(column).map(str::to_owned);
        name.ok_or_else(|| self.fault(column, "nothing".to_owned(), NAME))
    }

    pub(super) fn time(&self, column: usize) -> Result<i64, AnalyticsError> {
        let text = self.raw(column).ok_or_else(|| self.fault(column, "nothing".to_owned(), TIME))?;
        let whole = || text.parse().ok().and_then(whole_number);
        text.parse().ok().or_else(whole).ok_or_else(|| self.fault(column, format!("`{text}`"), TIME))
    }

    pub(super) fn amount(&self, column: usize) -> Result<Option<f64>, AnalyticsError> {
        let Some(text) = self.raw(column) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            Ok(number) => Err(self.fault(column, number.to_string(), NUMBER)),
            Err(_) => Err(self.fault(column, format!("`{text}`"), NUMBER)),
        }
    }
}

/// A file whose header was read.
pub(super) struct Table<'a> {
    path: &'a Path,
    reader: Reader<BufReader<File>>,
    header: StringRecord,
}

impl<'a> Table<'a> {
    pub(super) fn open(path: &'a Path, file: File) -> Result<Self, AnalyticsError> {
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(BufReader::new(file));
        let header = reader.headers().map_err(|error| broken_row(path, 0, &error))?.clone();
        Ok(Self { path, reader, header })
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// Refuses a file that lacks one of the `needed` columns; `columns` are told.
    pub(super) fn need(
        &self,
        needed: &[&'static str],
        columns: &[&'static str],
    ) -> Result<(), AnalyticsError> {
        match needed.iter().find(|column| !self.has(column)) {
            Some(&column) => {
                let expected = format!("a trace has {}", columns.join(", "));
                Err(AnalyticsError::Column { path: self.path.to_owned(), column, expected })
            }
            None => Ok(()),
        }
    }

    /// Reads all rows, in the file's order.
    pub(super) fn rows<T>(
        mut self,
        columns: &[&'static str],
        read: impl Fn(&Row<'_>) -> Result<T, AnalyticsError>,
    ) -> Result<Vec<T>, AnalyticsError> {
        let place = |column: &&'static str| self.header.iter().position(|name| name == *column);
        let places: Vec<Option<usize>> = columns.iter().map(place).collect();
        let path = self.path;
        let mut rows = Vec::new();
        let mut record = StringRecord::new();
        let failed = |row: usize, error| broken_row(path, row, &error);
        while self.reader.read_record(&mut record).map_err(|error| failed(rows.len() + 1, error))? {
            let row = Row { path, number: rows.len() + 1, record: &record, columns, places: &places };
            rows.push(read(&row)?);
        }
        Ok(rows)
    }
}

/// Reads all rows of a usage trace, in the file's order.
pub(super) fn read(path: &Path, file: File) -> Result<Vec<TraceRow>, AnalyticsError> {
    let table = Table::open(path, file)?;
    table.need(&COLUMNS[..NEEDED], &COLUMNS)?;
    table.rows(&COLUMNS, |row| {
        Ok(TraceRow {
            workload: row.name(0)?,
            task: row.name(1)?,
            time: row.time(2)?,
            cpu: row.amount(3)?,
            memory: row.amount(4)?,
            cpu_request: row.amount(5)?,
            memory_request: row.amount(6)?,
            load: row.amount(7)?,
        })
    })
}
