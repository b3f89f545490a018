//! Charts of a workload's page: its load beside its capacity with what is forecast, and what sizes cost and risk.

use maud::{Markup, html};

use crate::api::client::encoded;
use crate::api::courses::{ForecastDto, LoadCourseDto};
use crate::api::dto::{CandidateDto, RecommendationDto};
use crate::api::load_models::LoadModelDto;
use crate::charts::time::{Moment, Stroke, TimeChart};
use crate::domain::decision::{Decision, DecisionKind};
use crate::domain::load_forecast::ForecastPoint;
use crate::web::charted::chart;
use crate::web::pages::overview::moment;
use crate::web::pages::workload_parts::{line, rate};
use crate::web::parts::{bytes, money};
use crate::web::visitor::Visitor;

/// Load against what the ready instances can serve, and what is forecast.
pub(super) fn load_chart(
    visitor: &Visitor,
    (load, forecast): (&LoadCourseDto, &ForecastDto),
    decided: &[Decision],
    modelled: &LoadModelDto,
    hours: u32,
) -> Markup {
    let points = |of: &dyn Fn(&crate::api::courses::LoadPartDto) -> f64| -> Vec<(f64, f64)> {
        load.parts.iter().map(|part| (part.at.as_second() as f64, of(part))).collect()
    };
    let full =
        modelled.model.as_ref().and_then(|model| model.saturation.as_ref()).map(|full| full.load.value);
    let mut lines = Vec::new();
    let to_come = &forecast.forecast.points;
    if to_come.len() > 1 && !load.parts.is_empty() {
        let course = |of: fn(&ForecastPoint) -> f64| -> Vec<(f64, f64)> {
            to_come.iter().map(|point| (point.at.as_second() as f64, of(point))).collect()
        };
        lines.push(line("forecast, 5 %", 3, Stroke::Dashed, course(|point| point.low)));
        lines.push(line("forecast, 5 % to 95 %", 3, Stroke::Over, course(|point| point.high)));
        lines.push(line("forecast, expected", 3, Stroke::Line, course(|point| point.expected)));
    }
    if let Some(full) = full {
        lines.push(line("capacity of what is ready", 9, Stroke::Line, points(&|part| part.ready * full)));
    }
    lines.push(line("requests", 0, Stroke::Area, points(&|part| part.requests_per_second)));
    lines.push(line("errors", 4, Stroke::Line, points(&|part| part.errors_per_second)));
    let counts = decided.iter().filter(|one| matches!(one.proposal.kind, DecisionKind::Count { .. }));
    let moments: Vec<Moment> = counts.map(moment).collect();
    let name = encoded(&forecast.workload);
    let json = format!("/v1/workloads/{name}/load?hours={hours}");
    let end = to_come.last().filter(|_| !load.parts.is_empty()).map_or(load.to, |last| last.at.max(load.to));
    let drawn = |title, lines, format, to| TimeChart {
        title,
        from: load.from,
        to,
        zone: &visitor.zone,
        format,
        lines,
        band: None,
        moments: moments.clone(),
    };
    let ready = vec![line("ready instances", 2, Stroke::Area, points(&|part| part.ready))];
    let none = "No requests came through the front door in this time.";
    let unknown = if full.is_none() { "; no capacity before an instance was seen full" } else { "" };
    let note = format!("forecast: {}{unknown}", forecast.forecast.words);
    let note = if load.parts.is_empty() { String::new() } else { note };
    html! {
        (chart("load", &drawn("Load", lines, rate, end), &note, &json, none))
        (chart("ready", &drawn("Instances", ready, |value| format!("{value:.1}"), load.to), "", &json, none))
    }
}

/// The place of the curve in its frame.
const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 150.0;
const SIDE: f64 = 6.0;

/// What memory requests cost and risk, with the one in force and the one recommended: why this size.
pub(super) fn size_curve(advice: &RecommendationDto) -> Markup {
    let all = &advice.candidates;
    let Some(span) = all.first().zip(all.last()).filter(|_| all.len() > 2) else { return html! {} };
    let (least, most) = (span.0.memory as f64, span.1.memory as f64);
    let (now, then) =
        (advice.current.memory_request, advice.recommended.as_ref().map(|to| to.memory_request));
    // Requests are powers apart, not sums.
    let place = |memory: u64| {
        let share = (memory as f64 / least).ln() / (most / least).ln().max(f64::MIN_POSITIVE);
        SIDE + share.clamp(0.0, 1.0) * (WIDTH - 2.0 * SIDE)
    };
    let curve = |of: fn(&CandidateDto) -> f64| {
        let top = all.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
        let points: Vec<String> = all
            .iter()
            .map(|one| {
                format!(
                    "{:.1},{:.1}",
                    place(one.memory),
                    HEIGHT - SIDE - of(one) / top * (HEIGHT - 2.0 * SIDE)
                )
            })
            .collect();
        points.join(" ")
    };
    let told = |one: &CandidateDto| {
        format!(
            "{}: {} a month, {:.2} kills",
            bytes(one.memory),
            money(one.price_per_month),
            one.oom_kills_per_month
        )
    };
    html! {
        figure.chart.small {
            figcaption { b { "Price and risk by memory request" }
                small { (bytes(span.0.memory)) " to " (bytes(span.1.memory)) ", each line to its own highest" } }
            div.legend {
                span { i.c0 {} "price a month, to " (money(all.iter().map(|one| one.price_per_month).fold(0.0, f64::max))) }
                span { i.c4 {} "kills a month, to " (format!("{:.2}", all.iter().map(|one| one.oom_kills_per_month).fold(0.0, f64::max))) }
                span { i.c9 {} "now" } span { i.c2 {} "recommended" }
            }
            svg.scatter.curve viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="Price and expected kills by memory request" {
                rect.frame x="0.5" y="0.5" width=(WIDTH - 1.0) height=(HEIGHT - 1.0) {}
                line.now x1=(place(now)) x2=(place(now)) y1="0" y2=(HEIGHT) { title { "now " (bytes(now)) } }
                @if let Some(then) = then { line.then x1=(place(then)) x2=(place(then)) y1="0" y2=(HEIGHT) { title { "recommended " (bytes(then)) } } }
                polyline.price points=(curve(|one| one.price_per_month)) {}
                polyline.risk points=(curve(|one| one.oom_kills_per_month)) {}
                @for one in all { rect.spot x=(place(one.memory) - 4.0) y="0" width="8" height=(HEIGHT) { title { (told(one)) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_drawn_from_the_least_to_the_most_with_the_one_in_force() {
        let candidate = |mib: u64, risk: f64| CandidateDto {
            memory: mib << 20,
            risk,
            oom_kills_per_month: risk * 91.0,
            price_per_month: mib as f64 / 100.0,
        };
        let row = serde_json::json!({
            "workload": "web", "samples": 9, "confidence_days": 1.0, "price_per_month": -1.0, "reason": "", "mode": "auto",
            "current": {"cpu_request": 1.0, "memory_request": 512 << 20, "memory_limit": 512 << 20},
            "recommended": {"cpu_request": 1.0, "memory_request": 256 << 20, "memory_limit": 256 << 20},
        });
        let mut advice: RecommendationDto = serde_json::from_value(row).expect("advice");
        assert_eq!(size_curve(&advice).into_string(), "", "without candidates there is no curve");
        advice.candidates = vec![candidate(128, 0.5), candidate(256, 0.01), candidate(512, 0.0)];
        let drawn = size_curve(&advice).into_string();
        // The least stands left, the most right, and twice as much half-way.
        assert!(
            drawn.contains("points=\"6.0,") && drawn.contains(" 170.0,") && drawn.contains(" 334.0,"),
            "{drawn}"
        );
        assert!(
            drawn.contains("class=\"now\" x1=\"334\"") && drawn.contains("class=\"then\" x1=\"170\""),
            "{drawn}"
        );
        assert!(drawn.contains("256.0 MiB: 2.56 a month, 0.91 kills"), "{drawn}");
    }
}
