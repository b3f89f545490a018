//! A chart over wall-clock time for a page that lives: lines, areas and steps, a band, and instants at which
//! something was done. Axis labels are in the reader's zone. Not here: what the lines mean.
//!
//! The margins are fixed, so that a page's script can tell from a pointer's place which instant it points at.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kuva::backend::svg::SvgBackend;
use kuva::plot::LinePlot;
use kuva::plot::annotations::ReferenceLine;
use kuva::plot::band::BandPlot;
use kuva::render::layout::{Layout, TickFormat};
use kuva::render::plots::Plot;
use kuva::render::render::render_multiple;

use crate::charts::draw::{Frame, escaped, page_colour, page_theme};

/// Margins of the plot within its frame: left, right, top, bottom.
pub const MARGINS: (f64, f64, f64, f64) = (62.0, 14.0, 12.0, 30.0);
/// Steps of a time axis in seconds: the smallest that gives few enough ticks is taken.
const STEPS: [i64; 13] =
    [5, 15, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];
/// A line is broken where nothing was measured for so many times its usual step.
const GAP_FACTOR: f64 = 4.0;
/// A band may reach so many times as high as the lines.
const BAND_ROOM: f64 = 1.4;

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// From point to point.
    Line,
    /// The same, filled down to the axis.
    Area,
    /// Dashed: a bound, a limit, an advice.
    Dashed,
    /// What lies between the line before it in the list, which has the same instants, and this one; no line itself.
    Over,
}

/// A line over time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeLine {
    /// Its name.
    pub name: String,
    /// The number of its colour.
    pub place: usize,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Instants (in seconds since 1970) and values, by time.
    pub points: Vec<(f64, f64)>,
}

/// Something that was done at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What, in words.
    pub words: String,
}

/// A chart over time.
#[derive(Clone)]
pub struct TimeChart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// The reader's zone.
    pub zone: &'a TimeZone,
    /// A value with its unit, short.
    pub format: fn(f64) -> String,
    /// The lines, from back to front.
    pub lines: Vec<TimeLine>,
    /// Values that a band lies between, all along.
    pub band: Option<(f64, f64)>,
    /// What was done.
    pub moments: Vec<Moment>,
}

impl TimeChart<'_> {
    /// Whether there is a line to draw.
    pub fn has_points(&self) -> bool {
        self.lines.iter().any(|line| line.points.len() > 1)
    }

    /// The chart as SVG, in the page's colours.
    pub fn svg(&self, frame: Frame) -> String {
        let origin = self.origin();
        let (left, right) = (self.from.as_second() as f64 - origin, self.to.as_second() as f64 - origin);
        let top = self.top();
        let mut plots = Vec::new();
        if let Some((low, high)) = self.band {
            let band = BandPlot::new([left, right], [low.min(top); 2], [high.min(top); 2]);
            plots.push(Plot::Band(band.with_color("var(--band)").with_opacity(1.0)));
        }
        for (place, line) in self.lines.iter().enumerate() {
            if line.stroke == Stroke::Over {
                let under = place.checked_sub(1).and_then(|before| self.lines.get(before));
                plots.extend(under.map(|under| Plot::Band(between(under, line, origin))));
                continue;
            }
            plots.extend(segments(&line.points).map(|points| Plot::Line(drawn(line, points, origin))));
        }
        let zone = self.zone.clone();
        let days = right - left > 172_800.0;
        let seconds = right - left < 600.0;
        let label = move |x: f64| label((x + origin) as i64, &zone, days, seconds);
        let format = self.format;
        let mut layout = Layout::auto_from_plots(&plots)
            .with_width(frame.width)
            .with_height(frame.height)
            .with_theme(page_theme())
            .with_x_axis_min(left)
            .with_x_axis_max(right)
            .with_y_axis_min(0.0)
            .with_y_axis_max(top)
            .with_y_tick_step(top / 4.0)
            .with_x_tick_step(step(right - left, frame.width))
            .with_x_tick_format(TickFormat::Custom(std::sync::Arc::new(label)))
            .with_y_tick_format(TickFormat::Custom(std::sync::Arc::new(format)))
            .with_tick_size(11)
            .with_force_margins(MARGINS.0, MARGINS.1)
            .with_force_margins_y(MARGINS.2, MARGINS.3);
        for moment in &self.moments {
            let at = moment.at.as_second() as f64 - origin;
            if (left..=right).contains(&at) {
                let line = ReferenceLine::vertical(at).with_color("var(--moment)").with_dasharray("2 3");
                layout = layout.with_reference_line(line.with_stroke_width(1.2));
            }
        }
        let scene = render_multiple(plots, layout);
        format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            scene.width,
            scene.height,
            escaped(self.title),
            SvgBackend::new().render_scene(&scene)
        )
    }

    /// What a script shows of the instant that is pointed at: names and values in words, as JSON.
    pub fn figures(&self) -> String {
        let mut out =
            format!("{{\"from\":{},\"to\":{},\"lines\":[", self.from.as_second(), self.to.as_second());
        for (number, line) in self.lines.iter().enumerate() {
            let name = serde_json::to_string(&line.name).unwrap_or_default();
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(out, "{comma}{{\"name\":{name},\"place\":{},\"points\":[", line.place);
            for (number, (at, value)) in line.points.iter().enumerate() {
                let comma = if number == 0 { "" } else { "," };
                let words = serde_json::to_string(&(self.format)(*value)).unwrap_or_default();
                let _ = write!(out, "{comma}[{at:.0},{words}]");
            }
            out.push_str("]}");
        }
        out.push_str("],\"moments\":[");
        for (number, moment) in self.moments.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let words = serde_json::to_string(&moment.words).unwrap_or_default();
            let _ = write!(out, "{comma}[{},{words}]", moment.at.as_second());
        }
        out.push_str("]}");
        out
    }

    /// Midnight, in the reader's zone, before the chart begins: ticks stand on round times from there.
    fn origin(&self) -> f64 {
        let start = self.from.to_zoned(self.zone.clone()).start_of_day();
        start.map_or(self.from, |start| start.timestamp()).as_second() as f64
    }

    /// A round value above everything that is drawn.
    fn top(&self) -> f64 {
        let values = self.lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
        let high = values.fold(0.0_f64, f64::max);
        // A wide band must not press the lines down to the axis: it ends where the chart does.
        let high = self.band.map_or(high, |(_, band)| band.min(high * BAND_ROOM).max(high));
        if high <= 0.0 {
            return 1.0;
        }
        let high = high * 1.04;
        // Bytes are round in powers of two.
        if high >= 4096.0 && (self.format)(1_048_576.0).contains("iB") {
            let power = 2_f64.powf(high.log2().floor());
            return [1.0, 1.25, 1.5, 1.75, 2.0]
                .map(|f| f * power)
                .into_iter()
                .find(|t| *t >= high)
                .unwrap_or(high);
        }
        let power = 10_f64.powf(high.log10().floor());
        [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0]
            .map(|f| f * power)
            .into_iter()
            .find(|top| *top >= high)
            .unwrap_or(high)
    }
}

fn drawn(line: &TimeLine, points: &[(f64, f64)], origin: f64) -> LinePlot {
    let plot = LinePlot::new().with_data(points.iter().map(|(at, value)| (at - origin, *value)));
    let plot = plot.with_color(page_colour(line.place)).with_stroke_width(1.8);
    match line.stroke {
        Stroke::Line => plot,
        Stroke::Area => plot.with_fill().with_fill_opacity(0.16),
        Stroke::Dashed => plot.with_dashed(),
        Stroke::Over => plot.with_stroke_width(0.0),
    }
}

/// What lies between two lines.
fn between(under: &TimeLine, over: &TimeLine, origin: f64) -> BandPlot {
    let pairs = || under.points.iter().zip(&over.points);
    let x = pairs().map(|((at, _), _)| at - origin).collect::<Vec<_>>();
    let low = pairs().map(|((_, low), (_, high))| low.min(*high)).collect::<Vec<_>>();
    let high = pairs().map(|(_, (_, high))| *high).collect::<Vec<_>>();
    BandPlot::new(x, low, high).with_color(page_colour(over.place)).with_opacity(0.24)
}

/// The parts of a line between gaps.
fn segments(points: &[(f64, f64)]) -> impl Iterator<Item = &[(f64, f64)]> {
    let mut steps: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    steps.sort_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(f64::INFINITY);
    let parts = points.chunk_by(move |a, b| b.0 - a.0 <= usual * GAP_FACTOR);
    parts.filter(|part| part.len() > 1)
}

fn step(seconds: f64, width: f64) -> f64 {
    let most = (width / 95.0).max(2.0);
    let fits = |step: &&i64| seconds / **step as f64 <= most;
    STEPS.iter().find(fits).map_or(seconds, |step| *step as f64)
}

fn label(second: i64, zone: &TimeZone, days: bool, seconds: bool) -> String {
    let Ok(at) = Timestamp::from_second(second) else { return String::new() };
    let pattern = match (days, seconds) {
        (true, _) => "%-d %b",
        (_, true) => "%H:%M:%S",
        _ => "%H:%M",
    };
    at.to_zoned(zone.clone()).strftime(pattern).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(zone: &TimeZone) -> TimeChart<'_> {
        let at = |second| Timestamp::from_second(second).expect("an instant");
        let points = (0..60).map(|minute| (f64::from(minute) * 60.0, f64::from(minute % 7)));
        TimeChart {
            title: "a <b>",
            from: at(0),
            to: at(3_600),
            zone,
            format: |value| format!("{value:.1}/s"),
            lines: vec![TimeLine {
                name: "\"load\"".to_owned(),
                place: 0,
                stroke: Stroke::Area,
                points: points.filter(|(at, _)| !(1_000.0..2_000.0).contains(at)).collect(),
            }],
            band: Some((2.0, 4.0)),
            moments: vec![Moment { at: at(1_800), words: "1 -> 2".to_owned() }],
        }
    }

    #[test]
    fn a_chart_is_in_the_reader_s_zone_and_needs_no_style_of_its_own() {
        let zone = TimeZone::get("Asia/Kolkata").expect("a zone");
        let drawn = chart(&zone).svg(Frame { width: 900.0, height: 220.0 });
        assert!(drawn.contains(">05:40<") && !drawn.contains(">00:10<"), "{drawn}");
        assert!(drawn.contains("a &lt;b&gt;") && drawn.contains("var(--s0)"), "{drawn}");
        assert!(
            !drawn.contains("<style") && !drawn.contains("style=") && !drawn.contains("<script"),
            "{drawn}"
        );
    }

    #[test]
    fn what_lies_between_two_lines_is_one_area() {
        let zone = TimeZone::UTC;
        let mut chart = chart(&zone);
        chart.band = None;
        let high = chart.lines[0].points.iter().map(|(at, value)| (*at, value + 3.0)).collect();
        let plain = chart.svg(Frame { width: 900.0, height: 220.0 });
        chart.lines.push(TimeLine { name: "waste".to_owned(), place: 1, stroke: Stroke::Over, points: high });
        let drawn = chart.svg(Frame { width: 900.0, height: 220.0 });
        assert!(drawn.contains("var(--s1)") && !plain.contains("var(--s1)"), "{drawn}");
        assert!(chart.figures().contains("waste"));
    }

    #[test]
    fn what_is_pointed_at_is_told_and_gaps_are_no_lines() {
        let zone = TimeZone::UTC;
        let chart = chart(&zone);
        let figures: serde_json::Value = serde_json::from_str(&chart.figures()).expect("JSON");
        assert_eq!(figures["lines"][0]["name"], "\"load\"");
        assert_eq!(figures["lines"][0]["points"][1], serde_json::json!([60, "1.0/s"]));
        assert_eq!(figures["moments"][0][1], "1 -> 2");
        assert_eq!(segments(&chart.lines[0].points).count(), 2);
        assert!(chart.has_points());
    }
}
