//! An engine in this process, with tokens of every role.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use loadline::api::client::{Client, ClientOptions};
use loadline::api::dto::{ApplyRequest, SpecFile};
use loadline::api::requests::TokenRequest;
use loadline::app::{App, AppConfig};
use loadline::config::parse_engine_config;
use tempfile::TempDir;

/// Specs that start no process: what is shown here is the API, not the cluster.
pub(super) const SPECS: &str = r#"
[job.ours]
command = "exit 0"
team = "a"
run_on_apply = false
[job.theirs]
command = "exit 0"
team = "b"
run_on_apply = false
[pool.none]
cpu = 1
memory = "512MiB"
min = 0
max = 1
"#;

pub(super) struct Engine {
    pub(super) app: App,
    _folder: TempDir,
}

pub(super) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("loadline-api-").tempdir().expect("a folder")
}

pub(super) async fn start_in(data: &Path, settings: &str) -> anyhow::Result<App> {
    let text = if settings.contains("listen") {
        settings.to_owned()
    } else {
        format!("[api]\nlisten = \"127.0.0.1:0\"\n{settings}")
    };
    let engine = parse_engine_config("engine.toml", &text).expect("settings");
    App::start(AppConfig {
        data_dir: data.to_owned(),
        executable: env!("CARGO_BIN_EXE_loadline").into(),
        engine,
    })
    .await
}

impl Engine {
    /// An engine without tokens. `settings` are keys of `[api]`.
    pub(super) async fn start(settings: &str) -> Self {
        let folder = folder();
        let app = start_in(&folder.path().join("data"), settings).await.expect("an engine");
        let engine = Self { app, _folder: folder };
        let client = Client::new(&engine.url(), "test");
        client.apply(&specs(SPECS)).await.expect("valid specs");
        engine
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.app.address())
    }

    pub(super) fn with(&self, secret: &str) -> Client {
        let options =
            ClientOptions { address: self.url(), token: Some(secret.to_owned()), ..ClientOptions::default() };
        Client::connect(options).expect("a client")
    }

    /// A token for each role; the first one closes the engine to everybody else.
    pub(super) async fn tokens(&self) -> Tokens {
        let first = Client::new(&self.url(), "test");
        let made = first.create_token(&token("root", "operator", None)).await.expect("a token");
        let operator = made.secret;
        let client = self.with(&operator);
        let make = async |name: &str, role: &str, team: Option<&str>| {
            client.create_token(&token(name, role, team)).await.expect("a token").secret
        };
        Tokens {
            viewer: make("vera", "viewer", None).await,
            ours: make("dev", "developer", Some("a")).await,
            finance: make("fin", "finance", None).await,
            operator,
        }
    }

    /// What calls must not have changed.
    pub(super) async fn world(&self) -> String {
        format!("{:?}", self.app.control().view().await.world)
    }
}

pub(super) struct Tokens {
    pub(super) operator: String,
    pub(super) viewer: String,
    pub(super) ours: String,
    pub(super) finance: String,
}

pub(super) fn token(name: &str, role: &str, team: Option<&str>) -> TokenRequest {
    TokenRequest {
        name: name.to_owned(),
        role: role.to_owned(),
        team: team.map(str::to_owned),
        ..TokenRequest::default()
    }
}

pub(super) fn specs(text: &str) -> ApplyRequest {
    let files = vec![SpecFile { name: "specs.toml".to_owned(), text: text.to_owned() }];
    ApplyRequest { files, ..ApplyRequest::default() }
}

/// A name that no test has used before.
pub(super) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
