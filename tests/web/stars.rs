//! Stars: each user's own, wherever that user looks, without a script as well.

use reqwest::StatusCode;

use crate::harness::Place;
use crate::web::given::Given;
use crate::web::visitor::Visitor;

const SPECS: &str = r#"
[service.ours]
team = "a"
command = "exec sleep 100000"
memory = "32MiB"
[service.theirs]
team = "b"
command = "exec sleep 100000"
memory = "32MiB"
"#;

/// The names that a list of workloads shows.
fn shown(page: &str) -> Vec<&str> {
    page.split("data-key=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stars_are_a_user_s_own_in_every_browser_and_outlive_the_engine() {
    let given = Given::start(Place::new(), SPECS).await;
    let root = given.token(None, "root", "operator", None).await;
    let viewer = given.token(Some(&root), "vera", "viewer", None).await;
    let mut vera = Visitor::logged_in(&given.base, &viewer).await;
    let empty = vera.get("/workloads?starred=1").await.text;
    assert!(empty.contains("No workload has a star of yours.") && shown(&empty).is_empty(), "{empty}");

    // A form as a browser without script sends it, by somebody who may change nothing.
    let csrf = vera.own_csrf("/workloads").await;
    let fields = [("csrf", csrf.as_str()), ("next", "/workloads?starred=1"), ("star", "theirs")];
    let sent = vera.post("/star", &fields, &[]).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text);
    let page = vera.get("/workloads?starred=1").await.text;
    assert_eq!(shown(&page), ["theirs"], "{page}");
    assert!(page.contains("name=\"unstar\" value=\"theirs\" aria-pressed=\"true\""), "{page}");
    assert!(page.contains("href=\"/v1/workloads?starred=true\""), "{page}");
    assert_eq!(given.client(Some(&viewer)).stars().await.expect("stars"), ["theirs"]);
    let of: Vec<serde_json::Value> =
        given.client(Some(&viewer)).get("/v1/workloads?starred=true").await.expect("workloads");
    assert_eq!(of.len(), 1, "{of:?}");

    // The same user elsewhere, and another user.
    let mut elsewhere = Visitor::logged_in(&given.base, &viewer).await;
    assert_eq!(shown(&elsewhere.get("/workloads?starred=1").await.text), ["theirs"]);
    let mut operator = Visitor::logged_in(&given.base, &root).await;
    assert!(shown(&operator.get("/workloads?starred=1").await.text).is_empty());

    // What is refused changes nothing.
    for (fields, headers, status) in [
        ([("csrf", "0000"), ("star", "ours")], &[][..], StatusCode::FORBIDDEN),
        (
            [("csrf", csrf.as_str()), ("star", "ours")],
            &[("origin", "https://evil.example")],
            StatusCode::FORBIDDEN,
        ),
        ([("csrf", csrf.as_str()), ("star", "nobody")], &[], StatusCode::NOT_FOUND),
        ([("csrf", csrf.as_str()), ("star", "../tokens")], &[], StatusCode::NOT_FOUND),
    ] {
        let answer = vera.post("/star", &fields, headers).await;
        assert_eq!(answer.status, status, "{fields:?}: {}", answer.text);
    }
    assert_eq!(given.client(Some(&viewer)).stars().await.expect("stars"), ["theirs"]);

    let Given { engine, place, .. } = given;
    engine.end();
    let engine = place.start();
    let base = engine.client.address().to_owned();
    let given = Given { engine, place, base };
    let client = given.client(Some(&viewer));
    assert_eq!(client.stars().await.expect("stars"), ["theirs"], "after a restart");
    assert_eq!(client.unstar("theirs").await.expect("taken back").changes, ["theirs has no star any more"]);
    assert_eq!(client.unstar("theirs").await.expect("known").changes, Vec::<String>::new());
    assert_eq!(client.stars().await.expect("stars"), Vec::<String>::new());
    given.end();
}
