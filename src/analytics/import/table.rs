//! Rows of published tables: CSV with and without a header, and JSON lines, plain or gzip.
//!
//! In: a file and its columns. Out: each row's fields by column, and errors that name file, row and
//! column. One row is held at a time. Not here: what a column means (the publishers' files).

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use crate::analytics::AnalyticsError;
use crate::analytics::import::{Advance, Take};
use crate::domain::trace::TraceRow;

/// Some millennia either way; what lies beyond is no time of a trace.
pub(super) const SECONDS_MAX: f64 = 1e11;

const NUMBER: &str = "a number of at least 0";

/// How rows stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Fields in the order of the columns.
    Headerless,
    /// A header names the fields; of the columns, so many must be there.
    Header {
        /// Between fields.
        delimiter: u8,
        /// Columns that must be there; the first ones.
        needed: usize,
    },
    /// An object a line. A column `a.b` is the field `b` of the object `a`.
    JsonLines,
}

/// A file of rows.
pub(super) struct Table<'a> {
    pub(super) path: &'a Path,
    pub(super) layout: Layout,
    pub(super) columns: &'static [&'static str],
}

/// What is wrong with a field.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    column: &'static str,
    found: String,
    expected: &'static str,
}

enum Row<'a> {
    Record(&'a StringRecord, &'a [Option<usize>]),
    Object(&'a Value),
}

/// One row's fields.
pub(super) struct Fields<'a> {
    row: Row<'a>,
    columns: &'static [&'static str],
}

impl Fields<'_> {
    /// A fault of a column.
    pub(super) fn fault(&self, column: usize, found: String, expected: &'static str) -> Fault {
        Fault { column: self.columns[column], found, expected }
    }

    /// The text of a field, absent where it is empty.
    fn raw(&self, column: usize) -> Result<Option<Cow<'_, str>>, Fault> {
        match self.row {
            Row::Record(record, places) => {
                let text = places[column].and_then(|place| record.get(place));
                Ok(text.filter(|text| !text.is_empty()).map(Cow::Borrowed))
            }
            Row::Object(object) => {
                let mut parts = self.columns[column].split('.');
                let value = parts.try_fold(object, |object, name| object.get(name));
                match value {
                    None | Some(Value::Null) => Ok(None),
                    Some(Value::String(text)) => Ok(Some(Cow::Borrowed(text.trim()))),
                    Some(Value::Number(number)) => Ok(Some(Cow::Owned(number.to_string()))),
                    Some(other) => Err(self.fault(column, other.to_string(), "a number or text")),
                }
            }
        }
    }

    /// A text, absent where the field is empty.
    pub(super) fn text(&self, column: usize) -> Result<Option<Cow<'_, str>>, Fault> {
        self.raw(column)
    }

    /// A name that must be there.
    pub(super) fn name(&self, column: usize) -> Result<String, Fault> {
        let nothing = || self.fault(column, "nothing".to_owned(), "a name");
        self.raw(column)?.map(Cow::into_owned).ok_or_else(nothing)
    }

    /// Any finite number, absent where the field is empty.
    pub(super) fn signed(&self, column: usize) -> Result<Option<f64>, Fault> {
        let Some(text) = self.raw(column)? else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.fault(column, format!("`{text}`"), "a number")),
        }
    }

    /// A number of at least 0, absent where the field is empty.
    pub(super) fn number(&self, column: usize) -> Result<Option<f64>, Fault> {
        let Some(text) = self.raw(column)? else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            _ => Err(self.fault(column, format!("`{text}`"), NUMBER)),
        }
    }

    /// A number of at least 0 that must be there.
    pub(super) fn needed(&self, column: usize) -> Result<f64, Fault> {
        self.number(column)?.ok_or_else(|| self.fault(column, "nothing".to_owned(), NUMBER))
    }

    /// A time in whole seconds, of so many units a second.
    pub(super) fn time(&self, column: usize, units: f64) -> Result<i64, Fault> {
        const EXPECTED: &str = "a time";
        let number = self.signed(column)?;
        let number = number.ok_or_else(|| self.fault(column, "nothing".to_owned(), EXPECTED))?;
        let seconds = (number / units).round();
        if seconds.abs() > SECONDS_MAX {
            return Err(self.fault(column, format!("`{number}`"), EXPECTED));
        }
        Ok(seconds as i64)
    }
}

impl Table<'_> {
    /// Makes rows of ours of all rows.
    pub(super) fn read(
        &self,
        advance: &Advance<'_>,
        each: &mut dyn FnMut(&Fields<'_>) -> Result<Option<TraceRow>, Fault>,
        take: &mut Take<'_>,
    ) -> Result<(), AnalyticsError> {
        let file = open(self.path, advance)?;
        let mut made = |row: usize, fields: &Fields<'_>| {
            let fault = |fault: Fault| AnalyticsError::Value {
                path: self.path.to_owned(),
                row,
                column: fault.column,
                found: fault.found,
                expected: fault.expected,
            };
            each(fields).map_err(fault)?.map_or(Ok(()), &mut *take)
        };
        match self.layout {
            Layout::JsonLines => self.read_lines(file, &mut made),
            Layout::Headerless | Layout::Header { .. } => self.read_csv(file, &mut made),
        }
    }

    fn read_csv(
        &self,
        file: impl Read,
        made: &mut dyn FnMut(usize, &Fields<'_>) -> Result<(), AnalyticsError>,
    ) -> Result<(), AnalyticsError> {
        let mut builder = ReaderBuilder::new();
        builder.trim(Trim::All).has_headers(self.layout != Layout::Headerless);
        if let Layout::Header { delimiter, .. } = self.layout {
            builder.delimiter(delimiter);
        }
        let mut reader = builder.from_reader(file);
        let failed = |row, error| broken_row(self.path, row, &error);
        let places = match self.layout {
            Layout::Header { needed, .. } => {
                self.places(needed, reader.headers().map_err(|error| failed(0, error))?)?
            }
            _ => (0..self.columns.len()).map(Some).collect(),
        };
        let mut record = StringRecord::new();
        let mut row = 0;
        while reader.read_record(&mut record).map_err(|error| failed(row + 1, error))? {
            row += 1;
            made(row, &Fields { row: Row::Record(&record, &places), columns: self.columns })?;
        }
        self.not_empty(row)
    }

    fn read_lines(
        &self,
        file: impl BufRead,
        made: &mut dyn FnMut(usize, &Fields<'_>) -> Result<(), AnalyticsError>,
    ) -> Result<(), AnalyticsError> {
        let mut row = 0;
        for line in file.lines() {
            row += 1;
            let broken = |problem: String| AnalyticsError::Row { path: self.path.to_owned(), row, problem };
            let line = line.map_err(|error| broken(error.to_string()))?;
            if line.trim().is_empty() {
                row -= 1;
                continue;
            }
            let value: Value = serde_json::from_str(&line)
                .map_err(|error| broken(format!("this is no JSON object: {error}")))?;
            if !value.is_object() {
                return Err(broken("this is no JSON object".to_owned()));
            }
            made(row, &Fields { row: Row::Object(&value), columns: self.columns })?;
        }
        self.not_empty(row)
    }

    /// Where each column stands. Spaces, capitals, and points or underscores make no difference.
    fn places(&self, needed: usize, header: &StringRecord) -> Result<Vec<Option<usize>>, AnalyticsError> {
        let plain = |name: &str| name.trim().to_lowercase().replace('.', "_");
        let place = |column: &&str| header.iter().position(|name| plain(name) == plain(column));
        let places: Vec<Option<usize>> = self.columns.iter().map(place).collect();
        match places[..needed].iter().position(Option::is_none) {
            Some(missing) => Err(AnalyticsError::Column {
                path: self.path.to_owned(),
                column: self.columns[missing],
                expected: format!("this format has {}", self.columns[..needed].join(", ")),
            }),
            None => Ok(places),
        }
    }

    fn not_empty(&self, rows: usize) -> Result<(), AnalyticsError> {
        if rows == 0 { Err(AnalyticsError::Empty { path: self.path.to_owned() }) } else { Ok(()) }
    }
}

/// A row that the CSV reader could not take in.
pub(in crate::analytics) fn broken_row(path: &Path, row: usize, error: &csv::Error) -> AnalyticsError {
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("found {len} fields, expected {expected_len} as in the rows before")
        }
        csv::ErrorKind::Utf8 { .. } => "this is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    };
    AnalyticsError::Row { path: path.to_owned(), row, problem }
}

/// Tells how much of a file was read.
struct Counted<'a> {
    file: File,
    advance: &'a Advance<'a>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        (self.advance)(read as u64);
        Ok(read)
    }
}

/// Opens a file, unpacked where it is gzip.
pub(super) fn open<'a>(
    path: &Path,
    advance: &'a Advance<'a>,
) -> Result<Box<dyn BufRead + 'a>, AnalyticsError> {
    const BUFFER: usize = 1 << 16;
    /// Where a tar archive says that it is one.
    const TAR: std::ops::Range<usize> = 257..262;
    let failed = |operation| move |source| AnalyticsError::File { operation, path: path.to_owned(), source };
    let file = File::open(path).map_err(failed("open"))?;
    let mut file = BufReader::with_capacity(BUFFER, Counted { file, advance });
    let gzip = file.fill_buf().map_err(failed("read"))?.starts_with(&[0x1f, 0x8b]);
    let mut text: Box<dyn BufRead + 'a> = if gzip {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    };
    let start = text.fill_buf().map_err(failed("unpack"))?;
    if start.get(TAR) == Some(b"ustar") {
        return Err(AnalyticsError::Archive { path: path.to_owned() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use crate::analytics::import::Source;
    use crate::analytics::import::tests::import;

    fn azure(name: &str, text: &str) -> Result<usize, String> {
        import(|_| Source::Azure { cores: 1.0 }, &[(name, text)]).map(|(rows, _)| rows.len())
    }

    #[test]
    fn plain_and_gzip_are_the_same() {
        let text = "0,vm,1,3,2\n300,vm,1,3,2\n";
        assert_eq!(azure("readings.csv", text), Ok(2));
        assert_eq!(azure("readings.csv.gz", text), Ok(2));
    }

    #[test]
    fn broken_rows_are_named() {
        let short = azure("r.csv", "0,vm,1,3,2\n300,vm,1\n").expect_err("a fault");
        assert_eq!(short, "r.csv: row 2: found 3 fields, expected 5 as in the rows before");
        assert_eq!(azure("r.csv", "").expect_err("a fault"), "r.csv: there are no rows");
        let late = azure("r.csv", "9e30,vm,1,3,2\n").expect_err("a fault");
        assert_eq!(
            late,
            "r.csv: row 1, column `timestamp`: found `9000000000000000000000000000000`, expected a time"
        );
        let nameless = azure("r.csv", "0,,1,3,2\n").expect_err("a fault");
        assert_eq!(nameless, "r.csv: row 1, column `vm id`: found nothing, expected a name");
    }

    #[test]
    fn damaged_gzip_and_archives_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.csv.gz");
        std::fs::write(&path, [0x1f, 0x8b, 8, 0, 1, 2, 3]).expect("written");
        let import = crate::analytics::import::Import {
            source: Source::Azure { cores: 1.0 },
            inputs: vec![path.clone()],
            workloads_max: None,
        };
        let read = || import.read(&|_| {}, &mut |_| Ok(())).expect_err("a fault").to_string();
        assert!(read().ends_with("cannot unpack") || read().contains("cannot unpack"), "{}", read());
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        std::fs::write(&path, tar).expect("written");
        assert!(read().contains("this is a tar archive: unpack it first"), "{}", read());
    }
}
