//! Models of generated services whose cost is known, with everything that goes wrong in measuring them.

use jiff::{SignedDuration, Timestamp};

use crate::domain::load_model::{Bound, LoadModel, Relation};
use crate::forecasting::load_model::{Asked, Observation, ServiceModel, Unsteady};

const BASE: f64 = 0.05;
const SLOPE: f64 = 0.01;
const MIB: f64 = 1_048_576.0;

/// Numbers that look like chance and are the same each time (Steele, Lea, Flood: `SplitMix64`, 2014).
struct Chance(u64);

impl Chance {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

/// A service as it really is.
struct Service {
    chance: Chance,
    slope: f64,
    /// The standard deviation of errors, in cores.
    noise: f64,
    /// How alike the errors of neighbours are.
    alike: f64,
    error: f64,
    step: i64,
}

impl Service {
    fn new(seed: u64, noise: f64, alike: f64) -> Self {
        Self { chance: Chance(seed), slope: SLOPE, noise, alike, error: 0.0, step: 0 }
    }

    fn error(&mut self) -> f64 {
        let fresh = self.chance.normal() * (1.0 - self.alike * self.alike).sqrt();
        self.error = self.alike * self.error + fresh;
        self.error * self.noise
    }

    /// A load that goes up and down over 200 observations, from 5 to 45.
    fn load(&mut self) -> f64 {
        let wave = (self.step as f64 / 200.0 * std::f64::consts::TAU).sin();
        (25.0 + 18.0 * wave + 2.0 * self.chance.normal()).max(0.0)
    }

    fn next(&mut self) -> Observation {
        let load = self.load();
        self.at(load)
    }

    fn at(&mut self, load: f64) -> Observation {
        self.step += 1;
        Observation {
            at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(15 * self.step),
            load,
            cpu: (BASE + self.slope * load + self.error()).max(0.0),
            memory: 100.0 * MIB,
            latency: Some(0.02 / (1.0 - load / 100.0).max(0.01) * (0.05 * self.chance.normal()).exp()),
            errors: 0.0,
            throttled: None,
            cpu_limit: None,
        }
    }

    fn watched(&mut self, model: &mut ServiceModel, observations: usize) {
        (0..observations).for_each(|_| model.observe(&self.next()));
    }
}

fn slope(model: &LoadModel) -> (f64, f64, f64) {
    let Relation::Clear(line) = &model.cpu else { panic!("{:?}", model.cpu) };
    (line.slope.value, line.slope.low, line.slope.high)
}

fn fresh(revision: u64) -> ServiceModel {
    let mut model = ServiceModel::default();
    model.follow(revision);
    model
}

const ASKED: Asked = Asked { cores: Some(1.0), latency: Some(0.1) };

#[test]
fn a_known_cost_is_found_through_outliers_starts_and_errors() {
    for seed in 0..20 {
        let (mut service, mut model) = (Service::new(seed, 0.02, 0.0), fresh(1));
        for step in 0..1500 {
            let mut seen = service.next();
            match step % 25 {
                // A garbage collection or a neighbour: ten times the CPU.
                3 | 14 => seen.cpu *= 10.0,
                // A start that was not recognised as one: hardly any load, much CPU.
                7 => (seen.load, seen.cpu) = (0.5, 0.9),
                // Errors that cost nothing.
                11 => (seen.cpu, seen.errors) = (BASE, 0.9),
                19 => model.keep_out(Unsteady::Starting),
                _ => {}
            }
            model.observe(&seen);
        }
        let found = model.model(ASKED);
        let Relation::Clear(line) = &found.cpu else { panic!("{:?}", found.cpu) };
        assert!((line.slope.value / SLOPE - 1.0).abs() < 0.05, "seed {seed}: {line:?}");
        assert!((line.base.value - BASE).abs() < 0.02, "seed {seed}: {line:?}");
        assert!((60..120).contains(&found.kept_out.errors) && found.outliers > 100, "{found:?}");
    }
}

/// Shares of services whose true slope lies in the 95 % interval, whatever their errors are like, and of single
/// observations in the 90 % band.
#[test]
fn intervals_hold_what_they_say() {
    for (name, alike, least) in
        [("independent", 0.0, 0.92), ("alike 0.7", 0.7, 0.88), ("alike 0.95", 0.95, 0.80)]
    {
        for observations in [60, 300, 2000] {
            let (mut held, mut clear, mut inside, mut tried) = (0, 0, 0, 0);
            for seed in 0..200 {
                let (mut service, mut model) = (Service::new(1000 + seed, 0.03, alike), fresh(1));
                service.watched(&mut model, observations);
                let found = model.model(ASKED);
                let Relation::Clear(line) = &found.cpu else { continue };
                clear += 1;
                held += u32::from(line.slope.low <= SLOPE && SLOPE <= line.slope.high);
                for _ in 0..50 {
                    let seen = service.next();
                    tried += 1;
                    inside += u32::from((seen.cpu - line.at(seen.load)).abs() <= line.band);
                }
            }
            let (slopes, band) = (f64::from(held) / f64::from(clear), f64::from(inside) / f64::from(tried));
            println!(
                "errors {name}, {observations} observations: clear {clear}/200, slope in interval {slopes:.3}, in band {band:.3}"
            );
            if observations >= 300 {
                assert!(clear >= 195 && slopes >= least, "{name} {observations}: {slopes} of {clear}");
                assert!((0.85..=0.95).contains(&band), "{name} {observations}: {band}");
            }
        }
    }
}

#[test]
fn no_relation_is_made_up() {
    let mut clear = 0;
    for seed in 0..200 {
        let (mut service, mut model) = (Service::new(5000 + seed, 0.03, 0.8), fresh(1));
        service.slope = 0.0;
        service.watched(&mut model, 400);
        clear += u32::from(model.model(ASKED).cpu.line().is_some());
    }
    println!("made up {clear} of 200 relations");
    assert!(clear <= 4, "{clear} of 200 relations were made up");
    let (mut service, mut model) = (Service::new(1, 0.03, 0.0), fresh(1));
    for _ in 0..500 {
        model.observe(&service.at(20.0));
    }
    let Relation::Unclear { why, .. } = model.model(ASKED).cpu else { panic!("a relation") };
    assert!(why.starts_with("load hardly varies"), "{why}");
}

#[test]
fn a_dearer_revision_is_told_once_and_an_equal_one_never() {
    let (mut false_alarms, mut found, mut within, mut told_after) = (0, 0, 0, Vec::new());
    for seed in 0..100 {
        for (factor, is_change) in [(1.0, false), (1.31, true)] {
            let (mut service, mut model) = (Service::new(9000 + seed, 0.02, 0.6), fresh(13));
            service.watched(&mut model, 1000);
            service.slope *= factor;
            model.follow(14);
            let mut told = Vec::new();
            for step in 1..=60 {
                service.watched(&mut model, 10);
                told.extend(model.compare().map(|change| (step * 10, change)));
            }
            assert!(told.len() <= 1, "it was told twice");
            match (is_change, told.first()) {
                (false, Some(_)) => false_alarms += 1,
                (true, Some((step, _))) => {
                    found += 1;
                    told_after.push(*step);
                    let last = model.model(ASKED).change.expect("a change");
                    assert_eq!((last.from, last.to), (13, 14));
                    within += u32::from((last.ratio.value / factor - 1.0).abs() < 0.1);
                }
                _ => {}
            }
        }
    }
    told_after.sort_unstable();
    println!(
        "31 % dearer: told for {found} of 100 after {:?} observations (median), {within} within 10 %; false alarms {false_alarms} of 100",
        told_after.get(told_after.len() / 2)
    );
    assert!(found >= 97 && within >= 90 && false_alarms <= 2, "{found} {within} {false_alarms}");
}

#[test]
fn a_new_revision_begins_with_what_was_known_and_lets_it_fade() {
    let (mut service, mut model) = (Service::new(3, 0.02, 0.0), fresh(1));
    service.watched(&mut model, 1000);
    let before = slope(&model.model(ASKED));
    model.follow(2);
    service.watched(&mut model, 10);
    let early = model.model(ASKED);
    assert!(early.prior_weight > 4.0 && early.observations == 10, "{early:?}");
    assert!((slope(&early).0 / before.0 - 1.0).abs() < 0.2, "{early:?}");
    service.watched(&mut model, 400);
    assert!(model.model(ASKED).prior_weight < 1e-9);
}

#[test]
fn lies_and_leaps_bend_nothing() {
    let (mut service, mut model) = (Service::new(4, 0.02, 0.0), fresh(1));
    service.watched(&mut model, 600);
    let before = slope(&model.model(ASKED));
    let good = service.next();
    for load in [f64::NAN, f64::INFINITY, -1.0, good.load * 1000.0, good.load * 1e6] {
        model.observe(&Observation { load, ..good });
        model.observe(&good);
    }
    model.observe(&Observation { cpu: f64::NAN, ..good });
    model.observe(&Observation { cpu: good.cpu * 1000.0, ..good });
    let after = model.model(ASKED);
    assert_eq!(after.kept_out.broken, 6);
    assert!((slope(&after).0 / before.0 - 1.0).abs() < 0.02, "{before:?} {:?}", slope(&after));
    // A load that stays where it leapt to is believed.
    for _ in 0..300 {
        let seen = service.at(good.load * 20.0);
        model.observe(&seen);
    }
    assert!(model.model(ASKED).load_seen.expect("loads").1 > good.load * 19.0);
}

#[test]
fn a_full_instance_tells_where_it_is_full_and_bends_no_line() {
    let (mut service, mut model) = (Service::new(5, 0.01, 0.0), fresh(1));
    for step in 0..800 {
        let wanted = 10.0 + f64::from(step % 40);
        let mut seen = service.at(wanted);
        seen.cpu_limit = Some(0.4);
        if seen.cpu >= 0.4 {
            // It answers no more than its limit lets it, however many come.
            (seen.load, seen.cpu) = ((0.4 - BASE) / SLOPE, 0.399);
        }
        model.observe(&seen);
    }
    let found = model.model(Asked { cores: Some(0.4), latency: None });
    assert!((slope(&found).0 / SLOPE - 1.0).abs() < 0.05, "{found:?}");
    let full = found.saturation.expect("a saturation");
    assert!(full.seen > 100 && full.bound == Bound::Cpu, "{full:?}");
    assert!((full.load.value - 35.0).abs() < 0.5, "{full:?}");
}

#[test]
fn the_knee_and_the_objective_are_those_of_the_queue() {
    let (mut service, mut model) = (Service::new(6, 0.02, 0.0), fresh(1));
    for step in 0..2000 {
        model.observe(&service.at(5.0 + f64::from(step % 80)));
    }
    let found = model.model(ASKED);
    let knee = found.knee.expect("a knee");
    assert!((knee.capacity.value / 100.0 - 1.0).abs() < 0.05, "{knee:?}");
    assert!((knee.unloaded / 0.02 - 1.0).abs() < 0.1, "{knee:?}");
    // 0.02 / (1 - x / 100) = 0.1 at 80.
    let objective = found.objective.expect("an objective");
    assert!((objective.breaks_at.expect("a load").value - 80.0).abs() < 5.0, "{objective:?}");
}

#[test]
fn a_service_takes_less_than_a_kilobyte_and_goes_on_where_it_was() {
    let (mut service, mut model) = (Service::new(7, 0.02, 0.5), fresh(1));
    service.watched(&mut model, 3000);
    model.follow(2);
    service.watched(&mut model, 3000);
    let kept = postcard::to_allocvec(&model).expect("a checkpoint");
    println!("a checkpoint has {} bytes", kept.len());
    assert!(kept.len() < 1024, "{} bytes", kept.len());
    let mut restored: ServiceModel = postcard::from_bytes(&kept).expect("a model");
    let next = service.next();
    restored.observe(&next);
    model.observe(&next);
    assert_eq!(restored, model);
}
