//! Open files that a supervisor was given without being meant to have them. Whoever started the engine
//! may have left it a lock, a pipe or a socket; a supervisor that outlives the engine would hold these
//! for as long as its task lives.

use std::fs;

/// Closes every file but the standard three. To be called before this process opens any itself.
pub(super) fn close() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in open.into_iter().filter(|number| *number > 2) {
        // The folder's own number is in the list too and is closed by now.
        let _ = nix::unistd::close(number);
    }
}
