//! The policies of counts that a service can name besides `hpa`, which is the autoscaler's own.

use crate::controllers::count_policies::{CountCatalogue, MakeCountPolicy};
use crate::domain::scale::CountPolicyKind;
use crate::scaling::counts::autopilot::{Autopilot, Parameters};
use crate::scaling::counts::aws_predictive::AwsPredictive;
use crate::scaling::counts::keda_cron::KedaCron;
use crate::scaling::counts::loadline::Loadline;
use crate::scaling::counts::target_value::TargetValue;

/// The target of a service's metric is what an instance should have: peers aim at all of it.
const TARGET: f64 = 1.0;
/// Days that KEDA's windows are written from.
const DAYS: f64 = 7.0;
/// Autopilot's defaults: a percentile, and hours.
const AUTOPILOT: Parameters = Parameters { target: TARGET, percentile: 0.95, window: 72.0, deferral: 48.0 };

/// All of them.
pub(super) fn catalogue() -> CountCatalogue {
    let loadline: MakeCountPolicy =
        |scale, _| Box::new(Loadline::new(scale.budget).with_season(scale.season.as_secs_f64()));
    let target_value: MakeCountPolicy = |_, _| Box::new(TargetValue::new(TARGET));
    let keda_cron: MakeCountPolicy = |_, name| Box::new(KedaCron::new(TARGET, DAYS, name.clone()));
    let aws_predictive: MakeCountPolicy = |_, _| Box::new(AwsPredictive::new(TARGET));
    let autopilot: MakeCountPolicy = |_, _| Box::new(Autopilot::new(AUTOPILOT));
    CountCatalogue::from([
        (CountPolicyKind::Loadline, loadline),
        (CountPolicyKind::TargetValue, target_value),
        (CountPolicyKind::KedaCron, keda_cron),
        (CountPolicyKind::AwsPredictive, aws_predictive),
        (CountPolicyKind::Autopilot, autopilot),
    ])
}
