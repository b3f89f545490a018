//! Which files the history consists of, how far it reaches, what may be merged and what may go.
//!
//! In: files that were written. Out: the same as a document of the store. A file that is not in the book does
//! not count: it is in it once it is whole and on disk, so that a crash in between leaves nothing double.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A file of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryFile {
    /// Its name, with the folder of its day.
    pub name: String,
    /// It tells of the time from here on.
    pub from: Timestamp,
    /// It tells of the time before.
    pub until: Timestamp,
    /// How many rows it has.
    pub rows: u64,
    /// How long it is.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// The time of all its rows.
    pub task_microseconds: i64,
    /// Its rows added up to hours; absent where that was not done yet.
    #[serde(default)]
    pub hours: Option<HourFile>,
}

/// The rows of a file added up to hours, in a file beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourFile {
    /// Its name, with the folder of its day.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// How long it is.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

/// The files of the history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryBook {
    /// From when on it tells; absent while there is none.
    pub from: Option<Timestamp>,
    /// How far it tells. Where nothing ran, there is no file.
    pub until: Option<Timestamp>,
    /// The files by time, without overlap.
    pub files: Vec<HistoryFile>,
    /// Files that count no longer and are to be deleted.
    #[serde(default)]
    pub leaving: Vec<HistoryFile>,
}

/// The start of the day of UTC that an instant is in, and of the next one.
pub fn day_of(at: Timestamp) -> (Timestamp, Timestamp) {
    let day = at.as_second().div_euclid(DAY.as_secs());
    let start = |day: i64| Timestamp::from_second(day * DAY.as_secs()).unwrap_or(at);
    (start(day), start(day + 1))
}

impl HistoryBook {
    /// The name of the document that the book is kept under.
    pub const DOCUMENT: &'static str = "history-book";

    /// The span that it tells of.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.from?, self.until?))
    }

    /// Takes in what was written for the time from `from` to `until`; no file where nothing ran.
    pub fn add(&mut self, from: Timestamp, until: Timestamp, file: Option<HistoryFile>) {
        self.from.get_or_insert(from);
        self.until = Some(until);
        self.files.extend(file);
        self.files.sort_by_key(|file| file.from);
    }

    /// Files with something of the time from `from` to `to`.
    pub fn within(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = &HistoryFile> {
        self.files.iter().filter(move |file| file.from < to && file.until > from)
    }

    /// Days that are over, the oldest first: the day and its files.
    fn over(&self) -> Vec<((Timestamp, Timestamp), Vec<HistoryFile>)> {
        let mut days: Vec<((Timestamp, Timestamp), Vec<HistoryFile>)> = Vec::new();
        for file in &self.files {
            let day = day_of(file.from);
            match days.last_mut() {
                Some((last, files)) if *last == day => files.push(file.clone()),
                _ => days.push((day, vec![file.clone()])),
            }
        }
        days.retain(|((_, end), _)| self.until.is_some_and(|until| until >= *end));
        days
    }

    /// Days that are over and have more than one file, the oldest first: the day and its files.
    pub fn scattered(&self) -> Vec<((Timestamp, Timestamp), Vec<HistoryFile>)> {
        let mut days = self.over();
        days.retain(|(_, files)| files.len() > 1);
        days
    }

    /// The files of days that are over and have no other, the newest first: reports of lately are asked for most.
    pub fn whole_days(&self) -> Vec<HistoryFile> {
        let days = self.over().into_iter().rev();
        days.filter_map(|(_, files)| <[HistoryFile; 1]>::try_from(files).ok()).map(|[file]| file).collect()
    }

    /// Notes that the rows of a file were added up to hours. Nothing where the file counts no longer.
    pub fn sum_up(&mut self, file: &HistoryFile, hours: HourFile) {
        if let Some(file) = self.files.iter_mut().find(|known| *known == file) {
            file.hours = Some(hours);
        }
    }

    /// Puts one file in the place of several.
    pub fn replace(&mut self, parts: &[HistoryFile], whole: HistoryFile) {
        self.files.retain(|file| !parts.contains(file));
        self.leaving.extend(parts.iter().filter(|part| part.name != whole.name).cloned());
        self.files.push(whole);
        self.files.sort_by_key(|file| file.from);
    }

    /// Files of days that ended before an instant count no longer.
    pub fn forget(&mut self, before: Timestamp) {
        let (day, _) = day_of(before);
        let (gone, kept): (Vec<_>, _) =
            std::mem::take(&mut self.files).into_iter().partition(|file| file.until <= day);
        self.files = kept;
        self.leaving.extend(gone);
        if let Some(from) = self.from.filter(|from| *from < day) {
            self.from = Some(day.max(from).min(self.until.unwrap_or(day)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00Z").parse().expect("a time")
    }

    fn file(from: &str, until: &str) -> HistoryFile {
        HistoryFile {
            name: format!("{from}.parquet"),
            from: at(from),
            until: at(until),
            rows: 1,
            bytes: 1,
            sha256: String::new(),
            task_microseconds: 1,
            hours: None,
        }
    }

    fn book() -> HistoryBook {
        let mut book = HistoryBook::default();
        for (from, until) in [("21T22:00", "21T23:00"), ("21T23:00", "22T00:00"), ("22T00:00", "22T01:00")] {
            book.add(at(from), at(until), Some(file(from, until)));
        }
        book.add(at("22T01:00"), at("22T02:00"), None);
        book
    }

    #[test]
    fn a_day_is_merged_once_it_is_over() {
        let mut book = book();
        assert_eq!(book.span(), Some((at("21T22:00"), at("22T02:00"))));
        let days = book.scattered();
        let [((from, to), parts)] = days.as_slice() else { panic!("one day, not {days:?}") };
        assert_eq!((*from, *to, parts.len()), (at("21T00:00"), at("22T00:00"), 2));
        book.replace(parts, file("21T22:00", "22T00:00"));
        assert_eq!(book.files.len(), 2);
        assert!(book.scattered().is_empty(), "the other day is not over");
        assert_eq!(book.within(at("21T23:30"), at("22T00:00")).count(), 1);
        let days = book.whole_days();
        assert_eq!(days, [file("21T22:00", "22T00:00")]);
        let hours = HourFile { name: "hours.parquet".into(), rows: 1, bytes: 1, sha256: String::new() };
        book.sum_up(&days[0], hours.clone());
        assert_eq!(book.files[0].hours, Some(hours.clone()));
        let merged_anew = HistoryFile { rows: 2, ..days[0].clone() };
        book.replace(&[book.files[0].clone()], merged_anew.clone());
        book.sum_up(&days[0], hours);
        assert_eq!(book.whole_days(), [merged_anew], "hours of other rows do not count");
    }

    #[test]
    fn whole_days_are_forgotten() {
        let mut book = book();
        book.forget(at("21T23:59"));
        assert_eq!((book.files.len(), book.leaving.len()), (3, 0));
        book.forget(at("22T12:00"));
        assert_eq!((book.files.len(), book.leaving.len(), book.from), (1, 2, Some(at("22T00:00"))));
    }
}
