//! `loadline model NAME` and `loadline whatif NAME`: what an instance uses as a function of its load, drawn, and what
//! another load would need.

use anstyle::{AnsiColor, Style};
use clap::Args;
use comfy_table::Table;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Color;
use ratatui_core::symbols::Marker;
use ratatui_core::widgets::Widget;
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType};

use crate::api::client::Client;
use crate::api::load_models::{LoadModelDto, WhatIfDto};
use crate::cli::output::{
    Output, cores, line_width, memory, or_dash, paint, plain, say, say_json, say_table, table, time, wrapped,
};
use crate::domain::load_model::{LoadModel, ModelPoint};
use crate::domain::money::MicroCents;
use crate::domain::what_if::Stand;

/// Lines of the charts, and characters of a line.
const HEIGHT: u16 = 14;
const WIDTH_MAX: usize = 120;
const WIDTH_MIN: usize = 40;
/// Points of a drawn line.
const STEPS: u32 = 80;
/// Hours in a month as clouds bill them: 365 x 24 / 12.
const HOURS_PER_MONTH: f64 = 730.0;

/// `loadline model`
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    /// The service.
    name: String,
}

/// `loadline whatif`
#[derive(Debug, Args)]
#[group(required = true, multiple = true, args = ["load", "peak"])]
pub(super) struct WhatIfArgs {
    /// The service.
    name: String,
    /// Another load: x2, +30%, -20% or 250/s (requests per second over all instances).
    #[arg(long, allow_hyphen_values = true)]
    load: Option<String>,
    /// A time in the reader's time zone, such as "2026-11-27 20:00": takes the load that is forecast then, or usual.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    peak: Option<Timestamp>,
}

/// Reads a local time, or an instant with its offset.
fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let civil = text.parse::<DateTime>().map_err(|_| {
        format!("`{text}` is no time: expected one such as \"2026-11-27 20:00\" or 2026-11-27T20:00:00Z")
    })?;
    civil.to_zoned(TimeZone::system()).map(|zoned| zoned.timestamp()).map_err(|error| error.to_string())
}

pub(super) async fn model(client: &Client, output: Output, args: ModelArgs) -> anyhow::Result<()> {
    let found = client.load_model(&args.name).await?;
    if output == Output::Json {
        return say_json(&found);
    }
    for line in shown(&found, line_width()) {
        say(&line)?;
    }
    let Some(model) = found.model.filter(|model| !model.points.is_empty()) else { return Ok(()) };
    say("")?;
    say_table(&points(&model))
}

/// Everything but the table of points.
fn shown(found: &LoadModelDto, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for said in &found.words {
        lines.extend(wrapped(&plain(said), width));
    }
    let Some(model) = &found.model else { return lines };
    lines.extend(wrapped(&grounds(model), width));
    if model.points.len() > 1 {
        let cpu = Drawn {
            title: "CPU of an instance in cores, by requests per second",
            value: |point| (point.weight > 0.0).then_some(point.cpu),
            fit: &|load| model.cpu.line().map(|line| line.at(load)),
            show: cores,
        };
        let latency = Drawn {
            title: "p95 of latency in ms, by requests per second",
            value: |point| point.latency.map(|seconds| seconds * 1e3),
            fit: &|load| model.knee.map(|knee| knee.at(load) * 1e3),
            show: |value| format!("{value:.0}"),
        };
        for chart in [cpu, latency] {
            lines.push(String::new());
            lines.extend(chart.lines(&model.points, width));
        }
    }
    lines
}

/// What the model rests on.
fn grounds(model: &LoadModel) -> String {
    let kept_out = model.kept_out;
    let seen = model
        .load_seen
        .map_or_else(String::new, |(low, high)| format!(" at {low:.1} to {high:.1} requests/s an instance"));
    let prior = if model.prior_weight > 0.0 {
        format!("; the revision before still counts as {:.1} of them", model.prior_weight)
    } else {
        String::new()
    };
    format!(
        "rests on {} observations of revision {}{seen}{prior}; kept out: {} starting, {} in rollouts, {} full, {} with \
         errors, {} broken, {} outliers",
        model.observations,
        model.revision,
        kept_out.starting,
        kept_out.rollout,
        kept_out.saturated,
        kept_out.errors,
        kept_out.broken,
        model.outliers
    )
}

fn points(model: &LoadModel) -> Table {
    let mut rows = table(&["load", "cpu", "by the model", "memory", "p95", "observations"]);
    for point in &model.points {
        // At a load at which instances were full, latency alone is known.
        let used = (point.weight > 0.0).then_some(point);
        rows.add_row(vec![
            format!("{:.1}/s", point.load),
            or_dash(used, |point| cores(point.cpu)),
            or_dash(model.cpu.line(), |line| cores(line.at(point.load))),
            or_dash(used, |point| memory(point.memory as u64)),
            or_dash(point.latency, |seconds| format!("{:.1} ms", seconds * 1e3)),
            format!("{:.0}", point.weight),
        ]);
    }
    rows
}

/// A chart of observations with the fit through them.
struct Drawn<'a> {
    title: &'static str,
    value: fn(&ModelPoint) -> Option<f64>,
    fit: &'a dyn Fn(f64) -> Option<f64>,
    show: fn(f64) -> String,
}

impl Drawn<'_> {
    fn lines(&self, points: &[ModelPoint], width: usize) -> Vec<String> {
        let seen: Vec<(f64, f64)> =
            points.iter().filter_map(|point| Some((point.load, (self.value)(point)?))).collect();
        let (Some(right), Some(top)) = (
            seen.iter().map(|point| point.0).reduce(f64::max),
            seen.iter().map(|point| point.1).reduce(f64::max),
        ) else {
            return Vec::new();
        };
        let (right, top) = (right.max(1e-9) * 1.02, top.max(1e-9) * 1.1);
        let step = |step: u32| f64::from(step) / f64::from(STEPS) * right;
        let fit: Vec<(f64, f64)> = (0..=STEPS)
            .filter_map(|at| Some((step(at), (self.fit)(step(at))?)))
            .filter(|(_, value)| (0.0..=top).contains(value))
            .collect();
        let set = |points, marker, kind, colour| {
            Dataset::default().data(points).marker(marker).graph_type(kind).style(colour)
        };
        let sets = vec![
            set(&fit, Marker::Braille, GraphType::Line, Color::Green),
            set(&seen, Marker::Custom('o'), GraphType::Scatter, Color::Cyan),
        ];
        let chart = Chart::new(sets)
            .legend_position(None)
            .x_axis(
                Axis::default()
                    .bounds([0.0, right])
                    .labels([0.0, right / 2.0, right].map(|load| format!("{load:.1}/s"))),
            )
            .y_axis(Axis::default().bounds([0.0, top]).labels([0.0, top / 2.0, top].map(self.show)));
        let area = Rect::new(0, 0, width.clamp(WIDTH_MIN, WIDTH_MAX) as u16, HEIGHT);
        let mut buffer = Buffer::empty(area);
        chart.render(area, &mut buffer);
        let mut lines = vec![self.title.to_owned()];
        lines.extend(rows(&buffer));
        let mark = |colour: AnsiColor, mark: &str| paint(Style::new().fg_color(Some(colour.into())), mark);
        let drawn = if fit.is_empty() {
            String::new()
        } else {
            format!("   {} model", mark(AnsiColor::Green, "⠉"))
        };
        lines.push(format!("   {} observed{drawn}", mark(AnsiColor::Cyan, "o")));
        lines
    }
}

/// A drawn chart as lines, in colour.
pub(super) fn rows(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area().width).max(1);
    let line = |cells: &[ratatui_core::buffer::Cell]| {
        let mut line = String::new();
        for run in cells.chunk_by(|a, b| a.fg == b.fg) {
            let text: String = run.iter().map(ratatui_core::buffer::Cell::symbol).collect();
            let colour = match run[0].fg {
                Color::Green => Some(AnsiColor::Green),
                Color::Cyan => Some(AnsiColor::Cyan),
                Color::Yellow => Some(AnsiColor::Yellow),
                _ => None,
            };
            line.push_str(
                &colour
                    .map_or(text.clone(), |colour| paint(Style::new().fg_color(Some(colour.into())), &text)),
            );
        }
        line.trim_end().to_owned()
    };
    buffer.content().chunks(width).map(line).collect()
}

pub(super) async fn what_if(client: &Client, output: Output, args: WhatIfArgs) -> anyhow::Result<()> {
    let found = client.what_if(&args.name, args.load.as_deref(), args.peak).await?;
    if output == Output::Json {
        return say_json(&found);
    }
    let width = line_width();
    if let Some(peak) = args.peak {
        say(&format!("at {}:", time(peak)))?;
    }
    for line in wrapped(&format!("load: {}", plain(&found.answer.load_from)), width) {
        say(&line)?;
    }
    say_table(&stands(&found))?;
    say("")?;
    for line in wrapped(&format!("count by {}", plain(&found.answer.rule)), width) {
        say(&line)?;
    }
    for note in &found.answer.notes {
        for line in wrapped(&format!("note: {}", plain(note)), width) {
            say(&line)?;
        }
    }
    Ok(())
}

/// How a column shows a row.
type Shown<'a> = &'a dyn Fn(&Stand) -> String;

fn stands(found: &WhatIfDto) -> Table {
    let answer = &found.answer;
    let mut all = vec![("now", &answer.now), ("then", &answer.then)];
    all.extend(answer.best.as_ref().map(|best| ("cheapest size and count", best)));
    let names: Vec<&str> = std::iter::once("").chain(all.iter().map(|(name, _)| *name)).collect();
    let mut rows = table(&names);
    let price = |price: MicroCents| format!("{price}");
    let month = |price: MicroCents| format!("{:.2}", price.units() * HOURS_PER_MONTH);
    let lines: [(&str, Shown<'_>); 11] = [
        ("load", &|stand| format!("{:.1}/s", stand.load)),
        ("instances", &|stand| stand.instances.to_string()),
        ("size", &|stand| stand.size.request.to_string()),
        ("nodes", &|stand| or_dash(stand.nodes, |nodes| nodes.to_string())),
        ("price/hour", &|stand| price(stand.price)),
        ("price/month", &|stand| month(stand.price)),
        ("node price/hour", &|stand| or_dash(stand.node_price, price)),
        ("node price/month", &|stand| or_dash(stand.node_price, month)),
        ("CPU of an instance", &|stand| or_dash(stand.cpu, cores)),
        ("memory of an instance", &|stand| or_dash(stand.memory, |bytes| memory(bytes as u64))),
        ("p95", &|stand| or_dash(stand.latency, |seconds| format!("{:.0} ms", seconds * 1e3))),
    ];
    for (name, of) in lines {
        rows.add_row(std::iter::once(name.to_owned()).chain(all.iter().map(|(_, stand)| of(stand))));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::load_model::{Estimated, KeptOut, Line, Relation};

    fn found() -> LoadModelDto {
        let point = |load: f64| ModelPoint {
            load,
            cpu: 0.1 + 0.01 * load,
            memory: 1e8,
            latency: Some(0.02),
            weight: 30.0,
        };
        let model = LoadModel {
            revision: 3,
            at: None,
            observations: 120,
            kept_out: KeptOut { starting: 7, ..KeptOut::default() },
            outliers: 2,
            prior_weight: 1.5,
            load_seen: Some((5.0, 40.0)),
            cpu: Relation::Clear(Line {
                base: Estimated::around(0.1, 0.01),
                slope: Estimated::around(0.01, 0.001),
                band: 0.02,
                explained: 0.99,
            }),
            memory: Relation::Unclear { why: "use changes by 0.1 %".to_owned(), mean: Some(1e8) },
            knee: None,
            no_knee: Some("p95 hardly rises up to 40.0 requests/s an instance".to_owned()),
            saturation: None,
            objective: None,
            points: vec![point(5.0), point(20.0), point(40.0)],
            change: None,
        };
        LoadModelDto { workload: "web".to_owned(), words: model.words(), model: Some(model) }
    }

    #[test]
    fn the_fit_is_told_and_drawn_within_the_width() {
        for width in [60, 100] {
            let lines = shown(&found(), width);
            let text = anstream::adapter::strip_str(&lines.join("\n")).to_string();
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in ["10.00 ms a request", "7 starting", "still counts as 1.5", "o observed", "⠉ model"]
            {
                assert!(joined.contains(part), "{part}\n{text}");
            }
        }
        let table = points(found().model.as_ref().expect("a model")).trim_fmt();
        assert!(table.contains("20.0/s") && table.contains("0.300"), "{table}");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert!(instant("2026-11-27 20:00").is_ok() && instant("2026-11-27T20:00:00Z").is_ok());
        assert!(instant("friday").expect_err("no time").contains("is no time"));
    }
}
