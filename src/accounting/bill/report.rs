//! The report of a bill: its cells in rows, by whoever asks for it. The rows add up to the charges.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounting::amount::{CoreTime, Figures, MemoryTime, TaskTime};
use crate::accounting::bill::savings::Saving;
use crate::accounting::bill::shared::{Sharing, distribute};
use crate::accounting::bill::statement::{Cell, Key, Statement};
use crate::accounting::bill::taken::Subject;
use crate::accounting::ledger::{core_micros, kib_seconds};
use crate::domain::money::MicroCents;
use crate::domain::workload::{WorkloadKind, WorkloadName};

/// The row of what no subject caused.
pub const CLUSTER: &str = "(cluster)";
/// The row of workloads without what is asked for: an owner, a pool.
pub const NOBODY: &str = "(none)";
/// The row of what is no service, in a report by service.
pub const JOBS: &str = "(jobs)";

/// What rows stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Teams.
    #[default]
    Team,
    /// Cost centres.
    CostCentre,
    /// Services; cron jobs and jobs together.
    Service,
    /// Pools of nodes.
    Pool,
    /// Workloads of every kind.
    Workload,
    /// Tasks.
    Task,
}

impl By {
    /// Every way.
    pub const ALL: [Self; 6] =
        [Self::Team, Self::CostCentre, Self::Service, Self::Pool, Self::Workload, Self::Task];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::CostCentre => "cost-centre",
            Self::Service => "service",
            Self::Pool => "pool",
            Self::Workload => "workload",
            Self::Task => "task",
        }
    }

    fn of_subject(self, subject: &Subject) -> String {
        let or_nobody = |name: &Option<String>| name.clone().unwrap_or_else(|| NOBODY.to_owned());
        match self {
            Self::Team => or_nobody(&subject.owner.team),
            Self::CostCentre => or_nobody(&subject.owner.cost_centre),
            Self::Service if subject.kind != Some(WorkloadKind::Service) => JOBS.to_owned(),
            Self::Task => match subject.task {
                Some(number) => format!("{}.{number}", subject.workload),
                None => subject.workload.to_string(),
            },
            Self::Service | Self::Workload | Self::Pool => subject.workload.to_string(),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The parts of a cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostParts {
    /// Requested and used.
    pub used: MicroCents,
    /// Requested and not used.
    pub idle: MicroCents,
    /// Requested while nothing was measured.
    pub unsampled: MicroCents,
    /// Kept by the system, and nodes that came or went.
    pub overhead: MicroCents,
    /// Had by nobody.
    pub free: MicroCents,
    /// Charged for no node.
    pub shared: MicroCents,
}

impl CostParts {
    /// What was allocated by requests.
    pub fn requested(&self) -> MicroCents {
        self.used + self.idle + self.unsampled
    }

    /// All of it.
    pub fn total(&self) -> MicroCents {
        self.requested() + self.overhead + self.free + self.shared
    }
}

/// What one row came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillRow {
    /// A team, a cost centre, a service, a pool, a workload or a task; in brackets what is none.
    pub name: String,
    /// Time that its tasks ran.
    #[serde(rename = "task_microseconds")]
    pub time: TaskTime,
    /// CPU.
    #[serde(rename = "cpu_core_microseconds")]
    pub cpu: Figures<CoreTime>,
    /// Memory.
    #[serde(rename = "memory_kib_seconds")]
    pub memory: Figures<MemoryTime>,
    /// What was allocated by requests, of the cost.
    #[serde(rename = "requested_micro_cents")]
    pub requested: MicroCents,
    /// The parts of the cost.
    #[serde(rename = "parts_micro_cents")]
    pub parts: CostParts,
    /// All parts together.
    #[serde(rename = "cost_micro_cents")]
    pub cost: MicroCents,
    /// What applied recommendations promised to save.
    #[serde(rename = "promised_micro_cents")]
    pub promised: MicroCents,
    /// What they saved.
    #[serde(rename = "saving_micro_cents")]
    pub saving: MicroCents,
    /// What the whole window is expected to cost once it is over; the cost where it is.
    #[serde(rename = "forecast_micro_cents")]
    pub forecast: MicroCents,
}

impl BillRow {
    /// What `amounts` are, as tables head them.
    pub const AMOUNTS: [&'static str; 10] = [
        "Requested",
        "Used",
        "Idle",
        "Not measured",
        "Overhead",
        "Free",
        "Shared",
        "Cost",
        "Saved",
        "Forecast",
    ];

    /// All amounts of money, in the order in which they are shown.
    pub fn amounts(&self) -> [MicroCents; 10] {
        let CostParts { used, idle, unsampled, overhead, free, shared } = self.parts;
        let (requested, cost, saving, forecast) = (self.requested, self.cost, self.saving, self.forecast);
        [requested, used, idle, unsampled, overhead, free, shared, cost, saving, forecast]
    }
}

/// The bill of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillReport {
    /// The window's start, inclusive.
    pub from: Timestamp,
    /// The window's end, exclusive.
    pub to: Timestamp,
    /// How far it is known: the end, or now.
    pub until: Timestamp,
    /// What rows stand for.
    pub by: By,
    /// How shared cost is given to rows.
    pub sharing: Sharing,
    /// The currency of all prices.
    pub currency: String,
    /// The dearest first, what no subject caused last.
    pub rows: Vec<BillRow>,
    /// Everything.
    pub totals: BillRow,
    /// The sum of the charges, added up by themselves; the total to the last micro-cent.
    #[serde(rename = "charged_micro_cents")]
    pub charged: MicroCents,
    /// Microseconds that tasks ran on nodes, or in hours, that nothing was charged for.
    pub unbilled_task_microseconds: i64,
    /// What each applied recommendation promised and saved.
    pub savings: Vec<Saving>,
    /// From when on samples of use are known; absent where there are none.
    #[serde(default)]
    pub sampled_from: Option<Timestamp>,
    /// What of the history could not be read, and what that means for the figures.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// When a report is from, and in what currency.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The window's start, inclusive.
    pub from: Timestamp,
    /// The window's end, exclusive.
    pub to: Timestamp,
    /// How far it is known.
    pub until: Timestamp,
    /// From when on cost counts as recent: what the rest of the window is expected to go on like.
    pub recent_from: Timestamp,
    /// The currency of all prices.
    pub currency: String,
    /// From when on samples of use are known; absent where there are none.
    pub sampled_from: Option<Timestamp>,
    /// What of the history could not be read.
    pub warnings: Vec<String>,
}

#[derive(Debug, Default)]
struct Row {
    cell: Cell,
    promised: i64,
    saving: i64,
}

/// Makes the report of a statement.
pub fn report(
    frame: &Frame,
    statement: &Statement,
    by: By,
    sharing: &Sharing,
    savings: Vec<Saving>,
) -> BillReport {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut homes: BTreeMap<WorkloadName, String> = BTreeMap::new();
    for (key, cell) in statement.cells() {
        let name = name_of(key, statement, by);
        if let Some(subject) = key.subject.and_then(|number| statement.subjects.get(number)) {
            homes.insert(subject.workload.clone(), name.clone());
        }
        rows.entry(name).or_default().cell.merge(cell);
    }
    // A saving goes to the row of its workload: of several, to the last one that it was in.
    for saving in &savings {
        let name = homes.get(&saving.workload).cloned().unwrap_or_else(|| CLUSTER.to_owned());
        let row = rows.entry(name).or_default();
        row.promised += saving.promised.get();
        row.saving += saving.realised.get();
    }
    share(&mut rows, sharing);
    let mut rows: Vec<BillRow> = rows.into_iter().map(|(name, row)| row.shown(name, frame)).collect();
    rows.sort_by(|a, b| (a.name == CLUSTER, b.cost, &a.name).cmp(&(b.name == CLUSTER, a.cost, &b.name)));
    BillReport {
        from: frame.from,
        to: frame.to,
        until: frame.until,
        by,
        sharing: sharing.clone(),
        currency: frame.currency.clone(),
        totals: total(&rows),
        rows,
        charged: MicroCents::new(statement.charged()),
        unbilled_task_microseconds: statement.nowhere() + statement.unbilled(),
        savings,
        sampled_from: frame.sampled_from,
        warnings: frame.warnings.clone(),
    }
}

fn name_of(key: Key, statement: &Statement, by: By) -> String {
    if by == By::Pool {
        let place = statement.place_of(key.place);
        return match place.and_then(|place| place.pool.as_ref()) {
            Some(pool) => pool.to_string(),
            None => CLUSTER.to_owned(),
        };
    }
    let subject = key.subject.and_then(|number| statement.subjects.get(number));
    subject.map_or_else(|| CLUSTER.to_owned(), |subject| by.of_subject(subject))
}

/// Gives what no subject caused to the others.
fn share(rows: &mut BTreeMap<String, Row>, sharing: &Sharing) {
    let paying = |row: &Row| row.cell.used + row.cell.idle + row.cell.unsampled;
    let others = || rows.iter().filter(|(name, _)| *name != CLUSTER);
    let weights = sharing.weights(others().map(|(name, row)| (name.as_str(), paying(row))));
    let Some(weights) = weights else { return };
    let Some(common) = rows.remove(CLUSTER) else { return };
    let parts = [common.cell.overhead, common.cell.free, common.cell.shared, common.cell.recent];
    let parts = parts.map(|part| distribute(part, &weights));
    for (place, row) in rows.values_mut().enumerate() {
        row.cell.overhead += parts[0][place];
        row.cell.free += parts[1][place];
        row.cell.shared += parts[2][place];
        row.cell.recent += parts[3][place];
    }
    // What tasks had of nodes that belong to no pool is theirs: it is not given away.
    let cell = Cell { overhead: 0, free: 0, shared: 0, recent: 0, ..common.cell };
    let left = Row { cell, ..common };
    if left.cell != Cell::default() || left.promised != 0 || left.saving != 0 {
        rows.insert(CLUSTER.to_owned(), left);
    }
}

impl Row {
    fn shown(self, name: String, frame: &Frame) -> BillRow {
        let Cell { sums, used, idle, unsampled, overhead, free, shared, recent } = self.cell;
        let money = MicroCents::new;
        let parts = CostParts {
            used: money(used),
            idle: money(idle),
            unsampled: money(unsampled),
            overhead: money(overhead),
            free: money(free),
            shared: money(shared),
        };
        BillRow {
            name,
            time: TaskTime::new(sums.micros),
            cpu: sums.cpu.figures(core_micros).map(CoreTime::new),
            memory: sums.memory.figures(kib_seconds).map(MemoryTime::new),
            requested: parts.requested(),
            cost: parts.total(),
            parts,
            promised: money(self.promised),
            saving: money(self.saving),
            forecast: parts.total() + money(rest(recent, frame)),
        }
    }
}

/// What the rest of the window is expected to cost, at the rate of the recent time.
fn rest(recent: i64, frame: &Frame) -> i64 {
    let seconds = |from: Timestamp, to: Timestamp| i128::from((to.as_second() - from.as_second()).max(0));
    let (left, seen) = (seconds(frame.until, frame.to), seconds(frame.recent_from, frame.until));
    if left == 0 || seen == 0 {
        return 0;
    }
    i64::try_from((i128::from(recent) * left).div_euclid(seen)).unwrap_or(i64::MAX)
}

fn total(rows: &[BillRow]) -> BillRow {
    let money = |of: &dyn Fn(&BillRow) -> MicroCents| rows.iter().map(of).sum::<MicroCents>();
    let parts = CostParts {
        used: money(&|row| row.parts.used),
        idle: money(&|row| row.parts.idle),
        unsampled: money(&|row| row.parts.unsampled),
        overhead: money(&|row| row.parts.overhead),
        free: money(&|row| row.parts.free),
        shared: money(&|row| row.parts.shared),
    };
    BillRow {
        name: "total".to_owned(),
        time: rows.iter().fold(TaskTime::default(), |sum, row| sum + row.time),
        cpu: rows.iter().fold(Figures::default(), |sum, row| sum + row.cpu),
        memory: rows.iter().fold(Figures::default(), |sum, row| sum + row.memory),
        requested: parts.requested(),
        cost: parts.total(),
        parts,
        promised: money(&|row| row.promised),
        saving: money(&|row| row.saving),
        forecast: money(&|row| row.forecast),
    }
}
