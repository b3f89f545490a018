//! The policies of counts that a service can name besides `hpa`, which is the autoscaler's own.

use crate::controllers::count_policies::{CountCatalogue, MakeCountPolicy};
use crate::domain::scale::CountPolicyKind;
use crate::scaling::counts::loadline::Loadline;

/// All of them. A service that names another one is scaled by HPA, and its status says so.
pub(super) fn catalogue() -> CountCatalogue {
    let loadline: MakeCountPolicy = |scale, _| Box::new(Loadline::new(scale.budget));
    CountCatalogue::from([(CountPolicyKind::Loadline, loadline)])
}
