//! Files of batch runs, Parquet by polars or CSV, with the columns that Loadline calls canonical or those of
//! a Nextflow trace.
//!
//! Canonical: `job`, `submit`, `start`, `end` (whole seconds), `memory_request`, `memory_peak` (bytes),
//! and where known `took` (seconds of the work itself), `input` (bytes), `attempt` (from 1).
//! Nextflow: `process` (within `workflow`, where there is one), `submit`, `start`, `complete`, `realtime`
//! (milliseconds), `memory`, `peak_rss` (bytes), `rchar` (bytes read), `attempt`. Others are ignored.

use std::fs::File;
use std::path::Path;

use crate::analytics::trace_csv::Table;
use crate::analytics::trace_file::{TraceFrame, open};
use crate::analytics::{AnalyticsError, TraceFormat};
use crate::replay::jobs::JobRow;

const CANONICAL: [&str; 9] =
    ["job", "submit", "start", "end", "memory_request", "memory_peak", "took", "input", "attempt"];

/// Where the columns stand in `Names`, after those that every file has.
const TOOK: usize = 6;
const INPUT: usize = 7;
const ATTEMPT: usize = 8;
const GROUP: usize = 9;

/// What the columns of one kind of file are called, in one order, and how many milliseconds its times count in.
struct Names {
    columns: &'static [&'static str],
    unit: i64,
}

const OWN: Names = Names { columns: &CANONICAL, unit: 1000 };

const NEXTFLOW: Names = Names {
    columns: &[
        "process", "submit", "start", "complete", "memory", "peak_rss", "realtime", "rchar", "attempt",
        "workflow",
    ],
    unit: 1,
};

/// The kind of a file by the columns that it has.
fn names(has: impl Fn(&str) -> bool) -> Names {
    if has(NEXTFLOW.columns[0]) && !has(OWN.columns[0]) { NEXTFLOW } else { OWN }
}

impl Names {
    /// A row in milliseconds.
    fn scaled(&self, row: JobRow) -> JobRow {
        JobRow {
            submit: row.submit.saturating_mul(self.unit),
            start: row.start.saturating_mul(self.unit),
            end: row.end.saturating_mul(self.unit),
            took: row.took.map(|took| took * self.unit as f64),
            ..row
        }
    }
}

fn attempt(attempt: Option<f64>) -> u32 {
    attempt.map_or(1, |attempt| attempt as u32)
}

fn grouped(group: Option<&str>, job: String) -> String {
    match group {
        Some(group) => format!("{group}/{job}"),
        None => job,
    }
}

/// Reads all rows, in the file's order.
pub(super) fn read(path: &Path, with_input: bool) -> Result<Vec<JobRow>, AnalyticsError> {
    let (format, file) = open(path)?;
    match format {
        TraceFormat::Parquet => read_parquet(path, file, with_input),
        TraceFormat::Csv => read_csv(path, file, with_input),
    }
}

fn read_parquet(path: &Path, file: File, with_input: bool) -> Result<Vec<JobRow>, AnalyticsError> {
    let other = NEXTFLOW.columns.iter().filter(|column| !OWN.columns.contains(column));
    let wanted: Vec<&'static str> = OWN.columns.iter().chain(other).copied().collect();
    let file = TraceFrame::read(path, file, &wanted, &CANONICAL)?;
    let names = names(|column| file.has(column));
    let columns = names.columns;
    let jobs = file.text(columns[0])?;
    let groups = match columns.get(GROUP).filter(|group| file.has(group)) {
        Some(group) => file.text(group)?,
        None => Vec::new(),
    };
    let (submit, start, end) = (file.times(columns[1])?, file.times(columns[2])?, file.times(columns[3])?);
    let (request, peak) = (file.needed(columns[4])?, file.needed(columns[5])?);
    let (took, attempts) = (file.optional(columns[TOOK])?, file.optional(columns[ATTEMPT])?);
    let input = if with_input { file.needed(columns[INPUT])? } else { Vec::new() };
    let at = |values: &[Option<f64>], row: usize| values.get(row).copied().flatten();
    let rows = jobs.into_iter().enumerate().map(|(row, job)| {
        names.scaled(JobRow {
            job: grouped(groups.get(row).map(String::as_str), job),
            submit: submit[row],
            start: start[row],
            end: end[row],
            took: at(&took, row),
            request: request[row],
            peak: peak[row],
            input: at(&input, row),
            attempt: attempt(at(&attempts, row)),
        })
    });
    Ok(rows.collect())
}

fn read_csv(path: &Path, file: File, with_input: bool) -> Result<Vec<JobRow>, AnalyticsError> {
    let table = Table::open(path, file)?;
    let names = names(|column| table.has(column));
    let columns = names.columns;
    table.need(&columns[..TOOK], &CANONICAL)?;
    if with_input {
        table.need(&columns[INPUT..=INPUT], &CANONICAL)?;
    }
    let has_group = columns.get(GROUP).is_some_and(|group| table.has(group));
    table.rows(columns, |row| {
        let group = has_group.then(|| row.name(GROUP)).transpose()?;
        Ok(names.scaled(JobRow {
            job: grouped(group.as_deref(), row.name(0)?),
            submit: row.time(1)?,
            start: row.time(2)?,
            end: row.time(3)?,
            took: row.amount(TOOK)?,
            request: row.amount(4)?,
            peak: row.amount(5)?,
            input: if with_input { row.amount(INPUT)? } else { None },
            attempt: attempt(row.amount(ATTEMPT)?),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_csv(text: &str, with_input: bool) -> Result<Vec<JobRow>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs.csv");
        std::fs::write(&path, text).expect("a file");
        let place = format!("{}: ", path.display());
        read(&path, with_input).map_err(|error| error.to_string().replace(&place, ""))
    }

    #[test]
    fn both_kinds_of_columns_mean_the_same() {
        let own =
            "job,submit,start,end,memory_request,memory_peak,took,input,attempt\nw/p,1,2,5,100,40,3,7,2\n";
        let nextflow = "workflow,process,submit,start,complete,realtime,memory,peak_rss,rchar,attempt\nw,p,1000,2000,5000,3000,100,40,7,2\n";
        let expected = JobRow {
            job: "w/p".to_owned(),
            submit: 1000,
            start: 2000,
            end: 5000,
            took: Some(3000.0),
            request: Some(100.0),
            peak: Some(40.0),
            input: Some(7.0),
            attempt: 2,
        };
        assert_eq!(read_csv(own, true).expect("rows"), std::slice::from_ref(&expected));
        assert_eq!(read_csv(nextflow, true).expect("rows"), std::slice::from_ref(&expected));
        assert_eq!(read_csv(own, false).expect("rows"), [JobRow { input: None, ..expected }]);
    }

    #[test]
    fn what_may_be_absent_is_and_faults_name_row_and_column() {
        let head = "job,submit,start,end,memory_request,memory_peak\n";
        let rows = read_csv(&format!("{head}a,0,0,10,100,\n"), false).expect("rows");
        assert_eq!((rows[0].peak, rows[0].took, rows[0].attempt), (None, None, 1));
        let fault = |text: &str, input| read_csv(text, input).expect_err("a fault");
        assert_eq!(
            fault(&format!("{head}a,0,0,10,100,-4\n"), false),
            "row 1, column `memory_peak`: found -4, expected a number of at least 0, or nothing"
        );
        assert!(fault(&format!("{head}a,0,0,10,100,4\n"), true).starts_with("there is no column `input`"));
        assert!(fault("job,submit\na,0\n", false).contains("a trace has job, submit, start, end"));
    }
}
