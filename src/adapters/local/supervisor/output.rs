//! A task's output, kept in files of bounded size. A task is never held up because its output cannot be
//! kept: what does not fit on the disk is dropped and counted.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::adapters::local::record::private_file;

/// Read at once at most; with the pipe's own buffer all that output can take of memory.
const CHUNK: usize = 64 * 1024;
/// A line that is longer than this many times a file's size is cut.
const LINE_FACTOR: u64 = 2;

/// How much of a task's output is kept, for each of its two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// A file that has reached this size is moved aside, in bytes.
    pub file_bytes: u64,
    /// Files that were moved aside and are kept.
    pub rotated_files: u32,
}

impl Default for LogLimits {
    /// 10 MiB a file, two older ones.
    fn default() -> Self {
        Self { file_bytes: 10 << 20, rotated_files: 2 }
    }
}

/// A file that is moved aside when it is full: `NAME` becomes `NAME.1`, that becomes `NAME.2`.
pub(super) struct RotatedFile {
    path: PathBuf,
    limits: LogLimits,
    file: Option<File>,
    size: u64,
    /// Whether the last byte ended a line.
    line_ended: bool,
    dropped: u64,
    /// Dropped since something could last be written.
    dropped_lately: u64,
    problem: Option<String>,
}

impl RotatedFile {
    pub(super) fn new(path: PathBuf, limits: LogLimits) -> Self {
        Self {
            path,
            limits,
            file: None,
            size: 0,
            line_ended: true,
            dropped: 0,
            dropped_lately: 0,
            problem: None,
        }
    }

    /// Keeps bytes, or counts them as dropped.
    fn keep(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let part = self.part_of(bytes);
            if let Err(error) = self.write(&bytes[..part]) {
                self.dropped += part as u64;
                self.dropped_lately += part as u64;
                self.problem = Some(error.to_string());
            }
            bytes = &bytes[part..];
        }
    }

    /// How much goes into the file that is open: files end where lines end.
    fn part_of(&self, bytes: &[u8]) -> usize {
        let room = self.limits.file_bytes.saturating_sub(self.size) as usize;
        if bytes.len() <= room {
            return bytes.len();
        }
        let line_end = bytes[room..].iter().position(|byte| *byte == b'\n').map(|at| room + at + 1);
        line_end.unwrap_or(bytes.len())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_full = self.size >= self.limits.file_bytes;
        if is_full && (self.line_ended || self.size >= self.limits.file_bytes * LINE_FACTOR) {
            self.rotate()?;
        }
        if self.file.is_none() {
            let file = private_file().append(true).create(true).open(&self.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.dropped_lately > 0 {
            let problem = self.problem.take().unwrap_or_default();
            let gap = if self.line_ended { "" } else { "\n" };
            let note =
                format!("{gap}[loadline: {} bytes of output were dropped: {problem}]\n", self.dropped_lately);
            file.write_all(note.as_bytes())?;
            self.dropped_lately = 0;
            self.size += note.len() as u64;
        }
        file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        self.line_ended = bytes.ends_with(b"\n");
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        self.size = 0;
        self.line_ended = true;
        let numbered = |number: u32| match number {
            0 => self.path.clone(),
            _ => PathBuf::from(format!("{}.{number}", self.path.display())),
        };
        if self.limits.rotated_files == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (0..self.limits.rotated_files).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Output that is being kept.
pub(super) struct Kept {
    done: Receiver<Option<String>>,
}

impl Kept {
    /// Waits for the end of the output, and tells what was dropped of it.
    pub(super) fn finish(self, timeout: Duration) -> Option<String> {
        self.done.recv_timeout(timeout).ok().flatten()
    }
}

/// Keeps everything that comes out of `source`, in a thread of its own.
pub(super) fn keep(mut source: impl Read + Send + 'static, mut file: RotatedFile) -> Kept {
    let (tell, done) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => file.keep(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let dropped =
            (file.dropped > 0).then(|| format!("{} bytes of its output were dropped", file.dropped));
        // The other end is gone where it did not wait so long.
        let _ = tell.send(dropped);
    });
    Kept { done }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &std::path::Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn files_rotate_where_lines_end_and_the_oldest_goes() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("out.log");
        let mut file = RotatedFile::new(path.clone(), LogLimits { file_bytes: 10, rotated_files: 2 });
        for number in 0..10 {
            file.keep(format!("line {number}\n").as_bytes());
        }
        // Two lines of seven bytes fill a file of ten.
        assert_eq!(read(&path), "line 8\nline 9\n");
        assert_eq!(read(&dir.path().join("out.log.1")), "line 6\nline 7\n");
        assert_eq!(read(&dir.path().join("out.log.2")), "line 4\nline 5\n");
        assert!(!dir.path().join("out.log.3").exists());
    }

    #[test]
    fn a_line_without_end_does_not_grow_a_file_for_ever() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("out.log");
        let mut file = RotatedFile::new(path.clone(), LogLimits { file_bytes: 10, rotated_files: 1 });
        for _ in 0..100 {
            file.keep(b"xxxxx");
        }
        assert!(read(&path).len() <= 25 && read(&dir.path().join("out.log.1")).len() <= 25);
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_and_said() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("out.log");
        std::os::unix::fs::symlink("/dev/full", &path).expect("a link to the full device");
        let mut file = RotatedFile::new(path.clone(), LogLimits::default());
        file.keep(b"lost\n");
        assert_eq!(file.dropped, 5);

        fs::remove_file(&path).expect("a removal");
        file.file = None;
        file.keep(b"kept\n");
        let text = read(&path);
        assert!(text.starts_with("[loadline: 5 bytes of output were dropped: No space left"), "{text}");
        assert!(text.ends_with("]\nkept\n"), "{text}");
    }

    #[test]
    fn all_that_is_written_is_there_when_the_source_ends() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("out.log");
        let text = "0123456789\n".repeat(50_000);
        let kept = keep(io::Cursor::new(text.clone()), RotatedFile::new(path.clone(), LogLimits::default()));
        assert_eq!(kept.finish(Duration::from_secs(10)), None);
        assert_eq!(read(&path), text);
    }
}
