//! Sizes of cron jobs by the peaks of their real runs: recommended, kept over a restart, and used for the
//! retry of a run that was killed for want of memory.

use loadline::api::dto::{RecommendationDto, RunDto};
use loadline::domain::task::ExitRecord;

use crate::engine::harness::Engine;

const POOL: &str = "
[pool.small]
cpu = 4
memory = \"2GiB\"
min = 1
max = 1
";

async fn recommendation(engine: &Engine, workload: &str) -> RecommendationDto {
    let all = engine.client.recommendations().await.expect("recommendations");
    all.into_iter().find(|row| row.workload == workload).expect("a row")
}

/// Where limits are not enforced the kernel tells no peaks and kills nothing.
async fn is_enforced(engine: &Engine) -> bool {
    let limitations = engine.status().await.engine.limitations;
    if !limitations.is_empty() {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: {}", limitations.join("; "));
        }
    }
    limitations.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_gets_a_size_by_its_peaks_and_keeps_it_over_a_restart() {
    let mut engine = Engine::start(&format!(
        "{POOL}
[cron.report]
schedule = \"*/2 * * * * *\"
command = \"head -c 40M /dev/zero | tail > /dev/null\"
cpu = 0.2
memory = \"512MiB\"
"
    ));
    if !is_enforced(&engine).await {
        return;
    }
    engine
        .wait("a size by five runs", async || {
            let row = recommendation(&engine, "report").await;
            row.recommended.is_some() && row.samples >= 5
        })
        .await;
    let row = recommendation(&engine, "report").await;
    let memory = row.recommended.as_ref().expect("a size").memory_limit;
    assert!(memory > 40 << 20 && memory < 400 << 20, "{row:#?}");
    assert!(row.price_per_month < 0.0 && row.reason.contains("memory by run peaks"), "{row:#?}");
    engine.kill();
    engine.restart();
    engine
        .wait("the size is still known", async || {
            let again = recommendation(&engine, "report").await;
            again.recommended.is_some() && again.samples >= row.samples
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_kill_climbs_to_the_learned_rung() {
    let folder = tempfile::tempdir().expect("a folder");
    let amount = folder.path().join("amount");
    std::fs::write(&amount, "30M").expect("written");
    // One retry: by its factor it would get 96 MiB, which is too little.
    let engine = Engine::start(&format!(
        "{POOL}
[cron.hog]
schedule = \"*/2 * * * * *\"
command = \"head -c $(cat {}) /dev/zero | tail > /dev/null\"
cpu = 0.2
memory = \"64MiB\"
retries = 1
retry = {{ backoff = \"100ms\", backoff_max = \"1s\" }}
",
        amount.display()
    ));
    if !is_enforced(&engine).await {
        return;
    }
    engine
        .wait("a size by its runs", async || recommendation(&engine, "hog").await.recommended.is_some())
        .await;
    std::fs::write(&amount, "120M").expect("written");
    engine
        .wait("a run that succeeded at its second try", async || {
            let runs: Vec<RunDto> =
                engine.client.get("/v1/runs?workload=hog&limit=1000").await.expect("runs");
            runs.iter().any(|run| run.outcome.as_str() == "succeeded" && run.tasks.len() == 2)
        })
        .await;
    let tries = engine.ended("hog").await;
    assert!(tries.iter().any(|task| task.exit.as_ref().is_some_and(ExitRecord::is_oom)), "{tries:#?}");
    let learned = tries.iter().find(|task| task.size.memory_limit > 96 << 20);
    assert!(learned.is_some(), "a try with more than its factor gives: {tries:#?}");
}
