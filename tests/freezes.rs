//! What a freeze of scaling withholds, on a real store.

use std::sync::Arc;

use loadline::adapters::prometheus::engine_metrics::EngineMetrics;
use loadline::adapters::storage::SqliteStore;
use loadline::adapters::system_clock::SystemClock;
use loadline::controllers::decisions::Recorder;
use loadline::controllers::state::EngineState;
use loadline::domain::action::{Action, ActionEnd, ActionKey, Switch};
use loadline::domain::change::Change;
use loadline::domain::decision::DecisionOutcome;
use loadline::domain::plan::Step;
use loadline::domain::policy::PolicyMode;
use loadline::domain::rollout::Actor;
use loadline::ports::clock::Clock;
use loadline::ports::store::DecisionLog;

use crate::conformance::store::count_decision;

#[tokio::test]
async fn decisions_are_withheld_while_scaling_is_frozen_and_say_by_whom() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(&folder.path().join("store.db")).expect("a store"));
    let metrics = Arc::new(EngineMetrics::default());
    let state = EngineState::open(store.clone(), Arc::new(SystemClock), metrics.clone()).expect("a state");
    let state = Arc::new(state);
    let recorder = Recorder::new(Arc::clone(&state), store.clone());
    let change = async |change| {
        let steps = vec![Step { change, reason: "test".to_owned() }];
        state.commit(&Actor::User("ann".to_owned()), steps).await.expect("a commit");
    };
    let (key, ann) = (ActionKey::Freeze(Switch::Scaling), Actor::User("ann".to_owned()));
    let action = Action::new(key, ann, "sale day", SystemClock.now());
    change(Change::ActionBegun { action: Box::new(action) }).await;
    let propose = async |mode| {
        recorder.record(mode, count_decision("web"), |_| Vec::new()).await.expect("a record").is_some()
    };
    for mode in [PolicyMode::Auto, PolicyMode::Auto, PolicyMode::Approve] {
        assert!(!propose(mode).await, "carried out under {mode}");
    }
    let outcomes = || -> Vec<DecisionOutcome> {
        store.decisions(None, 10).expect("decisions").into_iter().map(|decision| decision.outcome).collect()
    };
    let reason = "scaling is frozen by ann: sale day".to_owned();
    assert_eq!(outcomes(), [DecisionOutcome::Frozen { reason }], "said once, not at each pass");
    assert!(metrics.encode().contains("loadline_frozen{switch=\"scaling\"} 1"));

    change(Change::ActionEnded { action: ActionKey::Freeze(Switch::Scaling), end: ActionEnd::Cancelled })
        .await;
    assert!(propose(PolicyMode::Auto).await);
    assert_eq!(outcomes()[0], DecisionOutcome::Applied);
    let after = store.decisions_after(loadline::domain::decision::DecisionId(1), 10).expect("decisions");
    assert_eq!(after.len(), 1);
}
