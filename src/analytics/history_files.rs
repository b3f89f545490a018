//! The history as Parquet, a folder a day of UTC: `day=2026-11-23/part-1000.parquet` while the day goes on,
//! `day=2026-11-23/day.parquet` once it is over.
//!
//! In: rows a task and step. Out: files that any reader of Parquet understands, and their rows added up to hours
//! by polars. Not here: which files count (`domain::history_book`), what rows mean (`accounting::task_times`).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Cursor, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use polars::prelude::*;
use polars_io::SerReader;
use polars_io::parquet::read::ParallelStrategy;
use polars_io::prelude::{ParquetReader, ParquetWriter};
use sha2::{Digest, Sha256};

use crate::analytics::history_rows::{
    SERIES, SUMS, frame, hours_of, key, number_of, read_sums, schema, series_of, series_table,
};
use crate::domain::history_book::HistoryFile;
use crate::domain::task_time::{TaskSeries, TaskTimes};
use crate::ports::task_times::{TaskTimeFiles, TaskTimesError};

/// Rows of a row group: what is held at a time.
const GROUP: usize = 1 << 18;
/// A file is hashed in pieces of this length.
const PIECE: usize = 1 << 20;

/// The history under a folder.
#[derive(Debug)]
pub(super) struct ParquetHistory {
    folder: PathBuf,
}

fn failed(operation: &'static str, name: &str) -> impl FnOnce(std::io::Error) -> TaskTimesError {
    let file = name.to_owned();
    move |source| match source.kind() {
        ErrorKind::NotFound if operation == "read" => TaskTimesError::Missing { file },
        _ => TaskTimesError::Failed { operation, file, source: Box::new(source) },
    }
}

fn refused(operation: &'static str, name: &str) -> impl FnOnce(PolarsError) -> TaskTimesError {
    let file = name.to_owned();
    move |source| match operation {
        "read" => TaskTimesError::Damaged { file, problem: source.to_string() },
        _ => TaskTimesError::Failed { operation, file, source: Box::new(source) },
    }
}

/// What a new file tells of.
struct Told {
    from: Timestamp,
    until: Timestamp,
    rows: u64,
    task_microseconds: i64,
}

impl ParquetHistory {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes a file under another name, and gives it its own once it is on disk.
    fn put(
        &self,
        name: &str,
        told: &Told,
        content: impl FnOnce(File) -> Result<(), TaskTimesError>,
    ) -> Result<HistoryFile, TaskTimesError> {
        let path = self.folder.join(name);
        let partial = path.with_extension("partial");
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(failed("make the folder of", name))?;
        let written = (|| {
            let write = || failed("write", name);
            let file = File::create(&partial).map_err(write())?;
            content(file.try_clone().map_err(write())?)?;
            file.sync_all().map_err(write())?;
            let (bytes, sha256) = digest(&partial).map_err(write())?;
            fs::rename(&partial, &path).map_err(write())?;
            for folder in [folder, self.folder.as_path()] {
                File::open(folder).and_then(|folder| folder.sync_all()).map_err(write())?;
            }
            Ok((bytes, sha256))
        })();
        if written.is_err() {
            // The error tells more than a failure to clean up after it.
            let _ = fs::remove_file(&partial);
        }
        let (bytes, sha256) = written?;
        Ok(HistoryFile {
            name: name.to_owned(),
            from: told.from,
            until: told.until,
            rows: told.rows,
            bytes,
            sha256,
            task_microseconds: told.task_microseconds,
        })
    }

    /// The content of a file, which is what was written: what is damaged never comes to the reader of Parquet.
    fn content(&self, file: &HistoryFile) -> Result<Vec<u8>, TaskTimesError> {
        let content = fs::read(self.folder.join(&file.name)).map_err(failed("read", &file.name))?;
        let damaged = |problem: String| TaskTimesError::Damaged { file: file.name.clone(), problem };
        if content.len() as u64 != file.bytes {
            return Err(damaged(format!("it has {} bytes, {} were written", content.len(), file.bytes)));
        }
        if hex::encode(Sha256::digest(&content)) != file.sha256 {
            return Err(damaged("its content is not what was written".to_owned()));
        }
        Ok(content)
    }
}

fn digest(path: &Path) -> std::io::Result<(u64, String)> {
    use std::io::Read;
    let (mut file, mut hash, mut bytes) = (File::open(path)?, Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
    }
}

fn day_folder(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("day=%Y-%m-%d").to_string()
}

/// The row groups of a file, one after the other, with the columns that are wanted.
fn groups(
    content: &[u8],
    columns: Option<&[&str]>,
    mut each: impl FnMut(DataFrame) -> PolarsResult<()>,
) -> PolarsResult<()> {
    let whole = ParquetReader::new(Cursor::new(content)).get_metadata()?.clone();
    for group in &whole.row_groups {
        let mut one = (*whole).clone();
        one.num_rows = group.num_rows();
        one.row_groups = vec![group.clone()];
        let mut reader = ParquetReader::new(Cursor::new(content)).read_parallel(ParallelStrategy::Columns);
        reader.set_metadata(Arc::new(one));
        let wanted = columns.map(|columns| columns.iter().map(|&name| name.to_owned()).collect());
        each(reader.with_columns(wanted).finish()?)?;
    }
    Ok(())
}

impl TaskTimeFiles for ParquetHistory {
    fn write(
        &self,
        from: Timestamp,
        until: Timestamp,
        times: &TaskTimes,
    ) -> Result<HistoryFile, TaskTimesError> {
        let begin = from.to_zoned(TimeZone::UTC).strftime("%H%M").to_string();
        let name = format!("{}/part-{begin}.parquet", day_folder(from));
        let rows = times.rows.len() as u64;
        let told = Told { from, until, rows, task_microseconds: times.micros() };
        self.put(&name, &told, |file| {
            let write = || refused("write", &name);
            let mut writer = ParquetWriter::new(file).batched(&schema()).map_err(write())?;
            for rows in times.rows.chunks(GROUP) {
                writer.write_batch(&frame(&times.series, rows).map_err(write())?).map_err(write())?;
            }
            writer.finish().map(|_| ()).map_err(write())
        })
    }

    fn merge(&self, parts: &[HistoryFile]) -> Result<HistoryFile, TaskTimesError> {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Err(TaskTimesError::Damaged {
                file: "history".to_owned(),
                problem: "no parts".to_owned(),
            });
        };
        let name = format!("{}/day.parquet", day_folder(first.from));
        let told = Told {
            from: first.from,
            until: last.until,
            rows: parts.iter().map(|part| part.rows).sum(),
            task_microseconds: parts.iter().map(|part| part.task_microseconds).sum(),
        };
        self.put(&name, &told, |file| {
            let write = || refused("write", &name);
            let writer = ParquetWriter::new(file).batched(&schema()).map_err(write())?;
            let mut merged = Merged { writer, numbers: HashMap::new(), waiting: None };
            for part in parts {
                merged.take_in(&self.content(part)?).map_err(refused("read", &part.name))?;
            }
            merged.finish().map_err(write())
        })
    }

    fn hours(
        &self,
        file: &HistoryFile,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<TaskTimes, TaskTimesError> {
        let content = self.content(file)?;
        let mut found = TaskTimes::default();
        let mut known: HashMap<u32, TaskSeries> = HashMap::new();
        let (begin, end) = (from.as_second(), until.as_second());
        let read = groups(&content, Some(&SUMS), |group| {
            let rows = group.lazy().filter(col("time").gt_eq(lit(begin)).and(col("time").lt(lit(end))));
            let sums = rows.group_by([key(begin).alias("key")]).agg(hours_of()).collect()?;
            read_sums(&sums, begin, &mut found.rows)
        });
        read.map_err(refused("read", &file.name))?;
        groups(&content, Some(&SERIES), |group| series_of(group, &mut known))
            .map_err(refused("read", &file.name))?;
        found.series = series_table(known).ok_or_else(|| TaskTimesError::Damaged {
            file: file.name.clone(),
            problem: "series are missing".to_owned(),
        })?;
        Ok(found)
    }

    fn remove(&self, file: &HistoryFile) -> Result<(), TaskTimesError> {
        let path = self.folder.join(&file.name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("delete", &file.name)(error)),
            _ => {
                // The folder of a day goes with its last file.
                if let Some(folder) = path.parent() {
                    let _ = fs::remove_dir(folder);
                }
                Ok(())
            }
        }
    }
}

/// A day that is being merged.
struct Merged<W: Write> {
    writer: polars_io::parquet::write::BatchedWriter<W>,
    numbers: HashMap<TaskSeries, i32>,
    waiting: Option<DataFrame>,
}

impl<W: Write> Merged<W> {
    /// Takes in a part, whose series get the numbers that they have in the whole.
    fn take_in(&mut self, content: &[u8]) -> PolarsResult<()> {
        groups(content, None, |mut group| {
            let mut known = HashMap::new();
            series_of(group.clone(), &mut known)?;
            let mut numbers: HashMap<i32, i32> = HashMap::new();
            let mut known: Vec<(u32, TaskSeries)> = known.into_iter().collect();
            known.sort_unstable_by_key(|(number, _)| *number);
            for (number, series) in known {
                let next = number_of(self.numbers.len() as u32);
                numbers.insert(number_of(number), *self.numbers.entry(series).or_insert(next));
            }
            let series = group.column("series")?.i32()?;
            let renumbered: Int32Chunked =
                series.iter().map(|number| numbers.get(&number?).copied()).collect();
            group.replace("series", renumbered.with_name("series".into()).into_column())?;
            match &mut self.waiting {
                Some(waiting) => {
                    waiting.vstack_mut(&group)?;
                }
                None => self.waiting = Some(group),
            }
            if self.waiting.as_ref().is_some_and(|waiting| waiting.height() >= GROUP) {
                self.flush()?;
            }
            Ok(())
        })
    }

    fn flush(&mut self) -> PolarsResult<()> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        // Rows of a series beside each other take less room.
        let sorted = waiting.sort(["series", "time"], SortMultipleOptions::default())?;
        self.writer.write_batch(&sorted)
    }

    fn finish(mut self) -> PolarsResult<()> {
        self.flush()?;
        self.writer.finish().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::node::NodeName;
    use crate::domain::quantity::{Bytes, Millicores, Resources};
    use crate::domain::task_time::{Measured, TaskTime};
    use crate::domain::workload::{Owner, WorkloadKind};

    fn at(minute: i64) -> Timestamp {
        "2026-11-22T00:00:00Z".parse::<Timestamp>().expect("a time") + SignedDuration::from_mins(minute)
    }

    /// So many tasks over so many steps; every third step is not measured.
    fn times(tasks: u64, from: i64, until: i64) -> TaskTimes {
        let series = |number: u64| TaskSeries {
            task: format!("web.{number}").parse().expect("an id"),
            node: (number > 1).then(|| NodeName::new("small-1").expect("a name")),
            kind: Some(WorkloadKind::Service),
            owner: Owner { team: Some("shop".to_owned()), cost_centre: None },
            request: Resources::new(Millicores::new(100 * number), Bytes::new(u64::MAX >> 2)),
        };
        let row = |series: u64, minute: i64| TaskTime {
            series: series as u32,
            start: at(minute).as_second(),
            measured: if minute % 15 == 0 { Measured::Nothing } else { Measured::Both },
            micros: 300_000_000,
            cpu_within: 7,
            cpu_over: 1,
            memory_within: (1 << 75) + 12_345_678_901,
            memory_over: 3,
        };
        TaskTimes {
            series: (1..=tasks).map(series).collect(),
            rows: (0..tasks)
                .flat_map(|series| (from..until).step_by(5).map(move |minute| row(series, minute)))
                .collect(),
        }
    }

    fn sorted(times: &TaskTimes) -> Vec<(TaskSeries, TaskTime)> {
        let series = |row: &TaskTime| times.series[row.series as usize].clone();
        let mut all: Vec<_> =
            times.rows.iter().map(|row| (series(row), TaskTime { series: 0, ..*row })).collect();
        all.sort_by_key(|(series, row)| (series.task.clone(), row.start, row.measured));
        all
    }

    #[test]
    fn hours_are_the_same_from_parts_and_from_the_merged_day_and_nothing_is_rounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ParquetHistory::new(folder.path().to_owned());
        let parts: Vec<HistoryFile> = [(22 * 60, 23 * 60, 3), (23 * 60, 24 * 60, 5)]
            .into_iter()
            .map(|(from, to, tasks)| files.write(at(from), at(to), &times(tasks, from, to)).expect("written"))
            .collect();
        assert_eq!(parts[0].name, "day=2026-11-22/part-2200.parquet");
        let first = files.hours(&parts[0], at(22 * 60), at(23 * 60)).expect("hours");
        assert_eq!(first.rows.len(), 3 * 2, "a row a task, and what was measured");
        let (_, hour) =
            sorted(&first).into_iter().find(|(_, row)| row.measured == Measured::Both).expect("one");
        assert_eq!((hour.micros, hour.cpu_within, hour.cpu_over), (8 * 300_000_000, 56, 8));
        assert_eq!((hour.memory_within, hour.memory_over), (8 * ((1_u128 << 75) + 12_345_678_901), 24));

        let whole = files.merge(&parts).expect("merged");
        assert_eq!((whole.rows, whole.name.as_str()), (3 * 12 + 5 * 12, "day=2026-11-22/day.parquet"));
        let merged = files.hours(&whole, at(22 * 60), at(24 * 60)).expect("hours");
        let mut expected = sorted(&first);
        expected.extend(sorted(&files.hours(&parts[1], at(23 * 60), at(24 * 60)).expect("hours")));
        expected.sort_by_key(|(series, row)| (series.task.clone(), row.start, row.measured));
        assert_eq!(sorted(&merged), expected);
        // Part of an hour.
        let some = files.hours(&whole, at(23 * 60 + 50), at(24 * 60)).expect("hours");
        assert_eq!(some.micros(), 5 * 2 * 300_000_000);
        for part in &parts {
            files.remove(part).expect("gone");
            files.remove(part).expect("gone already");
        }
        files.remove(&whole).expect("gone");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn what_is_damaged_or_missing_is_told_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ParquetHistory::new(folder.path().to_owned());
        let file = files.write(at(0), at(60), &times(2, 0, 60)).expect("written");
        let path = folder.path().join(&file.name);
        let good = fs::read(&path).expect("a file");
        let told = || files.hours(&file, at(0), at(60)).expect_err("an error").to_string();
        for place in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            fs::write(&path, &bad).expect("written");
            assert_eq!(told(), format!("{} is damaged: its content is not what was written", file.name));
        }
        fs::write(&path, &good[..good.len() - 1]).expect("written");
        assert!(told().contains("bytes"), "{}", told());
        fs::remove_file(&path).expect("gone");
        assert_eq!(told(), format!("{} is missing", file.name));
        // What was cut off while it was written is not in the way.
        fs::write(path.with_extension("partial"), "PAR1").expect("written");
        assert_eq!(files.write(at(0), at(60), &times(2, 0, 60)).expect("written"), file);
        assert!(!path.with_extension("partial").exists());
    }
}
