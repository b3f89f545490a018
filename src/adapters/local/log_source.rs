//! Reads what a task wrote, across files that are moved aside while one reads. A place in a log is a
//! file's inode and an offset in it: moving a file aside changes its name, not its inode.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::adapters::local::LocalCluster;
use crate::adapters::local::record::TaskFolder;
use crate::domain::task::TaskId;
use crate::ports::cluster::ClusterError;
use crate::ports::logs::{LogChunk, LogPosition, LogSource, LogStream};

/// Files that were moved aside are looked for up to this number.
const ROTATED_MAX: u32 = 1_000;

/// A file that holds part of a log.
struct Part {
    file: File,
    inode: u64,
    length: u64,
}

#[async_trait]
impl LogSource for LocalCluster {
    async fn read(
        &self,
        task: &TaskId,
        stream: LogStream,
        from: LogPosition,
        max_bytes: usize,
    ) -> Result<LogChunk, ClusterError> {
        let folder = TaskFolder::of(self.inner.data_dir(), task);
        if !folder.path().is_dir() {
            return Err(ClusterError::NoSuchTask(task.clone()));
        }
        let newest = folder.file(match stream {
            LogStream::Stdout => "stdout.log",
            LogStream::Stderr => "stderr.log",
        });
        let read = move || chunk(&newest, &from, max_bytes);
        let failed = |source| ClusterError::Io { operation: "read the log".to_owned(), source };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|panic| failed(io::Error::other(panic)))?
            .map_err(failed)
    }
}

fn chunk(newest: &Path, from: &LogPosition, max_bytes: usize) -> io::Result<LogChunk> {
    let mut parts = parts(newest)?;
    let (index, offset) = match from {
        LogPosition::Start => (0, 0),
        LogPosition::After(place) => place_of(&parts, place).unwrap_or((0, 0)),
        LogPosition::Tail(lines) => tail(&mut parts, *lines, max_bytes as u64)?,
    };
    let mut bytes = Vec::new();
    let mut place = (index, offset);
    // Where the bytes of each file begin: in what was read, and in the file.
    let mut begins: Vec<(usize, u64, u64)> = Vec::new();
    for (number, part) in parts.iter_mut().enumerate().skip(index) {
        let begin = if number == index { offset } else { 0 };
        part.file.seek(SeekFrom::Start(begin))?;
        begins.push((bytes.len(), part.inode, begin));
        let room = (max_bytes - bytes.len()) as u64;
        let count = (&part.file).take(room).read_to_end(&mut bytes)?;
        place = (number, begin + count as u64);
        if bytes.len() >= max_bytes {
            break;
        }
    }
    let cut = incomplete(&bytes);
    bytes.truncate(bytes.len() - cut);
    let next = parts
        .get(place.0)
        .map_or_else(String::new, |part| format!("{}-{}", part.inode, place.1 - cut as u64));
    let places = places(&bytes, &begins);
    Ok(LogChunk { text: String::from_utf8_lossy(&bytes).into_owned(), next, places })
}

/// Where each line of what was read begins.
fn places(bytes: &[u8], begins: &[(usize, u64, u64)]) -> Vec<String> {
    let breaks = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let starts = std::iter::once(0).chain(breaks).filter(|at| *at < bytes.len());
    let place = |at: usize| {
        let (from, inode, begin) = begins.iter().rfind(|(from, ..)| *from <= at)?;
        Some(format!("{inode}-{}", begin + (at - from) as u64))
    };
    starts.filter_map(place).collect()
}

/// The files of a log, oldest first.
fn parts(newest: &Path) -> io::Result<Vec<Part>> {
    let aside = (1..=ROTATED_MAX).map(|number| PathBuf::from(format!("{}.{number}", newest.display())));
    let mut parts: Vec<Part> = Vec::new();
    let mut gap = false;
    for path in std::iter::once(newest.to_owned()).chain(aside) {
        let file = match File::open(&path) {
            Ok(file) => file,
            // Files that are being moved aside this moment leave one name free, not two in a row.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !gap => {
                gap = true;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        gap = false;
        let metadata = file.metadata()?;
        // One that was moved aside between two looks is seen twice.
        if parts.iter().all(|part| part.inode != metadata.ino()) {
            parts.push(Part { file, inode: metadata.ino(), length: metadata.len() });
        }
    }
    parts.reverse();
    Ok(parts)
}

fn place_of(parts: &[Part], place: &str) -> Option<(usize, u64)> {
    let (inode, offset) = place.split_once('-')?;
    let (inode, offset) = (inode.parse::<u64>().ok()?, offset.parse().ok()?);
    parts.iter().position(|part| part.inode == inode).map(|index| (index, offset))
}

/// Where the last lines begin, at most `max_bytes` before the end.
fn tail(parts: &mut [Part], lines: usize, max_bytes: u64) -> io::Result<(usize, u64)> {
    let (mut wanted, mut room) = (lines, max_bytes);
    let mut at_end = true;
    for (index, part) in parts.iter_mut().enumerate().rev() {
        let begin = part.length.saturating_sub(room);
        part.file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        (&part.file).take(part.length - begin).read_to_end(&mut bytes)?;
        // The line break at the very end ends the last line; it does not begin another.
        let until = bytes.len() - usize::from(at_end && bytes.last() == Some(&b'\n'));
        at_end &= bytes.is_empty();
        for (at, _) in bytes[..until].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            wanted = wanted.saturating_sub(1);
            if wanted == 0 {
                return Ok((index, begin + at as u64 + 1));
            }
        }
        room = room.saturating_sub(bytes.len() as u64);
        if room == 0 {
            return Ok((index, begin));
        }
    }
    Ok((0, 0))
}

/// How many bytes at the end are the beginning of a character whose rest has not come yet.
fn incomplete(bytes: &[u8]) -> usize {
    let last = bytes.len().saturating_sub(4);
    match std::str::from_utf8(&bytes[last..]) {
        Err(error) if error.error_len().is_none() => bytes.len() - last - error.valid_up_to(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path, from: &LogPosition, max: usize) -> LogChunk {
        chunk(path, from, max).expect("a chunk")
    }

    #[test]
    fn goes_on_where_it_left_off_while_files_are_moved_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("stdout.log");
        std::fs::write(&log, "one\ntwo\n").expect("a log");
        let first = read(&log, &LogPosition::Start, 4);
        assert_eq!(first.text, "one\n");
        std::fs::rename(&log, folder.path().join("stdout.log.1")).expect("moved aside");
        std::fs::write(&log, "three\n").expect("a log");
        let rest = read(&log, &LogPosition::After(first.next), 100);
        assert_eq!(rest.text, "two\nthree\n");
        assert_eq!(read(&log, &LogPosition::After(rest.next), 100).text, "");
    }

    #[test]
    fn the_tail_spans_files_and_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("stdout.log");
        std::fs::write(folder.path().join("stdout.log.1"), "one\ntwo\n").expect("a log");
        std::fs::write(&log, "three\nfour\n").expect("a log");
        assert_eq!(read(&log, &LogPosition::Tail(1), 100).text, "four\n");
        assert_eq!(read(&log, &LogPosition::Tail(3), 100).text, "two\nthree\nfour\n");
        assert_eq!(read(&log, &LogPosition::Tail(99), 100).text, "one\ntwo\nthree\nfour\n");
        assert_eq!(read(&log, &LogPosition::Tail(99), 6).text, "\nfour\n");
    }

    #[test]
    fn a_character_is_never_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("stdout.log");
        std::fs::write(&log, "aü").expect("a log");
        let first = read(&log, &LogPosition::Start, 2);
        assert_eq!(first.text, "a");
        assert_eq!(read(&log, &LogPosition::After(first.next), 2).text, "ü");
    }

    #[test]
    fn files_that_are_being_moved_aside_are_all_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("stdout.log");
        std::fs::write(folder.path().join("stdout.log.2"), "one\n").expect("a log");
        std::fs::write(folder.path().join("stdout.log.1"), "two\n").expect("a log");
        let first = read(&log, &LogPosition::Start, 4);
        assert_eq!(first.text, "one\n", "the newest name is free for a moment");
        assert_eq!(read(&log, &LogPosition::After(first.next), 100).text, "two\n");
    }

    #[test]
    fn no_log_is_an_empty_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("stdout.log");
        assert_eq!(read(&log, &LogPosition::Tail(5), 100).text, "");
    }
}
