//! The vertical replay: steps of a trace past a policy.
//!
//! In each step the policy has already said its limits; then the usage arrives. Memory above the limit is
//! one kill: the policy learns that the limit was reached, no more; the task restarts and its next step
//! applies in full. CPU above the request is a short-fall, seen as it is.
//!
//! Nothing looks ahead: limits of all workloads in a step are asked for before any usage of it is told.

use serde::Serialize;

use crate::estimation::policy::{
    Asked, Grain, Kill, Learning, Limits, Observation, SizePolicy, WorkloadIndex,
};
use crate::replay::grid::{DayUse, Step, Trace, WorkloadTrace};
use crate::replay::tally::{Phase, Tally};

/// A change of limits. It holds from `time` on, for usage whose time is not before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LimitChange {
    /// The workload's place in the trace.
    pub workload: u32,
    /// The task's place in the workload; absent where all tasks share the limits.
    pub task: Option<u32>,
    /// From when on, in the trace's seconds.
    pub time: i64,
    /// What holds.
    pub memory: Option<f64>,
    /// What holds.
    pub cpu: Option<f64>,
}

/// A kill for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KillNote {
    /// The workload's place in the trace.
    pub workload: u32,
    /// The task's place in the workload.
    pub task: u32,
    /// The step of the usage, in the trace's seconds.
    pub time: i64,
}

/// Everything that a policy said and that was killed, by workload, then time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Changes of limits.
    pub limits: Vec<LimitChange>,
    /// Kills.
    pub kills: Vec<KillNote>,
}

/// What came of a replay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The place of each workload in the trace, with its counts.
    pub tallies: Vec<(usize, Tally)>,
    /// What was said; empty unless asked for.
    pub record: Record,
}

/// Who says the limits.
pub enum Teller {
    /// A policy, which sees the past.
    Policy(Box<dyn SizePolicy>),
    /// The oracle, which knows each task's day: its peak of memory, and the CPU that is short for no more
    /// than a share of it, told by its place in `SHORT_SHARES`.
    Oracle(usize),
}

/// The least that the oracle says, in bytes and cores: the floors of most peers.
const ORACLE_FLOOR: (f64, f64) = (100.0 * 1_048_576.0, 0.01);

impl Teller {
    /// Whether workloads may be replayed apart from each other.
    pub fn workloads_apart(&self) -> bool {
        match self {
            Self::Policy(policy) => policy.learning() == Learning::Apart,
            Self::Oracle(_) => true,
        }
    }

    fn grain(&self) -> Grain {
        match self {
            Self::Policy(policy) => policy.grain(),
            Self::Oracle(_) => Grain::Task,
        }
    }

    fn limits(&self, trace: &Trace, workload: usize, step: &Step, task: Option<u64>) -> Limits {
        match self {
            Self::Policy(policy) => policy.limits(number(workload), task, trace.before(step.slot)),
            Self::Oracle(share) => {
                let DayUse { memory_peak, cpu_short, .. } = trace.workloads[workload].days[step.day as usize];
                Limits {
                    memory: Some(memory_peak.max(ORACLE_FLOOR.0)),
                    cpu: cpu_short.get(*share).map(|cores| cores.max(ORACLE_FLOOR.1)),
                }
            }
        }
    }
}

fn number(workload: usize) -> WorkloadIndex {
    WorkloadIndex(workload as u32)
}

/// Replays workloads of a trace, given by their places. A policy that learns from the whole fleet must be
/// given all of them at once. `done` is called after each workload with its steps.
pub fn replay(
    trace: &Trace,
    workloads: &[usize],
    teller: &mut Teller,
    record: bool,
    done: &dyn Fn(usize),
) -> Outcome {
    let mut outcome = Outcome::default();
    let groups: Vec<&[usize]> =
        if teller.workloads_apart() { workloads.chunks(1).collect() } else { vec![workloads] };
    for group in groups {
        let mut runs: Vec<Run<'_>> = group.iter().map(|&place| Run::new(trace, place, record)).collect();
        replay_in_time(trace, &mut runs, teller);
        for mut run in runs {
            run.close_day();
            done(run.trace.steps.len());
            outcome.tallies.push((run.place, run.tally));
            outcome.record.limits.append(&mut run.record.limits);
            outcome.record.kills.append(&mut run.record.kills);
        }
    }
    outcome
}

fn replay_in_time(trace: &Trace, runs: &mut [Run<'_>], teller: &mut Teller) {
    while let Some(slot) = runs.iter().filter_map(Run::next_slot).min() {
        for run in runs.iter_mut().filter(|run| run.next_slot() == Some(slot)) {
            run.ask(trace, teller);
        }
        for run in runs.iter_mut().filter(|run| run.next_slot() == Some(slot)) {
            run.tell(trace, teller);
        }
        if let Teller::Policy(policy) = teller {
            policy.advance(trace.after(slot));
        }
        for run in runs.iter_mut().filter(|run| run.last_slot() == Some(slot)) {
            run.write_next(trace, teller);
        }
    }
}

/// One workload on its way through time.
struct Run<'a> {
    trace: &'a WorkloadTrace,
    place: usize,
    /// The next step that was not told.
    at: usize,
    /// What was last said: of the workload, or of each task.
    said: Vec<Option<Limits>>,
    /// The place in the record of what was last said.
    noted: Vec<Option<usize>>,
    /// What holds for each task of the current step, in the order of its steps.
    current: Vec<Limits>,
    asked: Asked,
    /// The first step of the workload with CPU, with memory; and of each task.
    first: [Option<i64>; 2],
    first_of_task: Vec<[Option<i64>; 2]>,
    day: DayCounts,
    tally: Tally,
    record: Record,
    recording: bool,
}

/// Kills of the day that is being counted.
#[derive(Default)]
struct DayCounts {
    day: Option<i64>,
    kills: u64,
    scored: bool,
    /// The last day on which each task was seen, and how many were on this one.
    seen: Vec<Option<i64>>,
    tasks: u64,
}

const CPU: usize = 0;
const MEMORY: usize = 1;

impl<'a> Run<'a> {
    fn new(trace: &'a Trace, place: usize, recording: bool) -> Self {
        let workload = &trace.workloads[place];
        let tasks = workload.tasks.len();
        Self {
            trace: workload,
            place,
            at: 0,
            said: vec![None; tasks],
            noted: vec![None; if recording { tasks } else { 0 }],
            current: Vec::with_capacity(tasks),
            asked: Asked::default(),
            first: [None; 2],
            first_of_task: vec![[None; 2]; tasks],
            day: DayCounts { seen: vec![None; tasks], ..DayCounts::default() },
            tally: Tally::default(),
            record: Record::default(),
            recording,
        }
    }

    fn next_slot(&self) -> Option<i64> {
        self.trace.steps.get(self.at).map(|step| step.slot)
    }

    fn last_slot(&self) -> Option<i64> {
        self.trace.steps[..self.at].last().map(|step| step.slot)
    }

    /// The steps of the tasks that run now.
    fn steps(&self) -> &'a [Step] {
        let rest = &self.trace.steps[self.at..];
        let end = rest.iter().position(|step| step.slot != rest[0].slot).unwrap_or(rest.len());
        &rest[..end]
    }

    /// Asks for the limits of the step, before anything of it is told.
    fn ask(&mut self, trace: &Trace, teller: &mut Teller) {
        let steps = self.steps();
        let asked = Asked {
            cpu: steps.iter().find_map(|step| step.cpu_request),
            memory: steps.iter().find_map(|step| step.memory_request),
        };
        if asked != self.asked
            && let Teller::Policy(policy) = teller
        {
            policy.declare(number(self.place), asked, trace.before(steps[0].slot));
            self.asked = asked;
        }
        self.current.clear();
        let shared = teller.grain() == Grain::Workload;
        for (place, step) in steps.iter().enumerate() {
            let limits = if shared && place > 0 {
                self.current[0]
            } else {
                let task = (!shared).then_some(u64::from(step.task));
                let limits = teller.limits(trace, self.place, step, task);
                let task = (!shared).then_some(step.task);
                self.count_change(trace, step, task, limits);
                self.write(task, limits, step.slot * trace.step, step.time);
                limits
            };
            self.current.push(limits);
        }
    }

    /// Writes down what holds from `time` on, where it is another than before. The first time that
    /// anything is said, it holds from the task's own `start` on.
    fn write(&mut self, task: Option<u32>, limits: Limits, time: i64, start: i64) {
        let Some(noted) = self.noted.get_mut(task.unwrap_or(0) as usize) else { return };
        let Limits { memory, cpu } = limits;
        let rows = &mut self.record.limits;
        let workload = self.place as u32;
        let Some(last) = *noted else {
            if memory.is_some() || cpu.is_some() {
                *noted = Some(rows.len());
                rows.push(LimitChange { workload, task, time: start, memory, cpu });
            }
            return;
        };
        if (rows[last].memory, rows[last].cpu) == (memory, cpu) {
            return;
        }
        if rows[last].time >= time {
            // Said again for the same step, since the owner asked for something else.
            (rows[last].memory, rows[last].cpu) = (memory, cpu);
            return;
        }
        *noted = Some(rows.len());
        rows.push(LimitChange { workload, task, time, memory, cpu });
    }

    /// Writes down at once what follows from a step, whether or not the next one comes: what a record
    /// says before an instant then depends on nothing after it.
    fn write_next(&mut self, trace: &Trace, teller: &Teller) {
        let Some(last) = self.at.checked_sub(1).map(|at| self.trace.steps[at]) else { return };
        if !self.recording || matches!(teller, Teller::Oracle(_)) {
            return;
        }
        let next = last.slot + 1;
        let told = self.trace.steps[..self.at].iter().rev().take_while(|step| step.slot == last.slot);
        let each = teller.grain() == Grain::Task;
        for step in told.take(if each { usize::MAX } else { 1 }) {
            let step = Step { slot: next, ..*step };
            let limits = teller.limits(trace, self.place, &step, each.then_some(u64::from(step.task)));
            self.write(each.then_some(step.task), limits, next * trace.step, next * trace.step);
        }
    }

    /// Counts what was said, where it is another than before.
    fn count_change(&mut self, trace: &Trace, step: &Step, task: Option<u32>, limits: Limits) {
        let said = &mut self.said[task.unwrap_or(0) as usize];
        let before = *said;
        if before == Some(limits) {
            return;
        }
        *said = Some(limits);
        let Some(before) = before else { return };
        if let (Some(from), Some(to)) = (before.memory, limits.memory) {
            let counts = self.tally.memory.of(self.workload_phase(trace, MEMORY, step.slot));
            counts.in_place += u64::from(to > from);
            counts.restarts += u64::from(to < from);
        }
        if let (Some(from), Some(to)) = (before.cpu, limits.cpu) {
            let phase = self.workload_phase(trace, CPU, step.slot);
            self.tally.cpu.of(phase).in_place += u64::from((to - from).abs() > 0.0);
        }
    }

    /// The phase of the workload as a whole.
    fn workload_phase(&self, trace: &Trace, resource: usize, slot: i64) -> Phase {
        let old = self.first[resource].is_some_and(|first| slot - first >= trace.day());
        if slot < trace.scored_from {
            Phase::Unscored
        } else if old {
            Phase::Settled
        } else {
            Phase::Cold
        }
    }

    fn phase(&mut self, trace: &Trace, resource: usize, step: &Step) -> Phase {
        self.first[resource].get_or_insert(step.slot);
        let first = *self.first_of_task[step.task as usize][resource].get_or_insert(step.slot);
        match self.workload_phase(trace, resource, step.slot) {
            Phase::Settled if step.slot - first < trace.day() => Phase::NewTask,
            phase => phase,
        }
    }

    /// Counts the step and tells the policy of it.
    fn tell(&mut self, trace: &Trace, teller: &mut Teller) {
        let steps = self.steps();
        let slot = steps[0].slot;
        self.begin_day((slot - trace.origin).div_euclid(trace.day()));
        let mut phases = [None; 2];
        for (place, step) in steps.iter().enumerate() {
            let limits = self.current[place];
            let mut observed = Observation {
                task: u64::from(step.task),
                at: trace.after(slot),
                cpu: step.cpu,
                memory: step.memory,
                load: step.load,
            };
            let day = self.trace.days[step.day as usize];
            self.day.see(step.task);
            if let Some(cores) = step.cpu {
                let phase = self.phase(trace, CPU, step);
                phases[CPU] = Some(phase);
                self.tally.cpu.of(phase).step(cores, limits.cpu, day.cpu_p95);
            }
            let mut kill = None;
            if let Some(bytes) = step.memory {
                let phase = self.phase(trace, MEMORY, step);
                phases[MEMORY] = Some(phase);
                self.tally.memory.of(phase).step(bytes, limits.memory, day.memory_p95);
                kill = limits.memory.filter(|limit| bytes > *limit);
                self.day.count(kill.is_some(), phase);
            }
            if let Some(limit) = kill {
                observed.memory = Some(limit);
                self.note_kill(trace, step);
            }
            if let Teller::Policy(policy) = teller {
                policy.observe(number(self.place), &observed);
                if let Some(reached) = kill {
                    let kill = Kill { task: observed.task, at: observed.at, reached };
                    policy.observe_oom(number(self.place), &kill);
                }
            }
        }
        for (counts, phase) in [&mut self.tally.cpu, &mut self.tally.memory].into_iter().zip(phases) {
            if let Some(phase) = phase {
                counts.of(phase).workload_steps += 1;
            }
        }
        self.at += steps.len();
    }

    fn note_kill(&mut self, trace: &Trace, step: &Step) {
        if self.recording {
            let (workload, time) = (self.place as u32, step.slot * trace.step);
            self.record.kills.push(KillNote { workload, task: step.task, time });
        }
    }

    fn begin_day(&mut self, day: i64) {
        if self.day.day != Some(day) {
            self.close_day();
            self.day.day = Some(day);
        }
    }

    fn close_day(&mut self) {
        let day = &mut self.day;
        self.tally.days += u64::from(day.scored);
        let severe = day.kills > 4 && day.kills * 7 > day.tasks;
        self.tally.severe_days += u64::from(day.scored && severe);
        (day.kills, day.scored, day.tasks) = (0, false, 0);
    }
}

impl DayCounts {
    fn see(&mut self, task: u32) {
        let seen = &mut self.seen[task as usize];
        self.tasks += u64::from(*seen != self.day);
        *seen = self.day;
    }

    fn count(&mut self, killed: bool, phase: Phase) {
        if !matches!(phase, Phase::Cold | Phase::Unscored) {
            self.scored = true;
            self.kills += u64::from(killed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::trace::TraceRow;
    use crate::estimation::policy::Kill;
    use crate::replay::backtest::Contender;
    use crate::replay::grid::DAY;

    fn row(workload: &str, task: &str, time: i64, memory: f64) -> TraceRow {
        TraceRow {
            workload: workload.to_owned(),
            task: task.to_owned(),
            time,
            cpu: Some(memory / 1e9),
            memory: Some(memory),
            cpu_request: Some(2.0),
            memory_request: Some(2e9),
            load: None,
        }
    }

    /// A wave with noise, gaps and a task that comes late; the same at every call.
    fn rows() -> Vec<TraceRow> {
        let mut rows = Vec::new();
        let mut noise = 1_u64;
        for workload in 0..4 {
            for task in 0..=(workload % 2) {
                for step in 0..1200_i64 {
                    noise =
                        noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let away = (step / 150) % 4 == 3 && workload == 2;
                    if away || step < task * 400 {
                        continue;
                    }
                    let wave = (step as f64 / 46.0).sin() * 2e8 + (noise >> 40) as f64 * 20.0;
                    let time = step * 300 + workload * 17;
                    rows.push(row(&format!("w{workload}"), &format!("t{task}"), time, 5e8 + wave));
                }
            }
        }
        rows
    }

    fn outcome(rows: &[TraceRow], label: &str) -> (Trace, Outcome) {
        let trace = Trace::new("t", rows, Some(300)).expect("a trace");
        let mut teller = Contender::parse(label).and_then(|c| c.teller()).expect("a teller");
        let all: Vec<usize> = (0..trace.workloads.len()).collect();
        let outcome = replay(&trace, &all, &mut teller, true, &|_| {});
        (trace, outcome)
    }

    #[test]
    fn a_kill_shows_the_limit_and_the_next_step_applies_in_full() {
        // A fixed limit of 1 GB: the third and fourth step are above it.
        let rows: Vec<_> = [5e8, 9e8, 15e8, 12e8, 1e8]
            .iter()
            .zip(0..)
            .map(|(memory, step)| row("w", "t", DAY + step * 300, *memory))
            .chain([row("w", "t", 0, 1e8)])
            .collect();
        let (_, outcome) = outcome(&rows, "request:factor=0.5");
        let memory = outcome.tallies[0].1.memory;
        assert_eq!((memory.cold.steps, memory.settled.steps, memory.settled.missed), (1, 5, 2));
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1.0, "{found}");
        close(memory.settled.excess, 7e8);
        close(memory.settled.footprint, 5e9);
        assert_eq!(outcome.record.kills.iter().map(|kill| kill.time - DAY).collect::<Vec<_>>(), [600, 900]);
        assert_eq!(outcome.record.limits.len(), 1, "one request, said once");
    }

    #[test]
    fn policies_see_no_more_than_the_limit() {
        /// Remembers the most that it was told, and always says the same limit.
        struct Fixed(std::sync::Arc<std::sync::Mutex<(f64, f64)>>);
        impl SizePolicy for Fixed {
            fn observe(&mut self, _: WorkloadIndex, observation: &Observation) {
                let mut seen = self.0.lock().expect("a lock");
                seen.0 = seen.0.max(observation.memory.unwrap_or(0.0));
            }
            fn observe_oom(&mut self, _: WorkloadIndex, kill: &Kill) {
                let mut seen = self.0.lock().expect("a lock");
                seen.1 = seen.1.max(kill.reached);
            }
            fn limits(&self, _: WorkloadIndex, _: Option<u64>, _: jiff::Timestamp) -> Limits {
                Limits { memory: Some(3e8), cpu: None }
            }
            fn forget(&mut self, _: WorkloadIndex) {}
        }
        let seen = std::sync::Arc::default();
        let trace = Trace::new("t", &rows(), None).expect("a trace");
        let mut teller = Teller::Policy(Box::new(Fixed(std::sync::Arc::clone(&seen))));
        replay(&trace, &[0, 1, 2, 3], &mut teller, false, &|_| {});
        assert_eq!(*seen.lock().expect("a lock"), (3e8, 3e8));
    }

    #[test]
    fn more_than_four_kills_and_a_seventh_of_the_tasks_make_a_severe_day() {
        let kills = |count: i64| {
            let mut all: Vec<_> = (0..576).map(|step| row("w", "t", step * 300, 1e8)).collect();
            for row in &mut all[400..400 + count as usize] {
                row.memory = Some(3e9);
            }
            let tally = outcome(&all, "request").1.tallies[0].1;
            (tally.days, tally.severe_days)
        };
        assert_eq!((kills(4), kills(5)), ((1, 0), (1, 1)));
    }

    #[test]
    fn a_new_task_of_an_old_workload_is_counted_apart() {
        let all: Vec<_> = (0..600)
            .map(|step| row("w", "old", step * 300, 1e8))
            .chain((300..600).map(|step| row("w", "new", step * 300, 1e8)))
            .collect();
        let memory = outcome(&all, "request").1.tallies[0].1.memory;
        assert_eq!((memory.cold.steps, memory.new_task.steps, memory.settled.steps), (288, 288, 324));
    }

    #[test]
    fn the_oracle_is_never_short() {
        let tally = crate::replay::tally::sum(outcome(&rows(), "oracle").1.tallies.iter().map(|(_, t)| t));
        assert_eq!((tally.memory.settled.missed, tally.cpu.settled.missed), (0, 0));
        assert!(tally.memory.settled.footprint > tally.memory.settled.usage);
    }

    #[test]
    fn cutting_a_trace_changes_nothing_before_the_cut() {
        let whole = rows();
        let mut noise = 7_u64;
        for entry in crate::estimation::catalogue::ENTRIES {
            let (trace, full) = outcome(&whole, entry.name);
            for _ in 0..4 {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let cut = i64::try_from((noise >> 33) % 330_000).expect("small") + 20_000;
                let kept: Vec<_> = whole.iter().filter(|row| row.time < cut).cloned().collect();
                let (short, part) = outcome(&kept, entry.name);
                let named = |trace: &Trace, outcome: &Outcome| -> Vec<(String, LimitChange)> {
                    let before = |change: &&LimitChange| change.time < cut;
                    let of = |change: &LimitChange| {
                        let name = trace.workloads[change.workload as usize].name.clone();
                        (name, LimitChange { workload: 0, ..*change })
                    };
                    outcome.record.limits.iter().filter(before).map(of).collect()
                };
                assert_eq!(named(&trace, &full), named(&short, &part), "{} at {cut}", entry.name);
            }
        }
    }
}
