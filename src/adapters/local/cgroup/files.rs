//! Reading and writing the small files of a control group.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes a value into a file of a group. The error names the file and the value.
pub(super) fn write(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = folder.join(file);
    fs::write(&path, value).map_err(|error| {
        io::Error::new(error.kind(), format!("{}: write `{value}`: {error}", path.display()))
    })
}

/// Reads a file of a group. The error names the file.
pub(super) fn read(folder: &Path, file: &str) -> io::Result<String> {
    let path = folder.join(file);
    fs::read_to_string(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Reads a file that holds one number.
pub(super) fn number(folder: &Path, file: &str) -> io::Result<u64> {
    let text = read(folder, file)?;
    text.trim().parse().map_err(|_| malformed(folder, file, &text))
}

/// A file that is not as the kernel's documentation says.
pub(super) fn malformed(folder: &Path, file: &str, text: &str) -> io::Error {
    let message = format!("{}: unexpected content `{}`", folder.join(file).display(), text.trim());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The number after `key` in a text of lines `key number`.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The folders directly within a folder.
pub(super) fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The processes of a group and of the groups within it.
pub(super) fn members(folder: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(folder.join("cgroup.procs"))
        .map(|text| text.lines().filter_map(|line| line.trim().parse().ok()).collect())
        .unwrap_or_default();
    for inner in subfolders(folder) {
        found.extend(members(&inner));
    }
    found
}

/// Removes a group and the groups within it, innermost first.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    for inner in subfolders(folder) {
        remove(&inner)?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a group; one that is there is fine.
pub(super) fn create(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display()))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "oom 7\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(value_of(text, "oom_kill"), Some(2));
        assert_eq!(value_of(text, "oom"), Some(7));
        assert_eq!(value_of(text, "oom_"), None);
    }
}
