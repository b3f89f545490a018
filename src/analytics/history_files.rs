//! The history as Parquet, a folder a day of UTC: `day=2026-11-23/part-1000.parquet` while the day goes on,
//! `day=2026-11-23/day.parquet` once it is over, and beside it `hours.parquet`, its rows added up to hours.
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
    SERIES, SUMS, frame, hours_of, key, number_of, read_rows, read_sums, schema, series_of, series_table,
};
use crate::domain::history_book::{HistoryFile, HourFile};
use crate::domain::task_time::{TaskSeries, TaskTime, TaskTimes};
use crate::ports::task_times::{TaskTimeFiles, TaskTimesError};

/// Rows of a row group: what is held at a time.
const GROUP: usize = 1 << 18;
/// A file is hashed in pieces of this length.
const PIECE: usize = 1 << 20;
const HOUR: i64 = 3600;

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

impl Told {
    fn file(self, name: String, (bytes, sha256): (u64, String)) -> HistoryFile {
        let Self { from, until, rows, task_microseconds } = self;
        HistoryFile { name, from, until, rows, bytes, sha256, task_microseconds, hours: None }
    }
}

impl ParquetHistory {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes a file under another name, and gives it its own once it is on disk. Tells its length and its hash.
    fn put(
        &self,
        name: &str,
        content: impl FnOnce(File) -> Result<(), TaskTimesError>,
    ) -> Result<(u64, String), TaskTimesError> {
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
        written
    }

    /// Writes rows as they are.
    fn put_rows(&self, name: &str, times: &TaskTimes) -> Result<(u64, String), TaskTimesError> {
        self.put(name, |file| {
            let write = || refused("write", name);
            let mut writer = ParquetWriter::new(file).batched(&schema()).map_err(write())?;
            for rows in times.rows.chunks(GROUP) {
                writer.write_batch(&frame(&times.series, rows).map_err(write())?).map_err(write())?;
            }
            writer.finish().map(|_| ()).map_err(write())
        })
    }

    /// The content of a file, which is what was written: what is damaged never comes to the reader of Parquet.
    fn content(&self, name: &str, bytes: u64, sha256: &str) -> Result<Vec<u8>, TaskTimesError> {
        let content = fs::read(self.folder.join(name)).map_err(failed("read", name))?;
        let damaged = |problem: String| TaskTimesError::Damaged { file: name.to_owned(), problem };
        if content.len() as u64 != bytes {
            return Err(damaged(format!("it has {} bytes, {bytes} were written", content.len())));
        }
        if hex::encode(Sha256::digest(&content)) != sha256 {
            return Err(damaged("its content is not what was written".to_owned()));
        }
        Ok(content)
    }

    /// Rows of a file in a time, added up here.
    fn added_up(&self, file: &HistoryFile, (begin, end): (i64, i64)) -> Result<TaskTimes, TaskTimesError> {
        let content = self.content(&file.name, file.bytes, &file.sha256)?;
        times(&file.name, &content, |group, rows| {
            let within = group.lazy().filter(col("time").gt_eq(lit(begin)).and(col("time").lt(lit(end))));
            read_sums(&within.group_by([key(begin).alias("key")]).agg(hours_of()).collect()?, begin, rows)
        })
    }

    /// Rows in a time, as they were added up before.
    fn summed_up(&self, hours: &HourFile, (begin, end): (i64, i64)) -> Result<TaskTimes, TaskTimesError> {
        let content = self.content(&hours.name, hours.bytes, &hours.sha256)?;
        times(&hours.name, &content, |group, rows| read_rows(&group, (begin, end), rows))
    }
}

/// Rows of a file, as `read` takes them from its row groups, and the series of all of them.
fn times(
    name: &str,
    content: &[u8],
    mut read: impl FnMut(DataFrame, &mut Vec<TaskTime>) -> PolarsResult<()>,
) -> Result<TaskTimes, TaskTimesError> {
    let (mut rows, mut known) = (Vec::new(), HashMap::new());
    groups(content, Some(&SUMS), |group| read(group, &mut rows)).map_err(refused("read", name))?;
    groups(content, Some(&SERIES), |group| series_of(&group, &mut known)).map_err(refused("read", name))?;
    let series = series_table(known).ok_or_else(|| TaskTimesError::Damaged {
        file: name.to_owned(),
        problem: "series are missing".to_owned(),
    })?;
    Ok(TaskTimes { series, rows })
}

/// The time of the hours that a time of a file consists of, in seconds; none where it cuts an hour.
fn whole_hours(file: &HistoryFile, from: Timestamp, until: Timestamp) -> Option<(i64, i64)> {
    let whole = |at: Timestamp, end: Timestamp| at == end || at.as_second().rem_euclid(HOUR) == 0;
    let (begin, end) = (from.max(file.from), until.min(file.until));
    let all = whole(begin, file.from) && whole(end, file.until);
    all.then(|| (begin.as_second().div_euclid(HOUR) * HOUR, end.as_second()))
}

/// The name of the hours beside a file.
fn name_of_hours(file: &HistoryFile) -> String {
    format!("{}/hours.parquet", day_folder(file.from))
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
        let written = self.put_rows(&name, times)?;
        Ok(told.file(name, written))
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
        let written = self.put(&name, |file| {
            let write = || refused("write", &name);
            let writer = ParquetWriter::new(file).batched(&schema()).map_err(write())?;
            let mut merged = Merged { writer, numbers: HashMap::new(), waiting: None };
            for part in parts {
                let content = self.content(&part.name, part.bytes, &part.sha256)?;
                merged.take_in(&content).map_err(refused("read", &part.name))?;
            }
            merged.finish().map_err(write())
        })?;
        Ok(told.file(name, written))
    }

    fn sum_up(&self, file: &HistoryFile) -> Result<HourFile, TaskTimesError> {
        let (begin, end) = (file.from.as_second(), file.until.as_second());
        let mut times = self.added_up(file, (begin, end))?;
        // Rows of a series beside each other take less room, and are read faster.
        times.rows.sort_unstable_by_key(|row| (row.series, row.start, row.measured));
        let name = name_of_hours(file);
        let (bytes, sha256) = self.put_rows(&name, &times)?;
        Ok(HourFile { name, rows: times.rows.len() as u64, bytes, sha256 })
    }

    fn lacks_hours(&self, file: &HistoryFile) -> bool {
        let length = |hours: &HourFile| fs::metadata(self.folder.join(&hours.name)).map(|found| found.len());
        file.hours.as_ref().is_none_or(|hours| length(hours).ok() != Some(hours.bytes))
    }

    fn hours(
        &self,
        file: &HistoryFile,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<TaskTimes, TaskTimesError> {
        if let Some((hours, span)) = file.hours.as_ref().zip(whole_hours(file, from, until))
            && let Ok(found) = self.summed_up(hours, span)
        {
            return Ok(found);
        }
        self.added_up(file, (from.as_second(), until.as_second()))
    }

    fn remove(&self, file: &HistoryFile) -> Result<(), TaskTimesError> {
        let hours = file.hours.as_ref().map(|hours| &hours.name);
        for name in hours.into_iter().chain([&file.name]) {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed("delete", name)(error));
                }
                // The folder of a day goes with its last file.
                _ => path.parent().map(fs::remove_dir),
            };
        }
        Ok(())
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
            series_of(&group, &mut known)?;
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
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::node::NodeName;
    use crate::domain::quantity::{Bytes, Millicores, Resources};
    use crate::domain::task::TaskId;
    use crate::domain::task_time::Measured;
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
        assert!(files.lacks_hours(&whole));
        let hours = files.sum_up(&whole).expect("summed up");
        let whole = HistoryFile { hours: Some(hours), ..whole };
        assert!(!files.lacks_hours(&whole));
        files.remove(&whole).expect("gone");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    /// Series, step, what was measured, microseconds; CPU and memory, within and over.
    type Drawn = (u32, i64, i32, i64, [u32; 2], [u64; 2]);

    prop_compose! {
        /// Any rows of two hours, and of a part of a third, of five series.
        fn any_times()(
            rows in prop::collection::vec(
                (0_u32..5, 0_i64..29, 0_i32..3, 1_i64..300_000_001, any::<[u32; 2]>(), any::<[u64; 2]>()),
                1..200,
            ),
        ) -> TaskTimes {
            let row = |(series, step, code, micros, [within, over], [memory, beyond]): Drawn| TaskTime {
                series,
                start: at(30 + step * 5).as_second(),
                measured: Measured::of_code(code).expect("a code"),
                micros,
                cpu_within: i64::from(within),
                cpu_over: i64::from(over),
                memory_within: u128::from(memory >> 9) * 977,
                memory_over: u128::from(beyond >> 9) * 1_003,
            };
            TaskTimes { series: times(5, 0, 5).series, rows: rows.into_iter().map(row).collect() }
        }
    }

    /// Rows by series, hour and what was measured, added up.
    fn by_hour(times: &TaskTimes) -> BTreeMap<(TaskId, i64, Measured), [u128; 5]> {
        let mut all = BTreeMap::new();
        for row in &times.rows {
            let task = times.series[row.series as usize].task.clone();
            let sums: &mut [u128; 5] =
                all.entry((task, row.start.div_euclid(HOUR), row.measured)).or_default();
            let [micros, within, over] = [row.micros, row.cpu_within, row.cpu_over].map(i64::unsigned_abs);
            let amounts = [micros.into(), within.into(), over.into(), row.memory_within, row.memory_over];
            for (sum, amount) in sums.iter_mut().zip(amounts) {
                *sum += amount;
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn hours_are_what_the_rows_come_to_however_they_are_read(
            times in any_times(),
            (from, length) in (0_i64..29, 1_i64..29),
        ) {
            // A file only knows the series that it has rows of.
            let mut times = times;
            times.rows.sort_by_key(|row| row.series);
            let used: Vec<u32> = times.rows.iter().map(|row| row.series).collect::<BTreeSet<_>>().into_iter().collect();
            times.series = used.iter().map(|number| times.series[*number as usize].clone()).collect();
            for row in &mut times.rows {
                row.series = used.binary_search(&row.series).expect("known") as u32;
            }
            let folder = tempfile::tempdir().expect("a folder");
            let files = ParquetHistory::new(folder.path().to_owned());
            // From half past on: the first hour is a part of one, and so is the last.
            let file = files.write(at(30), at(30 + 29 * 5), &times).expect("written");
            let hours = files.sum_up(&file).expect("summed up");
            let file = HistoryFile { hours: Some(hours), ..file };
            let windows = [(30, 175), (60, 120), (30, 60), (120, 175), (30 + from * 5, 175.min(30 + (from + length) * 5))];
            for (from, until) in windows.map(|(from, until)| (at(from), at(until))) {
                let mut within = times.clone();
                within.rows.retain(|row| (from.as_second()..until.as_second()).contains(&row.start));
                let found = files.hours(&file, from, until).expect("hours");
                prop_assert_eq!(by_hour(&found), by_hour(&within));
                let raw = files.hours(&HistoryFile { hours: None, ..file.clone() }, from, until).expect("hours");
                prop_assert_eq!(sorted(&raw), sorted(&found), "rows and their hours tell the same");
            }
        }
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
