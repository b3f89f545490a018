//! Reads what `loadline plan` is given: tasks, node types and nodes, as CSV. Node types can be TOML as well
//! (`node_types`).
//!
//! Columns go by several names, so that public inventories and price lists read as they are. What is wrong is
//! told with file, row and column. Not here: the plan.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::config::node_types::GPU;
use crate::domain::money::MicroCents;
use crate::domain::node::PoolName;
use crate::domain::node_type::{Capacity, NodeType, Overhead, Purchase};
use crate::domain::placement::{BY_NODE, Constraint, Neighbour, PlacementSpec, SpreadOver};
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::workload::WorkloadName;
use crate::placement::planner::{Existing, TaskGroup};

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct PlanningError {
    file: String,
    /// Counted from 1, the header not included; 0 for the file itself.
    row: usize,
    what: String,
}

impl fmt::Display for PlanningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            0 => write!(f, "{}: {}", self.file, self.what),
            row => write!(f, "{}: row {row}: {}", self.file, self.what),
        }
    }
}

/// The row that is read.
struct Row<'a> {
    file: &'a str,
    header: &'a StringRecord,
    record: &'a StringRecord,
    number: usize,
}

impl Row<'_> {
    fn fault<T>(&self, what: String) -> Result<T, PlanningError> {
        Err(PlanningError { file: self.file.to_owned(), row: self.number, what })
    }

    /// The first of these columns that says something.
    fn text(&self, columns: &[&str]) -> Option<&str> {
        let place = |column: &&str| self.header.iter().position(|name| name.eq_ignore_ascii_case(column));
        let mut found = columns.iter().filter_map(place).filter_map(|place| self.record.get(place));
        found.find(|text| !text.is_empty())
    }

    fn number(&self, columns: &[&str]) -> Result<Option<f64>, PlanningError> {
        let Some(text) = self.text(columns) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            _ => self.fault(format!("`{}` is `{text}`, expected a number of at least 0", columns[0])),
        }
    }

    fn count(&self, columns: &[&str]) -> Result<Option<u64>, PlanningError> {
        match self.number(columns)? {
            Some(number) if number.fract() == 0.0 && number < 1e15 => Ok(Some(number as u64)),
            Some(number) => self.fault(format!("`{}` is `{number}`, expected a whole number", columns[0])),
            None => Ok(None),
        }
    }

    /// Cores and memory; `prefix` stands before the names of columns.
    fn resources(&self, prefix: &str) -> Result<Option<Resources>, PlanningError> {
        let name = |name: &str| format!("{prefix}{name}");
        let cores = self.number(&[&name("cpu"), &name("vcpu")])?.map(Millicores::from_cores);
        let cpu = cores.or(self.count(&[&name("cpu_milli")])?.map(Millicores::new));
        let mib = self.number(&[&name("memory_mib"), &name("mem_mib")])?;
        let memory = match self.text(&[&name("memory")]) {
            Some(text) => match text.parse::<Bytes>() {
                Ok(memory) => Some(memory),
                Err(_) => {
                    return self
                        .fault(format!("`{prefix}memory` is `{text}`, expected a size such as 512MiB"));
                }
            },
            None => mib.map(|mib| Bytes::from_f64(mib * 1024.0 * 1024.0)),
        };
        Ok(cpu.zip(memory).map(|(cpu, memory)| Resources::new(cpu, memory)))
    }

    fn capacity(&self) -> Result<Capacity, PlanningError> {
        let Some(base) = self.resources("")? else {
            return self.fault(
                "no CPU and memory, expected the columns cpu (cores) or cpu_milli, and memory (such as 2GiB) or \
                 memory_mib"
                    .to_owned(),
            );
        };
        let gpus = self.count(&["gpu", "num_gpu"])?.filter(|&gpus| gpus > 0);
        Ok(Capacity { base, extra: gpus.map(|gpus| (GPU.to_owned(), gpus)).into_iter().collect() })
    }

    fn workload(&self, text: &str) -> Result<WorkloadName, PlanningError> {
        WorkloadName::new(text).or_else(|rule| self.fault(format!("`{text}` is no name: {rule}")))
    }

    fn pool(&self, text: &str) -> Result<PoolName, PlanningError> {
        PoolName::new(text).or_else(|rule| self.fault(format!("`{text}` is no name of a pool: {rule}")))
    }

    fn small(&self, columns: &[&str], default: u32) -> Result<u32, PlanningError> {
        let count = self.count(columns)?.unwrap_or(u64::from(default));
        u32::try_from(count).or_else(|_| self.fault(format!("`{}` is {count}: too many", columns[0])))
    }

    /// Columns `attribute.NAME`, and those that are common enough to have a name of their own.
    fn attributes(&self) -> BTreeMap<String, String> {
        let own = |(name, value): (&str, &str)| {
            let name = name
                .strip_prefix("attribute.")
                .or(["zone", "arch", "region"].contains(&name).then_some(name))?;
            (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        };
        self.header.iter().zip(self.record).filter_map(own).collect()
    }

    fn task(&self) -> Result<TaskGroup, PlanningError> {
        let Some(name) = self.text(&["name", "workload", "task"]) else {
            return self.fault("no `name`".to_owned());
        };
        let workload = self.workload(name)?;
        let priority = self.text(&["priority"]).map_or(Ok(0), str::parse::<i32>);
        let Ok(priority) = priority else { return self.fault("`priority` is no whole number".to_owned()) };
        let several = |text: &str| text.split('|').map(str::to_owned).collect();
        let constraints =
            self.attributes().iter().map(|(name, values)| Constraint::is_in(name, several(values))).collect();
        let mut anti_affinity = Vec::new();
        for rule in self.text(&["away_from"]).into_iter().flat_map(|text| text.split(';')) {
            let (other, by) = rule.split_once('@').unwrap_or((rule, BY_NODE));
            anti_affinity.push(Neighbour {
                workload: self.workload(other)?,
                by: by.to_owned(),
                required: true,
            });
        }
        let max_skew = self.small(&["max_skew"], 1)?;
        let spread_over = self.text(&["spread_over"]).map(|by| SpreadOver { by: by.to_owned(), max_skew });
        Ok(TaskGroup {
            workload,
            team: self.text(&["team"]).map(str::to_owned),
            count: self.small(&["count"], 1)?,
            priority,
            need: self.capacity()?,
            placement: PlacementSpec { constraints, spread_over, anti_affinity, ..PlacementSpec::default() },
        })
    }

    fn node_type(&self, overhead: Overhead) -> Result<Option<NodeType>, PlanningError> {
        let Some(name) = self.text(&["name", "instance_type", "type"]) else {
            return self.fault("no `name`".to_owned());
        };
        // Price lists have rows without a size: those cannot be planned with.
        if self.resources("")?.is_none() {
            return Ok(None);
        }
        let Some(price) = self.number(&["price_per_hour", "usd_per_hour"])? else {
            return self.fault("no `price_per_hour`".to_owned());
        };
        let spot = self.text(&["purchase"]) == Some(Purchase::Spot.as_str());
        let text = |column: &str, default: &str| self.text(&[column]).unwrap_or(default).to_owned();
        Ok(Some(NodeType {
            name: name.to_owned(),
            provider: text("provider", "file"),
            region: text("region", "any"),
            zone: self.text(&["zone"]).map(str::to_owned),
            arch: text("arch", "amd64"),
            machine: self.capacity()?,
            overhead,
            price_per_hour: MicroCents::from_units(price),
            purchase: if spot { Purchase::Spot } else { Purchase::OnDemand },
            boot_time: self.number(&["boot_seconds"])?.map(|s| jiff::SignedDuration::from_secs(s as i64)),
        }))
    }

    fn node(&self) -> Result<Existing, PlanningError> {
        let Some(name) = self.text(&["name", "sn", "node"]) else {
            return self.fault("no `name`".to_owned());
        };
        let capacity = self.capacity()?;
        let free = self.resources("free_")?.unwrap_or(capacity.base);
        Ok(Existing {
            name: name.to_owned(),
            pool: self.pool(self.text(&["pool"]).unwrap_or("given"))?,
            free: Capacity { base: free, extra: capacity.extra.clone() },
            capacity,
            price: MicroCents::from_units(self.number(&["price_per_hour", "usd_per_hour"])?.unwrap_or(0.0)),
            attributes: self.attributes(),
            reserved_for: Vec::new(),
            residents: BTreeMap::new(),
        })
    }
}

/// Reads all rows of a file.
fn rows<T>(
    path: &Path,
    mut read: impl FnMut(&Row<'_>) -> Result<Option<T>, PlanningError>,
) -> Result<Vec<T>, PlanningError> {
    let file = path.display().to_string();
    let broken = |row, error: csv::Error| PlanningError { file: file.clone(), row, what: error.to_string() };
    let mut reader =
        ReaderBuilder::new().trim(Trim::All).from_path(path).map_err(|error| broken(0, error))?;
    let header = reader.headers().map_err(|error| broken(0, error))?.clone();
    let mut found = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(|error| broken(at + 1, error))?;
        found.extend(read(&Row { file: &file, header: &header, record: &record, number: at + 1 })?);
    }
    if found.is_empty() {
        return Err(PlanningError { file, row: 0, what: "there are no rows that can be used".to_owned() });
    }
    Ok(found)
}

/// Reads tasks.
pub fn read_tasks(path: &Path) -> Result<Vec<TaskGroup>, PlanningError> {
    rows(path, |row| row.task().map(Some))
}

/// Reads node types; all of them keep the same overhead.
pub fn read_node_types(path: &Path, overhead: Overhead) -> Result<Vec<NodeType>, PlanningError> {
    rows(path, |row| row.node_type(overhead))
}

/// Reads nodes that are there.
pub fn read_nodes(path: &Path) -> Result<Vec<Existing>, PlanningError> {
    rows(path, |row| row.node().map(Some))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn tasks_read_with_their_rules() {
        let text = "name,count,cpu,memory,priority,zone,away_from,spread_over,gpu\n\
            web,3,0.5,512MiB,5,a|b,web;db@zone,,\nlearn,1,8,64GiB,,,,zone,2\n";
        let tasks = read_tasks(file(text).path()).expect("tasks");
        assert_eq!((tasks[0].count, tasks[0].priority), (3, 5));
        assert_eq!(tasks[0].need.base, Resources::new(Millicores::new(500), Bytes::mib(512)));
        assert_eq!(tasks[0].placement.constraints[0].any_of, ["a", "b"]);
        assert_eq!(tasks[0].placement.anti_affinity[1].by, "zone");
        assert_eq!(tasks[1].need.extra["gpu"], 2);
        assert_eq!(tasks[1].placement.spread_over.as_ref().map(|spread| spread.by.as_str()), Some("zone"));
    }

    #[test]
    fn public_inventories_and_price_lists_read_as_they_are() {
        let pods = "name,cpu_milli,memory_mib,num_gpu\nopenb-pod-0000,12000,16384,1\n";
        assert_eq!(read_tasks(file(pods).path()).expect("tasks")[0].need.base.cpu, Millicores::new(12000));
        let prices = "region,instance_type,usd_per_hour,vcpu,mem_mib,gpu,arch\nus-east-1,a1.large,0.051,2,4096,0,arm64\n\
            us-east-1,odd,0.1,,,0,amd64\n";
        let types = read_node_types(file(prices).path(), Overhead::NONE).expect("types");
        assert_eq!((types.len(), types[0].arch.as_str()), (1, "arm64"));
        let nodes = "sn,cpu_milli,memory_mib,gpu,model\nn0,32000,262144,0,\n";
        assert_eq!(read_nodes(file(nodes).path()).expect("nodes")[0].free.base.cpu, Millicores::new(32000));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_row() {
        let told = |text: &str| read_tasks(file(text).path()).expect_err("a mistake").to_string();
        assert!(told("name,cpu,memory\nweb,many,1GiB\n").contains("row 1: `cpu` is `many`"));
        assert!(told("name,cpu,memory\nweb,1,1GiB\nweb 2,1,1GiB\n").contains("row 2: `web 2` is no name"));
        assert!(told("name,cpu,memory\nweb,1,lots\n").contains("such as 512MiB"));
        assert!(told("name,cpu,memory\n").contains("no rows"));
        assert!(told("name\nweb\n").contains("cpu (cores)"));
    }
}
