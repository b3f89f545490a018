//! Reads `[api]`: where the API listens, with which certificate, and what it bounds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use jiff::SignedDuration;
use serde::Serialize;

use crate::config::reader::{Table, Value};
use crate::config::values::{duration_from, flag, memory, path, whole};
use crate::domain::quantity::{Bytes, MIB};

/// A time-out shorter than this cuts off honest callers.
const TIMEOUT_MIN: SignedDuration = SignedDuration::from_secs(1);
const RATE_MAX: i64 = 1_000_000;
const CONNECTIONS_MAX: i64 = 100_000;
const HEADER_BYTES_MAX: i64 = 1 << 20;

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiConfig {
    /// Where the API listens. An address that other machines reach needs `tls` and a token.
    pub listen: SocketAddr,
    /// The certificate; plain HTTP where absent.
    pub tls: Option<TlsConfig>,
    /// Whether `/metrics` needs no token.
    pub metrics_open: bool,
    /// What callers are held to.
    #[serde(flatten)]
    pub limits: ApiLimits,
}

/// `[api.tls]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsConfig {
    /// The certificate with its chain, as PEM.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// What callers of the API are held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiLimits {
    /// Calls a second of one token, or of one address without one, over time.
    pub requests_per_second: u32,
    /// Calls that may come at once.
    pub burst: u32,
    /// Connections at a time.
    pub connections: usize,
    /// Streams of events at a time.
    pub streams: usize,
    /// Bytes of a body.
    #[serde(rename = "max_body")]
    pub body_bytes: usize,
    /// Bytes of all headers together.
    #[serde(rename = "max_headers")]
    pub header_bytes: usize,
    /// The headers of a call must have come by then; also how long a connection may rest between calls.
    pub header_timeout: SignedDuration,
    /// The body of a call must have come by then.
    pub body_timeout: SignedDuration,
    /// A connection on which nothing moves for so long is closed, whatever it waits for.
    pub idle_timeout: SignedDuration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)),
            tls: None,
            metrics_open: false,
            limits: ApiLimits::default(),
        }
    }
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 200,
            burst: 500,
            connections: 4_096,
            streams: 64,
            // A folder of specs fits many times over.
            body_bytes: 4 * MIB as usize,
            header_bytes: 16 << 10,
            header_timeout: SignedDuration::from_secs(10),
            body_timeout: SignedDuration::from_secs(30),
            // Longer than any call may take.
            idle_timeout: SignedDuration::from_secs(90),
        }
    }
}

/// Reads the table.
pub(super) fn api(table: &Table<'_>, default: &ApiConfig) -> ApiConfig {
    ApiConfig {
        listen: table.or("listen", default.listen, address),
        tls: table.table("tls", tls).flatten(),
        metrics_open: table.or("metrics_open", default.metrics_open, flag),
        limits: limits(table, &default.limits),
    }
}

fn tls(table: &Table<'_>) -> Option<TlsConfig> {
    let cert = table.required(&["cert"], "cert = \"cert.pem\"", path);
    let key = table.required(&["key"], "key = \"key.pem\"", path);
    Some(TlsConfig { cert: cert?, key: key? })
}

fn limits(table: &Table<'_>, default: &ApiLimits) -> ApiLimits {
    let number = |key, most, default: u32| {
        let read = table.optional(key, whole(1..=most));
        read.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
    };
    let body = table.optional("max_body", memory).map(Bytes::get);
    let wait = |key, default| table.or(key, default, duration_from(TIMEOUT_MIN));
    ApiLimits {
        requests_per_second: number("requests_per_second", RATE_MAX, default.requests_per_second),
        burst: number("burst", RATE_MAX, default.burst),
        connections: number("connections", CONNECTIONS_MAX, default.connections as u32) as usize,
        streams: number("streams", CONNECTIONS_MAX, default.streams as u32) as usize,
        body_bytes: body.map_or(default.body_bytes, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        header_bytes: number("max_headers", HEADER_BYTES_MAX, default.header_bytes as u32) as usize,
        header_timeout: wait("header_timeout", default.header_timeout),
        body_timeout: wait("body_timeout", default.body_timeout),
        idle_timeout: wait("idle_timeout", default.idle_timeout),
    }
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let expected = "an address such as \"127.0.0.1:7070\"";
    let text = value.text(expected)?;
    text.parse::<SocketAddr>().ok().or_else(|| {
        let hint = text.strip_prefix("localhost:").filter(|port| port.parse::<u16>().is_ok());
        value.refuse_hint(expected, hint.map(|port| format!("127.0.0.1:{port}")))
    })
}
