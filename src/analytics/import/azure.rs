//! Azure's public VM traces of 2017 (V1) and 2019 (V2): CPU of VMs in percent of their cores.
//!
//! Source: `AzurePublicDatasetV1.md`, `AzurePublicDatasetV2.md` and `schema.csv` of
//! github.com/Azure/AzurePublicDataset. There are no headers. Times are seconds since the trace began,
//! every five minutes. There is no usage of memory, only its size. In V2 cores and memory are buckets;
//! the one without an end (`>24` cores, `>64` GB) is taken at its bound and counted.

use std::collections::HashMap;
use std::path::Path;

use crate::analytics::AnalyticsError;
use crate::analytics::import::table::{Fault, Fields, Layout, Table};
use crate::analytics::import::{Advance, GIB, Notes};
use crate::domain::trace::TraceRow;

/// The columns of `vm_cpu_readings`.
pub(super) const READINGS: &[&str] = &["timestamp", "vm id", "min cpu", "max cpu", "avg cpu"];

/// The columns of `vmtable`.
const VMS: &[&str] = &[
    "vm id",
    "subscription id",
    "deployment id",
    "timestamp vm created",
    "timestamp vm deleted",
    "max cpu",
    "avg cpu",
    "p95 max cpu",
    "vm category",
    "vm virtual core count",
    "vm memory",
];

/// The size of a VM.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Vm {
    pub(super) cores: f64,
    /// Bytes.
    pub(super) memory: Option<f64>,
}

/// Sizes by VM.
pub(super) fn vms(
    path: &Path,
    advance: &Advance<'_>,
    notes: &mut Notes,
) -> Result<HashMap<Box<str>, Vm>, AnalyticsError> {
    const EXPECTED: &str = "a number above 0, or a bucket such as >24";
    let mut known = HashMap::new();
    let table = Table { path, layout: Layout::Headerless, columns: VMS };
    let mut each = |fields: &Fields<'_>| {
        let mut size = |column| -> Result<f64, Fault> {
            let text = fields.name(column)?;
            let bound = text.trim_start_matches(['>', '<']);
            if bound.len() != text.len() {
                notes.count("sizes in buckets without an end: taken at the bound");
            }
            let number = bound.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
            number.ok_or_else(|| fields.fault(column, format!("`{text}`"), EXPECTED))
        };
        let vm = Vm { cores: size(9)?, memory: Some(size(10)? * GIB) };
        known.insert(fields.name(0)?.into_boxed_str(), vm);
        Ok(None)
    };
    table.read(advance, &mut each, &mut |_| Ok(()))?;
    Ok(known)
}

/// A row: a VM over five minutes. Each VM is a workload.
pub(super) fn row(
    fields: &Fields<'_>,
    notes: &mut Notes,
    vm: impl Fn(&str) -> Option<Vm>,
) -> Result<Option<TraceRow>, Fault> {
    let (time, name, percent) = (fields.time(0, 1.0)?, fields.name(1)?, fields.needed(4)?);
    let Some(vm) = vm(&name) else {
        notes.count("rows of VMs that the table of VMs does not name: left out");
        return Ok(None);
    };
    Ok(Some(TraceRow {
        workload: name.clone(),
        task: name,
        time,
        cpu: Some(percent / 100.0 * vm.cores),
        memory: None,
        cpu_request: Some(vm.cores),
        memory_request: vm.memory,
        load: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::import::Source;
    use crate::analytics::import::tests::import;

    const READ: &str = "0,aB+/x,10,50,25\n300,aB+/x,1,3,2\n300,other,1,3,2\n";

    #[test]
    fn readings_are_percents_of_the_cores() {
        let (rows, _) = import(|_| Source::Azure { cores: 8.0 }, &[("r.csv", READ)]).expect("rows");
        assert_eq!((rows.len(), rows[0].cpu, rows[0].memory), (3, Some(2.0), None));
        let fault = import(|_| Source::Azure { cores: 8.0 }, &[("r.csv", "0,vm,1,2,NaN\n")]);
        let fault = fault.expect_err("a fault");
        assert_eq!(fault, "r.csv: row 1, column `avg cpu`: found `NaN`, expected a number of at least 0");
    }

    #[test]
    fn sizes_come_from_the_table_of_vms() {
        let vms = "aB+/x,s,d,0,600,50,13,49,Interactive,>24,4\n";
        let source = |folder: &Path| Source::AzureTable { vms: folder.join("vmtable.csv.gz") };
        let (rows, notes) = import(source, &[("vmtable.csv.gz", vms), ("r.csv", READ)]).expect("rows");
        assert_eq!((rows.len(), rows[0].cpu), (2, Some(6.0)));
        assert_eq!((rows[0].cpu_request, rows[0].memory_request), (Some(24.0), Some(4.0 * GIB)));
        assert_eq!(notes.len(), 2, "{notes:?}");
        let wrong = "aB+/x,s,d,0,600,50,13,49,Interactive,many,4\n";
        let fault = import(source, &[("vmtable.csv.gz", wrong), ("r.csv", READ)]).expect_err("a fault");
        assert!(
            fault.starts_with("vmtable.csv.gz: row 1, column `vm virtual core count`: found `many`"),
            "{fault}"
        );
    }
}
