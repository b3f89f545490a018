//! Policies by name: `NAME[:key=value]...`, as people and specs write them.
//!
//! In: a text. Out: a policy that knows nothing yet. Each policy has one risk knob, a key that trades
//! memory and CPU against kills and short-falls; sweeping it draws the policy's curve.

use std::sync::Arc;

use crate::estimation::EstimationError;
use crate::estimation::loadline::policy::{Budget, Loadline, ModelFile};
use crate::estimation::peers::autopilot_ml::{AutopilotMl, MlWeights};
use crate::estimation::peers::crane::Crane;
use crate::estimation::peers::krr::Krr;
use crate::estimation::peers::load_adjusted::{LoadAdjusted, MemoryRule};
use crate::estimation::peers::request::Request;
use crate::estimation::policy::{Apart, SizePolicy};
use crate::estimation::vpa_parameters::{VpaModel, VpaParameters};

/// Makes a policy of the values of its keys.
type Make = fn(&[f64]) -> Result<Box<dyn SizePolicy>, EstimationError>;

/// A policy that can be asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its keys with their published values.
    pub keys: &'static [(&'static str, f64)],
    /// The key that is its risk knob.
    pub knob: &'static str,
    /// The values that draw its curve, from much risk to little.
    pub sweep: &'static [f64],
    make: Make,
}

const MARGINS: &[f64] = &[0.85, 0.95, 1.0, 1.05, 1.125, 1.25, 1.5, 2.0, 3.0, 5.0];
/// VPA knows no margin below 1.
const VPA_MARGINS: &[f64] = &[1.0, 1.05, 1.1, 1.15, 1.25, 1.4, 1.7, 2.2, 3.0, 5.0];

/// Every policy that learns from the past alone.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "loadline",
        // Kills per task-day; share of time short of CPU; what a change costs, in hours of the limit.
        keys: &[("risk", 0.05), ("shortfall", 0.0), ("change", 0.005)],
        knob: "risk",
        sweep: &[0.0003, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0],
        make: |values| Ok(Box::new(Loadline::fitted(budget(values))?)),
    },
    Entry {
        name: "vpa",
        keys: &[("margin", 1.15), ("percentile", 0.9)],
        knob: "margin",
        sweep: VPA_MARGINS,
        make: |values| {
            let parameters =
                VpaParameters { margin: values[0], target_percentile: values[1], ..VpaParameters::default() };
            Ok(Box::new(Apart::new(VpaModel::new(parameters)?)))
        },
    },
    Entry {
        name: "autopilot-window",
        // A percentile of 1 is the highest use of so many days.
        keys: &[("margin", 1.125), ("percentile", 1.0), ("days", 3.0)],
        knob: "margin",
        sweep: MARGINS,
        make: |values| {
            let rule = if values[1] < 1.0 {
                MemoryRule::Percentile(values[1])
            } else {
                MemoryRule::Highest(values[2] as usize)
            };
            Ok(Box::new(Apart::new(LoadAdjusted::autopilot(rule, values[0]))))
        },
    },
    Entry {
        name: "autopilot-ml",
        // Each is a factor on the weight that the sweep chose.
        keys: &[("overrun", 1.0), ("limit-change", 1.0), ("model-change", 1.0), ("newest", 1.0)],
        knob: "overrun",
        sweep: &[0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1000.0],
        make: |values| {
            let mut weights = MlWeights::swept()?;
            for of in [&mut weights.memory, &mut weights.cpu] {
                of.overrun *= values[0];
                of.limit_change *= values[1];
                of.model_change *= values[2];
                of.newest = (of.newest * values[3]).min(1.0);
            }
            Ok(Box::new(Apart::new(AutopilotMl::new(weights))))
        },
    },
    Entry {
        name: "krr",
        keys: &[("margin", 1.15), ("days", 14.0), ("cpu-percentile", 0.95)],
        knob: "margin",
        sweep: MARGINS,
        make: |values| Ok(Box::new(Apart::new(Krr::new(values[0], values[1] as usize, values[2])))),
    },
    Entry {
        name: "crane",
        keys: &[("margin", 1.15), ("percentile", 0.99)],
        knob: "margin",
        sweep: MARGINS,
        make: |values| Ok(Box::new(Apart::new(Crane::new(values[1], values[0])))),
    },
    Entry {
        name: "nomad",
        keys: &[("margin", 1.0), ("percentile", 0.99)],
        knob: "margin",
        sweep: MARGINS,
        make: |values| Ok(Box::new(Apart::new(LoadAdjusted::nomad(values[1], values[0])))),
    },
    Entry {
        name: "request",
        keys: &[("factor", 1.0)],
        knob: "factor",
        sweep: &[0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0],
        make: |values| Ok(Box::new(Apart::new(Request { factor: values[0] }))),
    },
];

/// The budget that the values of the keys of `loadline` ask for. Unless given, the short-fall follows the
/// risk: 2 % of the time at one kill in 100 task-days, with its square root, and no more than 3 %: from 5 % on
/// it would be cheapest to be short always.
fn budget(values: &[f64]) -> Budget {
    let shortfall = if values[1] > 0.0 { values[1] } else { (0.2 * values[0].sqrt()).min(0.03) };
    Budget { risk: values[0], shortfall, change_hours: values[2] }
}

/// Why a policy could not be made of its text.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// No policy has the name.
    #[error("there is no policy `{name}`; there are {known}")]
    Name {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The policy has no such key.
    #[error("policy {policy} has no key `{key}`; it has {known}")]
    Key {
        /// The policy.
        policy: &'static str,
        /// What was asked for.
        key: String,
        /// What there is.
        known: String,
    },
    /// A value is no positive number.
    #[error("policy {policy}: `{part}` should be KEY=VALUE with a number above 0")]
    Value {
        /// The policy.
        policy: &'static str,
        /// The part.
        part: String,
    },
    /// The policy refuses its parameters.
    #[error("policy {policy} cannot be made")]
    Parameters {
        /// The policy.
        policy: &'static str,
        /// Why.
        #[source]
        source: EstimationError,
    },
}

/// The values of a policy's keys: as published, or as `key=value` pairs say.
pub fn read_values(
    policy: &'static str,
    keys: &[(&'static str, f64)],
    pairs: &str,
) -> Result<Vec<f64>, CatalogueError> {
    let mut values: Vec<f64> = keys.iter().map(|(_, value)| *value).collect();
    for part in pairs.split([':', ',']).filter(|part| !part.is_empty()) {
        let wrong = || CatalogueError::Value { policy, part: part.to_owned() };
        let (key, value) = part.split_once('=').ok_or_else(wrong)?;
        let Some(place) = keys.iter().position(|(known, _)| *known == key) else {
            let known: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
            return Err(CatalogueError::Key { policy, key: key.to_owned(), known: known.join(", ") });
        };
        let value: f64 = value.parse().map_err(|_| wrong())?;
        if !value.is_finite() || value <= 0.0 {
            return Err(wrong());
        }
        values[place] = value;
    }
    Ok(values)
}

/// A policy with the values of its keys.
#[derive(Debug, Clone)]
pub struct Recipe {
    entry: Entry,
    model: Option<Arc<ModelFile>>,
    values: Vec<f64>,
    label: String,
}

impl Recipe {
    /// Reads `NAME[:key=value]...`; several pairs may be split by commas too.
    pub fn parse(text: &str, entries: &[Entry]) -> Result<Self, CatalogueError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
            let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
            return Err(CatalogueError::Name { name: name.to_owned(), known: known.join(", ") });
        };
        let values = read_values(entry.name, entry.keys, rest)?;
        let recipe = Self { entry: *entry, model: None, values, label: text.to_owned() };
        recipe.make()?;
        Ok(recipe)
    }

    /// As it was written.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The policy's name.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// The value of a key; absent where the policy has no such key.
    pub fn value(&self, key: &str) -> Option<f64> {
        let place = self.entry.keys.iter().position(|(known, _)| *known == key)?;
        self.values.get(place).copied()
    }

    /// The name of the risk knob and its value.
    pub fn knob(&self) -> (&'static str, f64) {
        let place = self.knob_place();
        (self.entry.knob, self.values[place])
    }

    /// The same policy at each value of its risk knob that draws its curve.
    pub fn sweep(&self) -> impl Iterator<Item = Self> {
        self.entry.sweep.iter().map(|&value| {
            let mut recipe = self.clone();
            let place = recipe.knob_place();
            recipe.values[place] = value;
            recipe
        })
    }

    /// The same policy with another fitted model than the one that the program is built with, where it is
    /// one that has a model.
    #[must_use]
    pub fn with_model(mut self, model: &Arc<ModelFile>) -> Self {
        self.model = (self.entry.name == "loadline").then(|| Arc::clone(model));
        self
    }

    /// The policy itself, that knows nothing yet.
    pub fn make(&self) -> Result<Box<dyn SizePolicy>, CatalogueError> {
        let policy = self.entry.name;
        let made = match &self.model {
            Some(model) => Loadline::new(model, budget(&self.values)).map(|policy| Box::new(policy) as _),
            None => (self.entry.make)(&self.values),
        };
        made.map_err(|source| CatalogueError::Parameters { policy, source })
    }

    fn knob_place(&self) -> usize {
        self.entry.keys.iter().position(|(key, _)| *key == self.entry.knob).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_policies_and_faults_say_what_there_is() {
        let recipe = Recipe::parse("krr:margin=1.5:days=7", ENTRIES).expect("a recipe");
        assert_eq!(
            (recipe.name(), recipe.label(), recipe.knob()),
            ("krr", "krr:margin=1.5:days=7", ("margin", 1.5))
        );
        let fault = |text: &str| Recipe::parse(text, ENTRIES).expect_err("a fault").to_string();
        assert!(
            fault("vertical").starts_with("there is no policy `vertical`; there are loadline, vpa, auto")
        );
        assert_eq!(fault("vpa:size=3"), "policy vpa has no key `size`; it has margin, percentile");
        assert_eq!(fault("vpa:margin"), "policy vpa: `margin` should be KEY=VALUE with a number above 0");
        assert_eq!(
            fault("krr:margin=-1"),
            "policy krr: `margin=-1` should be KEY=VALUE with a number above 0"
        );
        assert_eq!(fault("vpa:percentile=2"), "policy vpa cannot be made");
    }

    #[test]
    fn every_entry_has_its_knob_and_a_sweep_that_can_be_made() {
        for entry in ENTRIES {
            let recipe = Recipe::parse(entry.name, ENTRIES).expect("a recipe");
            assert!(entry.keys.iter().any(|(key, _)| *key == entry.knob), "{}", entry.name);
            let knobs: Vec<f64> = recipe
                .sweep()
                .map(|recipe| recipe.make().map(|_| recipe.knob().1).expect("a policy"))
                .collect();
            assert_eq!(knobs, entry.sweep, "{}", entry.name);
        }
    }
}
