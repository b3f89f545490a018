//! In: a question about another load, the world, what was measured. Out: what is needed to answer it, and the answer.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::controllers::analyst::Analysis;
use crate::controllers::control::blocking;
use crate::controllers::joint;
use crate::domain::money::Prices;
use crate::domain::planned::PlannedEvent;
use crate::domain::what_if::{OtherLoad, WhatIf};
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::forecasting::expected::{Expected, expected, with_event};
use crate::forecasting::usual_load::{LOOK_BACK, usual};
use crate::ports::control::{ControlError, WhatIfAsked};
use crate::ports::history::History;
use crate::ports::store::StoreError;
use crate::scaling::what_if::{Question, answer};

/// What questions are answered from.
pub struct WhatIfSources {
    /// For the load at a time of the week.
    pub history: Arc<dyn History>,
    /// What resources cost.
    pub prices: Prices,
}

impl WhatIfSources {
    /// Answers a question about a service.
    pub(super) async fn answer(
        &self,
        (world, analysis): (&World, &Analysis),
        asked: &WhatIfAsked,
        now: Timestamp,
    ) -> Result<WhatIf, ControlError> {
        let name = &asked.workload;
        let found = world.workloads.get(name).filter(|found| !found.deleted);
        let workload =
            found.ok_or_else(|| ControlError::NotFound(format!("there is no workload `{name}`")))?;
        let Some(service) = workload.spec.as_service() else {
            return Err(ControlError::Invalid(format!("{name} is no service: it has no load")));
        };
        let load_now = analysis.load.get(name).map(|sample| sample.requests_per_second);
        let events = service.scale.as_ref().map(|scale| scale.events.clone()).unwrap_or_default();
        let (load_then, load_from) = self.load(asked, (load_now, events), now).await?;
        let shapes = joint::shapes(world, service, name, &self.prices);
        let model = analysis.models.get(name);
        let recommended = analysis.recommendations.get(name);
        let joint = model.zip(service.scale.as_ref()).and_then(|(model, scale)| {
            joint::ask((world, workload, scale), model, recommended, load_then, &shapes)
        });
        Ok(answer(&Question {
            model,
            scale: service.scale.as_ref(),
            now: (workload.size(), workload.count),
            load_now: load_now.unwrap_or(0.0),
            load_then,
            load_from,
            joint,
            shapes: &shapes,
            prices: self.prices,
        }))
    }

    /// The load in question, and where it comes from.
    async fn load(
        &self,
        asked: &WhatIfAsked,
        (load_now, events): (Option<f64>, Vec<PlannedEvent>),
        now: Timestamp,
    ) -> Result<(f64, String), ControlError> {
        let (start, from) = match asked.peak {
            Some(at) => {
                let then = self.then(&asked.workload, events, at, now).await?;
                (Some(then.load), then.words)
            }
            None => (load_now, "the load now".to_owned()),
        };
        match (asked.load, start) {
            (Some(OtherLoad::Total(total)), _) => Ok((total, "as asked".to_owned())),
            (None, Some(load)) => Ok((load, from)),
            (Some(OtherLoad::Times(times)), Some(load)) => {
                Ok((load * times, format!("{times:.3} times {from}")))
            }
            (_, None) => Err(ControlError::Refused(format!(
                "no load of {} has been measured yet: ask with a number of requests, such as 250/s",
                asked.workload
            ))),
        }
    }

    /// The load at another time: by the forecast, or what is usual at that hour where there is none.
    async fn then(
        &self,
        workload: &WorkloadName,
        events: Vec<PlannedEvent>,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Expected, ControlError> {
        let (history, name) = (Arc::clone(&self.history), workload.clone());
        let from = now - LOOK_BACK;
        let to = now + SignedDuration::from_secs(1);
        let found = blocking(move || {
            let samples = history.load(Some(&name), from, to)?;
            Ok::<_, StoreError>(expected(&samples, &events, at).or_else(|why| {
                let usual = usual(&samples, at).ok_or_else(|| why.clone())?;
                let (load, planned) = match with_event(usual.load, &events, at) {
                    Some((load, words)) => (load, format!(", {words}")),
                    None => (usual.load, String::new()),
                };
                Ok::<_, String>(Expected {
                    load,
                    words: format!("no forecast: {why}. Instead {}{planned}", usual.words),
                })
            }))
        });
        found.await?.map_err(|why| {
            ControlError::Refused(format!(
                "no history for that: {why}, and no load of {workload} was recorded at that hour of a day; ask with a \
                 number of requests, such as 250/s"
            ))
        })
    }
}
