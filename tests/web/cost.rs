//! What an open page costs the server: CPU time of the engine's process while browsers look at a page, less the same
//! while nobody does. With simulated browsers on every page, to be run by hand on an optimised build and a machine that
//! does little else: `cargo build --release`, then
//! `LOADLINE_TEST_BINARY=target/release/loadline cargo test --test it web::cost -- --ignored --nocapture`.
//! With real tabs of Chromium on the pages that live most, a step of the walk through the demo (`browser`).

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::harness::{Place, binary};
use crate::machine::cpu_seconds;
use crate::web::chromium::Chromium;

/// Browsers that look at a page.
const BROWSERS: usize = 5;
/// For so long; `LOADLINE_COST_SECONDS` says otherwise.
const SECONDS: u64 = 60;
/// A page asks again as often as this while things change: `web/app.js`.
const SPACING: Duration = Duration::from_secs(5);
/// A log that is open asks for more as often.
const LOG_SPACING: Duration = Duration::from_millis(1500);
/// A share of a core for each browser.
const SHARE_MAX: f64 = 0.02;

/// Something changes all the time: tasks that fail and come again, and cron jobs.
const SPECS: &str = r#"
[service.web]
command = "while true; do echo a line; sleep 0.5; done"
memory = "32MiB"
cpu = 0.02
instances = 6
[service.back]
command = "exec sleep 100000"
memory = "32MiB"
cpu = 0.02
instances = 4
[service.restless]
command = "sleep 2; exit 1"
memory = "32MiB"
cpu = 0.02
restart = { backoff = "2s", backoff_max = "2s" }
[cron.often]
command = "exit 0"
schedule = "*/1 * * * *"
memory = "32MiB"
cpu = 0.02
"#;

/// One browser: a stream of events that stays open, the page again every five seconds, and the logs on it.
async fn look(base: String, page: (&str, u32), until: Instant) {
    let http = crate::http::client().build().expect("a client");
    let mut stream = http.get(format!("{base}/v1/events/stream")).send().await.expect("a stream");
    let mut beside = JoinSet::new();
    beside.spawn(async move { while let Ok(Some(_)) = stream.chunk().await {} });
    for task in 1..=page.1 {
        let log = format!("{base}/v1/tasks/web.{task}/logs?stream=stdout&places=true&tail=3");
        let http = http.clone();
        beside.spawn(async move {
            loop {
                http.get(&log).send().await.expect("an answer").bytes().await.expect("a log");
                tokio::time::sleep(LOG_SPACING).await;
            }
        });
    }
    while Instant::now() < until {
        let asked = http.get(format!("{base}{}", page.0)).header("accept", "text/html").send().await;
        let answer = asked.expect("an answer");
        assert!(answer.status().is_success(), "{}: {}", page.0, answer.status());
        answer.bytes().await.expect("a page");
        tokio::time::sleep(SPACING.min(until.saturating_duration_since(Instant::now()))).await;
    }
    beside.abort_all();
}

/// Pages that real tabs are kept open on.
const TABS: [&str; 3] = ["/", "/workloads/web", "/nodes"];
/// Time that they are open for: of a build that is not optimised only the way is tried.
const TAB_TIMES: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(8));

/// Keeps a real tab open on each of the pages that live, and tells what that costs the engine for each.
pub(super) fn of_tabs(browser: &mut Chromium, base: &str, engine: u32) -> String {
    let optimised = binary().contains("/release/");
    let span = if optimised { TAB_TIMES.0 } else { TAB_TIMES.1 };
    let share = || {
        let (before, began) = (cpu_seconds(engine).expect("a process"), Instant::now());
        std::thread::sleep(span);
        (cpu_seconds(engine).expect("a process") - before) / began.elapsed().as_secs_f64()
    };
    browser.open("about:blank");
    let before = share();
    let tabs: Vec<_> = TABS.iter().map(|page| browser.open_beside(&format!("{base}{page}"))).collect();
    // Loading them is not what keeping them open costs.
    std::thread::sleep(Duration::from_secs(2));
    let with = share();
    for tab in &tabs {
        browser.close_beside(tab);
    }
    std::thread::sleep(Duration::from_secs(1));
    let after = share();
    // The demo's day goes on meanwhile: what the engine does alone is taken from before and after.
    let each = (with - f64::midpoint(before, after)).max(0.0) / TABS.len() as f64;
    let told = format!(
        "an open tab of Chromium costs {:.2} % of a core (with {} open {:.2} %, alone {:.2} % before and {:.2} % after)",
        each * 100.0,
        TABS.len(),
        with * 100.0,
        before * 100.0,
        after * 100.0
    );
    assert!(!optimised || each < SHARE_MAX, "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, and says something of an optimised build on a quiet machine only"]
async fn a_live_page_costs_the_server_little() {
    let seconds = std::env::var("LOADLINE_COST_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let mut place = Place::new();
    place.stops_tasks = true;
    let engine = place.start();
    engine.apply(SPECS).await.expect("valid specs");
    engine.wait_ready("web", 6).await;
    let base = engine.client.address().to_owned();
    let used = || cpu_seconds(engine.pid()).expect("a process");
    let measure = async |page: Option<(&'static str, u32)>| {
        let (before, began) = (used(), Instant::now());
        let mut browsers = JoinSet::new();
        for page in page.into_iter().flat_map(|page| std::iter::repeat_n(page, BROWSERS)) {
            browsers.spawn(look(base.clone(), page, began + span));
        }
        tokio::time::sleep(span).await;
        while let Some(done) = browsers.join_next().await {
            done.expect("it looked");
        }
        (used() - before) / began.elapsed().as_secs_f64()
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let alone = measure(None).await;
    println!("nobody looks: {:.2} % of a core", alone * 100.0);
    let mut faults = Vec::new();
    for (page, logs) in [
        ("/", 0),
        ("/workloads", 0),
        ("/workloads/web", 0),
        ("/tasks/web.1", 1),
        ("/logs?workload=web", 6),
        ("/cron", 0),
        ("/nodes", 0),
        ("/recommendations", 0),
        ("/decisions", 0),
        ("/backtest", 0),
        ("/engine", 0),
    ] {
        let with = measure(Some((page, logs))).await;
        let each = (with - alone).max(0.0) / BROWSERS as f64;
        println!("{page}: {:.2} % of a core for each of {BROWSERS} browsers", each * 100.0);
        if each > SHARE_MAX {
            faults.push(format!("{page}: {each}"));
        }
    }
    let after = measure(None).await;
    println!("nobody looks, afterwards: {:.2} % of a core", after * 100.0);
    assert!(faults.is_empty(), "{faults:?}");
    engine.end();
}
