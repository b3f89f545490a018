//! What people make of advice: applied, wanted later, not wanted; over restarts of the engine, by the API and the command
//! line.

use loadline::api::advice::ScheduleRequest;
use loadline::api::client::ClientError;
use loadline::api::dto::RecommendationDto;
use loadline::api::requests::LastingRequest;
use loadline::domain::decision::{Decision, DecisionOutcome};

use crate::engine::harness::Engine;
use crate::engine::recommend::{SPECS, advised, loadline, record, text};

async fn row(engine: &Engine, name: &str) -> RecommendationDto {
    let all = engine.client.recommendations().await.expect("recommendations");
    all.into_iter().find(|row| row.workload == name).expect("a row")
}

async fn applied(engine: &Engine, name: &str) -> Vec<Decision> {
    let all: Vec<Decision> =
        engine.client.get(&format!("/v1/decisions?subject={name}")).await.expect("decisions");
    all.into_iter()
        .filter(|one| one.outcome == DecisionOutcome::Applied && one.proposal.rule == "by hand")
        .collect()
}

/// An engine that has advice for three services.
async fn given() -> Engine {
    let mut engine = Engine::start(SPECS);
    engine.wait("the specs are known", async || engine.status().await.workloads.len() == 4).await;
    engine.kill();
    record(&engine.data());
    engine.restart();
    advised(&engine).await;
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn advice_is_dismissed_scheduled_and_applied_and_that_outlives_the_engine() {
    let mut engine = given().await;

    // Dismissed: who, why and until when is known after a restart, and it is undone.
    let fortnight =
        LastingRequest { message: "a cache, on purpose".to_owned(), for_seconds: Some(14 * 86_400) };
    let said = engine.client.dismiss_advice("heap", &fortnight).await.expect("dismissed").changes;
    assert!(said[0].contains("for heap is dismissed until"), "{said:?}");
    // Scheduled for a time that comes while the engine is away.
    let at = (now() + jiff::SignedDuration::from_secs(4)).to_string();
    let soon = ScheduleRequest { at: Some(at), message: "at night".to_owned(), ..ScheduleRequest::default() };
    engine.client.schedule_advice("steady", &soon).await.expect("scheduled");
    let rollout = ScheduleRequest { next_rollout: true, ..ScheduleRequest::default() };
    engine.client.schedule_advice("leaky", &rollout).await.expect("scheduled");
    let waits = row(&engine, "leaky").await.scheduled.expect("scheduled");
    assert!(waits.with_rollout && waits.due.is_none());
    engine.kill();
    engine.restart();
    advised(&engine).await;

    let kept = row(&engine, "heap").await.dismissed.expect("dismissed");
    assert_eq!((kept.by.as_str(), kept.message.as_str()), ("test", "a cache, on purpose"));
    let lasts = kept.until.expect("an end").duration_since(kept.at).as_hours();
    assert_eq!(lasts, 14 * 24);
    engine.wait("the scheduled one is applied", async || applied(&engine, "steady").await.len() == 1).await;
    let made = applied(&engine, "steady").await.remove(0);
    assert!(made.proposal.reason.starts_with("scheduled by test: at night at "), "{}", made.proposal.reason);
    assert!(made.proposal.price_after < made.proposal.price_before);
    assert_eq!(row(&engine, "steady").await.scheduled, None);
    assert!(applied(&engine, "leaky").await.is_empty(), "there was no rollout");

    // The next revision of the one takes its new size along.
    engine.apply(&SPECS.replacen("exec sleep 100000", "exec sleep 200000", 1)).await;
    engine.wait("it is applied with the rollout", async || applied(&engine, "leaky").await.len() == 1).await;

    engine.client.cancel_action("dismiss", "heap", "we looked again").await.expect("undone");
    assert_eq!(row(&engine, "heap").await.dismissed, None);

    // Applied by hand it is a decision, with its promise in the report of savings.
    engine.client.apply_advice("heap", "it is enough").await.expect("applied");
    let made = applied(&engine, "heap").await.remove(0);
    assert!(made.proposal.reason.starts_with("applied by test: it is enough"), "{}", made.proposal.reason);
    let savings = engine.client.savings(None).await.expect("savings");
    for name in ["heap", "leaky", "steady"] {
        assert!(savings.iter().any(|one| one.workload.as_str() == name), "{name} in {savings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_withdrawn_advice_is_not_applied() {
    let engine = given().await;
    let refused = |answer: Result<_, ClientError>, status: u16, words: &str| match answer {
        Err(ClientError::Refused(problem)) => {
            assert_eq!(problem.status, status, "{problem:?}");
            assert!(problem.detail.contains(words), "{problem:?}");
        }
        other => panic!("{words}: {other:?}"),
    };
    let (client, all) = (&engine.client, ScheduleRequest::default());
    let past = ScheduleRequest { at: Some("2020-01-01T00:00:00Z".to_owned()), ..all.clone() };
    refused(client.schedule_advice("steady", &past).await, 409, "is past");
    refused(client.schedule_advice("steady", &all).await, 422, "either `at`");
    let both = ScheduleRequest { next_rollout: true, ..past };
    refused(client.schedule_advice("steady", &both).await, 422, "either `at`");
    refused(client.dismiss_advice("never", &LastingRequest::default()).await, 422, "nothing measured yet");
    refused(client.apply_advice("never", "").await, 409, "nothing measured yet");
    refused(client.apply_advice("nobody", "").await, 404, "nobody");

    // The command line does several at a time.
    let said = text(&loadline(
        &engine,
        &["recommend", "heap", "leaky", "--dismiss", "--for", "7d", "-m", "not ours"],
        &[],
    ));
    assert_eq!(said.lines().count(), 2, "{said}");
    let listed = text(&loadline(&engine, &["recommend"], &[]));
    assert!(!listed.contains("heap") && listed.contains("Dismissed: 2"), "{listed}");
    let dismissed = text(&loadline(&engine, &["recommend", "--dismissed"], &[]));
    assert!(
        dismissed.contains("heap") && dismissed.contains("not ours") && !dismissed.contains("steady"),
        "{dismissed}"
    );
    let actions = text(&loadline(&engine, &["actions"], &[]));
    assert!(actions.contains("dismiss/heap"), "{actions}");
    text(&loadline(&engine, &["cancel", "dismiss/heap"], &[]));
    let far = loadline(&engine, &["recommend", "steady", "--schedule", "2099-01-01T02:00"], &[]);
    assert!(String::from_utf8_lossy(&far.stderr).contains("ahead"), "{far:?}");
    text(&loadline(
        &engine,
        &["recommend", "steady", "--schedule", "next-rollout", "-m", "with the deploy"],
        &[],
    ));
    assert!(row(&engine, "steady").await.scheduled.is_some());

    // While scaling is frozen nobody's advice is applied.
    text(&loadline(&engine, &["freeze", "scaling", "-m", "a test"], &[]));
    refused(client.apply_advice("heap", "").await, 409, "scaling is frozen");
    text(&loadline(&engine, &["unfreeze", "scaling"], &[]));

    // The policy is switched off: there is no advice, and nothing to be applied later.
    let off = SPECS.replace("[service.steady]\n", "[service.steady]\npolicy = \"default\"\n");
    engine.apply(&off.replace("\"observe\"", "\"off\"")).await;
    engine.wait("it is cancelled", async || row(&engine, "steady").await.scheduled.is_none()).await;
    let events = text(&loadline(&engine, &["events", "--workload", "steady"], &[]));
    assert!(events.contains("withdrawn"), "{events}");
    assert!(applied(&engine, "steady").await.is_empty());
}

#[expect(clippy::disallowed_methods, reason = "advice is scheduled by the clock that the engine reads")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
