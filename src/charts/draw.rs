//! A chart of curves: points that belong together as a line, one of them marked. Not here: what the points
//! mean.
//!
//! Colours are variables of the page's style sheet (`--s0` for the first curve and so on), so that one SVG
//! serves light and dark pages and a curve's elements are found by its colour; a picture that stands
//! alone gets them as fixed colours.

use kuva::backend::svg::SvgBackend;
use kuva::plot::legend::LegendPosition;
use kuva::plot::scatter::MarkerShape;
use kuva::plot::{LinePlot, ScatterPlot};
use kuva::render::layout::{Layout, TickFormat};
use kuva::render::plots::Plot;
use kuva::render::render::{Scene, render_multiple};
use kuva::render::theme::Theme;

/// Colours of curves on white; `page` has their counterparts on black.
pub const COLOURS: [&str; 10] = [
    "#0b62c4", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0e7490", "#a16207", "#be185d", "#4d7c0f",
    "#475569",
];

/// Marks tell curves apart where colours do not.
const MARKERS: [MarkerShape; 5] = [
    MarkerShape::Circle,
    MarkerShape::Square,
    MarkerShape::Triangle,
    MarkerShape::TriangleDown,
    MarkerShape::Cross,
];

/// A point of a curve, in the units of the axes, with what is shown of it when it is pointed at.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// On the horizontal axis, above 0.
    pub x: f64,
    /// On the vertical axis, above 0.
    pub y: f64,
    /// In words.
    pub words: String,
}

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its colour and its marks: the same number in each chart of a page.
    pub place: usize,
    /// Its points, in the order in which the line goes through them.
    pub marks: Vec<Mark>,
    /// The point that was asked for; it need not lie on the line.
    pub asked: Option<Mark>,
}

/// Curves over a logarithmic horizontal axis, or courses over the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The horizontal axis.
    pub x: String,
    /// The vertical axis.
    pub y: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// Width and height in the units of the SVG, where text has 12 or so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Frame {
    /// For screens of a desk.
    pub const WIDE: Self = Self { width: 960.0, height: 500.0 };
    /// For screens in a hand.
    pub const NARROW: Self = Self { width: 340.0, height: 360.0 };
}

impl Chart {
    /// Whether there is a point to show.
    pub fn has_points(&self) -> bool {
        self.marks().next().is_some()
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.series.iter().flat_map(|series| series.marks.iter().chain(&series.asked))
    }

    fn range(&self, of: fn(&Mark) -> f64) -> (f64, f64) {
        let (low, high) = self
            .marks()
            .fold((f64::INFINITY, 0.0_f64), |(low, high), mark| (low.min(of(mark)), high.max(of(mark))));
        if low <= high { (low, high) } else { (0.1, 10.0) }
    }
}

/// The SVG of a chart for a page: without title and legend, which the page has, in the page's colours.
pub fn svg_for_page(chart: &Chart, frame: Frame) -> String {
    in_page(&scene(chart, frame, (page_theme(), &page_colour), None), &chart.title)
}

/// The same for a page whose policy forbids styles within it: what is shown of a point when it is pointed at is
/// there, how that looks is the page's.
pub fn svg_for_strict_page(chart: &Chart, frame: Frame) -> String {
    let mut drawn = scene(chart, frame, (page_theme(), &page_colour), None);
    // All that this brings is a style.
    drawn.has_tooltips = false;
    in_page(&drawn, &chart.title)
}

/// Colours of the page that a picture stands in.
pub(super) fn page_theme() -> Theme {
    Theme {
        background: "none".to_owned(),
        axis_color: "var(--axis)".to_owned(),
        grid_color: "var(--grid)".to_owned(),
        tick_color: "var(--axis)".to_owned(),
        text_color: "var(--text)".to_owned(),
        font_family: Some("inherit".to_owned()),
        ..Theme::light()
    }
}

pub(super) fn page_colour(place: usize) -> String {
    format!("var(--s{})", place % COLOURS.len())
}

fn in_page(scene: &Scene, title: &str) -> String {
    let (width, height) = (scene.width, scene.height);
    // Its own size is fixed; the one around it fits the page.
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">{}</svg>",
        escaped(title),
        SvgBackend::new().render_scene(scene)
    )
}

/// The SVG of courses for a page: lines over an axis that both begin at 0.
pub fn course_for_page(chart: &Chart, frame: Frame) -> String {
    let lines = |series: &Series| {
        let line = LinePlot::new().with_data(series.marks.iter().map(|mark| (mark.x, mark.y)));
        Plot::Line(line.with_color(page_colour(series.place)).with_stroke_width(1.8))
    };
    let plots: Vec<Plot> = chart.series.iter().filter(|series| series.marks.len() > 1).map(lines).collect();
    let narrow = frame.width < 500.0;
    let ((_, right), (_, top)) = (chart.range(|mark| mark.x), chart.range(|mark| mark.y));
    let layout = Layout::auto_from_plots(&plots)
        .with_width(frame.width)
        .with_height(frame.height)
        .with_theme(page_theme())
        .with_x_axis_min(0.0)
        .with_x_axis_max(right)
        .with_y_axis_min(0.0)
        .with_y_axis_max(top * 1.05)
        .with_x_label(&chart.x)
        .with_y_label(&chart.y)
        .with_label_size(if narrow { 11 } else { 13 })
        .with_tick_size(if narrow { 10 } else { 12 });
    in_page(&render_multiple(plots, layout), &chart.title)
}

/// The SVG of a chart that stands alone, with title and legend on white; none where there is no point.
pub fn svg(chart: &Chart) -> Option<String> {
    chart.has_points().then(|| SvgBackend::new().render_scene(&alone(chart)))
}

fn alone(chart: &Chart) -> Scene {
    let theme = Theme { font_family: Some("DejaVu Sans, sans-serif".to_owned()), ..Theme::light() };
    let colour = |place: usize| COLOURS[place % COLOURS.len()].to_owned();
    let frame = Frame { width: 1100.0, height: 600.0 };
    scene(chart, frame, (theme, &colour), Some(&chart.title))
}

fn scene(
    chart: &Chart,
    frame: Frame,
    (theme, colour): (Theme, &dyn Fn(usize) -> String),
    title: Option<&str>,
) -> Scene {
    let mut plots = Vec::new();
    for series in &chart.series {
        let name = title.is_some().then_some(series.name.as_str());
        plots.extend(plots_of(series, &colour(series.place), name));
    }
    let (left, right) = chart.range(|mark| mark.x);
    let (bottom, top) = chart.range(|mark| mark.y);
    let narrow = frame.width < 500.0;
    let mut layout = Layout::auto_from_plots(&plots)
        .with_width(frame.width)
        .with_height(frame.height)
        .with_theme(theme)
        .with_log_x()
        .with_x_axis_min(left / 1.3)
        .with_x_axis_max(right * 1.3)
        .with_x_tick_format(TickFormat::Custom(std::sync::Arc::new(plain)))
        .with_x_label(&chart.x)
        .with_y_label(&chart.y)
        .with_label_size(if narrow { 11 } else { 13 })
        .with_tick_size(if narrow { 10 } else { 12 });
    // Over a wide range, factors count; over a small one a logarithmic axis would have hardly a tick.
    if top > 4.0 * bottom {
        layout = layout
            .with_log_y()
            .with_y_axis_min(round_down(bottom / 1.02))
            .with_y_axis_max(round_up(top * 1.02))
            .with_y_tick_format(TickFormat::Custom(std::sync::Arc::new(plain)));
    } else {
        let room = (top - bottom).max(0.05 * top) * 0.06;
        layout = layout.with_y_axis_min(bottom - room).with_y_axis_max(top + room);
    }
    if let Some(title) = title {
        layout = layout
            .with_title(title)
            .with_title_size(15)
            .with_legend_position(LegendPosition::OutsideRightTop);
    }
    render_multiple(plots, layout)
}

/// A curve as a line, its points, and a ring around the point that was asked for.
fn plots_of(series: &Series, colour: &str, name: Option<&str>) -> Vec<Plot> {
    let mut plots = Vec::new();
    if series.marks.len() > 1 {
        let line = LinePlot::new().with_data(series.marks.iter().map(|mark| (mark.x, mark.y)));
        plots.push(Plot::Line(line.with_color(colour).with_stroke_width(1.8)));
    }
    let dots = |marks: &[Mark], size: f64| {
        ScatterPlot::new()
            .with_data(marks.iter().map(|mark| (mark.x, mark.y)))
            .with_color(colour)
            .with_marker(MARKERS[series.place % MARKERS.len()])
            .with_size(size)
            .with_tooltip_labels(marks.iter().map(|mark| mark.words.clone()))
    };
    let named = |dots: ScatterPlot| match name {
        Some(name) => dots.with_legend(name),
        None => dots,
    };
    if !series.marks.is_empty() {
        plots.push(Plot::Scatter(named(dots(&series.marks, 3.0))));
    }
    if let Some(asked) = &series.asked {
        let ring = dots(std::slice::from_ref(asked), 7.5).with_marker(MarkerShape::Circle);
        let asked = ring.with_marker_opacity(0.35).with_marker_stroke_width(2.0);
        plots.push(Plot::Scatter(if series.marks.is_empty() { named(asked) } else { asked }));
    }
    plots
}

/// 1, 2 and 5 times the power of ten under a value, and the next power.
fn steps(value: f64) -> [f64; 4] {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * power)
}

fn round_down(value: f64) -> f64 {
    steps(value).into_iter().rev().find(|step| *step <= value).unwrap_or(value)
}

fn round_up(value: f64) -> f64 {
    steps(value).into_iter().find(|step| *step >= value).unwrap_or(value)
}

/// A tick without noise: `0.001`, `5`, `1e-5`.
fn plain(value: f64) -> String {
    if (1e-4..1e6).contains(&value) {
        format!("{}", (value * 1e6).round() / 1e6)
    } else {
        format!("{value:.0e}")
    }
}

/// Text as it may stand in HTML and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(y: &[f64]) -> Chart {
        let mark =
            |(place, y): (usize, &f64)| Mark { x: 0.01 * (place + 1) as f64, y: *y, words: format!("<{y}>") };
        let marks: Vec<Mark> = y.iter().enumerate().map(mark).collect();
        let asked = marks.first().cloned();
        let series = Series { name: "a & b".to_owned(), place: 0, marks, asked };
        Chart { title: "t".to_owned(), x: "rate".to_owned(), y: "cost".to_owned(), series: vec![series] }
    }

    #[test]
    fn every_point_is_there_and_says_what_it_is() {
        let drawn = svg_for_page(&chart(&[3.0, 2.0, 1.5]), Frame::WIDE);
        assert_eq!(drawn.matches("class=\"tt\"").count(), 4, "{drawn}");
        assert!(drawn.contains("<title>&lt;1.5&gt;</title>"), "{drawn}");
        let strict = svg_for_strict_page(&chart(&[3.0, 2.0, 1.5]), Frame::WIDE);
        assert!(strict.contains("<title>&lt;1.5&gt;</title>") && !strict.contains("style"), "{strict}");
        assert!(drawn.contains("var(--s0)") && !drawn.contains("<script"), "{drawn}");
    }

    #[test]
    fn a_picture_alone_has_title_legend_and_fixed_colours() {
        let drawn = svg(&chart(&[30.0, 2.0, 1.5])).expect("a picture");
        assert!(
            drawn.contains("a &amp; b") && drawn.contains(COLOURS[0]) && !drawn.contains("var(--"),
            "{drawn}"
        );
    }

    #[test]
    fn a_chart_without_points_is_no_fault() {
        let none = chart(&[]);
        assert!(!none.has_points());
        assert_eq!(svg(&none), None);
    }

    #[test]
    fn bounds_of_a_logarithmic_axis_are_round() {
        assert_eq!([1.3, 2.0, 7.0].map(round_down).map(plain), ["1", "2", "5"]);
        assert_eq!([1.3, 2.0, 7.0].map(round_up).map(plain), ["2", "2", "10"]);
        assert_eq!([0.001, 2.0, 0.000_002].map(plain), ["0.001", "2", "2e-6"]);
    }
}
