//! Whether a stated risk is the one obtained among steady and among volatile workloads.
//!
//! In: a trace and what was scored on it. Out: figures of each class of volatility. A class is a third of the
//! workloads, by the mean change of usage from one step to the next.

use serde::Serialize;

use crate::replay::backtest::{Contender, Resource, Scored};
use crate::replay::figures::Figures;
use crate::replay::grid::{Step, Trace, WorkloadTrace};
use crate::replay::tally::sum;

/// A third of the workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Volatility {
    /// The third that moves least.
    Steady,
    /// The third between.
    Middling,
    /// The third that moves most.
    Volatile,
}

const CLASSES: [Volatility; 3] = [Volatility::Steady, Volatility::Middling, Volatility::Volatile];

/// What a class came to under one policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassLine {
    /// The policy as it was asked for.
    pub policy: String,
    /// The class.
    pub class: Volatility,
    /// Workloads in it.
    pub workloads: usize,
    /// The highest mean change of usage from step to step in the class, as a share.
    pub moves_at_most: f64,
    /// Its figures.
    pub figures: Figures,
}

/// The mean of the logarithm of usage over that of the step before, without its sign.
fn moves(workload: &WorkloadTrace, resource: Resource) -> f64 {
    let used = |step: &Step| match resource {
        Resource::Memory => step.memory.map(|used| used.max(1e6)),
        Resource::Cpu => step.cpu.map(|used| used.max(1e-4)),
    };
    let mut last: Vec<Option<(i64, f64)>> = vec![None; workload.tasks.len()];
    let (mut total, mut count) = (0.0, 0.0);
    for step in &workload.steps {
        let Some(now) = used(step) else { continue };
        let before = last[step.task as usize].replace((step.slot, now));
        if let Some((slot, before)) = before
            && step.slot == slot + 1
        {
            total += (now / before).ln().abs();
            count += 1.0;
        }
    }
    if count > 0.0 { total / count } else { 0.0 }
}

/// The figures of each class under each policy that was asked for.
pub fn by_volatility(
    trace: &Trace,
    resource: Resource,
    contenders: &[Contender],
    scored: &[Scored],
) -> Vec<ClassLine> {
    let moves: Vec<f64> = trace.workloads.iter().map(|workload| moves(workload, resource)).collect();
    let mut places: Vec<usize> = (0..moves.len()).collect();
    places.sort_by(|a, b| moves[*a].total_cmp(&moves[*b]));
    let third = |class: usize| class * places.len() / CLASSES.len();
    let mut lines = Vec::new();
    for contender in contenders {
        let asked = |one: &&Scored| one.asked && one.label == contender.label();
        let Some(one) = scored.iter().find(asked) else { continue };
        for (number, class) in CLASSES.into_iter().enumerate() {
            let own = &places[third(number)..third(number + 1)];
            let Some(last) = own.last() else { continue };
            let total = sum(own.iter().map(|place| &one.tallies[*place]));
            let counts = match resource {
                Resource::Memory => total.memory.scored(),
                Resource::Cpu => total.cpu.scored(),
            };
            lines.push(ClassLine {
                policy: one.label.clone(),
                class,
                workloads: own.len(),
                moves_at_most: moves[*last].exp_m1(),
                figures: Figures::of(&counts, trace.step),
            });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::trace::TraceRow;
    use crate::replay::vertical::replay;

    /// Three workloads over three days: each doubles every so many steps.
    fn trace() -> Trace {
        let rows = (0..864).flat_map(|step| {
            [("calm", 400), ("often", 2), ("seldom", 50)].map(|(name, every)| TraceRow {
                workload: name.to_owned(),
                task: "t".to_owned(),
                time: step * 300,
                cpu: Some(1.0),
                memory: Some(if step % every == every - 1 { 2e9 } else { 1e9 }),
                cpu_request: Some(1.0),
                memory_request: Some(1.5e9),
                load: None,
            })
        });
        Trace::new("three", &rows.collect::<Vec<_>>(), None).expect("a trace")
    }

    fn scored(trace: &Trace) -> (Vec<Contender>, Vec<Scored>) {
        let contender = Contender::parse("request").expect("a policy");
        let mut teller = contender.teller().expect("a policy");
        let outcome = replay(trace, &[0, 1, 2], &mut teller, false, &|_| {});
        let tallies = outcome.tallies.into_iter().map(|(_, tally)| tally).collect();
        let one = Scored { label: "request".to_owned(), knob: 1.0, asked: true, tallies };
        (vec![contender], vec![one])
    }

    #[test]
    fn workloads_are_told_apart_by_how_much_they_move() {
        let trace = trace();
        let (contenders, scored) = scored(&trace);
        let lines = by_volatility(&trace, Resource::Memory, &contenders, &scored);
        let found: Vec<_> =
            lines.iter().map(|line| (line.class, line.workloads, line.figures.missed)).collect();
        // Two of three days count; the request is passed at each peak.
        let expected =
            [(Volatility::Steady, 1, 2), (Volatility::Middling, 1, 12), (Volatility::Volatile, 1, 288)];
        assert_eq!(found, expected);
        assert!((lines[2].moves_at_most - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_before_the_first_step_that_counts_is_not_scored() {
        let trace = trace().scored_after(0.5);
        let (contenders, scored) = scored(&trace);
        let lines = by_volatility(&trace, Resource::Memory, &contenders, &scored);
        let volatile = &lines[2].figures;
        assert_eq!((volatile.missed, volatile.task_days), (216, 1.5));
        assert!(scored[0].tallies.iter().all(|tally| tally.memory.cold.steps == 0));
    }
}
