//! A mistake in a spec, for the person who wrote it: where it is, what stands there, what should.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One mistake in a spec or in the engine's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "{file}:{line}:{column}: found {found}, expected {expected}{}",
    hint.as_ref().map(|hint| format!("; did you mean `{hint}`?")).unwrap_or_default()
)]
pub struct SpecError {
    /// The file, named as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub expected: String,
    /// The nearest valid text, where there is one.
    pub hint: Option<String>,
}

/// The errors for a terminal: a line each, then their number.
pub fn render_errors(errors: &[SpecError]) -> String {
    let mut text = String::new();
    for error in errors {
        let _ = writeln!(text, "{error}");
    }
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    let _ = writeln!(text, "{} {noun}", errors.len());
    text
}
