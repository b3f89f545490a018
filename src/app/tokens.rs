//! Tokens: those of an engine that starts, and those in a data folder while no engine runs.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;

use crate::adapters::storage::SqliteStore;
use crate::adapters::system_clock::SystemClock;
use crate::api::access::Access;
use crate::api::answers::{NewTokenDto, TokenDto};
use crate::api::dto::{Changed, Problem};
use crate::api::requests::TokenRequest;
use crate::api::server;
use crate::app::{STORE_FILE, prepare};
use crate::config::{ApiConfig, ApiLimits, TlsConfig};
use crate::ports::clock::Clock;

/// The tokens in a data folder that no engine runs on. While one runs, its API is asked instead: the
/// store is its alone.
pub struct StoredTokens {
    access: Access,
}

impl StoredTokens {
    /// Opens the data folder, which is made where there is none.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let store = Arc::new(SqliteStore::open(&prepare(data_dir)?.join(STORE_FILE))?);
        Ok(Self { access: Access::open(store, ApiLimits::default(), false)? })
    }

    /// Makes a token.
    pub fn create(&self, request: &TokenRequest, by: &str) -> Result<NewTokenDto, Problem> {
        self.access.create(request, by, SystemClock.now())
    }

    /// All tokens, those that were revoked included.
    pub fn list(&self) -> Vec<TokenDto> {
        self.access.list()
    }

    /// Makes a token invalid.
    pub fn revoke(&self, id: u64) -> Result<Changed, Problem> {
        self.access.revoke(id, SystemClock.now())
    }
}

/// Reads tokens and the API's certificate, and refuses an address that other machines reach where either
/// lacks.
pub(super) async fn open_access(
    config: &ApiConfig,
    store: &Arc<SqliteStore>,
    now: Timestamp,
) -> anyhow::Result<(Arc<Access>, Option<(TlsConfig, RustlsConfig)>)> {
    let access = Access::open(Arc::clone(store), config.limits.clone(), config.metrics_open)?;
    let exposed = server::is_exposed(config.listen);
    anyhow::ensure!(
        !exposed || config.tls.is_some(),
        "the API does not listen on {}, which other machines reach, without TLS: \
         set `tls` of [api] in the settings, or listen on 127.0.0.1",
        config.listen
    );
    anyhow::ensure!(
        !exposed || access.has_valid_token(now),
        "the API does not listen on {}, which other machines reach, before there is a token: \
         make one with `loadline token create`, or listen on 127.0.0.1",
        config.listen
    );
    let tls = match &config.tls {
        None => None,
        Some(files) => {
            let opened = server::open_tls(files).await.with_context(|| {
                let (cert, key) = (files.cert.display(), files.key.display());
                format!("cannot use the certificate {cert} with the key {key}")
            })?;
            Some((files.clone(), opened))
        }
    };
    Ok((Arc::new(access), tls))
}
