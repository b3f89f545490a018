//! What load models cost: time per observation and per answer, bytes per service.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};
use loadline::forecasting::load_model::{Asked, Observation, ServiceModel};

/// Six hours of one instance, an observation every 15 s.
const OBSERVATIONS: u32 = 1440;

fn main() {
    let kept = postcard::to_allocvec(&learnt()).map(|kept| kept.len());
    // What speed cannot show.
    #[expect(clippy::print_stdout, reason = "a bench reports on its standard output")]
    {
        println!("bytes per service in a checkpoint: {kept:?}");
    }
    divan::main();
}

fn observation(step: u32) -> Observation {
    let load = 25.0 + 20.0 * (f64::from(step) / 200.0).sin();
    let uneven = f64::from(step * 7919 % 101) / 1010.0;
    Observation {
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(15 * i64::from(step)),
        load,
        cpu: 0.05 + 0.01 * load + 0.1 * uneven,
        memory: 1e8 + 1e6 * uneven,
        latency: Some(0.02 / (1.0 - load / 60.0)),
        errors: 0.0,
        throttled: None,
        cpu_limit: None,
    }
}

fn learnt() -> ServiceModel {
    let mut model = ServiceModel::default();
    (0..OBSERVATIONS).for_each(|step| model.observe(&observation(step)));
    model
}

#[divan::bench]
fn observe(bencher: Bencher<'_, '_>) {
    let all: Vec<Observation> = (0..OBSERVATIONS).map(observation).collect();
    bencher.counter(ItemsCount::new(OBSERVATIONS)).with_inputs(learnt).bench_values(|mut model| {
        for seen in &all {
            model.observe(black_box(seen));
        }
        model
    });
}

#[divan::bench]
fn answer(bencher: Bencher<'_, '_>) {
    let model = learnt();
    let asked = Asked { cores: Some(1.0), latency: Some(0.1) };
    bencher.bench(|| black_box(&model).model(black_box(asked)));
}
