//! Charts of pages: what the API tells over time, drawn for wide and for narrow screens, with the figures
//! beside it for the script that tells what is pointed at.

use maud::{Markup, PreEscaped, html};

use crate::charts::draw::Frame;
use crate::charts::time::{MARGINS, Stroke, TimeChart};
use crate::web::frame::json_link;

const WIDE: Frame = Frame { width: 760.0, height: 230.0 };
const NARROW: Frame = Frame { width: 340.0, height: 210.0 };

/// A chart with title and legend. `empty` says why there is none.
pub(super) fn chart(id: &str, chart: &TimeChart<'_>, note: &str, json: &str, empty: &str) -> Markup {
    html! {
        figure.chart #(id) data-live {
            figcaption { b { (chart.title) } @if !note.is_empty() { small { (note) } } (json_link(json)) }
            @if chart.has_points() {
                div.legend {
                    @for line in &chart.lines {
                        @let over = if line.stroke == Stroke::Over { " over" } else { "" };
                        span { i class=(format!("c{}{over}", line.place)) {} (line.name) }
                    }
                    @if chart.band.is_some() { span { i.band {} "bounds of the advice" } }
                    @if !chart.moments.is_empty() { span { i.moment {} "decisions" } }
                }
                div.plot data-margins=(margins()) data-figures=(chart.figures()) {
                    div.wide data-frame=(frame(WIDE)) { (PreEscaped(chart.svg(WIDE))) }
                    div.narrow data-frame=(frame(NARROW)) { (PreEscaped(chart.svg(NARROW))) }
                }
            } @else {
                p.nothing { (empty) }
            }
        }
    }
}

fn margins() -> String {
    let (left, right, ..) = MARGINS;
    format!("{left} {right}")
}

fn frame(frame: Frame) -> String {
    format!("{} {}", frame.width, frame.height)
}
