//! The description that the API gives of itself is what it does.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use loadline::api::client::Client;
use serde_json::Value;

use crate::api::harness::Engine;

/// Each operation: method, path with plausible names in it, and the operation.
pub(super) fn operations(document: &Value) -> Vec<(reqwest::Method, String, Value)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase().parse().expect("a method");
            let path = path
                .replace("{name}", if path.contains("/nodes/") { "none-1" } else { "theirs" })
                .replace("{id}", if path.contains("/tasks/") { "theirs.1" } else { "77" })
                .replace("{at}", "2026-11-22T10:00:00Z")
                .replace("{kind}", "pause")
                .replace("{subject}", "theirs")
                .replace("{switch}", "cron")
                .replace("{team}", "b");
            all.push((method, path, operation.clone()));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_described_with_its_roles_and_answers_as_it_says() {
    let engine = Engine::start("").await;
    let document = Client::new(&engine.url(), "test").openapi().await.expect("a description");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"), "{}", document["openapi"]);
    let http = crate::http::client().build().expect("a client");
    let all = operations(&document);
    assert!(all.len() >= 50, "{} operations", all.len());
    for (method, path, operation) in &all {
        let what = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
        let security = operation["security"].as_array().unwrap_or_else(|| panic!("{what} names no role"));
        let open = ["/healthz", "/readyz", "/v1/openapi.json"].contains(&path.as_str());
        let roles = security[0]["token"].as_array();
        assert_eq!(roles.is_none(), open, "{what}: {security:?}");
        if let Some(roles) = roles {
            assert!(roles.iter().any(|role| role == "operator"), "{what}: {roles:?}");
            let reads = *method == reqwest::Method::GET;
            // A star is the caller's own and changes nothing of the cluster.
            let own = path.starts_with("/v1/stars/");
            assert!(
                reads || own || !roles.iter().any(|r| r == "viewer" || r == "finance"),
                "{what}: {roles:?}"
            );
        }
        if path.ends_with("/stream") {
            continue;
        }
        // Each route is there (a fallback would say 404 or 405 without its own words), and each status
        // that it answers with is described.
        let answer =
            http.request(method.clone(), format!("{}{path}", engine.url())).send().await.expect(&what);
        let status = answer.status();
        assert!(!operation["responses"][status.as_str()].is_null(), "{what}: {status} is not described");
        assert!(!status.is_server_error() || path == "/readyz", "{what}: {status}");
        let text = answer.text().await.expect("a body");
        assert!(
            !text.contains("there is nothing at") && !text.contains("does not take this method"),
            "{what}"
        );
    }
}

/// Every path that a source file gives to a router is in the description.
#[tokio::test(flavor = "multi_thread")]
async fn no_route_is_undescribed() {
    let engine = Engine::start("").await;
    let document = Client::new(&engine.url(), "test").openapi().await.expect("a description");
    let described = document["paths"].as_object().expect("paths");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut found = 0;
    for file in std::fs::read_dir(folder).expect("sources").flatten() {
        let Ok(text) = std::fs::read_to_string(file.path()) else { continue };
        found += text.matches("#[utoipa::path(").count();
        // The description's own route is the one that is not generated.
        let routes = text.matches(".route(").count();
        assert_eq!(routes, usize::from(file.file_name() == "mod.rs"), "{}", file.path().display());
    }
    let operations: usize = described.values().map(|m| m.as_object().expect("methods").len()).sum();
    assert_eq!(operations, found + 1, "handlers that are described but not routed, or the reverse");
}

/// Schemathesis from `PyPI`, where Python is there; bounded in examples and time.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_fault() {
    let Some(program) = schemathesis() else {
        eprintln!("SKIPPED: schemathesis cannot be had here (it needs python3 with venv, and PyPI)");
        return;
    };
    let engine = Engine::start("requests_per_second = 100000\nburst = 100000\n").await;
    // With a token: what it makes up in place of one would get no further than the gate.
    let secret = engine.tokens().await.operator;
    let url = format!("{}/v1/openapi.json", engine.url());
    let run = tokio::task::spawn_blocking(move || {
        Command::new("timeout")
            .arg("240")
            .arg(program)
            .args(["run", &url, "--header", &format!("Authorization: Bearer {secret}")])
            .args(["--max-examples", "15", "--seed", "1", "--workers", "1", "--no-color"])
            .args(["--phases", "examples,coverage,fuzzing", "--request-timeout", "10"])
            .args(["--exclude-path", "/v1/events/stream", "--exclude-path-regex", "^/v1/tokens"])
            .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"])
            .current_dir(std::env::temp_dir())
            .output()
            .expect("schemathesis")
    });
    let output = tokio::time::timeout(Duration::from_mins(5), run).await.expect("in time").expect("a run");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!(
        "{}",
        told.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    );
}

/// The program, from the environment or from a venv beside the build.
fn schemathesis() -> Option<std::path::PathBuf> {
    if let Some(given) = std::env::var_os("SCHEMATHESIS") {
        return Some(given.into());
    }
    let venv = Path::new(env!("CARGO_BIN_EXE_loadline")).parent()?.join("schemathesis-venv");
    let program = venv.join("bin/schemathesis");
    if !program.exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).output().ok()?;
        let pip = venv.join("bin/pip");
        let quiet = ["install", "--quiet", "--disable-pip-version-check", "schemathesis==4.32.5"];
        let installed =
            made.status.success() && Command::new(pip).args(quiet).output().ok()?.status.success();
        if !installed {
            return None;
        }
    }
    Some(program)
}
