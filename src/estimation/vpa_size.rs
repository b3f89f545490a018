//! A size from what is remembered of a workload. Not here: how it came to be remembered (`vpa_state`).
//!
//! In: a `VpaState`. Out: an `Estimate`: request, limit and bounds with the reason in words.
//!
//! Percentiles, margin, confidence and floors follow `pkg/recommender/logic/{estimator,recommender}.go`
//! of the Kubernetes Vertical Pod Autoscaler; limits keep the declared ratio (`sized`), as its admission does.

use jiff::Timestamp;

use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::recommendation::{Estimate, Recommendation, Withheld};
use crate::estimation::Subject;
use crate::estimation::decaying_histogram::{DecayingHistogram, Scheme};
use crate::estimation::policy::Limits;
use crate::estimation::sized::{Sized, with_limits};
use crate::estimation::vpa_parameters::{ConfidenceParameters, ResourceParameters, VpaModel};
use crate::estimation::vpa_state::VpaState;

/// The size for a workload at `now`, or why there is none.
pub(super) fn estimate(
    model: &VpaModel,
    state: Option<&VpaState>,
    subject: &Subject<'_>,
    now: Timestamp,
) -> Estimate {
    let needed = model.parameters().min_samples;
    let Some(state) = state else { return Estimate::Withheld(Withheld::NoSamples) };
    let young = state.samples() < needed;
    if young && state.last_oom().is_none() {
        return Estimate::Withheld(match state.samples() {
            0 => Withheld::NoSamples,
            samples => Withheld::TooYoung { samples, needed },
        });
    }
    let days = state.confidence_days(model);
    let (cpu, memory) = (cpu(model, state, subject, young), memory(model, state, subject, young));
    let size = with_limits(Resources::new(cpu.target, memory.target), subject);
    let price = |request| subject.prices.per_hour(request);
    Estimate::Recommended(Box::new(Recommendation {
        workload: subject.workload.clone(),
        at: now,
        size,
        lower: Resources::new(cpu.lower, memory.lower),
        upper: Resources::new(cpu.upper, memory.upper),
        samples: state.samples(),
        confidence_days: days,
        reason: format!("{}; {}", cpu.reason, memory.reason),
        price_effect: price(size.request) - price(subject.current.request),
        risk: None,
        reasons: Vec::new(),
        candidates: Vec::new(),
        findings: Vec::new(),
    }))
}

/// The request alone, without policy, limits and words: absent where nothing was measured.
pub(super) fn targets(model: &VpaModel, state: &VpaState) -> Limits {
    let parameters = model.parameters();
    let of = |histogram: &DecayingHistogram, scheme: &Scheme, resource: &ResourceParameters| {
        histogram
            .percentile(scheme, parameters.target_percentile)
            .map(|percentile| (percentile * parameters.margin).max(resource.floor))
    };
    Limits {
        cpu: of(state.cpu(), model.cpu(), &parameters.cpu),
        memory: of(state.memory(), model.memory(), &parameters.memory),
    }
}

/// Percentiles with margin, confidence and floor, in the histogram's unit.
struct Range {
    /// The percentile itself, before everything else.
    percentile: f64,
    target: f64,
    lower: f64,
    upper: f64,
    /// Whether the floor is what the target is.
    at_floor: bool,
}

fn range(
    model: &VpaModel,
    histogram: &DecayingHistogram,
    scheme: &Scheme,
    resource: &ResourceParameters,
    days: f64,
) -> Option<Range> {
    let parameters = model.parameters();
    let percentile = histogram.percentile(scheme, parameters.target_percentile)?;
    let with_margin = |share: f64| histogram.percentile(scheme, share).map(|value| value * parameters.margin);
    let target = with_margin(parameters.target_percentile)?;
    let lower = with_margin(parameters.lower_percentile)? * confidence(parameters.lower_confidence, days);
    let upper = with_margin(parameters.upper_percentile)? * confidence(parameters.upper_confidence, days);
    // With hardly any history the factor has no end; more than the histogram knows is no bound.
    let upper = upper.min(scheme.buckets.largest() * parameters.margin);
    let floor = resource.floor;
    Some(Range {
        percentile,
        target: target.max(floor),
        lower: lower.max(floor),
        upper: upper.max(floor),
        at_floor: target < floor,
    })
}

/// `(1 + multiplier / days)^exponent`; 0 or infinite without any history.
fn confidence(parameters: ConfidenceParameters, days: f64) -> f64 {
    (1.0 + parameters.multiplier / days).powf(parameters.exponent)
}

fn cpu(model: &VpaModel, state: &VpaState, subject: &Subject<'_>, young: bool) -> Sized<Millicores> {
    let parameters = model.parameters();
    let days = state.confidence_days(model);
    let range = range(model, state.cpu(), model.cpu(), &parameters.cpu, days).filter(|_| !young);
    let sized = match range {
        Some(range) => Sized {
            target: Millicores::from_cores(range.target),
            lower: Millicores::from_cores(range.lower),
            upper: Millicores::from_cores(range.upper),
            reason: format!(
                "CPU {} {:.3} cores x {}{}",
                percentile_name(parameters.target_percentile),
                range.percentile,
                parameters.margin,
                floor_note(range.at_floor, Millicores::from_cores(parameters.cpu.floor)),
            ),
        },
        // Nothing measured is no reason to move: whatever is requested lies within these bounds.
        None => Sized {
            target: subject.current.request.cpu,
            lower: Millicores::ZERO,
            upper: Millicores::from_cores(model.cpu().buckets.largest()),
            reason: "CPU as it is, too little measured".to_owned(),
        },
    };
    sized.within(subject.bounds.min_cpu, subject.bounds.max_cpu, "cpu")
}

fn memory(model: &VpaModel, state: &VpaState, subject: &Subject<'_>, young: bool) -> Sized<Bytes> {
    let parameters = model.parameters();
    let days = state.confidence_days(model);
    let current = subject.current.request.memory;
    let Some(range) = range(model, state.memory(), model.memory(), &parameters.memory, days) else {
        let upper = Bytes::from_f64(model.memory().buckets.largest());
        let reason = "memory as it is, nothing measured".to_owned();
        return Sized { target: current, lower: Bytes::ZERO, upper, reason }.within(
            subject.bounds.min_memory,
            subject.bounds.max_memory,
            "memory",
        );
    };
    let mut reason = format!(
        "memory {} of {} {} x {}{}",
        percentile_name(parameters.target_percentile),
        peaks_name(parameters.memory_interval_seconds),
        Bytes::from_f64(range.percentile),
        parameters.margin,
        floor_note(range.at_floor, Bytes::from_f64(parameters.memory.floor)),
    );
    // A kill that lies above the percentile is remembered, yet too light among the other peaks.
    let raised_by = state.last_oom().filter(|note| note.needed.as_f64() <= range.percentile);
    if let Some(note) = raised_by {
        reason = format!("{reason}, OOM kill at {} raised it", note.used);
    }
    let target = Bytes::from_f64(range.target);
    let sized = Sized {
        // Before enough samples came, a kill may raise the request, and nothing may lower it.
        target: if young { target.max(current) } else { target },
        lower: Bytes::from_f64(range.lower),
        upper: Bytes::from_f64(range.upper),
        reason,
    };
    sized.within(subject.bounds.min_memory, subject.bounds.max_memory, "memory")
}

fn percentile_name(share: f64) -> String {
    format!("p{}", (share * 1000.0).round() / 10.0)
}

fn peaks_name(interval_seconds: u32) -> String {
    if interval_seconds == 86_400 {
        "daily peaks".to_owned()
    } else {
        format!("peaks per {interval_seconds} s")
    }
}

fn floor_note(at_floor: bool, floor: impl std::fmt::Display) -> String {
    if at_floor { format!(", raised to the floor of {floor}") } else { String::new() }
}
