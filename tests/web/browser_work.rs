//! What people do in the browser on pages of tasks, nodes, the engine and backtests.

use std::path::Path;

use loadline::api::client::Client;
use loadline::api::dto::TaskDto;

use crate::web::browser::{send, within};
use crate::web::chromium::Chromium;
use crate::web::work::record_of_days;

/// A record for the backtest, of workloads that are gone, where a demo will find it.
pub(super) fn prepare(data: &Path) {
    record_of_days(data, &["checkout", "catalogue"]);
}

/// Addresses of pages to be pictured once `steps` were taken.
pub(super) fn pages(task: &str) -> [(&'static str, String); 2] {
    [("logs", format!("/logs?task={task}&task=web.1")), ("command", format!("/tasks/{task}/exec"))]
}

fn text(browser: &mut Chromium, of: &str) -> String {
    let found = browser.eval(&format!("document.querySelector({of:?})?.innerText ?? ''"));
    found.as_str().expect("text").to_owned()
}

/// Walks them, and does what can be done there.
pub(super) async fn steps(browser: &mut Chromium, base: &str, client: &Client) {
    let task = client.get::<Vec<TaskDto>>("/v1/tasks?workload=extra").await.expect("tasks").remove(0).id;
    logs(browser, base, &task);
    command(browser, base, &task);
    nodes_and_engine(browser, base, client).await;
    backtest(browser, base);
}

/// A line's link leads to it, and several logs go on side by side, are searched and stand still.
fn logs(browser: &mut Chromium, base: &str, task: &str) {
    browser.open(&format!("{base}/tasks/{task}"));
    browser.until("lines are there", "document.querySelectorAll('details.log .line').length > 3");
    let line = browser.eval("document.querySelectorAll('details.log .line')[1].getAttribute('href')");
    browser.open(&format!("{base}{}", line.as_str().expect("a link")));
    let found = browser.eval("document.querySelector('.line:target')?.textContent");
    assert!(found.as_str().is_some_and(|text| text.contains("a line")), "{found}");

    browser.open(&format!("{base}/logs?task={task}&task={task}&task=web.1"));
    assert_eq!(browser.eval("document.querySelectorAll('.logs details.log').length"), 2);
    let lines =
        format!("document.querySelectorAll('details.log[data-log*=\"{task}/\"] .line:not([hidden])').length");
    let before = browser.eval(&lines);
    browser.until("it goes on", &format!("{lines} > {before}"));
    browser.eval(
        "{ const box = document.querySelector('.together input[type=search]'); box.value = 'no such words';
           box.dispatchEvent(new Event('input')); }",
    );
    assert_eq!(browser.eval(&lines), 0, "the search hides the others");
    browser.eval(
        "{ const box = document.querySelector('.together input[type=search]'); box.value = '';
           box.dispatchEvent(new Event('input')); document.querySelector('.together input[name=follow]').checked = false; }",
    );
    // One answer may be under way still.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let before = browser.eval(&lines);
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(browser.eval(&lines), before, "it stands still");
}

fn command(browser: &mut Chromium, base: &str, task: &str) {
    browser.open(&format!("{base}/tasks/{task}"));
    browser.go(
        "(() => { const box = document.getElementById('exec'); box.open = true; const form = box.querySelector('form');
           form.elements.command.value = 'echo \"<b>\" $((40 + 2))'; form.elements.message.value = 'a look';
           form.requestSubmit(); })()",
    );
    let said = text(browser, "#result");
    assert!(said.contains("<b> 42") && said.contains("exit status 0"), "{said}");
}

async fn nodes_and_engine(browser: &mut Chromium, base: &str, client: &Client) {
    let looked =
        async || client.nodes().await.expect("nodes").iter().all(|node| node.outlook.is_some()).then_some(());
    within("nodes were looked at", looked).await;
    browser.open(&format!("{base}/nodes"));
    let first = text(browser, ".card");
    assert!(first.contains("Why it is there") && first.contains("Stays"), "{first}");
    browser.open(&format!("{base}/engine"));
    let loops = text(browser, "#loops");
    assert!(loops.contains("scheduler") && loops.contains("housekeeper"), "{loops}");
    assert!(text(browser, "#store").contains("Size on disk"));
}

/// A backtest is asked for, is watched without a load of the page, draws its curves, and its policy is taken.
fn backtest(browser: &mut Chromium, base: &str) {
    browser.open(&format!("{base}/backtest"));
    browser.go(
        "(() => { const form = document.querySelector('#new form'); form.elements.hours.value = '72';
           for (const box of form.querySelectorAll('input[name=policy]')) box.checked = ['vpa', 'request', 'autopilot-window'].includes(box.value);
           form.elements.message.value = 'which is best'; form.requestSubmit(); })()",
    );
    let said = text(browser, ".said");
    assert!(said.contains("Done: backtest 1"), "{said}");
    browser.eval("window.stayed = true");
    browser.until("it ends", "!document.querySelector('#shown[data-busy]')");
    browser.until("it has curves", "document.querySelectorAll('#shown figure.pareto svg').length >= 2");
    let shown = text(browser, "#shown");
    assert!(
        shown.contains("done") && shown.contains("autopilot-window") && shown.contains("Cold start"),
        "{shown}"
    );
    send(browser, "enable", &[("policy", "vpa"), ("message", "it won")]);
    browser.open(&format!("{base}/backtest"));
    assert!(text(browser, "main").contains("Chosen: vpa"));
}
