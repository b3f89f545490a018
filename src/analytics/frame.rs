//! Ledger entries to a report, by polars.
//!
//! In: `Facts`. Out: `Report`. Every amount and price is an i64 column; the only floats are latencies.

use std::collections::BTreeMap;

use polars::prelude::*;

use crate::accounting::amount::{Amounts, CoreTime, MemoryTime, Recommended};
use crate::accounting::facts::Facts;
use crate::accounting::instances::InstanceCounts;
use crate::accounting::ledger::{LedgerEntry, ledger};
use crate::accounting::report::{OwnerRow, Report, ReportRow, Sums};
use crate::domain::load::LoadSample;
use crate::domain::money::MicroCents;
use crate::domain::workload::{Owner, WorkloadName};

/// What follows the columns of `Amounts`: the request if the recommendation were taken, where there is
/// one, else as it is; and the number of entries that have one.
const TAKEN: [&str; 4] = ["taken_cpu", "taken_memory", "taken_price", "with_recommendation"];

/// The report of a window.
pub(super) fn report(facts: &Facts<'_>) -> PolarsResult<Report> {
    let ledger = ledger(facts);
    let rows = entries(&ledger.entries)?
        .lazy()
        .group_by([col("workload")])
        .agg(sums())
        .join(owners(facts)?.lazy(), [col("workload")], [col("workload")], JoinArgs::new(JoinType::Left))
        .join(latency(facts.load)?, [col("workload")], [col("workload")], JoinArgs::new(JoinType::Left))
        .sort_by_exprs([col("price_idle"), col("workload")], by_greatest(&[true, false]))
        .collect()?;
    let owners = rows
        .clone()
        .lazy()
        .group_by([col("team"), col("cost_centre")])
        .agg(sums().into_iter().chain([len().alias("workloads")]).collect::<Vec<_>>())
        .sort_by_exprs(
            [col("price_requested"), col("team"), col("cost_centre")],
            by_greatest(&[true, false, false]),
        )
        .collect()?;
    let totals = rows.clone().lazy().select(sums()).collect()?;
    Ok(Report {
        from: facts.from,
        to: facts.to,
        rows: (0..rows.height())
            .map(|row| report_row(&rows, row, facts, &ledger.instances))
            .collect::<PolarsResult<_>>()?,
        owners: (0..owners.height()).map(|row| owner_row(&owners, row)).collect::<PolarsResult<_>>()?,
        totals: row_sums(&totals, 0)?,
    })
}

fn by_greatest(descending: &[bool]) -> SortMultipleOptions {
    SortMultipleOptions::default().with_order_descending_multi(descending.iter().copied())
}

fn sums() -> Vec<Expr> {
    Amounts::COLUMNS.into_iter().chain(TAKEN).map(|name| col(name).sum()).collect()
}

fn entries(entries: &[LedgerEntry]) -> PolarsResult<DataFrame> {
    let names = entries.iter().map(|entry| entry.task.workload().as_str()).collect::<StringChunked>();
    let mut columns = vec![names.with_name("workload".into()).into_column()];
    let rows: Vec<[i64; 17]> = entries.iter().map(|entry| entry.amounts.columns()).collect();
    for (place, name) in Amounts::COLUMNS.into_iter().enumerate() {
        columns.push(Column::new(name.into(), rows.iter().map(|row| row[place]).collect::<Vec<_>>()));
    }
    let taken: Vec<[i64; 4]> = entries.iter().map(taken).collect();
    for (place, name) in TAKEN.into_iter().enumerate() {
        columns.push(Column::new(name.into(), taken.iter().map(|row| row[place]).collect::<Vec<_>>()));
    }
    DataFrame::new(entries.len(), columns)
}

fn taken(entry: &LedgerEntry) -> [i64; 4] {
    let Amounts { cpu, memory, price, .. } = entry.amounts;
    let as_is = Recommended { cpu: cpu.requested, memory: memory.requested, price: price.requested };
    let taken = entry.recommended.unwrap_or(as_is);
    [taken.cpu.get(), taken.memory.get(), taken.price.get(), i64::from(entry.recommended.is_some())]
}

fn owners(facts: &Facts<'_>) -> PolarsResult<DataFrame> {
    let text = |name: &str, of: &dyn Fn(&Owner) -> Option<&str>| {
        let values = facts.workloads.values().map(|workload| of(&workload.owner));
        values.collect::<StringChunked>().with_name(name.into()).into_column()
    };
    let names = facts.workloads.keys().map(WorkloadName::as_str).collect::<StringChunked>();
    let columns = vec![
        names.with_name("workload".into()).into_column(),
        text("team", &|owner| owner.team.as_deref()),
        text("cost_centre", &|owner| owner.cost_centre.as_deref()),
    ];
    DataFrame::new(facts.workloads.len(), columns)
}

/// The mean of the sampling intervals' 95th percentiles, each weighted with its requests.
fn latency(load: &[LoadSample]) -> PolarsResult<LazyFrame> {
    let names = load.iter().map(|sample| sample.workload.as_str()).collect::<StringChunked>();
    let columns = vec![
        names.with_name("workload".into()).into_column(),
        Column::new("rate".into(), load.iter().map(|s| s.requests_per_second).collect::<Vec<_>>()),
        Column::new("p95".into(), load.iter().map(|s| s.latency_p95).collect::<Vec<_>>()),
    ];
    Ok(DataFrame::new(load.len(), columns)?
        .lazy()
        .filter(col("p95").is_not_null().and(col("rate").gt(lit(0.0))))
        .group_by([col("workload")])
        .agg([((col("p95") * col("rate")).sum() / col("rate").sum()).alias("latency_p95")]))
}

fn report_row(
    rows: &DataFrame,
    row: usize,
    facts: &Facts<'_>,
    instances: &BTreeMap<WorkloadName, InstanceCounts>,
) -> PolarsResult<ReportRow> {
    let name = text(rows, "workload", row)?.unwrap_or_default();
    let missing = || PolarsError::ComputeError(format!("workload `{name}` is in no ledger entry").into());
    let (workload, instances) =
        instances.iter().find(|(known, _)| known.as_str() == name).ok_or_else(missing)?;
    let known = facts.workloads.get(workload);
    Ok(ReportRow {
        workload: workload.clone(),
        kind: known.map(|workload| workload.kind),
        owner: owner(rows, row)?,
        recommended_request: known.and_then(|workload| workload.recommended),
        instances: instances.clone(),
        latency_p95_seconds: rows.column("latency_p95")?.f64()?.get(row),
        sums: row_sums(rows, row)?,
    })
}

fn owner_row(owners: &DataFrame, row: usize) -> PolarsResult<OwnerRow> {
    let workloads = owners.column("workloads")?.idx()?.get(row).unwrap_or_default();
    Ok(OwnerRow { owner: owner(owners, row)?, workloads, sums: row_sums(owners, row)? })
}

fn owner(frame: &DataFrame, row: usize) -> PolarsResult<Owner> {
    let part = |name| Ok::<_, PolarsError>(text(frame, name, row)?.map(str::to_owned));
    Ok(Owner { team: part("team")?, cost_centre: part("cost_centre")? })
}

fn row_sums(frame: &DataFrame, row: usize) -> PolarsResult<Sums> {
    let mut amounts = [0; 17];
    for (amount, name) in amounts.iter_mut().zip(Amounts::COLUMNS) {
        *amount = integer(frame, name, row)?;
    }
    let [cpu, memory, price, with] = TAKEN.map(|name| integer(frame, name, row));
    let taken = Recommended {
        cpu: CoreTime::new(cpu?),
        memory: MemoryTime::new(memory?),
        price: MicroCents::new(price?),
    };
    Ok(Sums::new(Amounts::from_columns(amounts), (with? > 0).then_some(taken)))
}

fn integer(frame: &DataFrame, column: &str, row: usize) -> PolarsResult<i64> {
    Ok(frame.column(column)?.i64()?.get(row).unwrap_or_default())
}

fn text<'a>(frame: &'a DataFrame, column: &str, row: usize) -> PolarsResult<Option<&'a str>> {
    Ok(frame.column(column)?.str()?.get(row))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::accounting::facts::{PriceBook, TaskInterval, WorkloadFacts};
    use crate::domain::money::Prices;
    use crate::domain::quantity::{Bytes, Millicores, Resources};
    use crate::domain::task::TaskId;
    use crate::domain::usage::UsageSample;
    use crate::domain::workload::WorkloadKind;

    const START: i64 = 1_795_000_000 / 3600 * 3600;

    fn instant(second: i64) -> Timestamp {
        Timestamp::from_second(START + second).expect("a time")
    }

    fn name(workload: &str) -> WorkloadName {
        WorkloadName::new(workload).expect("a name")
    }

    fn size(millicores: u64, mib: u64) -> Resources {
        Resources::new(Millicores::new(millicores), Bytes::mib(mib))
    }

    fn workload(team: Option<&str>, recommended: Option<Resources>) -> WorkloadFacts {
        let owner = Owner { team: team.map(str::to_owned), cost_centre: None };
        WorkloadFacts { kind: WorkloadKind::Service, owner, recommended }
    }

    fn samples(task: &TaskId, request: Resources, cores: f64) -> Vec<UsageSample> {
        (1..=720)
            .map(|n| UsageSample {
                workload: task.workload().clone(),
                task: task.clone(),
                at: instant(n * 10),
                interval_seconds: Some(10.0),
                cpu_cores: Some(cores * (1.0 + (n % 7) as f64 / 10.0)),
                throttled_share: None,
                memory: Bytes::mib(40 + (n % 13).unsigned_abs()),
                page_cache: None,
                request,
                oom_kills: 0,
            })
            .collect()
    }

    fn load(workload: &str, at: i64, rate: f64, p95: Option<f64>) -> LoadSample {
        LoadSample {
            workload: name(workload),
            at: instant(at),
            requests_per_second: rate,
            errors_per_second: 0.0,
            latency_p50: p95,
            latency_p95: p95,
            ready: 1,
        }
    }

    /// Four workloads of two owners, one of them unknown but for its samples, and a window of two hours.
    fn shop(check: impl Fn(&Facts<'_>)) {
        let workloads = BTreeMap::from([
            (name("web"), workload(Some("shop"), Some(size(300, 64)))),
            (name("worker"), workload(Some("shop"), None)),
            (name("mail"), workload(None, Some(size(100, 64)))),
            (name("never"), workload(Some("shop"), None)),
        ]);
        let plan =
            [("web", 1, 500, 0.2), ("web", 2, 500, 0.3), ("worker", 1, 250, 0.3), ("mail", 1, 50, 0.01)];
        let mut all = Vec::new();
        let mut tasks = Vec::new();
        for (workload, number, millicores, cores) in plan {
            let task = TaskId::new(name(workload), number);
            let request = size(millicores, 128);
            let taken = samples(&task, request, cores).into_iter().filter(|s| s.at != instant(500));
            all.extend(taken);
            tasks.push(TaskInterval { task, pool: None, node: None, from: instant(0), to: None, request });
        }
        all.extend(samples(&TaskId::new(name("stray"), 1), size(10, 10), 0.001));
        let base = Prices { core_hour: MicroCents::new(3_141_593), gib_hour: MicroCents::new(271_828) };
        let prices = PriceBook { base, pools: BTreeMap::new() };
        let load =
            [load("web", 10, 30.0, Some(0.1)), load("web", 20, 10.0, Some(0.5)), load("web", 30, 0.0, None)];
        check(&Facts {
            from: instant(0),
            to: instant(7200),
            workloads: &workloads,
            tasks: &tasks,
            samples: &all,
            load: &load,
            prices: &prices,
        });
    }

    #[test]
    fn rows_are_the_ledger_added_up() {
        shop(|facts| {
            let made = report(facts).expect("a report");
            let entries = ledger(facts).entries;
            for row in &made.rows {
                let own = entries.iter().filter(|entry| *entry.task.workload() == row.workload);
                let sum = own.clone().fold(Amounts::default(), |sum, entry| sum + entry.amounts);
                assert_eq!(row.sums.amounts, sum, "{}", row.workload);
                let recommended = own.filter_map(|entry| entry.recommended).reduce(|a, b| a + b);
                assert_eq!(row.sums.recommended, recommended, "{}", row.workload);
            }
            let names: std::collections::BTreeSet<_> =
                made.rows.iter().map(|r| r.workload.as_str()).collect();
            assert_eq!(names.into_iter().collect::<Vec<_>>(), ["mail", "stray", "web", "worker"]);
        });
    }

    #[test]
    fn owners_add_up_to_the_total_exactly() {
        shop(|facts| {
            let made = report(facts).expect("a report");
            let add =
                |parts: Vec<Amounts>| parts.into_iter().fold(Amounts::default(), |sum, part| sum + part);
            let rows = add(made.rows.iter().map(|row| row.sums.amounts).collect());
            let owners = add(made.owners.iter().map(|owner| owner.sums.amounts).collect());
            assert_eq!(rows, made.totals.amounts);
            assert_eq!(owners, made.totals.amounts);
            let saving = made.rows.iter().filter_map(|row| row.sums.saving_micro_cents).sum::<MicroCents>();
            assert_eq!(Some(saving), made.totals.saving_micro_cents);
            let counts: Vec<_> =
                made.owners.iter().map(|row| (row.owner.team.as_deref(), row.workloads)).collect();
            assert_eq!(counts, [(Some("shop"), 2), (None, 2)]);
        });
    }

    #[test]
    fn the_dearest_idle_comes_first_and_a_larger_recommendation_saves_less_than_nothing() {
        shop(|facts| {
            let made = report(facts).expect("a report");
            let idle: Vec<_> = made.rows.iter().map(|row| row.sums.amounts.price.idle).collect();
            assert!(idle.is_sorted_by(|a, b| a >= b), "{idle:?}");
            let of = |workload: &str| made.rows.iter().find(|row| row.workload.as_str() == workload);
            let (web, mail) = (of("web").expect("web"), of("mail").expect("mail"));
            assert!(web.sums.saving_micro_cents > Some(MicroCents::ZERO));
            assert!(mail.sums.saving_micro_cents < Some(MicroCents::ZERO));
            assert_eq!(web.instances.peak, 2);
            assert_eq!(of("worker").expect("worker").sums.saving_micro_cents, None);
            assert_eq!(of("stray").expect("stray").kind, None);
        });
    }

    #[test]
    fn latency_is_weighted_with_requests() {
        shop(|facts| {
            let made = report(facts).expect("a report");
            let p95 = |name: &str| {
                let row = made.rows.iter().find(|row| row.workload.as_str() == name);
                row.and_then(|row| row.latency_p95_seconds)
            };
            assert!((p95("web").expect("a latency") - 0.2).abs() < 1e-12);
            assert_eq!(p95("worker"), None);
        });
    }

    #[test]
    fn a_window_without_tasks_has_an_empty_report() {
        let prices = PriceBook {
            base: Prices { core_hour: MicroCents::ZERO, gib_hour: MicroCents::ZERO },
            pools: BTreeMap::new(),
        };
        let nothing = Facts {
            from: instant(0),
            to: instant(60),
            workloads: &BTreeMap::new(),
            tasks: &[],
            samples: &[],
            load: &[],
            prices: &prices,
        };
        let made = report(&nothing).expect("a report");
        assert_eq!((made.rows.len(), made.owners.len()), (0, 0));
        assert_eq!(made.totals, Sums::new(Amounts::default(), None));
    }

    #[test]
    fn a_report_reads_back_from_json() {
        shop(|facts| {
            let made = report(facts).expect("a report");
            let text = serde_json::to_string(&made).expect("json");
            assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), made);
        });
    }
}
