//! What is planned: a sale, a holiday, a campaign. The load of that time is told by people, not learnt.

use serde::{Deserialize, Serialize};

use crate::domain::planned::{PlannedEvent, PlannedLoad};

/// What the load is planned to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planned {
    /// So many times what it would be without the event.
    Factor(f64),
    /// This load, whatever it would be without the event.
    Level(f64),
}

/// A time whose load people know more about than its past tells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// From this second on.
    pub from: i64,
    /// Before this second.
    pub to: i64,
    /// What happens then.
    pub planned: Planned,
}

impl Event {
    /// Whether the event says something that a load can be.
    pub fn is_sound(&self) -> bool {
        let (Planned::Factor(value) | Planned::Level(value)) = self.planned;
        self.from < self.to && value.is_finite() && value >= 0.0
    }
}

impl From<&PlannedEvent> for Event {
    fn from(event: &PlannedEvent) -> Self {
        let planned = match event.load {
            PlannedLoad::Factor(factor) => Planned::Factor(factor),
            PlannedLoad::Requests(level) => Planned::Level(level),
        };
        Self { from: event.from.as_second(), to: event.until.as_second(), planned }
    }
}

/// What is planned at a time; of several events the last one.
pub(super) fn at(events: &[Event], time: i64) -> Option<Planned> {
    let now = |event: &&Event| event.from <= time && time < event.to;
    events.iter().rev().find(now).map(|event| event.planned)
}

/// The load that there would have been without the event; none where it cannot be told.
pub(super) fn without(events: &[Event], time: i64, load: f64) -> Option<f64> {
    match at(events, time) {
        None => Some(load),
        Some(Planned::Factor(factor)) => (factor > 0.0).then(|| load / factor),
        Some(Planned::Level(_)) => None,
    }
}

/// A quantile with the event, of one without it and the `median` there.
pub(super) fn with(events: &[Event], time: i64, load: f64, median: f64) -> f64 {
    match at(events, time) {
        None => load,
        Some(Planned::Factor(factor)) => load * factor,
        Some(Planned::Level(level)) if median > 0.0 => level * load / median,
        Some(Planned::Level(level)) => level,
    }
}
