//! Reads spanned TOML tables: a `Table` notes each key that it is asked for, reports what is wrong with
//! its value, and reports at its end every key that nobody asked for. A refused value becomes the
//! default, so that reading goes on to the next mistake.
//! Not here: what the values mean (`values` and the modules of the tables).

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::SpecError;
use crate::config::source::Source;
use crate::config::wording::{nearest, one_of, shortened, syntax_error};

/// Keys of a table that has more than this many are not listed in errors.
const LISTED_KEYS_MAX: usize = 8;

/// A position in one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    source: usize,
    offset: usize,
}

impl Place {
    /// The position some bytes further on.
    pub(super) fn after(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }
}

/// How sure an error is where the file is not even TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Not TOML.
    Syntax,
    /// A key or value that is not valid.
    Content,
    /// Something that is not there, or that does not agree with something elsewhere. In a file with
    /// broken lines that may be their doing.
    Absence,
}

#[derive(Debug)]
struct Problem {
    at: Place,
    kind: Kind,
    found: String,
    expected: String,
    hint: Option<String>,
}

/// Every mistake found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    fn push(&self, kind: Kind, at: Place, found: String, expected: String, hint: Option<String>) {
        self.problems.borrow_mut().push(Problem { at, kind, found, expected, hint });
    }

    /// Notes that two parts of the specs do not agree.
    pub(super) fn disagreement(&self, at: Place, found: String, expected: String, hint: Option<String>) {
        self.push(Kind::Absence, at, found, expected, hint);
    }

    /// The errors in the order of files and positions. What only follows from text that is not TOML is
    /// left out: that text is reported, and what it would have said is not known.
    pub(super) fn into_errors(self, sources: &[Source]) -> Vec<SpecError> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.at);
        let mut broken: Vec<Range<Place>> = Vec::new();
        let has_broken = problems.iter().any(|problem| problem.kind == Kind::Syntax);
        problems.retain(|problem| {
            let follows = broken.iter().any(|broken| broken.contains(&problem.at));
            if problem.kind == Kind::Syntax && !follows {
                let offset = problem.at.offset;
                let lost = sources[problem.at.source].lost_by_error_at(offset);
                let place = |offset| Place { offset, ..problem.at };
                broken.push(place(lost.start)..place(lost.end));
            }
            !(follows || (has_broken && problem.kind == Kind::Absence))
        });
        // A syntax error spoils what stands before it on its line, too.
        problems.retain(|problem| {
            problem.kind == Kind::Syntax || !broken.iter().any(|broken| broken.contains(&problem.at))
        });
        problems
            .into_iter()
            .map(|p| sources[p.at.source].error(p.at.offset, &p.found, &p.expected, p.hint))
            .collect()
    }
}

/// What a position in a source is for a person: `file:line:column`.
pub(super) fn describe(at: Place, sources: &[Source]) -> String {
    let source = &sources[at.source];
    let (line, column) = source.line_and_column(at.offset);
    format!("{}:{line}:{column}", source.file)
}

/// Where readers report to, and which source they read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    report: &'a Report,
    source: &'a Source,
    index: usize,
}

impl<'a> Document<'a> {
    /// Reads one source: its mistakes in TOML go to the report, its tables to `read`.
    pub(super) fn read(
        report: &'a Report,
        sources: &'a [Source],
        index: usize,
        read: impl FnOnce(&Table<'_>),
    ) {
        let source = &sources[index];
        let document = Document { report, source, index };
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        for error in errors {
            let span = error.span().unwrap_or(source.text.len()..source.text.len());
            let text = source.text.get(span.clone()).unwrap_or_default();
            let (found, expected) = syntax_error(error.message(), text);
            report.push(Kind::Syntax, document.place(span.start), found, expected, None);
        }
        let table = Table::new(document, root.get_ref(), String::new(), document.place(0));
        read(&table);
        table.finish();
    }

    fn place(self, offset: usize) -> Place {
        Place { source: self.index, offset }
    }
}

/// A key with its position, for tables whose keys are free.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    document: Document<'a>,
    /// The key.
    pub(super) text: &'a str,
    /// Where it stands.
    pub(super) at: Place,
}

impl Key<'_> {
    /// Reports the key; gives nothing, for the reader to hand on.
    pub(super) fn refuse<T>(&self, expected: &str, hint: Option<String>) -> Option<T> {
        let found = format!("`{}`", shortened(self.text));
        self.document.report.push(Kind::Content, self.at, found, expected.to_owned(), hint);
        None
    }
}

/// A value with its position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    document: Document<'a>,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        self.document.place(self.value.span().start)
    }

    /// The TOML value.
    pub(super) fn get(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// The folder that relative paths are relative to.
    pub(super) fn folder(&self) -> Option<&'a std::path::Path> {
        self.document.source.folder.as_deref()
    }

    /// As it stands in the file.
    pub(super) fn written(&self) -> &'a str {
        self.document.source.text.get(self.value.span()).unwrap_or_default()
    }

    /// Reports the value; gives nothing, for the reader to hand on.
    pub(super) fn refuse<T>(&self, expected: &str) -> Option<T> {
        self.refuse_as(self.described(), expected, None)
    }

    /// Reports the value, with the nearest valid text.
    pub(super) fn refuse_hint<T>(&self, expected: &str, hint: Option<String>) -> Option<T> {
        self.refuse_as(self.described(), expected, hint)
    }

    /// Reports the value in other words.
    pub(super) fn refuse_as<T>(&self, found: String, expected: &str, hint: Option<String>) -> Option<T> {
        self.refuse_at(self.place(), found, expected, hint)
    }

    /// Reports a part of the value.
    pub(super) fn refuse_at<T>(
        &self,
        at: Place,
        found: String,
        expected: &str,
        hint: Option<String>,
    ) -> Option<T> {
        self.document.report.push(Kind::Content, at, found, expected.to_owned(), hint);
        None
    }

    fn described(&self) -> String {
        match self.get() {
            DeValue::String(text) => format!("\"{}\"", shortened(text)),
            DeValue::Integer(number) => shortened(&number.to_string()).into_owned(),
            DeValue::Float(number) => shortened(number.as_str()).into_owned(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(value) => value.to_string(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    /// Its text, if it is a string.
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        if let DeValue::String(text) = self.get() { Some(text) } else { self.refuse(expected) }
    }

    /// Its text, if it is a string; a number or truth value gets the hint to put it in quotes.
    pub(super) fn quoted(&self, expected: &str) -> Option<&'a str> {
        match self.get() {
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
                self.refuse_hint(expected, Some(format!("\"{}\"", self.described())))
            }
            _ => self.text(expected),
        }
    }

    /// Its elements, if it is an array.
    pub(super) fn elements(&self, expected: &str) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(elements) = self.get() else { return self.refuse(expected) };
        Some(elements.iter().map(|value| Value { document: self.document, value }).collect())
    }

    /// Its keys and values, if it is a table whose keys are free.
    pub(super) fn entries(&self, expected: &str) -> Option<Vec<(Key<'a>, Value<'a>)>> {
        let DeValue::Table(entries) = self.get() else { return self.refuse(expected) };
        let document = self.document;
        Some(
            entries
                .iter()
                .map(|(key, value)| {
                    let at = document.place(key.span().start);
                    (Key { document, text: key.get_ref(), at }, Value { document, value })
                })
                .collect(),
        )
    }

    /// What `read` makes of it, if it is a table. `name` is what errors call it, `at` where they place
    /// what it lacks.
    pub(super) fn table<T>(&self, name: String, at: Place, read: impl FnOnce(&Table<'a>) -> T) -> Option<T> {
        let DeValue::Table(entries) = self.get() else {
            return self.refuse(&format!("a table such as [{name}]"));
        };
        let table = Table::new(self.document, entries, name, at);
        let read = read(&table);
        table.finish();
        Some(read)
    }
}

/// A table with the keys that it was asked for so far.
#[derive(Debug)]
pub(super) struct Table<'a> {
    document: Document<'a>,
    entries: &'a DeTable<'a>,
    name: String,
    at: Place,
    keys: RefCell<Vec<&'static str>>,
    lacks: RefCell<Vec<Lack>>,
}

/// Something that a table should have and has not.
#[derive(Debug)]
struct Lack {
    /// The keys that could give it.
    keys: &'static [&'static str],
    found: String,
    expected: String,
}

impl<'a> Table<'a> {
    fn new(document: Document<'a>, entries: &'a DeTable<'a>, name: String, at: Place) -> Self {
        Self { document, entries, name, at, keys: RefCell::default(), lacks: RefCell::default() }
    }

    /// What errors call it, without brackets.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key, which is valid from now on.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.keys.borrow_mut().push(key);
        self.entries.get(key).map(|value| Value { document: self.document, value })
    }

    /// Where the value of a key stands; where the table begins if it has none.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.entries.get(key).map_or(self.at, |value| self.document.place(value.span().start))
    }

    /// Whether the key is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of a key; nothing if it is not written, or refused.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        self.get(key).and_then(|value| read(&value))
    }

    /// The value of a key, or its default.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// The value of a key that must be written; nothing if it is refused.
    pub(super) fn required<T>(
        &self,
        keys: &'static [&'static str; 1],
        example: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let [key] = keys;
        if !self.has(key) {
            self.refuse_absence(keys, format!("no `{key}` in [{}]", self.name), example);
        }
        self.optional(key, read)
    }

    /// What `read` makes of a table in this table, if it is written.
    pub(super) fn table<T>(&self, key: &'static str, read: impl FnOnce(&Table<'a>) -> T) -> Option<T> {
        let value = self.get(key)?;
        let at =
            self.entries.get_key_value(key).map_or(self.at, |(key, _)| self.document.place(key.span().start));
        value.table(self.path(key), at, read)
    }

    /// What errors call a table in this one.
    pub(super) fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Reports that the table has none of `keys`, unless one of them turns out to be misspelt.
    pub(super) fn refuse_absence(&self, keys: &'static [&'static str], found: String, expected: &str) {
        self.lacks.borrow_mut().push(Lack { keys, found, expected: expected.to_owned() });
    }

    /// Reports that a key does not agree with the rest of the table.
    pub(super) fn refuse_key(&self, key: &str, found: String, expected: &str, hint: Option<String>) {
        let at = self.place_of(key);
        self.document.report.push(Kind::Content, at, found, expected.to_owned(), hint);
    }

    /// Reports unknown keys, then what is lacking and was not just misspelt.
    fn finish(self) {
        let report = self.document.report;
        let keys = self.keys.into_inner();
        let mut meant = Vec::new();
        for key in self.entries.keys() {
            let written: &str = key.get_ref();
            if keys.contains(&written) {
                continue;
            }
            let expected = if keys.len() <= LISTED_KEYS_MAX {
                one_of(&keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>())
            } else if self.name.is_empty() {
                "a key of this file".to_owned()
            } else {
                format!("a key of [{}]", self.name)
            };
            let hint = nearest(written, keys.iter().copied());
            meant.extend(hint.clone());
            let at = self.document.place(key.span().start);
            report.push(Kind::Content, at, format!("unknown key `{}`", shortened(written)), expected, hint);
        }
        for lack in self.lacks.into_inner() {
            if !lack.keys.iter().any(|key| meant.iter().any(|meant| meant == key)) {
                report.push(Kind::Absence, self.at, lack.found, lack.expected, None);
            }
        }
    }
}
