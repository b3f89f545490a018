//! What the engine itself runs: the very code of `scaling::cluster`. Not here: any decision.

use crate::domain::plan::Step;
use crate::scaling::cluster::{decide, node_use};
use crate::simulation::policy::{ClusterPolicy, Sight};

/// The policy.
#[derive(Debug)]
pub struct EnginePools;

impl ClusterPolicy for EnginePools {
    fn name(&self) -> &'static str {
        "loadline"
    }

    /// As the cluster scaler's loop does it: the use of nodes is noted, then at most one pool changes.
    fn decide(&mut self, sight: &Sight<'_>) -> Vec<Step> {
        let noted = node_use(sight.world, sight.now).into_iter();
        let mut steps: Vec<Step> = noted
            .map(|change| Step { change, reason: "use against the pool's threshold".to_owned() })
            .collect();
        let verdict = decide(sight.world, sight.waiting, sight.prices, sight.now);
        steps.extend(verdict.decision.into_iter().flat_map(|decision| decision.steps));
        steps
    }
}
