//! What a plan costs to make, over three sizes: different tasks against 100 node types. How cheap plans are beside
//! the bound is printed first, of these and, where `LOADLINE_TRACES` names a folder of traces, of a real list of pods.
#![expect(clippy::print_stdout, reason = "a bench reports")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use flate2::read::MultiGzDecoder;

use loadline::domain::money::MicroCents;
use loadline::domain::node::PoolName;
use loadline::domain::node_type::{Capacity, Overhead};
use loadline::domain::placement::{Constraint, PlacementSpec};
use loadline::domain::quantity::{Bytes, GIB, Millicores, Resources, Share};
use loadline::domain::workload::WorkloadName;
use loadline::replay::packing::{Offer, Packer, Request, TaskGroup, bound, placed_only, plan};

fn main() {
    quality();
    real_pods();
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

/// Prices over the bound, of all packers on the same tasks, and of first plans alone where there are many.
fn quality() {
    for many in [2_000, 5_000] {
        for packer in [Packer::Loadline, Packer::Karpenter, Packer::ClusterAutoscaler] {
            compare(many, packer, Duration::from_secs(1));
        }
    }
    for many in [5_000, 20_000, 100_000] {
        compare(many, Packer::Loadline, Duration::ZERO);
    }
}

fn compare(many: usize, packer: Packer, limit: Duration) {
    let request = request(many);
    let lowest = bound(&request, &mut || false).best();
    let start = Instant::now();
    let made = plan(&request, packer, 1, &mut || start.elapsed() < limit);
    let took = start.elapsed().as_secs_f64();
    let over = made.price(&request).get() as f64 / lowest.get() as f64;
    println!("{many} tasks, {packer:?}: {over:.4} x bound, {took:.2} s");
}

/// Families that are burstable, of an earlier generation, or made for something else than CPU and memory.
const LEFT_OUT: [&str; 28] = [
    "t1", "t2", "t3", "t3a", "m1", "m2", "m3", "m4", "c1", "c3", "c4", "r3", "r4", "i2", "i3", "d2", "h1",
    "x1", "x1e", "f1", "f2", "inf1", "inf2", "trn1", "trn1n", "vt1", "g6f", "gr6f",
];

/// The cells of a list by the names of its columns; no cell of these lists is quoted.
fn cells(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    lines.map(move |line| header.iter().copied().zip(line.split(',')).collect())
}

fn number(row: &BTreeMap<&str, &str>, column: &str) -> u64 {
    row[column].parse::<f64>().expect("a number") as u64
}

/// Pods and EC2's price list: amd64, no GPU, allocatable is 97 % of CPU less 0.1 and 95 % of memory less 0.5 GiB.
fn real_request(traces: &Path, cores_max: u64) -> Request {
    let packed = File::open(traces.join("inventory/openb_pod_list_default.csv.gz")).expect("a list of pods");
    let mut pods = String::new();
    MultiGzDecoder::new(packed).read_to_string(&mut pods).expect("gzip");
    let pod = |row: BTreeMap<&str, &str>| TaskGroup {
        workload: WorkloadName::new(row["name"]).expect("a name"),
        team: None,
        count: 1,
        priority: 0,
        need: Capacity::of(Resources::new(
            Millicores::new(number(&row, "cpu_milli")),
            Bytes::mib(number(&row, "memory_mib")),
        )),
        placement: PlacementSpec::default(),
    };
    let keeps = Overhead {
        cpu_share: Share::new(0.03),
        cpu: Millicores::new(100),
        memory_share: Share::new(0.05),
        memory: Bytes::mib(512),
    };
    let prices =
        std::fs::read_to_string(traces.join("prices/aws_ec2_us-east-1_ondemand.csv")).expect("prices");
    let good = |row: &BTreeMap<&str, &str>| {
        let family = row["instance_type"].split('.').next().unwrap_or_default();
        row["arch"] == "amd64"
            && number(row, "gpu") == 0
            && number(row, "vcpu") <= cores_max
            && !LEFT_OUT.contains(&family)
    };
    let offer = |row: BTreeMap<&str, &str>| Offer {
        name: row["instance_type"].to_owned(),
        pool: PoolName::new("new").expect("a name"),
        capacity: Capacity::of(keeps.allocatable(Resources::new(
            Millicores::new(number(&row, "vcpu") * 1000),
            Bytes::mib(number(&row, "mem_mib")),
        ))),
        price: MicroCents::from_units(row["usd_per_hour"].parse().expect("a price")),
        attributes: BTreeMap::new(),
        reserved_for: Vec::new(),
        spot: false,
        boot: None,
        limit: None,
    };
    Request::new(cells(&pods).map(pod).collect(), cells(&prices).filter(good).map(offer).collect())
}

/// All packers on a real list of pods and a real price list: the first plan, and after a while.
fn real_pods() {
    let Some(traces) = std::env::var_os("LOADLINE_TRACES") else {
        println!("no real list: LOADLINE_TRACES names no folder of traces");
        return;
    };
    for cores_max in [64, 192] {
        let request = real_request(Path::new(&traces), cores_max);
        let (all, first) = (request.count(), plan(&request, Packer::Loadline, 1, &mut || false));
        let request = placed_only(&request, &first);
        let start = Instant::now();
        let lowest = bound(&request, &mut || start.elapsed() < Duration::from_secs(30)).best();
        println!("up to {cores_max} cores: {} of {all} pods fit, bound {} an hour", first.placed(), lowest);
        for (packer, seconds) in [
            (Packer::Loadline, 0),
            (Packer::Loadline, 1),
            (Packer::Loadline, 4),
            (Packer::Loadline, 20),
            (Packer::Karpenter, 0),
            (Packer::ClusterAutoscaler, 0),
        ] {
            let start = Instant::now();
            let made = plan(&request, packer, 1, &mut || start.elapsed() < Duration::from_secs(seconds));
            let took = start.elapsed().as_secs_f64();
            let over = made.price(&request).get() as f64 / lowest.get() as f64;
            println!("  {packer:?}: {over:.4} x bound after {took:.2} s");
        }
    }
}
