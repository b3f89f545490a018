//! Generated usage with known truth: families of workloads whose shape is known because it was made.
//!
//! In: a family, days, an interval, a seed. Out: rows of a trace, the same for the same input everywhere,
//! and what is true of them, for tests of whatever is to recognise it.

use std::f64::consts::TAU;

use serde::Serialize;

use crate::domain::trace::TraceRow;
use crate::replay::grid::DAY;

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// Memory comes in whole pages, CPU in whole parts of a core, as a kernel counts them. Rounding also takes
/// away what mathematical libraries differ in.
const PAGE: f64 = 4096.0;
const CPU_PARTS: f64 = 10_000.0;

/// Seconds.
const HOUR: i64 = 3600;
/// How long a start takes that needs more than what follows.
const START: i64 = 900;

/// A shape of usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The same level with little noise.
    Steady,
    /// A wave a day.
    Diurnal,
    /// A wave a day, low on two days of seven.
    Weekly,
    /// A level that grows by 3 % a day.
    Trend,
    /// Memory grows steadily and is given back by a restart every three days.
    Leak,
    /// A deploy in the middle of the time: a new task, and half as much again.
    Step,
    /// Each task starts at three times its level for 15 minutes; a new one comes every second day.
    StartUp,
    /// Memory climbs to a plateau and stays, whatever the load.
    Plateau,
    /// Runs of 30 minutes every 6 hours; nothing between.
    Cron,
    /// A crowd of one hour at four times the level, once in the trace.
    FlashCrowd,
    /// Memory passes what the owner asked for every few hours.
    OomLoop,
}

impl Family {
    /// Every family with its name and what is true of it.
    pub const ALL: [(Self, &'static str, &'static str); 11] = [
        (Self::Steady, "steady", "memory and CPU stay within 5 % of their level"),
        (Self::Diurnal, "diurnal", "a wave a day, 40 % of the level up and down"),
        (Self::Weekly, "weekly", "a wave a day; days 6 and 7 of a week are at 40 %"),
        (Self::Trend, "trend", "the level grows by 3 % of the first day's a day"),
        (Self::Leak, "leak", "memory grows by 30 % of the level a day; a new task starts every 3 days"),
        (Self::Step, "step", "from half of the time on, 1.5 times the level, in a new task"),
        (
            Self::StartUp,
            "start-up",
            "3 times the level in a task's first 15 minutes; a new task every 2 days",
        ),
        (
            Self::Plateau,
            "plateau",
            "memory reaches twice the level within 12 hours and stays; CPU has a wave a day",
        ),
        (Self::Cron, "cron", "runs of 30 minutes at 0:00, 6:00, 12:00 and 18:00, each a task; gaps between"),
        (Self::FlashCrowd, "flash-crowd", "4 times the level for one hour at 60 % of the time"),
        (Self::OomLoop, "oom-loop", "1.5 times the request in the last step of every 4 hours"),
    ];

    /// The factor on memory and CPU at a second of the trace, and the number of the task that runs;
    /// absent where none does.
    fn at(self, second: i64, end: i64) -> Option<(f64, f64, i64)> {
        let days = second as f64 / DAY as f64;
        let wave = 1.0 - 0.4 * (days * TAU).cos();
        Some(match self {
            Self::Steady | Self::OomLoop => (1.0, 1.0, 0),
            Self::Diurnal => (wave, wave, 0),
            Self::Weekly => {
                let weekend = if (second / DAY) % 7 >= 5 { 0.4 } else { 1.0 };
                (wave * weekend, wave * weekend, 0)
            }
            Self::Trend => (1.0 + 0.03 * days, 1.0 + 0.03 * days, 0),
            Self::Leak => (1.0 + 0.3 * (days % 3.0), 1.0, second / (3 * DAY)),
            Self::Step => {
                let deployed = second * 2 >= end;
                let level = if deployed { 1.5 } else { 1.0 };
                (level, level, i64::from(deployed))
            }
            Self::StartUp => {
                let level = if second % (2 * DAY) < START { 3.0 } else { 1.0 };
                (level, level, second / (2 * DAY))
            }
            Self::Plateau => (1.0 + (days * 2.0).min(1.0), wave, 0),
            Self::Cron => {
                let run = second / (DAY / 4);
                return (second % (DAY / 4) < 1800).then_some((1.0, 1.0, run));
            }
            Self::FlashCrowd => {
                let crowd = (0..HOUR).contains(&(second - end * 6 / 10));
                let level = if crowd { 4.0 } else { 1.0 };
                (level, level, 0)
            }
        })
    }

    /// The factors on memory and CPU at a second of so many; absent where no task runs.
    pub fn factors(self, second: i64, end: i64) -> Option<(f64, f64)> {
        self.at(second, end).map(|(memory, cpu, _)| (memory, cpu))
    }

    /// Whether the step from a second on is one in which memory passes what was asked for.
    fn passes(self, second: i64, interval: i64) -> bool {
        self == Self::OomLoop && (second + interval) % (4 * HOUR) < interval
    }

    /// What a second belongs to that a detector should find.
    fn event(self, second: i64, plan: Plan) -> Option<EventKind> {
        let (of_memory, _, _) = self.at(second, plan.days * DAY)?;
        match self {
            Self::Cron => Some(EventKind::Run),
            Self::StartUp if of_memory > 1.0 => Some(EventKind::StartUp),
            Self::FlashCrowd if of_memory > 1.0 => Some(EventKind::Crowd),
            Self::Plateau if of_memory < 2.0 => Some(EventKind::Climb),
            Self::OomLoop if self.passes(second, plan.interval) => Some(EventKind::AboveRequest),
            _ => None,
        }
    }

    /// Seconds after which the shape comes again.
    fn period(self) -> Option<i64> {
        match self {
            Self::Diurnal | Self::Plateau => Some(DAY),
            Self::Weekly => Some(7 * DAY),
            Self::Cron => Some(DAY / 4),
            Self::Leak => Some(3 * DAY),
            Self::StartUp => Some(2 * DAY),
            Self::OomLoop => Some(4 * HOUR),
            Self::Steady | Self::Trend | Self::Step | Self::FlashCrowd => None,
        }
    }

    /// The share of the level by which memory and CPU grow a day.
    fn growth(self) -> (f64, f64) {
        match self {
            Self::Trend => (0.03, 0.03),
            Self::Leak => (0.3, 0.0),
            _ => (0.0, 0.0),
        }
    }
}

/// What happens in a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A new task takes the place of one before; at an instant.
    NewTask,
    /// A start that needs more than what follows.
    StartUp,
    /// A run of a job.
    Run,
    /// A flash crowd.
    Crowd,
    /// The way up to a plateau.
    Climb,
    /// Memory above what was asked for: a kill, where that is the limit.
    AboveRequest,
}

/// Something that happens; rows with `from < time <= to` are of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// From this second of the trace on.
    pub from: i64,
    /// Up to this one.
    pub to: i64,
}

/// What is true of a generated workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// The workload.
    pub workload: String,
    /// Its family's name.
    pub family: &'static str,
    /// What is true of the family, in words.
    pub says: &'static str,
    /// The level of memory that everything is a multiple of, in bytes.
    pub memory_level: f64,
    /// The level of CPU, in cores.
    pub cpu_level: f64,
    /// Bytes by which memory grows a day, while the same task runs.
    pub memory_growth_per_day: f64,
    /// Cores by which CPU grows a day.
    pub cpu_growth_per_day: f64,
    /// Seconds after which the shape comes again.
    pub period: Option<i64>,
    /// What happens, by time.
    pub events: Vec<Event>,
}

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Workloads of each family.
    pub workloads: u32,
    /// Days.
    pub days: i64,
    /// Seconds from one row of a task to the next.
    pub interval: i64,
    /// The seed.
    pub seed: u64,
}

/// Rows of the families, by workload, then time, and what is true of each workload. Levels are drawn between
/// 64 MiB and 4 GiB and between 0.05 and 4 cores; the owner asked for twice the level. Every value strays from
/// its shape by up to 5 % either way.
pub fn generate(families: &[Family], plan: Plan) -> (Vec<TraceRow>, Vec<Truth>) {
    let (mut rows, mut truths) = (Vec::new(), Vec::new());
    for (family, name, says) in Family::ALL.into_iter().filter(|(family, ..)| families.contains(family)) {
        for number in 0..plan.workloads {
            let mut noise =
                Noise::new(plan.seed ^ (u64::from(number) << 32) ^ (family as u64).wrapping_mul(0x9e37_79b9));
            let memory = pages(64.0 * MIB * 64_f64.powf(noise.draw()));
            let cpu = parts(0.05 * 80_f64.powf(noise.draw()));
            let (memory_growth, cpu_growth) = family.growth();
            let truth = Truth {
                workload: format!("{name}-{number}"),
                family: name,
                says,
                memory_level: memory,
                cpu_level: cpu,
                memory_growth_per_day: memory_growth * memory,
                cpu_growth_per_day: cpu_growth * cpu,
                period: family.period(),
                events: events(family, plan),
            };
            workload(family, &truth, plan, &mut noise, &mut rows);
            truths.push(truth);
        }
    }
    (rows, truths)
}

fn pages(bytes: f64) -> f64 {
    (bytes / PAGE).round() * PAGE
}

fn parts(cores: f64) -> f64 {
    (cores * CPU_PARTS).round() / CPU_PARTS
}

fn steps(plan: Plan) -> impl Iterator<Item = i64> {
    (0..(plan.days * DAY / plan.interval).max(1)).map(move |step| step * plan.interval)
}

fn events(family: Family, plan: Plan) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut task = None;
    for second in steps(plan) {
        let Some((_, _, now)) = family.at(second, plan.days * DAY) else { continue };
        if task.is_some_and(|before| before != now) && family != Family::Cron {
            events.push(Event { kind: EventKind::NewTask, from: second, to: second });
        }
        task = Some(now);
        let Some(kind) = family.event(second, plan) else { continue };
        let to = second + plan.interval;
        match events.iter_mut().rev().find(|event| event.kind == kind) {
            Some(event) if event.to == second => event.to = to,
            _ => events.push(Event { kind, from: second, to }),
        }
    }
    events
}

fn workload(family: Family, truth: &Truth, plan: Plan, noise: &mut Noise, rows: &mut Vec<TraceRow>) {
    let name = &truth.workload;
    let (memory, cpu) = (truth.memory_level, truth.cpu_level);
    for second in steps(plan) {
        let (more, jitter) = (noise.draw(), noise.draw());
        let Some((of_memory, of_cpu, task)) = family.at(second, plan.days * DAY) else { continue };
        let of_memory = if family.passes(second, plan.interval) { 3.0 } else { of_memory };
        rows.push(TraceRow {
            workload: name.clone(),
            task: format!("{name}.{task}"),
            time: second + plan.interval,
            cpu: Some(parts(cpu * of_cpu * (0.95 + 0.1 * jitter))),
            memory: Some(pages(memory * of_memory * (0.95 + 0.1 * more))),
            cpu_request: Some(parts(cpu * 2.0)),
            memory_request: Some(memory * 2.0),
            load: None,
        });
    }
}

/// Numbers from 0 to 1 (Steele, Lea and Flood, `SplitMix64`): seeded, the same everywhere.
#[derive(Debug, Clone)]
pub(super) struct Noise(u64);

impl Noise {
    /// A sequence of its own for each seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(family: Family) -> Vec<TraceRow> {
        generate(&[family], Plan { workloads: 1, days: 7, interval: 300, seed: 5 }).0
    }

    #[test]
    fn the_seed_decides_everything() {
        let plan = |seed| Plan { workloads: 2, days: 1, interval: 300, seed };
        let all = Family::ALL.map(|(family, ..)| family);
        assert_eq!(generate(&all, plan(1)), generate(&all, plan(1)));
        assert_ne!(generate(&all, plan(1)), generate(&all, plan(2)));
    }

    #[test]
    fn families_are_what_their_cards_say() {
        let peak = |rows: &[TraceRow]| rows.iter().filter_map(|row| row.memory).fold(0.0, f64::max);
        let level = |rows: &[TraceRow]| rows[0].memory_request.expect("a request") / 2.0;
        for (family, most) in [
            (Family::Steady, 1.0),
            (Family::Diurnal, 1.4),
            (Family::Leak, 1.9),
            (Family::Step, 1.5),
            (Family::StartUp, 3.0),
            (Family::Plateau, 2.0),
            (Family::FlashCrowd, 4.0),
            (Family::OomLoop, 3.0),
        ] {
            let rows = rows(family);
            let found = peak(&rows) / level(&rows);
            assert!((found / most - 1.0).abs() < 0.06, "{family:?}: {found}, expected {most}");
        }
        let cron = rows(Family::Cron);
        assert_eq!(cron.len(), 7 * 4 * 6, "six steps of five minutes, four times a day");
        assert!(rows(Family::OomLoop).iter().filter(|row| row.memory > row.memory_request).count() == 7 * 6);
    }

    #[test]
    fn the_truth_is_true_of_the_rows() {
        let plan = Plan { workloads: 1, days: 14, interval: 300, seed: 9 };
        let all = Family::ALL.map(|(family, ..)| family);
        let (rows, truths) = generate(&all, plan);
        for truth in &truths {
            let of = |kind: EventKind| truth.events.iter().filter(move |event| event.kind == kind);
            let own: Vec<&TraceRow> = rows.iter().filter(|row| row.workload == truth.workload).collect();
            let within = |event: &Event| {
                let (from, to) = (event.from, event.to);
                own.iter().filter(move |row| from < row.time && row.time <= to)
            };
            // High is what lies in a start, a crowd or above the request, and nothing else.
            let high = |row: &&&TraceRow| row.memory.expect("memory") > 2.4 * truth.memory_level;
            let named: usize = [EventKind::StartUp, EventKind::Crowd, EventKind::AboveRequest]
                .into_iter()
                .flat_map(|kind| of(kind).map(|event| within(event).count()))
                .sum();
            assert_eq!(own.iter().filter(high).count(), named, "{}", truth.workload);
            // New tasks begin where the truth says.
            let changes = own.windows(2).filter(|pair| pair[0].task != pair[1].task);
            let changes: Vec<i64> = changes.map(|pair| pair[1].time - plan.interval).collect();
            let told: Vec<i64> = match truth.family {
                "cron" => of(EventKind::Run).skip(1).map(|event| event.from).collect(),
                _ => of(EventKind::NewTask).map(|event| event.from).collect(),
            };
            assert_eq!(changes, told, "{}", truth.workload);
        }
        let of = |family: &str| truths.iter().find(|truth| truth.family == family).expect("a truth");
        let leak = of("leak");
        let at = |time| rows.iter().find(|row| row.workload == leak.workload && row.time == time);
        let grown = at(2 * DAY).and_then(|row| row.memory).expect("a row")
            - at(300).and_then(|row| row.memory).expect("a row");
        let told = 2.0 * leak.memory_growth_per_day;
        assert!((grown - told).abs() < 0.15 * leak.memory_level, "{grown}, expected {told}");
        assert_eq!(of("step").events, [Event { kind: EventKind::NewTask, from: 7 * DAY, to: 7 * DAY }]);
        let crowd = Event { kind: EventKind::Crowd, from: 726_000, to: 729_600 };
        assert_eq!(of("flash-crowd").events, [crowd], "60 % of the time is 725,760 s, in the step before");
        assert_eq!((of("weekly").period, of("steady").events.len()), (Some(7 * DAY), 0));
    }
}
