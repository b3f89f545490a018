//! The style sheet, the script and the icon: named by their content, so that a browser keeps them for good,
//! and compressed once. Pages are not compressed: they hold secrets of forms beside words of others.

use std::io::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("style.css");
const SCRIPTS: &str = concat!(include_str!("app.js"), include_str!("logs.js"), include_str!("palette.js"));
const ICON: &str = include_str!("icon.svg");

/// A file that pages name.
pub(super) struct Asset {
    /// Its path.
    pub(super) path: String,
    file: String,
    kind: &'static str,
    plain: &'static str,
    packed: Vec<u8>,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, plain: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(plain.as_bytes())[..8]);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Without compression it is served plain.
        let packed = encoder.write_all(plain.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        let file = format!("{stem}-{hash}.{ending}");
        Self { path: format!("/assets/{file}"), file, kind, plain, packed }
    }
}

/// The style sheet.
pub(super) static STYLE_SHEET: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", STYLE));
/// The script.
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "js", "text/javascript; charset=utf-8", SCRIPTS));
/// The icon.
pub(super) static ICON_FILE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", ICON));

/// Answers with a file.
pub(super) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let assets = [&*STYLE_SHEET, &*SCRIPT, &*ICON_FILE];
    let Some(asset) = assets.into_iter().find(|asset| asset.file == file) else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    let fixed = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains("gzip")) && !asset.packed.is_empty() {
        return (fixed, [(header::CONTENT_ENCODING, "gzip")], asset.packed.clone()).into_response();
    }
    (fixed, asset.plain).into_response()
}
