//! What an engine holds in memory for its tasks: the world, a second copy of it (a change is made on a copy
//! while readers hold the old one), the observation, the newest sample of each task, and one plan with
//! its view. Prints the resident memory, and fails where it is more than the bound.
#![expect(clippy::print_stdout, reason = "a bench reports")]

use loadline::scheduling::{PlanSettings, plan};

#[path = "common/mod.rs"]
mod common;

const TASKS: u32 = 10_000;
const BOUND_MIB: u64 = 150;

/// Resident memory of this process, and the most that it ever was.
fn resident_mib() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn main() {
    let (before, _) = resident_mib();
    for (what, nodes) in [("running", TASKS / 10), ("a tenth waiting", TASKS * 9 / 110)] {
        let view = common::view(TASKS, nodes);
        let copy = view.world.as_ref().clone();
        let planned = plan(&copy, &view.observed, &PlanSettings::default(), common::start());
        let (now, most) = resident_mib();
        println!("{TASKS} tasks, {what}: {now} MiB resident, {most} MiB at most, {before} MiB before");
        assert_eq!(view.waiting.len(), planned.waiting.len());
        assert!(most < BOUND_MIB, "{most} MiB, where {BOUND_MIB} MiB is the bound");
    }
}
