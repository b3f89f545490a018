//! Alibaba's cluster-trace-v2018: usage of containers in percent of their size.
//!
//! Source: `cluster-trace-v2018/schema.txt` and `trace_2018.md` of github.com/alibaba/clusterdata. There
//! are no headers; `schema.txt` has the columns in the files' order. Times are seconds since the trace
//! began, 0 stands for a time outside it. Percents are of 0 to 100, -1 and 101 mark invalid ones. Memory
//! is the share of an instant, not a peak. That percents are of a container's own size is how they
//! are commonly read; the documents do not say it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::analytics::AnalyticsError;
use crate::analytics::import::table::{Fault, Fields, Layout, Table};
use crate::analytics::import::{Advance, GIB, Notes, Size};
use crate::domain::trace::TraceRow;

/// The columns of `container_usage`, up to the last that is read.
pub(super) const USAGE: &[&str] =
    &["container_id", "machine_id", "time_stamp", "cpu_util_percent", "mem_util_percent"];

/// The columns of `container_meta`.
const META: &[&str] =
    &["container_id", "machine_id", "time_stamp", "app_du", "status", "cpu_request", "cpu_limit", "mem_size"];

/// What usage is a percentage of, and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Container {
    workload: Arc<str>,
    cores: f64,
    memory: f64,
}

impl Container {
    /// A container that is a workload of its own.
    pub(super) fn alike(name: &str, size: Size) -> Self {
        Self { workload: name.into(), cores: size.cores, memory: size.memory_gib * GIB }
    }
}

/// Sizes by container. `cpu_request` is in hundredths of a core, `mem_size` in percent of the largest
/// machine's memory; containers of one `app_du` provide one service. The last row of a container holds.
pub(super) fn containers(
    path: &Path,
    machine_gib: f64,
    advance: &Advance<'_>,
    notes: &mut Notes,
) -> Result<HashMap<String, Container>, AnalyticsError> {
    let mut known = HashMap::new();
    let mut apps: HashMap<String, Arc<str>> = HashMap::new();
    let table = Table { path, layout: Layout::Headerless, columns: META };
    let mut each = |fields: &Fields<'_>| {
        let (name, app) = (fields.name(0)?, fields.name(3)?);
        let (Some(cpu), Some(memory)) = (fields.number(5)?, fields.number(7)?) else {
            notes.count("containers without `cpu_request` or `mem_size`: left out");
            return Ok(None);
        };
        let workload = apps.entry(app).or_insert_with_key(|app| app.as_str().into()).clone();
        let memory = memory / 100.0 * machine_gib * GIB;
        known.insert(name, Container { workload, cores: cpu / 100.0, memory });
        Ok(None)
    };
    table.read(advance, &mut each, &mut |_| Ok(()))?;
    Ok(known)
}

/// A row: a container at an instant.
pub(super) fn row(
    fields: &Fields<'_>,
    notes: &mut Notes,
    container: impl Fn(&str) -> Option<Container>,
) -> Result<Option<TraceRow>, Fault> {
    let time = fields.time(2, 1.0)?;
    let mut share = |column| -> Result<Option<f64>, Fault> {
        let percent = fields.signed(column)?;
        let valid = percent.filter(|percent| (0.0..=100.0).contains(percent));
        if valid != percent {
            notes.count("percents outside 0 to 100, which mark invalid ones: taken as nothing");
        }
        Ok(valid.map(|percent| percent / 100.0))
    };
    let (cpu, memory) = (share(3)?, share(4)?);
    if time == 0 {
        notes.count("rows at time 0, which stands for a time outside the trace: left out");
        return Ok(None);
    }
    let task = fields.name(0)?;
    let Some(Container { workload, cores, memory: bytes }) = container(&task) else {
        notes.count("rows of containers whose size is not known: left out");
        return Ok(None);
    };
    Ok(Some(TraceRow {
        workload: workload.to_string(),
        task,
        time,
        cpu: cpu.map(|share| share * cores),
        memory: memory.map(|share| share * bytes),
        cpu_request: Some(cores),
        memory_request: Some(bytes),
        load: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::import::Source;
    use crate::analytics::import::tests::import;

    const USED: &str = "c_1,m_7,10,25,50,1.1,2.0,3,0.1,0.1,4\n\
                        c_1,m_7,0,25,50,1.1,2.0,3,0.1,0.1,4\n\
                        c_2,m_7,20,101,-1,,,,,,\n\
                        c_2,m_7,30,10,,,,,,,\n";

    #[test]
    fn usage_is_a_share_of_the_size_given() {
        let source = |_: &Path| Source::Alibaba2018(Size { cores: 4.0, memory_gib: 8.0 });
        let (rows, notes) = import(source, &[("container_usage.csv", USED)]).expect("rows");
        let found: Vec<_> =
            rows.iter().map(|row| (row.workload.as_str(), row.time, row.cpu, row.memory)).collect();
        assert_eq!(found, [("c_1", 10, Some(1.0), Some(4.0 * GIB)), ("c_2", 30, Some(0.4), None)]);
        assert_eq!((rows[0].cpu_request, rows[0].memory_request), (Some(4.0), Some(8.0 * GIB)));
        let counts: Vec<u64> = notes.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 1], "{notes:?}");
    }

    #[test]
    fn sizes_and_groups_come_from_the_meta_table() {
        let meta = "c_1,m_7,0,app_5,started,400,800,12.5\nc_9,m_7,0,app_5,started,,,\n";
        let source = |folder: &Path| Source::Alibaba2018Meta {
            containers: folder.join("container_meta.csv"),
            machine_gib: 64.0,
        };
        let files = [("container_meta.csv", meta), ("container_usage.csv", USED)];
        let (rows, notes) = import(source, &files).expect("rows");
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].workload.as_str(), rows[0].task.as_str()), ("app_5", "c_1"));
        assert_eq!((rows[0].cpu, rows[0].memory), (Some(1.0), Some(4.0 * GIB)));
        assert!(
            notes.contains(&("rows of containers whose size is not known: left out".to_owned(), 2)),
            "{notes:?}"
        );
    }

    #[test]
    fn wrong_fields_are_named() {
        let source = |_: &Path| Source::Alibaba2018(Size { cores: 4.0, memory_gib: 8.0 });
        let fault = import(source, &[("u.csv", "c_1,m_7,10,busy,50\n")]).expect_err("a fault");
        assert_eq!(fault, "u.csv: row 1, column `cpu_util_percent`: found `busy`, expected a number");
    }
}
