//! `loadline serve-provider`: one of the settings' providers of machines, served to a Cluster Autoscaler.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;

use crate::app::{Serving, serve_provider};
use crate::cli::exit::Exit;
use crate::cli::output::{say, say_error};
use crate::cli::up::{LogFormat, start_logging, wait_for_signal};
use crate::config::{TlsConfig, load_engine_config, render_errors};

/// `loadline serve-provider`
#[derive(Debug, Args)]
pub(super) struct ServeProviderArgs {
    /// The provider's name in the settings.
    name: String,
    /// Engine settings with the provider; see config/engine.toml.
    #[arg(long)]
    config: PathBuf,
    /// Where to listen. An address that other machines reach needs `--cert`, `--key` and `--client-ca`.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8086)))]
    listen: SocketAddr,
    /// Our certificate with its chain, as PEM.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key, as PEM.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Who signs the certificates of callers, as PEM; others are turned away.
    #[arg(long, requires = "cert")]
    client_ca: Option<PathBuf>,
}

pub(super) fn run(args: ServeProviderArgs) -> anyhow::Result<ExitCode> {
    start_logging(LogFormat::Text, "info");
    let config = match load_engine_config(Some(&args.config)) {
        Ok(config) => config,
        Err(errors) => {
            say_error(render_errors(&errors).trim_end());
            return Ok(Exit::BadInput.into());
        }
    };
    if !args.listen.ip().is_loopback() && args.client_ca.is_none() {
        say_error(
            "whoever reaches this makes and deletes machines: give --cert, --key and --client-ca, or listen on loopback",
        );
        return Ok(Exit::BadInput.into());
    }
    let tls = args.cert.zip(args.key).map(|(cert, key)| TlsConfig { cert, key });
    let serving = Serving { provider: args.name, tls, client_ca: args.client_ca };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
        say(&format!("provider {} is served at {}", serving.provider, listener.local_addr()?))?;
        let end = async {
            if let Err(error) = wait_for_signal().await {
                tracing::error!("cannot wait for signals: {error:#}");
            }
        };
        serve_provider(&config.providers, serving, listener, end).await
    })?;
    Ok(ExitCode::SUCCESS)
}
