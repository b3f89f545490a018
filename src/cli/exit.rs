//! How commands end: one exit code a kind of ending, the same for every command, for scripts to tell
//! apart. In: an error. Out: the code.

use std::io::ErrorKind;
use std::process::ExitCode;

use crate::analytics::AnalyticsError;
use crate::api::client::ClientError;
use crate::replay::grid::TraceError;

/// A kind of ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or there was nothing to do.
    Done,
    /// Something failed that has no code of its own.
    Failed,
    /// Arguments, specs or settings that are not valid.
    BadInput,
    /// No engine answers, or it is too busy.
    Unreachable,
    /// The engine refuses as things stand.
    Refused,
    /// What was named does not exist.
    NotFound,
    /// No token, a wrong one, or one without the right to this.
    Unauthorized,
    /// A dry run found something to change.
    WouldChange,
    /// What was waited for ended badly: a rollout rolled back, a run failed.
    EndedBadly,
    /// What was waited for was still going on when time was up.
    StillGoing,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub(super) const ALL: [Self; 10] = [
        Self::Done,
        Self::Failed,
        Self::BadInput,
        Self::Unreachable,
        Self::Refused,
        Self::NotFound,
        Self::Unauthorized,
        Self::WouldChange,
        Self::EndedBadly,
        Self::StillGoing,
    ];

    /// The number that the process ends with.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for `--help` and the documentation.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or nothing to do",
            Self::Failed => "failed",
            Self::BadInput => "arguments, specs or settings are not valid",
            Self::Unreachable => "no engine answers, or it is too busy",
            Self::Refused => "refused as things stand",
            Self::NotFound => "what was named does not exist",
            Self::Unauthorized => "no token, a wrong one, or one without the right to this",
            Self::WouldChange => "`apply --dry-run`: something would change",
            Self::EndedBadly => "`--wait`: a rollout was rolled back, or a run failed",
            Self::StillGoing => "`--wait`: still going on when time was up",
        }
    }

    /// The codes as a text for `--help`.
    pub(super) fn help() -> String {
        let lines = Self::ALL.map(|exit| format!("  {}  {}", exit.code(), exit.meaning()));
        format!(
            "Exit codes:\n{}\n  `exec` ends as its command does; 124 where time was up, 125 where it could not be run",
            lines.join("\n")
        )
    }

    /// The ending that an error stands for. A reader that went away is no error.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        if let Some(Ended(exit, _)) = error.downcast_ref::<Ended>() {
            return *exit;
        }
        if is_closed_pipe(error) {
            return Self::Done;
        }
        let of_trace = error.downcast_ref::<AnalyticsError>().is_some_and(AnalyticsError::is_bad_input);
        if of_trace || error.is::<TraceError>() {
            return Self::BadInput;
        }
        match error.downcast_ref::<ClientError>() {
            Some(ClientError::Unreachable { .. }) => Self::Unreachable,
            Some(ClientError::Setup(_)) => Self::BadInput,
            Some(ClientError::Refused(problem)) => Self::of_status(problem.status),
            _ => Self::Failed,
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            400 | 413 | 415 | 422 => Self::BadInput,
            401 | 403 => Self::Unauthorized,
            404 => Self::NotFound,
            409 | 412 | 428 => Self::Refused,
            429 | 503 => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error with an ending of its own.
#[derive(Debug, thiserror::Error)]
#[error("{1}")]
pub(super) struct Ended(pub(super) Exit, pub(super) String);

/// An error with an ending of its own, to be returned.
pub(super) fn ended(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Ended(exit, message.into()).into()
}

/// Whether somebody stopped reading what is printed, as `head` does.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_the_documentation_says() {
        let documented = include_str!("../../docs/cli.md");
        for exit in Exit::ALL {
            let line = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(documented.contains(&line), "docs/cli.md lacks: {line}");
        }
    }

    #[test]
    fn each_status_has_its_code() {
        let of = |status| Exit::of_status(status).code();
        assert_eq!([422, 503, 409, 404, 401, 500].map(of), [2, 3, 4, 5, 6, 1]);
    }
}
