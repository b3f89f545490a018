//! Rows of the history as columns of polars, and back: the only place that knows the columns of its files.

use std::collections::{HashMap, HashSet};

use polars::prelude::*;

use crate::domain::node::NodeName;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::task_time::{Measured, TaskSeries, TaskTime};
use crate::domain::workload::{Owner, WorkloadKind, WorkloadName};

/// What tells a series.
pub(super) const SERIES: [&str; 9] =
    ["series", "workload", "task", "node", "kind", "team", "cost_centre", "cpu_request", "memory_request"];

/// What hours are made of. Amounts of memory pass 64 bits: they are kept as whole MiB-microseconds and the
/// byte-microseconds that are left.
pub(super) const SUMS: [&str; 10] = [
    "series",
    "time",
    "measured",
    "microseconds",
    "cpu_within",
    "cpu_over",
    "memory_within",
    "memory_within_rest",
    "memory_over",
    "memory_over_rest",
];

/// Byte-microseconds of a MiB-microsecond.
const MIB: u128 = 1 << 20;
/// Keys of one series: hours of a day, and what was measured in them.
const KEYS: i64 = 25 * 3;

fn amount(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The number of a series as it is kept: a file has fewer than two thousand million.
pub(super) fn number_of(series: u32) -> i32 {
    i32::try_from(series).unwrap_or(i32::MAX)
}

fn mebi(value: u128) -> i64 {
    i64::try_from(value / MIB).unwrap_or(i64::MAX)
}

fn rest(value: u128) -> i64 {
    i64::try_from(value % MIB).unwrap_or_default()
}

/// Rows as columns.
pub(super) fn frame(series: &[TaskSeries], rows: &[TaskTime]) -> PolarsResult<DataFrame> {
    let of = |row: &TaskTime| series.get(row.series as usize);
    let text = |name: &str, of_series: &dyn Fn(&TaskSeries) -> Option<String>| {
        let each: Vec<Option<String>> = series.iter().map(of_series).collect();
        let values = rows.iter().map(|row| each.get(row.series as usize).and_then(|value| value.as_deref()));
        values.collect::<StringChunked>().with_name(name.into()).into_column()
    };
    let number = |name: &str, value: &dyn Fn(&TaskTime) -> i64| {
        Column::new(name.into(), rows.iter().map(value).collect::<Vec<_>>())
    };
    let small = |name: &str, value: &dyn Fn(&TaskTime) -> i32| {
        Column::new(name.into(), rows.iter().map(value).collect::<Vec<_>>())
    };
    let request = |row: &TaskTime| of(row).map_or(Resources::ZERO, |series| series.request);
    let columns = vec![
        text("workload", &|series| Some(series.task.workload().to_string())),
        number("task", &|row| of(row).map_or(0, |series| amount(series.task.number()))),
        text("node", &|series| series.node.as_ref().map(ToString::to_string)),
        text("kind", &|series| series.kind.map(|kind| kind.to_string())),
        text("team", &|series| series.owner.team.clone()),
        text("cost_centre", &|series| series.owner.cost_centre.clone()),
        number("cpu_request", &|row| amount(request(row).cpu.get())),
        number("memory_request", &|row| amount(request(row).memory.get())),
        small("series", &|row| number_of(row.series)),
        number("time", &|row| row.start),
        small("measured", &|row| row.measured.code()),
        number("microseconds", &|row| row.micros),
        number("cpu_within", &|row| row.cpu_within),
        number("cpu_over", &|row| row.cpu_over),
        number("memory_within", &|row| mebi(row.memory_within)),
        number("memory_within_rest", &|row| rest(row.memory_within)),
        number("memory_over", &|row| mebi(row.memory_over)),
        number("memory_over_rest", &|row| rest(row.memory_over)),
    ];
    DataFrame::new(rows.len(), columns)
}

/// The columns of a file.
pub(super) fn schema() -> Schema {
    frame(&[], &[]).map(|frame| frame.schema().as_ref().clone()).unwrap_or_default()
}

/// Series, hour and what was measured as one number: a key of one column is the cheapest one.
pub(super) fn key(begin: i64) -> Expr {
    let hour = col("time") / lit(3600_i64) - lit(begin.div_euclid(3600));
    col("series").cast(DataType::Int64) * lit(KEYS)
        + hour * lit(3_i64)
        + col("measured").cast(DataType::Int64)
}

/// What is added up.
pub(super) fn hours_of() -> Vec<Expr> {
    SUMS[3..].iter().map(|name| col(*name).sum()).collect()
}

fn wrong(problem: &str) -> PolarsError {
    PolarsError::ComputeError(problem.to_owned().into())
}

/// The amounts of rows, a slice a column.
struct Amounts(Vec<Int64Chunked>);

impl Amounts {
    fn of(rows: &DataFrame) -> PolarsResult<Self> {
        let column = |name: &&str| Ok(rows.column(name)?.i64()?.rechunk().into_owned());
        SUMS[3..].iter().map(column).collect::<PolarsResult<_>>().map(Self)
    }

    /// The rows; `which` tells the series, the start and what was measured of each.
    fn rows(
        &self,
        mut which: impl FnMut(usize) -> PolarsResult<Option<(u32, i64, i32)>>,
        rows: &mut Vec<TaskTime>,
    ) -> PolarsResult<()> {
        let columns: Vec<&[i64]> =
            self.0.iter().map(ChunkedArray::cont_slice).collect::<PolarsResult<_>>()?;
        let [micros, cpu_within, cpu_over, within, within_rest, over, over_rest] = columns[..] else {
            return Err(wrong("columns are missing"));
        };
        let wide = |whole: i64, rest: i64| {
            u128::from(whole.max(0).unsigned_abs()) * MIB + u128::from(rest.max(0).unsigned_abs())
        };
        rows.reserve(micros.len());
        for row in 0..micros.len() {
            let Some((series, start, code)) = which(row)? else { continue };
            rows.push(TaskTime {
                series,
                start,
                measured: Measured::of_code(code).ok_or_else(|| wrong("`measured` is none of 0, 1, 2"))?,
                micros: micros[row],
                cpu_within: cpu_within[row],
                cpu_over: cpu_over[row],
                memory_within: wide(within[row], within_rest[row]),
                memory_over: wide(over[row], over_rest[row]),
            });
        }
        Ok(())
    }
}

/// The rows that sums by key stand for.
pub(super) fn read_sums(sums: &DataFrame, begin: i64, rows: &mut Vec<TaskTime>) -> PolarsResult<()> {
    let first = begin.div_euclid(3600);
    let keys = sums.column("key")?.i64()?.rechunk();
    let keys = keys.cont_slice()?;
    let which = |row: usize| {
        let key = keys[row];
        let series = u32::try_from(key.div_euclid(KEYS)).map_err(|_| wrong("a series is negative"))?;
        let within_day = key.rem_euclid(KEYS);
        Ok(Some((series, (first + within_day / 3) * 3600, (within_day % 3) as i32)))
    };
    Amounts::of(sums)?.rows(which, rows)
}

/// The rows that begin in the time from `begin` to `end`, as they are.
pub(super) fn read_rows(
    found: &DataFrame,
    (begin, end): (i64, i64),
    rows: &mut Vec<TaskTime>,
) -> PolarsResult<()> {
    let (series, measured) =
        (found.column("series")?.i32()?.rechunk(), found.column("measured")?.i32()?.rechunk());
    let times = found.column("time")?.i64()?.rechunk();
    let (series, measured, times) = (series.cont_slice()?, measured.cont_slice()?, times.cont_slice()?);
    let which = |row: usize| {
        if !(begin..end).contains(&times[row]) {
            return Ok(None);
        }
        let series = u32::try_from(series[row]).map_err(|_| wrong("a series is negative"))?;
        Ok(Some((series, times[row], measured[row])))
    };
    Amounts::of(found)?.rows(which, rows)
}

/// The first row of each series that is not known yet.
fn first_rows(rows: &DataFrame, known: &HashMap<u32, TaskSeries>) -> PolarsResult<Vec<IdxSize>> {
    let (mut found, mut seen, mut last) = (Vec::new(), HashSet::new(), None);
    for (row, number) in (0..).zip(rows.column("series")?.i32()?.iter()) {
        // Rows of a series mostly stand beside each other.
        if number == last {
            continue;
        }
        last = number;
        let number = number.and_then(|number| u32::try_from(number).ok());
        let number = number.ok_or_else(|| wrong("a row has no series"))?;
        if !known.contains_key(&number) && seen.insert(number) {
            found.push(row);
        }
    }
    Ok(found)
}

/// Adds the series of some rows to those that are known.
pub(super) fn series_of(rows: &DataFrame, known: &mut HashMap<u32, TaskSeries>) -> PolarsResult<()> {
    let first = first_rows(rows, known)?;
    let found = rows.select(SERIES)?.take(&IdxCa::from_vec("row".into(), first))?;
    let numbers = found.column("series")?.i32()?;
    let text = |name: &str| found.column(name)?.str();
    let whole = |name: &str| found.column(name)?.i64();
    let (workloads, nodes, kinds) = (text("workload")?, text("node")?, text("kind")?);
    let (teams, centres) = (text("team")?, text("cost_centre")?);
    let (tasks, cpu, memory) = (whole("task")?, whole("cpu_request")?, whole("memory_request")?);
    let count = |column: &Int64Chunked, row| column.get(row).unwrap_or_default().max(0).unsigned_abs();
    for row in 0..found.height() {
        let number = numbers.get(row).and_then(|number| u32::try_from(number).ok());
        let number = number.ok_or_else(|| wrong("a row has no series"))?;
        let workload = workloads.get(row).and_then(|name| WorkloadName::new(name).ok());
        let workload = workload.ok_or_else(|| wrong("a name of a workload is none"))?;
        let node = match nodes.get(row) {
            Some(name) => Some(NodeName::new(name).map_err(|_| wrong("a name of a node is none"))?),
            None => None,
        };
        let kind = [WorkloadKind::Service, WorkloadKind::CronJob, WorkloadKind::Job]
            .into_iter()
            .find(|kind| kinds.get(row) == Some(&kind.to_string()));
        let owner = Owner {
            team: teams.get(row).map(str::to_owned),
            cost_centre: centres.get(row).map(str::to_owned),
        };
        let request = Resources::new(Millicores::new(count(cpu, row)), Bytes::new(count(memory, row)));
        let task = TaskId::new(workload, count(tasks, row));
        known.insert(number, TaskSeries { task, node, kind, owner, request });
    }
    Ok(())
}

/// Series by number; none where a number is missing.
pub(super) fn series_table(known: HashMap<u32, TaskSeries>) -> Option<Vec<TaskSeries>> {
    let mut known: Vec<(u32, TaskSeries)> = known.into_iter().collect();
    known.sort_unstable_by_key(|(number, _)| *number);
    let dense = (0..).zip(&known).all(|(expected, (number, _))| expected == *number);
    dense.then(|| known.into_iter().map(|(_, series)| series).collect())
}
