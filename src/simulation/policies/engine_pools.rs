//! What the engine itself runs: the very code of `scaling::cluster`. Not here: any decision.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::domain::plan::Step;
use crate::domain::quantity::Share;
use crate::estimation::node_peak::PeakSettings;
use crate::scaling::cluster::{ClusterTerms, decide, node_use};
use crate::simulation::policy::{ClusterPolicy, Sight};

/// The policy.
#[derive(Debug)]
pub struct EnginePools {
    name: String,
    headroom: Option<Share>,
    lends: Option<PeakSettings>,
}

impl EnginePools {
    /// With room for runs that nobody announced, or without.
    pub fn new(headroom: Option<Share>) -> Self {
        let name = headroom.map_or("loadline".to_owned(), |risk| format!("loadline:{}", risk.get()));
        Self { name, headroom, lends: None }
    }

    /// With tasks placed by the predicted peaks of nodes, at a risk.
    pub fn lending(risk: Share) -> Self {
        let name = format!("loadline:overcommit={}", risk.get());
        let (warm_up, window) = (SignedDuration::from_hours(2), SignedDuration::from_mins(5));
        let settings = PeakSettings { risk, most: 2.0, warm_up, window };
        Self { name, headroom: None, lends: Some(settings) }
    }
}

impl ClusterPolicy for EnginePools {
    fn name(&self) -> &str {
        &self.name
    }

    fn lends(&self) -> Option<PeakSettings> {
        self.lends
    }

    /// As the cluster scaler's loop does it: the use of nodes is noted, then at most one pool changes.
    fn decide(&mut self, sight: &Sight<'_>) -> Vec<Step> {
        let noted = node_use(sight.world, sight.overcommit, sight.now).into_iter();
        let mut steps: Vec<Step> = noted
            .map(|change| Step { change, reason: "use against the pool's threshold".to_owned() })
            .collect();
        let terms = ClusterTerms {
            prices: *sight.prices,
            headroom: self.headroom,
            overcommit: Arc::clone(sight.overcommit),
        };
        let verdict = decide(sight.world, sight.waiting, &terms, sight.now);
        steps.extend(verdict.decision.into_iter().flat_map(|decision| decision.steps));
        steps
    }
}
