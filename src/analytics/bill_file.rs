//! Bills as files: a report of one as a table, and the lines of an imported one.

use jiff::Timestamp;

use crate::accounting::amount::{CoreTime, MemoryTime};
use crate::accounting::bill::charge::{Charge, ChargeKind, Terms};
use crate::accounting::bill::report::{BillReport, BillRow};
use crate::analytics::table::{Cells, Table};
use crate::domain::money::MicroCents;
use crate::domain::node::NodeName;

/// The columns that a bill must have.
const NEEDED: [&str; 4] = ["node", "from", "to", "cost"];

/// What is wrong with the lines of a bill: a line of text each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct BadBill(pub Vec<String>);

/// Reads the lines of a bill from CSV: `node,from,to,cost` and, if there is one, `kind` (usage, discount,
/// commitment; usage where absent). All of them lie between `from` and `to`. Costs are in units of the
/// currency, rounded to the nearest micro-cent. Every mistake is told; with one, nothing is read.
pub fn read_bill(text: &str, (from, to): (Timestamp, Timestamp)) -> Result<Vec<Charge>, BadBill> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().cloned().map_err(|error| BadBill(vec![format!("line 1: {error}")]))?;
    let place = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let needed = NEEDED.map(place);
    let missing: Vec<&str> =
        NEEDED.iter().zip(needed).filter(|(_, place)| place.is_none()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let expected = "expected a header with node, from, to, cost and, if you like, kind";
        return Err(BadBill(vec![format!("line 1: there is no column {}: {expected}", missing.join(", "))]));
    }
    let kind = place("kind");
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for (row, record) in reader.records().enumerate() {
        let number = row + 2;
        let fields = record.map_err(|error| error.to_string()).and_then(|record| {
            let field =
                |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or("").to_owned();
            line(&needed.map(field), &field(kind))
        });
        match fields {
            Ok(charge) if charge.from < from || charge.to.is_some_and(|end| end > to) => {
                wrong.push(format!("line {number}: it does not lie between {from} and {to}"));
            }
            Ok(charge) => lines.push(charge),
            Err(problem) => wrong.push(format!("line {number}: {problem}")),
        }
    }
    if lines.is_empty() && wrong.is_empty() {
        wrong.push("there are no lines".to_owned());
    }
    if wrong.is_empty() { Ok(lines) } else { Err(BadBill(wrong)) }
}

fn line([node, from, to, cost]: &[String; 4], kind: &str) -> Result<Charge, String> {
    let node = match node.as_str() {
        "" | "*" => None,
        name => Some(NodeName::new(name).map_err(|rule| format!("`{name}` is no name of a node: {rule}"))?),
    };
    let instant = |name: &str, text: &str| {
        text.parse::<Timestamp>()
            .map_err(|_| format!("`{name}` is `{text}`, expected an instant such as 2026-11-01T00:00:00Z"))
    };
    let (from, to) = (instant("from", from)?, instant("to", to)?);
    if to < from {
        return Err(format!("`to` ({to}) is before `from` ({from})"));
    }
    let known = ChargeKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let kind = match kind {
        "" => ChargeKind::Usage,
        _ => known.ok_or_else(|| format!("`kind` is `{kind}`, expected usage, discount or commitment"))?,
    };
    let terms = Terms::Whole(money(cost)?);
    Ok(Charge { node, from, to: Some(to), terms, kind })
}

/// An amount in units of the currency as micro-cents, without a float in between.
fn money(text: &str) -> Result<MicroCents, String> {
    let bad = || format!("`cost` is `{text}`, expected an amount such as 12.34");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !number(whole) || !number(part) || whole.len() + part.len() == 0 {
        return Err(bad());
    }
    // One more digit than there are, for rounding.
    let padded = format!("{whole}{:0<9}", &part[..part.len().min(9)]);
    let tenths: i128 = padded.parse().map_err(|_| bad())?;
    let amount = i64::try_from((tenths + 5) / 10).map_err(|_| bad())?;
    Ok(MicroCents::new(if negative { -amount } else { amount }))
}

/// A report as a table: a row a name, then the total.
pub fn report_table(report: &BillReport) -> Table {
    let rows: Vec<&BillRow> = report.rows.iter().chain([&report.totals]).collect();
    let text = |of: &dyn Fn(&BillRow) -> String| Cells::Text(rows.iter().map(|row| Some(of(row))).collect());
    let cores =
        |of: fn(&BillRow) -> CoreTime| Cells::Real(rows.iter().map(|row| of(row).core_hours()).collect());
    let gib =
        |of: fn(&BillRow) -> MemoryTime| Cells::Real(rows.iter().map(|row| of(row).gib_hours()).collect());
    let money = |of: fn(&BillRow) -> MicroCents| Cells::Money(rows.iter().map(|row| of(row)).collect());
    let columns = vec![
        ("from", Cells::Time(vec![report.from; rows.len()])),
        ("until", Cells::Time(vec![report.until; rows.len()])),
        ("by", Cells::constant(report.by.as_str(), rows.len())),
        ("name", text(&|row| row.name.clone())),
        ("currency", Cells::constant(&report.currency, rows.len())),
        ("task_hours", Cells::Real(rows.iter().map(|row| row.time.hours()).collect())),
        ("cpu_requested_core_hours", cores(|row| row.cpu.requested)),
        ("cpu_used_core_hours", cores(|row| row.cpu.used)),
        ("memory_requested_gib_hours", gib(|row| row.memory.requested)),
        ("memory_used_gib_hours", gib(|row| row.memory.used)),
        ("cost", money(|row| row.cost)),
        ("requested", money(|row| row.requested)),
        ("used", money(|row| row.parts.used)),
        ("idle", money(|row| row.parts.idle)),
        ("unsampled", money(|row| row.parts.unsampled)),
        ("overhead", money(|row| row.parts.overhead)),
        ("free", money(|row| row.parts.free)),
        ("shared", money(|row| row.parts.shared)),
        ("promised_saving", money(|row| row.promised)),
        ("realised_saving", money(|row| row.saving)),
        ("forecast", money(|row| row.forecast)),
        ("cost_micro_cents", Cells::MicroCents(rows.iter().map(|row| row.cost).collect())),
    ];
    Table { columns, rows: rows.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month() -> (Timestamp, Timestamp) {
        let at = |text: &str| text.parse().expect("a time");
        (at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"))
    }

    #[test]
    fn amounts_are_read_without_a_float() {
        for (text, amount) in
            [("0.1", 10_000_000), ("-12.345678915", -1_234_567_892), ("7", 700_000_000), (".5", 50_000_000)]
        {
            assert_eq!(money(text), Ok(MicroCents::new(amount)), "{text}");
        }
        for text in ["", "-", ".", "1e3", "1,5", "99999999999999999999"] {
            assert!(money(text).is_err_and(|error| error.contains("such as 12.34")), "{text}");
        }
    }

    #[test]
    fn a_bill_is_read_whatever_the_order_of_its_columns() {
        let text = "cost,node,from,to,kind\n\
            10.00,small-1,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,usage\n\
            -2.5,small-1,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,discount\n\
            30,,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,\n";
        let lines = read_bill(text, month()).expect("lines");
        assert_eq!(lines.len(), 3);
        assert_eq!(
            (lines[1].kind, lines[1].terms),
            (ChargeKind::Discount, Terms::Whole(MicroCents::new(-250_000_000)))
        );
        assert_eq!((&lines[2].node, lines[2].kind), (&None, ChargeKind::Usage));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "node,from,to,cost,kind\n\
            small-1,yesterday,2026-11-02T00:00:00Z,1,\n\
            small-1,2026-11-02T00:00:00Z,2026-11-01T00:00:00Z,1,\n\
            small-1,2026-10-02T00:00:00Z,2026-11-01T00:00:00Z,1,\n\
            small-1,2026-11-02T00:00:00Z,2026-11-03T00:00:00Z,much,\n\
            small-1,2026-11-02T00:00:00Z,2026-11-03T00:00:00Z,1,rebate\n";
        let BadBill(wrong) = read_bill(text, month()).expect_err("mistakes");
        assert_eq!(wrong.len(), 5, "{wrong:?}");
        for (line, problem) in (2..).zip(&wrong) {
            assert!(problem.starts_with(&format!("line {line}: ")), "{problem}");
        }
        let missing = read_bill("node,cost\na,1\n", month()).expect_err("columns").to_string();
        assert!(missing.contains("no column from, to"), "{missing}");
        assert!(read_bill("node,from,to,cost\n", month()).is_err());
    }
}
