//! In: `UsageSample` and `LoadSample`, a batch each time the loops have looked.
//! Out: the same samples over a range of time, for estimates, reports and traces.
//!
//! `History`. Instants of samples are kept to the microsecond.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, params};

use super::SqliteStore;
use super::columns::{count, microseconds, read_count, read_microseconds};
use super::fault::Fault;
use crate::domain::load::LoadSample;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::ports::history::{History, UsagePart};
use crate::ports::store::StoreError;

/// A sample that is there already is the same sample: an append that is repeated adds nothing.
const INSERT_USAGE: &str = "INSERT INTO usage (at_us, workload, task_number, interval_seconds, cpu_cores,
        throttled_share, memory, page_cache, cpu_request, memory_request, oom_kills)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING";

const INSERT_LOAD: &str = "INSERT INTO load (at_us, workload, requests_per_second, errors_per_second,
        latency_p50, latency_p95, ready)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";

/// The columns of a usage sample, as `read_usage` wants them.
const USAGE: &str = "at_us, workload, task_number, interval_seconds, cpu_cores, throttled_share, memory,
    page_cache, cpu_request, memory_request, oom_kills";

/// No sample covers a longer interval (`domain::usage` cuts longer ones); a second more for what was rounded.
const INTERVAL_MAX_US: i64 = 601_000_000;

const COURSE: &str =
    "SELECT (at_us - ?1) / ?4, count(*), avg(cpu_cores), max(cpu_cores), avg(memory), max(memory)
    FROM usage WHERE at_us >= ?1 AND at_us < ?2 AND workload = ?3 GROUP BY 1 ORDER BY 1";

impl History for SqliteStore {
    fn append(&self, usage: &[UsageSample], load: &[LoadSample]) -> Result<(), StoreError> {
        if usage.is_empty() && load.is_empty() {
            return Ok(());
        }
        self.write("append samples", |transaction| {
            let mut insert = transaction.prepare_cached(INSERT_USAGE)?;
            for sample in usage {
                insert.execute(params![
                    microseconds(sample.at),
                    sample.workload.as_str(),
                    count(sample.task.number()),
                    sample.interval_seconds,
                    sample.cpu_cores,
                    sample.throttled_share,
                    count(sample.memory.get()),
                    sample.page_cache.map(|bytes| count(bytes.get())),
                    count(sample.request.cpu.get()),
                    count(sample.request.memory.get()),
                    count(sample.oom_kills),
                ])?;
            }
            let mut insert = transaction.prepare_cached(INSERT_LOAD)?;
            for sample in load {
                insert.execute(params![
                    microseconds(sample.at),
                    sample.workload.as_str(),
                    sample.requests_per_second,
                    sample.errors_per_second,
                    sample.latency_p50,
                    sample.latency_p95,
                    sample.ready,
                ])?;
            }
            Ok(())
        })
    }

    fn usage(
        &self,
        workload: Option<&WorkloadName>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageSample>, StoreError> {
        self.samples(&range("usage", USAGE, workload), workload, (from, to), read_usage)
    }

    fn usage_touching(&self, from: Timestamp, to: Timestamp) -> Result<Vec<UsageSample>, StoreError> {
        let query = format!(
            "SELECT {USAGE} FROM usage WHERE at_us > ?1 AND at_us < ?2 + {INTERVAL_MAX_US}
                AND at_us - interval_seconds * 1000000 < ?2 + 1 AND ?3 IS NULL ORDER BY at_us"
        );
        self.samples(&query, None, (from, to), read_usage)
    }

    fn oldest_usage(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read("read the oldest sample", |connection| {
            let mut statement = connection.prepare_cached("SELECT min(at_us) FROM usage")?;
            let oldest: Option<i64> = statement.query_row([], |row| row.get(0))?;
            oldest.map(read_microseconds).transpose()
        })
    }

    fn usage_course(
        &self,
        workload: &WorkloadName,
        from: Timestamp,
        to: Timestamp,
        width: SignedDuration,
    ) -> Result<Vec<UsagePart>, StoreError> {
        let width = i64::try_from(width.as_micros()).unwrap_or(i64::MAX).max(1);
        let begin = microseconds(from);
        self.read("read the course of usage", |connection| {
            let mut statement = connection.prepare_cached(COURSE)?;
            let mut rows = statement.query(params![begin, microseconds(to), workload.as_str(), width])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(UsagePart {
                    at: read_microseconds(begin.saturating_add(row.get::<_, i64>(0)?.saturating_mul(width)))?,
                    samples: read_count(row.get(1)?)?,
                    cpu_mean: row.get(2)?,
                    cpu_max: row.get(3)?,
                    memory_mean: Bytes::from_f64(row.get(4)?),
                    memory_max: Bytes::new(read_count(row.get(5)?)?),
                });
            }
            Ok(found)
        })
    }

    fn load(
        &self,
        workload: Option<&WorkloadName>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<LoadSample>, StoreError> {
        let columns = "at_us, workload, requests_per_second, errors_per_second, latency_p50, latency_p95,
            ready";
        self.samples(&range("load", columns, workload), workload, (from, to), read_load)
    }
}

impl SqliteStore {
    fn samples<T>(
        &self,
        query: &str,
        workload: Option<&WorkloadName>,
        (from, to): (Timestamp, Timestamp),
        read: impl Fn(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, StoreError> {
        self.read("read samples", |connection| {
            let mut statement = connection.prepare_cached(query)?;
            let workload = workload.map(WorkloadName::as_str);
            let mut rows = statement.query(params![microseconds(from), microseconds(to), workload])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        })
    }
}

/// The query for a range of time, in the order of time.
fn range(table: &str, columns: &str, workload: Option<&WorkloadName>) -> String {
    let of = if workload.is_some() { "workload = ?3" } else { "?3 IS NULL" };
    format!("SELECT {columns} FROM {table} WHERE at_us >= ?1 AND at_us < ?2 AND {of} ORDER BY at_us")
}

/// The workload in the second column of a sample's row.
fn workload_of(row: &Row<'_>) -> Result<WorkloadName, Fault> {
    let name = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
    WorkloadName::new(name).map_err(|rule| Fault::Content(format!("workload `{name}`: {rule}")))
}

fn read_usage(row: &Row<'_>) -> Result<UsageSample, Fault> {
    let workload = workload_of(row)?;
    Ok(UsageSample {
        task: TaskId::new(workload.clone(), read_count(row.get(2)?)?),
        workload,
        at: read_microseconds(row.get(0)?)?,
        interval_seconds: row.get(3)?,
        cpu_cores: row.get(4)?,
        throttled_share: row.get(5)?,
        memory: Bytes::new(read_count(row.get(6)?)?),
        page_cache: row.get::<_, Option<i64>>(7)?.map(read_count).transpose()?.map(Bytes::new),
        request: Resources::new(
            Millicores::new(read_count(row.get(8)?)?),
            Bytes::new(read_count(row.get(9)?)?),
        ),
        oom_kills: read_count(row.get(10)?)?,
    })
}

fn read_load(row: &Row<'_>) -> Result<LoadSample, Fault> {
    Ok(LoadSample {
        workload: workload_of(row)?,
        at: read_microseconds(row.get(0)?)?,
        requests_per_second: row.get(2)?,
        errors_per_second: row.get(3)?,
        latency_p50: row.get(4)?,
        latency_p95: row.get(5)?,
        ready: row.get(6)?,
    })
}
