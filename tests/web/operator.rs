//! What an operator does with advice and with many workloads at once, and what pages show of what is to come: steps of
//! the walk through the demo (`browser`).

use std::path::Path;

use loadline::api::client::Client;
use loadline::api::dto::RecommendationDto;
use loadline::domain::decision::Decision;

use crate::web::browser::{send, within};
use crate::web::chromium::Chromium;

/// Chooses workloads in a list of them and presses a button of the form around it.
fn press(browser: &mut Chromium, workloads: &[&str], button: &str, message: &str) -> String {
    let names = serde_json::json!(workloads);
    browser.go(&format!(
        "(() => {{ let form; for (const name of {names}) {{
             const box = document.querySelector(`input[name=workload][value=${{name}}]`); box.checked = true; form = box.form; }}
           form.elements.message.value = {message:?};
           form.querySelector('button[value={button}]').click(); }})()"
    ));
    let said = browser.eval("document.querySelector('.said')?.textContent ?? document.body.innerText");
    said.as_str().expect("text").to_owned()
}

fn text_of(browser: &mut Chromium, selector: &str) -> String {
    let found = browser.eval(&format!("document.querySelector({selector:?})?.innerText ?? ''"));
    found.as_str().expect("text").to_owned()
}

/// Advice for `extra` is scheduled, dismissed, and open again at the end.
pub(super) async fn settles_advice(browser: &mut Chromium, base: &str, client: &Client) {
    let row = async || -> RecommendationDto {
        let all = client.recommendations().await.expect("advice");
        all.into_iter().find(|one| one.workload == "extra").expect("a row")
    };
    let page = format!("{base}/recommendations");
    browser.open(&page);
    let said = press(browser, &["extra"], "bulk-schedule", "with the next deploy");
    assert!(said.contains("Done: extra gets") && said.contains("with its next rollout"), "{said}");
    assert!(row().await.scheduled.is_some_and(|act| act.with_rollout));
    browser.open(&format!("{page}?show=scheduled"));
    let shown = text_of(browser, "#settled");
    assert!(shown.contains("with the next rollout") && shown.contains("with the next deploy"), "{shown}");
    browser.open(&format!("{base}/workloads/extra"));
    let banner = text_of(browser, ".banner");
    assert!(banner.contains("Advice is applied later") && banner.contains("next rollout"), "{banner}");
    browser.open(&format!("{page}?show=scheduled"));
    send(browser, "undo-schedule-extra", &[("message", "not with a deploy")]);
    assert_eq!(row().await.scheduled, None);

    browser.open(&page);
    let said = press(browser, &["extra"], "bulk-dismiss", "it is meant to have room");
    assert!(said.contains("is dismissed until"), "{said}");
    browser.open(&format!("{page}?show=dismissed"));
    let shown = text_of(browser, "#settled");
    assert!(shown.contains("extra") && shown.contains("it is meant to have room"), "{shown}");
    send(browser, "undo-dismiss-extra", &[("message", "it has room enough")]);
    assert_eq!(row().await.dismissed, None);
}

/// The rest, once `extra` got its advised size: nothing that a page shows is from elsewhere than the API.
pub(super) async fn looks_around(browser: &mut Chromium, base: &str, client: &Client, pictures: &Path) {
    // What was applied by hand is a decision, and what it saves is told.
    let decisions: Vec<Decision> = client.get("/v1/decisions?subject=extra").await.expect("decisions");
    assert!(decisions.iter().any(|one| one.proposal.rule == "by hand"), "{decisions:?}");
    browser.open(&format!("{base}/recommendations?show=applied"));
    browser.until(
        "savings are worked out",
        "document.querySelector('#applied')?.innerText.includes('Promised') ?? false",
    );
    let shown = text_of(browser, "main");
    assert!(shown.contains("Promised this month") && shown.contains("extra"), "{shown}");
    browser.picture(&pictures.join("recommendations-applied-1920-light.png"));

    // Several workloads at once, with lines of what they used lately.
    browser.open(&format!("{base}/workloads"));
    within("a line of lately", async || {
        let told: serde_json::Value = client.get("/v1/usage").await.expect("usage");
        (told["at"].as_array().is_some_and(|at| at.len() > 2)).then_some(())
    })
    .await;
    browser.open(&format!("{base}/workloads"));
    assert!(browser.eval("document.querySelectorAll('svg.spark polyline').length").as_u64() >= Some(2));
    browser.eval("document.querySelector('.bulk-box').open = true");
    let said = press(browser, &["extra", "worker"], "bulk-restart", "fresh ones");
    assert!(said.matches("Done: ").count() == 2 || said.contains("Not done: "), "{said}");

    // One word leads to an action, with the form open.
    browser.eval(
        "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'k', ctrlKey: true, bubbles: true}))",
    );
    browser.until("the palette is open", "document.getElementById('palette').open");
    browser.eval("{ const input = document.querySelector('#palette input'); input.value = 'scale extra'; input.dispatchEvent(new Event('input')); }");
    browser.until(
        "it offers to scale",
        "[...document.querySelectorAll('#palette .results a')].some((a) => a.textContent.startsWith('Scale extra'))",
    );
    browser.picture(&pictures.join("palette-actions.png"));
    browser.go("[...document.querySelectorAll('#palette .results a')].find((a) => a.textContent.startsWith('Scale extra')).click()");
    browser.until("its form is open", "document.querySelector('details#scale-extra').open");

    // A revision has its way back beside what changed.
    let back = "document.querySelectorAll('#revisions form.back').length";
    assert!(browser.eval(back).as_u64() >= Some(1));
    browser.open(&format!("{base}/workloads/web"));
    browser.until(
        "the load is forecast",
        "document.querySelector('#load .legend')?.innerText.includes('forecast') ?? false",
    );

    browser.open(&format!("{base}/cron"));
    let shown = text_of(browser, "main");
    assert!(shown.contains("together") && shown.contains("overlap"), "{shown}");
    steady(browser, base);
}

/// A page that lives does not move what it shows.
fn steady(browser: &mut Chromium, base: &str) {
    for path in ["/", "/workloads", "/workloads/web", "/cron"] {
        browser.open(&format!("{base}{path}"));
        let moved = browser.eval(
            "new Promise((done) => { let moved = 0; let turns = 0;
               new PerformanceObserver((list) => { for (const each of list.getEntries()) moved += each.hadRecentInput ? 0 : each.value; })
                 .observe({ type: 'layout-shift' });
               document.addEventListener('refreshed', () => { turns += 1; if (turns === 2) setTimeout(() => done(moved), 200); }); })",
        );
        assert!(moved.as_f64().expect("a number") < 0.05, "{path} moves by {moved} while it lives");
    }
}
