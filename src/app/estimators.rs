//! Which estimator is made of a policy's text, with what the owner changed about it in the settings.

use jiff::SignedDuration;

use crate::config::EstimatorOverrides;
use crate::controllers::sizing::Sizing;
use crate::estimation::Estimator;
use crate::estimation::catalogue::Recipe;
use crate::estimation::policy_estimator::{DEFAULT, Least, PolicyEstimator, recipe};
use crate::estimation::vpa::VpaEstimator;
use crate::estimation::vpa_parameters::VpaParameters;

/// How the analyst gets its estimators.
pub(super) fn sizing(settings: &EstimatorOverrides) -> Sizing {
    let settings = settings.clone();
    let default = settings.policy.clone().unwrap_or_else(|| DEFAULT.to_owned());
    Sizing::new(&default, move |text| {
        let made = recipe(text).map_err(anyhow::Error::from).and_then(|recipe| make(&recipe, &settings));
        made.map_err(|error| format!("{error:#}"))
    })
}

/// Policies with an estimator of their own have a line here; all others run as they are.
fn make(recipe: &Recipe, settings: &EstimatorOverrides) -> anyhow::Result<Box<dyn Estimator>> {
    Ok(match recipe.name() {
        "vpa" => Box::new(VpaEstimator::new(vpa(recipe, settings))?),
        _ => Box::new(PolicyEstimator::new(recipe, least(settings))?),
    })
}

fn least(changed: &EstimatorOverrides) -> Least {
    let least = Least::default();
    Least {
        samples: changed.min_samples.unwrap_or(least.samples),
        history: changed.min_history.unwrap_or(least.history),
        cpu: changed.min_cpu,
        memory: changed.min_memory,
    }
}

fn vpa(recipe: &Recipe, changed: &EstimatorOverrides) -> VpaParameters {
    let mut parameters = VpaParameters::default();
    if let Some(margin) = recipe.value("margin") {
        parameters.margin = margin;
    }
    if let Some(percentile) = recipe.value("percentile") {
        parameters.target_percentile = percentile;
    }
    let seconds = |span: SignedDuration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    if let Some(cpu) = changed.min_cpu {
        parameters.cpu.floor = cpu.cores();
    }
    if let Some(memory) = changed.min_memory {
        parameters.memory.floor = memory.as_f64();
    }
    if let Some(half_life) = changed.half_life_cpu {
        parameters.cpu.half_life_seconds = seconds(half_life);
    }
    if let Some(half_life) = changed.half_life_memory {
        parameters.memory.half_life_seconds = seconds(half_life);
    }
    if let Some(interval) = changed.memory_interval {
        parameters.memory_interval_seconds = seconds(interval);
    }
    if let Some(samples) = changed.min_samples {
        parameters.min_samples = samples;
    }
    parameters
}
