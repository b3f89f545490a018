//! The scenarios of `loadline demo`: what load comes, what is deployed, and the two services that meet it, one scaled by
//! a reactive policy, one by Loadline's. Not here: how a scenario is run (`duel`) and measured (`tally`).

use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use jiff::SignedDuration;

use crate::cli::demo::load_profile::{FlashCrowd, LoadProfile};
use crate::cli::demo::shop;
use crate::config::EngineConfig;

const SERVICE: &str = include_str!("scenario.toml");
/// What stands before the services.
const SHARED: &str = "[policy.watch]\nsize = \"observe\"\ncount = \"auto\"\n\n\
    [pool.wide]\ncpu = 16\nmemory = \"16GiB\"\nmin = 1\nmax = 1\nprice_per_hour = 0.8\n\n";

/// Days of a run. What a policy learns it learns from the first half of them.
pub(super) const DAYS: u32 = 4;
/// Requests per second that an instance serves well: three quarters of what its two threads can do.
const CAPACITY: f64 = 10.0;
/// CPU and waiting time of a request, in milliseconds.
const WORK_MS: f64 = 2.0;
const HOLD_MS: f64 = 148.0;
/// In the scenario with a deploy, CPU is what counts are decided by, so there is more of it.
const DEPLOY_WORK_MS: f64 = 6.0;
const DEPLOY_HOLD_MS: f64 = 144.0;
/// By so much more each request costs after the deploy.
const DEARER: f64 = 1.5;
/// When it is rolled out, in days: in the morning of the third one.
const DEPLOY_AT: f64 = 2.3;
/// Cores that an instance asks for, as `scenario.toml` says.
const CORES: f64 = 0.2;
/// HPA aims at this share of what an instance serves, as people set it; Loadline's own policy knows all of it, and is
/// told how long it may be short.
const HPA_TARGET: f64 = 0.7;
const BUDGET: f64 = 0.05;

/// What happens to two services at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Days like each other, and on the third one a crowd that nobody has seen before.
    FlashCrowd,
    /// Days like each other.
    Diurnal,
    /// Days like each other; in the morning of the third one comes a revision whose requests cost half as much again.
    DeployUnderLoad,
}

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    /// The service.
    pub(super) service: &'static str,
    /// Its policy and what it is told, in words.
    pub(super) words: &'static str,
    predictive: bool,
}

/// Both, in the order of all figures.
pub(super) const SIDES: [Side; 2] = [
    Side { service: "reactive", words: "hpa at 70 %", predictive: false },
    Side { service: "predictive", words: "loadline, budget 5 %", predictive: true },
];

impl Scenario {
    /// Its name as it is asked for.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FlashCrowd => "flash-crowd",
            Self::Diurnal => "diurnal",
            Self::DeployUnderLoad => "deploy-under-load",
        }
    }

    /// What it is, in a sentence.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::FlashCrowd => {
                "days like each other, and on the third one a crowd that nobody has seen before"
            }
            Self::Diurnal => "days like each other",
            Self::DeployUnderLoad => {
                "days like each other; in the morning of the third one comes a revision whose requests cost half as much \
                 again"
            }
        }
    }

    /// The load of each day.
    pub(super) fn days(self, seed: u64) -> Vec<LoadProfile> {
        let crowd = |day: u32| {
            let crowd = FlashCrowd { at: 0.7, length: 0.25, requests_per_second: 45.0 };
            (self == Self::FlashCrowd && day == 2).then_some(crowd)
        };
        let of_day = |day: u32| LoadProfile {
            night: 6.0,
            noon: 50.0,
            noise: 0.08,
            crowd: crowd(day),
            seed: seed.wrapping_add(u64::from(day)),
        };
        (0..DAYS).map(of_day).collect()
    }

    /// When the second revision is rolled out, in days.
    pub(super) fn deploy_at(self) -> Option<f64> {
        (self == Self::DeployUnderLoad).then_some(DEPLOY_AT)
    }

    /// Requests per second that an instance of a revision serves well.
    pub(super) fn capacity(self, revision: u64) -> f64 {
        CAPACITY / self.cost(revision)
    }

    /// What a request of a revision costs, over that of the first.
    fn cost(self, revision: u64) -> f64 {
        if self == Self::DeployUnderLoad && revision > 1 { DEARER } else { 1.0 }
    }

    /// The specs of both services in a revision, run by this very binary.
    pub(super) fn specs(self, revision: u64, day: Duration) -> anyhow::Result<String> {
        let executable = std::env::current_exe().context("cannot tell this binary's path")?;
        let path = serde_json::to_string(executable.to_str().context("this binary's path is not text")?)?;
        let services =
            SIDES.iter().map(|side| self.service(side, revision, day).replace("\"LOADLINE\"", &path));
        Ok(SHARED.to_owned() + &services.collect::<Vec<_>>().concat())
    }

    fn service(self, side: &Side, revision: u64, day: Duration) -> String {
        let deploys = self == Self::DeployUnderLoad;
        let (work, hold) = if deploys { (DEPLOY_WORK_MS, DEPLOY_HOLD_MS) } else { (WORK_MS, HOLD_MS) };
        let cost = self.cost(revision);
        let target = if side.predictive { 1.0 } else { HPA_TARGET };
        let metric = if deploys {
            // What an instance uses at its capacity, whatever its revision: a dearer one is there at a lower load.
            format!("cpu = {:.3}", target * CAPACITY * work / 1e3 / CORES)
        } else {
            format!("requests_per_second = {:.1}", target * CAPACITY)
        };
        let policy = if side.predictive {
            let season = day.as_secs_f64().round();
            format!("policy = \"loadline\"\nbudget = {BUDGET}\nseason = \"{season}s\"")
        } else {
            "policy = \"hpa\"".to_owned()
        };
        SERVICE
            .replace("NAME", side.service)
            .replace("WORK", &format!("{:.0}", work * cost))
            .replace("HOLD", &format!("{:.0}", hold * cost))
            .replace("METRIC", &metric)
            .replace("POLICY", &policy)
    }
}

/// Engine settings in which a quarter of a minute is a second.
pub(super) fn engine_config() -> EngineConfig {
    let second = SignedDuration::from_secs(1);
    let mut config = shop::engine_config();
    config.autoscaler.interval = second;
    config.load_models.warm_up = second * 2;
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_specs;

    #[test]
    fn both_services_of_each_scenario_are_valid_and_differ_by_what_scales_them() {
        for scenario in Scenario::value_variants() {
            for revision in [1, 2] {
                let text = scenario.specs(revision, Duration::from_secs(75)).expect("a path");
                let read = parse_specs(&[("specs.toml".to_owned(), text.clone())]);
                assert!(read.is_ok(), "{read:?}\n{text}");
                assert_eq!(text.matches("policy = \"hpa\"").count(), 1);
                assert_eq!(text.matches("policy = \"loadline\"").count(), 1);
                assert_eq!(text.matches("\"--hold-ms\"").count(), 2);
            }
        }
    }

    #[test]
    fn only_the_dear_revision_serves_less_and_only_one_day_has_a_crowd() {
        let deploy = Scenario::DeployUnderLoad;
        assert!(deploy.capacity(2) < deploy.capacity(1) && deploy.capacity(1) <= CAPACITY);
        assert!((Scenario::Diurnal.capacity(2) - CAPACITY).abs() < 1e-9);
        let crowds = |scenario: Scenario| scenario.days(1).iter().filter(|day| day.crowd.is_some()).count();
        assert_eq!((crowds(Scenario::FlashCrowd), crowds(Scenario::Diurnal)), (1, 0));
    }
}
