//! What is shown and served to whom, what forms must carry, and that words of others are shown as text.

use std::time::Duration;

use reqwest::{StatusCode, header};

use crate::harness::Place;
use crate::web::given::Given;
use crate::web::visitor::Visitor;

/// Two teams; one job's words are markup.
const SPECS: &str = r#"
[service.ours]
team = "a"
command = "echo '<script>alert(1)</script>'; exec sleep 100000"
memory = "32MiB"
[service.theirs]
team = "b"
command = "exec sleep 100000"
memory = "32MiB"
[cron.rare]
team = "a<b>"
command = "exit 0"
schedule = "0 0 1 1 *"
memory = "32MiB"
"#;

const PAGES: [&str; 12] = [
    "/",
    "/workloads",
    "/workloads/ours",
    "/workloads/rare",
    "/tasks/ours.1",
    "/logs?workload=ours",
    "/cron",
    "/nodes",
    "/recommendations",
    "/decisions",
    "/backtest",
    "/engine",
];

/// Ids that a page has more than once.
fn twice(page: &str) -> Vec<&str> {
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    ids.sort_unstable();
    ids.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).map(|same| same[0]).collect()
}

async fn given() -> Given {
    let given = Given::start(Place::new(), SPECS).await;
    given.engine.wait_ready("ours", 1).await;
    given
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_engine_just_works_and_every_page_holds_the_browser_to_the_policy() {
    let given = given().await;
    let mut visitor = Visitor::new(&given.base);
    for path in PAGES.into_iter().chain(["/reports", "/search?q=our", "/reports?window=month"]) {
        let page = visitor.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        let policy = page.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(
            !page.text.contains("<style") && !page.text.contains(" style="),
            "{path}: a style that the policy forbids"
        );
        assert!(
            !page.text.contains("<script>") && !page.text.contains(" onclick="),
            "{path}: a script in a page"
        );
        for elsewhere in ["src=\"http", "href=\"http", "src=\"//", "url(http"] {
            assert!(!page.text.contains(elsewhere), "{path}: {elsewhere}");
        }
        assert!(page.text.contains("class=\"json\" href=\"/v1/"), "{path}: no link to the same as JSON");
        assert_eq!(twice(&page.text), Vec::<&str>::new(), "{path}: an id is there twice");
    }
    given.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_for_good_and_compressed() {
    let given = given().await;
    let mut visitor = Visitor::new(&given.base);
    let page = visitor.get("/").await.text;
    for ending in [".css", ".js", ".svg"] {
        let path = page
            .split('"')
            .find(|part| part.starts_with("/assets/") && part.ends_with(ending))
            .expect("an asset");
        let plain = visitor.get_with(path, &[]).await;
        assert_eq!(plain.header(header::CACHE_CONTROL), "public, max-age=31536000, immutable", "{path}");
        let packed = visitor.get_with(path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(packed.header(header::CONTENT_ENCODING), "gzip", "{path}");
        assert!(
            ending == ".svg" || packed.length < plain.length / 2,
            "{path}: {} of {}",
            packed.length,
            plain.length
        );
    }
    assert_eq!(visitor.get("/assets/none.css").await.status, StatusCode::NOT_FOUND);
    let missing = visitor.get("/no/such/page").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.text.contains("There is no page at /no/such/page"), "{}", missing.text);
    given.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_neither_sees_nor_sends_an_action() {
    let given = given().await;
    let root = given.token(None, "root", "operator", None).await;
    let viewer = given.token(Some(&root), "vera", "viewer", None).await;

    let mut nobody = Visitor::new(&given.base);
    let away = nobody.get("/workloads?q=a").await;
    assert_eq!(away.status, StatusCode::SEE_OTHER);
    assert_eq!(away.header(header::LOCATION), "/login?next=%2Fworkloads%3Fq%3Da");
    let wrong = nobody.post("/login", &[("token", "ll_wrong")], &[]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{}", wrong.text);

    let mut vera = Visitor::logged_in(&given.base, &viewer).await;
    for path in PAGES {
        let page = vera.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.text.contains("action=\"/act\"") && !page.text.contains("/reports"), "{path}");
        assert!(!page.text.contains("Audit log"), "{path}");
    }
    assert_eq!(vera.get("/reports").await.status, StatusCode::FORBIDDEN);
    assert_eq!(vera.get("/v1/audit").await.status, StatusCode::FORBIDDEN);
    assert_eq!(vera.get("/v1/status").await.status, StatusCode::OK, "the session opens the API for reading");
    let csrf = vera.csrf().await;
    for (does, subject) in [
        ("scale", "ours"),
        ("restart", "ours"),
        ("pause", "ours"),
        ("rollback", "ours"),
        ("run", "rare"),
        ("stop-task", "ours.1"),
        ("drain", "local"),
        ("undo", "scale/ours"),
        ("freeze", "deploys"),
        ("approve", "1"),
        ("advance", "ours"),
        ("abort", "ours"),
        ("resize", "ours"),
        ("cancel-run", "rare@2026-01-01T00:00:00Z"),
        ("activate", "local"),
        ("unfreeze", "deploys"),
        ("undo", "dismiss/ours"),
        ("backtest", ""),
        ("cancel-backtest", "1"),
        ("size-policy", ""),
    ] {
        let fields =
            [("csrf", csrf.as_str()), ("do", does), ("subject", subject), ("message", "x"), ("count", "2")];
        let answer = vera.post("/act", &fields, &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{does}: {}", answer.text);
    }
    for does in ["apply", "dismiss", "schedule", "pause", "resume", "restart", "scale"] {
        let word = format!("bulk-{does}");
        let fields =
            [("csrf", csrf.as_str()), ("do", &word), ("workload", "ours"), ("message", "x"), ("count", "2")];
        let answer = vera.post("/act", &fields, &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{word}: {}", answer.text);
    }
    given.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_acts_on_what_is_the_team_s() {
    let given = given().await;
    let root = given.token(None, "root", "operator", None).await;
    let developer = given.token(Some(&root), "dev", "developer", Some("a")).await;
    let mut dev = Visitor::logged_in(&given.base, &developer).await;
    assert!(dev.get("/workloads/ours").await.text.contains("id=\"scale-ours\""));
    assert!(!dev.get("/workloads/theirs").await.text.contains("action=\"/act\""));
    assert!(!dev.get("/nodes").await.text.contains("action=\"/act\""));
    let csrf = dev.csrf().await;
    let fields = |subject| {
        [
            ("csrf", csrf.as_str()),
            ("do", "scale"),
            ("subject", subject),
            ("message", "more"),
            ("count", "2"),
            ("for", "600"),
            ("next", "/workloads/ours"),
        ]
    };
    assert_eq!(dev.post("/act", &fields("theirs"), &[]).await.status, StatusCode::FORBIDDEN);
    let done = dev.post("/act", &fields("ours"), &[]).await;
    assert_eq!(
        (done.status, done.header(header::LOCATION)),
        (StatusCode::SEE_OTHER, "/workloads/ours"),
        "{}",
        done.text
    );
    let page = dev.get("/workloads/ours").await.text;
    assert!(
        page.contains("Done: ") && page.contains("Scaled by hand (was 1)") && page.contains("by dev"),
        "{page}"
    );
    assert!(!dev.get("/workloads/ours").await.text.contains("Done: "), "it is said once");
    for does in ["bulk-apply", "bulk-dismiss", "bulk-schedule"] {
        let fields = [("csrf", csrf.as_str()), ("do", does), ("workload", "theirs"), ("message", "x")];
        assert_eq!(dev.post("/act", &fields, &[]).await.status, StatusCode::FORBIDDEN, "{does}");
    }
    // Of many, what is not the team's is refused and told, and the rest is done.
    let many = [
        ("csrf", csrf.as_str()),
        ("do", "bulk-pause"),
        ("workload", "ours"),
        ("workload", "theirs"),
        ("message", "a break"),
        ("for", "600"),
        ("next", "/workloads"),
    ];
    assert_eq!(dev.post("/act", &many, &[]).await.status, StatusCode::SEE_OTHER);
    let told = dev.get("/workloads").await.text;
    assert!(told.contains("Done: ours is paused") && told.contains("Not done: "), "{told}");
    // Without a reason nothing is done.
    let silent = [("csrf", csrf.as_str()), ("do", "restart"), ("subject", "ours")];
    assert_eq!(dev.post("/act", &silent, &[]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    given.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_of_other_sites_fail() {
    let given = given().await;
    let mut open = Visitor::new(&given.base);
    let (csrf, own) = (open.csrf().await, given.base.clone());
    let fields = |csrf: &str| {
        [
            ("csrf", csrf.to_owned()),
            ("do", "pause".to_owned()),
            ("subject", "ours".to_owned()),
            ("message", "x".to_owned()),
        ]
    };
    let refused: [(&str, &[(&str, &str)]); 5] = [
        ("", &[]),
        ("0000", &[("origin", &own)]),
        (&csrf, &[("origin", "https://evil.example")]),
        (&csrf, &[("sec-fetch-site", "cross-site")]),
        (&csrf, &[("origin", "null")]),
    ];
    for (sent, headers) in refused {
        let fields = fields(sent);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = open.post("/act", &fields, headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{sent} {headers:?}: {}", answer.text);
    }
    // Nor does a session's form fit another's, nor the log-in of another site.
    let root = given.token(None, "root", "operator", None).await;
    let mut operator = Visitor::logged_in(&given.base, &root).await;
    let fields = [("csrf", csrf.as_str()), ("do", "pause"), ("subject", "ours"), ("message", "x")];
    assert_eq!(operator.post("/act", &fields, &[]).await.status, StatusCode::FORBIDDEN);
    let login = [("token", root.as_str())];
    let crossed = Visitor::new(&given.base).post("/login", &login, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(crossed.status, StatusCode::FORBIDDEN);
    // A session does not open the API for writing.
    let write = operator.post("/v1/workloads/ours/pause", &[], &[("content-type", "application/json")]).await;
    assert_eq!(write.status, StatusCode::UNAUTHORIZED, "{}", write.text);
    let csrf = operator.csrf().await;
    assert_eq!(operator.post("/logout", &[("csrf", "x")], &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(operator.post("/logout", &[("csrf", &csrf)], &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(operator.get("/").await.status, StatusCode::SEE_OTHER);
    given.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_names_messages_and_logs_is_text() {
    let given = given().await;
    let mut visitor = Visitor::new(&given.base);
    let csrf = visitor.csrf().await;
    let fields = [
        ("csrf", csrf.as_str()),
        ("do", "scale"),
        ("subject", "ours"),
        ("count", "2"),
        ("for", "600"),
        ("message", "<img src=x onerror=alert(1)>"),
    ];
    assert_eq!(visitor.post("/act", &fields, &[]).await.status, StatusCode::SEE_OTHER);
    let page = visitor.get("/workloads/ours").await.text;
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;") && !page.contains("<img"), "{page}");
    // The task has printed its line a moment after it is ready.
    let mut task = visitor.get("/tasks/ours.1").await.text;
    for _ in 0..100 {
        if task.contains("alert(1)") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        task = visitor.get("/tasks/ours.1").await.text;
    }
    assert!(
        task.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !task.contains("<script>alert"),
        "{task}"
    );
    assert!(visitor.get("/workloads").await.text.contains("a&lt;b&gt;"));
    let search = visitor.get("/search?q=%22%3E%3Cb%3E").await.text;
    assert!(search.contains("&quot;&gt;&lt;b&gt;") && !search.contains("\"><b>"), "{search}");
    let missing = visitor.get("/workloads/%3Cb%3E").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(!missing.text.contains("<b>"), "{}", missing.text);
    given.end();
}
