//! What a plan costs to make, over three sizes: different tasks against 100 node types. How cheap plans are beside
//! the bound is printed first; `tests/packing.rs` has that for a real list of pods.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};

use loadline::domain::money::MicroCents;
use loadline::domain::node::PoolName;
use loadline::domain::node_type::Capacity;
use loadline::domain::placement::{Constraint, PlacementSpec};
use loadline::domain::quantity::{Bytes, GIB, Millicores, Resources};
use loadline::domain::workload::WorkloadName;
use loadline::placement::planner::{Offer, Packer, Request, TaskGroup, bound, plan};

fn main() {
    quality();
    divan::main();
}

/// Numbers from 0 to 1 that look random: xorshift.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Tasks of all sizes from 0.1 to 8 cores and 0.5 to 8 GiB a core; a fifth asks for one of three zones.
fn tasks(many: usize) -> Vec<TaskGroup> {
    let mut dice = Dice(88_172_645_463_325_252);
    let one = |at| {
        let cores = 0.1 * 80f64.powf(dice.next());
        let gib = cores * 0.5 * 16f64.powf(dice.next());
        let zone = (dice.next() * 15.0) as usize;
        let constraints = ["a", "b", "c"].get(zone);
        let constraints = constraints.map(|zone| Constraint::is_in("zone", vec![(*zone).to_owned()]));
        TaskGroup {
            workload: WorkloadName::new(&format!("w{at}")).expect("a name"),
            team: None,
            count: 1,
            priority: 0,
            need: Capacity::of(Resources::new(
                Millicores::from_cores(cores),
                Bytes::from_f64(gib * GIB as f64),
            )),
            placement: PlacementSpec {
                constraints: constraints.into_iter().collect(),
                ..PlacementSpec::default()
            },
        }
    };
    (0..many).map(one).collect()
}

/// A hundred types: 2 to 64 cores, 2 to 8 GiB a core, each a little above or below the price of its parts.
fn offers() -> Vec<Offer> {
    let mut dice = Dice(7_777_777_777_777);
    let sizes = [2, 4, 8, 16, 32, 48, 64];
    let one = |at: usize| {
        let (cores, per_core) = (sizes[at % sizes.len()], [2, 4, 8][at / sizes.len() % 3]);
        let machine = Resources::new(
            Millicores::new(cores * 970 - 100),
            Bytes::new(cores * per_core * GIB * 95 / 100 - GIB / 2),
        );
        let fair = 0.032 * cores as f64 + 0.0042 * (cores * per_core) as f64;
        let zone = ["a", "b", "c"][at % 3];
        Offer {
            name: format!("type-{at}"),
            pool: PoolName::new("new").expect("a name"),
            capacity: Capacity::of(machine),
            price: MicroCents::from_units(fair * (0.9 + 0.2 * dice.next())),
            attributes: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
            reserved_for: Vec::new(),
            spot: false,
            boot: None,
            limit: None,
        }
    };
    (0..100).map(one).collect()
}

fn request(many: usize) -> Request {
    Request::new(tasks(many), offers())
}

/// The first plan, without a search for cheaper ones.
#[divan::bench(args = [5_000, 20_000, 100_000], sample_count = 3, sample_size = 1)]
fn plan_different_tasks(bencher: Bencher<'_, '_>, many: usize) {
    let request = request(many);
    bencher.bench_local(|| plan(black_box(&request), Packer::Loadline, 1, &mut || false));
}

#[divan::bench(args = [5_000, 20_000, 100_000], sample_count = 3, sample_size = 1)]
fn bound_of_different_tasks(bencher: Bencher<'_, '_>, many: usize) {
    let request = request(many);
    bencher.bench_local(|| bound(black_box(&request), &mut || false));
}

/// Prices over the bound, of all packers on the same tasks.
fn quality() {
    for many in [2_000, 5_000] {
        let request = request(many);
        let lowest = bound(&request, &mut || false).best();
        for packer in [Packer::Loadline, Packer::Karpenter, Packer::ClusterAutoscaler] {
            let start = Instant::now();
            let made = plan(&request, packer, 1, &mut || start.elapsed() < Duration::from_secs(1));
            let over = made.price(&request).get() as f64 / lowest.get() as f64;
            #[expect(clippy::print_stdout, reason = "a bench reports on its standard output")]
            {
                println!(
                    "{many} tasks, {packer:?}: {over:.4} x bound, {:.2} s",
                    start.elapsed().as_secs_f64()
                );
            }
        }
    }
}
