//! A report as tables for people, 100 columns wide. Not here: what it says (`accounting`), its JSON.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table};

use crate::accounting::amount::{Amounts, Figures, Recommended};
use crate::accounting::report::{OwnerRow, Report, ReportRow, Sums};
use crate::domain::money::MicroCents;
use crate::domain::workload::Owner;

/// The width of a report in characters.
const WIDTH: u16 = 100;
/// What stands where there is nothing to say.
const ABSENT: &str = "-";
/// Heights of the course of instances, from few to many.
pub(super) const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The report: a table of workloads, then one of owners with the total in its last row.
pub(super) fn report_table(report: &Report) -> String {
    let window = report.to.duration_since(report.from).as_secs_f64() / 3600.0;
    let head = format!("{} to {} ({window:.2} h)", report.from, report.to);
    if report.rows.is_empty() {
        return format!("{head}\nNo task ran.\n");
    }
    let digits = Digits::of(&report.totals);
    format!(
        "{head}\n\n{}\n\n{}\n\n{NOTES}\n",
        workloads(&report.rows, digits).trim_fmt(),
        owners(report, digits).trim_fmt()
    )
}

/// What the columns mean.
const NOTES: &str = "\
Idle: requested, measured, not used. Overuse: used beyond the request. Unsampled: requested while
nothing was measured. Recommended: what the same task-hours would have requested; in sums, workloads
without a recommendation count as they are. Prices are in the currency of the configured prices.";

/// Decimals of all amounts of a report: one number for a column, so that its parts can be compared, and
/// more of them for small reports, so that a short window shows something.
#[derive(Debug, Clone, Copy)]
struct Digits {
    hours: usize,
    price: usize,
}

impl Digits {
    fn of(totals: &Sums) -> Self {
        let digits = |greatest: f64| match greatest {
            much if much >= 100.0 => 2,
            some if some >= 0.1 => 4,
            _ => 6,
        };
        let Amounts { cpu, memory, price, .. } = totals.amounts;
        let (cpu, memory) = (cpu.requested.core_hours(), memory.requested.gib_hours());
        Self { hours: digits(cpu.max(memory)).min(4), price: digits(price.requested.units()) }
    }

    fn hours(self, amount: f64) -> String {
        format!("{amount:.*}", self.hours)
    }

    fn price(self, amount: MicroCents) -> String {
        format!("{:.*}", self.price, amount.units())
    }
}

fn table(header: &[&str], words: usize) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header.iter().map(Cell::new));
    for (index, column) in table.column_iter_mut().enumerate() {
        if index >= words {
            column.set_cell_alignment(CellAlignment::Right);
        }
        // Only the first column wraps: a number broken over two lines is misread.
        if index > 0 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

fn workloads(rows: &[ReportRow], digits: Digits) -> Table {
    let mut table =
        table(&["WORKLOAD", "", "REQUESTED", "USED", "IDLE", "OVERUSE", "UN-\nSAMPLED", "RECOM-\nMENDED"], 2);
    for row in rows {
        let Sums { amounts, recommended, saving_micro_cents } = row.sums;
        let advised =
            |of: &dyn Fn(&Recommended) -> String| recommended.as_ref().map_or_else(|| ABSENT.to_owned(), of);
        let lines = [
            figures(
                amounts.cpu,
                |cpu| digits.hours(cpu.core_hours()),
                advised(&|r| digits.hours(r.cpu.core_hours())),
            ),
            figures(
                amounts.memory,
                |m| digits.hours(m.gib_hours()),
                advised(&|r| digits.hours(r.memory.gib_hours())),
            ),
            figures(amounts.price, |price| digits.price(price), advised(&|r| digits.price(r.price))),
        ];
        let saving = saving_micro_cents.map_or_else(|| ABSENT.to_owned(), |saving| digits.price(saving));
        let mut cells = vec![subject(row), "core-hours\nGiB-hours\nprice\nsaving".to_owned()];
        for column in 0..6 {
            let mut cell = lines.each_ref().map(|line| line[column].as_str()).join("\n");
            if column == 5 {
                cell = format!("{cell}\n{saving}");
            }
            cells.push(cell);
        }
        table.add_row(cells);
    }
    table
}

/// What is said of a workload beside its figures.
fn subject(row: &ReportRow) -> String {
    let kind = row.kind.map_or_else(|| "unknown".to_owned(), |kind| kind.to_string());
    let mut lines = vec![
        format!("{} ({kind})", row.workload),
        owner(&row.owner),
        format!("tasks {:.2}, peak {}", row.instances.mean, row.instances.peak),
        bars(&row.instances.course),
    ];
    if let Some(request) = row.recommended_request {
        lines.push(format!("-> {request}"));
    }
    if let Some(p95) = row.latency_p95_seconds {
        lines.push(format!("p95 {:.0} ms", p95 * 1000.0));
    }
    lines.join("\n")
}

fn figures<T>(figures: Figures<T>, show: impl Fn(T) -> String, recommended: String) -> [String; 6] {
    let Figures { requested, used, idle, overuse, unsampled } = figures;
    [show(requested), show(used), show(idle), show(overuse), show(unsampled), recommended]
}

fn owners(report: &Report, digits: Digits) -> Table {
    let header = [
        "OWNER",
        "WORK-\nLOADS",
        "TASK-\nHOURS",
        "REQUESTED",
        "USED",
        "IDLE",
        "UN-\nSAMPLED",
        "RECOM-\nMENDED",
        "SAVING",
    ];
    let mut table = table(&header, 1);
    for OwnerRow { owner: paying, workloads, sums } in &report.owners {
        table.add_row(prices(owner(paying), *workloads, sums, digits));
    }
    let workloads = report.owners.iter().map(|row| row.workloads).sum();
    table.add_row(prices("total".to_owned(), workloads, &report.totals, digits));
    table
}

fn prices(name: String, workloads: u32, sums: &Sums, digits: Digits) -> Vec<String> {
    let price = sums.amounts.price;
    let money = |amount: Option<MicroCents>| amount.map_or_else(|| ABSENT.to_owned(), |m| digits.price(m));
    vec![
        name,
        workloads.to_string(),
        digits.hours(sums.amounts.time.hours()),
        digits.price(price.requested),
        digits.price(price.used),
        digits.price(price.idle),
        digits.price(price.unsampled),
        money(sums.recommended.map(|recommended| recommended.price)),
        money(sums.saving_micro_cents),
    ]
}

fn owner(owner: &Owner) -> String {
    match (&owner.team, &owner.cost_centre) {
        (Some(team), Some(centre)) => format!("{team} / {centre}"),
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (None, None) => "no owner".to_owned(),
    }
}

/// The course of a count as a row of bars; the highest stands for the greatest count.
fn bars(course: &[f64]) -> String {
    let most = course.iter().copied().fold(0.0, f64::max);
    let bar = |count: f64| {
        if count <= 0.0 {
            return ' ';
        }
        let step = (count / most * BARS.len() as f64).ceil() as usize;
        BARS[step.clamp(1, BARS.len()) - 1]
    };
    course.iter().map(|&count| bar(count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::amount::{CoreTime, MemoryTime};
    use crate::accounting::instances::InstanceCounts;
    use crate::domain::quantity::{Bytes, Millicores, Resources};
    use crate::domain::workload::{WorkloadKind, WorkloadName};

    const HOUR: i64 = 3_600_000_000;
    const GIB_HOUR: i64 = 1024 * 1024 * 3600;

    /// Figures of four parts in a unit: used within the request, idle, overuse, unsampled.
    fn sums(parts: [i64; 4], recommended: Option<i64>) -> Sums {
        let [within, idle, overuse, unsampled] = parts;
        let five = |unit: i64| {
            [within + idle + unsampled, within + overuse, idle, overuse, unsampled]
                .map(|part| part * unit / 100)
        };
        let columns = [&[300 * HOUR / 100, HOUR / 10][..], &five(HOUR), &five(GIB_HOUR), &five(3_500_000)];
        let columns: Vec<i64> = columns.concat();
        let amounts = Amounts::from_columns(columns.try_into().expect("17 columns"));
        let advised = recommended.map(|percent| Recommended {
            cpu: CoreTime::new(percent * HOUR / 100),
            memory: MemoryTime::new(percent * GIB_HOUR / 100),
            price: MicroCents::new(percent * 3_500_000 / 100),
        });
        Sums::new(amounts, advised)
    }

    fn row(name: &str, owner: Owner, sums: Sums, p95: Option<f64>) -> ReportRow {
        let course = (0..20).map(|part| f64::from(part / 5)).collect();
        ReportRow {
            workload: WorkloadName::new(name).expect("a name"),
            kind: p95.map(|_| WorkloadKind::Service),
            owner,
            recommended_request: p95.map(|_| Resources::new(Millicores::new(300), Bytes::mib(64))),
            instances: InstanceCounts { peak: 3, mean: 1.5, course },
            latency_p95_seconds: p95,
            sums,
        }
    }

    fn report() -> Report {
        let shop = Owner { team: Some("shop".to_owned()), cost_centre: Some("4711".to_owned()) };
        let (web, stray) = (sums([80, 210, 5, 10], Some(120)), sums([1, 0, 0, 0], None));
        let rows = vec![
            row("web", shop.clone(), web, Some(0.1234)),
            row("a-name-that-is-much-longer-than-any-column-has-room-for", Owner::default(), stray, None),
        ];
        let owners = vec![
            OwnerRow { owner: shop, workloads: 1, sums: web },
            OwnerRow { owner: Owner::default(), workloads: 1, sums: stray },
        ];
        Report {
            from: "2026-11-22T10:00:00Z".parse().expect("a time"),
            to: "2026-11-22T12:00:00Z".parse().expect("a time"),
            rows,
            owners,
            totals: Sums::new(web.amounts + stray.amounts, sums([0; 4], Some(121)).recommended),
        }
    }

    #[test]
    fn the_tables_look_like_this() {
        let shown = report_table(&report());
        assert_eq!(shown, include_str!("report_table.golden.txt"), "\n{shown}");
    }

    #[test]
    fn no_line_is_wider_than_it_may_be() {
        let shown = report_table(&report());
        for line in shown.lines() {
            assert!(line.chars().count() <= usize::from(WIDTH), "{line}");
        }
    }

    #[test]
    fn an_empty_report_says_so() {
        let nothing = Report { rows: Vec::new(), owners: Vec::new(), totals: Sums::default(), ..report() };
        assert!(report_table(&nothing).ends_with("No task ran.\n"));
    }
}
