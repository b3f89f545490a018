//! Which engine a command talks to, and as whom. In: flags, environment and the contexts file, of which
//! the earlier ones win. Out: a client, and where each of its values came from, for error messages.

use std::env;
use std::fmt;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::api::client::{Client, ClientError, ClientOptions};
use crate::cli::exit::{Exit, ended};
use crate::cli::output::say_error;
use crate::config::{ClientConfig, Context, parse_client_config, render_errors};

/// Where an engine listens unless told otherwise.
const SERVER_DEFAULT: &str = "http://127.0.0.1:7070";

/// The options that say which engine is meant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// Address of the engine's API; else `LOADLINE_SERVER`, else the context's, else `http://127.0.0.1:7070`.
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// File that holds the token; else `LOADLINE_TOKEN` (the token itself), else the context's.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate authorities to trust, in PEM; else `LOADLINE_CA`, else the context's, else the
    /// machine's.
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The engine's name in the contexts file: `LOADLINE_CONFIG`, else ~/.config/loadline/config.toml.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    Context { name: String, file: PathBuf },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "the flag {name}"),
            Self::Variable(name) => write!(f, "the environment's {name}"),
            Self::Context { name, file } => write!(f, "context `{name}` of {}", file.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// A value with where it came from.
type Sourced<T> = (T, Origin);

/// Where a token is.
#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Text(String),
    File(PathBuf),
}

/// Everything that it takes to reach an engine.
pub(super) struct Connection {
    server: Sourced<String>,
    token: Option<Sourced<Secret>>,
    ca: Option<Sourced<PathBuf>>,
}

/// A part of the environment.
struct Environment {
    server: Option<String>,
    token: Option<String>,
    ca: Option<PathBuf>,
}

impl Connection {
    /// What flags, environment and contexts file say together.
    pub(super) fn of(args: &ConnectionArgs) -> anyhow::Result<Self> {
        let environment = Environment {
            server: variable("LOADLINE_SERVER"),
            token: variable("LOADLINE_TOKEN"),
            ca: variable("LOADLINE_CA").map(PathBuf::from),
        };
        let (file, config) = contexts()?;
        resolve(args, environment, &file, &config)
    }

    /// The client.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
        let token = match &self.token {
            None => None,
            Some((Secret::Text(text), _)) => Some(text.clone()),
            Some((Secret::File(file), origin)) => Some(read_token(file, origin)?),
        };
        let ca_pem = match &self.ca {
            None => None,
            Some((file, origin)) => Some(std::fs::read(file).map_err(|error| {
                let what = format!("{} (from {origin})", file.display());
                ended(Exit::BadInput, format!("cannot read the certificate authorities in {what}: {error}"))
            })?),
        };
        let options = ClientOptions { address: self.server.0.clone(), user, token, ca_pem };
        Ok(Client::connect(options)?)
    }

    /// What a person may want to know beside an error: which values led to it.
    pub(super) fn hint(&self, error: &ClientError) -> Option<String> {
        match error {
            ClientError::Unreachable { .. } => Some(format!("the address comes from {}", self.server.1)),
            ClientError::Refused(problem) if matches!(problem.status, 401 | 403) => Some(match &self.token {
                Some((_, origin)) => format!("the token comes from {origin}"),
                None => "no token was given: set LOADLINE_TOKEN, --token-file or a context".to_owned(),
            }),
            _ => None,
        }
    }
}

/// Flags before the context that a flag names, before the environment, before the context that the file
/// names. A context's token and authorities are for that context's engine only: they do not go to an
/// address that came from elsewhere.
fn resolve(
    args: &ConnectionArgs,
    environment: Environment,
    file: &Path,
    config: &ClientConfig,
) -> anyhow::Result<Connection> {
    let found = args.context.as_ref().or(config.context.as_ref());
    let context = found.map(|name| {
        let found = config.contexts.get(name);
        found.map(|context| (name, context)).ok_or_else(|| no_such_context(name, file, config))
    });
    let context = context.transpose()?;
    let (chosen, fallback) = if args.context.is_some() { (context, None) } else { (None, context) };
    let origin = |name: &str| Origin::Context { name: name.to_owned(), file: file.to_owned() };
    let of_context = |context: Option<(&String, &Context)>| {
        context.and_then(|(name, context)| Some((context.server.clone()?, origin(name))))
    };
    let server = args.server.clone().map(|server| (server, Origin::Flag("--server")));
    let server = server
        .or_else(|| of_context(chosen))
        .or_else(|| environment.server.map(|server| (server, Origin::Variable("LOADLINE_SERVER"))))
        .or_else(|| of_context(fallback))
        .unwrap_or_else(|| (SERVER_DEFAULT.to_owned(), Origin::Default));
    let own = |context: Option<(&String, &Context)>| {
        context.map(|(name, context)| (name.clone(), context.clone())).filter(|(_, context)| {
            same_server(context.server.as_deref().unwrap_or(SERVER_DEFAULT), &server.0)
        })
    };
    let (chosen, fallback) = (own(chosen), own(fallback));
    let secret = |context: &Option<(String, Context)>| {
        let (name, context) = context.as_ref()?;
        let text = context.token.clone().map(Secret::Text);
        Some((text.or_else(|| context.token_file.clone().map(Secret::File))?, origin(name)))
    };
    let authorities = |context: &Option<(String, Context)>| {
        let (name, context) = context.as_ref()?;
        Some((context.ca_file.clone()?, origin(name)))
    };
    let flag = args.token_file.clone().map(|file| (Secret::File(file), Origin::Flag("--token-file")));
    let token = flag
        .or_else(|| secret(&chosen))
        .or_else(|| environment.token.map(|text| (Secret::Text(text), Origin::Variable("LOADLINE_TOKEN"))))
        .or_else(|| secret(&fallback));
    let flag = args.ca_file.clone().map(|file| (file, Origin::Flag("--ca-file")));
    let ca = flag
        .or_else(|| authorities(&chosen))
        .or_else(|| environment.ca.map(|file| (file, Origin::Variable("LOADLINE_CA"))))
        .or_else(|| authorities(&fallback));
    Ok(Connection { server, token, ca })
}

fn same_server(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn no_such_context(name: &str, file: &Path, config: &ClientConfig) -> anyhow::Error {
    let names: Vec<&str> = config.contexts.keys().map(String::as_str).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    ended(Exit::BadInput, format!("there is no context `{name}` in {}; it has {known}", file.display()))
}

/// A variable of the environment; one that is empty counts as absent.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The contexts file and what it says; nothing where there is none, unless one was named.
fn contexts() -> anyhow::Result<(PathBuf, ClientConfig)> {
    let named = variable("LOADLINE_CONFIG").map(PathBuf::from);
    let must_exist = named.is_some();
    let usual = || {
        let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let folder = folder.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))?;
        Some(folder.join("loadline/config.toml"))
    };
    let Some(file) = named.or_else(usual) else { return Ok(<_>::default()) };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => {
            return Ok((file, ClientConfig::default()));
        }
        Err(error) => {
            let message = format!("cannot read the contexts file {}: {error}", file.display());
            return Err(ended(Exit::BadInput, message));
        }
    };
    let name = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
    let config = parse_client_config(&name.display().to_string(), &text)
        .map_err(|errors| ended(Exit::BadInput, render_errors(&errors).trim_end().to_owned()))?;
    if config.contexts.values().any(|context| context.token.is_some()) {
        warn_of_readers(&file);
    }
    Ok((file, config))
}

/// Reads a token's file: one line.
fn read_token(file: &Path, origin: &Origin) -> anyhow::Result<String> {
    let unreadable = || format!("cannot read the token file {} (from {origin})", file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|error| ended(Exit::BadInput, format!("{}: {error}", unreadable())))?;
    warn_of_readers(file);
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        let message = format!("{} (from {origin}) does not hold one token", file.display());
        return Err(ended(Exit::BadInput, message));
    }
    Ok(token.to_owned())
}

/// Warns where others than its owner can read a file with a token.
fn warn_of_readers(file: &Path) {
    let mode = std::fs::metadata(file).map(|found| Permissions::mode(&found.permissions()));
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        let path = file.display();
        say_error(&format!("warning: others can read the token in {path}: run `chmod 600 {path}`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ConnectionArgs {
        ConnectionArgs { server: None, token_file: None, ca_file: None, context: None }
    }

    fn environment(server: Option<&str>, token: Option<&str>) -> Environment {
        Environment { server: server.map(str::to_owned), token: token.map(str::to_owned), ca: None }
    }

    fn config() -> ClientConfig {
        let text = "context = \"near\"\n\
            [contexts.near]\nserver = \"http://near\"\ntoken = \"near-token\"\nca_file = \"/near.pem\"\n\
            [contexts.far]\nserver = \"https://far/\"\ntoken_file = \"/far.token\"\n";
        parse_client_config("/c.toml", text).expect("valid contexts")
    }

    fn resolved(args: &ConnectionArgs, environment: Environment) -> Connection {
        resolve(args, environment, Path::new("/c.toml"), &config()).expect("a connection")
    }

    fn token(connection: &Connection) -> Option<&str> {
        connection.token.as_ref().map(|(secret, _)| match secret {
            Secret::Text(text) => text.as_str(),
            Secret::File(file) => file.to_str().expect("a path"),
        })
    }

    #[test]
    fn nothing_said_is_this_machine() {
        let nothing = ClientConfig::default();
        let found = resolve(&args(), environment(None, None), Path::new("/c.toml"), &nothing);
        let found = found.expect("a connection");
        assert_eq!(found.server, (SERVER_DEFAULT.to_owned(), Origin::Default));
        assert!(found.token.is_none() && found.ca.is_none());
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file() {
        let file = resolved(&args(), environment(None, None));
        assert_eq!((file.server.0.as_str(), token(&file)), ("http://near", Some("near-token")));
        assert_eq!(file.server.1.to_string(), "context `near` of /c.toml");
        assert_eq!(file.ca.as_ref().map(|ca| ca.0.as_path()), Some(Path::new("/near.pem")));

        let variable = resolved(&args(), environment(Some("http://env"), Some("env-token")));
        assert_eq!((variable.server.0.as_str(), token(&variable)), ("http://env", Some("env-token")));

        let flag = ConnectionArgs {
            server: Some("http://flag".to_owned()),
            token_file: Some("/flag.token".into()),
            ..args()
        };
        let flag = resolved(&flag, environment(Some("http://env"), Some("env-token")));
        assert_eq!((flag.server.0.as_str(), token(&flag)), ("http://flag", Some("/flag.token")));

        let context = ConnectionArgs { context: Some("far".to_owned()), ..args() };
        let context = resolved(&context, environment(Some("http://env"), Some("env-token")));
        assert_eq!((context.server.0.as_str(), token(&context)), ("https://far/", Some("/far.token")));
    }

    #[test]
    fn a_contexts_token_goes_to_its_own_engine_only() {
        let elsewhere = resolved(&args(), environment(Some("http://elsewhere"), None));
        assert!(token(&elsewhere).is_none() && elsewhere.ca.is_none());
        let same = resolved(&args(), environment(Some("http://near/"), None));
        assert_eq!(token(&same), Some("near-token"));
    }

    #[test]
    fn an_unknown_context_names_the_known_ones() {
        let unknown = ConnectionArgs { context: Some("fra".to_owned()), ..args() };
        let error = resolve(&unknown, environment(None, None), Path::new("/c.toml"), &config());
        let error = error.err().expect("an error");
        assert_eq!(error.to_string(), "there is no context `fra` in /c.toml; it has far, near");
        assert_eq!(Exit::of(&error), Exit::BadInput);
    }
}
