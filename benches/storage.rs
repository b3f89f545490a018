//! What the store costs: a commit, an append, and reading back.

use std::collections::BTreeMap;

use divan::Bencher;
use divan::counter::ItemsCount;
use jiff::{SignedDuration, Timestamp};
use loadline::adapters::storage::SqliteStore;
use loadline::domain::change::{Change, RecordedChange};
use loadline::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use loadline::domain::rollout::Actor;
use loadline::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use loadline::domain::usage::UsageSample;
use loadline::domain::workload::{WorkloadKind, WorkloadName};
use loadline::domain::world::{EntityKey, World};
use loadline::ports::history::History;
use loadline::ports::store::Store;

fn main() {
    divan::main();
}

fn store() -> (tempfile::TempDir, SqliteStore) {
    // In the folder of the build, which is on a disk: a folder for temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let store = SqliteStore::open(&folder.path().join("loadline.db")).expect("a store");
    (folder, store)
}

fn first() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("an instant")
}

fn workload(number: usize) -> WorkloadName {
    WorkloadName::new(&format!("service-{number}")).expect("a name")
}

fn size() -> Resources {
    Resources::new(Millicores::new(250), Bytes::mib(256))
}

/// Samples of 50 workloads with 10 tasks each at one instant.
fn samples(at: Timestamp) -> Vec<UsageSample> {
    let mut samples = Vec::new();
    for number in 0..50 {
        for task in 1..=10 {
            samples.push(UsageSample {
                workload: workload(number),
                task: TaskId::new(workload(number), task),
                at,
                interval_seconds: Some(5.000_123),
                cpu_cores: Some(0.123_456),
                throttled_share: Some(0.01),
                memory: Bytes::new(123_456_789),
                page_cache: Some(Bytes::new(4_194_304)),
                request: size(),
                oom_kills: 0,
            });
        }
    }
    samples
}

/// A task that moved: the most frequent commit.
#[divan::bench(sample_count = 300, sample_size = 1)]
fn commit_of_one_task(bencher: Bencher<'_, '_>) {
    let (_folder, store) = store();
    let id = TaskId::new(workload(1), 1);
    let task = Task {
        id: id.clone(),
        kind: WorkloadKind::Service,
        revision: 1,
        origin: TaskOrigin::Instance,
        size: TaskSize::of(size()),
        state: TaskState::Running,
        reason: "ready".to_owned(),
        node: None,
        ports: BTreeMap::new(),
        created_at: first(),
        not_before: first(),
        started_at: None,
        ready_at: None,
        state_since: first(),
        exit: None,
        preempted_for: None,
    };
    let world = World { tasks: BTreeMap::from([(id.clone(), task)]), ..World::default() };
    let change = RecordedChange {
        at: first(),
        by: Actor::Engine,
        reason: "ready".to_owned(),
        request: None,
        change: Change::TaskMoved {
            task: id.clone(),
            state: TaskState::Running,
            reason: "ready".to_owned(),
            exit: None,
        },
    };
    let touched = [EntityKey::Task(id)];
    bencher.bench_local(|| store.commit(&world, &touched, std::slice::from_ref(&change)).expect("a commit"));
}

/// A round of sampling on a large machine: 500 tasks.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn append_of_500_samples(bencher: Bencher<'_, '_>) {
    let (_folder, store) = store();
    let mut at = first();
    bencher
        .counter(ItemsCount::new(500_usize))
        .with_inputs(|| {
            at += SignedDuration::from_secs(5);
            samples(at)
        })
        .bench_local_values(|samples| store.append(&samples, &[]).expect("appended"));
}

/// An hour of 500 tasks is on disk; one workload of 50 is read.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn an_hour_of_one_workload_of_50(bencher: Bencher<'_, '_>) {
    let (_folder, store) = an_hour();
    let name = workload(7);
    bencher.counter(ItemsCount::new(7200_usize)).bench_local(|| {
        History::usage(&store, Some(&name), Timestamp::MIN, Timestamp::MAX).expect("samples")
    });
}

/// The same hour, every workload.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn an_hour_of_500_tasks(bencher: Bencher<'_, '_>) {
    let (_folder, store) = an_hour();
    bencher
        .counter(ItemsCount::new(360_000_usize))
        .bench_local(|| History::usage(&store, None, Timestamp::MIN, Timestamp::MAX).expect("samples"));
}

fn an_hour() -> (tempfile::TempDir, SqliteStore) {
    let (folder, store) = store();
    for round in 0..720 {
        store.append(&samples(first() + SignedDuration::from_secs(5 * round)), &[]).expect("appended");
    }
    (folder, store)
}
