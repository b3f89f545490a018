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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::STYLE;

    /// The variables of the block that begins with `selector`.
    fn variables(selector: &str) -> BTreeMap<&'static str, &'static str> {
        let start = STYLE.find(selector).unwrap_or_else(|| panic!("no {selector}")) + selector.len();
        let block = STYLE[start..].split('}').next().expect("a block");
        let pairs = block.split(';').filter_map(|pair| pair.trim().strip_prefix("--")?.split_once(": "));
        pairs.collect()
    }

    /// The relative luminance of WCAG 2.1.
    fn luminance(colour: &str) -> f64 {
        let hex = colour.strip_prefix('#').expect("a colour");
        assert_eq!(hex.len(), 6, "{colour} is no opaque colour");
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("a number")) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (a, b) = (luminance(one), luminance(other));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn texts_and_lines_stand_out_in_both_themes() {
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
        // What stands on what, and how far it must stand out: AA for text, and for graphics.
        let mut pairs: Vec<(String, &str, f64)> = [
            ("text", "back"),
            ("text", "card"),
            ("text", "hover"),
            ("text", "rest-back"),
            ("text", "move-back"),
            ("text", "bad-back"),
            ("text", "good-back"),
            ("quiet", "back"),
            ("quiet", "card"),
            ("quiet", "move-back"),
            ("axis", "card"),
            ("accent", "back"),
            ("accent", "card"),
            ("accent", "hover"),
            ("accent-text", "accent"),
            ("good", "good-back"),
            ("good", "card"),
            ("bad", "bad-back"),
            ("bad", "card"),
            ("move", "move-back"),
            ("accent", "move-back"),
            ("back", "text"),
        ]
        .map(|(over, under)| (over.to_owned(), under, 4.5))
        .to_vec();
        pairs.extend((0..10).map(|place| (format!("s{place}"), "card", 3.0)));
        pairs.push(("moment".to_owned(), "card", 3.0));
        for selector in [":root {", ":root[data-theme=\"dark\"] {"] {
            let variables = variables(selector);
            for (over, under, least) in &pairs {
                let found = contrast(variables[over.as_str()], variables[*under]);
                assert!(found >= *least, "{selector} {over} on {under}: {found:.2}, at least {least}");
            }
        }
    }

    #[test]
    fn dark_by_choice_and_dark_by_the_system_are_the_same() {
        assert_eq!(variables(":root[data-theme=\"dark\"] {"), variables(":root:not([data-theme]) {"));
    }
}
