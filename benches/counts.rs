//! What a policy of counts costs: decisions per second on a day of load in steps of 15 s, after a week that it knows.

use divan::Bencher;
use divan::counter::ItemsCount;
use loadline::domain::workload::WorkloadName;
use loadline::scaling::counts::catalogue::{CountRecipe, ENTRIES};
use loadline::scaling::counts::{Seen, Terms};

fn main() {
    divan::main();
}

const TERMS: Terms = Terms { capacity: 10.0, startup: 60.0, interval: 15.0, min: 1, max: 40 };
const DAY: i64 = 5_760;

fn seen(step: i64, ready: u32) -> Seen {
    let load = 150.0 + 120.0 * (step as f64 / DAY as f64 * std::f64::consts::TAU).sin() + (step % 7) as f64;
    Seen { at: step * 15, load: Some(load), ready, starting: 0 }
}

#[divan::bench(args = ENTRIES.iter().map(|entry| entry.name), sample_count = 5)]
fn decisions(bencher: Bencher<'_, '_>, name: &str) {
    let service = WorkloadName::new("web").expect("a name");
    let mut policy = CountRecipe::parse(name).expect("a policy").make(&service);
    let (mut step, mut count) = (0, 10);
    let mut go_on = |steps: i64| {
        for _ in 0..steps {
            step += 1;
            count = policy.decide(&seen(step, count), &TERMS).count;
        }
        count
    };
    go_on(7 * DAY);
    bencher.counter(ItemsCount::new(DAY as u64)).bench_local(|| go_on(DAY));
}
