//! Whole simulations, small: the same each time, sound under faults, and a comparison.

use std::time::Duration;

use jiff::SignedDuration;

use crate::scaling::counts::catalogue::CountRecipe;
use crate::simulation::cluster::Violations;
use crate::simulation::engine::{Caller, Setting, simulate};
use crate::simulation::faults::Faults;
use crate::simulation::machines::named;
use crate::simulation::policies::{self, ALL};
use crate::simulation::scene::{Scene, Wish};
use crate::simulation::tally::Outcome;

fn scene(tasks: u32, days: f64, seed: u64) -> Scene {
    let counts = CountRecipe::parse("hpa").expect("a policy");
    Scene::of(&Wish { tasks, days, seed, counts }, &mut |_| ()).expect("a scene")
}

fn setting(faults: Faults) -> Setting {
    let names = ["c7i.xlarge", "m7i.xlarge", "m7i.2xlarge", "r7i.xlarge"].map(str::to_owned);
    let machines = named(&names, SignedDuration::from_secs(60)).expect("types");
    Setting { faults, ..Setting::new(machines, 500) }
}

fn run(scene: &Scene, policy: &str, faults: Faults) -> Outcome {
    let setting = setting(faults);
    let mut policy = policies::named(policy, scene, &setting.machines).expect("a policy");
    let stopwatch = || Duration::ZERO;
    let mut caller = Caller { stopwatch: &stopwatch, progress: &mut |_| () };
    simulate(scene, &setting, policy.as_mut(), &mut caller).expect("an outcome").0
}

#[test]
fn the_same_seed_gives_the_same_week() {
    let of = |seed| run(&scene(120, 0.3, seed), "karpenter", Faults::ALL);
    let first = of(5);
    assert_eq!(first, of(5));
    assert_ne!(first, of(6));
    assert!(first.placed > 100 && first.paid > 0.0, "{first:?}");
}

/// Whatever goes wrong, each run ends well once, nothing runs where there is no room, and every service
/// has its instances again.
#[test]
fn faults_lose_no_task_run_none_twice_and_use_no_room_that_is_not_there() {
    let faults =
        Faults { node_loss: 3.0, slow_boot: 0.2, failed_boot: 0.2, lost_messages: 0.1, silence: 10.0 };
    for policy in ALL {
        let outcome = run(&scene(150, 0.4, 9), policy, faults);
        assert_eq!(outcome.violations, Violations::default(), "{policy}");
        assert!(outcome.lost > 0, "{policy}: no node was lost");
        assert!(outcome.runs > 50 && outcome.runs_failed == 0, "{policy}: {outcome:?}");
        let wanting = outcome.mean(|sample| sample.lacking);
        assert!(wanting < 0.2, "{policy}: {wanting} of the instances did not serve");
        assert!(outcome.unplaced < 60, "{policy}: {} wait at the end", outcome.unplaced);
    }
}

#[test]
fn an_elastic_cluster_costs_less_than_a_fixed_one_and_none_less_than_the_bound() {
    let scene = scene(250, 0.5, 3);
    let outcomes: Vec<Outcome> = ALL.iter().map(|policy| run(&scene, policy, Faults::default())).collect();
    let fixed = outcomes.iter().find(|outcome| outcome.policy == "fixed").expect("it ran");
    for outcome in &outcomes {
        assert_eq!(outcome.violations, Violations::default(), "{}", outcome.policy);
        assert_eq!((outcome.runs_failed, outcome.lost), (0, 0), "{}", outcome.policy);
        assert!(outcome.over_bound() > 1.0, "{}: {} of {}", outcome.policy, outcome.paid, outcome.bound);
        if outcome.policy != "fixed" {
            assert!(outcome.paid < fixed.paid, "{}: {} of {}", outcome.policy, outcome.paid, fixed.paid);
        }
    }
    assert_eq!(fixed.moved, 0);
    // Everything fits at once, but for what comes in the first seconds.
    assert!(fixed.wait_p99 <= 15, "{}", fixed.wait_p99);
}
