//! In: why an engine did not come up. Out: what a person can do about it, in words.

use std::io;

use crate::ports::cluster::ClusterError;
use crate::ports::store::StoreError;

/// What to do about an error of `loadline up`; nothing where the error says it all.
pub fn advice(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(store) = cause.downcast_ref::<StoreError>() {
            return about_store(store);
        }
        if let Some(ClusterError::Refused(_)) = cause.downcast_ref() {
            return Some(OTHER_ENGINE);
        }
        cause.downcast_ref::<io::Error>().and_then(about_files)
    })
}

const OTHER_ENGINE: &str =
    "End that engine first, or give this one a folder of its own with --data-dir. Nothing was changed.";
const SPACE: &str = "Free some space there and start again. Tasks that run go on meanwhile.";

fn about_store(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Corrupt { .. } => Some(
            "Tasks that run go on meanwhile. Put back a copy of the store; without one, move the file aside: \
             Loadline then begins with nothing, and ends tasks that it does not know.",
        ),
        StoreError::Newer { .. } => {
            Some("Start the Loadline that wrote it, or a newer one. Tasks that run go on meanwhile.")
        }
        StoreError::InUse { .. } => Some(OTHER_ENGINE),
        StoreError::Full { .. } => Some(SPACE),
        StoreError::Failed { source, .. } => source.downcast_ref::<io::Error>().and_then(about_files),
    }
}

fn about_files(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::AddrInUse => Some(
            "Another engine may be running there (`loadline status` asks it). End it, or choose another \
             address with --listen. Nothing was changed.",
        ),
        io::ErrorKind::AddrNotAvailable => Some("No interface of this machine has this address."),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(
            "Let this user write there, or name another folder with --data-dir. Nothing was changed, and tasks \
             that run go on meanwhile.",
        ),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Some("It must be a folder: name another one with --data-dir. Nothing was changed.")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(SPACE),
        _ => {
            let shortage = error.raw_os_error() == Some(nix::errno::Errno::EMFILE as i32);
            shortage.then_some("This process may open too few files: raise the limit (`ulimit -n 4096`).")
        }
    }
}
