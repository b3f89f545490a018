//! Bitbrains GWA-T-12: VMs of a managed hoster, a file a VM, with a header and `;` and a tab between fields.
//!
//! Source: the Grid Workloads Archive, gwa.ewi.tudelft.nl/datasets/gwa-t-12-bitbrains. The time stamps are
//! called milliseconds there and are seconds in the files as published; either is taken, by its size.
//! Memory is what the hypervisor calls active, in KiB; 0 is no measurement.

use std::path::Path;

use crate::analytics::import::Notes;
use crate::analytics::import::table::{Fault, Fields};
use crate::domain::trace::TraceRow;

/// The columns that are read.
pub(super) const COLUMNS: &[&str] = &[
    "Timestamp [ms]",
    "CPU cores",
    "CPU capacity provisioned [MHZ]",
    "CPU usage [MHZ]",
    "Memory capacity provisioned [KB]",
    "Memory usage [KB]",
];

const KIB: f64 = 1024.0;

/// From so many on, a time is in milliseconds: as seconds it lies in the year 5138.
const MILLISECONDS_MIN: f64 = 1e11;

/// A row: a VM over five minutes. The file's name without its ending is the workload, so that the months
/// of one VM, which are files of one name, come together.
pub(super) fn row(fields: &Fields<'_>, path: &Path, notes: &mut Notes) -> Result<Option<TraceRow>, Fault> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let name = name.strip_suffix(".csv").unwrap_or(name);
    let units = if fields.needed(0)? >= MILLISECONDS_MIN { 1000.0 } else { 1.0 };
    let (cores, capacity) = (fields.needed(1)?, fields.needed(2)?);
    let cpu = fields.number(3)?.filter(|_| capacity > 0.0).map(|used| used / capacity * cores);
    let memory = fields.number(5)?.filter(|kib| *kib > 0.0);
    if memory.is_none() {
        notes.count("rows with memory 0, which is no measurement: memory taken as nothing");
    }
    Ok(Some(TraceRow {
        workload: name.to_owned(),
        task: name.to_owned(),
        time: fields.time(0, units)?,
        cpu,
        memory: memory.map(|kib| kib * KIB),
        cpu_request: Some(cores),
        memory_request: fields.number(4)?.map(|kib| kib * KIB),
        load: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::import::Source;
    use crate::analytics::import::tests::import;

    const HEAD: &str = "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\tMemory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\tDisk write throughput [KB/s];\tNetwork received throughput [KB/s];\tNetwork transmitted throughput [KB/s]\n";

    fn read(rows: &str) -> Result<(Vec<TraceRow>, usize), String> {
        let text = format!("{HEAD}{rows}");
        import(|_| Source::Bitbrains, &[("17.csv", &text)]).map(|(rows, notes)| (rows, notes.len()))
    }

    #[test]
    fn a_vm_is_a_file() {
        let (rows, notes) = read(
            "1376314846;\t4;\t10000.0;\t2500.0;\t25.0;\t8388608.0;\t1048576.0;\t0;\t0;\t0;\t0\n\
             1376315146000;\t4;\t10000.0;\t5000.0;\t50.0;\t8388608.0;\t0.0;\t0;\t0;\t0;\t0\n",
        )
        .expect("rows");
        let found: Vec<_> = rows.iter().map(|row| (row.time, row.cpu, row.memory)).collect();
        assert_eq!(
            found,
            [(1_376_314_846, Some(1.0), Some(1_073_741_824.0)), (1_376_315_146, Some(2.0), None)]
        );
        assert_eq!((rows[0].workload.as_str(), rows[0].cpu_request, notes), ("17", Some(4.0), 1));
        assert_eq!(rows[0].memory_request, Some(8_589_934_592.0));
    }

    #[test]
    fn wrong_fields_are_named() {
        let fault =
            read("1376314846;\t4;\t10000.0;\tfast;\t25.0;\t1;\t1;\t0;\t0;\t0;\t0\n").expect_err("a fault");
        assert_eq!(
            fault,
            "17.csv: row 1, column `CPU usage [MHZ]`: found `fast`, expected a number of at least 0"
        );
        let other = import(|_| Source::Bitbrains, &[("17.csv", "Timestamp [ms];\tCPU cores\n1;\t2\n")]);
        let other = other.expect_err("a fault");
        assert!(other.contains("there is no column `CPU capacity provisioned [MHZ]`"), "{other}");
    }
}
