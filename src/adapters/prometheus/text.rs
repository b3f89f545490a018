//! Reads the Prometheus text exposition format 0.0.4 and what of `OpenMetrics` 1.0 is written the same way.
//! Not here: what the samples mean (`exposition`, `instance_metrics`), how they are fetched (`fetch`).
//!
//! Why own code: `docs/decisions/003-prometheus-text.md`. The grammar is the one of
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. Exemplars are
//! skipped; names in quotes (Prometheus 3, never sent unless asked for) are refused.

use std::borrow::Cow;
use std::collections::HashMap;

/// A line longer than this many bytes is refused.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// More samples than this are refused.
pub const SAMPLES_MAX: usize = 500_000;
/// More labels of one sample than this are refused.
pub const LABELS_MAX: usize = 64;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TextError {
    /// Counted from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub message: String,
}

/// The type that a `# TYPE` line declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// A count that only rises.
    Counter,
    /// A level; states and information count as levels.
    Gauge,
    /// Counts per bucket, with their sum.
    Histogram,
    /// Quantiles, with count and sum.
    Summary,
    /// Not said.
    Untyped,
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name, suffixes such as `_total` included.
    pub name: &'a str,
    /// Labels in the order of the text, escapes decoded.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The value; infinities and NaN are legal.
    pub value: f64,
    /// The value as written: integers above 2^53 are exact only here.
    pub written: &'a str,
    /// The instant that the source gives to it, as written: milliseconds in the plain format, seconds in
    /// `OpenMetrics`.
    pub timestamp: Option<f64>,
}

impl Sample<'_> {
    /// The value of a label; an absent one and an empty one are the same in Prometheus' data model.
    pub fn label(&self, name: &str) -> Option<&str> {
        let (_, value) = self.labels.iter().find(|(label, _)| *label == name)?;
        (!value.is_empty()).then_some(value)
    }
}

/// Everything that a text says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposition<'a> {
    /// Samples in the order of the text.
    pub samples: Vec<Sample<'a>>,
    /// The declared types by metric name, as declared.
    pub types: HashMap<&'a str, MetricType>,
}

impl Exposition<'_> {
    /// Whether the samples of `name` only rise. `OpenMetrics` declares a counter without the suffix
    /// `_total` that its samples have; the parts of histograms and summaries are counters too. A metric
    /// without a declared type is taken by its name, as Prometheus' naming rules have it.
    pub fn is_counter(&self, name: &str) -> bool {
        if let Some(declared) = self.types.get(name).filter(|declared| **declared != MetricType::Untyped) {
            return *declared == MetricType::Counter;
        }
        let declared = |suffix: &str| name.strip_suffix(suffix).and_then(|base| self.types.get(base));
        let is = |suffix: &str, wanted: &[MetricType]| declared(suffix).is_some_and(|t| wanted.contains(t));
        let parts = [MetricType::Histogram, MetricType::Summary];
        is("_total", &[MetricType::Counter])
            || is("_bucket", &[MetricType::Histogram])
            || is("_count", &parts)
            || is("_sum", &parts)
            || (name.ends_with("_total") && declared("_total").is_none())
    }
}

/// Reads a whole text.
pub fn parse(text: &str) -> Result<Exposition<'_>, TextError> {
    let mut found = Exposition::default();
    let mut ended = false;
    for (index, line) in text.split('\n').enumerate() {
        let at = |message: String| TextError { line: index + 1, message };
        if line.len() > LINE_BYTES_MAX {
            return Err(at(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        let line = line.strip_suffix('\r').unwrap_or(line).trim_matches([' ', '\t']);
        if line.is_empty() {
            continue;
        }
        if ended {
            return Err(at("text after `# EOF`".to_owned()));
        }
        if let Some(comment) = line.strip_prefix('#') {
            ended = comment.trim_matches([' ', '\t']) == "EOF";
            read_comment(comment, &mut found.types).map_err(at)?;
        } else if found.samples.len() == SAMPLES_MAX {
            return Err(at(format!("more than {SAMPLES_MAX} samples")));
        } else {
            found.samples.push(read_sample(line).map_err(at)?);
        }
    }
    Ok(found)
}

/// Takes the type from a `TYPE` line; every other comment says nothing to a machine.
fn read_comment<'a>(comment: &'a str, types: &mut HashMap<&'a str, MetricType>) -> Result<(), String> {
    let mut words = comment.split([' ', '\t']).filter(|word| !word.is_empty());
    if words.next() != Some("TYPE") {
        return Ok(());
    }
    let (Some(name), Some(word), None) = (words.next(), words.next(), words.next()) else {
        return Err("expected `# TYPE name type`".to_owned());
    };
    if name_end(name, true) != name.len() {
        return Err(format!("{} is not a metric name", quoted(name)));
    }
    let declared = match word {
        "counter" => MetricType::Counter,
        "gauge" | "info" | "stateset" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "summary" => MetricType::Summary,
        // The parts of a gauge histogram rise and fall, and have suffixes of their own.
        "untyped" | "unknown" | "gaugehistogram" => MetricType::Untyped,
        other => return Err(format!("{} is not a metric type", quoted(other))),
    };
    match types.insert(name, declared) {
        Some(before) if before != declared => Err(format!("a second, different type of {}", quoted(name))),
        _ => Ok(()),
    }
}

/// A sample: `name{label="value",...} value [timestamp] [# exemplar]`.
fn read_sample(line: &str) -> Result<Sample<'_>, String> {
    let end = name_end(line, true);
    if end == 0 {
        return Err(format!("expected a metric name at {}", quoted(line)));
    }
    let (name, rest) = line.split_at(end);
    let trimmed = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match trimmed.strip_prefix('{') {
        Some(inside) => read_labels(inside)?,
        None if trimmed.len() == rest.len() => {
            return Err(format!("expected `{{` or a blank at {}", quoted(rest)));
        }
        None => (Vec::new(), trimmed),
    };
    let rest = rest.split_once('#').map_or(rest, |(before, _exemplar)| before);
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let written = words.next().ok_or("expected a value")?;
    let value = written.parse().map_err(|_| format!("{} is not a value", quoted(written)))?;
    let read = |timestamp: &str| {
        timestamp.parse::<f64>().map_err(|_| format!("{} is not a timestamp", quoted(timestamp)))
    };
    let timestamp = words.next().map(read).transpose()?;
    match words.next() {
        Some(word) => Err(format!("expected the end of the line at {}", quoted(word))),
        None => Ok(Sample { name, labels, value, written, timestamp }),
    }
}

/// Labels with their decoded values.
type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The labels after `{`, and what follows `}`.
fn read_labels(mut rest: &str) -> Result<(Labels<'_>, &str), String> {
    let blank = [' ', '\t'];
    let mut labels: Labels<'_> = Vec::new();
    loop {
        rest = rest.trim_start_matches(blank);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let end = name_end(rest, false);
        if end == 0 {
            return Err(format!("expected a label name or `}}` at {}", quoted(rest)));
        }
        let name = &rest[..end];
        let value = rest[end..]
            .trim_start_matches(blank)
            .strip_prefix('=')
            .and_then(|value| value.trim_start_matches(blank).strip_prefix('"'))
            .ok_or_else(|| format!("expected `=\"` after label {}", quoted(name)))?;
        let (value, after) =
            read_value(value).ok_or_else(|| format!("the value of label {} does not end", quoted(name)))?;
        if labels.iter().any(|(label, _)| *label == name) {
            return Err(format!("label {} twice", quoted(name)));
        }
        if labels.len() == LABELS_MAX {
            return Err(format!("more than {LABELS_MAX} labels"));
        }
        labels.push((name, value));
        rest = after.trim_start_matches(blank);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err(format!("expected `,` or `}}` at {}", quoted(rest))),
        }
    }
}

/// A label's value up to the closing quote, and what follows it.
fn read_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut decoded: Option<String> = None;
    let mut copied = 0;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let tail = &text[copied..at];
                let value = decoded.map_or(Cow::Borrowed(tail), |start| Cow::Owned(start + tail));
                return Some((value, &text[at + 1..]));
            }
            '\\' => {
                let (next, escaped) = characters.next()?;
                let meant = match escaped {
                    'n' => '\n',
                    '\\' | '"' => escaped,
                    // Not an escape: Prometheus keeps both characters.
                    _ => continue,
                };
                let decoded = decoded.get_or_insert_default();
                decoded.push_str(&text[copied..at]);
                decoded.push(meant);
                copied = next + escaped.len_utf8();
            }
            _ => {}
        }
    }
    None
}

/// Where the name at the beginning of `text` ends: 0 where there is none. Only metrics have colons.
fn name_end(text: &str, colons: bool) -> usize {
    let part = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    if !text.starts_with(part) {
        return 0;
    }
    text.find(|c: char| !part(c) && !c.is_ascii_digit()).unwrap_or(text.len())
}

/// The beginning of a text in quotes, for messages.
fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() { format!("`{shown}...`") } else { format!("`{shown}`") }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Sample<'_> {
        let mut found = parse(text).expect("a text").samples;
        assert_eq!(found.len(), 1, "{text}");
        found.remove(0)
    }

    fn error(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn the_example_of_the_format_s_own_page_is_read() {
        let text = r#"
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
"#;
        let found = parse(text).expect("a text");
        assert_eq!(found.samples.len(), 7);
        let file = &found.samples[2];
        assert_eq!(file.label("path"), Some(r"C:\DIR\FILE.TXT"));
        assert_eq!(file.label("error"), Some("Cannot find file:\n\"FILE.TXT\""));
        assert!(found.samples[4].value.is_infinite());
        for (name, counter) in [
            ("http_requests_total", true),
            ("http_request_duration_seconds_sum", true),
            ("http_request_duration_seconds_bucket", true),
            ("metric_without_timestamp_and_labels", false),
        ] {
            assert_eq!(found.is_counter(name), counter, "{name}");
        }
    }

    #[test]
    fn separators_inside_label_values_are_text() {
        let sample = one(r#"a{b="x,y",c="x}y",d="x=\"y\" # z"} 1"#);
        let values: Vec<_> = sample.labels.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        assert_eq!(values, [("b", "x,y"), ("c", "x}y"), ("d", "x=\"y\" # z")]);
    }

    #[test]
    fn blanks_line_ends_and_a_last_comma_do_not_matter() {
        let sample = one("\r\n \ta { b = \"1\" ,\tc=\"2\", }\t5e-1 \r\n\r\n");
        assert_eq!((sample.name, sample.value), ("a", 0.5));
        assert_eq!(sample.labels, [("b", Cow::Borrowed("1")), ("c", Cow::Borrowed("2"))]);
        assert_eq!(one("a{} 1").labels, []);
    }

    #[test]
    fn open_metrics_counters_exemplars_and_end_are_understood() {
        let text = "# TYPE a counter\n# UNIT a seconds\na_total 17 1.5 # {trace=\"x\"} 0.6 1.5\n# EOF\n";
        let found = parse(text).expect("a text");
        assert_eq!(found.samples[0].written, "17");
        assert!(found.is_counter("a_total"));
        assert_eq!(error("# EOF\na 1\n"), "line 2: text after `# EOF`");
    }

    #[test]
    fn without_a_declared_type_the_name_tells() {
        let found =
            parse("a_total 1\nb 2\n# TYPE c_total gauge\nc_total 3\n# TYPE d gauge\n").expect("a text");
        let counters = ["a_total", "b", "c_total", "d_total"].map(|name| found.is_counter(name));
        assert_eq!(counters, [true, false, false, false]);
    }

    #[test]
    fn unknown_escapes_keep_their_backslash() {
        assert_eq!(one(r#"a{b="\d\\"} 1"#).label("b"), Some(r"\d\"));
    }

    #[test]
    fn integers_are_kept_as_written() {
        assert_eq!(one("a 18446744073709551615").written, "18446744073709551615");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            ("ok 1\n2bad 1", "line 2: expected a metric name at `2bad 1`"),
            ("a", "line 1: expected `{` or a blank at ``"),
            ("a ", "line 1: expected `{` or a blank at ``"),
            ("a{}", "line 1: expected a value"),
            ("a-b 1", "line 1: expected `{` or a blank at `-b 1`"),
            ("a one", "line 1: `one` is not a value"),
            ("a 1 soon", "line 1: `soon` is not a timestamp"),
            ("a 1 2 3", "line 1: expected the end of the line at `3`"),
            ("a{b=1} 1", "line 1: expected `=\"` after label `b`"),
            ("a{b=\"1} 1", "line 1: the value of label `b` does not end"),
            ("a{b=\"1\\", "line 1: the value of label `b` does not end"),
            ("a{b=\"1\"c=\"2\"} 1", "line 1: expected `,` or `}` at `c=\"2\"} 1`"),
            ("a{b=\"1\",b=\"2\"} 1", "line 1: label `b` twice"),
            ("a{:b=\"1\"} 1", "line 1: expected a label name or `}` at `:b=\"1\"} 1`"),
            ("{\"a.b\"} 1", "line 1: expected a metric name at `{\"a.b\"} 1`"),
            ("# TYPE a", "line 1: expected `# TYPE name type`"),
            ("# TYPE a speed", "line 1: `speed` is not a metric type"),
            ("# TYPE a gauge\n# TYPE a counter", "line 2: a second, different type of `a`"),
        ] {
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn size_is_bounded() {
        let long = format!("a{{b=\"{}\"}} 1", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(error(&long), format!("line 1: longer than {LINE_BYTES_MAX} bytes"));
        let many = "a 1\n".repeat(SAMPLES_MAX + 1);
        assert_eq!(error(&many), format!("line {}: more than {SAMPLES_MAX} samples", SAMPLES_MAX + 1));
        let mut labels = String::from("a{");
        for label in 0..=LABELS_MAX {
            write!(labels, "l{label}=\"\",").expect("text");
        }
        assert_eq!(error(&format!("{labels}}} 1")), format!("line 1: more than {LABELS_MAX} labels"));
    }

    /// What one sample is made of: name, labels, value.
    type Made = (String, Vec<(String, String)>, f64);

    fn made() -> impl Strategy<Value = Made> {
        let label = ("[a-zA-Z_][a-zA-Z0-9_]{0,6}", "[^\\r]{0,12}");
        let labels = proptest::collection::btree_map(label.0, label.1, 0..4)
            .prop_map(|labels| labels.into_iter().collect());
        ("[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", labels, any::<f64>())
    }

    fn render((name, labels, value): &Made) -> String {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| {
                let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                format!("{name}=\"{value}\"")
            })
            .collect();
        format!("{name}{{{}}} {value}\n", labels.join(","))
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_back(all in proptest::collection::vec(made(), 0..6)) {
            let text: String = all.iter().map(render).collect();
            let found = parse(&text).expect("a text").samples;
            prop_assert_eq!(found.len(), all.len());
            for (sample, (name, labels, value)) in found.iter().zip(&all) {
                prop_assert_eq!(sample.name, name);
                let read: Vec<_> =
                    sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
                prop_assert_eq!(&read, labels);
                prop_assert!(sample.value.to_bits() == value.to_bits() || (sample.value.is_nan() && value.is_nan()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ab_#{}=\",\\\\\\n\\r\\t 0-9é.+-]{0,60}") {
            if let Err(error) = parse(&text) {
                prop_assert!((1..=text.split('\n').count()).contains(&error.line));
            }
        }

        /// On input without separators in values the published crate is right, and agrees.
        #[test]
        fn simple_input_is_read_as_prometheus_parse_does(
            all in proptest::collection::vec(("[a-z]{1,8}", "[a-z]{1,4}", "[a-z0-9/ ]{0,8}", -1e9..1e9_f64), 1..6)
        ) {
            let mut text = String::new();
            for (name, label, value, number) in &all {
                writeln!(text, "{name}{{{label}=\"{value}\"}} {number}").expect("text");
            }
            let lines = text.lines().map(|line| Ok(line.to_owned()));
            let theirs = prometheus_parse::Scrape::parse(lines).expect("a text").samples;
            let ours = parse(&text).expect("a text").samples;
            prop_assert_eq!(theirs.len(), ours.len());
            for (their, our) in theirs.iter().zip(&ours) {
                prop_assert_eq!(&their.metric, our.name);
                let (name, value) = &our.labels[0];
                prop_assert_eq!(their.labels.get(name).unwrap_or_default(), value.as_ref());
                prop_assert_eq!(&their.value, &prometheus_parse::Value::Untyped(our.value));
            }
        }
    }
}
