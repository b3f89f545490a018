//! A web shop behind a front door, under load, while it moves from one revision to the next.

use loadline::domain::rollout::Rollout;

use crate::engine::harness::Engine;

/// Instances that are declared.
const INSTANCES: u32 = 3;

/// The shop as a spec: what it runs, a word by which revisions differ, and what is special about its rollout
/// (and in tables of their own about anything else).
pub(super) fn shop(command: &str, version: &str, rollout: &str) -> String {
    format!(
        r#"
        [pool.wide]
        cpu = 4
        memory = "4GiB"
        max = 1
        [service.web]
        command = {command}
        env = {{ VERSION = "{version}" }}
        ports = ["http"]
        instances = {INSTANCES}
        cpu = 0.1
        memory = "64MiB"
        stop_grace = "5s"
        [service.web.readiness]
        http = "/healthz"
        interval = "200ms"
        timeout = "2s"
        [service.web.rollout]
        deadline = "30s"
        {rollout}
        "#
    )
}

pub(super) async fn front_door(engine: &Engine) -> u16 {
    *engine.workload("web").await.front_doors.get("http").expect("a stable address")
}

/// Waits until the rollout is as it should be; the service is never under its count on the way.
pub(super) async fn wait_rollout(engine: &Engine, what: &str, holds: impl Fn(&Rollout) -> bool) -> Rollout {
    engine
        .wait(what, async || {
            let web = engine.workload("web").await;
            assert!(web.ready >= INSTANCES, "under the declared capacity: {} ready", web.ready);
            web.rollout.is_some_and(|rollout| holds(&rollout))
        })
        .await;
    engine.workload("web").await.rollout.expect("a rollout")
}
