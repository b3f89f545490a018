//! Weights of the baseline `autopilot-ml`, swept: its product publishes formulas and no weights.
//!
//! In: traces. Out: for each resource the weight of an overrun at which the baseline is killed, or short, as often
//! as VPA: the geometric mean over the traces of its rate over VPA's is nearest to 1. Only a training half counts:
//! every other workload by name, and of it the first half of the time. The other weights are set by hand.

use serde::Serialize;

use crate::domain::trace::TraceRow;
use crate::estimation::catalogue::CatalogueError;
use crate::estimation::peers::autopilot_ml::{MlWeights, Weights};
use crate::replay::backtest::{Contender, Resource, Scored};
use crate::replay::figures::Figures;
use crate::replay::tally::sum;

/// Weights of an overrun that are tried, where an underrun weighs 1.
pub const OVERRUNS: [f64; 15] =
    [1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0, 150.0, 200.0, 300.0];

/// Who is killed, or short, as often as the weights are to make the baseline.
const REFERENCE: &str = "vpa";

/// A weight that is tried, and the policy that has it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// For which resource.
    pub resource: Resource,
    /// The weight of an overrun.
    pub overrun: f64,
    /// The policy.
    pub contender: Contender,
}

/// What a weight came to: the rate over VPA's, as a geometric mean over the traces.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tried {
    /// For which resource.
    pub resource: Resource,
    /// The weight of an overrun.
    pub overrun: f64,
    /// Its rate over VPA's.
    pub ratio: f64,
}

/// The rows that may be fitted on.
pub fn training_half(rows: &[TraceRow]) -> Vec<TraceRow> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.workload.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let first = rows.iter().map(|row| row.time).min().unwrap_or_default();
    let last = rows.iter().map(|row| row.time).max().unwrap_or_default();
    let middle = first + (last - first) / 2;
    let chosen = |name: &str| names.binary_search(&name).is_ok_and(|place| place % 2 == 0);
    rows.iter().filter(|row| row.time < middle && chosen(&row.workload)).cloned().collect()
}

/// Everything that is to be replayed on each trace: VPA, and each weight of each resource.
pub fn candidates() -> Result<(Contender, Vec<Candidate>), CatalogueError> {
    let swept = weights()?;
    let mut all = Vec::new();
    for (resource, base) in [(Resource::Memory, swept.memory), (Resource::Cpu, swept.cpu)] {
        for overrun in OVERRUNS {
            // The catalogue's key is a factor on the weights that the program was built with.
            let contender = Contender::parse(&format!("autopilot-ml:overrun={}", overrun / base.overrun))?;
            all.push(Candidate { resource, overrun, contender });
        }
    }
    Ok((Contender::parse(REFERENCE)?, all))
}

/// What each weight came to. For each trace: the seconds of its step, and what VPA and the candidates scored.
pub fn tried(candidates: &[Candidate], traces: &[(i64, Vec<Scored>)]) -> Vec<Tried> {
    let ratio = |candidate: &Candidate| {
        let logs = traces.iter().map(|(step, scored)| {
            let of = |label: &str| {
                let one = scored.iter().find(|one| one.asked && one.label == label);
                one.map_or(f64::NAN, |one| rate(candidate.resource, one, *step))
            };
            (of(candidate.contender.label()) / of(REFERENCE)).ln()
        });
        (logs.sum::<f64>() / traces.len() as f64).exp()
    };
    let tried = |candidate: &Candidate| Tried {
        resource: candidate.resource,
        overrun: candidate.overrun,
        ratio: ratio(candidate),
    };
    candidates.iter().map(tried).collect()
}

/// The weights that were found, as the content of the model's file. None where a resource has no ratio at all.
pub fn document(tried: &[Tried]) -> Result<Option<String>, CatalogueError> {
    let mut found = weights()?;
    for (resource, of) in [(Resource::Memory, &mut found.memory), (Resource::Cpu, &mut found.cpu)] {
        let Some(best) = nearest(tried, resource) else { return Ok(None) };
        *of = Weights { overrun: best.overrun, ..*of };
    }
    Ok(serde_json::to_string_pretty(&found).ok().map(|text| format!("{text}\n")))
}

/// The weight whose rate is nearest to VPA's.
pub fn nearest(tried: &[Tried], resource: Resource) -> Option<Tried> {
    let off = |one: &Tried| one.ratio.ln().abs();
    let known =
        tried.iter().filter(|one| one.resource == resource && one.ratio.is_finite() && one.ratio > 0.0);
    known.copied().min_by(|a, b| off(a).total_cmp(&off(b)))
}

fn weights() -> Result<MlWeights, CatalogueError> {
    MlWeights::swept()
        .map_err(|error| CatalogueError::Parameters { policy: "autopilot-ml", source: error.into() })
}

fn rate(resource: Resource, scored: &Scored, step: i64) -> f64 {
    let total = sum(&scored.tallies);
    match resource {
        Resource::Memory => Figures::of(&total.memory.scored(), step).rate,
        Resource::Cpu => Figures::of(&total.cpu.scored(), step).short_time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: &str, time: i64) -> TraceRow {
        TraceRow {
            workload: workload.to_owned(),
            task: "t".to_owned(),
            time,
            cpu: Some(1.0),
            memory: Some(1.0),
            cpu_request: None,
            memory_request: None,
            load: None,
        }
    }

    #[test]
    fn only_every_other_workload_and_the_first_half_of_the_time_are_fitted_on() {
        let rows: Vec<TraceRow> =
            ["c", "a", "b"].iter().flat_map(|name| (0..11).map(|time| row(name, time))).collect();
        let half = training_half(&rows);
        let seen = |name: &str| half.iter().filter(|row| row.workload == name).map(|row| row.time).max();
        assert_eq!((seen("a"), seen("b"), seen("c")), (Some(4), None, Some(4)));
        assert_eq!(training_half(&[]), []);
    }

    #[test]
    fn the_weight_with_the_rate_of_vpa_is_found_and_the_others_stay() {
        let one = |resource, overrun, ratio| Tried { resource, overrun, ratio };
        let tried = [
            one(Resource::Memory, 10.0, 3.0),
            one(Resource::Memory, 30.0, 0.8),
            one(Resource::Memory, 50.0, 0.4),
            one(Resource::Cpu, 5.0, f64::NAN),
            one(Resource::Cpu, 7.0, 1.6),
        ];
        let text = document(&tried).expect("weights").expect("a document");
        let found: MlWeights = serde_json::from_str(&text).expect("weights");
        let before = weights().expect("weights");
        assert_eq!(found.memory, Weights { overrun: 30.0, ..before.memory });
        assert_eq!(found.cpu, Weights { overrun: 7.0, ..before.cpu });
        assert_eq!(document(&tried[..3]).expect("weights"), None);
    }

    #[test]
    fn every_candidate_has_the_weight_that_it_says() {
        let (_, all) = candidates().expect("candidates");
        assert_eq!(all.len(), 2 * OVERRUNS.len());
        let base = weights().expect("weights");
        for candidate in all {
            let of = if candidate.resource == Resource::Memory { base.memory } else { base.cpu };
            let (_, factor) = candidate.contender.knob();
            assert!((factor * of.overrun - candidate.overrun).abs() < 1e-9, "{candidate:?}");
        }
    }
}
