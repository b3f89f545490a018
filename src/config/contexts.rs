//! Reads the command line's own file: named engines, each with its address, token and certificate
//! authority. Not here: which of them a command talks to (`cli::connection`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::error::SpecError;
use crate::config::reader::{Document, Report, Table, Value};
use crate::config::source::Source;
use crate::config::values::{line, path};
use crate::config::wording::nearest;

const ADDRESS_EXPECTED: &str = "an address such as \"http://127.0.0.1:7070\"";

/// The command line's own file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// The context of commands that name none.
    pub context: Option<String>,
    /// Contexts by name.
    pub contexts: BTreeMap<String, Context>,
}

/// One engine, as a command reaches it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The address of its API.
    pub server: Option<String>,
    /// The token itself.
    pub token: Option<String>,
    /// The file that holds the token.
    pub token_file: Option<PathBuf>,
    /// Certificate authorities in PEM, in place of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// A token is not to be found in logs.
impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("server", &self.server)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("token_file", &self.token_file)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// Reads contexts from a text that stands in `file`.
pub fn parse_client_config(file: &str, text: &str) -> Result<ClientConfig, Vec<SpecError>> {
    let sources = [Source::named(file, text)];
    let report = Report::default();
    let mut config = ClientConfig::default();
    Document::read(&report, &sources, 0, |root| config = contents(root));
    let errors = report.into_errors(&sources);
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

fn contents(root: &Table<'_>) -> ClientConfig {
    let named = root.get("contexts").and_then(|value| value.entries("tables such as [contexts.local]"));
    let mut contexts = BTreeMap::new();
    for (key, value) in named.unwrap_or_default() {
        let read = value.table(format!("contexts.{}", key.text), key.at, context);
        contexts.insert(key.text.to_owned(), read.unwrap_or_default());
    }
    let context = root.optional("context", |value| {
        let name = line(value)?;
        if contexts.contains_key(&name) {
            return Some(name);
        }
        let hint = nearest(&name, contexts.keys().map(String::as_str));
        value.refuse_hint("the name of one of the contexts below", hint)
    });
    ClientConfig { context, contexts }
}

fn context(table: &Table<'_>) -> Context {
    let read = Context {
        server: table.optional("server", address),
        token: table.optional("token", line),
        token_file: table.optional("token_file", path),
        ca_file: table.optional("ca_file", path),
    };
    if read.token.is_some() && read.token_file.is_some() {
        table.refuse_key("token", "both `token` and `token_file`".to_owned(), "one of them", None);
    }
    read
}

fn address(value: &Value<'_>) -> Option<String> {
    let text = value.text(ADDRESS_EXPECTED)?;
    if text.starts_with("http://") || text.starts_with("https://") {
        return Some(text.to_owned());
    }
    let meant = format!("http://{text}");
    value.refuse_hint(ADDRESS_EXPECTED, (!text.is_empty() && !text.contains("://")).then_some(meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_everything_reads() {
        let text = r#"
            context = "local"
            [contexts.local]
            server = "http://127.0.0.1:7070"
            token = "secret"
            [contexts.far]
            server = "https://loadline.example"
            token_file = "far.token"
            ca_file = "/etc/ca.pem"
        "#;
        let config = parse_client_config("/home/a/config.toml", text).expect("a valid file");
        assert_eq!(config.context.as_deref(), Some("local"));
        assert_eq!(config.contexts["local"].token.as_deref(), Some("secret"));
        let far = &config.contexts["far"];
        assert_eq!(far.token_file, Some(PathBuf::from("/home/a/far.token")));
        assert_eq!(far.ca_file, Some(PathBuf::from("/etc/ca.pem")));
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        let text = "context = \"locl\"\n[contexts.local]\nserver = \"127.0.0.1:7070\"\ntoken = \"a\"\ntoken_file = \"/b\"\ncafile = \"/c\"\n";
        let errors = parse_client_config("/c.toml", text).expect_err("mistakes");
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "/c.toml:1:11: found \"locl\", expected the name of one of the contexts below; did you mean `local`?",
                "/c.toml:3:10: found \"127.0.0.1:7070\", expected an address such as \"http://127.0.0.1:7070\"; did you mean `http://127.0.0.1:7070`?",
                "/c.toml:4:9: found both `token` and `token_file`, expected one of them",
                "/c.toml:6:1: found unknown key `cafile`, expected `server`, `token`, `token_file` or `ca_file`; did you mean `ca_file`?",
            ]
        );
    }
}
