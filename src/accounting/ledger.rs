//! The ledger: what each task requested, used and cost in each hour.
//!
//! In: `Facts`. Out: entries, an entry a task and hour of UTC, in that order, and instance counts.
//! The entry is the unit of rounding: what is below a micro-cent or a KiB-second is rounded there once,
//! and every sum over entries is exact.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounting::amount::{Amounts, CoreTime, Figures, HOUR_MICROS, MemoryTime, Recommended, TaskTime};
use crate::accounting::facts::{Facts, TaskInterval};
use crate::accounting::instances::{InstanceCounts, Instances};
use crate::accounting::timeline::{Measured, Piece, Span, pieces};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::quantity::{GIB, Resources};
use crate::domain::task::TaskId;
use crate::domain::task_time::STEP;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;

const STEP_MICROS: i64 = STEP.as_secs() * 1_000_000;

/// What one task came to in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The task.
    pub task: TaskId,
    /// The hour's start; hours of UTC. The first and last hour of a window may be partial.
    pub hour: Timestamp,
    /// What it came to.
    pub amounts: Amounts,
    /// What it would have requested at the recommended size; absent without a recommendation.
    pub recommended: Option<Recommended>,
}

/// What a window of time came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    /// Entries by task, then hour.
    pub entries: Vec<LedgerEntry>,
    /// How many tasks of each workload ran over time.
    pub instances: BTreeMap<WorkloadName, InstanceCounts>,
}

/// Writes the ledger of a window.
pub fn ledger(facts: &Facts<'_>) -> Ledger {
    let window = Span { from: facts.from.as_microsecond(), to: facts.to.as_microsecond() };
    let mut by_task: HashMap<&TaskId, (Vec<&TaskInterval>, Vec<&UsageSample>)> = HashMap::new();
    for interval in facts.tasks {
        by_task.entry(&interval.task).or_default().0.push(interval);
    }
    for sample in facts.samples {
        by_task.entry(&sample.task).or_default().1.push(sample);
    }
    let mut tasks: Vec<_> = by_task.into_iter().collect();
    tasks.sort_unstable_by_key(|(task, _)| *task);

    let mut entries = Vec::new();
    let mut running: BTreeMap<&WorkloadName, Instances> = BTreeMap::new();
    for (task, (intervals, samples)) in tasks {
        let pieces = pieces(&intervals, &samples, window);
        // A task has one node for life, so one pool; the least name keeps the input's order out of it.
        let pool = intervals.iter().filter_map(|interval| interval.pool.as_ref()).min();
        let terms = Terms {
            prices: facts.prices.of(pool),
            recommended: facts.workloads.get(task.workload()).and_then(|workload| workload.recommended),
        };
        running.entry(task.workload()).or_default().add(pieces.iter().map(|piece| piece.span));
        for (hour, sums) in by_hour(&pieces) {
            if let Ok(hour) = Timestamp::from_microsecond(hour * HOUR_MICROS) {
                entries.push(terms.entry(task, hour, &sums));
            }
        }
    }
    let instances = running
        .into_iter()
        .filter_map(|(name, instances)| Some((name.clone(), instances.counts(window)?)))
        .collect();
    Ledger { entries, instances }
}

/// The sums of pieces by hour since the epoch. They are rounded in each step, as the history has them: what is
/// read from it comes to the same, to the last unit.
pub(crate) fn by_hour(pieces: &[Piece]) -> BTreeMap<i64, HourSums> {
    let mut hours: BTreeMap<i64, HourSums> = BTreeMap::new();
    for piece in pieces {
        // Whole numbers need no rounding: the pieces may be as long as they are.
        let length = if piece.measured.is_some() { STEP_MICROS } else { HOUR_MICROS };
        for span in cut(piece.span, length) {
            let hour = span.from.div_euclid(HOUR_MICROS);
            hours.entry(hour).or_default().add(span.length(), piece.request, piece.measured);
        }
    }
    hours
}

/// A span cut where steps of the history begin.
pub(crate) fn steps(span: Span) -> impl Iterator<Item = Span> {
    cut(span, STEP_MICROS)
}

/// A span cut at multiples of a length.
fn cut(span: Span, length: i64) -> impl Iterator<Item = Span> {
    let mut from = span.from;
    std::iter::from_fn(move || {
        let next = (from.div_euclid(length) + 1) * length;
        let step = Span { from, to: span.to.min(next) };
        from = step.to;
        (step.from < step.to).then_some(step)
    })
}

/// Exact sums of one resource: amount at an instant times microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exact {
    pub(crate) within: u128,
    pub(crate) idle: u128,
    pub(crate) unsampled: u128,
    pub(crate) overuse: u128,
}

impl Exact {
    fn add(&mut self, micros: u128, requested: u64, used: Option<u128>) {
        let requested = micros * u128::from(requested);
        if let Some(used) = used {
            self.within = self.within.saturating_add(used.min(requested));
            self.idle = self.idle.saturating_add(requested.saturating_sub(used));
            self.overuse = self.overuse.saturating_add(used.saturating_sub(requested));
        } else {
            self.unsampled = self.unsampled.saturating_add(requested);
        }
    }

    /// All that was requested.
    pub(crate) fn requested(&self) -> u128 {
        self.within.saturating_add(self.idle).saturating_add(self.unsampled)
    }

    /// Adds what another has.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.within = self.within.saturating_add(other.within);
        self.idle = self.idle.saturating_add(other.idle);
        self.unsampled = self.unsampled.saturating_add(other.unsampled);
        self.overuse = self.overuse.saturating_add(other.overuse);
    }

    /// The figures in another unit. The parts of the request are cut from one rounded whole, so that
    /// they add up to it and it does not depend on how it is cut.
    pub(crate) fn figures(&self, convert: impl Fn(u128) -> i64) -> Figures<i64> {
        let within = convert(self.within);
        let sampled = convert(self.within.saturating_add(self.idle));
        let requested = convert(self.within.saturating_add(self.idle).saturating_add(self.unsampled));
        let overuse = convert(self.overuse);
        Figures {
            requested,
            used: within.saturating_add(overuse),
            idle: sampled - within,
            overuse,
            unsampled: requested - sampled,
        }
    }
}

/// Exact sums of one task and hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HourSums {
    pub(crate) micros: i64,
    pub(crate) unsampled_micros: i64,
    /// Millicore-microseconds.
    pub(crate) cpu: Exact,
    /// Byte-microseconds.
    pub(crate) memory: Exact,
}

impl HourSums {
    /// Adds what another has.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.micros += other.micros;
        self.unsampled_micros += other.unsampled_micros;
        self.cpu.merge(&other.cpu);
        self.memory.merge(&other.memory);
    }

    fn add(&mut self, length: i64, request: Resources, measured: Option<Measured>) {
        let micros = length.unsigned_abs().into();
        self.micros += length;
        if measured.is_none() {
            self.unsampled_micros += length;
        }
        let (cpu, memory) = used(length, measured);
        self.cpu.add(micros, request.cpu.get(), cpu);
        self.memory.add(micros, request.memory.get(), memory);
    }
}

/// CPU and memory that were used over a length of time, in millicore-microseconds and byte-microseconds; absent
/// where they were not measured.
pub(crate) fn used(length: i64, measured: Option<Measured>) -> (Option<u128>, Option<u128>) {
    let cores = measured.and_then(|m| m.cores);
    let cpu = cores.map(|cores| (cores.max(0.0) * 1000.0 * length as f64).round() as u128);
    let micros = u128::from(length.unsigned_abs());
    (cpu, measured.map(|m| micros * u128::from(m.memory.get())))
}

/// What holds for all hours of a task.
struct Terms {
    prices: Prices,
    recommended: Option<Resources>,
}

impl Terms {
    fn entry(&self, task: &TaskId, hour: Timestamp, sums: &HourSums) -> LedgerEntry {
        let price = money(sums.cpu.figures(|cpu| self.cpu_price(cpu)))
            + money(sums.memory.figures(|m| self.memory_price(m)));
        let amounts = Amounts {
            time: TaskTime::new(sums.micros),
            unsampled_time: TaskTime::new(sums.unsampled_micros),
            cpu: sums.cpu.figures(core_micros).map(CoreTime::new),
            memory: sums.memory.figures(kib_seconds).map(MemoryTime::new),
            price,
        };
        let recommended = self.recommended.map(|size| {
            let micros: u128 = sums.micros.unsigned_abs().into();
            let cpu = micros * u128::from(size.cpu.get());
            let memory = micros * u128::from(size.memory.get());
            Recommended {
                cpu: CoreTime::new(core_micros(cpu)),
                memory: MemoryTime::new(kib_seconds(memory)),
                price: MicroCents::new(self.cpu_price(cpu)) + MicroCents::new(self.memory_price(memory)),
            }
        });
        LedgerEntry { task: task.clone(), hour, amounts, recommended }
    }

    /// Micro-cents of an amount in millicore-microseconds.
    fn cpu_price(&self, amount: u128) -> i64 {
        priced(amount, self.prices.core_hour, 1000 * u128::from(HOUR_MICROS.unsigned_abs()))
    }

    /// Micro-cents of an amount in byte-microseconds.
    fn memory_price(&self, amount: u128) -> i64 {
        priced(amount, self.prices.gib_hour, u128::from(GIB) * u128::from(HOUR_MICROS.unsigned_abs()))
    }
}

fn money(figures: Figures<i64>) -> Figures<MicroCents> {
    figures.map(MicroCents::new)
}

/// Core-microseconds of millicore-microseconds.
pub(crate) fn core_micros(amount: u128) -> i64 {
    rounded(amount, 1000)
}

/// KiB-seconds of byte-microseconds.
pub(crate) fn kib_seconds(amount: u128) -> i64 {
    rounded(amount, 1024 * 1_000_000)
}

/// To the nearest, halves up; what 64 bits cannot hold becomes the greatest that they can.
fn rounded(amount: u128, unit: u128) -> i64 {
    i64::try_from(amount.saturating_add(unit / 2) / unit).unwrap_or(i64::MAX)
}

/// A price times `amount / unit`.
fn priced(amount: u128, price: MicroCents, unit: u128) -> i64 {
    let whole = rounded(amount.saturating_mul(price.get().unsigned_abs().into()), unit);
    if price.get() < 0 { -whole } else { whole }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::accounting::facts::{PriceBook, WorkloadFacts};
    use crate::domain::node::PoolName;
    use crate::domain::quantity::{Bytes, Millicores};
    use crate::domain::workload::{Owner, WorkloadKind};

    const NOON: i64 = 1_795_000_000 / 3600 * 3600;
    const HOUR: i64 = 3600;

    fn instant(second: i64) -> Timestamp {
        Timestamp::from_second(NOON + second).expect("a time")
    }

    fn size(millicores: u64, mib: u64) -> Resources {
        Resources::new(Millicores::new(millicores), Bytes::mib(mib))
    }

    fn task(number: u64) -> TaskId {
        TaskId::new(WorkloadName::new("web").expect("a name"), number)
    }

    fn interval(number: u64, from: i64, to: i64, request: Resources) -> TaskInterval {
        TaskInterval {
            task: task(number),
            pool: None,
            node: None,
            from: instant(from),
            to: Some(instant(to)),
            request,
        }
    }

    fn sample(number: u64, at: i64, seconds: f64, cores: Option<f64>, mib: u64) -> UsageSample {
        UsageSample {
            workload: task(number).workload().clone(),
            task: task(number),
            at: instant(at),
            interval_seconds: Some(seconds),
            cpu_cores: cores,
            throttled_share: None,
            memory: Bytes::mib(mib),
            page_cache: None,
            request: size(1000, 1024),
            oom_kills: 0,
        }
    }

    /// 3 cents a core-hour, 0.5 cents a GiB-hour.
    fn prices() -> PriceBook {
        let base = Prices { core_hour: MicroCents::new(3_000_000), gib_hour: MicroCents::new(500_000) };
        PriceBook { base, pools: BTreeMap::new() }
    }

    fn with_recommendation(recommended: Option<Resources>) -> BTreeMap<WorkloadName, WorkloadFacts> {
        let facts = WorkloadFacts { kind: WorkloadKind::Service, owner: Owner::default(), recommended };
        BTreeMap::from([(task(1).workload().clone(), facts)])
    }

    fn written(
        tasks: &[TaskInterval],
        samples: &[UsageSample],
        recommended: Option<Resources>,
        prices: &PriceBook,
    ) -> Vec<LedgerEntry> {
        let workloads = with_recommendation(recommended);
        let (from, to) = (instant(0), instant(2 * HOUR));
        ledger(&Facts { from, to, workloads: &workloads, tasks, samples, load: &[], prices }).entries
    }

    #[test]
    fn half_a_core_of_one_for_an_hour() {
        let samples = [sample(1, HOUR, 3600.0, Some(0.5), 256)];
        let entries = written(&[], &samples, Some(size(600, 512)), &prices());
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(entry.hour, instant(0));
        let Amounts { time, cpu, memory, price, .. } = entry.amounts;
        assert_eq!(time, TaskTime::new(HOUR_MICROS));
        let core = |hours: f64| CoreTime::new((hours * HOUR_MICROS as f64) as i64);
        assert_eq!((cpu.requested, cpu.used, cpu.idle), (core(1.0), core(0.5), core(0.5)));
        let kib = |mib: i64| MemoryTime::new(mib * 1024 * 3600);
        assert_eq!((memory.requested, memory.used, memory.idle), (kib(1024), kib(256), kib(768)));
        assert_eq!(price.requested, MicroCents::new(3_500_000));
        assert_eq!(price.used, MicroCents::new(1_500_000 + 125_000));
        assert_eq!(price.idle, MicroCents::new(1_500_000 + 375_000));
        assert_eq!((price.overuse, price.unsampled), (MicroCents::ZERO, MicroCents::ZERO));
        let recommended = entry.recommended.expect("a recommendation");
        assert_eq!((recommended.cpu, recommended.memory), (core(0.6), kib(512)));
        assert_eq!(recommended.price, MicroCents::new(1_800_000 + 250_000));
    }

    #[test]
    fn use_beyond_the_request_does_not_pay_for_idleness() {
        let samples = [sample(1, 1800, 1800.0, Some(1.5), 1024), sample(1, 3600, 1800.0, Some(0.5), 1024)];
        let entries = written(&[], &samples, None, &prices());
        let cpu = entries[0].amounts.cpu;
        let quarter = CoreTime::new(HOUR_MICROS / 4);
        assert_eq!((cpu.idle, cpu.overuse), (quarter, quarter));
        assert_eq!((cpu.requested, cpu.used), (CoreTime::new(HOUR_MICROS), CoreTime::new(HOUR_MICROS)));
        assert_eq!(entries[0].recommended, None);
    }

    #[test]
    fn a_gap_is_charged_by_the_request_and_is_not_idle() {
        let tasks = [interval(1, 0, HOUR, size(1000, 1024))];
        let samples = [sample(1, 1800, 1800.0, Some(1.0), 1024)];
        let amounts = written(&tasks, &samples, None, &prices())[0].amounts;
        assert_eq!(amounts.unsampled_time, TaskTime::new(HOUR_MICROS / 2));
        assert_eq!(amounts.cpu.unsampled, CoreTime::new(HOUR_MICROS / 2));
        assert_eq!(amounts.price.unsampled, MicroCents::new(1_750_000));
        assert_eq!((amounts.cpu.idle, amounts.price.idle), (CoreTime::default(), MicroCents::ZERO));
        assert_eq!(amounts.price.requested, MicroCents::new(3_500_000));
    }

    #[test]
    fn a_sample_without_cpu_leaves_cpu_alone_unsampled() {
        let amounts = written(&[], &[sample(1, HOUR, 3600.0, None, 1024)], None, &prices())[0].amounts;
        assert_eq!(amounts.cpu.unsampled, CoreTime::new(HOUR_MICROS));
        assert_eq!(amounts.memory.unsampled, MemoryTime::default());
        assert_eq!(amounts.unsampled_time, TaskTime::default());
    }

    #[test]
    fn hours_part_at_the_full_hour() {
        let entries = written(&[interval(1, 1800, HOUR + 900, size(500, 64))], &[], None, &prices());
        let hours: Vec<_> = entries.iter().map(|entry| (entry.hour, entry.amounts.time)).collect();
        let minutes = |n: i64| TaskTime::new(n * 60_000_000);
        assert_eq!(hours, [(instant(0), minutes(30)), (instant(HOUR), minutes(15))]);
    }

    #[test]
    fn the_pool_has_its_price() {
        let pool = PoolName::new("small").expect("a name");
        let dear = Prices { core_hour: MicroCents::new(6_000_000), gib_hour: MicroCents::ZERO };
        let book = PriceBook { pools: BTreeMap::from([(pool.clone(), dear)]), ..prices() };
        let tasks = [TaskInterval { pool: Some(pool), ..interval(1, 0, HOUR, size(1000, 1024)) }];
        let price = written(&tasks, &[], None, &book)[0].amounts.price;
        assert_eq!(price.requested, MicroCents::new(6_000_000));
    }

    #[test]
    fn a_recommendation_of_what_is_requested_saves_nothing() {
        let odd = size(333, 77);
        let tasks = [interval(1, 1, 1234, odd)];
        let samples = [UsageSample { request: odd, ..sample(1, 777, 701.3, Some(0.123), 33) }];
        let entry = &written(&tasks, &samples, Some(odd), &prices())[0];
        assert_eq!(entry.recommended.expect("one").price, entry.amounts.price.requested);
    }

    fn any_sample() -> impl Strategy<Value = UsageSample> {
        (1_u64..4, -600_i64..9000, 0.1_f64..900.0, proptest::option::of(0.0_f64..3.0), 0_u64..2000)
            .prop_map(|(number, at, seconds, cores, mib)| sample(number, at, seconds, cores, mib))
    }

    fn any_interval() -> impl Strategy<Value = TaskInterval> {
        (1_u64..4, -600_i64..9000, 0_i64..4000, 1_u64..4000, 1_u64..3000).prop_map(
            |(number, from, length, cpu, mib)| interval(number, from, from + length, size(cpu, mib)),
        )
    }

    fn adds_up<T: std::ops::Add<Output = T> + PartialEq + Copy + std::fmt::Debug>(f: Figures<T>) {
        assert_eq!(f.requested + f.overuse, f.used + f.idle + f.unsampled);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_none_is_negative(
            tasks in prop::collection::vec(any_interval(), 0..6),
            samples in prop::collection::vec(any_sample(), 0..40),
        ) {
            for entry in written(&tasks, &samples, Some(size(200, 200)), &prices()) {
                let amounts = entry.amounts;
                adds_up(amounts.cpu);
                adds_up(amounts.memory);
                adds_up(amounts.price);
                prop_assert!(amounts.cpu.idle >= CoreTime::default());
                prop_assert!(amounts.memory.idle >= MemoryTime::default());
                prop_assert!(amounts.price.idle >= MicroCents::ZERO);
                prop_assert!(amounts.price.unsampled >= MicroCents::ZERO);
                prop_assert!(amounts.unsampled_time <= amounts.time);
                prop_assert!(amounts.time <= TaskTime::new(HOUR_MICROS), "more than an hour in an hour");
            }
        }

        #[test]
        fn the_order_of_the_input_does_not_matter(
            tasks in prop::collection::vec(any_interval(), 0..6),
            samples in prop::collection::vec(any_sample(), 0..40),
            by in 0_usize..40,
        ) {
            let straight = written(&tasks, &samples, None, &prices());
            let (mut tasks, mut samples) = (tasks, samples);
            tasks.reverse();
            samples.reverse();
            let by = by.min(samples.len());
            samples.rotate_left(by);
            prop_assert_eq!(straight, written(&tasks, &samples, None, &prices()));
        }

        #[test]
        fn a_sample_changes_no_charge_of_its_own_request(
            samples in prop::collection::vec(any_sample(), 0..40),
        ) {
            let tasks = [interval(1, 0, 2 * HOUR, size(1000, 1024))];
            let own: Vec<_> = samples.into_iter().filter(|sample| sample.task == task(1)).collect();
            let requested = |samples: &[UsageSample]| {
                written(&tasks, samples, None, &prices())
                    .iter()
                    .map(|entry| (entry.amounts.time, entry.amounts.price.requested, entry.amounts.cpu.requested))
                    .collect::<Vec<_>>()
            };
            prop_assert_eq!(requested(&own), requested(&[]));
        }
    }

    #[test]
    fn a_mib_is_not_lost_in_a_second() {
        let entries = written(&[interval(1, 0, 1, size(1, 1))], &[], None, &prices());
        assert_eq!(entries[0].amounts.memory.requested, MemoryTime::new(1024));
        assert_eq!(entries[0].amounts.cpu.requested, CoreTime::new(1000));
    }
}
