//! Too few open files; control groups that killed engines have left.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::chaos::engine_group;
use crate::harness::Place;
use crate::machine::is_alive;

#[tokio::test(flavor = "multi_thread")]
async fn too_few_open_files_are_told_and_end_nothing() {
    let mut place = Place::new();
    place.before = "ulimit -n 256; ".to_owned();
    let mut engine = place.start();
    let specs = "[pool.wide]\ncpu = 4\nmemory = \"4GiB\"\n[service.many]\ncommand = [\"sleep\", \"100000\"]\n\
                 instances = 40\ncpu = 0.01\nmemory = \"16MiB\"\n";
    engine.apply(specs).await.expect("valid specs");
    engine.wait_ready("many", 40).await;
    let status = engine.status().await;
    assert!(
        status
            .engine
            .limitations
            .iter()
            .any(|text| text.contains("at most 256 files") && text.contains("ulimit")),
        "{:?}",
        status.engine.limitations
    );
    let pids = engine.pids("many").await;

    // More connections than there are numbers for.
    let address: SocketAddr =
        engine.client.address().trim_start_matches("http://").parse().expect("an address");
    let mut held: Vec<TcpStream> = Vec::new();
    let mut refused = 0;
    while held.len() < 400 && refused < 5 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => held.push(stream),
            Err(_) => refused += 1,
        }
    }
    assert!(held.len() > 250, "only {} connections", held.len());
    // A connection stands before the engine has taken it up: on a busy machine that takes a while.
    let files = format!("/proc/{}/fd", engine.pid());
    engine
        .wait("the engine has no number left", async || {
            fs::read_dir(&files).expect("its files").count() >= 250
        })
        .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!engine.has_ended(), "the engine died:\n{}", place.log());
    assert!(
        pids.values().all(|number| is_alive(*number)),
        "tasks were killed for a shortage of the engine's"
    );
    drop(held);

    engine
        .wait("all is as before", async || {
            let found: Result<loadline::api::dto::StatusDto, _> = engine.client.get("/v1/status").await;
            found.is_ok_and(|status| status.engine.problems.is_empty())
        })
        .await;
    engine.wait_ready("many", 40).await;
    assert_eq!(engine.pids("many").await, pids, "tasks were replaced");
    assert!(place.log().contains("Too many open files"), "{}", place.log());
    engine.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_nobody_uses_are_removed_at_the_next_start() {
    let place = Place::new();
    let engine = place.start();
    engine.wait("a node", async || engine.status().await.pools.iter().any(|pool| pool.ready > 0)).await;
    let Some(group) = engine_group(&place.data) else {
        eprintln!("skipped: no control groups here");
        return;
    };
    engine.end();
    assert!(!group.exists(), "an engine without tasks leaves its group: {}", group.display());

    let beside = |name: &str| {
        group.parent().expect("a folder").join(format!("loadline-{name}-{}", std::process::id()))
    };
    let make = |name: &str| {
        let folder = beside(name);
        fs::create_dir_all(folder.join("local-1/web.1")).expect("a group");
        folder
    };
    let age = |folder: &Path| {
        let status = Command::new("touch").args(["-d", "10 minutes ago"]).arg(folder).status();
        assert!(status.expect("touch").success());
    };
    let (left_over, claimed, young) = (make("old"), make("claimed"), make("young"));
    // Engines of other tests look for what is left over, too: claimed first, aged then.
    let lock = fs::File::open(&claimed).expect("a folder");
    lock.try_lock().expect("a lock");
    age(&claimed);
    age(&left_over);
    let engine = place.start();
    assert!(!left_over.exists(), "what nobody uses is left");
    assert!(claimed.exists() && young.exists(), "a group in use was removed");
    engine.end();
    for folder in [claimed, young] {
        for inner in [folder.join("local-1/web.1"), folder.join("local-1"), folder] {
            fs::remove_dir(inner).expect("a group of the test's own");
        }
    }
}
