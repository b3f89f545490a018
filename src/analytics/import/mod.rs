//! Public usage traces, as they are published, to rows of ours.
//!
//! In: files of a published format, plain or gzip, and what their numbers are shares of. Out: rows in
//! the order of the files, one by one, and a count of what was left out or taken for nothing. A table is
//! never held in memory; tables that name sizes are, and Prometheus' answers, which are joined.
//! Not here: our own files (`trace_file`).
//!
//! - `table`: rows of CSV and JSON lines, their fields by name, their faults with row and column.
//! - one file a publisher: the columns, with their source, and a function from a row to ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::analytics::AnalyticsError;
use crate::domain::trace::TraceRow;

mod alibaba;
mod azure;
mod bitbrains;
mod google;
mod prometheus;
mod table;

pub use prometheus::{Answers, Labels};
#[cfg(feature = "analytics")]
pub(in crate::analytics) use table::broken_row;
use table::{Fault, Fields, Layout, Table};

/// Bytes of a GiB.
const GIB: f64 = 1_073_741_824.0;

/// A size that published numbers are shares of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Cores.
    pub cores: f64,
    /// GiB of memory.
    pub memory_gib: f64,
}

/// A published format, and what is needed to read it.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Google `ClusterData` 2011, `task_usage`; the size of its largest machine.
    Google2011(Size),
    /// Google `ClusterData` 2019, `instance_usage`; the size of its largest machine.
    Google2019(Size),
    /// Alibaba cluster-trace-v2018, `container_usage`; the size of every container.
    Alibaba2018(Size),
    /// The same with sizes and groups of containers from `container_meta`.
    Alibaba2018Meta {
        /// The file of `container_meta`.
        containers: PathBuf,
        /// GiB of the largest machine.
        machine_gib: f64,
    },
    /// Azure `vm_cpu_readings` of 2017 and 2019; the cores of every VM.
    Azure {
        /// Cores.
        cores: f64,
    },
    /// The same with sizes from `vmtable`.
    AzureTable {
        /// The file of `vmtable`.
        vms: PathBuf,
    },
    /// Bitbrains GWA-T-12, a file a VM.
    Bitbrains,
    /// Answers of Prometheus to `query_range`.
    Prometheus(Answers),
}

/// What was left out of the files or taken for nothing, with counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes(BTreeMap<String, u64>);

impl Notes {
    fn count(&mut self, what: &str) {
        if let Some(count) = self.0.get_mut(what) {
            *count += 1;
        } else {
            self.0.insert(what.to_owned(), 1);
        }
    }

    /// Each note with how often it holds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, count)| (what.as_str(), *count))
    }
}

/// What is read, and how much of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The format.
    pub source: Source,
    /// Its files; none for Prometheus, whose answers are named in the source.
    pub inputs: Vec<PathBuf>,
    /// Only the workloads that are found first.
    pub workloads_max: Option<usize>,
}

/// Makes a row of ours of a file's fields, or none.
type Make<'a> = dyn FnMut(&Fields<'_>, &Path) -> Result<Option<TraceRow>, Fault> + 'a;
/// Takes in a row of ours.
type Take<'a> = dyn FnMut(TraceRow) -> Result<(), AnalyticsError> + 'a;
/// Told how many bytes of a file were read.
type Advance<'a> = dyn Fn(u64) + 'a;

impl Import {
    /// Every file that is read, for a look at their sizes.
    pub fn files(&self) -> Vec<PathBuf> {
        let more: Vec<PathBuf> = match &self.source {
            Source::Alibaba2018Meta { containers, .. } => vec![containers.clone()],
            Source::AzureTable { vms } => vec![vms.clone()],
            Source::Prometheus(answers) => answers.files().map(|(_, path)| path.clone()).collect(),
            _ => Vec::new(),
        };
        more.into_iter().chain(self.inputs.iter().cloned()).collect()
    }

    /// Reads everything. Rows without CPU and memory are left out and counted.
    pub fn read(&self, advance: &Advance<'_>, take: &mut Take<'_>) -> Result<Notes, AnalyticsError> {
        let mut of_driver = Notes::default();
        let mut known: BTreeSet<String> = BTreeSet::new();
        let mut kept = |row: TraceRow| {
            if row.cpu.is_none() && row.memory.is_none() {
                of_driver.count("rows with neither CPU nor memory: left out");
                return Ok(());
            }
            if let Some(most) = self.workloads_max
                && !known.contains(&row.workload)
            {
                if known.len() >= most {
                    of_driver.count("rows of workloads beyond --workloads: left out");
                    return Ok(());
                }
                known.insert(row.workload.clone());
            }
            take(row)
        };
        let mut notes = self.read_source(advance, &mut kept)?;
        for (what, count) in of_driver.0 {
            *notes.0.entry(what).or_default() += count;
        }
        Ok(notes)
    }

    fn read_source(&self, advance: &Advance<'_>, take: &mut Take<'_>) -> Result<Notes, AnalyticsError> {
        let mut notes = Notes::default();
        match &self.source {
            Source::Google2011(machine) => {
                self.tables(headerless, google::USAGE_2011, advance, take, &mut |fields, _| {
                    google::row_2011(fields, *machine, &mut notes)
                })?;
            }
            Source::Google2019(machine) => {
                self.tables(google::layout_2019, google::USAGE_2019, advance, take, &mut |fields, _| {
                    google::row_2019(fields, *machine, &mut notes)
                })?;
            }
            Source::Alibaba2018(size) => {
                self.tables(headerless, alibaba::USAGE, advance, take, &mut |fields, _| {
                    alibaba::row(fields, &mut notes, |container| {
                        Some(alibaba::Container::alike(container, *size))
                    })
                })?;
            }
            Source::Alibaba2018Meta { containers, machine_gib } => {
                let known = alibaba::containers(containers, *machine_gib, advance, &mut notes)?;
                self.tables(headerless, alibaba::USAGE, advance, take, &mut |fields, _| {
                    alibaba::row(fields, &mut notes, |container| known.get(container).cloned())
                })?;
            }
            Source::Azure { cores } => {
                let vm = azure::Vm { cores: *cores, memory: None };
                self.tables(headerless, azure::READINGS, advance, take, &mut |fields, _| {
                    azure::row(fields, &mut notes, |_| Some(vm))
                })?;
            }
            Source::AzureTable { vms } => {
                let known = azure::vms(vms, advance, &mut notes)?;
                self.tables(headerless, azure::READINGS, advance, take, &mut |fields, _| {
                    azure::row(fields, &mut notes, |vm| known.get(vm).copied())
                })?;
            }
            Source::Bitbrains => {
                let layout = |_: &Path| Layout::Header { delimiter: b';', needed: bitbrains::COLUMNS.len() };
                self.tables(layout, bitbrains::COLUMNS, advance, take, &mut |fields, path| {
                    bitbrains::row(fields, path, &mut notes)
                })?;
            }
            Source::Prometheus(answers) => prometheus::read(answers, advance, take, &mut notes)?,
        }
        Ok(notes)
    }

    /// Reads one table after the other.
    fn tables(
        &self,
        layout: impl Fn(&Path) -> Layout,
        columns: &'static [&'static str],
        advance: &Advance<'_>,
        take: &mut Take<'_>,
        row: &mut Make<'_>,
    ) -> Result<(), AnalyticsError> {
        for path in &self.inputs {
            let table = Table { path, layout: layout(path), columns };
            table.read(advance, &mut |fields| row(fields, path), take)?;
        }
        Ok(())
    }
}

fn headerless(_: &Path) -> Layout {
    Layout::Headerless
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    type Counts = Vec<(String, u64)>;

    /// What is made of files with these contents, or the error without the folder's name.
    pub(super) fn import(
        source: impl Fn(&Path) -> Source,
        files: &[(&str, &str)],
    ) -> Result<(Vec<TraceRow>, Counts), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut inputs = Vec::new();
        for (name, text) in files {
            let path = folder.path().join(name);
            let file = std::fs::File::create(&path).expect("a file");
            if path.extension().is_some_and(|extension| extension == "gz") {
                let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                gz.write_all(text.as_bytes()).expect("written");
                gz.finish().expect("finished");
            } else {
                (&file).write_all(text.as_bytes()).expect("written");
            }
            inputs.push(path);
        }
        let source = source(folder.path());
        let others = Import { source: source.clone(), inputs: Vec::new(), workloads_max: None }.files();
        inputs.retain(|path| !others.contains(path));
        let mut rows = Vec::new();
        let take = &mut |row| {
            rows.push(row);
            Ok(())
        };
        let read = Import { source, inputs, workloads_max: None }.read(&|_| {}, take);
        let place = format!("{}/", folder.path().display());
        let notes = read.map_err(|error| error.to_string().replace(&place, ""))?;
        Ok((rows, notes.iter().map(|(what, count)| (what.to_owned(), count)).collect()))
    }

    #[test]
    fn no_more_workloads_than_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("readings.csv");
        std::fs::write(&path, "0,a,1,2,1\n0,b,1,2,1\n300,a,1,2,1\n300,c,1,2,1\n").expect("written");
        let import =
            Import { source: Source::Azure { cores: 2.0 }, inputs: vec![path], workloads_max: Some(1) };
        let mut rows = Vec::new();
        let take = &mut |row: TraceRow| {
            rows.push(row.workload);
            Ok(())
        };
        let notes = import.read(&|_| {}, take).expect("read");
        assert_eq!(rows, ["a", "a"]);
        let said: Vec<_> = notes.iter().collect();
        assert_eq!(said, [("rows of workloads beyond --workloads: left out", 2)]);
    }
}
