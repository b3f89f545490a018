//! Google's cluster traces, in which all amounts are shares of the largest machine.
//!
//! Sources: 2011, `schema.csv` of clusterdata-2011-2 and "Google cluster-usage traces: format + schema"
//! (v2.1); 2019, `clusterdata_trace_format_v3.proto` of github.com/google/cluster-data and "Google
//! cluster-usage traces v3". Times are microseconds since the trace began (600 s before its first
//! event). What Google calls usage of memory holds page cache that was touched lately.

use std::path::Path;

use crate::analytics::import::table::{Fault, Fields, Layout};
use crate::analytics::import::{GIB, Notes, Size};
use crate::domain::trace::TraceRow;

/// Units of a second.
const MICROSECONDS: f64 = 1e6;

/// The columns of `task_usage`, up to the last that is read. There is no header.
pub(super) const USAGE_2011: &[&str] = &[
    "start time",
    "end time",
    "job ID",
    "task index",
    "machine ID",
    "CPU rate",
    "canonical memory usage",
    "assigned memory usage",
    "unmapped page cache",
    "total page cache",
    "maximum memory usage",
];

/// A row of 2011: a task of a job over an interval of at most five minutes. A job is a workload. Where the
/// highest memory is missing, the mean is taken and counted.
pub(super) fn row_2011(
    fields: &Fields<'_>,
    machine: Size,
    notes: &mut Notes,
) -> Result<Option<TraceRow>, Fault> {
    let job = fields.name(2)?;
    let mut memory = fields.number(10)?;
    if memory.is_none() {
        memory = fields.number(6)?;
        if memory.is_some() {
            notes.count("rows without `maximum memory usage`: the mean is taken");
        }
    }
    Ok(Some(TraceRow {
        task: format!("{job}.{}", fields.name(3)?),
        workload: job,
        time: fields.time(1, MICROSECONDS)?,
        cpu: fields.number(5)?.map(|share| share * machine.cores),
        memory: memory.map(|share| share * machine.memory_gib * GIB),
        cpu_request: None,
        memory_request: None,
        load: None,
    }))
}

/// The columns of `instance_usage` that are read; nested fields have a point, or an underscore in CSV.
pub(super) const USAGE_2019: &[&str] = &[
    "end_time",
    "collection_id",
    "instance_index",
    "average_usage.cpus",
    "maximum_usage.memory",
    "average_usage.memory",
    "collection_type",
    "assigned_memory",
];

/// JSON lines, as published, or CSV with a header, as query results are saved; by the file's name.
pub(super) fn layout_2019(path: &Path) -> Layout {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let csv = [".csv", ".csv.gz"].iter().any(|end| name.ends_with(end));
    if csv { Layout::Header { delimiter: b',', needed: 5 } } else { Layout::JsonLines }
}

/// A row of 2019: an instance of a collection over an interval of at most five minutes. A collection is a
/// workload. Rows of alloc sets are left out: what runs within them has rows of its own.
/// `assigned_memory` is the limit that held, and is taken as the request.
pub(super) fn row_2019(
    fields: &Fields<'_>,
    machine: Size,
    notes: &mut Notes,
) -> Result<Option<TraceRow>, Fault> {
    if matches!(fields.text(6)?.as_deref(), Some("1" | "ALLOC_SET" | "alloc_set")) {
        notes.count("rows of alloc sets, whose tasks have rows of their own: left out");
        return Ok(None);
    }
    let collection = fields.name(1)?;
    let mut memory = fields.number(4)?;
    if memory.is_none() {
        memory = fields.number(5)?;
        if memory.is_some() {
            notes.count("rows without `maximum_usage.memory`: the mean is taken");
        }
    }
    let bytes = |share: f64| share * machine.memory_gib * GIB;
    Ok(Some(TraceRow {
        task: format!("{collection}.{}", fields.name(2)?),
        workload: collection,
        time: fields.time(0, MICROSECONDS)?,
        cpu: fields.number(3)?.map(|share| share * machine.cores),
        memory: memory.map(bytes),
        cpu_request: None,
        memory_request: fields.number(7)?.filter(|limit| *limit > 0.0).map(bytes),
        load: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::import::Source;
    use crate::analytics::import::tests::import;

    const MACHINE: Size = Size { cores: 16.0, memory_gib: 64.0 };

    #[test]
    fn task_usage_of_2011() {
        let text = "600000000,900000000,77,3,1001,0.125,0.01,0.02,0.001,0.002,0.015625,0,0,0.2,0,1.2,0.01,1,0,0.1\n\
                    900000000,1200000000,77,3,1001,0.0625,0.25,,,,,,,,,,,,,\n\
                    900000000,1200000000,78,0,1001,,,,,,,,,,,,,,,\n";
        let (rows, notes) = import(|_| Source::Google2011(MACHINE), &[("part.csv.gz", text)]).expect("rows");
        let found: Vec<_> =
            rows.iter().map(|row| (row.task.as_str(), row.time, row.cpu, row.memory)).collect();
        assert_eq!(found, [("77.3", 900, Some(2.0), Some(GIB)), ("77.3", 1200, Some(1.0), Some(16.0 * GIB))]);
        assert_eq!(rows[0].workload, "77");
        let counts: Vec<u64> = notes.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts, notes[0].0.contains("neither CPU nor memory")), (vec![1, 1], true));
        let fault = |text| import(|_| Source::Google2011(MACHINE), &[("p.csv", text)]).expect_err("a fault");
        assert_eq!(
            fault("600000000,900000000,77,3,1001,-0.1,0.01,0.02,0.001,0.002,0.015625\n"),
            "p.csv: row 1, column `CPU rate`: found `-0.1`, expected a number of at least 0"
        );
        assert_eq!(
            fault("start,end,job,index,machine,cpu,a,b,c,d,e\n"),
            "p.csv: row 1, column `maximum memory usage`: found `e`, expected a number of at least 0"
        );
    }

    #[test]
    fn instance_usage_of_2019() {
        let lines = r#"{"start_time":"300000000","end_time":"600000000","collection_id":"5","instance_index":"2","collection_type":"0","average_usage":{"cpus":0.25,"memory":0.1},"maximum_usage":{"cpus":0.5,"memory":0.125},"assigned_memory":0.25}

{"end_time":600000000,"collection_id":9,"instance_index":0,"collection_type":1,"average_usage":{"cpus":0.25,"memory":0.1}}
{"end_time":900000000,"collection_id":5,"instance_index":2,"average_usage":{"cpus":0.125,"memory":0.0625},"maximum_usage":{}}
"#;
        let source = |_: &Path| Source::Google2019(MACHINE);
        let (rows, notes) = import(source, &[("instance_usage-000.json", lines)]).expect("rows");
        let found: Vec<_> =
            rows.iter().map(|row| (row.task.as_str(), row.time, row.cpu, row.memory)).collect();
        let gib = |n| Some(n * GIB);
        assert_eq!(found, [("5.2", 600, Some(4.0), gib(8.0)), ("5.2", 900, Some(2.0), gib(4.0))]);
        assert_eq!((rows[0].memory_request, rows[1].memory_request), (gib(16.0), None));
        assert_eq!(notes.len(), 2);
        let csv = "end_time,collection_id,instance_index,average_usage_cpus,maximum_usage_memory,cpu_usage_distribution\n\
                   600000000,5,2,0.25,0.125,\"[0.1, 0.2]\"\n";
        let (of_csv, _) = import(source, &[("usage.csv", csv)]).expect("rows");
        assert_eq!((of_csv[0].cpu, of_csv[0].memory), (rows[0].cpu, rows[0].memory));
    }

    #[test]
    fn wrong_fields_of_2019_are_named() {
        let source = |_: &Path| Source::Google2019(MACHINE);
        let fault = |name, text| import(source, &[(name, text)]).expect_err("a fault");
        let nested = r#"{"end_time":1,"collection_id":9,"instance_index":0,"average_usage":{"cpus":[1]}}"#;
        assert_eq!(
            fault("u.json", nested),
            "u.json: row 1, column `average_usage.cpus`: found [1], expected a number or text"
        );
        assert!(fault("u.json", "{}\n{").starts_with("u.json: row 1, column `collection_id`: found nothing"));
        assert!(fault("u.json", "[1]").starts_with("u.json: row 1: this is no JSON object"));
        assert!(fault("u.json", "{\"end").starts_with("u.json: row 1: this is no JSON object: EOF"));
        let missing = fault("u.csv", "end_time,collection_id,instance_index\n1,2,3\n");
        assert!(
            missing.starts_with("u.csv: there is no column `average_usage.cpus`; this format has"),
            "{missing}"
        );
    }
}
