//! Builds the query of an address from what was given on the command line.

use std::fmt::{Display, Write as _};

/// Parameters as they are sent.
#[derive(Debug, Default)]
pub(super) struct Query(String);

impl Query {
    /// Adds a parameter where it has a value.
    pub(super) fn add(&mut self, name: &str, value: Option<impl Display>) {
        let Some(value) = value else { return };
        let mark = if self.0.is_empty() { '?' } else { '&' };
        let _ = write!(self.0, "{mark}{name}={}", escaped(&value.to_string()));
    }

    /// The same, with a parameter where it has a value.
    pub(super) fn with(mut self, name: &str, value: Option<impl Display>) -> Self {
        self.add(name, value);
        self
    }

    /// The address with the parameters.
    pub(super) fn of(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// The address of something that has a name: `/v1/KIND/NAME` and what follows.
pub(super) fn named(kind: &str, name: &str, rest: &str) -> String {
    // Segments of dots alone would lead elsewhere, escaped or not: this is no name of anything.
    let dots = !name.is_empty() && name.chars().all(|c| c == '.');
    let name = if dots { name.replace('.', "%2E") } else { name.to_owned() };
    format!("/v1/{kind}/{}{rest}", escaped(&name))
}

/// Text as a part of an address (RFC 3986): all but letters, digits and `-._~` as `%XX`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_one_value() {
        let mut query = Query::default();
        query.add("workload", None::<String>);
        query.add("text", Some("a&b=c d/ä"));
        query.add("limit", Some(5));
        assert_eq!(query.of("/v1/runs"), "/v1/runs?text=a%26b%3Dc%20d%2F%C3%A4&limit=5");
        assert_eq!(named("tasks", "web.3", "/stop"), "/v1/tasks/web.3/stop");
        assert_eq!(named("workloads", "../pools/a", ""), "/v1/workloads/..%2Fpools%2Fa");
        assert_eq!(named("workloads", "..", "/scale"), "/v1/workloads/%252E%252E/scale");
    }
}
