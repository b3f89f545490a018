//! The offline fit of Loadline's own estimator: trees that make choosing a limit cheap.
//!
//! In: lessons. Out: the parameters of one resource. A split is taken where it lowers most what the best
//! candidate limits cost, at several prices of a miss at once: trees fitted to the decision, not to a
//! forecast (Elmachtoub et al., 2020, on decision
//! trees under predict-then-optimize). Each tree sees a draw of lessons and, at each split, a draw of
//! features (Breiman, 2001). Seeded: the same lessons give the same trees.

use std::sync::Arc;

use crate::estimation::EstimationError;
use crate::estimation::loadline::forest::{CANDIDATE_REFERENCES, CANDIDATES, MARGINS, TreeFile, encode};
use crate::estimation::loadline::policy::ModelFile;
use crate::estimation::loadline::price::RUNGS;
use crate::estimation::loadline::recent::FEATURES;
use crate::estimation::loadline::sizer::{Held, Sizer, SizerFile};
use crate::replay::backtest::Resource;
use crate::replay::families::Noise;
use crate::replay::grid::Trace;
use crate::replay::lessons::{Lesson, Pilot, lessons, mean_use};

/// A fitted model of Loadline's own estimator.
#[derive(Debug, Clone)]
pub struct FittedModel(pub(super) Arc<ModelFile>);

impl FittedModel {
    /// Fits a model to traces; an error where they hold no usage of a resource.
    pub fn fit(traces: &[Trace], plan: FitPlan) -> Result<Self, EstimationError> {
        let memory = fit(traces, Resource::Memory, plan)?;
        let cpu = fit(traces, Resource::Cpu, plan)?;
        Ok(Self(Arc::new(ModelFile { memory, cpu })))
    }

    /// Reads a model that `write` wrote.
    pub fn read(text: &str) -> Result<Self, EstimationError> {
        Ok(Self(Arc::new(serde_json::from_str(text)?)))
    }

    /// The model as JSON.
    pub fn write(&self) -> Result<String, EstimationError> {
        Ok(serde_json::to_string(&*self.0)?)
    }
}

/// How a fit is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitPlan {
    /// Trees of a forest.
    pub trees: usize,
    /// Leaves of a tree.
    pub leaves: usize,
    /// Lessons of each trace that the splits of a tree are chosen by.
    pub draw: usize,
    /// The seed.
    pub seed: u64,
}

impl Default for FitPlan {
    fn default() -> Self {
        Self { trees: 10, leaves: 160, draw: 100_000, seed: 1 }
    }
}

/// Features that a split is chosen among.
const FEATURES_DRAWN: usize = 12;
/// Thresholds that are tried for a feature.
const BINS: usize = 32;
/// The least that a leaf is fitted on.
const LEAF_MIN: f64 = 500.0;
/// A leaf's shares are drawn to those of all lessons as if it had so many more like them.
const LEAF_PRIOR: f64 = 10.0;
/// A count of misses is taken for more by so many of its standard deviations: few lessons prove little.
const CAUTION: f64 = 0.3;

/// What is fitted for a resource besides trees.
struct Scheme {
    /// Prices of a miss that splits are judged at, in slots of a day's highest use.
    prices: &'static [f64],
    floor: f64,
    relative: bool,
    lowest_price: f64,
    /// Prices at which limits are held while the second round of lessons is taken, in slots of mean use.
    pilots: &'static [f64],
}

fn scheme(resource: Resource) -> Scheme {
    match resource {
        Resource::Memory => Scheme {
            prices: &[30.0, 200.0, 1500.0, 10_000.0],
            floor: 32.0 * 1_048_576.0,
            relative: false,
            lowest_price: 5e9,
            pilots: &[150.0, 800.0, 4000.0],
        },
        // Nothing censors CPU: one round of lessons is enough.
        Resource::Cpu => Scheme {
            prices: &[2.0, 8.0, 30.0, 120.0],
            floor: 0.01,
            relative: true,
            lowest_price: 0.5,
            pilots: &[],
        },
    }
}

/// Fits one resource.
fn fit(traces: &[Trace], resource: Resource, plan: FitPlan) -> Result<SizerFile, EstimationError> {
    let scheme = scheme(resource);
    let all = |pilot: Option<(&Sizer, f64)>| -> Vec<Lesson> {
        let of = |(number, trace): (usize, &Trace)| {
            let pilot = pilot.map(|(sizer, price)| Pilot { sizer, price: price * mean_use(trace, resource) });
            lessons((number as u16, trace), resource, pilot)
        };
        traces.iter().enumerate().flat_map(of).collect()
    };
    let mut taught = all(None);
    if taught.is_empty() {
        return Err(EstimationError::ModelUnfit(
            "no lessons: the traces have no usage of this resource".to_owned(),
        ));
    }
    let mut file = SizerFile {
        floor: scheme.floor,
        relative: scheme.relative,
        lowest_price: scheme.lowest_price,
        rates: [1.0; RUNGS],
        trees: grow(&taught, &scheme, plan),
    };
    if !scheme.pilots.is_empty() {
        let sizer = Sizer::new(&file, 0.0)?;
        for &price in scheme.pilots {
            taught.extend(all(Some((&sizer, price))));
        }
        file.trees = grow(&taught, &scheme, plan);
    }
    file.rates = rates(&file, traces, resource)?;
    Ok(file)
}

/// The misses per task-slot that are expected on each rung of the ladder of prices.
fn rates(file: &SizerFile, traces: &[Trace], resource: Resource) -> Result<[f64; RUNGS], EstimationError> {
    let sizer = Sizer::new(file, 0.0)?;
    // The mean of the traces' logarithms: each counts the same, whatever its length.
    let mut logs = [0.0; RUNGS];
    for (number, trace) in traces.iter().enumerate() {
        let (mut sums, mut count) = ([0.0; RUNGS], 0.0);
        for lesson in lessons((number as u16, trace), resource, None).iter().step_by(37) {
            let chances = sizer.chances_on_rungs((&lesson.context, &Held::default()), 1.0);
            for (sum, chance) in sums.iter_mut().zip(chances) {
                *sum += chance;
            }
            count += 1.0;
        }
        for (log, sum) in logs.iter_mut().zip(sums) {
            *log += (sum / f64::max(count, 1.0)).max(1e-9).ln() / traces.len() as f64;
        }
    }
    Ok(logs.map(f64::exp))
}

/// Lessons as the fit looks at them.
struct Sheet {
    /// Each feature as the number of its bin.
    bins: Vec<[u8; FEATURES]>,
    /// Each candidate limit over the highest use of a day, and whether usage passed it.
    limits: Vec<[f32; CANDIDATES]>,
    missed: Vec<[bool; CANDIDATES]>,
}

fn candidates(lesson: &Lesson) -> [f32; CANDIDATES] {
    std::array::from_fn(|place| {
        let reference = lesson.context.references[CANDIDATE_REFERENCES[place / MARGINS.len()]];
        reference + MARGINS[place % MARGINS.len()].ln()
    })
}

fn misses(lesson: &Lesson) -> [bool; CANDIDATES] {
    candidates(lesson).map(|limit| lesson.next > limit)
}

/// The thresholds of each feature: equal shares of the lessons lie between them.
fn thresholds(lessons: &[Lesson]) -> Vec<Vec<f32>> {
    (0..FEATURES)
        .map(|feature| {
            let mut values: Vec<f32> =
                lessons.iter().step_by(7).map(|lesson| lesson.context.features[feature]).collect();
            values.sort_by(f32::total_cmp);
            let mut cuts: Vec<f32> = (1..BINS).map(|cut| values[cut * (values.len() - 1) / BINS]).collect();
            cuts.dedup();
            cuts
        })
        .collect()
}

fn grow(lessons: &[Lesson], scheme: &Scheme, plan: FitPlan) -> Vec<TreeFile> {
    let cuts = thresholds(lessons);
    let mut base = [0.0; CANDIDATES];
    for lesson in lessons {
        for (sum, missed) in base.iter_mut().zip(misses(lesson)) {
            *sum += f64::from(u8::from(missed));
        }
    }
    let base = base.map(|sum| sum / lessons.len() as f64);
    let tree = |number: usize| {
        let mut noise = Noise::new(plan.seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let drawn = draw(lessons, plan.draw, &mut noise);
        let mut tree = Growing::new(&sheet(&drawn, &cuts), scheme.prices, &mut noise, plan.leaves);
        tree.teach(lessons, &cuts, &base);
        tree.written(&cuts)
    };
    let mut trees: Vec<Option<TreeFile>> = vec![None; plan.trees];
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let share = plan.trees.div_ceil(threads).max(1);
        for (heap, trees) in trees.chunks_mut(share).enumerate() {
            let tree = &tree;
            scope.spawn(move || {
                for (place, slot) in trees.iter_mut().enumerate() {
                    *slot = Some(tree(heap * share + place));
                }
            });
        }
    });
    trees.into_iter().flatten().collect()
}

/// A draw of lessons, as many of each trace, so that a long trace teaches no more than a short one.
fn draw(lessons: &[Lesson], of_each: usize, noise: &mut Noise) -> Vec<Lesson> {
    let traces = lessons.iter().map(|lesson| lesson.trace).max().unwrap_or_default();
    let mut drawn = Vec::new();
    for trace in 0..=traces {
        let own: Vec<&Lesson> = lessons.iter().filter(|lesson| lesson.trace == trace).collect();
        if own.is_empty() {
            continue;
        }
        drawn.extend((0..of_each.min(own.len())).map(|_| *own[(noise.draw() * own.len() as f64) as usize]));
    }
    drawn
}

fn bins_of(features: &[f32; FEATURES], cuts: &[Vec<f32>]) -> [u8; FEATURES] {
    std::array::from_fn(|feature| cuts[feature].partition_point(|cut| *cut < features[feature]) as u8)
}

fn sheet(lessons: &[Lesson], cuts: &[Vec<f32>]) -> Sheet {
    Sheet {
        bins: lessons.iter().map(|lesson| bins_of(&lesson.context.features, cuts)).collect(),
        limits: lessons
            .iter()
            .map(|lesson| candidates(lesson).map(|limit| (limit - lesson.context.references[4]).exp()))
            .collect(),
        missed: lessons.iter().map(misses).collect(),
    }
}

/// Sums over lessons: of each candidate's limit and misses, and their count.
#[derive(Clone)]
struct Sums {
    limits: [f64; CANDIDATES],
    misses: [f64; CANDIDATES],
    count: f64,
}

impl Sums {
    const NONE: Self = Self { limits: [0.0; CANDIDATES], misses: [0.0; CANDIDATES], count: 0.0 };

    fn add(&mut self, other: &Self, sign: f64) {
        for place in 0..CANDIDATES {
            self.limits[place] += sign * other.limits[place];
            self.misses[place] += sign * other.misses[place];
        }
        self.count += sign * other.count;
    }

    /// What the best candidate costs at a price.
    fn cost(&self, price: f64) -> f64 {
        let cost =
            |(limits, misses): (&f64, &f64)| limits + price * (misses + CAUTION * misses.max(0.0).sqrt());
        self.limits.iter().zip(&self.misses).map(cost).fold(f64::INFINITY, f64::min)
    }
}

/// The best split of a node.
#[derive(Clone, Copy)]
struct Split {
    feature: usize,
    /// Bins up to this one go to the left.
    bin: u8,
    gain: f64,
}

/// A tree while it grows.
struct Growing {
    /// The split of each node and the node to the left; none in a leaf.
    nodes: Vec<Option<(Split, usize)>>,
    /// Shares of misses in each leaf, by node.
    shares: Vec<[f64; CANDIDATES]>,
}

impl Growing {
    fn new(sheet: &Sheet, prices: &[f64], noise: &mut Noise, leaves: usize) -> Self {
        let everything: Vec<u32> = (0..sheet.bins.len() as u32).collect();
        let mut tree = Self { nodes: vec![None], shares: Vec::new() };
        let mut whole = Sums::NONE;
        for &lesson in &everything {
            whole.take(sheet, lesson as usize);
        }
        // Each price counts by what it saves in proportion.
        let weights: Vec<(f64, f64)> =
            prices.iter().map(|price| (*price, 1.0 / whole.cost(*price).max(1e-12))).collect();
        let first = best_split(sheet, &everything, &weights, noise);
        let mut open = vec![(0_usize, everything, first)];
        for _ in 1..leaves {
            let gain = |split: &Option<Split>| split.map_or(0.0, |split| split.gain);
            let Some(most) = (0..open.len()).max_by(|a, b| gain(&open[*a].2).total_cmp(&gain(&open[*b].2)))
            else {
                break;
            };
            let (node, own, Some(split)) = open.swap_remove(most) else { break };
            let left = tree.nodes.len();
            tree.nodes.extend([None, None]);
            tree.nodes[node] = Some((split, left));
            let (low, high): (Vec<u32>, Vec<u32>) =
                own.into_iter().partition(|lesson| sheet.bins[*lesson as usize][split.feature] <= split.bin);
            for (place, own) in [(left, low), (left + 1, high)] {
                let split = best_split(sheet, &own, &weights, noise);
                open.push((place, own, split));
            }
        }
        tree
    }

    fn leaf(&self, bins: &[u8; FEATURES]) -> usize {
        let mut at = 0;
        while let Some((split, left)) = self.nodes[at] {
            at = left + usize::from(bins[split.feature] > split.bin);
        }
        at
    }

    /// Gives each leaf the shares of all lessons that come to it; each trace counts the same in all.
    fn teach(&mut self, lessons: &[Lesson], cuts: &[Vec<f32>], base: &[f64; CANDIDATES]) {
        let traces = lessons.iter().map(|lesson| lesson.trace).max().map_or(0, |most| usize::from(most) + 1);
        let mut of_trace = vec![0.0; traces];
        for lesson in lessons {
            of_trace[usize::from(lesson.trace)] += 1.0;
        }
        let least = of_trace.iter().copied().filter(|count| *count > 0.0).fold(f64::INFINITY, f64::min);
        let mut counts = vec![LEAF_PRIOR; self.nodes.len()];
        let mut sums = vec![base.map(|share| share * LEAF_PRIOR); self.nodes.len()];
        for lesson in lessons {
            let leaf = self.leaf(&bins_of(&lesson.context.features, cuts));
            let weight = least / of_trace[usize::from(lesson.trace)];
            counts[leaf] += weight;
            for (sum, missed) in sums[leaf].iter_mut().zip(misses(lesson)) {
                *sum += weight * f64::from(u8::from(missed));
            }
        }
        self.shares = sums.iter().zip(counts).map(|(sum, count)| sum.map(|sum| sum / count)).collect();
    }

    fn written(&self, cuts: &[Vec<f32>]) -> TreeFile {
        let mut file =
            TreeFile { feature: Vec::new(), threshold: Vec::new(), left: Vec::new(), leaves: Vec::new() };
        for (node, shares) in self.nodes.iter().zip(&self.shares) {
            if let Some((split, left)) = node {
                file.feature.push(Some(split.feature as u8));
                file.threshold.push(cuts[split.feature][usize::from(split.bin)]);
                file.left.push(*left as u16);
            } else {
                file.feature.push(None);
                file.threshold.push(0.0);
                file.left.push(0);
                file.leaves.push(encode(shares));
            }
        }
        file
    }
}

impl Sums {
    fn take(&mut self, sheet: &Sheet, lesson: usize) {
        let (limits, missed) = (&sheet.limits[lesson], &sheet.missed[lesson]);
        for place in 0..CANDIDATES {
            self.limits[place] += f64::from(limits[place]);
            self.misses[place] += f64::from(u8::from(missed[place]));
        }
        self.count += 1.0;
    }
}

/// The split of some lessons that saves most, among a draw of features.
fn best_split(sheet: &Sheet, own: &[u32], weights: &[(f64, f64)], noise: &mut Noise) -> Option<Split> {
    let mut features: Vec<usize> = (0..FEATURES).collect();
    for place in 0..FEATURES_DRAWN {
        let other = place + (noise.draw() * (FEATURES - place) as f64) as usize;
        features.swap(place, other);
    }
    features.truncate(FEATURES_DRAWN);
    let cost = |sums: &Sums| weights.iter().map(|(price, weight)| weight * sums.cost(*price)).sum::<f64>();
    let mut best: Option<Split> = None;
    for feature in features {
        let mut by_bin = vec![Sums::NONE; BINS];
        for &lesson in own {
            by_bin[usize::from(sheet.bins[lesson as usize][feature])].take(sheet, lesson as usize);
        }
        let mut high = Sums::NONE;
        for sums in &by_bin {
            high.add(sums, 1.0);
        }
        let before = cost(&high);
        let mut low = Sums::NONE;
        for (bin, sums) in by_bin.iter().enumerate().take(BINS - 1) {
            if sums.count <= 0.0 {
                continue;
            }
            low.add(sums, 1.0);
            high.add(sums, -1.0);
            if low.count < LEAF_MIN || high.count < LEAF_MIN {
                continue;
            }
            let gain = before - cost(&low) - cost(&high);
            if gain > best.map_or(1e-9, |best| best.gain) {
                best = Some(Split { feature, bin: bin as u8, gain });
            }
        }
    }
    best
}
