//! The command line as a program: streams, colours, exit codes, contexts. What its commands do to an
//! engine is in `commands`.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::engine::harness::Engine;
use crate::harness::binary;
use crate::machine::{ClosedPort, PATIENCE, signal, until};

pub(super) const SMALL: &str = r#"
[service.one]
team = "a"
command = "echo hello; exec sleep 100000"
memory = "32MiB"
cpu = 0.05
[job.once]
command = "exit 0"
memory = "32MiB"
cpu = 0.05
"#;

/// The binary without anything of the tester's own surroundings.
pub(super) fn bare() -> Command {
    let mut command = Command::new(binary());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("USER", "ann");
    command.stdin(Stdio::null());
    command
}

/// The binary, told of the engine.
pub(super) fn loadline(engine: &Engine, arguments: &[&str]) -> Output {
    bare().args(arguments).env("LOADLINE_SERVER", engine.client.address()).output().expect("the binary")
}

/// What a command that must succeed printed.
pub(super) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, errors(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

#[test]
fn help_and_completions_know_every_command() {
    let help = text(&bare().arg("--help").output().expect("the binary"));
    for line in ["Exit codes:", "0  done", "5  what was named does not exist", "rollback", "events"] {
        assert!(help.contains(line), "{line} is not in:\n{help}");
    }
    let readme = include_str!("../../README.md");
    let documented = include_str!("../../docs/cli.md");
    let commands =
        help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("commands");
    let names: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(documented.contains(&format!("`{name}")), "docs/cli.md lacks `{name}`");
        assert!(
            ['`', ' '].iter().any(|before| readme.contains(&format!("{before}{name}"))),
            "README.md lacks `{name}`"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&bare().args(["completions", shell]).output().expect("the binary"));
        assert!(script.contains("rollback") && script.contains("loadline"), "{shell}");
    }
    // bash itself reads what it is given.
    let script = text(&bare().args(["completions", "bash"]).output().expect("the binary"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), script).expect("a script");
    let read = Command::new("bash").arg("-n").arg(file.path()).output().expect("bash");
    assert!(read.status.success(), "{}", errors(&read));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_failure_has_its_exit_code() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    let run = |arguments: &[&str]| code(&loadline(&engine, arguments));
    assert_eq!(run(&["status"]), 0);
    assert_eq!(run(&["no-such-command"]), 2);
    assert_eq!(run(&["scale", "one", "2", "--for", "soon"]), 2);
    assert_eq!(run(&["apply", "/nonexistent.toml"]), 2);
    assert_eq!(run(&["scale", "once", "2"]), 4);
    assert_eq!(run(&["scale", "nobody", "2"]), 5);
    assert_eq!(run(&["logs", "nobody"]), 5);
    assert_eq!(run(&["--context", "none", "status"]), 2);
    let closed = ClosedPort::new();
    let away = format!("http://{}", closed.address);
    let unreachable = loadline(&engine, &["--server", &away, "status"]);
    assert_eq!(code(&unreachable), 3);
    assert!(errors(&unreachable).contains("the address comes from the flag --server"), "{unreachable:?}");
    let unreachable = bare().arg("status").env("LOADLINE_SERVER", &away).output().expect("the binary");
    assert!(errors(&unreachable).contains("the environment's LOADLINE_SERVER"), "{unreachable:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_come_only_where_they_are_shown_or_asked_for() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    let status = |variables: &[(&str, &str)]| {
        let mut command = bare();
        command.arg("tasks").env("LOADLINE_SERVER", engine.client.address());
        command.envs(variables.iter().copied());
        text(&command.output().expect("the binary"))
    };
    let coloured = |text: &str| text.contains('\u{1b}');
    assert!(!coloured(&status(&[])), "a pipe is no terminal");
    assert!(coloured(&status(&[("CLICOLOR_FORCE", "1")])));
    assert!(!coloured(&status(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")])));

    let on_terminal = |variables: &[(&str, &str)]| {
        let mut command = in_terminal(&engine, "tasks");
        command.env("TERM", "xterm").envs(variables.iter().copied());
        text(&command.output().expect("script"))
    };
    assert!(coloured(&on_terminal(&[])));
    assert!(!coloured(&on_terminal(&[("NO_COLOR", "1")])));
}

/// A command on a terminal of its own.
fn in_terminal(engine: &Engine, arguments: &str) -> Command {
    let binary = binary();
    let mut command = Command::new("script");
    command
        .args(["-qec", &format!("stty cols 100 rows 30; {binary} {arguments}"), "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("LOADLINE_SERVER", engine.client.address())
        .stdin(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_error() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    let mut child = bare()
        .args(["logs", "-f", "one"])
        .env("LOADLINE_SERVER", engine.client.address())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut first = [0; 5];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("a line");
    assert_eq!(&first, b"hello");
    // The pipe is closed now: the next line that is printed ends the command.
    engine.apply(&SMALL.replace("echo hello", "while sleep 0.2; do echo more; done")).await;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "it goes on writing to nobody");
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("a text");
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));

    // What cannot be written for another reason is one.
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = bare()
        .arg("status")
        .env("LOADLINE_SERVER", engine.client.address())
        .stdout(full)
        .output()
        .expect("the binary");
    assert_eq!(code(&output), 1, "{}", errors(&output));
    assert!(!errors(&output).contains("panicked"), "{}", errors(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_name_engines_and_tokens() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("loadline/config.toml");
    std::fs::create_dir(folder.path().join("loadline")).expect("a folder");
    let write = |text: &str, mode: u32| {
        std::fs::write(&file, text).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let run = |arguments: &[&str]| run_in(folder.path(), arguments);
    let address = engine.client.address();
    let closed = ClosedPort::new();
    let contexts = format!(
        "context = \"near\"\n[contexts.near]\nserver = \"{address}\"\n\
         [contexts.far]\nserver = \"http://{}\"\n",
        closed.address
    );
    write(&contexts, 0o600);
    assert!(text(&run(&["tasks"])).contains("one.1"));
    let far = run(&["--context", "far", "tasks"]);
    assert_eq!(code(&far), 3);
    assert!(errors(&far).contains("the address comes from context `far` of"), "{}", errors(&far));
    assert!(text(&run(&["--context", "far", "--server", address, "tasks"])).contains("one.1"));

    let secret = contexts.replace("[contexts.far]", "token = \"secret\"\n[contexts.far]");
    write(&secret, 0o600);
    assert!(!errors(&run(&["status"])).contains("others can read"));
    write(&secret, 0o644);
    let readable = errors(&run(&["status"]));
    assert!(readable.contains("others can read the token in"), "{readable}");
    assert!(!readable.contains("secret"), "{readable}");

    write(&contexts.replace("server", "sever"), 0o600);
    let broken = run(&["tasks"]);
    assert_eq!(code(&broken), 2);
    assert!(errors(&broken).contains("config.toml:3:1: found unknown key `sever`"), "{}", errors(&broken));
    assert!(errors(&broken).contains("did you mean `server`?"), "{}", errors(&broken));
}

fn run_in(config: &Path, arguments: &[&str]) -> Output {
    bare().args(arguments).env("XDG_CONFIG_HOME", config).output().expect("the binary")
}

#[tokio::test(flavor = "multi_thread")]
async fn top_looks_once_without_a_terminal_and_goes_on_with_one() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    engine.wait("a sample", async || engine.tasks("one").await[0].memory_used.is_some()).await;
    let once = text(&loadline(&engine, &["top"]));
    assert!(once.contains("WORKLOAD") && once.contains("one") && once.contains("of 32.0 MiB"), "{once}");
    assert!(!once.contains('\u{1b}'), "{once:?}");
    assert!(text(&loadline(&engine, &["top", "--tasks"])).contains("one.1"));
    let rows = text(&loadline(&engine, &["top", "-o", "json"]));
    let rows: serde_json::Value = serde_json::from_str(&rows).expect("JSON");
    assert!(rows[0]["memory_used"].as_u64().is_some_and(|bytes| bytes > 0), "{rows}");

    let mut live = in_terminal(&engine, "top --interval 200ms")
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script");
    let shown = Arc::new(Mutex::new(String::new()));
    let reading = read_along(live.stdout.take().expect("a screen"), &shown);
    let mut keys = live.stdin.take().expect("keys");
    until("it is refreshed", || shown.lock().expect("a text").matches("WORKLOAD").count() > 3);
    assert!(live.try_wait().expect("a child").is_none(), "it ended without being told");
    keys.write_all(b"t").expect("a key");
    until("the key t shows tasks", || {
        let shown = shown.lock().expect("a text");
        shown.contains("TASK ") && shown.contains("one.1")
    });
    keys.write_all(b"q").expect("a key");
    assert!(live.wait().expect("an end").success());
    reading.join().expect("all of it");
    let shown = shown.lock().expect("a text");
    assert!(shown.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "the terminal is not put back: {shown:?}");
}

/// Reads what a program prints, while it prints.
fn read_along(mut output: impl Read + Send + 'static, shown: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let shown = Arc::clone(shown);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut piece) {
            shown.lock().expect("a text").push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    })
}

/// An engine that speaks TLS; it ends with the test.
struct Secured {
    child: std::process::Child,
    folder: tempfile::TempDir,
    address: String,
}

impl Secured {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("loadline-test-").tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        put("cert.pem", &made.cert.pem());
        put("key.pem", &made.signing_key.serialize_pem());
        put("engine.toml", "[api]\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n");
        let mut command = bare();
        command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path().join("data"));
        command.arg("--config").arg(folder.path().join("engine.toml"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the binary");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(',').next());
        let address = format!("https://127.0.0.1:{}", address.expect("an address"));
        Self { child, folder, address }
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[test]
fn an_engine_with_a_certificate_of_its_own_is_reached_by_its_authority() {
    let engine = Secured::start();
    let authority = engine.folder.path().join("cert.pem");
    let run = |arguments: &[&str]| {
        bare().args(arguments).env("LOADLINE_SERVER", &engine.address).output().expect("the binary")
    };
    let unknown = run(&["status"]);
    assert_eq!(code(&unknown), 3, "{}", errors(&unknown));
    assert!(errors(&unknown).contains("certificate"), "{}", errors(&unknown));
    let authority = authority.to_str().expect("a path");
    assert!(text(&run(&["status", "--ca-file", authority])).contains("loadline"));
    let by_variable = bare()
        .arg("status")
        .env("LOADLINE_SERVER", &engine.address)
        .env("LOADLINE_CA", authority)
        .output()
        .expect("the binary");
    assert!(text(&by_variable).contains("loadline"));
    let missing = run(&["status", "--ca-file", "/nonexistent.pem"]);
    assert_eq!(code(&missing), 2);
    assert!(errors(&missing).contains("from the flag --ca-file"), "{}", errors(&missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_on_a_terminal_shows_its_plan_asks_and_shows_progress() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    let file = engine.folder().join("next.toml");
    std::fs::write(&file, SMALL.replace("echo hello", "echo again")).expect("a file");
    let on_terminal = |options: &str, answer: &str| {
        let mut command = in_terminal(&engine, &format!("apply {} {options}", file.display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).env("TERM", "xterm");
        let mut child = command.spawn().expect("script");
        child.stdin.take().expect("keys").write_all(answer.as_bytes()).expect("keys");
        String::from_utf8_lossy(&child.wait_with_output().expect("an end").stdout).into_owned()
    };
    let refused = on_terminal("", "n\n");
    assert!(refused.contains("gets revision 2") && refused.contains("Apply this? [y/N]"), "{refused}");
    assert!(refused.contains("echo again") && refused.contains('\u{1b}'), "the diff: {refused}");
    assert!(refused.contains("nothing was changed"), "{refused}");
    assert_eq!(engine.workload("one").await.revision, 1);

    let agreed = on_terminal("--wait --timeout 40s", "y\n");
    assert!(agreed.contains("Apply this?") && agreed.contains("1/1"), "a bar is to be seen: {agreed}");
    assert_eq!(engine.workload("one").await.revision, 2);
}
