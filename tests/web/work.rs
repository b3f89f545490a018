//! Pages on which people work: what a task was started with, its log by the line, commands in it; what is to become
//! of nodes; how the engine's own parts are; backtests. Over HTTP, by real processes.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use loadline::adapters::storage::SqliteStore;
use loadline::adapters::system_clock::SystemClock;
use loadline::api::answers::AuditDto;
use loadline::api::backtests::{BacktestDto, BacktestRequest};
use loadline::api::client::Client;
use loadline::api::dto::{ApplyRequest, Changed, ExplanationDto, LogDto, NodeDto, SpecFile};
use loadline::api::environment::EnvironmentDto;
use loadline::api::exec::{ExecRequest, ExecResult};
use loadline::api::own_state::EngineDto;
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::task::TaskId;
use loadline::domain::usage::UsageSample;
use loadline::ports::clock::Clock;
use loadline::ports::history::History;
use reqwest::{StatusCode, header};

use crate::harness::Place;
use crate::web::given::Given;
use crate::web::visitor::{Answer, Visitor};

const SPECS: &str = r#"
[service.shop]
team = "a"
command = "for i in 1 2 3 4 5; do echo line $i of '<b>'; done; echo trouble >&2; exec sleep 100000"
memory = "32MiB"
instances = 2
env = { GREETING = "hello <i>", KEY = { secret_env = "SHOP_KEY" }, FILED = { secret_file = "KEYFILE" }, DB_PASSWORD = "plainly-secret" }
"#;
const SECRETS: [&str; 3] = ["value-of-the-variable", "value-of-the-file", "plainly-secret"];

async fn given() -> Given {
    let mut place = Place::new();
    place.before = format!("export SHOP_KEY={}; ", SECRETS[0]);
    let key = place.folder.path().join("key");
    std::fs::write(&key, format!("{}\n", SECRETS[1])).expect("a file");
    let given = Given::start(place, &SPECS.replace("KEYFILE", &key.display().to_string())).await;
    given.engine.wait_ready("shop", 2).await;
    given
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_task_are_named_and_never_shown() {
    let given = given().await;
    let mut visitor = Visitor::new(&given.base);
    // The task itself has them.
    let request = ExecRequest {
        command: ["sh", "-c", "echo $KEY $FILED $DB_PASSWORD"].map(str::to_owned).to_vec(),
        ..ExecRequest::default()
    };
    let said: ExecResult =
        given.engine.client.post("/v1/tasks/shop.1/exec", &request).await.expect("a result");
    assert_eq!(said.stdout.trim(), SECRETS.join(" "));
    let found: EnvironmentDto =
        given.engine.client.get("/v1/tasks/shop.1/environment").await.expect("an answer");
    assert!(found.known && found.command.join(" ").contains("sleep 100000"), "{found:?}");
    let value = |name: &str| {
        let variable = found.variables.iter().find(|variable| variable.name == name).expect("a variable");
        (variable.value.as_deref(), variable.hidden.is_some())
    };
    assert_eq!(value("GREETING"), (Some("hello <i>"), false));
    for name in ["KEY", "FILED", "DB_PASSWORD"] {
        assert_eq!(value(name), (None, true), "{name}");
    }
    for path in [
        "/tasks/shop.1",
        "/workloads/shop",
        "/logs?workload=shop",
        "/v1/tasks/shop.1",
        "/v1/tasks/shop.1/environment",
        "/v1/events?task=shop.1",
    ] {
        let answer = visitor.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        // What was written as plain text stands in the spec; it is kept off the page of the task all the same.
        let hidden = if path.starts_with("/tasks") || path.contains("environment") { 3 } else { 2 };
        for secret in &SECRETS[..hidden] {
            assert!(!answer.text.contains(secret), "{path} shows {secret}");
        }
    }
    let page = visitor.get("/tasks/shop.1").await.text;
    assert!(page.contains("DB_PASSWORD") && page.contains("hello &lt;i&gt;"), "{page}");
    given.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_log_has_an_address_that_leads_back_to_it() {
    let given = given().await;
    let mut visitor = Visitor::new(&given.base);
    let read = async |query: &str| -> LogDto {
        given.engine.client.get(&format!("/v1/tasks/shop.1/logs?{query}")).await.expect("a log")
    };
    let mut log = read("places=true").await;
    while log.places.len() < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        log = read("places=true").await;
    }
    assert_eq!(log.places.len(), 5);
    assert!(read("").await.places.is_empty(), "only where asked for");
    let third = &log.places[2];
    assert!(read(&format!("after={third}")).await.text.starts_with("line 3 of <b>\nline 4"));
    let page = visitor.get("/tasks/shop.1").await.text;
    let link = format!("href=\"/tasks/shop.1?stream=stdout&amp;from={third}#L{third}\"");
    assert!(page.contains(&link) && page.contains(&format!("id=\"L{third}\"")), "{page}");
    let page = visitor.get(&format!("/tasks/shop.1?stream=stdout&from={third}")).await.text;
    assert!(page.contains(&format!("id=\"L{third}\"")) && !page.contains("line 2 of"), "{page}");
    assert!(page.contains("trouble"), "the other stream is there as usual");
    // Two tasks side by side.
    let page = visitor.get("/logs?task=shop.1&task=shop.2").await.text;
    for id in ["shop.1", "shop.2"] {
        assert!(page.contains(&format!("data-log=\"/v1/tasks/{id}/logs?stream=stdout\"")), "{page}");
    }
    assert!(page.contains("line 5 of &lt;b&gt;") && !page.contains("<b>'"), "{page}");
    let page = visitor.get("/logs?workload=shop&stream=stderr").await.text;
    assert!(page.matches(">trouble<").count() == 2, "{page}");
    assert_eq!(visitor.get("/logs?task=nobody.1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(visitor.get("/logs").await.status, StatusCode::OK);
    given.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_in_tasks_are_for_operators_with_a_reason() {
    let given = given().await;
    let root = given.token(None, "root", "operator", None).await;
    let viewer = given.token(Some(&root), "vera", "viewer", None).await;
    let developer = given.token(Some(&root), "dev", "developer", Some("a")).await;
    let command = |csrf: &str, text: &str, seconds: &str, why: &str| {
        [("csrf", csrf), ("command", text), ("seconds", seconds), ("message", why)]
            .map(|(name, value)| (name, value.to_owned()))
    };
    let send = async |visitor: &mut Visitor, fields: [(&str, String); 4], headers: &[(&str, &str)]| {
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        visitor.post("/tasks/shop.1/exec", &fields, headers).await
    };
    for secret in [&viewer, &developer] {
        let mut visitor = Visitor::logged_in(&given.base, secret).await;
        let page = visitor.get("/tasks/shop.1").await.text;
        assert!(!page.contains("Run a command") && !page.contains("/exec"), "{page}");
        assert_eq!(visitor.get("/tasks/shop.1/exec").await.status, StatusCode::FORBIDDEN);
        let csrf =
            if secret == &developer { visitor.csrf().await } else { visitor.own_csrf("/tasks/shop.1").await };
        let answer = send(&mut visitor, command(&csrf, "touch /tmp/x", "5", "x"), &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text);
    }
    let mut operator = Visitor::logged_in(&given.base, &root).await;
    assert!(operator.get("/tasks/shop.1").await.text.contains("Run a command"));
    let csrf = operator.csrf().await;
    let said = send(&mut operator, command(&csrf, "echo '<u>' $GREETING; exit 3", "5", "a look"), &[]).await;
    assert_eq!(said.status, StatusCode::OK, "{}", said.text);
    assert!(
        said.text.contains("&lt;u&gt; hello &lt;i&gt;") && said.text.contains("exit status 3"),
        "{}",
        said.text
    );
    assert!(said.header(header::CONTENT_SECURITY_POLICY).contains("default-src 'none'"));
    let late = send(&mut operator, command(&csrf, "sleep 600", "1", "a look"), &[]).await;
    assert!(late.text.contains("its time was up"), "{}", late.text);
    for (fields, headers, status) in [
        (command("", "id", "5", "x"), &[][..], StatusCode::FORBIDDEN),
        (command(&csrf, "id", "5", "x"), &[("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (command(&csrf, "id", "5", "x"), &[("sec-fetch-site", "cross-site")], StatusCode::FORBIDDEN),
        (command(&csrf, "id", "5", " "), &[], StatusCode::UNPROCESSABLE_ENTITY),
        (command(&csrf, " ", "5", "x"), &[], StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = send(&mut operator, fields, headers).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let audit = operator.get("/engine").await.text;
    assert!(audit.contains("a look") && audit.contains("/v1/tasks/shop.1/exec"), "{audit}");
    given.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_say_why_they_stay_and_the_engine_how_its_parts_are() {
    let given = given().await;
    let mut visitor = Visitor::new(&given.base);
    let mut node = given.engine.client.nodes().await.expect("nodes").remove(0);
    while node.outlook.is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        node = given.engine.client.nodes().await.expect("nodes").remove(0);
    }
    let NodeDto { outlook, made_for, .. } = node;
    let outlook = outlook.expect("it was looked at");
    let kinds: Vec<&str> = outlook.blocks.iter().map(|block| block.by.as_str()).collect();
    // The whole machine is one node that never goes.
    assert_eq!((outlook.prospect.as_str(), kinds), ("stays", vec!["used", "minimum"]), "{outlook:?}");
    let page = visitor.get("/nodes").await.text;
    assert!(page.contains(&outlook.blocks[1].reason) && page.contains("Planned changes"), "{page}");
    assert!(!made_for.is_empty() && page.contains("Why it is there"), "{made_for}");
    assert_eq!(visitor.get("/v1/nodes/planned").await.text, "[]");

    let own: EngineDto = given.engine.client.get("/v1/engine").await.expect("an answer");
    let scheduler = own.loops.iter().find(|each| each.name == "scheduler").expect("a loop");
    assert!(scheduler.passes > 0 && scheduler.failed == 0 && !scheduler.is_behind(), "{scheduler:?}");
    let file = std::fs::metadata(given.place.data.join("loadline.db")).expect("a file");
    assert!(own.store.bytes >= file.len() && own.store.schema >= 4, "{:?}", own.store);
    assert!(own.store.last_write_at.is_some_and(|at| at > own.started_at), "{:?}", own.store);
    let page = visitor.get("/engine").await.text;
    for words in ["Size on disk", "Last write", "cluster scaler", "Began late by", "decision"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    given.end();
}

/// Samples of three days up to now, one in five minutes, as the engine would have kept them.
pub(super) fn record_of_days(data: &Path, workloads: &[&str]) {
    std::fs::create_dir_all(data).expect("a folder");
    let store = SqliteStore::open(&data.join("loadline.db")).expect("a store");
    let now = SystemClock.now().as_second().div_euclid(300) * 300;
    let mut samples = Vec::new();
    for step in 0..3 * 288_i64 {
        for (place, workload) in (0_i64..).zip(workloads) {
            let task: TaskId = format!("{workload}.1").parse().expect("an id");
            // It rises and falls in a day, and peaks now and then.
            let turn = (step as f64 / 288.0 * std::f64::consts::TAU).sin();
            let peak = if (step + place * 7) % 97 == 0 { 60.0 } else { 0.0 };
            samples.push(UsageSample {
                workload: task.workload().clone(),
                task,
                at: Timestamp::from_second(now - (3 * 288 - step) * 300).expect("a time"),
                interval_seconds: Some(300.0),
                cpu_cores: Some(0.2 + 0.1 * turn),
                throttled_share: None,
                memory: Bytes::mib((120.0 + 20.0 * turn + peak) as u64),
                page_cache: None,
                request: Resources::new(Millicores::new(500), Bytes::mib(256)),
                oom_kills: 0,
            });
        }
    }
    store.append(&samples, &[]).expect("a record");
}

/// Sends what a form of the page of backtests would.
async fn ask(visitor: &mut Visitor, more: &[(&str, &str)]) -> Answer {
    let csrf = visitor.own_csrf("/backtest").await;
    let mut fields = vec![("csrf", csrf.as_str()), ("next", "/backtest")];
    fields.extend(more);
    visitor.post("/act", &fields, &[]).await
}

async fn ended(client: &Client) -> BacktestDto {
    loop {
        let found: BacktestDto = client.get("/v1/backtests/1").await.expect("a backtest");
        if found.ended {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Services of two teams and a cron job, as the root declares them.
async fn declared(given: &Given, root: &str) -> Client {
    const ONE: &str = "command = \"exec sleep 100000\"\nmemory = \"300MiB\"\ncpu = 0.5\n";
    let specs = format!(
        "[service.web]\nteam = \"a\"\n{ONE}[service.db]\nteam = \"b\"\n{ONE}[cron.night]\nteam = \"a\"\nschedule = \"0 3 * * *\"\n{ONE}"
    );
    let client = given.client(Some(root));
    let files = vec![SpecFile { name: "all.toml".to_owned(), text: specs }];
    let _: Changed = client
        .post("/v1/apply", &ApplyRequest { files, message: "x".to_owned(), dry_run: false })
        .await
        .expect("valid specs");
    client
}

/// What won for one service is taken into force for that one alone, by its team, for a while, and undone.
async fn for_one_workload(given: &Given, root: &str, dev: &mut Visitor, vera: &mut Visitor) {
    let client = declared(given, root).await;
    let page = dev.get("/backtest").await.text;
    assert!(page.contains("id=\"enable-some\"") && !page.contains("id=\"enable\""), "{page}");
    assert!(page.contains("name=\"workload\" value=\"web\" checked"), "what was replayed is ticked: {page}");
    assert!(!vera.get("/backtest").await.text.contains("id=\"enable"));
    let csrf = dev.own_csrf("/backtest").await;
    let fields = |policy, names: &[&'static str]| {
        let mut fields =
            vec![("csrf", csrf.clone()), ("do", "bulk-size-policy".to_owned()), ("for", "86400".to_owned())];
        fields.push(("message", "it won here".to_owned()));
        fields.push(("policy", policy));
        fields.extend(names.iter().map(|name| ("workload", (*name).to_owned())));
        fields
    };
    let send = async |visitor: &mut Visitor, fields: Vec<(&str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        visitor.post("/act", &fields, &[]).await
    };
    let policy = || "crane:margin=1.5".to_owned();
    for (policy, name, status) in [
        (policy(), "db", StatusCode::FORBIDDEN),
        (policy(), "night", StatusCode::CONFLICT),
        (policy(), "nobody", StatusCode::NOT_FOUND),
        ("best".to_owned(), "web", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = send(dev, fields(policy, &[name])).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
    }
    assert_eq!(send(dev, fields(policy(), &["web"])).await.status, StatusCode::SEE_OTHER);
    // What it says rests on the three days that were recorded.
    let advised = async || -> String {
        let found: ExplanationDto = client.get("/v1/recommendations/web").await.expect("advice");
        found.recommendation.reason
    };
    let mut reason = advised().await;
    while !reason.starts_with("policy crane:margin=1.5: ") {
        tokio::time::sleep(Duration::from_millis(200)).await;
        reason = advised().await;
    }
    let told = client.size_policies().await.expect("policies");
    let own: Vec<_> =
        told.own.iter().map(|own| (own.workload.as_str(), own.policy.as_str(), own.by.as_str())).collect();
    assert_eq!(
        (own, told.chosen.as_deref()),
        (vec![("web", "crane:margin=1.5", "dev")], Some("krr:margin=1.3"))
    );
    for path in ["/backtest", "/workloads/web"] {
        let page = dev.get(path).await.text;
        assert!(page.contains("Sizes of web come from policy crane:margin=1.5</b> by dev"), "{path}: {page}");
        assert!(page.contains("Ends in") && page.contains("undo-size-policy-web"), "{path}: {page}");
    }
    let undo =
        [("csrf", csrf.as_str()), ("do", "undo"), ("subject", "size-policy/web"), ("message", "not so good")];
    let hers = vera.own_csrf("/workloads").await;
    let theirs = [("csrf", hers.as_str()), undo[1], undo[2], undo[3]];
    assert_eq!(vera.post("/act", &theirs, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(dev.post("/act", &undo, &[]).await.status, StatusCode::SEE_OTHER);
    while !reason.starts_with("policy krr:margin=1.3: ") {
        tokio::time::sleep(Duration::from_millis(200)).await;
        reason = advised().await;
    }
    let audit = client.get::<Vec<AuditDto>>("/v1/audit?limit=5").await.expect("the log");
    assert!(
        audit
            .iter()
            .any(|entry| entry.path.ends_with("/actions/size-policy/web") && entry.message == "not so good")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_is_asked_for_watched_and_taken_into_force() {
    let mut place = Place::new();
    place.stops_tasks = true;
    record_of_days(&place.data, &["web", "db"]);
    let engine = place.start();
    let base = engine.client.address().to_owned();
    let given = Given { engine, place, base };
    let root = given.token(None, "root", "operator", None).await;
    let viewer = given.token(Some(&root), "vera", "viewer", None).await;
    let developer = given.token(Some(&root), "dev", "developer", Some("a")).await;

    let mut vera = Visitor::logged_in(&given.base, &viewer).await;
    assert!(!vera.get("/backtest").await.text.contains("action=\"/act\""));
    let asked = BacktestRequest { policies: vec!["vpa".to_owned()], ..BacktestRequest::default() };
    let refused = given.client(Some(&viewer)).post::<_, BacktestDto>("/v1/backtests", &asked).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("may not do this")));

    let mut dev = Visitor::logged_in(&given.base, &developer).await;
    let one = [("do", "backtest"), ("step", "300"), ("hours", "72")];
    let silent = ask(&mut dev, &[&one[..], &[("policy", "vpa")]].concat()).await;
    assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY, "without a reason");
    let unknown = ask(&mut dev, &[&one[..], &[("policies", "nobody"), ("message", "x")]].concat()).await;
    assert!(unknown.text.contains("nobody"), "{}", unknown.text);
    let fields = [
        ("policy", "vpa"),
        ("policy", "request"),
        ("policies", "krr:margin=1.3"),
        ("workload", "web"),
        ("sweep", "yes"),
        ("message", "which is best"),
    ];
    let taken = ask(&mut dev, &[&one[..], &fields].concat()).await;
    assert_eq!(taken.status, StatusCode::SEE_OTHER, "{}", taken.text);
    let client = given.client(Some(&viewer));
    let found = ended(&client).await;
    assert_eq!((found.phase.as_str(), found.by.as_str(), found.problem), ("done", "dev", None));
    assert_eq!(found.workloads, ["web"]);
    let result = found.result.expect("a result");
    assert!(result.extent.starts_with("1 workload, 1 task, 86"), "{}", result.extent);
    assert_eq!(result.resources[0].figures.rows.len(), 3);
    let page = vera.get("/backtest").await.text;
    assert!(page.contains("krr:margin=1.3") && page.contains("<svg viewBox"), "{page}");
    assert!(!page.contains("data-busy"), "nothing is under way any more");
    assert!(!page.contains("<style") && !page.contains(" style="), "a style that the policy forbids");
    // Who may not, cannot call it off or take it into force; an operator can.
    let refused = client.delete::<BacktestDto>("/v1/backtests/1").await;
    assert!(refused.is_err_and(|error| error.to_string().contains("may not do this")));
    let mut operator = Visitor::logged_in(&given.base, &root).await;
    let take = [("do", "size-policy"), ("policy", "krr:margin=1.3"), ("message", "it won")];
    assert_eq!(ask(&mut dev, &take).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ask(&mut operator, &take).await.status, StatusCode::SEE_OTHER);
    let page = operator.get("/backtest").await.text;
    assert!(page.contains("Chosen: <b>krr:margin=1.3</b> by root"), "{page}");
    for_one_workload(&given, &root, &mut dev, &mut vera).await;
    given.end();
}
