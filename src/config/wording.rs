//! The words of errors: what the TOML parser says in our form, names near to a misspelt one, lists.

use std::borrow::Cow;

use crate::config::limits::FOUND_CHARACTERS_MAX;

/// The parser's message and the text that it is about, as what was found and what was expected.
pub(super) fn syntax_error(message: &str, text: &str) -> (String, String) {
    let (said, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    // Text that begins like a number or a date is read as one until it cannot be.
    let number = ["invalid mantissa", "invalid fraction", "invalid exponent", "invalid float"]
        .contains(&said)
        || ["invalid integer number", "invalid date-time", "invalid boolean"].contains(&said);
    let (found, expected) = match said {
        "duplicate key" => (format!("`{}` a second time", shortened(text.trim())), "each key once"),
        "string values must be quoted" if text.trim().is_empty() => ("no value".to_owned(), "a value"),
        "string values must be quoted" => ("text without quotes".to_owned(), "text in quotes"),
        _ if number => ("neither a number nor text in quotes".to_owned(), "a number, or text in quotes"),
        _ if expected.is_empty() => (said.to_owned(), "valid TOML"),
        _ => return (said.to_owned(), expected.replace(", ", " or ")),
    };
    (found, expected.to_owned())
}

/// Several things of which one is wanted: `a, b or c`.
pub(super) fn one_of(things: &[String]) -> String {
    match things {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// Text from a file, short enough for one line of an error.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    let shown: String = text.escape_debug().take(FOUND_CHARACTERS_MAX + 1).collect();
    if shown == text {
        return Cow::Borrowed(text);
    }
    if shown.chars().count() > FOUND_CHARACTERS_MAX {
        let cut: String = shown.chars().take(FOUND_CHARACTERS_MAX).collect();
        return Cow::Owned(format!("{cut}..."));
    }
    Cow::Owned(shown)
}

/// The valid text that is nearest to what was written, if one is near enough to be meant: a few slips
/// of the finger away, or begun with it.
pub(super) fn nearest<'n>(written: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let written = written.to_lowercase();
    let slips_max = (written.chars().count() / 3).max(1);
    valid
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let slips = strsim::osa_distance(&written, &lower);
            let begins = written.len() >= 3 && lower.starts_with(&written);
            (slips <= slips_max || begins).then_some((slips, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_slip_or_a_beginning_away() {
        let valid = ["memory", "memory_limit", "command", "cpu"];
        assert_eq!(nearest("comand", valid).as_deref(), Some("command"));
        assert_eq!(nearest("mem", valid).as_deref(), Some("memory"));
        assert_eq!(nearest("CPU", valid).as_deref(), Some("cpu"));
        assert_eq!(nearest("replicas", valid), None);
        assert_eq!(nearest("", valid), None);
    }

    #[test]
    fn long_and_strange_text_is_shortened() {
        assert_eq!(shortened("web"), "web");
        assert_eq!(shortened("a\nb"), "a\\nb");
        assert_eq!(shortened(&"x".repeat(100)).chars().count(), FOUND_CHARACTERS_MAX + 3);
    }
}
