//! `loadline up`: engine, local agent and API in one process, until Ctrl-C or SIGTERM.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::app::{App, AppConfig, advice, whole_machine};
use crate::cli::exit::Exit;
use crate::cli::output::{say, say_error};
use crate::config::{EngineConfig, load_specs, parse_engine_config, render_errors};
use crate::domain::intent::{Declared, Intent, Submission};
use crate::domain::rollout::Actor;

/// With `--stop-tasks`, tasks get this long beyond their own grace.
const STOP_TIME_MAX: Duration = Duration::from_mins(1);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `loadline up`
#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// Spec files, or folders of them, to apply at the start.
    paths: Vec<PathBuf>,
    /// Where state and logs are kept. Default: /var/lib/loadline as root, otherwise
    /// `$XDG_STATE_HOME/loadline` or ~/.local/state/loadline.
    #[arg(long, env = "LOADLINE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Engine settings; see config/engine.toml for every key.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Address of the API; one that other machines reach needs TLS and a token.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// How log lines look. What is logged: `LOADLINE_LOG`, for example `info,loadline=debug`.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Stop all tasks on the way out instead of leaving them running.
    #[arg(long)]
    stop_tasks: bool,
}

pub(super) fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    start_logging(args.log_format, "info");
    let engine = match engine_config(args.config.as_deref(), args.listen)? {
        Ok(config) => config,
        Err(text) => return Ok(bad_input(&text)),
    };
    let declared = if args.paths.is_empty() {
        Declared::default()
    } else {
        match load_specs(&args.paths) {
            Ok(declared) => declared,
            Err(errors) => return Ok(bad_input(&render_errors(&errors))),
        }
    };
    let data_dir = match args.data_dir {
        Some(folder) => folder,
        None => default_data_dir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = App::start(AppConfig::new(data_dir, engine)?).await.map_err(with_advice)?;
        declare(&app, declared).await?;
        // The engine goes on where nobody reads this.
        let _ = say(&format!(
            "loadline is up: API at http://{}, data in {}",
            app.address(),
            app.data_dir().display()
        ));
        wait_for_signal().await?;
        finish(app, args.stop_tasks).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Applies what was given on the command line. An engine without any pool gets one of this machine.
async fn declare(app: &App, mut declared: Declared) -> anyhow::Result<()> {
    if declared.pools.is_empty() && app.control().view().await.world.pools.is_empty() {
        let (name, spec) = whole_machine()?;
        declared.pools.insert(name, spec);
    }
    let by = Actor::User("up".to_owned());
    for line in app.declare(Submission::new(by, "", Intent::Apply(Box::new(declared)))).await? {
        tracing::info!("{line}");
    }
    Ok(())
}

/// An engine that cannot start says what to do about it.
fn with_advice(error: anyhow::Error) -> anyhow::Error {
    match advice(&error) {
        Some(advice) => anyhow::anyhow!("{error:#}. {advice}"),
        None => error,
    }
}

fn bad_input(text: &str) -> ExitCode {
    say_error(text.trim_end());
    Exit::BadInput.into()
}

/// The engine's settings; the inner error is what is wrong with the file.
fn engine_config(
    path: Option<&Path>,
    listen: Option<SocketAddr>,
) -> anyhow::Result<Result<EngineConfig, String>> {
    let mut config = match path {
        None => EngineConfig::default(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            match parse_engine_config(&path.display().to_string(), &text) {
                Ok(config) => config,
                Err(errors) => return Ok(Err(render_errors(&errors))),
            }
        }
    };
    if let Some(listen) = listen {
        config.api.listen = listen;
    }
    Ok(Ok(config))
}

fn default_data_dir() -> anyhow::Result<PathBuf> {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(PathBuf::from("/var/lib/loadline"));
    }
    if let Some(state) = std::env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(state).join("loadline"));
    }
    let home = std::env::var_os("HOME").context("neither --data-dir nor HOME says where to keep state")?;
    Ok(PathBuf::from(home).join(".local/state/loadline"))
}

/// Log lines go to standard error, so that standard output stays for results.
pub(super) fn start_logging(format: LogFormat, default_filter: &str) {
    let filter = EnvFilter::try_from_env("LOADLINE_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let logging =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A line that cannot be written, for example to a full disk, is lost. It must not end anything, as a
    // complaint about it on the same standard error would.
    let logging = logging.log_internal_errors(false);
    // A second call in one process, as in tests, keeps the first one's settings.
    let _ = match format {
        LogFormat::Text => logging.try_init(),
        LogFormat::Json => logging.json().try_init(),
    };
}

/// Returns at Ctrl-C or SIGTERM.
pub(super) async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn finish(app: App, stop_tasks: bool) -> anyhow::Result<()> {
    let data_dir = app.data_dir().to_owned();
    let running = app.shutdown(stop_tasks.then_some(STOP_TIME_MAX)).await;
    if running > 0 {
        let _ = say(&format!(
            "{running} tasks go on running; `loadline up --data-dir {}` takes them over",
            data_dir.display()
        ));
    }
    Ok(())
}
