//! What deciding counts costs.

use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};
use loadline::domain::money::MicroCents;
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::scale::{MetricTarget, ScaleSpec};
use loadline::domain::task::TaskId;
use loadline::domain::workload::WorkloadName;
use loadline::scaling::horizontal::{
    HorizontalParameters, HorizontalState, InstanceReading, InstanceStatus, MetricReading, ServiceStatus,
    decide,
};

fn main() {
    divan::main();
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn spec() -> ScaleSpec {
    let metrics = vec![MetricTarget::Cpu { utilization: 0.7 }, MetricTarget::Requests { per_instance: 50.0 }];
    ScaleSpec::new(1, 10_000, metrics)
}

fn status(name: &WorkloadName, count: u32) -> ServiceStatus<'_> {
    let tasks: Vec<TaskId> = (1..=u64::from(count)).map(|number| TaskId::new(name.clone(), number)).collect();
    let instances = tasks.iter().map(|task| InstanceStatus {
        task: task.clone(),
        started_at: Some(at(0)),
        ready: true,
        readiness_since: Some(at(1)),
        request: Resources::new(Millicores::new(500), Bytes::mib(256)),
    });
    let reading = InstanceReading { value: 0.36, at: at(100_000), window: SignedDuration::from_secs(15) };
    ServiceStatus {
        workload: name,
        count,
        stopped: false,
        instances: instances.collect(),
        readings: vec![
            MetricReading::PerInstance(tasks.iter().map(|task| (task.clone(), reading)).collect()),
            MetricReading::Total { value: f64::from(count) * 49.0 },
        ],
        instance_price: MicroCents::new(100),
    }
}

/// One decision on two metrics, with a full window of earlier answers.
#[divan::bench(args = [3, 30, 300])]
fn horizontal(bencher: Bencher<'_, '_>, instances: u32) {
    let (name, spec, parameters) =
        (WorkloadName::new("web").expect("a name"), spec(), HorizontalParameters::default());
    let status = status(&name, instances);
    let mut state = HorizontalState::default();
    let mut now = 100_000;
    bencher.bench_local(|| {
        now += 15;
        decide(black_box(&spec), black_box(&status), &parameters, &mut state, at(now))
    });
}
