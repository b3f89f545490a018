//! Files of batch runs, by polars: Parquet or CSV, with the columns that Loadline calls canonical or those of
//! a Nextflow trace.
//!
//! Canonical: `job`, `submit`, `start`, `end` (whole seconds), `memory_request`, `memory_peak` (bytes),
//! and where known `took` (seconds of the work itself), `input` (bytes), `attempt` (from 1).
//! Nextflow: `process` (within `workflow`, where there is one), `submit`, `start`, `complete`, `realtime`
//! (milliseconds), `memory`, `peak_rss` (bytes), `rchar` (bytes read), `attempt`. Others are ignored.

use std::path::Path;

use crate::analytics::AnalyticsError;
use crate::analytics::trace_file::TraceFrame;
use crate::replay::jobs::JobRow;

const CANONICAL: [&str; 9] =
    ["job", "submit", "start", "end", "memory_request", "memory_peak", "took", "input", "attempt"];

/// What the columns of one kind of file are called, and how many milliseconds its times count in.
struct Names {
    job: &'static str,
    group: Option<&'static str>,
    end: &'static str,
    took: &'static str,
    request: &'static str,
    peak: &'static str,
    input: &'static str,
    unit: i64,
}

const OWN: Names = Names {
    job: "job",
    group: None,
    end: "end",
    took: "took",
    request: "memory_request",
    peak: "memory_peak",
    input: "input",
    unit: 1000,
};

const NEXTFLOW: Names = Names {
    job: "process",
    group: Some("workflow"),
    end: "complete",
    took: "realtime",
    request: "memory",
    peak: "peak_rss",
    input: "rchar",
    unit: 1,
};

/// Reads all rows, in the file's order.
pub(super) fn read(path: &Path, with_input: bool) -> Result<Vec<JobRow>, AnalyticsError> {
    let file = TraceFrame::open(path, &CANONICAL)?;
    let names = if file.has(NEXTFLOW.job) && !file.has(OWN.job) { NEXTFLOW } else { OWN };
    let jobs = file.text(names.job)?;
    let groups = match names.group.filter(|group| file.has(group)) {
        Some(group) => file.text(group)?,
        None => Vec::new(),
    };
    let (submit, start, end) = (file.times("submit")?, file.times("start")?, file.times(names.end)?);
    let (request, peak) = (file.needed(names.request)?, file.needed(names.peak)?);
    let (took, attempt) = (file.optional(names.took)?, file.optional("attempt")?);
    let input = if with_input { file.needed(names.input)? } else { Vec::new() };
    let at = |values: &[Option<f64>], row: usize| values.get(row).copied().flatten();
    let rows = jobs.into_iter().enumerate().map(|(row, job)| JobRow {
        job: groups.get(row).map_or_else(|| job.clone(), |group| format!("{group}/{job}")),
        submit: submit[row].saturating_mul(names.unit),
        start: start[row].saturating_mul(names.unit),
        end: end[row].saturating_mul(names.unit),
        took: at(&took, row).map(|took| took * names.unit as f64),
        request: request[row],
        peak: peak[row],
        input: at(&input, row),
        attempt: at(&attempt, row).map_or(1, |attempt| attempt as u32),
    });
    Ok(rows.collect())
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
        assert_eq!(read_csv(own, true).expect("rows"), [expected.clone()]);
        assert_eq!(read_csv(nextflow, true).expect("rows"), [expected.clone()]);
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
