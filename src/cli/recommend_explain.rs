//! `loadline recommend --explain`: one recommendation with its usage drawn.
//!
//! In: an explanation, a width. Out: lines: charts of memory and CPU with the sizes now and recommended, what
//! other sizes would risk and cost, the newest decisions.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Color;
use ratatui_core::symbols::Marker;
use ratatui_core::widgets::Widget;
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType};

use crate::api::dto::{ExplanationDto, RecommendationDto, UsagePartDto};
use crate::cli::output::{cores, memory, or_dash, paint, say, say_table, table, time};
use crate::cli::recommend::{notes, price};

/// Parts of usage that are asked for.
pub(super) const PARTS_MIN: u32 = 40;
pub(super) const PARTS_MAX: u32 = 1_000;
/// Lines of the charts.
const MEMORY_HEIGHT: u16 = 16;
const CPU_HEIGHT: u16 = 10;
/// A chart that is wider is no clearer; one that is narrower is none.
const WIDTH_MAX: usize = 240;
const WIDTH_MIN: usize = 40;
/// Decisions that are shown.
const DECISIONS: usize = 3;

/// What stands for what in a chart.
const NOW: (char, Color, AnsiColor) = ('─', Color::Yellow, AnsiColor::Yellow);
const THEN: (char, Color, AnsiColor) = ('═', Color::Green, AnsiColor::Green);
const MEAN: (char, Color, AnsiColor) = ('·', Color::Blue, AnsiColor::Blue);
const HIGHEST: (char, Color, AnsiColor) = ('⡇', Color::Cyan, AnsiColor::Cyan);

/// Prints the explanation.
pub(super) fn say_explanation(found: &ExplanationDto, width: usize) -> anyhow::Result<()> {
    let row = &found.recommendation;
    for line in notes(row, width) {
        say(&line)?;
    }
    say("")?;
    if found.usage.is_empty() {
        say(&format!("No usage was recorded from {} to {}.", time(found.from), time(found.to)))?;
    } else {
        for line in charts(found, width) {
            say(&line)?;
        }
    }
    say("")?;
    say_table(&candidates(row))?;
    if row.candidates.is_empty() {
        say("The estimator in use tells no risk of other sizes.")?;
    }
    if !found.decisions.is_empty() {
        say("")?;
        say_table(decisions(found).set_width(u16::try_from(width).unwrap_or(u16::MAX)))?;
    }
    Ok(())
}

/// Memory against its limit, CPU against its request.
fn charts(found: &ExplanationDto, width: usize) -> Vec<String> {
    let row = &found.recommendation;
    let memory_chart = Curves {
        title: "memory of a task, and its limit",
        highest: points(found, |part| Some(part.memory_max as f64)),
        mean: points(found, |part| Some(part.memory_mean as f64)),
        now: row.current.memory_limit as f64,
        then: row.recommended.as_ref().map(|size| size.memory_limit as f64),
        show: |amount| memory(amount as u64),
    };
    let cpu_chart = Curves {
        title: "CPU of a task in cores, and its request",
        highest: points(found, |part| part.cpu_max),
        mean: points(found, |part| part.cpu_mean),
        now: row.current.cpu_request,
        then: row.recommended.as_ref().map(|size| size.cpu_request),
        show: cores,
    };
    let span = (found.from, found.to, found.part_seconds);
    let mut lines = memory_chart.lines(span, width, MEMORY_HEIGHT);
    lines.push(String::new());
    lines.extend(cpu_chart.lines(span, width, CPU_HEIGHT));
    lines
}

/// Middle of each part in seconds from the beginning, and its amount.
fn points(found: &ExplanationDto, of: impl Fn(&UsagePartDto) -> Option<f64>) -> Vec<(f64, f64)> {
    let middle = found.part_seconds as f64 / 2.0;
    let at = |part: &UsagePartDto| part.at.duration_since(found.from).as_secs_f64() + middle;
    found.usage.iter().filter_map(|part| Some((at(part), of(part)?))).collect()
}

/// What one chart draws.
struct Curves {
    title: &'static str,
    highest: Vec<(f64, f64)>,
    mean: Vec<(f64, f64)>,
    now: f64,
    then: Option<f64>,
    show: fn(f64) -> String,
}

impl Curves {
    fn lines(&self, (from, to, part): (Timestamp, Timestamp, u64), width: usize, height: u16) -> Vec<String> {
        let seconds = to.duration_since(from).as_secs_f64();
        let top =
            self.highest.iter().map(|point| point.1).chain([self.now]).chain(self.then).fold(0.0, f64::max);
        let top = if top > 0.0 { top * 1.05 } else { 1.0 };
        let level = |amount: f64| [(0.0, amount), (seconds, amount)];
        let (now, then) = (level(self.now), self.then.map(level));
        let mut sets = Vec::new();
        for run in runs(&self.mean, part) {
            sets.push(curve(run, Marker::Custom(MEAN.0), MEAN.1));
        }
        // Later sets cover earlier ones: where all are one, the highest is what a limit is set against.
        for run in runs(&self.highest, part) {
            sets.push(curve(run, Marker::Braille, HIGHEST.1));
        }
        sets.push(curve(&now, Marker::Custom(NOW.0), NOW.1));
        if let Some(then) = &then {
            sets.push(curve(then, Marker::Custom(THEN.0), THEN.1));
        }
        let half = from + to.duration_since(from) / 2;
        let chart = Chart::new(sets)
            .legend_position(None)
            .x_axis(Axis::default().bounds([0.0, seconds]).labels([from, half, to].map(hour)))
            .y_axis(Axis::default().bounds([0.0, top]).labels([0.0, top / 2.0, top].map(self.show)));
        let width = width.clamp(WIDTH_MIN, WIDTH_MAX) as u16;
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        chart.render(area, &mut buffer);
        let mut lines = vec![self.title.to_owned()];
        lines.extend(rows(&buffer));
        lines.extend(self.legend(width.into()));
        lines
    }

    /// What stands for what, in as few lines as there is room for.
    fn legend(&self, width: usize) -> Vec<String> {
        let mut marks = vec![
            (HIGHEST, "highest".to_owned()),
            (MEAN, "mean".to_owned()),
            (NOW, format!("now {}", (self.show)(self.now))),
        ];
        if let Some(then) = self.then {
            marks.push((THEN, format!("recommended {}", (self.show)(then))));
        }
        let (mut lines, mut used) = (vec![String::new()], 0);
        for ((mark, _, colour), text) in marks {
            let length = text.chars().count() + 5;
            if used > 0 && used + length > width {
                lines.push(String::new());
                used = 0;
            }
            used += length;
            let mark = paint(Style::new().fg_color(Some(colour.into())), &mark.to_string());
            if let Some(line) = lines.last_mut() {
                line.extend(["   ", &mark, " ", &text]);
            }
        }
        lines
    }
}

fn curve(points: &[(f64, f64)], marker: Marker, colour: Color) -> Dataset<'_> {
    Dataset::default().data(points).marker(marker).graph_type(GraphType::Line).style(colour)
}

/// Points without a gap between them: nothing is drawn where nothing was measured.
fn runs(points: &[(f64, f64)], part: u64) -> impl Iterator<Item = &[(f64, f64)]> {
    points.chunk_by(move |a, b| b.0 - a.0 < 1.5 * part as f64)
}

fn hour(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%b %d %H:%M").to_string()
}

/// A drawn chart as lines, in colour.
fn rows(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area().width).max(1);
    let line = |cells: &[ratatui_core::buffer::Cell]| {
        let mut line = String::new();
        for run in cells.chunk_by(|a, b| a.fg == b.fg) {
            let text: String = run.iter().map(ratatui_core::buffer::Cell::symbol).collect();
            line.push_str(&match colour(run[0].fg) {
                Some(colour) => paint(Style::new().fg_color(Some(colour.into())), &text),
                None => text,
            });
        }
        line.trim_end().to_owned()
    };
    buffer.content().chunks(width).map(line).collect()
}

fn colour(colour: Color) -> Option<AnsiColor> {
    [NOW, THEN, MEAN, HIGHEST].into_iter().find(|(_, drawn, _)| *drawn == colour).map(|(.., shown)| shown)
}

/// Sizes with what is expected of them, ascending; the ones in question are marked.
fn candidates(row: &RecommendationDto) -> Table {
    let mut sizes: Vec<Size> = row
        .candidates
        .iter()
        .map(|found| Size {
            memory: found.memory,
            kills: Some(found.oom_kills_per_month),
            price: Some(found.price_per_month),
            marks: Vec::new(),
        })
        .collect();
    mark(&mut sizes, row.current.memory_request, "now", None, row.current_price_per_month);
    if let (Some(then), Some(price)) = (&row.recommended, row.recommended_price_per_month) {
        let kills =
            row.risk.map(|risk| crate::domain::advice::kills_per_month(risk, f64::from(row.instances)));
        mark(&mut sizes, then.memory_request, "recommended", kills, price);
    }
    sizes.sort_by_key(|size| size.memory);
    let mut lines = table(&["memory", "OOM kills/month", "price/month", ""]);
    for size in &sizes {
        lines.add_row(vec![
            memory(size.memory),
            or_dash(size.kills, kills_words),
            or_dash(size.price, price),
            size.marks.join(", "),
        ]);
    }
    for column in lines.column_iter_mut().take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    lines
}

/// A row of the candidates.
struct Size {
    memory: u64,
    kills: Option<f64>,
    price: Option<f64>,
    marks: Vec<&'static str>,
}

/// Marks the row of a size; one that is no candidate gets a row. A price beside the mark is that of the size
/// with its own CPU.
fn mark(sizes: &mut Vec<Size>, memory: u64, mark: &'static str, kills: Option<f64>, price: f64) {
    match sizes.iter_mut().find(|size| size.memory == memory) {
        Some(size) => {
            size.marks.push(mark);
            size.kills = size.kills.or(kills);
        }
        None => sizes.push(Size { memory, kills, price: Some(price), marks: vec![mark] }),
    }
}

fn kills_words(kills: f64) -> String {
    match kills {
        none if none < 0.001 => "< 0.001".to_owned(),
        few if few < 1.0 => format!("{few:.3}"),
        many => format!("{many:.1}"),
    }
}

fn decisions(found: &ExplanationDto) -> Table {
    let mut lines = table(&["id", "at", "decision", "outcome"]);
    for decision in found.decisions.iter().take(DECISIONS) {
        lines.add_row(vec![
            decision.id.to_string(),
            time(decision.at),
            decision.proposal.kind.to_string(),
            decision.outcome.to_string(),
        ]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use jiff::SignedDuration;

    use super::*;
    use crate::cli::recommend::tests::row;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    /// A week, an hour a part; nothing on the third day.
    fn explanation() -> ExplanationDto {
        let part = |hour: i64| UsagePartDto {
            at: at(hour),
            samples: 12,
            cpu_mean: Some(0.1),
            cpu_max: Some(0.2 + 0.1 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin()),
            memory_mean: 200 << 20,
            memory_max: (250 + (hour % 24).unsigned_abs()) << 20,
        };
        ExplanationDto {
            recommendation: row("web", -4.0),
            from: at(0),
            to: at(168),
            part_seconds: 3600,
            usage: (0..168).filter(|hour| hour / 24 != 2).map(part).collect(),
            decisions: Vec::new(),
        }
    }

    #[test]
    fn charts_keep_to_the_width_and_show_both_limits() {
        for width in [60, 80, 160] {
            let lines: Vec<String> =
                charts(&explanation(), width).iter().map(|line| strip_str(line).to_string()).collect();
            for line in &lines {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            let text = lines.join("\n");
            assert!(text.contains("now 512.0 MiB") && text.contains("recommended 300.0 MiB"), "{text}");
            // Each line goes all the way: nearly as many marks as the chart is wide.
            for mark in [NOW.0, THEN.0] {
                let longest = lines.iter().map(|line| line.chars().filter(|c| *c == mark).count()).max();
                assert!(
                    longest.is_some_and(|longest| longest >= width - 20),
                    "{width} {mark}: {longest:?}\n{text}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_drawn_where_nothing_was_measured() {
        let found = explanation();
        let highest = points(&found, |part| Some(part.memory_max as f64));
        let runs: Vec<usize> = runs(&highest, found.part_seconds).map(<[_]>::len).collect();
        assert_eq!(runs, [48, 96]);
    }

    #[test]
    fn candidates_are_marked_where_they_are_in_question() {
        let text = candidates(&row("web", -4.0)).trim_fmt();
        let line =
            |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
        assert!(line("300.0 MiB").contains("0.760") && line("300.0 MiB").ends_with("recommended"), "{text}");
        assert!(line("512.0 MiB").ends_with("now") && line("250.0 MiB").contains("9.1"), "{text}");
        let bare = RecommendationDto { candidates: Vec::new(), risk: None, ..row("web", -4.0) };
        let text = candidates(&bare).trim_fmt();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains('-'), "{text}");
    }
}
