//! Reads single values: numbers within limits, sizes, durations, names, words, commands, paths.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use toml::de::DeValue;

use crate::config::limits::{
    CORES_MAX, CORES_MIN, COUNT_MAX, DURATION_MAX, INTERVAL_MIN, MEMORY_MAX, MEMORY_MIN, TRIES_MAX,
};
use crate::config::reader::{Key, Place, Value};
use crate::config::wording::{nearest, one_of};
use crate::domain::quantity::{Bytes, Millicores, Share};
use crate::domain::workload::check_name;

const MEMORY_EXPECTED: &str = "an amount of memory such as \"256MiB\"";
const DURATION_EXPECTED: &str = "a duration such as \"30s\" or \"1h 30m\"";
const COMMAND_EXPECTED: &str = "a command such as [\"./web\", \"--fast\"] or \"./web --fast\"";

/// `true` or `false`.
pub(super) fn flag(value: &Value<'_>) -> Option<bool> {
    match value.get() {
        DeValue::Boolean(flag) => Some(*flag),
        DeValue::String(text) => value.refuse_hint("true or false", nearest(text, ["true", "false"])),
        _ => value.refuse("true or false"),
    }
}

/// A whole number within `range`.
pub(super) fn whole(range: RangeInclusive<i64>) -> impl Fn(&Value<'_>) -> Option<i64> {
    move |value| {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match value.get() {
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) if range.contains(&number) => Some(number),
                _ => value.refuse(&expected),
            },
            // A number in quotes is meant as one.
            DeValue::String(text) => {
                let hint = text.parse().ok().filter(|number| range.contains(number));
                value.refuse_hint(&expected, hint.map(|number| number.to_string()))
            }
            _ => value.refuse(&expected),
        }
    }
}

/// A whole number within `range`, both ends below 2^32.
fn whole_u32(range: RangeInclusive<u32>) -> impl Fn(&Value<'_>) -> Option<u32> {
    let read = whole(i64::from(*range.start())..=i64::from(*range.end()));
    move |value| read(value).and_then(|number| u32::try_from(number).ok())
}

/// Instances or nodes, at least `min`.
pub(super) fn count(min: u32) -> impl Fn(&Value<'_>) -> Option<u32> {
    whole_u32(min..=COUNT_MAX)
}

/// Retries, failures or passes, at least `min`.
pub(super) fn tries(min: u32) -> impl Fn(&Value<'_>) -> Option<u32> {
    whole_u32(min..=TRIES_MAX)
}

/// A port number.
pub(super) fn port_number(value: &Value<'_>) -> Option<u16> {
    whole(1..=i64::from(u16::MAX))(value).and_then(|number| u16::try_from(number).ok())
}

/// A finite number, written with or without a fraction.
fn finite(value: &Value<'_>) -> Option<f64> {
    let number: f64 = match value.get() {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()? as f64,
        DeValue::Float(number) => number.as_str().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A number within `range`, which `expected` describes.
pub(super) fn number(range: RangeInclusive<f64>, expected: &str) -> impl Fn(&Value<'_>) -> Option<f64> {
    move |value| match finite(value) {
        Some(number) if range.contains(&number) => Some(number),
        Some(percent) if percent > *range.end() && range.contains(&(percent / 100.0)) => {
            value.refuse_hint(expected, Some((percent / 100.0).to_string()))
        }
        _ => value.refuse(expected),
    }
}

/// Any number.
pub(super) fn any_number(value: &Value<'_>) -> Option<f64> {
    finite(value).or_else(|| value.refuse("a number such as 4 or 2.5"))
}

/// A share from 0 to 1.
pub(super) fn share(value: &Value<'_>) -> Option<Share> {
    number(0.0..=1.0, "a share from 0 to 1")(value).map(Share::new)
}

/// CPU in cores.
pub(super) fn cores(value: &Value<'_>) -> Option<Millicores> {
    let expected = format!("a number of cores from {CORES_MIN} to {CORES_MAX}");
    let range = CORES_MIN..=CORES_MAX;
    match (value.get(), finite(value)) {
        (_, Some(cores)) if range.contains(&cores) => Some(Millicores::from_cores(cores)),
        // People who come from Kubernetes write "500m".
        (DeValue::String(text), _) => {
            let cores = match text.strip_suffix('m') {
                Some(thousandths) => thousandths.parse::<f64>().ok().map(|number| number / 1000.0),
                None => text.parse::<f64>().ok(),
            };
            let hint = cores.filter(|cores| range.contains(cores)).map(|cores| cores.to_string());
            value.refuse_hint(&expected, hint)
        }
        _ => value.refuse(&expected),
    }
}

/// Memory or storage, at least a MiB.
pub(super) fn memory(value: &Value<'_>) -> Option<Bytes> {
    let DeValue::String(text) = value.get() else {
        let hint = finite(value).map(|number| format!("\"{number}MiB\""));
        return value
            .refuse_hint(MEMORY_EXPECTED, hint.filter(|text| read_memory(text.trim_matches('"')).is_ok()));
    };
    match read_memory(text) {
        Ok(bytes) => Some(bytes),
        Err(expected) => value.refuse_hint(&expected, memory_hint(text)),
    }
}

fn read_memory(text: &str) -> Result<Bytes, String> {
    let bytes: Bytes = text.parse().map_err(|_| MEMORY_EXPECTED.to_owned())?;
    if (MEMORY_MIN..=MEMORY_MAX).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("an amount of memory from {MEMORY_MIN} to {MEMORY_MAX}"))
    }
}

/// The number with the unit that was probably meant: none, or a slip in it.
fn memory_hint(text: &str) -> Option<String> {
    let digits = text.trim().trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.trim()[digits.len()..].trim();
    let unit =
        if unit.is_empty() { Some("MiB".to_owned()) } else { nearest(unit, ["KiB", "MiB", "GiB", "TiB"]) };
    let meant = format!("{digits}{}", unit?);
    read_memory(&meant).ok().map(|_| meant)
}

/// A duration from nothing to years.
pub(super) fn duration(value: &Value<'_>) -> Option<SignedDuration> {
    duration_from(SignedDuration::ZERO)(value)
}

/// The time between two of something that repeats.
pub(super) fn interval(value: &Value<'_>) -> Option<SignedDuration> {
    duration_from(INTERVAL_MIN)(value)
}

/// A duration of at least `min`. Days are 24 hours long; months and years have no fixed length and are
/// refused.
pub(super) fn duration_from(min: SignedDuration) -> impl Fn(&Value<'_>) -> Option<SignedDuration> {
    move |value| {
        let DeValue::String(text) = value.get() else {
            let hint =
                finite(value).filter(|seconds| *seconds > 0.0).map(|seconds| format!("\"{seconds}s\""));
            return value.refuse_hint(DURATION_EXPECTED, hint);
        };
        let Some(duration) = read_duration(text) else {
            let seconds = format!("{text}s");
            let hint = text.parse::<u32>().ok().and_then(|_| read_duration(&seconds)).map(|_| seconds);
            return value.refuse_hint(DURATION_EXPECTED, hint);
        };
        if (min..=DURATION_MAX).contains(&duration) {
            Some(duration)
        } else {
            let days = DURATION_MAX.as_hours() / 24;
            value.refuse(&format!("a duration from {min:#} to {days} days"))
        }
    }
}

/// A duration as people write it, such as `90s` or `1d 12h`: days are 24 hours long, months and years are
/// refused.
pub fn read_duration(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    if span.get_months() != 0 || span.get_years() != 0 {
        return None;
    }
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

/// Text that a process can be given: not empty, without the character that ends text in C.
pub(super) fn line(value: &Value<'_>) -> Option<String> {
    let expected = "a text that is not empty";
    let text = value.quoted(expected)?;
    if text.trim().is_empty() || text.contains('\0') { value.refuse(expected) } else { Some(text.to_owned()) }
}

/// One of several words.
pub(super) fn word<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Value<'_>) -> Option<T> {
    move |value| {
        let expected = one_of(&words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>());
        let text = value.text(&expected)?;
        let found = words.iter().find(|(word, _)| *word == text);
        match found {
            Some((_, meaning)) => Some(*meaning),
            None => value.refuse_hint(&expected, nearest(text, words.iter().map(|(word, _)| *word))),
        }
    }
}

/// A name that stands for something, of the type that `make` makes.
pub(super) fn name<T>(make: impl Fn(&str) -> Result<T, &'static str>) -> impl Fn(&Value<'_>) -> Option<T> {
    move |value| {
        let text = value.text("a name such as \"web-2\"")?;
        make(text).map_or_else(|rule| value.refuse_hint(&name_rule(rule), name_hint(text)), Some)
    }
}

/// A name that stands for something, written as a key.
pub(super) fn key_name<T>(key: &Key<'_>, make: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
    make(key.text).map_or_else(|rule| key.refuse(&name_rule(rule), name_hint(key.text)), Some)
}

fn name_rule(rule: &str) -> String {
    format!("a name such as `web-2` ({rule})")
}

/// The name without what is not allowed in it.
fn name_hint(text: &str) -> Option<String> {
    let plain: String =
        text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = plain.trim_matches('-');
    (name != text && check_name(name).is_ok()).then(|| name.to_owned())
}

/// Program and arguments; a single text is for the shell.
pub(super) fn command(value: &Value<'_>) -> Option<Vec<String>> {
    if let DeValue::String(text) = value.get() {
        if text.trim().is_empty() || text.contains('\0') {
            return value.refuse_as("an empty command".to_owned(), COMMAND_EXPECTED, None);
        }
        return Some(["/bin/sh", "-c", text].map(str::to_owned).to_vec());
    }
    let elements = value.elements(COMMAND_EXPECTED)?;
    let Some(program) = elements.first() else {
        return value.refuse_as("an empty command".to_owned(), COMMAND_EXPECTED, None);
    };
    // Every element is read, so that each mistake is reported.
    let words: Vec<_> = elements.iter().map(argument).collect();
    if words.first().is_some_and(|word| word.as_ref().is_some_and(|word| word.trim().is_empty())) {
        return program.refuse("the name of a program");
    }
    words.into_iter().collect()
}

fn argument(value: &Value<'_>) -> Option<String> {
    let expected = "an argument in quotes";
    let text = value.quoted(expected)?;
    if text.contains('\0') { value.refuse(expected) } else { Some(text.to_owned()) }
}

/// A path; a relative one is relative to the folder of the file that it is written in.
pub(super) fn path(value: &Value<'_>) -> Option<PathBuf> {
    let text = line(value)?;
    if Path::new(&text).is_absolute() {
        return Some(PathBuf::from(text));
    }
    match value.folder() {
        Some(folder) => Some(folder.join(text)),
        None => value.refuse("an absolute path, since the folder of this file is not known here"),
    }
}

/// The elements of an array, each read by `read`, with their places; nothing if one is refused.
pub(super) fn list<'a, T>(
    value: &Value<'a>,
    expected: &str,
    read: impl Fn(&Value<'a>) -> Option<T>,
) -> Option<Vec<(T, Place)>> {
    let elements = value.elements(expected)?;
    // Collected in two steps, so that each mistake is reported.
    let read: Vec<_> = elements.iter().map(|value| read(value).map(|read| (read, value.place()))).collect();
    read.into_iter().collect()
}
