//! Walks every page of a running demo in a real browser: does what people do, and writes pictures of what they
//! see. Where the machine has no Chromium nothing is shown, and that is said.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadline::api::client::Client;
use loadline::api::dto::{ApplyRequest, Changed, NodeDto, RecommendationDto, RunDto, SpecFile, WorkloadDto};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::binary;
use crate::machine::{processes_in, signal};
use crate::web::browser_work;
use crate::web::chromium::{Chromium, program};
use crate::web::cost;
use crate::web::operator;

/// The demo must be open, and its figures there, within this time.
const PATIENCE: Duration = Duration::from_secs(90);
/// A service of the test's own, and its second revision: something to deploy and to roll back.
const FIRST: &str = "[service.extra]\nteam = \"shop\"\ncommand = \"while true; do echo a line; sleep 0.3; done\"\ncpu = 0.02\nmemory = \"64MiB\"\nplacement = { pool = \"big\" }\n";

/// `loadline demo`, until it is dropped.
struct Demo {
    child: Child,
    folder: tempfile::TempDir,
    address: String,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("loadline-web-").tempdir().expect("a folder");
        browser_work::prepare(&folder.path().join("data"));
        let mut child = Command::new(binary())
            .args(["demo", "--duration", "3600", "--data-dir"])
            .arg(folder.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary");
        let mut lines =
            BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| Some(line.split("API at ").nth(1)?.split(';').next()?.to_owned()));
        let address = address.expect("the demo says where it is");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, folder, address }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::SIGINT);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(25) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for left in processes_in(self.folder.path()) {
            signal(left, Signal::SIGKILL);
        }
    }
}

fn pictures() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_loadline")).parent().and_then(Path::parent).expect("a folder");
    let folder = target.join("web-pictures");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

pub(super) async fn within<T>(what: &str, found: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Fills in a form that is folded behind its button, and sends it.
pub(super) fn send(browser: &mut Chromium, id: &str, fields: &[(&str, &str)]) {
    let fields = json!(fields);
    browser.go(&format!(
        "(() => {{ const box = document.getElementById({id:?}); box.open = true; const form = box.querySelector('form');
           for (const [name, value] of {fields}) form.elements[name].value = value;
           form.requestSubmit(); }})()"
    ));
    let said = browser.eval("document.querySelector('.said')?.textContent ?? document.body.innerText");
    let said = said.as_str().expect("text");
    assert!(said.contains("Done: "), "{id}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_running_demo_works_in_a_browser() {
    let Some(program) = program() else {
        eprintln!("skipped: there is no Chromium here (apt-get install chromium, or LOADLINE_CHROMIUM)");
        return;
    };
    let demo = Demo::start();
    let client = Client::new(&demo.address, "test");
    for text in [FIRST.to_owned(), FIRST.replace("a line", "another line")] {
        let files = vec![SpecFile { name: "extra.toml".to_owned(), text }];
        let request = ApplyRequest { files, message: "deploy".to_owned(), dry_run: false };
        let _: Changed = client.post("/v1/apply", &request).await.expect("valid specs");
    }
    let extra = async || client.workload("extra").await.expect("a workload");
    within("extra is ready", async || (extra().await.ready > 0).then_some(())).await;

    let mut browser = Chromium::start(&program);
    browser.call("Emulation.setTimezoneOverride", &json!({"timezoneId": "Asia/Tokyo"}));
    browser.look(1920, "light");
    acts(&mut browser, &demo, &client).await;
    operator::looks_around(&mut browser, &demo.address, &client, &pictures()).await;
    browser_work::steps(&mut browser, &demo.address, &client).await;
    walk(&mut browser, &demo, &client).await;
    println!("{}", cost::of_tabs(&mut browser, &demo.address, demo.child.id()));

    let elsewhere: Vec<&String> = browser
        .requests
        .iter()
        .filter(|url| {
            !url.starts_with(&demo.address) && !url.starts_with("about:") && !url.starts_with("data:")
        })
        .collect();
    assert!(elsewhere.is_empty(), "asked for elsewhere: {elsewhere:?}");
    assert!(browser.faults.is_empty(), "{:#?}", browser.faults);
}

/// What people do.
async fn acts(browser: &mut Chromium, demo: &Demo, client: &Client) {
    let base = &demo.address;
    let extra = async || -> WorkloadDto { client.workload("extra").await.expect("a workload") };

    // Scaled for a minute, then undone before.
    browser.open(&format!("{base}/workloads/extra"));
    send(browser, "scale-extra", &[("count", "2"), ("for", "60"), ("message", "a test")]);
    assert_eq!(extra().await.wanted, Some(2));
    let banner = browser.eval("document.querySelector('.banner').innerText");
    let banner = banner.as_str().expect("text").to_owned();
    assert!(banner.contains("Scaled by hand (was 1)") && banner.contains("“a test”"), "{banner}");
    assert!(banner.contains("Ends in"), "{banner}");
    send(browser, "undo-scale-extra", &[("message", "enough")]);
    within("it is undone", async || (extra().await.wanted == Some(1)).then_some(())).await;

    // Back to the first revision.
    let before = extra().await.revision;
    browser.open(&format!("{base}/workloads/extra"));
    send(browser, "rollback-extra", &[("to", "1"), ("message", "the first was better")]);
    within("it is rolled back", async || (extra().await.revision > before).then_some(())).await;

    browser.open(&format!("{base}/cron"));
    send(browser, "run-stocktake", &[("message", "count again")]);
    let runs = async || -> Vec<RunDto> {
        client.get("/v1/runs?workload=stocktake&manual=true").await.expect("runs")
    };
    within("it ran", async || (!runs().await.is_empty()).then_some(())).await;

    // A star stays without a load of the page, and is there in the next one.
    browser.open(&format!("{base}/workloads"));
    browser.eval("window.stayed = true; document.querySelector('button[name=star][value=extra]').click()");
    browser.until(
        "it has a star",
        "document.querySelector('button[name=unstar][value=extra]')?.textContent === '★'",
    );
    assert_eq!(browser.eval("window.stayed"), true);
    browser.open(&format!("{base}/workloads?starred=1"));
    assert_eq!(
        browser.eval("[...document.querySelectorAll('tr[data-key]')].map((row) => row.dataset.key).join()"),
        "extra"
    );

    let node = client.get::<Vec<NodeDto>>("/v1/nodes").await.expect("nodes").remove(0).name;
    browser.open(&format!("{base}/nodes"));
    send(browser, &format!("drain-{node}"), &[("for", "60"), ("message", "a look inside")]);
    assert!(
        browser
            .eval("document.getElementById('drains').innerText")
            .as_str()
            .expect("text")
            .contains("Being drained")
    );
    send(browser, &format!("undo-drain-{node}"), &[("message", "seen")]);

    // The web service only observes: its advice stays until somebody takes it.
    let advice = async || -> Option<RecommendationDto> {
        let all: Vec<RecommendationDto> = client.get("/v1/recommendations").await.expect("advice");
        all.into_iter().find(|one| one.workload == "extra" && one.recommended.is_some())
    };
    let advised = within("advice", async || advice().await).await.recommended.expect("a size");
    operator::settles_advice(browser, base, client).await;
    browser.open(&format!("{base}/recommendations"));
    browser.go(
        "(() => { const box = document.querySelector('input[name=workload][value=extra]'); box.checked = true;
           box.form.elements.message.value = 'it is enough'; box.form.requestSubmit(); })()",
    );
    within("it is applied", async || {
        let size = extra().await.size;
        ((size.memory_request as f64) < 1.5 * advised.memory_request as f64
            && size.memory_request != 64 << 20)
            .then_some(())
    })
    .await;

    bill(browser, base);
    let file = "fetch('/reports.csv?window=day').then((answer) => answer.text())";
    let file = browser.eval(file);
    let file = file.as_str().expect("a file");
    assert!(file.starts_with("workload,team,") && file.contains("\nweb,shop,1000,"), "{file}");
}

/// The bill of the month, its files as the links of the page give them, and the page to print.
fn bill(browser: &mut Chromium, base: &str) {
    browser.open(&format!("{base}/reports"));
    browser.go("document.querySelector('form.filters').elements.by.value = 'workload'; document.querySelector('form.filters').requestSubmit()");
    // Until the bill is made, the page loads itself again.
    browser.until(
        "the bill",
        "document.readyState === 'complete' && document.querySelector('main table tfoot') !== null",
    );
    let shown = browser.eval("document.querySelector('main').textContent");
    let shown = shown.as_str().expect("text");
    for words in ["Cost by workload", "Forecast of the month", "Use is known from", "Promised", "Difference"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let files = browser.eval(
        "Promise.all([...document.querySelectorAll('main p.files a')].map((link) => fetch(link.href).then(
            async (answer) => answer.status + ' ' + new TextDecoder().decode((await answer.arrayBuffer()).slice(0, 70)))))
            .then((files) => files.join('\\n=====\\n'))",
    );
    let files: Vec<String> = files.as_str().expect("text").split("\n=====\n").map(str::to_owned).collect();
    let begins = [
        "200 from,until,by,name",
        "200 PAR1",
        "200 AllocatedMethodDetails,",
        "200 PAR1",
        "200 <!doctype html>",
    ];
    assert_eq!(files.len(), begins.len(), "{files:?}");
    for (file, begin) in files.iter().zip(begins) {
        assert!(file.starts_with(begin), "{begin}: {file}");
    }
}

/// Every page, at both widths and in both themes.
async fn walk(browser: &mut Chromium, demo: &Demo, client: &Client) {
    let task =
        client.get::<Vec<loadline::api::dto::TaskDto>>("/v1/tasks?workload=extra").await.expect("tasks");
    let decisions: Vec<serde_json::Value> = client.get("/v1/decisions?limit=1").await.expect("decisions");
    let pages = [
        ("overview", "/".to_owned()),
        ("workloads", "/workloads?sort=waste".to_owned()),
        ("service", "/workloads/web".to_owned()),
        ("service-revisions", "/workloads/extra".to_owned()),
        ("worker", "/workloads/worker".to_owned()),
        ("task", format!("/tasks/{}", task[0].id)),
        ("cron", "/cron".to_owned()),
        ("cron-job", "/workloads/stocktake".to_owned()),
        ("nodes", "/nodes".to_owned()),
        ("recommendations", "/recommendations".to_owned()),
        ("recommendations-dismissed", "/recommendations?show=dismissed".to_owned()),
        ("decisions", "/decisions".to_owned()),
        ("decision", format!("/decisions/{}", decisions[0]["id"])),
        ("reports", "/reports".to_owned()),
        ("backtest", "/backtest".to_owned()),
        ("engine", "/engine".to_owned()),
        ("search", "/search?q=e".to_owned()),
    ];
    let folder = pictures();
    for (name, path) in pages.iter().chain(&browser_work::pages(&task[0].id)) {
        for (width, theme) in [(1920, "light"), (360, "dark"), (360, "light"), (1920, "dark")] {
            browser.look(width, theme);
            browser.open(&format!("{}{path}", demo.address));
            let sideways =
                browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert!(sideways.as_i64() <= Some(0), "{path} scrolls sideways by {sideways} at {width}");
            browser.picture(&folder.join(format!("{name}-{width}-{theme}.png")));
        }
        let twice = browser.eval(
            "(() => { const ids = [...document.querySelectorAll('[id]')].map((each) => each.id); return ids.filter((id, at) => ids.indexOf(id) !== at).join(' '); })()",
        );
        assert_eq!(twice, "", "{path}: ids that are there twice");
        let json = browser.eval("document.querySelectorAll('main a.json[href^=\"/v1/\"]').length");
        assert!(json.as_u64() >= Some(1), "{path}: no link to the same as JSON");
        let zone = browser.eval("document.querySelector('footer b').textContent");
        assert_eq!(zone, "Asia/Tokyo", "{path}: times are in the reader's zone");
    }
    // A page that lives: what changes comes without a load.
    browser.open(&format!("{}/workloads/extra", demo.address));
    browser.eval("window.stayed = true");
    let _: Changed = client
        .post(
            "/v1/workloads/extra/scale",
            &json!({"count": 2, "message": "from elsewhere", "for_seconds": 60}),
        )
        .await
        .expect("it is scaled");
    browser.until("the page shows it", "document.body.innerText.includes('“from elsewhere”')");
    assert_eq!(browser.eval("window.stayed"), true);
    // The log goes on by itself.
    browser.open(&format!("{}/tasks/{}", demo.address, task[0].id));
    let lines = browser.eval("document.querySelectorAll('details.log .line').length");
    browser.until(
        "the log goes on",
        &format!("document.querySelectorAll('details.log .line').length > {lines}"),
    );
    // One key finds everything.
    browser.eval("document.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true}))");
    browser.until("the palette is open", "document.getElementById('palette').open");
    browser.eval("{ const input = document.querySelector('#palette input'); input.value = 'stock'; input.dispatchEvent(new Event('input')); }");
    browser.until(
        "it finds",
        "document.querySelector('#palette .results a')?.textContent.includes('stocktake') ?? false",
    );
    browser.picture(&folder.join("palette.png"));
}
