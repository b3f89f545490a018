//! Nodes filled by predicted peaks on real use: what share of windows goes beyond, beside the risk that was stated,
//! and how much more is placed than by requests, by a fixed factor and by fixed deviations.
//!
//! Tasks of real use come to nodes at random, by a seed, stay for days and leave. Every rule is offered the same.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use loadline::analytics::read_trace;
use loadline::domain::node::{Node, NodeName, NodeState, PoolName};
use loadline::domain::overcommit::{Held, Overcommit};
use loadline::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use loadline::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use loadline::domain::usage::UsageSample;
use loadline::domain::workload::{WorkloadKind, WorkloadName};
use loadline::domain::world::World;
use loadline::estimation::node_peak::{Calibration, NodePeaks, PeakSettings};

const WINDOW: i64 = 300;
const DAY: usize = 288;
const NODES: usize = 10;
const DAYS: usize = 10;
/// Nodes fill up and the risk is learnt before anything is counted.
const COUNTED_FROM: usize = 2 * DAY;
const WARM_UP: usize = 24;
/// Requests come to at most so many times a node, so that the risk decides and not this.
const MOST: f64 = 4.0;

/// Use in cores by window, and what is requested.
struct Series {
    used: Vec<f64>,
    request: f64,
}

/// Real traces are not in the repository: `LOADLINE_TRACES` names the folder that has them.
fn real(name: &str) -> Option<Vec<Series>> {
    let folder = std::env::var_os("LOADLINE_TRACES")?;
    let rows = read_trace(&Path::new(&folder).join("usage").join(name)).expect("a trace");
    let mut workloads: BTreeMap<String, (BTreeMap<i64, f64>, f64)> = BTreeMap::new();
    for row in rows {
        let (used, request) = workloads.entry(row.workload).or_default();
        *used.entry(row.time / WINDOW).or_default() += row.cpu.unwrap_or(0.0);
        *request = request.max(row.cpu_request.unwrap_or(0.0));
    }
    let series = workloads.into_values().filter_map(|(used, request)| {
        let (first, last) = (*used.keys().next()?, *used.keys().next_back()?);
        let mut before = 0.0;
        let mut filled: Vec<f64> = (first..=last)
            .map(|at| {
                before = used.get(&at).copied().unwrap_or(before);
                before
            })
            .collect();
        filled.truncate(filled.len() / DAY * DAY);
        let most = filled.iter().copied().fold(0.0, f64::max);
        // Where the trace has no requests, a careful owner's: the most that was ever used.
        let request = if request > 0.0 { request } else { (most * 2.0).ceil() / 2.0 };
        (filled.len() >= 3 * DAY).then_some(Series { used: filled, request })
    });
    Some(series.collect())
}

/// Numbers from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

struct Guest<'s> {
    task: Task,
    series: &'s Series,
    offset: usize,
    began: usize,
    ends: usize,
}

impl Guest<'_> {
    fn used(&self, at: usize) -> f64 {
        self.series.used[(at + self.offset) % self.series.used.len()]
    }

    fn request(&self) -> Millicores {
        self.task.size.request.cpu
    }
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Requests count, or a share of them: what the paper calls borg-default.
    Factor(f64),
    /// Mean and so many deviations.
    Sigma(f64),
    /// What the engine does.
    Risk(f64),
}

/// Cores that a node counts with by fixed deviations.
fn sigma(times: f64, guests: &[Guest<'_>], now: usize) -> f64 {
    let (old, new): (Vec<&Guest<'_>>, Vec<&Guest<'_>>) =
        guests.iter().partition(|guest| now - guest.began >= WARM_UP);
    let back = now.min(DAY);
    let mut totals = vec![0.0; back];
    for guest in &old {
        let known = guest.began.max(now - back)..now;
        let mean = known.clone().map(|at| guest.used(at)).sum::<f64>() / known.len() as f64;
        for (at, total) in (now - back..now).zip(&mut totals) {
            *total += if at < guest.began { mean } else { guest.used(at) };
        }
    }
    let mean = totals.iter().sum::<f64>() / back.max(1) as f64;
    let variance = totals.iter().map(|total| (total - mean).powi(2)).sum::<f64>() / back.max(1) as f64;
    mean + times * variance.sqrt() + new.iter().map(|guest| guest.request().cores()).sum::<f64>()
}

#[derive(Debug, Default)]
struct Figures {
    windows: usize,
    beyond: usize,
    requested: f64,
    used: f64,
    learnt: Option<Calibration>,
}

impl Figures {
    fn violating(&self) -> f64 {
        self.beyond as f64 / self.windows as f64
    }
}

struct Cluster<'s> {
    size: Resources,
    nodes: Vec<(NodeName, Vec<Guest<'s>>)>,
    world: World,
    peaks: Option<NodePeaks>,
    figures: Figures,
}

fn at(window: usize) -> Timestamp {
    let window = i64::try_from(window).expect("a number");
    Timestamp::from_second((1_000_000 + window) * WINDOW).expect("a time")
}

fn node(number: usize, size: Resources) -> Node {
    Node {
        name: NodeName::new(&format!("n-{number}")).expect("a name"),
        pool: PoolName::new("n").expect("a name"),
        size,
        attributes: BTreeMap::new(),
        state: NodeState::Ready,
        reason: String::new(),
        remove_when_empty: false,
        created_at: at(0),
        state_since: at(0),
        underused_since: None,
        made_for: String::new(),
    }
}

fn task(number: u64, on: &NodeName, request: f64, since: Timestamp) -> Task {
    let size = TaskSize::of(Resources::new(Millicores::from_cores(request), Bytes::mib(1)));
    Task {
        id: TaskId::new(WorkloadName::new("w").expect("a name"), number),
        kind: WorkloadKind::Service,
        revision: 1,
        origin: TaskOrigin::Instance,
        size,
        state: TaskState::Running,
        reason: String::new(),
        node: Some(on.clone()),
        ports: BTreeMap::new(),
        created_at: since,
        not_before: since,
        started_at: Some(since),
        ready_at: None,
        state_since: since,
        exit: None,
        preempted_for: None,
    }
}

impl Cluster<'_> {
    fn new(size: f64, rule: Rule) -> Self {
        let size = Resources::new(Millicores::from_cores(size), Bytes::mib(1_000_000));
        let mut world = World::default();
        let nodes = (0..NODES).map(|number| node(number, size));
        world.nodes.extend(nodes.map(|node| (node.name.clone(), node)));
        let settings = |risk| PeakSettings {
            risk: Share::new(risk),
            most: MOST,
            warm_up: SignedDuration::from_hours(2),
            window: SignedDuration::from_secs(WINDOW),
        };
        let peaks = match rule {
            Rule::Risk(risk) => Some(NodePeaks::new(settings(risk), None)),
            _ => None,
        };
        let nodes = world.nodes.keys().map(|name| (name.clone(), Vec::new())).collect();
        Self { size, nodes, world, peaks, figures: Figures::default() }
    }

    /// A window passes: its use is measured, then tasks leave.
    fn pass(&mut self, window: usize) {
        for (_, guests) in &mut self.nodes {
            let used: f64 = guests.iter().map(|guest| guest.used(window)).sum();
            if window >= COUNTED_FROM {
                let figures = &mut self.figures;
                figures.windows += 1;
                figures.beyond += usize::from(used > self.size.cpu.cores());
                figures.requested += guests.iter().map(|guest| guest.request().cores()).sum::<f64>();
                figures.used += used;
            }
            for guest in guests.iter() {
                let Some(peaks) = &mut self.peaks else { break };
                peaks.observe(&UsageSample {
                    workload: guest.task.id.workload().clone(),
                    task: guest.task.id.clone(),
                    at: at(window + 1),
                    interval_seconds: Some(WINDOW as f64),
                    cpu_cores: Some(guest.used(window)),
                    throttled_share: None,
                    memory: Bytes::mib(1),
                    page_cache: None,
                    request: guest.task.size.request,
                    oom_kills: 0,
                });
            }
            for gone in guests.extract_if(.., |guest| guest.ends <= window) {
                self.world.tasks.remove(&gone.task.id);
            }
        }
    }

    fn taken(&self, rule: Rule, overcommit: &Overcommit, number: usize, now: usize) -> f64 {
        let guests = &self.nodes[number].1;
        let mut held = Held::default();
        for guest in guests {
            held.add(guest.task.size.request, overcommit.charge(&guest.task));
        }
        let requested = held.requests.cpu.cores();
        match rule {
            Rule::Factor(factor) => requested * factor,
            Rule::Sigma(times) => {
                let lent_most = self.size.cpu.cores() * (MOST - 1.0);
                sigma(times, guests, now).min(requested).max(requested - lent_most)
            }
            Rule::Risk(_) => overcommit.taken(self.size, held).cpu.cores(),
        }
    }
}

fn run(all: &[Series], rule: Rule) -> Figures {
    let mut requests: Vec<f64> = all.iter().map(|series| series.request).collect();
    requests.sort_by(f64::total_cmp);
    let mut cluster = Cluster::new(4.0 * requests[requests.len() * 9 / 10], rule);
    let (mut dice, mut number) = (Dice(7), 0);
    for window in 0..DAYS * DAY {
        cluster.pass(window);
        let now = at(window + 1);
        let overcommit = match &mut cluster.peaks {
            Some(peaks) => peaks.overcommit(&cluster.world, now),
            None => Overcommit::default(),
        };
        for place in 0..NODES {
            let series = &all[dice.below(all.len())];
            let offset = dice.below(series.used.len() / DAY) * DAY;
            let ends = window + 1 + WARM_UP / 2 + dice.below(6 * DAY);
            if window % 2 != 0 {
                continue;
            }
            let taken = cluster.taken(rule, &overcommit, place, window + 1);
            if taken + series.request <= cluster.size.cpu.cores() {
                number += 1;
                let task = task(number, &cluster.nodes[place].0, series.request, now);
                cluster.world.tasks.insert(task.id.clone(), task.clone());
                cluster.nodes[place].1.push(Guest { task, series, offset, began: window + 1, ends });
            }
        }
    }
    let mut figures = cluster.figures;
    let whole = figures.windows as f64 * cluster.size.cpu.cores();
    (figures.requested, figures.used) = (figures.requested / whole, figures.used / whole);
    figures.learnt = cluster.peaks.map(|peaks| *peaks.calibration());
    figures
}

#[test]
fn the_stated_risk_holds_on_real_use_and_more_is_placed_than_by_requests() {
    for name in ["bitbrains-faststorage.parquet", "google2011-jobs.parquet"] {
        let Some(all) = real(name) else {
            println!("skipped: LOADLINE_TRACES does not name a folder of traces");
            return;
        };
        let show = |rule: Rule| {
            let figures = run(&all, rule);
            println!(
                "{name} {rule:?}: requested {:.2}, used {:.2} of the nodes, {:.3} % of windows beyond; {:?}",
                figures.requested,
                figures.used,
                figures.violating() * 100.0,
                figures.learnt,
            );
            figures
        };
        let by_requests = show(Rule::Factor(1.0));
        show(Rule::Factor(0.9));
        show(Rule::Sigma(3.0));
        show(Rule::Sigma(5.0));
        for risk in [0.01, 0.05] {
            let found = show(Rule::Risk(risk));
            assert!(found.violating() <= risk, "{name}: {found:?}");
            assert!(found.requested > by_requests.requested * 1.2, "{name}: {found:?} {by_requests:?}");
            let learnt = found.learnt.expect("it learns");
            let beyond = learnt.beyond as f64 / learnt.windows as f64;
            assert!(beyond <= risk * 1.2, "{name}: {learnt:?}");
        }
    }
}
