//! The text of spec files: where it comes from, and which line and column an offset has.
//! Not here: what it means (`reader`).

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::error::SpecError;
use crate::config::limits::FILE_BYTES_MAX;

/// One text to be read as TOML.
#[derive(Debug)]
pub(super) struct Source {
    /// As the caller named it.
    pub(super) file: String,
    pub(super) text: String,
    /// What relative paths in it are relative to; absent where it is not known.
    pub(super) folder: Option<PathBuf>,
}

impl Source {
    /// A text from elsewhere. Its folder is known only if its name is an absolute path: a relative one
    /// would be relative to a folder of another process.
    pub(super) fn named(file: &str, text: &str) -> Self {
        let path = Path::new(file);
        let folder = path.parent().filter(|_| path.is_absolute()).map(Path::to_owned);
        Self { file: file.to_owned(), text: text.to_owned(), folder }
    }

    /// The line and column of a byte offset, both counted from 1, the column in characters.
    pub(super) fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// What an error in the TOML at `offset` makes meaningless: its line; after a broken header also
    /// the lines of its table, which now seem to belong to another one.
    pub(super) fn lost_by_error_at(&self, offset: usize) -> Range<usize> {
        let is_header = |line: &str| line.trim_start().starts_with('[');
        let mut start = 0;
        let mut lost: Option<Range<usize>> = None;
        for line in self.text.split_inclusive('\n') {
            let end = start + line.len();
            match &mut lost {
                None if offset < end => {
                    lost = Some(start..end);
                    if !is_header(line) {
                        break;
                    }
                }
                Some(_) if is_header(line) => break,
                Some(lost) => lost.end = end,
                None => {}
            }
            start = end;
        }
        lost.unwrap_or(offset..self.text.len() + 1)
    }

    /// An error at a byte offset.
    pub(super) fn error(
        &self,
        offset: usize,
        found: &str,
        expected: &str,
        hint: Option<String>,
    ) -> SpecError {
        let (line, column) = self.line_and_column(offset);
        let (found, expected) = (found.to_owned(), expected.to_owned());
        SpecError { file: self.file.clone(), line, column, found, expected, hint }
    }
}

/// Reads files, and the `*.toml` files of folders in the order of their names (folders in folders are
/// not entered). Gives each file's absolute path and its text: what `parse_specs` takes, also in a
/// process that runs in another folder.
pub fn read_sources(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Vec<SpecError>> {
    let sources = read_files(paths)?;
    Ok(sources
        .into_iter()
        .map(|source| {
            let name = Path::new(&source.file).file_name().unwrap_or_default();
            let path = source.folder.unwrap_or_default().join(name);
            (path.display().to_string(), source.text)
        })
        .collect())
}

/// Reads files and folders; a file that is named twice is read once.
pub(super) fn read_files(paths: &[PathBuf]) -> Result<Vec<Source>, Vec<SpecError>> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        match files_of(path) {
            Ok(files) => {
                for file in files {
                    if seen.insert(fs::canonicalize(&file).unwrap_or_else(|_| file.clone())) {
                        match read_file(&file) {
                            Ok(source) => sources.push(source),
                            Err(error) => errors.push(*error),
                        }
                    }
                }
            }
            Err(error) => errors.push(*error),
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

/// An error about a file as a whole.
fn whole(path: &Path, found: &str, expected: &str) -> SpecError {
    Source::named(&path.display().to_string(), "").error(0, found, expected, None)
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, Box<SpecError>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable =
        |error: std::io::Error| Box::new(whole(path, &error.to_string(), "a folder that can be read"));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Box::new(whole(path, "a folder without specs", "at least one file `*.toml` in it")));
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<Source, Box<SpecError>> {
    let unreadable =
        |error: std::io::Error| Box::new(whole(path, &error.to_string(), "a file that can be read"));
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        let expected = format!("at most {FILE_BYTES_MAX} bytes");
        return Err(Box::new(whole(path, &format!("{length} bytes"), &expected)));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let file = path.display().to_string();
    let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { file, text, folder }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let source = Source { file, text, folder };
            Err(Box::new(source.error(valid, "a byte that is not UTF-8", "text in UTF-8", None)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source::named("a.toml", "a = 1\nä = \"ö\" # x\n");
        assert_eq!(source.line_and_column(0), (1, 1));
        assert_eq!(source.line_and_column(source.text.find('#').expect("a comment")), (2, 9));
        assert_eq!(source.line_and_column(10_000), (3, 1));
    }
}
