//! Locks of files that one engine at a time may hold.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a lock that somebody holds is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Locks a file, for which there is a little time: a process that is just being started holds its
/// starter's locks until it runs its own program, so an engine that has ended may seem not to have.
pub(super) fn lock_soon(file: &File) -> Result<(), TryLockError> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => thread::sleep(PATIENCE / 50),
            other => return other,
        }
    }
}
