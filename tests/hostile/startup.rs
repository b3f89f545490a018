//! What keeps an engine from starting is told in one paragraph with what to do; nothing is changed by the
//! try, and tasks that run do not notice.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use super::disk::SmallDisk;
use crate::harness::{Place, binary, supervisors};
use crate::machine::{is_alive, signal, until};

const ONE: &str = "[service.one]\ncommand = [\"sleep\", \"100000\"]\ninstances = 2\nmemory = \"32MiB\"\n";

/// Everything in a folder but what a lock leaves behind.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.ends_with("lock") {
            found.insert(name, fs::read(entry.path()).expect("a file"));
        }
    }
    found
}

/// Tries to start, and checks that it says these words in one paragraph and changes nothing.
fn refused(place: &Place, what: &str, words: &[&str]) {
    let before = contents(&place.data);
    let said = place.refusal();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{what}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{what}: {text}");
    for word in words {
        assert!(text.contains(word), "{what}: no `{word}` in: {text}");
    }
    let after = contents(&place.data);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "{what}: files came or went");
    assert!(after == before, "{what}: files were changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_and_left_alone() {
    let place = Place::new();
    let engine = place.start();
    engine.apply(ONE).await.expect("valid specs");
    engine.wait_ready("one", 2).await;
    let pids = engine.pids("one").await;
    engine.end();
    let store = place.data.join("loadline.db");
    let good = fs::read(&store).expect("a store");

    let mut garbled = good.clone();
    garbled[3 * 4096..5 * 4096].iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 251) as u8);
    let mut newer = good.clone();
    // The header's `user_version`.
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    let cases: [(&str, Vec<u8>, &[&str]); 5] = [
        ("truncated", good[..5000].to_vec(), &["loadline.db is damaged", "Put back a copy"]),
        ("a garbled page", garbled, &["loadline.db is damaged", "Put back a copy"]),
        ("empty", Vec::new(), &["the file is empty", "Put back a copy"]),
        ("another file", b"dear diary\n".repeat(500), &["not a Loadline store", "Put back a copy"]),
        ("newer", newer, &["schema version 99", "Start the Loadline that wrote it"]),
    ];
    for (what, content, words) in cases {
        fs::write(&store, content).expect("a write");
        refused(&place, what, words);
        assert!(pids.values().all(|number| is_alive(*number)), "{what}: tasks died");
    }

    fs::write(&store, good).expect("a write");
    let engine = place.start();
    engine.wait_ready("one", 2).await;
    assert_eq!(engine.pids("one").await, pids, "the copy that was put back is taken up");
    engine.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_is_none_is_refused() {
    let mut place = Place::new();
    let file = place.folder.path().join("file");
    fs::write(&file, "mine").expect("a write");
    place.data = file.clone();
    refused(&place, "a file", &["cannot create the data folder", "must be a folder", "--data-dir"]);
    place.data = file.join("below");
    refused(&place, "below a file", &["Not a directory", "must be a folder"]);
    assert_eq!(fs::read_to_string(&file).expect("a file"), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_refused() {
    let Some(disk) = SmallDisk::new(16) else { return };
    let mut place = Place::new();
    place.data = disk.path().join("data");
    let engine = place.start();
    engine.apply(ONE).await.expect("valid specs");
    engine.wait_ready("one", 2).await;
    let pids = engine.pids("one").await;
    engine.end();
    // Open files of tasks do not let a disk become read-only; they are moved out of its way.
    for (number, _) in supervisors(&place.data) {
        signal(number, nix::sys::signal::Signal::SIGTERM);
    }
    until("the end of the tasks", || !pids.values().any(|number| is_alive(*number)));
    until("the end of the supervisors", || supervisors(&place.data).is_empty());
    disk.set_read_only(true);
    refused(&place, "read-only", &["Read-only file system", "Let this user write there"]);
    let data = place.data.clone();
    place.data = disk.path().join("new");
    refused(&place, "a new one", &["cannot create the data folder", "Let this user write there"]);
    disk.set_read_only(false);
    place.data = data;
    let engine = place.start();
    engine.wait_ready("one", 2).await;
    engine.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_a_folder_in_use_are_refused() {
    let mut place = Place::new();
    let engine = place.start();
    engine.apply(ONE).await.expect("valid specs");
    engine.wait_ready("one", 2).await;
    let pids = engine.pids("one").await;
    let said = String::from_utf8_lossy(&place.refusal().stderr).into_owned();
    assert!(said.contains("is in use by another engine") && said.contains("--data-dir"), "{said}");
    engine.end();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    place.listen = listener.local_addr().expect("an address").to_string();
    refused(&place, "a taken port", &[&format!("cannot listen on {}", place.listen), "--listen"]);
    let nowhere = place.folder.path().join("nowhere");
    let data = std::mem::replace(&mut place.data, nowhere.clone());
    refused(&place, "a taken port and a new folder", &["cannot listen on"]);
    assert!(!nowhere.exists(), "a folder was made for nothing");
    place.data = data;
    drop(listener);
    assert!(pids.values().all(|number| is_alive(*number)), "tasks died");
    let engine = place.start();
    engine.wait_ready("one", 2).await;
    assert_eq!(engine.pids("one").await, pids);
    engine.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_front_door_is_told_and_taken_back() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let place = Place::new();
    let engine = place.start();
    let web = format!(
        r#"
[service.web]
command = ["{}", "demo-task", "web", "--startup", "100ms", "--memory", "1MiB"]
ports = [{{ name = "http", front_door = {port} }}]
readiness = {{ http = "/healthz", interval = "200ms" }}
memory = "48MiB"
"#,
        binary()
    );
    engine.apply(&web).await.expect("valid specs");
    engine
        .wait("status tells of the taken port", async || {
            let problems = engine.status().await.engine.problems;
            problems.iter().any(|problem| problem.contains(&format!("web cannot open port {port}")))
        })
        .await;
    engine.wait_ready("web", 1).await;
    drop(listener);
    engine.wait("the problem is gone", async || engine.status().await.engine.problems.is_empty()).await;
    let answer =
        crate::http::client().build().expect("a client").get(format!("http://127.0.0.1:{port}/healthz"));
    assert!(answer.send().await.expect("an answer").status().is_success());
    engine.end();
}
