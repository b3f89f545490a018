//! How values stand in columns: instants as text that sorts, words of enums, bodies as JSON.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// An instant as ISO 8601 text in UTC, exact and of one length, so that text order is time order.
pub(super) fn instant(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// The instant that `instant` wrote.
pub(super) fn read_instant(text: &str) -> Result<Timestamp, Fault> {
    read_text(text)
}

/// An instant as microseconds since 1970 UTC, rounded down: samples are many, and 8 bytes are a third
/// of the text.
pub(super) fn microseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond().div_euclid(1000)).unwrap_or(i64::MAX)
}

/// The instant that `microseconds` wrote.
pub(super) fn read_microseconds(at: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_microsecond(at).map_err(|error| Fault::Content(error.to_string()))
}

/// A value that its own type can read back from text.
pub(super) fn read_text<T: FromStr>(text: &str) -> Result<T, Fault>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Fault::Content(format!("`{text}`: {error}")))
}

/// A value as JSON.
pub(super) fn body<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Content(error.to_string()))
}

/// The value that `body` wrote.
pub(super) fn read_body<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Content(error.to_string()))
}

/// The word of an enum's variant without fields.
pub(super) fn read_word<T: DeserializeOwned>(word: String) -> Result<T, Fault> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| Fault::Content(error.to_string()))
}

/// A count as `SQLite` keeps it. Counts above 2^63 do not occur: they would be bytes beyond any machine.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The count that `count` wrote.
pub(super) fn read_count(value: i64) -> Result<u64, Fault> {
    u64::try_from(value).map_err(|_| Fault::Content(format!("{value} where a count is expected")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_order_is_time_order_and_nothing_is_lost() {
        let texts = ["2026-11-22T10:00:05Z", "2026-11-22T10:00:05.000000001Z", "2026-11-22T10:00:05.5Z"];
        let written: Vec<String> =
            texts.iter().map(|text| instant(text.parse().expect("an instant"))).collect();
        assert!(written.is_sorted(), "{written:?}");
        for (text, written) in texts.iter().zip(&written) {
            assert_eq!(read_instant(written).expect("an instant"), text.parse().expect("an instant"));
        }
    }

    #[test]
    fn microseconds_round_down_on_both_sides_of_1970() {
        assert_eq!(microseconds("1970-01-01T00:00:00.0000019Z".parse().expect("an instant")), 1);
        assert_eq!(microseconds("1969-12-31T23:59:59.9999991Z".parse().expect("an instant")), -1);
    }
}
