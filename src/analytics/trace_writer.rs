//! Writes a usage trace bit by bit, so that traces larger than memory can be made. The file appears when
//! it is whole: until then it has another name, and a failure leaves what was there before.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use polars_io::SerWriter;
use polars_io::csv::write::CsvWriter;
use polars_io::parquet::write::{BatchedWriter, ParquetWriter};

use crate::analytics::trace_file::{format_of, frame};
use crate::analytics::{AnalyticsError, TraceFormat};
use crate::domain::trace::TraceRow;

/// Rows that are held before they are written; a row group of Parquet.
const BATCH: usize = 1 << 17;

/// No buffer in between: what it holds at the end would be lost without a word on a full disk.
enum Batches {
    Parquet(Box<BatchedWriter<File>>),
    Csv(File),
}

/// A trace that is being written.
pub struct TraceWriter {
    path: PathBuf,
    partial: PathBuf,
    batches: Batches,
    rows: Vec<TraceRow>,
    written: usize,
    finished: bool,
}

impl TraceWriter {
    /// Begins a trace, Parquet or CSV by the file's name.
    pub fn create(path: &Path) -> Result<Self, AnalyticsError> {
        let format = format_of(path)?;
        let mut partial = OsString::from(path);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let failed = |source| AnalyticsError::File { operation: "write", path: partial.clone(), source };
        let file = File::create(&partial).map_err(failed)?;
        let batches = match format {
            TraceFormat::Parquet => {
                let schema = frame(&[]).map(|frame| frame.schema().clone()).map_err(refused)?;
                Batches::Parquet(Box::new(ParquetWriter::new(file).batched(&schema).map_err(refused)?))
            }
            TraceFormat::Csv => Batches::Csv(file),
        };
        Ok(Self { path: path.to_owned(), partial, batches, rows: Vec::new(), written: 0, finished: false })
    }

    /// Takes in a row.
    pub fn push(&mut self, row: TraceRow) -> Result<(), AnalyticsError> {
        self.rows.push(row);
        if self.rows.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), AnalyticsError> {
        let mut frame = frame(&self.rows).map_err(refused)?;
        match &mut self.batches {
            Batches::Parquet(batches) => batches.write_batch(&frame).map_err(refused)?,
            Batches::Csv(file) => {
                let mut text = Vec::new();
                let header = self.written == 0;
                CsvWriter::new(&mut text).include_header(header).finish(&mut frame).map_err(refused)?;
                let failed =
                    |source| AnalyticsError::File { operation: "write", path: self.partial.clone(), source };
                file.write_all(&text).map_err(failed)?;
            }
        }
        self.written += self.rows.len();
        self.rows.clear();
        Ok(())
    }

    /// Ends the trace and gives the file its name; how many rows it has.
    pub fn finish(mut self) -> Result<usize, AnalyticsError> {
        if !self.rows.is_empty() || self.written == 0 {
            self.flush()?;
        }
        if let Batches::Parquet(batches) = &self.batches {
            batches.finish().map_err(refused)?;
        }
        let failed = |source| AnalyticsError::File { operation: "write", path: self.path.clone(), source };
        std::fs::rename(&self.partial, &self.path).map_err(failed)?;
        self.finished = true;
        Ok(self.written)
    }
}

impl Drop for TraceWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Where even this fails, a file named *.partial tells by its name what it is.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

fn refused(source: PolarsError) -> AnalyticsError {
    AnalyticsError::Frame { operation: "write the trace".to_owned(), source: Box::new(source) }
}
