//! A run of a scenario as pictures: lines for a page, and a drawing for the terminal.

use anstyle::{AnsiColor, Style};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Color;
use ratatui_core::symbols::Marker;
use ratatui_core::widgets::Widget;
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType};

use crate::charts::run::{Line, Picture};
use crate::cli::demo::tally::Look;
use crate::cli::model::rows;
use crate::cli::output::paint;

/// Lines of the drawing.
const HEIGHT: u16 = 16;
const WIDTH: std::ops::RangeInclusive<usize> = 40..=120;
/// Latency is that of the answers of so many seconds.
const LATENCY_SECONDS: f64 = 5.0;
/// In the terminal: load, and the capacity of each side.
const COLOURS: [(Color, AnsiColor); 3] =
    [(Color::Cyan, AnsiColor::Cyan), (Color::Yellow, AnsiColor::Yellow), (Color::Green, AnsiColor::Green)];

/// Load and capacity, instances, and latency of all sides: names with what was seen of them.
pub(super) fn pictures(sides: &[(String, Vec<Look>)]) -> Vec<Picture> {
    let of = |value: fn(&Look) -> f64| {
        let line = |(place, (name, looks)): (usize, &(String, Vec<Look>))| Line {
            name: name.clone(),
            place: place + 1,
            points: looks.iter().map(|look| (look.at, value(look))).collect(),
        };
        sides.iter().enumerate().map(line).collect::<Vec<Line>>()
    };
    let looks = sides.first().map(|(_, looks)| looks.as_slice()).unwrap_or_default();
    let load = Line {
        name: "load".to_owned(),
        place: 0,
        points: looks.iter().map(|look| (look.at, look.load)).collect(),
    };
    let latency = sides.iter().enumerate().map(|(place, (name, looks))| Line {
        name: name.clone(),
        place: place + 1,
        points: latencies(looks),
    });
    let picture = |title: &str, unit: &str, lines: Vec<Line>| Picture {
        title: title.to_owned(),
        unit: unit.to_owned(),
        lines,
    };
    let capacity = std::iter::once(load).chain(of(|look| look.capacity)).collect();
    vec![
        picture("Load, and the load that ready instances serve", "requests/s", capacity),
        picture(
            "Instances, those that start or leave included",
            "instances",
            of(|look| f64::from(look.instances)),
        ),
        picture("95th percentile of latency over 5 seconds", "ms", latency.collect()),
    ]
}

/// The 95th percentile of the last seconds, at each look; nothing where nobody was answered.
fn latencies(looks: &[Look]) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for (place, look) in looks.iter().enumerate() {
        let since = looks[..=place].partition_point(|earlier| earlier.at < look.at - LATENCY_SECONDS);
        let passed = look.requests.ended.since(&looks[since].requests.ended);
        points.extend(passed.fine_quantile(0.95).map(|seconds| (look.at, seconds * 1e3)));
    }
    points
}

/// Load and capacity as lines of text.
pub(super) fn drawing(picture: &Picture, width: usize) -> Vec<String> {
    let points = || picture.lines.iter().flat_map(|line| &line.points);
    let right = points().map(|point| point.0).fold(1.0, f64::max);
    let top = points().map(|point| point.1).fold(1.0, f64::max) * 1.05;
    let sets = picture.lines.iter().zip(COLOURS).map(|(line, (colour, _))| {
        Dataset::default()
            .data(&line.points)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(colour)
    });
    let chart = Chart::new(sets.collect())
        .legend_position(None)
        .x_axis(
            Axis::default()
                .bounds([0.0, right])
                .labels([0.0, right / 2.0, right].map(|second| format!("{second:.0} s"))),
        )
        .y_axis(
            Axis::default()
                .bounds([0.0, top])
                .labels([0.0, top / 2.0, top].map(|value| format!("{value:.0}/s"))),
        );
    let area = Rect::new(0, 0, width.clamp(*WIDTH.start(), *WIDTH.end()) as u16, HEIGHT);
    let mut buffer = Buffer::empty(area);
    chart.render(area, &mut buffer);
    let mut lines = vec![picture.title.clone()];
    lines.extend(rows(&buffer));
    let named = picture.lines.iter().zip(COLOURS).map(|(line, (_, colour))| {
        paint(Style::new().fg_color(Some(colour.into())), &format!("⠉ {}", line.name))
    });
    lines.push(format!("   {}", named.collect::<Vec<_>>().join("   ")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::load_generator::LoadSummary;

    #[test]
    fn every_side_is_in_every_picture_and_drawn_in_the_terminal() {
        let look = |second: u32, capacity: f64| Look {
            at: f64::from(second),
            load: 10.0 + f64::from(second % 20),
            capacity,
            instances: 2,
            wanted: 2,
            held: 0,
            requests: LoadSummary::default(),
        };
        let side = |name: &str, capacity| {
            (name.to_owned(), (0..60).map(|second| look(second, capacity)).collect::<Vec<_>>())
        };
        let pictures = pictures(&[side("hpa", 30.0), side("loadline", 40.0)]);
        assert_eq!(pictures.iter().map(|picture| picture.lines.len()).collect::<Vec<_>>(), [3, 2, 2]);
        assert!(pictures[2].lines.iter().all(|line| line.points.is_empty()), "nobody was answered");
        let drawn = drawing(&pictures[0], 80);
        assert!(drawn.len() > 10 && drawn.last().is_some_and(|line| line.contains("hpa")), "{drawn:#?}");
        assert!(drawn.iter().any(|line| line.contains("42/s")), "{drawn:#?}");
    }
}
