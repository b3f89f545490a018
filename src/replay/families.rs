//! Generated usage with known truth: families of workloads whose shape is known because it was made.
//!
//! In: a family, days, an interval, a seed. Out: rows of a trace, the same for the same input everywhere.

use std::f64::consts::TAU;

use crate::domain::trace::TraceRow;
use crate::replay::grid::DAY;

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

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
    /// The level rises by half in the middle.
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
        (Self::Step, "step", "from half of the time on, 1.5 times the level"),
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
                let level = if second * 2 >= end { 1.5 } else { 1.0 };
                (level, level, 0)
            }
            Self::StartUp => {
                let level = if second % (2 * DAY) < 900 { 3.0 } else { 1.0 };
                (level, level, second / (2 * DAY))
            }
            Self::Plateau => (1.0 + (days * 2.0).min(1.0), wave, 0),
            Self::Cron => {
                let run = second / (DAY / 4);
                return (second % (DAY / 4) < 1800).then_some((1.0, 1.0, run));
            }
            Self::FlashCrowd => {
                let crowd = (0..3600).contains(&(second - end * 6 / 10));
                let level = if crowd { 4.0 } else { 1.0 };
                (level, level, 0)
            }
        })
    }
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

/// Rows of the families, by workload, then time. Levels are drawn between 64 MiB and 4 GiB and between
/// 0.05 and 4 cores; the owner asked for twice the level.
pub fn generate(families: &[Family], plan: Plan) -> Vec<TraceRow> {
    let mut rows = Vec::new();
    for (family, name, _) in Family::ALL.into_iter().filter(|(family, ..)| families.contains(family)) {
        for number in 0..plan.workloads {
            let mut noise =
                Noise::new(plan.seed ^ (u64::from(number) << 32) ^ (family as u64).wrapping_mul(0x9e37_79b9));
            workload(family, &format!("{name}-{number}"), plan, &mut noise, &mut rows);
        }
    }
    rows
}

fn workload(family: Family, name: &str, plan: Plan, noise: &mut Noise, rows: &mut Vec<TraceRow>) {
    let memory = 64.0 * MIB * 64_f64.powf(noise.draw());
    let cpu = 0.05 * 80_f64.powf(noise.draw());
    let end = plan.days * DAY;
    let steps = (end / plan.interval).max(1);
    for step in 0..steps {
        let second = step * plan.interval;
        let (more, jitter) = (noise.draw(), noise.draw());
        let Some((of_memory, of_cpu, task)) = family.at(second, end) else { continue };
        let looped = family == Family::OomLoop && (second + plan.interval) % (4 * 3600) < plan.interval;
        let of_memory = if looped { 3.0 } else { of_memory };
        rows.push(TraceRow {
            workload: name.to_owned(),
            task: format!("{name}.{task}"),
            time: second + plan.interval,
            cpu: Some(cpu * of_cpu * (0.95 + 0.1 * jitter)),
            memory: Some(memory * of_memory * (0.95 + 0.1 * more)),
            cpu_request: Some(cpu * 2.0),
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
        generate(&[family], Plan { workloads: 1, days: 7, interval: 300, seed: 5 })
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
}
