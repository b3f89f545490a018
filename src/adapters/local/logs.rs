//! Reads what a task wrote, across files that are moved aside while one reads.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapters::local::record::{Claim, TaskFolder};
use crate::domain::task::TaskId;

/// How often a reader that waits for more looks.
const POLL: Duration = Duration::from_millis(100);
/// Read at once.
const CHUNK: usize = 64 * 1024;
/// A line that is longer is given in parts.
const LINE_MAX: usize = 1 << 20;
/// Files that were moved aside are looked for up to this number.
const ROTATED_MAX: u32 = 1_000;

/// One of a task's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    fn file(self) -> &'static str {
        match self {
            Self::Stdout => "stdout.log",
            Self::Stderr => "stderr.log",
        }
    }
}

/// A line that a task wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where it wrote it.
    pub stream: LogStream,
    /// The line without its end; bytes that are not text are replaced.
    pub text: String,
}

/// The files that hold an output of a task, oldest first; only those that are there.
pub fn log_files(data_dir: &Path, task: &TaskId, stream: LogStream) -> Vec<PathBuf> {
    let newest = TaskFolder::of(data_dir, task).file(stream.file());
    let mut files: Vec<PathBuf> = (1..=ROTATED_MAX)
        .map(|number| PathBuf::from(format!("{}.{number}", newest.display())))
        .take_while(|path| path.exists())
        .collect();
    files.reverse();
    if newest.exists() {
        files.push(newest);
    }
    files
}

/// Reads both outputs of a task from the oldest line that is kept.
#[derive(Debug)]
pub struct LogReader {
    folder: TaskFolder,
    streams: Vec<StreamReader>,
    waiting: VecDeque<LogLine>,
}

impl LogReader {
    /// A reader of these outputs; a task that has not written yet is fine, one that was never there is
    /// an error of kind `NotFound`.
    pub fn open(data_dir: &Path, task: &TaskId, streams: &[LogStream]) -> io::Result<Self> {
        let folder = TaskFolder::of(data_dir, task);
        fs::metadata(folder.path())?;
        let streams = streams
            .iter()
            .map(|stream| StreamReader::new(data_dir.to_owned(), task.clone(), *stream))
            .collect();
        Ok(Self { folder, streams, waiting: VecDeque::new() })
    }

    /// The next line that is there now; none where all were read. Between the two outputs the order is
    /// not known.
    pub fn next_now(&mut self) -> io::Result<Option<LogLine>> {
        if self.waiting.is_empty() {
            for stream in &mut self.streams {
                stream.read(&mut self.waiting)?;
            }
        }
        Ok(self.waiting.pop_front())
    }

    /// The next line, waiting for it; none once the task has ended and everything was read.
    pub async fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            // Asked before reading: a task that has ended now has written everything by now.
            let has_ended = self.has_ended();
            if let Some(line) = self.next_now()? {
                return Ok(Some(line));
            }
            if has_ended {
                return Ok(self.rest());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What stands after the last end of a line, once nothing more will come.
    pub fn rest(&mut self) -> Option<LogLine> {
        self.streams.iter_mut().find_map(StreamReader::rest)
    }

    /// Whether nothing more will be written.
    fn has_ended(&self) -> bool {
        match self.folder.claim() {
            Ok(Some(Claim::Supervisor(supervisor))) => {
                self.folder.file("exit.json").exists() || !supervisor.is_alive()
            }
            Ok(None) => !self.folder.has_record(),
            Ok(Some(Claim::Abandoned)) | Err(_) => true,
        }
    }
}

/// Reads one output.
#[derive(Debug)]
struct StreamReader {
    data_dir: PathBuf,
    task: TaskId,
    stream: LogStream,
    /// The file that is being read, by its inode: its name changes.
    open: Option<(File, u64)>,
    /// A line whose end has not come yet.
    partial: Vec<u8>,
}

impl StreamReader {
    fn new(data_dir: PathBuf, task: TaskId, stream: LogStream) -> Self {
        Self { data_dir, task, stream, open: None, partial: Vec::new() }
    }

    /// Reads all that is there of the file that is open, and of later ones until lines were found.
    fn read(&mut self, lines: &mut VecDeque<LogLine>) -> io::Result<()> {
        loop {
            // Asked before reading: once there is a newer file, this one does not grow.
            let newer = self.newer();
            self.read_open(lines)?;
            match newer {
                Some(path) => {
                    let file = match File::open(&path) {
                        Ok(file) => file,
                        // Moved again meanwhile; the next call finds it.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                        Err(error) => return Err(error),
                    };
                    let inode = file.metadata()?.ino();
                    self.open = Some((file, inode));
                }
                None => return Ok(()),
            }
            if !lines.is_empty() {
                return Ok(());
            }
        }
    }

    /// The file after the one that is open, the oldest where none is or where it is gone.
    fn newer(&self) -> Option<PathBuf> {
        let files = log_files(&self.data_dir, &self.task, self.stream);
        let Some((_, open)) = &self.open else { return files.into_iter().next() };
        let is_open = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.ino() == *open);
        match files.iter().position(is_open) {
            Some(at) => files.into_iter().nth(at + 1),
            None => files.into_iter().next(),
        }
    }

    fn read_open(&mut self, lines: &mut VecDeque<LogLine>) -> io::Result<()> {
        let Some((file, _)) = &mut self.open else { return Ok(()) };
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(part);
                if self.partial.ends_with(b"\n") || self.partial.len() > LINE_MAX {
                    lines.push_back(line(self.stream, &self.partial));
                    self.partial.clear();
                }
            }
        }
    }

    fn rest(&mut self) -> Option<LogLine> {
        (!self.partial.is_empty()).then(|| line(self.stream, &std::mem::take(&mut self.partial)))
    }
}

fn line(stream: LogStream, bytes: &[u8]) -> LogLine {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    LogLine { stream, text: String::from_utf8_lossy(bytes).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(reader: &mut LogReader) -> Vec<String> {
        std::iter::from_fn(|| reader.next_now().expect("a read")).map(|line| line.text).collect()
    }

    #[test]
    fn no_line_is_lost_or_repeated_while_files_move() {
        let dir = tempfile::tempdir().expect("a folder");
        let task: TaskId = "web.1".parse().expect("an id");
        let folder = dir.path().join("tasks/web.1");
        fs::create_dir_all(&folder).expect("a folder");
        let out = folder.join("stdout.log");
        fs::write(&out, "a\nb\nhalf").expect("a write");
        let mut reader = LogReader::open(dir.path(), &task, &[LogStream::Stdout]).expect("a reader");
        assert_eq!(texts(&mut reader), ["a", "b"]);

        // Moved twice between two looks.
        fs::write(&out, "a\nb\nhalf and half\n").expect("a write");
        fs::rename(&out, folder.join("stdout.log.2")).expect("a move");
        fs::write(folder.join("stdout.log.1"), "c\n").expect("a write");
        fs::write(&out, "d\nend").expect("a write");
        assert_eq!(texts(&mut reader), ["half and half", "c", "d"]);
        assert_eq!(reader.rest().map(|line| line.text).as_deref(), Some("end"));
        assert_eq!(reader.rest(), None);
    }

    #[test]
    fn a_task_that_was_never_there_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let task: TaskId = "web.1".parse().expect("an id");
        let error = LogReader::open(dir.path(), &task, &[LogStream::Stderr]).expect_err("no such task");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
