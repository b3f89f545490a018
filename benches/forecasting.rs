//! What forecasting costs: time per observation and per answer, a tick of 10,000 services, bytes per service.

use std::time::Instant;

use divan::{Bencher, black_box};
use loadline::forecasting::Forecaster;

/// Two weeks of minutes.
const MINUTES: i64 = 14 * 1440;

fn main() {
    let fed = fed();
    // What a bench of one service cannot show: caches that 10,000 services do not fit into.
    let mut services = vec![fed.clone(); 10_000];
    let mut ticks = Vec::new();
    for minute in MINUTES..MINUTES + 10 {
        let begun = Instant::now();
        let mut sum = 0.0;
        for service in &mut services {
            let _ = service.observe(minute * 60, load(minute));
            sum += service.max_quantile(minute * 60, minute * 60 + 300, 0.99).unwrap_or(0.0);
        }
        black_box(sum);
        ticks.push(begun.elapsed());
    }
    ticks.sort();
    #[expect(clippy::print_stdout, reason = "a bench reports on its standard output")]
    {
        println!("bytes per service: {} live, {} of history", Forecaster::LIVE_BYTES, fed.history_bytes());
        println!(
            "a tick of 10,000 services, each observed and asked once: median {:.0?}, slowest {:.0?} (slots close)",
            ticks[ticks.len() / 2],
            ticks[ticks.len() - 1]
        );
    }
    drop(services);
    divan::main();
}

/// A day's rhythm with noise.
fn load(minute: i64) -> f64 {
    let noise = (minute * 7919 % 101) as f64 / 101.0;
    let day = (minute as f64 / 1440.0 * std::f64::consts::TAU).sin();
    100.0 * (1.2 + day) * (0.9 + 0.2 * noise)
}

fn fed() -> Forecaster {
    let mut forecaster = Forecaster::new(60);
    for minute in 0..MINUTES {
        let _ = forecaster.observe(minute * 60, load(minute));
    }
    forecaster
}

/// Five minutes: what a slot costs in all.
#[divan::bench]
fn observe_a_slot(bencher: Bencher<'_, '_>) {
    let mut forecaster = fed();
    let mut minute = MINUTES;
    bencher.bench_local(|| {
        for _ in 0..5 {
            let _ = forecaster.observe(minute * 60, load(minute));
            minute += 1;
        }
    });
}

/// The highest load of the next so many seconds.
#[divan::bench(args = [300, 3600, 86_400])]
fn max_quantile(bencher: Bencher<'_, '_>, seconds: i64) {
    let forecaster = fed();
    let now = MINUTES * 60;
    bencher.bench(|| black_box(&forecaster).max_quantile(now, now + seconds, 0.99));
}

/// A course of so many seconds, a value every 5 minutes, three quantiles.
#[divan::bench(args = [3600, 172_800])]
fn path(bencher: Bencher<'_, '_>, seconds: i64) {
    let forecaster = fed();
    bencher.bench(|| black_box(&forecaster).path(MINUTES * 60, seconds, 300, &[0.5, 0.9, 0.99]));
}
