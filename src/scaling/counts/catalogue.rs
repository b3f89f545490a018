//! Policies of counts by name: `NAME[:key=value]...`, as people write them.
//!
//! In: a text. Out: a policy that knows nothing yet. Each policy has one knob, a key that trades instance-hours
//! against under-provisioned time; sweeping it draws the policy's curve. The oracle is no policy of this list: it
//! knows what comes, and is the replay's.

use std::fmt::Write;

use crate::domain::workload::WorkloadName;
use crate::estimation::catalogue::{CatalogueError, read_values};
use crate::scaling::counts::CountPolicy;
use crate::scaling::counts::autopilot::{Autopilot, Parameters};
use crate::scaling::counts::aws_predictive::AwsPredictive;
use crate::scaling::counts::hpa::Hpa;
use crate::scaling::counts::keda_cron::KedaCron;
use crate::scaling::counts::loadline::{CHANGES, Loadline};
use crate::scaling::counts::seasonal_hpa::SeasonalHpa;
use crate::scaling::counts::target_value::TargetValue;

/// Makes a policy of the values of its keys, for a service.
type Make = fn(&[f64], &WorkloadName) -> Box<dyn CountPolicy>;

/// A policy that can be asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Its keys with their defaults.
    pub keys: &'static [(&'static str, f64)],
    /// The key that is its knob.
    pub knob: &'static str,
    /// The values that draw its curve, from few instances to many or the other way.
    pub sweep: &'static [f64],
    /// Whether the knob is the share of time that may be under-provisioned.
    pub is_budget: bool,
    make: Make,
}

/// Shares of what an instance serves that it should have as load.
const TARGETS: &[f64] = &[0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2];

/// A peer whose knob is its target.
const fn peer(
    name: &'static str,
    about: &'static str,
    keys: &'static [(&'static str, f64)],
    make: Make,
) -> Entry {
    Entry { name, about, keys, knob: "target", sweep: TARGETS, is_budget: false, make }
}

/// Every policy that learns from the past alone.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "loadline",
        about: "Loadline: the least instance-hours within a budget of under-provisioned time",
        // Share of time; changes for each one that HPA v2 would make; seconds.
        keys: &[("budget", 0.01), ("changes", CHANGES), ("season", 86_400.0)],
        knob: "budget",
        sweep: &[0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15],
        is_budget: true,
        make: |values, _| Box::new(Loadline::with_changes(values[0], values[1]).with_season(values[2])),
    },
    peer("hpa", "Kubernetes HPA v2 with its defaults", &[("target", 0.7)], |values, name| {
        Box::new(Hpa::new(values[0], name.clone()))
    }),
    peer(
        "target-value",
        "nomad-autoscaler: factor on the last value, cooldown 5 min",
        &[("target", 0.7)],
        |values, _| Box::new(TargetValue::new(values[0])),
    ),
    peer(
        "keda-cron",
        "KEDA: hours of weekdays and weekends as a floor, written after so many days, and HPA",
        &[("target", 0.7), ("days", 7.0)],
        |values, name| Box::new(KedaCron::new(values[0], values[1], name.clone())),
    ),
    peer(
        "aws-predictive",
        "AWS: hourly forecast that only scales out, on top of target tracking",
        &[("target", 0.7)],
        |values, _| Box::new(AwsPredictive::new(values[0])),
    ),
    peer(
        "autopilot",
        "Google Autopilot: percentile of a window of hours, deferred downscaling, slow decay",
        &[("target", 0.7), ("percentile", 0.95), ("window", 72.0), ("deferral", 48.0)],
        |values, _| {
            let (target, percentile, window, deferral) = (values[0], values[1], values[2], values[3]);
            Box::new(Autopilot::new(Parameters { target, percentile, window, deferral }))
        },
    ),
    peer(
        "seasonal-hpa",
        "HPA on the greater of the present load and that of a season of so many days ago",
        &[("target", 0.7), ("days", 7.0)],
        |values, name| Box::new(SeasonalHpa::new(values[0], values[1], name.clone())),
    ),
];

/// A policy with the values of its keys.
#[derive(Debug, Clone)]
pub struct CountRecipe {
    entry: Entry,
    values: Vec<f64>,
    label: String,
}

impl CountRecipe {
    /// Reads `NAME[:key=value]...`; several pairs may be split by commas too.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
            let known: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).chain(["oracle"]).collect();
            return Err(CatalogueError::Name { name: name.to_owned(), known: known.join(", ") });
        };
        let values = read_values(entry.name, entry.keys, rest)?;
        Ok(Self { entry: *entry, values, label: text.to_owned() })
    }

    /// As it was written.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The name of the knob and its value.
    pub fn knob(&self) -> (&'static str, f64) {
        (self.entry.knob, self.values[self.knob_place()])
    }

    /// The share of time that may be under-provisioned, where the policy is asked for one.
    pub fn budget(&self) -> Option<f64> {
        self.entry.is_budget.then(|| self.knob().1)
    }

    /// The same policy at each value of its knob that draws its curve.
    pub fn sweep(&self) -> impl Iterator<Item = Self> {
        self.entry.sweep.iter().map(|&value| {
            let mut recipe = self.clone();
            let place = recipe.knob_place();
            recipe.values[place] = value;
            recipe
        })
    }

    /// The policy itself for a service, that knows nothing yet.
    pub fn make(&self, name: &WorkloadName) -> Box<dyn CountPolicy> {
        (self.entry.make)(&self.values, name)
    }

    fn knob_place(&self) -> usize {
        self.entry.keys.iter().position(|(key, _)| *key == self.entry.knob).unwrap_or_default()
    }
}

/// The policies with their keys, as help for people.
pub fn help() -> String {
    let mut out = String::new();
    for entry in ENTRIES {
        let keys: Vec<String> = entry.keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let _ = writeln!(out, "{:<16}{}", entry.name, entry.about);
        let _ = writeln!(out, "{:<16}{}; knob: {}", "", keys.join(" "), entry.knob);
    }
    let _ = writeln!(out, "{:<16}knows what comes: each instance serves exactly in time", "oracle");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::counts::{Seen, Terms};

    #[test]
    fn texts_become_policies_and_faults_say_what_there_is() {
        let recipe = CountRecipe::parse("keda-cron:target=0.5:days=3").expect("a recipe");
        assert_eq!((recipe.label(), recipe.knob()), ("keda-cron:target=0.5:days=3", ("target", 0.5)));
        let fault = |text: &str| CountRecipe::parse(text).expect_err("a fault").to_string();
        assert!(fault("vpa").starts_with("there is no policy `vpa`; there are "));
        assert_eq!(fault("hpa:days=3"), "policy hpa has no key `days`; it has target");
        assert_eq!(fault("hpa:target=0"), "policy hpa: `target=0` should be KEY=VALUE with a number above 0");
        assert!(help().lines().count() == 2 * ENTRIES.len() + 1);
    }

    /// Each entry is swept by its knob, and goes on from a checkpoint as if nothing had been.
    #[test]
    fn every_entry_sweeps_and_goes_on_from_a_checkpoint() {
        let name = WorkloadName::new("web").expect("a name");
        let terms = Terms { capacity: 10.0, startup: 60.0, interval: 300.0, min: 1, max: 40 };
        for entry in ENTRIES {
            let recipe = CountRecipe::parse(entry.name).expect("a recipe");
            let knobs: Vec<f64> = recipe.sweep().map(|recipe| recipe.knob().1).collect();
            assert_eq!(knobs, entry.sweep, "{}", entry.name);
            let load = |step: i64| 100.0 + 80.0 * (step as f64 / 46.0).sin() + (step * 37 % 11) as f64;
            let seen = |step: i64, count: u32| Seen {
                at: step * 300,
                load: (step % 97 != 0).then(|| load(step)),
                ready: count,
                starting: 0,
            };
            let (mut one, mut other) = (recipe.make(&name), recipe.make(&name));
            let mut count = 10;
            let mut counts = std::collections::BTreeSet::new();
            for step in 1..3_000 {
                if step % 500 == 0 {
                    other = recipe.make(&name);
                    other.restore(&one.checkpoint().expect("a checkpoint")).expect("restored");
                }
                let answer = one.decide(&seen(step, count), &terms);
                assert_eq!(answer, other.decide(&seen(step, count), &terms), "{} {step}", entry.name);
                count = answer.count;
                counts.insert(count);
            }
            assert!(counts.len() > 2, "{}: {counts:?}", entry.name);
            assert!(one.restore(&[0xff; 3]).is_err(), "{}", entry.name);
        }
    }
}
