//! In: recorded loads. Out: what is forecast of them, from forecasters that are kept and fed with what came since they
//! were last asked: the first question about a service reads its past, the next ones read little.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::controllers::control::blocking;
use crate::domain::load_forecast::LoadForecast;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::forecasting::course::Course;
use crate::ports::control::ControlError;
use crate::ports::history::History;

/// So far back a forecaster remembers.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(15 * 24);
/// Forecasters that are kept: of the services that were asked about last.
const KEPT_MAX: usize = 64;

/// A forecaster, and when it was last asked.
struct Kept {
    course: Course,
    asked: Timestamp,
}

/// Forecasts of loads.
pub struct LoadForecasts {
    history: Arc<dyn History>,
    kept: Arc<Mutex<BTreeMap<WorkloadName, Kept>>>,
}

impl LoadForecasts {
    /// Forecasts from what is recorded.
    pub fn new(history: Arc<dyn History>) -> Self {
        Self { history, kept: Arc::default() }
    }

    /// What is expected of a service from now on.
    pub(super) async fn course(
        &self,
        world: &World,
        name: &WorkloadName,
        span: (SignedDuration, SignedDuration),
        now: Timestamp,
    ) -> Result<LoadForecast, ControlError> {
        let found = world.workloads.get(name).filter(|found| !found.deleted);
        let workload =
            found.ok_or_else(|| ControlError::NotFound(format!("there is no workload `{name}`")))?;
        let Some(service) = workload.spec.as_service() else {
            return Err(ControlError::Invalid(format!("{name} is no service: it has no load")));
        };
        let events = service.scale.as_ref().map(|scale| scale.events.clone()).unwrap_or_default();
        let (history, kept, name) = (Arc::clone(&self.history), Arc::clone(&self.kept), name.clone());
        let lock = |kept: &Mutex<BTreeMap<WorkloadName, Kept>>| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&name)
        };
        // Taken out while it is at work, so that nobody waits for a lock; who asks at the same time begins anew.
        let known = lock(&kept).map(|kept| kept.course);
        let told = blocking(move || {
            let until = now + SignedDuration::from_secs(1);
            let after = known.as_ref().and_then(Course::last);
            let from = after.map_or(now - LOOK_BACK, |last| last + SignedDuration::from_secs(1));
            let samples = if from < until { history.load(Some(&name), from, until)? } else { Vec::new() };
            let mut course = match known.filter(|course| course.last().is_some()) {
                Some(mut course) => {
                    course.take(&samples);
                    course
                }
                None => Course::of(&samples),
            };
            let told = course.ahead(&events, now, span);
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(name, Kept { course, asked: now });
            while kept.len() > KEPT_MAX {
                let oldest = kept.iter().min_by_key(|(_, kept)| kept.asked).map(|(name, _)| name.clone());
                oldest.and_then(|name| kept.remove(&name));
            }
            Ok(told)
        });
        Ok(told.await?)
    }
}
