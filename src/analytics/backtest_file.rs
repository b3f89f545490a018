//! Files of what policies said in a backtest, by polars: limits and kills, with names in place of numbers.

use polars::prelude::*;
use polars_io::prelude::ParquetWriter;

use crate::analytics::AnalyticsError;
use crate::replay::grid::Trace;
use crate::replay::horizontal::Asked;
use crate::replay::vertical::Record;

/// `policy, workload, task, time, memory_limit, cpu_request`: a row at each change.
pub(super) fn limits(policy: &str, trace: &Trace, record: &Record) -> Result<Vec<u8>, AnalyticsError> {
    let rows = &record.limits;
    let workloads = rows.iter().map(|row| workload(trace, row.workload)).collect();
    let tasks = rows.iter().map(|row| row.task.and_then(|task| task_name(trace, row.workload, task)));
    let mut columns = names(policy, workloads, tasks.collect());
    columns.push(Column::new("time".into(), rows.iter().map(|row| row.time).collect::<Vec<_>>()));
    columns.push(Column::new("memory_limit".into(), rows.iter().map(|row| row.memory).collect::<Vec<_>>()));
    columns.push(Column::new("cpu_request".into(), rows.iter().map(|row| row.cpu).collect::<Vec<_>>()));
    encode(rows.len(), columns)
}

/// `policy, workload, task, time`: a row a kill.
pub(super) fn kills(policy: &str, trace: &Trace, record: &Record) -> Result<Vec<u8>, AnalyticsError> {
    let rows = &record.kills;
    let workloads = rows.iter().map(|row| workload(trace, row.workload)).collect();
    let tasks = rows.iter().map(|row| task_name(trace, row.workload, row.task)).collect();
    let mut columns = names(policy, workloads, tasks);
    columns.push(Column::new("time".into(), rows.iter().map(|row| row.time).collect::<Vec<_>>()));
    encode(rows.len(), columns)
}

/// `policy, series, time, count`: a row at each change.
pub(super) fn counts(policy: &str, rows: &[(String, Asked)]) -> Result<Vec<u8>, AnalyticsError> {
    let policies: StringChunked = std::iter::repeat_n(Some(policy), rows.len()).collect();
    let series: StringChunked = rows.iter().map(|(series, _)| Some(series.as_str())).collect();
    let columns = vec![
        policies.with_name("policy".into()).into_column(),
        series.with_name("series".into()).into_column(),
        Column::new("time".into(), rows.iter().map(|(_, row)| row.at).collect::<Vec<_>>()),
        Column::new("count".into(), rows.iter().map(|(_, row)| row.count).collect::<Vec<_>>()),
    ];
    encode(rows.len(), columns)
}

fn workload(trace: &Trace, place: u32) -> Option<&str> {
    trace.workloads.get(place as usize).map(|workload| workload.name.as_str())
}

fn task_name(trace: &Trace, workload: u32, task: u32) -> Option<&str> {
    trace.workloads.get(workload as usize)?.tasks.get(task as usize).map(String::as_str)
}

fn names(policy: &str, workloads: StringChunked, tasks: StringChunked) -> Vec<Column> {
    let policies: StringChunked = std::iter::repeat_n(Some(policy), workloads.len()).collect();
    vec![
        policies.with_name("policy".into()).into_column(),
        workloads.with_name("workload".into()).into_column(),
        tasks.with_name("task".into()).into_column(),
    ]
}

fn encode(rows: usize, columns: Vec<Column>) -> Result<Vec<u8>, AnalyticsError> {
    let failed = |source| AnalyticsError::Frame {
        operation: "write what a policy said".to_owned(),
        source: Box::new(source),
    };
    let mut frame = DataFrame::new(rows, columns).map_err(failed)?;
    let mut content = Vec::new();
    ParquetWriter::new(&mut content).finish(&mut frame).map_err(failed)?;
    Ok(content)
}
