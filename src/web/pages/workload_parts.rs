//! Parts of a workload's page: its usage, its tasks, what its size costs, its model, revisions, events.

use maud::{Markup, html};

use crate::api::answers::{EventDto, RevisionDto};
use crate::api::client::encoded;
use crate::api::dto::{ExplanationDto, RecommendationDto, TaskDto, UsagePartDto, WorkloadDto};
use crate::api::load_models::LoadModelDto;
use crate::charts::time::{Stroke, TimeChart, TimeLine};
use crate::domain::decision::DecisionKind;
use crate::domain::load_model::{ModelPoint, Relation};
use crate::domain::workload::WorkloadKind;
use crate::web::charted::chart;
use crate::web::forms;
use crate::web::pages::overview::moment;
use crate::web::parts::{bytes, cores, in_bytes, in_cores, money, path, size, state, time};
use crate::web::visitor::Visitor;

pub(super) fn rate(value: f64) -> String {
    format!("{value:.1}/s")
}

pub(super) fn line(name: &str, place: usize, stroke: Stroke, points: Vec<(f64, f64)>) -> TimeLine {
    TimeLine { name: name.to_owned(), place, stroke, points }
}

/// What a task uses, against its request, its limit and the advice.
pub(super) fn usage_charts(visitor: &Visitor, name: &str, advice: &ExplanationDto, hours: u32) -> Markup {
    let (from, to) = (advice.from.as_second() as f64, advice.to.as_second() as f64);
    let flat =
        |name: &str, place, value: f64| line(name, place, Stroke::Dashed, vec![(from, value), (to, value)]);
    let points = |of: &dyn Fn(&UsagePartDto) -> Option<f64>| -> Vec<(f64, f64)> {
        advice.usage.iter().filter_map(|part| Some((part.at.as_second() as f64, of(part)?))).collect()
    };
    let (now, told) = (&advice.recommendation.current, &advice.recommendation);
    let mut cpu = vec![
        line("mean of tasks", 0, Stroke::Area, points(&|part| part.cpu_mean)),
        line("highest task", 5, Stroke::Line, points(&|part| part.cpu_max)),
        flat("request", 1, now.cpu_request),
    ];
    let mut memory = vec![
        line("mean of tasks", 0, Stroke::Area, points(&|part| Some(part.memory_mean as f64))),
        line("highest task", 5, Stroke::Line, points(&|part| Some(part.memory_max as f64))),
        flat("request", 1, now.memory_request as f64),
        flat("limit", 4, now.memory_limit as f64),
    ];
    if let Some(limit) = now.cpu_limit {
        cpu.push(flat("limit", 4, limit));
    }
    if let Some(size) = &told.recommended {
        cpu.push(flat("recommended", 2, size.cpu_request));
        memory.push(flat("recommended", 2, size.memory_request as f64));
    }
    let bounds = told.lower.zip(told.upper);
    let sizes = advice.decisions.iter().filter(|one| matches!(one.proposal.kind, DecisionKind::Size { .. }));
    let moments: Vec<_> = sizes.map(moment).collect();
    let json = format!("/v1/recommendations/{}?hours={hours}", encoded(name));
    let drawn = |title, lines, band, format| TimeChart {
        title,
        from: advice.from,
        to: advice.to,
        zone: &visitor.zone,
        format,
        lines,
        band,
        moments: moments.clone(),
    };
    let cpu_band = bounds.map(|((low, _), (high, _))| (low, high));
    let memory_band = bounds.map(|((_, low), (_, high))| (low as f64, high as f64));
    html! {
        (chart("cpu", &drawn("CPU of a task", cpu, cpu_band, in_cores), "", &json, "Nothing was measured in this time."))
        (chart("memory", &drawn("Memory of a task", memory, memory_band, in_bytes), "", &json, "Nothing was measured in this time."))
    }
}

/// Tasks as rows; those that ended come last.
pub(super) fn tasks(visitor: &Visitor, tasks: &[TaskDto], service: bool) -> Markup {
    let ended = tasks.iter().filter(|task| task.state.is_terminal());
    let live = tasks.iter().filter(|task| !task.state.is_terminal());
    let shown = live.chain(ended.take(if service { 8 } else { 20 }));
    html! {
        @if tasks.is_empty() { p.quiet { "There is no task." } }
        @else { div.scroll tabindex="0" { table {
            thead { tr { th { "Task" } th { "State" } th { "Node" } th.number { "CPU" } th.number { "Memory" } th { "Since" } th { "Why" } } }
            tbody { @for task in shown { tr {
                th scope="row" { a href=(path("/tasks", &task.id)) { (task.id) } }
                td { (state(task.state.as_str())) @if let Some(health) = task.health.as_ref().filter(|health| *health != "ready") { " " small { (health) } } }
                td { (task.node.as_deref().unwrap_or("-")) }
                td.number { @if let Some(used) = task.cpu_used { (cores(used)) " / " } (cores(task.size.cpu_request)) }
                td.number { @if let Some(used) = task.memory_used { (bytes(used)) " / " } (bytes(task.size.memory_limit)) }
                td { (time(visitor, task.state_since)) }
                td.words { @match &task.exit { Some(exit) => (exit.describe()), None => (task.reason) } }
            } } }
        } } }
    }
}

/// What sizes cost and risk: why this one.
pub(super) fn cost_curve(advice: &RecommendationDto) -> Markup {
    html! {
        p { "Now " b { (size(&advice.current)) }
            @if let Some(to) = &advice.recommended { ", recommended " b { (size(to)) } } ". " (advice.reason) }
        @if let Some(confidence) = &advice.confidence { p.quiet { "Confidence " (confidence) ": " (advice.grounds) "." } }
        @if !advice.reasons.is_empty() { ul { @for reason in &advice.reasons { li { (reason) } } } }
        @for finding in &advice.findings { p { b { (finding.words) } " " (finding.advice) } }
        @if !advice.candidates.is_empty() {
            div.scroll tabindex="0" { table {
                caption { "Other memory requests, with the CPU recommended" }
                thead { tr { th.number { "Memory" } th.number { "Price a month" } th.number { "Kills a month" } th.number { "Kills a task and day" } } }
                tbody { @for candidate in &advice.candidates {
                    @let chosen = advice.recommended.as_ref().is_some_and(|size| size.memory_request == candidate.memory);
                    tr.chosen[chosen] {
                        td.number { (bytes(candidate.memory)) @if chosen { " (recommended)" } }
                        td.number { (money(candidate.price_per_month)) }
                        td.number { (format!("{:.2}", candidate.oom_kills_per_month)) }
                        td.number { (format!("{:.4}", candidate.risk)) }
                    }
                } }
            } }
        }
    }
}

/// What is known of a service as a function of its load: points with the fitted line.
pub(super) fn model(told: &LoadModelDto) -> Markup {
    html! {
        ul { @for words in &told.words { li { (words) } } }
        @if let Some(model) = told.model.as_ref().filter(|model| model.points.len() > 1) {
            @let points = |of: fn(&ModelPoint) -> Option<f64>| -> Vec<(f64, f64)> {
                model.points.iter().filter_map(|point| Some((point.load, of(point)?))).collect()
            };
            div.columns {
                (scatter("CPU of an instance by its load", &points(|point| Some(point.cpu)), Some(&model.cpu), in_cores))
                (scatter("Memory of an instance by its load", &points(|point| Some(point.memory)), Some(&model.memory), in_bytes))
                (scatter("Latency (95 %) by the load of an instance", &points(|point| point.latency), None, in_ms))
            }
        }
    }
}

fn in_ms(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

/// What was observed at each load, from nothing on, with the line that was fitted.
fn scatter(
    title: &str,
    points: &[(f64, f64)],
    fitted: Option<&Relation>,
    format: fn(f64) -> String,
) -> Markup {
    let right = points.iter().map(|(load, _)| *load).fold(f64::MIN_POSITIVE, f64::max);
    let ends = fitted.and_then(|fitted| fitted.at(0.0).zip(fitted.at(right)));
    let values = points.iter().map(|(_, value)| *value).chain(ends.into_iter().flat_map(|(a, b)| [a, b]));
    let top = values.fold(f64::MIN_POSITIVE, f64::max) * 1.1;
    let y = |value: f64| format!("{:.1}", 150.0 - value / top * 150.0);
    html! {
        @if points.len() > 1 { figure.chart.small {
            figcaption { b { (title) } small { "to " (rate(right)) ", " (format(top)) } }
            svg.scatter viewBox="0 0 340 150" role="img" aria-label=(title) {
                rect.frame x="0.5" y="0.5" width="339" height="149" {}
                @if let Some((start, end)) = ends { line.fit x1="0" y1=(y(start)) x2="340" y2=(y(end)) {} }
                @for (load, value) in points {
                    circle cx=(format!("{:.1}", load / right * 336.0 + 2.0)) cy=(y(*value)) r="3" {
                        title { (rate(*load)) ": " (format(*value)) }
                    }
                }
            }
        } }
    }
}

/// Revisions with what changed, newest first, and the way back to each.
pub(super) fn revisions(visitor: &Visitor, workload: &WorkloadDto, revisions: &[RevisionDto]) -> Markup {
    let service = workload.kind == WorkloadKind::Service;
    let may = service && visitor.may_change(workload.team.as_deref());
    html! {
        @for revision in revisions.iter().rev().take(20) {
            details.revision open[revision.in_force && revisions.len() > 1] {
                summary { "Revision " (revision.number) " " @if revision.in_force { span.state.good { "in force" } }
                    " by " (revision.by) ", " (time(visitor, revision.at)) }
                @if revision.lines.is_empty() { p.quiet { "Nothing is known to be other than before." } }
                @else { pre { code { @for line in &revision.lines { (changed(line)) } } } }
                @if may && !revision.in_force {
                    form.back method="post" action="/act" {
                        (forms::hidden(visitor, "rollback", &workload.name))
                        input type="hidden" name="to" value=(revision.number);
                        (forms::why())
                        button.plain type="submit" { "Roll back to " (revision.number) }
                    }
                }
            }
        }
    }
}

/// A line of a diff; what is before and after is told apart where it says both.
fn changed(line: &str) -> Markup {
    let parts = line.split_once(": ").and_then(|(field, values)| Some((field, values.split_once(" -> ")?)));
    html! {
        @match parts {
            Some((field, (before, after))) => { (field) ": " del { (before) } " → " ins { (after) } "\n" }
            None => { (line) "\n" }
        }
    }
}

/// Events as rows, newest first.
pub(super) fn events(visitor: &Visitor, events: &[EventDto]) -> Markup {
    html! {
        @if events.is_empty() { p.quiet { "Nothing happened yet." } }
        @else { div.scroll tabindex="0" { table {
            thead { tr { th { "When" } th { "What" } th { "By" } th { "Why" } } }
            tbody { @for event in events { tr {
                td { (time(visitor, event.at)) }
                td.nowrap { (event.kind.replace('_', " ")) @if let Some(task) = &event.task { " " a href=(path("/tasks", task)) { (task) } } }
                td { (event.by) }
                td.words { (event.reason) }
            } } }
        } } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_drawn_where_there_are_enough_of_them() {
        let drawn = scatter("Latency", &[(0.0, 0.0), (4.0, 0.02)], None, in_ms).into_string();
        assert_eq!(drawn.matches("<circle").count(), 2, "{drawn}");
        assert!(drawn.contains("to 4.0/s, 22.0 ms") && !drawn.contains("NaN"), "{drawn}");
        assert!(drawn.contains("cx=\"338.0\"") && !drawn.contains("class=\"fit\""), "{drawn}");
        assert_eq!(scatter("Latency", &[(1.0, 1.0)], None, in_ms).into_string(), "");
    }
}
