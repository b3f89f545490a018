//! What a trace teaches: each slot's context and what usage came of it.
//!
//! In: traces. Out: lessons, for `fit`. A lesson's context is what the policy would have known, also after a
//! kill, when it knows only that its limit was reached; what came is what really came.

use crate::estimation::loadline::policy::{bumped, slot_of};
use crate::estimation::loadline::recent::{Context, Recent};
use crate::estimation::loadline::sizer::{Held, Sizer};
use crate::replay::backtest::Resource;
use crate::replay::grid::{Trace, WorkloadTrace};

/// One slot of one workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesson {
    /// What was known.
    pub context: Context,
    /// The logarithm of the highest use that came.
    pub next: f32,
    /// The place of its trace.
    pub trace: u16,
}

/// A limit that is in force while lessons are taken: they then show what is known after kills.
#[derive(Debug, Clone, Copy)]
pub struct Pilot<'a> {
    /// Who says the limit.
    pub sizer: &'a Sizer,
    /// The price of a kill.
    pub price: f64,
}

/// The highest use of each slot of a workload, in the order of time.
fn highest(trace: &Trace, workload: &WorkloadTrace, resource: Resource) -> Vec<(i32, f64)> {
    let mut slots: Vec<(i32, f64)> = Vec::new();
    for step in &workload.steps {
        let used = match resource {
            Resource::Memory => step.memory.map(|used| used.max(1e6)),
            Resource::Cpu => step.cpu.map(|used| used.max(1e-4)),
        };
        let Some(used) = used else { continue };
        let slot = slot_of(trace.after(step.slot));
        match slots.last_mut() {
            Some((last, most)) if *last == slot => *most = most.max(used),
            _ => slots.push((slot, used)),
        }
    }
    slots
}

/// The mean of what a workload uses in a slot, over all workloads.
pub fn mean_use(trace: &Trace, resource: Resource) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for workload in &trace.workloads {
        for (_, used) in highest(trace, workload, resource) {
            sum += used;
            count += 1.0;
        }
    }
    if count > 0.0 { sum / count } else { 1.0 }
}

/// The lessons of a trace, under its number.
pub fn lessons((number, trace): (u16, &Trace), resource: Resource, pilot: Option<Pilot<'_>>) -> Vec<Lesson> {
    let mut lessons = Vec::new();
    for workload in &trace.workloads {
        let mut recent = Recent::default();
        for (slot, used) in highest(trace, workload, resource) {
            if let Some(context) = recent.context(slot) {
                lessons.push(Lesson { context, next: used.ln() as f32, trace: number });
            }
            let limit =
                pilot.and_then(|pilot| pilot.sizer.choose((&recent, &Held::default()), slot, pilot.price));
            match limit {
                Some(choice) if used > choice.limit => {
                    recent.observe(slot, choice.limit.ln() as f32);
                    recent.killed(slot, bumped(choice.limit).ln() as f32);
                }
                _ => {
                    recent.observe(slot, used.ln() as f32);
                }
            }
        }
    }
    lessons
}
