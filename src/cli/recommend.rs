//! `loadline recommend`: the sizes that tasks should have, the largest saving first. Not here: one workload
//! with its usage drawn (`recommend_explain`).

use clap::Args;
use comfy_table::{Cell, Color, Table};

use crate::api::client::Client;
use crate::api::dto::{RecommendationDto, SizeDto};
use crate::cli::output::{
    DIM, Output, cores, line_width, memory, paint, plain, say, say_json, say_table, table, wrapped,
};
use crate::cli::recommend_acts::{self, ActArgs};
use crate::cli::recommend_explain::{self, PARTS_MAX, PARTS_MIN};
use crate::domain::advice::{Confidence, risk_words};

/// Reasons of a workload that are shown.
const REASONS_MAX: usize = 3;
/// From so many characters on there is room for all columns.
const WIDE: usize = 110;
/// What stands where there is nothing to say.
const ABSENT: &str = "-";

/// `loadline recommend`
#[derive(Debug, Args)]
pub(super) struct RecommendArgs {
    /// These workloads only.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Draw the usage of one workload, and what other sizes would cost and risk.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,
    /// Hours of usage that are drawn.
    #[arg(long, default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..=744), requires = "explain")]
    hours: u32,
    /// List advice that was dismissed, in place of what was not.
    #[arg(long, conflicts_with = "explain")]
    dismissed: bool,
    #[command(flatten)]
    act: ActArgs,
}

pub(super) async fn run(client: &Client, output: Output, args: RecommendArgs) -> anyhow::Result<()> {
    if let Some(act) = args.act.asked()? {
        return recommend_acts::run(client, output, &args.names, act).await;
    }
    if let Some(explained) = args.explain {
        let name = Some(explained).filter(|name| !name.is_empty()).or(args.names.into_iter().next());
        let Some(name) = name else {
            anyhow::bail!("--explain needs the name of a workload: `loadline recommend NAME --explain`");
        };
        let width = line_width();
        // A character of the chart is two dots wide.
        let parts = u32::try_from(2 * width).unwrap_or(PARTS_MAX).clamp(PARTS_MIN, PARTS_MAX);
        let found = client.explanation(&name, args.hours, parts).await?;
        return match output {
            Output::Json => say_json(&found),
            Output::Table => recommend_explain::say_explanation(&found, width),
        };
    }
    let mut hidden = 0;
    let mut rows = client.recommendations().await?;
    if let Some(name) = args.names.iter().find(|name| rows.iter().all(|row| row.workload != **name)) {
        anyhow::bail!("there is no workload named `{name}`");
    }
    if !args.names.is_empty() {
        rows.retain(|row| args.names.contains(&row.workload));
    }
    // Who asks for a workload, or for JSON, gets it whatever was made of its advice.
    if args.dismissed || (args.names.is_empty() && output == Output::Table) {
        hidden = rows.iter().filter(|row| row.dismissed.is_some()).count();
        rows.retain(|row| row.dismissed.is_some() == args.dismissed);
    }
    // What has no recommendation comes last; equal savings by name, as they came.
    rows.sort_by(|a, b| {
        let key = |row: &RecommendationDto| (row.recommended.is_none(), row.price_per_month);
        key(a).0.cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1))
    });
    if output == Output::Json {
        return say_json(&rows);
    }
    if rows.is_empty() {
        let nothing = match (args.dismissed, hidden) {
            (true, _) => "no advice is dismissed".to_owned(),
            (false, 0) => "there are no workloads".to_owned(),
            (false, hidden) => format!("all advice is dismissed, of {hidden}: `--dismissed` lists it"),
        };
        return Ok(say(&nothing)?);
    }
    let width = line_width();
    say_table(&sizes(&rows, width))?;
    say("")?;
    for row in &rows {
        for line in notes(row, width) {
            say(&line)?;
        }
    }
    say("")?;
    if hidden > 0 && !args.dismissed {
        say(&format!("Dismissed: {hidden}; `loadline recommend --dismissed` lists them."))?;
    }
    Ok(say(&total(&rows))?)
}

/// A row a workload, CPU over memory. What there is no room for is told in the notes alone.
fn sizes(rows: &[RecommendationDto], width: usize) -> Table {
    let mut header = vec!["workload", "now", "recommended", "OOM kills", "saves/month", "confidence"];
    if width >= WIDE {
        header.extend(["bounds", "mode"]);
    }
    let mut lines = table(&header);
    lines.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    let request = |size: &SizeDto| format!("{} cores\n{}", cores(size.cpu_request), with_limit(size));
    for row in rows {
        let risk = || {
            let words = |risk| format!("{}\n{risk:.4} a task-day", risk_words(risk));
            row.risk.map_or_else(|| "not known".to_owned(), words)
        };
        let mut cells = vec![Cell::new(&row.workload), Cell::new(request(&row.current))];
        match &row.recommended {
            Some(then) => {
                cells.extend([request(then), risk(), price(-row.price_per_month)].map(Cell::new));
                cells.push(confidence_cell(row.confidence));
            }
            None => cells.extend(["nothing", ABSENT, ABSENT, ABSENT].map(Cell::new)),
        }
        if width >= WIDE {
            cells.push(Cell::new(bounds(row).map_or_else(|| ABSENT.to_owned(), |bounds| bounds.join("\n"))));
            cells.push(Cell::new(&row.mode));
        }
        lines.add_row(cells);
    }
    lines
}

/// The bounds of CPU and of memory.
fn bounds(row: &RecommendationDto) -> Option<[String; 2]> {
    let (low, high) = (row.lower?, row.upper?);
    let cpu = format!("{} to {} cores", cores(low.0), cores(high.0));
    Some([cpu, format!("{} to {}", memory(low.1), memory(high.1))])
}

/// The request, and the limit where it is another.
fn with_limit(size: &SizeDto) -> String {
    if size.memory_limit == size.memory_request {
        return memory(size.memory_request);
    }
    format!("{} (limit {})", memory(size.memory_request), memory(size.memory_limit))
}

fn confidence_cell(confidence: Option<Confidence>) -> Cell {
    let Some(confidence) = confidence else { return Cell::new(ABSENT) };
    let colour = match confidence {
        Confidence::High => Color::DarkGreen,
        Confidence::Fair => Color::DarkYellow,
        Confidence::Low => Color::DarkRed,
    };
    Cell::new(confidence).fg(colour)
}

/// Why, what it rests on, and what the usage shows besides.
pub(super) fn notes(row: &RecommendationDto, width: usize) -> Vec<String> {
    let mut lines = vec![row.workload.clone()];
    let mut note = |label: &str, text: &str| {
        let label = format!("  {label:10}");
        let text = plain(text);
        for (number, line) in
            wrapped(&text, width.saturating_sub(label.len()).max(20)).into_iter().enumerate()
        {
            let lead = if number == 0 { paint(DIM, &label) } else { " ".repeat(label.len()) };
            lines.push(format!("{lead}{line}"));
        }
    };
    if row.recommended.is_none() {
        note("nothing", &format!("recommended: {}", row.reason));
        return lines;
    }
    if row.reasons.is_empty() {
        note("because", &row.reason);
    }
    for (number, reason) in row.reasons.iter().take(REASONS_MAX).enumerate() {
        note(if number == 0 { "because" } else { "" }, reason);
    }
    if let Some(bounds) = bounds(row).filter(|_| width < WIDE) {
        note("bounds", &bounds.join(", "));
    }
    note("rests on", &row.grounds);
    for text in recommend_acts::words(row) {
        note("by hand", &text);
    }
    for found in &row.findings {
        note("shows", &found.words);
        note("", &format!("-> {}", found.advice));
    }
    lines
}

/// An amount of money; small ones with the digits that matter.
pub(super) fn price(amount: f64) -> String {
    if amount != 0.0 && amount.abs() < 0.1 { format!("{amount:.4}") } else { format!("{amount:.2}") }
}

fn total(rows: &[RecommendationDto]) -> String {
    let advised = || rows.iter().filter(|row| row.recommended.is_some());
    let sum = |rows: &mut dyn Iterator<Item = f64>| rows.sum::<f64>() + 0.0;
    let saved = sum(&mut advised().map(|row| (-row.price_per_month).max(0.0)));
    let added = sum(&mut advised().map(|row| row.price_per_month.max(0.0)));
    let smaller = advised().filter(|row| row.price_per_month < 0.0).count();
    let larger = advised().filter(|row| row.price_per_month > 0.0).count();
    format!(
        "Together {} a month saved: {} by {smaller} smaller, less {} for {larger} larger; nothing is recommended for \
         {} of {}.",
        price(saved - added),
        price(saved),
        price(added),
        rows.len() - advised().count(),
        rows.len()
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::dto::{CandidateDto, FindingDto};
    use crate::domain::recommendation::Finding;

    const MIB: u64 = 1 << 20;

    pub(crate) fn row(name: &str, price_per_month: f64) -> RecommendationDto {
        let size = |cpu_request, memory| SizeDto {
            cpu_request,
            memory_request: memory,
            cpu_limit: None,
            memory_limit: memory,
        };
        RecommendationDto {
            workload: name.to_owned(),
            current: size(0.5, 512 * MIB),
            recommended: Some(size(0.2, 300 * MIB)),
            lower: Some((0.1, 200 * MIB)),
            upper: Some((0.3, 400 * MIB)),
            samples: 5000,
            confidence_days: 8.0,
            price_per_month,
            reason: "memory p90".to_owned(),
            mode: "observe".to_owned(),
            instances: 3,
            current_price_per_month: 10.0,
            recommended_price_per_month: Some(10.0 + price_per_month),
            risk: Some(1.0 / 120.0),
            confidence: Some(Confidence::High),
            grounds: "8.0 days of history, 5000 samples, bounds x2.0 apart".to_owned(),
            reasons: ["first", "second", "third", "fourth"].map(str::to_owned).to_vec(),
            candidates: [(250, 0.1), (300, 1.0 / 120.0), (512, 0.0001)]
                .map(|(mib, risk)| CandidateDto {
                    memory: mib * MIB,
                    risk,
                    oom_kills_per_month: risk * 91.25,
                    price_per_month: mib as f64 / 100.0,
                })
                .to_vec(),
            findings: vec![FindingDto {
                words: "memory grows 120.0 MiB a day as long as a task runs".to_owned(),
                advice: "a leak to report, not a size to chase".to_owned(),
                finding: Finding::Leak { bytes_per_day: 120.0 * MIB as f64 },
            }],
            dismissed: None,
            scheduled: None,
        }
    }

    #[test]
    fn a_row_says_what_to_do() {
        let text = sizes(&[row("web", -4.0)], 160).trim_fmt();
        for part in [
            "0.500 cores",
            "512.0 MiB",
            "0.200 cores",
            "300.0 MiB",
            "200.0 MiB to 400.0 MiB",
            "1 OOM kill in 120 task-days",
            "0.0083 a task-day",
            "4.00",
            "high",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let narrow = anstream::adapter::strip_str(&sizes(&[row("web", -4.0)], 80).trim_fmt()).to_string();
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(narrow.contains("512.0 MiB") && !narrow.contains("400.0 MiB"), "{narrow}");
        let notes = notes(&row("web", -4.0), 80).join("\n");
        assert!(notes.contains("200.0 MiB to 400.0 MiB"), "{notes}");
        assert!(notes.contains("third") && !notes.contains("fourth"), "{notes}");
        assert!(notes.contains("-> a leak to report"), "{notes}");
    }

    #[test]
    fn what_is_not_recommended_says_why() {
        let none = RecommendationDto {
            recommended: None,
            reason: "too uncertain: bounds x9 apart".to_owned(),
            ..row("young", 0.0)
        };
        let notes = notes(&none, 80).join("\n");
        assert!(notes.contains("recommended: too uncertain") && !notes.contains("rests on"), "{notes}");
        assert!(total(&[none, row("web", -4.0), row("db", 1.5)]).starts_with(
            "Together 2.50 a month saved: 4.00 by 1 smaller, less 1.50 for 1 larger; nothing is recommended for 1 of 3."
        ));
    }

    #[test]
    fn lines_keep_to_the_width() {
        for width in [60, 80, 160] {
            for line in notes(&row("web", -4.0), width) {
                assert!(
                    anstream::adapter::strip_str(&line).to_string().chars().count() <= width,
                    "{width}: {line}"
                );
            }
        }
    }
}
