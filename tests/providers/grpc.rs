//! Cluster Autoscaler's external gRPC provider protocol: against grpcio from `PyPI`, and over TLS.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use loadline::adapters::exec_provider::ExecProvider;
use loadline::adapters::external_grpc::{GrpcProvider, GrpcProviderConfig, GrpcTls};
use loadline::ports::machines::{FailureKind, MachineProvider};
use serde_json::{Value, json};

use crate::harness::binary;
use crate::providers::parts::{Served, client, python, shell, shipped, venv};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/providers/external_grpc.py");

/// Python with grpcio; none where it cannot be had, which is told.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn grpcio() -> Option<std::path::PathBuf> {
    let programs = venv("grpc-venv", &["grpcio==1.85.1", "protobuf==7.36.2"]);
    if programs.is_none() {
        eprintln!("SKIPPED: grpcio cannot be had here (it needs python3 with venv, and PyPI)");
    }
    Some(programs?.join("python"))
}

/// What grpcio's client says of a server.
async fn asked_by_grpcio(python: &std::path::Path, address: &str) -> Value {
    let asking = Command::new(python)
        .args([SCRIPT, "client", address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let asking = asking.expect("python");
    let output = tokio::task::spawn_blocking(move || asking.wait_with_output()).await.expect("a thread");
    let output = output.expect("its output");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn expected() -> Value {
    json!({
        "groups": [["workers", 0, 5]],
        "debug": "workers: 0 of 0 to 5 wanted",
        "target": 3,
        "states": [1, 1, 1],
        "group of a node": "workers",
        "group of another": "",
        "delete another": "INVALID_ARGUMENT",
        "still there": true,
        "gone": true,
        "left": 2,
        "target after": 2,
        "too many": "RESOURCE_EXHAUSTED",
        "negative": "INVALID_ARGUMENT",
        "decrease": "FAILED_PRECONDITION",
        "no group": "NOT_FOUND",
        "price": "UNIMPLEMENTED",
        "gpu": ["", "OK", "OK"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_understands_our_server() {
    let Some(programs) = grpcio() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::new(Arc::new(ExecProvider::new(shipped(folder.path(), &[])))).await;
    assert_eq!(asked_by_grpcio(&programs, &served.address.to_string()).await, expected());
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts it, and reads the first line that it says.
    fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("a program");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        (Self(child), line.trim().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_serves_a_provider_of_the_settings() {
    let Some(programs) = grpcio() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("engine.toml");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/machines.py");
    let state = folder.path().join("machines.json").display().to_string();
    let text = format!(
        "[[provider]]\nname = \"vms\"\nkind = \"exec\"\ncommand = [\"python3\", {script:?}]\nenv = {{ MACHINES_FILE = {state:?} }}\n"
    );
    std::fs::write(&settings, text).expect("settings");
    let mut command = Command::new(binary());
    command.args(["serve-provider", "vms", "--listen", "127.0.0.1:0", "--config"]).arg(&settings);
    let (_serving, said) = Process::start(&mut command);
    let address = said.strip_prefix("provider vms is served at ").expect("its address").to_owned();
    assert_eq!(asked_by_grpcio(&programs, &address).await, expected());

    let refused = Command::new(binary())
        .args(["serve-provider", "nobody", "--listen", "127.0.0.1:0", "--config"])
        .arg(&settings)
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("name no provider nobody; they name: vms"), "{said}");
    let open = Command::new(binary())
        .args(["serve-provider", "vms", "--listen", "0.0.0.0:0", "--config"])
        .arg(&settings)
        .output()
        .expect("the binary");
    assert!(String::from_utf8_lossy(&open.stderr).contains("--client-ca"), "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_understands_a_server_of_grpcio() {
    let Some(programs) = grpcio() else { return };
    let (_server, port) = Process::start(Command::new(programs).args([SCRIPT, "server"]));
    let provider = client(&format!("http://127.0.0.1:{port}"));
    let groups = provider.groups().await.expect("groups");
    assert_eq!((groups[0].id.as_str(), groups[0].max), ("workers", 4));
    // The first answer is lost after the work was done: the second try sees it, and adds nothing.
    provider.grow("workers", 3).await.expect("machines");
    let state = provider.look("workers").await.expect("a group");
    assert_eq!((state.target, state.machines.len(), state.live()), (3, 3, 2));
    let failure = state.machines[2].failure.as_ref().expect("a failure");
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Quota, "at most two"));
    provider.terminate("workers", "vm:///1").await.expect("a removal");
    let state = provider.look("workers").await.expect("a group");
    assert!(state.machine("vm:///1").is_none() && state.target == 2, "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_fail_show_as_instances_that_failed_and_can_be_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = folder.path().join("asked");
    let script = format!(
        "cat >> {0}; echo >> {0}; if grep -q cancel {0}; then size=1; else size=3; fi; \
         echo '{{\"version\":1,\"groups\":[{{\"name\":\"g\",\"max\":5,\"size\":'$size',\
         \"machines\":[{{\"id\":\"a\",\"state\":\"running\"}}],\"error\":{{\"kind\":\"capacity\",\"message\":\"no stock\"}}}}]}}'",
        asked.display()
    );
    let served = Served::new(Arc::new(shell(&script, Duration::from_secs(30)))).await;
    let client = served.client();
    let state = client.look("g").await.expect("a group");
    assert_eq!((state.target, state.live(), state.machines.len()), (3, 1, 3));
    let failed = &state.machines[1];
    let failure = failed.failure.as_ref().expect("a failure");
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Capacity, "no stock"));
    client.terminate("g", &failed.id).await.expect("taken back");
    let asked = std::fs::read_to_string(asked).expect("requests");
    assert!(asked.contains(r#""operation":"cancel","group":"g","size":2"#), "{asked}");
    assert!(!asked.contains("remove"), "no machine was removed: {asked}");
}

#[tokio::test]
async fn nobody_there_is_told_in_time() {
    let closed = crate::machine::ClosedPort::new();
    let error = client(&format!("http://{}", closed.address)).groups().await.expect_err("nobody");
    assert_eq!(error.kind, FailureKind::Unavailable);
    assert!(error.message.contains(&closed.address.to_string()), "{error}");
    // One that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let config = GrpcProviderConfig {
        address: format!("http://{}", silent.local_addr().expect("its address")),
        timeout: Duration::from_millis(300),
        tls: None,
    };
    let asking = GrpcProvider::new(&config).expect("an address");
    let error = tokio::time::timeout(Duration::from_secs(20), asking.groups()).await.expect("in time");
    assert_eq!(error.expect_err("nobody").kind, FailureKind::Unavailable);
}

/// Certificates of one authority for both sides, as files.
fn certificates(folder: &std::path::Path) {
    let authority = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&authority).expect("a certificate");
    std::fs::write(folder.join("ca.pem"), certificate.pem()).expect("a file");
    let issuer = rcgen::Issuer::new(params, authority);
    for name in ["server", "client"] {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
        let signed = params.expect("parameters").signed_by(&key, &issuer).expect("a certificate");
        std::fs::write(folder.join(format!("{name}.pem")), signed.pem()).expect("a file");
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("a file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_only_callers_with_a_certificate_are_served() {
    if !python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let settings = file("engine.toml");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/machines.py");
    let text = format!(
        "[[provider]]\nname = \"vms\"\nkind = \"exec\"\ncommand = [\"python3\", {script:?}]\nenv = {{ MACHINES_FILE = {:?} }}\n",
        file("machines.json").display().to_string()
    );
    std::fs::write(&settings, text).expect("settings");
    let mut command = Command::new(binary());
    command.args(["serve-provider", "vms", "--listen", "127.0.0.1:0", "--config"]).arg(&settings);
    command.arg("--cert").arg(file("server.pem")).arg("--key").arg(file("server.key"));
    let (_serving, said) = Process::start(command.arg("--client-ca").arg(file("ca.pem")));
    let address = said.strip_prefix("provider vms is served at ").expect("its address");
    let port = address.rsplit(':').next().expect("a port");
    let provider = |identity| {
        let tls = Some(GrpcTls { ca: file("ca.pem"), identity });
        let address = format!("https://localhost:{port}");
        GrpcProvider::new(&GrpcProviderConfig { address, timeout: Duration::from_secs(10), tls })
            .expect("files")
    };
    let known = provider(Some((file("client.pem"), file("client.key"))));
    assert_eq!(known.groups().await.expect("groups")[0].id, "workers");
    assert_eq!(provider(None).groups().await.expect_err("a stranger").kind, FailureKind::Unavailable);
    assert!(client(&format!("http://localhost:{port}")).groups().await.is_err(), "in plain");
}
