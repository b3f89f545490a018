//! What the status of a large engine costs: everything at a glance, as the API answers it, and as text.

use divan::{Bencher, black_box};
use jiff::Timestamp;

use loadline::api::present::status;
use loadline::domain::money::{MicroCents, Prices};

#[path = "common/mod.rs"]
mod common;

fn main() {
    divan::main();
}

fn prices() -> Prices {
    Prices { core_hour: MicroCents::from_units(0.03), gib_hour: MicroCents::from_units(0.004) }
}

#[divan::bench(args = [1_000, 10_000])]
fn status_of_running_tasks(bencher: Bencher<'_, '_>, tasks: u32) {
    let view = common::view(tasks, tasks / 10);
    bencher.bench(|| status(black_box(&view), &prices(), Timestamp::UNIX_EPOCH));
}

#[divan::bench(args = [1_000, 10_000])]
fn status_as_json(bencher: Bencher<'_, '_>, tasks: u32) {
    let view = common::view(tasks, tasks / 10);
    bencher.bench(|| {
        serde_json::to_vec(&status(black_box(&view), &prices(), Timestamp::UNIX_EPOCH)).expect("JSON")
    });
}

/// A tenth of them found no node.
#[divan::bench(args = [1_000, 10_000])]
fn status_with_a_tenth_waiting(bencher: Bencher<'_, '_>, tasks: u32) {
    let view = common::view(tasks, tasks * 9 / 110);
    assert!(view.waiting.len() >= tasks as usize / 11, "{}", view.waiting.len());
    bencher.bench(|| status(black_box(&view), &prices(), Timestamp::UNIX_EPOCH));
}
