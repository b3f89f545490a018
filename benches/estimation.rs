//! What estimating costs: time per sample and per answer, bytes per workload.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};
use loadline::domain::money::{MicroCents, Prices};
use loadline::domain::policy::SizeBounds;
use loadline::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use loadline::domain::task::TaskId;
use loadline::domain::usage::UsageSample;
use loadline::domain::workload::WorkloadName;
use loadline::estimation::catalogue::{ENTRIES, Recipe};
use loadline::estimation::jobs::ladder::{Ladder, LadderState};
use loadline::estimation::jobs::{RunEnd, RunOutcome};
use loadline::estimation::policy::{Observation, SizePolicy, WorkloadIndex};
use loadline::estimation::profile::Profile;
use loadline::estimation::vpa::VpaEstimator;
use loadline::estimation::vpa_parameters::{VpaModel, VpaParameters};
use loadline::estimation::vpa_state::VpaState;
use loadline::estimation::{Estimator, Subject};

/// A day of one task, a sample a minute.
const SAMPLES: u32 = 1440;

fn main() {
    let model = model();
    let bytes = |cores: fn(u32) -> f64| {
        let mut state = VpaState::default();
        for i in 0..8 * SAMPLES {
            state.observe(&model, &Observation::of(&sample(i, cores(i))));
        }
        state.size_in_memory()
    };
    // What speed cannot show: what eight days of one task leave behind.
    #[expect(clippy::print_stdout, reason = "a bench reports on its standard output")]
    {
        println!("bytes per workload, steady use (0.2 to 0.4 cores): {}", bytes(|i| 0.2 + wave(i) * 0.2));
        println!("bytes per workload, a day's swing (0.05 to 2 cores): {}", bytes(|i| 0.05 + wave(i) * 1.95));
        println!(
            "bytes per workload, idle and busy (0.001 to 30 cores): {}",
            bytes(|i| 0.001 + wave(i).powi(9) * 30.0)
        );
    }
    divan::main();
}

fn model() -> VpaModel {
    VpaModel::new(VpaParameters::default()).expect("the published parameters")
}

fn web() -> WorkloadName {
    WorkloadName::new("web").expect("a name")
}

/// From 0 to 1 and back over a day.
fn wave(i: u32) -> f64 {
    (f64::from(i) / f64::from(SAMPLES) * std::f64::consts::PI).sin().abs()
}

fn sample(i: u32, cores: f64) -> UsageSample {
    UsageSample {
        workload: web(),
        task: TaskId::new(web(), 1),
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(i64::from(i)),
        interval_seconds: Some(60.0),
        cpu_cores: Some(cores),
        throttled_share: None,
        memory: Bytes::new(200_000_000 + (wave(i) * 1e8) as u64),
        page_cache: None,
        request: Resources::new(Millicores::new(500), Bytes::mib(512)),
        oom_kills: 0,
    }
}

fn day() -> Vec<UsageSample> {
    (0..SAMPLES).map(|i| sample(i, 0.05 + wave(i) * 1.95)).collect()
}

/// Five minutes apart, as in traces: the limits that hold, CPU and memory of one sample, and what each policy of
/// the catalogue makes of it.
#[divan::bench(args = ENTRIES.iter().map(|entry| entry.name))]
fn observe_policy(bencher: Bencher<'_, '_>, name: &str) {
    let at = |i: u32| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(5 * i64::from(i));
    let days: Vec<Observation> = day()
        .iter()
        .zip(0..)
        .map(|(sample, i)| Observation { at: at(i), ..Observation::of(sample) })
        .collect();
    let workload = WorkloadIndex(0);
    bencher
        .counter(ItemsCount::new(SAMPLES))
        .with_inputs(|| Recipe::parse(name, ENTRIES).and_then(|recipe| recipe.make()).expect("a policy"))
        .bench_values(|mut policy| {
            for sample in &days {
                black_box(policy.limits(workload, None, sample.at));
                policy.observe(workload, sample);
                policy.advance(sample.at);
            }
            policy
        });
}

/// A fleet under Loadline's own policy, with a few hours of usage each.
fn fleet(workloads: u32) -> Box<dyn SizePolicy> {
    let mut policy = Recipe::parse("loadline", ENTRIES).and_then(|recipe| recipe.make()).expect("a policy");
    for slot in 0..30 {
        for workload in 0..workloads {
            let sample = Observation::of(&sample(slot * 5, 0.05 + wave(workload) * 2.0));
            policy.observe(WorkloadIndex(workload), &sample);
        }
        policy.advance(Timestamp::UNIX_EPOCH + SignedDuration::from_mins(i64::from(slot) * 5));
    }
    policy
}

/// Five seconds apart, as the engine samples: CPU and memory of one sample into Loadline's own policy.
#[divan::bench]
fn observe_loadline_every_5_seconds(bencher: Bencher<'_, '_>) {
    let at = |i: u32| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(5 * i64::from(i));
    let samples: Vec<Observation> =
        (0..SAMPLES).map(|i| Observation { at: at(i), ..Observation::of(&sample(i, 0.5)) }).collect();
    bencher.counter(ItemsCount::new(SAMPLES)).with_inputs(|| fleet(1)).bench_values(|mut policy| {
        for sample in &samples {
            policy.observe(WorkloadIndex(1), black_box(sample));
        }
        policy
    });
}

/// Everything that is known of 100,000 workloads, written.
#[divan::bench(sample_count = 5)]
fn checkpoint_of_100_000_workloads(bencher: Bencher<'_, '_>) {
    let policy = fleet(100_000);
    bencher.bench_local(|| policy.checkpoint());
}

/// The same, read.
#[divan::bench(sample_count = 5)]
fn restore_of_100_000_workloads(bencher: Bencher<'_, '_>) {
    let mut policy = fleet(100_000);
    let checkpoint = policy.checkpoint().expect("a checkpoint");
    bencher.bench_local(|| policy.restore(&checkpoint));
}

/// A new slot of 100,000 workloads: their samples, and what is decided on them.
#[divan::bench(sample_count = 5)]
fn slot_of_100_000_workloads(bencher: Bencher<'_, '_>) {
    let mut policy = fleet(100_000);
    let mut slot = 30;
    bencher.bench_local(|| {
        for workload in 0..100_000 {
            let sample = Observation::of(&sample(slot * 5, 0.05 + wave(workload) * 2.0));
            policy.observe(WorkloadIndex(workload), &sample);
        }
        policy.advance(Timestamp::UNIX_EPOCH + SignedDuration::from_mins(i64::from(slot) * 5));
        slot += 1;
    });
}

/// New limits of 100,000 workloads, as after a change of the price.
#[divan::bench(sample_count = 5)]
fn limits_of_100_000_workloads_afresh(bencher: Bencher<'_, '_>) {
    let policy = fleet(100_000);
    // Asked after a gap, each limit is chosen anew.
    let later = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(4);
    bencher.bench_local(|| {
        for workload in 0..100_000 {
            black_box(policy.limits(WorkloadIndex(workload), None, later));
        }
    });
}

/// CPU and memory of one sample, into the state of one workload.
#[divan::bench]
fn observe_state(bencher: Bencher<'_, '_>) {
    let (model, day) = (model(), day());
    bencher.counter(ItemsCount::new(SAMPLES)).with_inputs(VpaState::default).bench_values(|mut state| {
        for sample in &day {
            black_box(state.observe(&model, &Observation::of(sample)));
        }
        state
    });
}

/// The same sample into the profile of a workload with three tasks.
#[divan::bench]
fn observe_profile(bencher: Bencher<'_, '_>) {
    let day: Vec<Observation> = day().iter().map(Observation::of).collect();
    bencher.counter(ItemsCount::new(SAMPLES)).with_inputs(Profile::default).bench_values(|mut profile| {
        for (number, sample) in (0_u64..).zip(&day) {
            let (cpu, memory) = (sample.cpu.map(|cpu| cpu as f32), sample.memory.map(|memory| memory as f32));
            profile.observe(number % 3, black_box(sample.at), cpu, memory);
        }
        profile
    });
}

/// Everything that eight days of it show.
#[divan::bench]
fn findings(bencher: Bencher<'_, '_>) {
    let mut profile = Profile::default();
    for i in 0..8 * SAMPLES {
        let sample = Observation::of(&sample(i, wave(i)));
        profile.observe(1, sample.at, Some(wave(i) as f32), sample.memory.map(|memory| memory as f32));
    }
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(8 * 24);
    bencher.bench(|| black_box(&profile).findings(now));
}

/// The same through the trait, among a thousand workloads.
#[divan::bench]
fn observe_among_a_thousand_workloads(bencher: Bencher<'_, '_>) {
    let mut estimator = VpaEstimator::new(VpaParameters::default()).expect("the published parameters");
    let names: Vec<WorkloadName> =
        (0..1000).map(|i| WorkloadName::new(&format!("service-{i}")).expect("a name")).collect();
    let mut minute = 0;
    let of = move |minute: u32| -> Vec<UsageSample> {
        let one = |name: &WorkloadName| UsageSample {
            workload: name.clone(),
            task: TaskId::new(name.clone(), 1),
            ..sample(minute, 0.3)
        };
        names.iter().map(one).collect()
    };
    bencher
        .counter(ItemsCount::new(1000_u32))
        .with_inputs(|| {
            minute += 1;
            of(minute)
        })
        .bench_local_refs(|samples| samples.iter().for_each(|sample| estimator.observe(sample)));
}

/// The end of one run, into the full state of one job and what all jobs together say.
#[divan::bench]
fn observe_a_run(bencher: Bencher<'_, '_>) {
    let outcome = |n: u32| RunOutcome {
        end: RunEnd::Finished { peak: 1e9 + f64::from(n % 37) * 1e7 },
        limit: 4e9,
        hours: 0.5,
        cpu: Some(0.4),
        input: None,
    };
    let (mut ladder, mut job) = (Ladder::default(), LadderState::default());
    let mut runs = 0;
    bencher.bench_local(|| {
        runs += 1;
        ladder.observe(&mut job, black_box(&outcome(runs)));
    });
}

fn filled() -> VpaState {
    let (model, mut state) = (model(), VpaState::default());
    for sample in day() {
        state.observe(&model, &Observation::of(&sample));
    }
    state
}

#[divan::bench]
fn percentile_of_cpu(bencher: Bencher<'_, '_>) {
    let (model, state) = (model(), filled());
    bencher.bench(|| black_box(&state).cpu().percentile(model.cpu(), black_box(0.9)));
}

#[divan::bench]
fn merge(bencher: Bencher<'_, '_>) {
    let (model, other) = (model(), filled());
    bencher.with_inputs(filled).bench_local_refs(|state| state.merge(&model, black_box(&other)));
}

/// The whole answer with its words.
#[divan::bench]
fn estimate(bencher: Bencher<'_, '_>) {
    let mut estimator = VpaEstimator::new(VpaParameters::default()).expect("the published parameters");
    for sample in day() {
        estimator.observe(&sample);
    }
    let name = web();
    let size = TaskSize::of(Resources::new(Millicores::new(500), Bytes::mib(512)));
    let prices = Prices { core_hour: MicroCents::new(4_000_000), gib_hour: MicroCents::new(400_000) };
    let subject =
        Subject { workload: &name, declared: size, current: size, bounds: SizeBounds::default(), prices };
    bencher.bench(|| estimator.estimate(black_box(&subject), Timestamp::UNIX_EPOCH));
}
