//! Files of usage traces: Parquet by polars, CSV by `trace_csv`. The columns are those of `TraceRow`;
//! `cpu_request`, `memory_request` and `load` may be absent, others are ignored.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use polars::prelude::*;
use polars_io::mmap::MmapBytesReader;
use polars_io::prelude::{CsvWriter, ParquetReader, ParquetWriter};
use polars_io::{SerReader, SerWriter};

use crate::analytics::{AnalyticsError, TraceFormat, trace_csv};
use crate::domain::trace::TraceRow;

/// The columns of a trace, in the order in which they are written.
pub(super) const COLUMNS: [&str; 8] =
    ["workload", "task", "time", "cpu", "memory", "cpu_request", "memory_request", "load"];

/// So many of them must be there.
pub(super) const NEEDED: usize = 5;

/// A whole number that was written as a real one: programs whose whole numbers know no gaps do that.
pub(super) fn whole_number(real: f64) -> Option<i64> {
    /// Up to here a float tells every whole number apart.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    (real.fract() == 0.0 && real.abs() < WHOLE_MAX).then_some(real as i64)
}

/// What names hold, times, and all others.
pub(super) const NAME: &str = "text";
pub(super) const TIME: &str = "a whole number of seconds";
pub(super) const NUMBER: &str = "a number of at least 0, or nothing";

pub(super) fn format_of(path: &Path) -> Result<TraceFormat, AnalyticsError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => Ok(TraceFormat::Parquet),
        Some("csv") => Ok(TraceFormat::Csv),
        _ => Err(AnalyticsError::Extension { path: path.to_owned() }),
    }
}

/// Rows as they come, as the content of a file.
pub(super) fn encode(format: TraceFormat, rows: &[TraceRow]) -> Result<Vec<u8>, AnalyticsError> {
    let failed =
        |source| AnalyticsError::Frame { operation: "write the trace".to_owned(), source: Box::new(source) };
    let mut frame = frame(rows).map_err(failed)?;
    let mut content = Vec::new();
    match format {
        TraceFormat::Parquet => ParquetWriter::new(&mut content).finish(&mut frame).map(|_| ()),
        TraceFormat::Csv => CsvWriter::new(&mut content).finish(&mut frame),
    }
    .map_err(failed)?;
    Ok(content)
}

/// Rows as columns.
pub(super) fn frame(rows: &[TraceRow]) -> PolarsResult<DataFrame> {
    let text = |name: &str, of: fn(&TraceRow) -> &str| {
        rows.iter().map(of).collect::<StringChunked>().with_name(name.into()).into_column()
    };
    let number = |name: &str, of: fn(&TraceRow) -> Option<f64>| {
        Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
    };
    DataFrame::new(
        rows.len(),
        vec![
            text("workload", |row| &row.workload),
            text("task", |row| &row.task),
            Column::new("time".into(), rows.iter().map(|row| row.time).collect::<Vec<_>>()),
            number("cpu", |row| row.cpu),
            number("memory", |row| row.memory),
            number("cpu_request", |row| row.cpu_request),
            number("memory_request", |row| row.memory_request),
            number("load", |row| row.load),
        ],
    )
}

/// Reads all rows, in the file's order.
pub(super) fn read(path: &Path) -> Result<Vec<TraceRow>, AnalyticsError> {
    let (format, file) = open(path)?;
    match format {
        TraceFormat::Parquet => read_parquet(path, file),
        TraceFormat::Csv => trace_csv::read(path, file),
    }
}

/// The same of the content of a Parquet file; `name` tells people where it came from.
pub(super) fn decode(name: &Path, content: Vec<u8>) -> Result<Vec<TraceRow>, AnalyticsError> {
    read_parquet(name, Cursor::new(content))
}

/// The file of a trace, which has something in it, and its format.
pub(super) fn open(path: &Path) -> Result<(TraceFormat, File), AnalyticsError> {
    let format = format_of(path)?;
    let failed = |operation| move |source| AnalyticsError::File { operation, path: path.to_owned(), source };
    let file = File::open(path).map_err(failed("open"))?;
    if file.metadata().map_err(failed("read"))?.len() == 0 {
        return Err(AnalyticsError::Empty { path: path.to_owned() });
    }
    Ok((format, file))
}

fn read_parquet(path: &Path, file: impl MmapBytesReader) -> Result<Vec<TraceRow>, AnalyticsError> {
    let file = TraceFrame::read(path, file, &COLUMNS, &COLUMNS)?;
    let (workloads, tasks, times) = (file.text("workload")?, file.text("task")?, file.times("time")?);
    let (mut cpu, mut memory) = (file.needed("cpu")?.into_iter(), file.needed("memory")?.into_iter());
    let mut cpu_request = file.optional("cpu_request")?.into_iter();
    let mut memory_request = file.optional("memory_request")?.into_iter();
    let mut load = file.optional("load")?.into_iter();
    let rows = workloads.into_iter().zip(tasks).zip(times);
    Ok(rows
        .map(|((workload, task), time)| TraceRow {
            workload,
            task,
            time,
            cpu: cpu.next().flatten(),
            memory: memory.next().flatten(),
            cpu_request: cpu_request.next().flatten(),
            memory_request: memory_request.next().flatten(),
            load: load.next().flatten(),
        })
        .collect())
}

/// Whether this build has code for a type, right or wrong as it may be for its column.
fn is_known(kind: &ArrowDataType) -> bool {
    use ArrowDataType::{
        Boolean, Float32, Float64, Int32, Int64, LargeUtf8, Null, UInt32, UInt64, Utf8, Utf8View,
    };
    matches!(
        kind,
        Null | Boolean | Int32 | Int64 | UInt32 | UInt64 | Float32 | Float64 | Utf8 | LargeUtf8 | Utf8View
    )
}

/// A frame whose columns are read one by one, so that an error can name row and column.
pub(super) struct TraceFrame<'a> {
    path: &'a Path,
    /// The columns that such a file has, for errors.
    columns: &'static [&'static str],
    frame: DataFrame,
}

impl<'a> TraceFrame<'a> {
    /// Reads those columns of a file that are `wanted`; `columns` are told to who lacks one.
    pub(super) fn read(
        path: &'a Path,
        file: impl MmapBytesReader,
        wanted: &[&'static str],
        columns: &'static [&'static str],
    ) -> Result<Self, AnalyticsError> {
        let refused = |source| AnalyticsError::Parquet { path: path.to_owned(), source: Box::new(source) };
        let mut reader = ParquetReader::new(file);
        let schema = reader.schema().map_err(refused)?;
        let is_there = |column: &&'static str| schema.iter_names().any(|name| name == column);
        let there: Vec<&'static str> = wanted.iter().copied().filter(is_there).collect();
        // polars panics on types that this build has no code for, so they are looked at before.
        for &column in &there {
            let found = schema.get(column).filter(|field| !is_known(field.dtype()));
            if let Some(field) = found {
                let expected = match column {
                    "workload" | "task" | "job" | "process" | "workflow" | "series" => NAME,
                    "time" | "submit" | "start" | "end" | "complete" => TIME,
                    _ => NUMBER,
                };
                let kind = format!("{:?}", field.dtype());
                let found = format!("the type {}", kind.split('(').next().unwrap_or(&kind));
                return Err(AnalyticsError::Value { path: path.to_owned(), row: 1, column, found, expected });
            }
        }
        // Columns that are ignored may be of any type.
        let there = there.into_iter().map(str::to_owned).collect();
        let frame = reader.with_columns(Some(there)).finish().map_err(refused)?;
        Ok(Self { path, columns, frame })
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.frame.column(column).is_ok()
    }

    fn column(&self, column: &'static str) -> Result<&Column, AnalyticsError> {
        self.frame.column(column).map_err(|_| AnalyticsError::Column {
            path: self.path.to_owned(),
            column,
            expected: format!("a trace has {}", self.columns.join(", ")),
        })
    }

    /// Whether a column that is there holds text.
    pub(super) fn is_text(&self, column: &str) -> bool {
        self.frame.column(column).is_ok_and(|values| values.dtype().is_string())
    }

    pub(super) fn fault(
        &self,
        row: usize,
        column: &'static str,
        found: String,
        expected: &'static str,
    ) -> AnalyticsError {
        AnalyticsError::Value { path: self.path.to_owned(), row: row + 1, column, found, expected }
    }

    pub(super) fn text(&self, column: &'static str) -> Result<Vec<String>, AnalyticsError> {
        let values = self.column(column)?;
        let texts = values.str().map_err(|_| self.fault(0, column, values.dtype().to_string(), NAME))?;
        let read = |(row, text): (usize, Option<&str>)| match text {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(self.fault(row, column, "nothing".to_owned(), NAME)),
        };
        texts.iter().enumerate().map(read).collect()
    }

    pub(super) fn times(&self, column: &'static str) -> Result<Vec<i64>, AnalyticsError> {
        let values = self.column(column)?;
        let fault = |row, found| self.fault(row, column, found, TIME);
        let nothing = |row| fault(row, "nothing".to_owned());
        if values.dtype().is_float() {
            let times = values.cast(&DataType::Float64).map_err(|_| fault(0, values.dtype().to_string()))?;
            let times = times.f64().map_err(|_| fault(0, values.dtype().to_string()))?;
            let read = |(row, time): (usize, Option<f64>)| {
                let time = time.ok_or_else(|| nothing(row))?;
                whole_number(time).ok_or_else(|| fault(row, time.to_string()))
            };
            return times.iter().enumerate().map(read).collect();
        }
        let whole = values.dtype().is_integer().then(|| values.cast(&DataType::Int64));
        let Some(Ok(whole)) = whole else { return Err(fault(0, values.dtype().to_string())) };
        let whole = whole.i64().map_err(|_| fault(0, values.dtype().to_string()))?;
        whole.iter().enumerate().map(|(row, time)| time.ok_or_else(|| nothing(row))).collect()
    }

    /// Numbers of a column that must be there.
    pub(super) fn needed(&self, column: &'static str) -> Result<Vec<Option<f64>>, AnalyticsError> {
        let values = self.column(column)?;
        let fault = |row, found| self.fault(row, column, found, NUMBER);
        if *values.dtype() == DataType::Null {
            return Ok(vec![None; values.len()]);
        }
        let wrong = || fault(0, values.dtype().to_string());
        let numbers = values.dtype().is_primitive_numeric().then(|| values.cast(&DataType::Float64));
        let Some(Ok(numbers)) = numbers else { return Err(wrong()) };
        let numbers: Vec<Option<f64>> = numbers.f64().map_err(|_| wrong())?.iter().collect();
        let bad = |value: &Option<f64>| value.is_some_and(|value| !value.is_finite() || value < 0.0);
        match numbers.iter().position(bad) {
            Some(row) => Err(fault(row, format!("{}", numbers[row].unwrap_or_default()))),
            None => Ok(numbers),
        }
    }

    /// Numbers of a column that may be absent.
    pub(super) fn optional(&self, column: &'static str) -> Result<Vec<Option<f64>>, AnalyticsError> {
        if self.has(column) { self.needed(column) } else { Ok(Vec::new()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<TraceRow> {
        let full = TraceRow {
            workload: "web".to_owned(),
            task: "web.1".to_owned(),
            time: 1_795_000_060,
            cpu: Some(0.25),
            memory: Some(52_428_800.0),
            cpu_request: Some(0.5),
            memory_request: Some(134_217_728.0),
            load: Some(12.5),
        };
        let bare = TraceRow {
            time: 1_795_000_180,
            cpu: None,
            memory: None,
            cpu_request: None,
            memory_request: None,
            load: None,
            ..full.clone()
        };
        vec![full, bare]
    }

    fn read_csv(text: &str) -> Result<Vec<TraceRow>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.csv");
        std::fs::write(&path, text).expect("a file");
        let place = format!("{}: ", path.display());
        read(&path).map_err(|error| error.to_string().replace(&place, ""))
    }

    #[test]
    fn both_formats_read_back_what_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["trace.parquet", "trace.csv"] {
            let path = folder.path().join(name);
            let format = format_of(&path).expect("a format");
            std::fs::write(&path, encode(format, &rows()).expect("encoded")).expect("written");
            assert_eq!(read(&path).expect("read"), rows(), "{name}");
        }
    }

    #[test]
    fn optional_columns_may_be_absent_and_others_are_ignored() {
        let rows = read_csv("time,task,workload,cpu,memory,colour\n60,a,w,1,2,red\n").expect("rows");
        assert_eq!((rows[0].time, rows[0].cpu, rows[0].memory), (60, Some(1.0), Some(2.0)));
        assert_eq!((rows[0].cpu_request, rows[0].load), (None, None));
    }

    #[test]
    fn faults_name_row_and_column() {
        let head = "workload,task,time,cpu,memory\n";
        let fault = |rows: &str| read_csv(&format!("{head}{rows}")).expect_err("a fault");
        assert_eq!(
            fault("w,a,60,1,2\nw,a,120,fast,2\n"),
            "row 2, column `cpu`: found `fast`, expected a number of at least 0, or nothing"
        );
        assert_eq!(
            fault("w,a,60,1,-2\n"),
            "row 1, column `memory`: found -2, expected a number of at least 0, or nothing"
        );
        assert_eq!(
            fault("w,a,noon,1,2\n"),
            "row 1, column `time`: found `noon`, expected a whole number of seconds"
        );
        assert_eq!(fault("w,,60,1,2\n"), "row 1, column `task`: found nothing, expected text");
        assert_eq!(
            read_csv("workload,task,time,cpu\nw,a,60,1\n").expect_err("a fault"),
            "there is no column `memory`; a trace has workload, task, time, cpu, memory, cpu_request, memory_request, load"
        );
    }

    #[test]
    fn a_name_must_tell_the_format() {
        let error = read(Path::new("trace.txt")).expect_err("a fault");
        assert_eq!(error.to_string(), "trace.txt: a trace is named *.parquet or *.csv");
    }

    #[test]
    fn what_is_no_parquet_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.parquet");
        std::fs::write(&path, "workload,task").expect("a file");
        assert!(matches!(read(&path), Err(AnalyticsError::Parquet { .. })));
    }
}
