//! One trace under several policies: what to replay, and the figures that come of it.
//!
//! In: a trace, policies by name, the outcomes of replays that the caller ran (on as many threads as it
//! has). Out: a `Report` of figures, intervals and curves. Emitting and printing are the caller's.

use serde::Serialize;

use crate::estimation::catalogue::{CatalogueError, ENTRIES, Recipe};
use crate::replay::coverage::{ClassLine, by_volatility};
use crate::replay::curve::{Curve, Point, excess};
use crate::replay::figures::{Draws, Figures, Interval};
use crate::replay::fit::FittedModel;
use crate::replay::grid::{Repairs, SHORT_SHARES, Trace};
use crate::replay::tally::{Counts, Tally, sum};
use crate::replay::vertical::Teller;

/// Draws of the bootstrap.
const DRAWS: usize = 400;
/// The seed of the bootstrap.
const SEED: u64 = 1;

/// A policy in a backtest, or the oracle.
#[derive(Debug, Clone)]
pub enum Contender {
    /// A policy of the catalogue.
    Policy(Recipe),
    /// The daily oracle; the place of a share in `SHORT_SHARES`.
    Oracle(usize),
}

impl Contender {
    /// Reads `NAME[:key=value]...`, `oracle` among the names.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        if text == "oracle" { Ok(Self::Oracle(0)) } else { Recipe::parse(text, ENTRIES).map(Self::Policy) }
    }

    /// The same contender with another fitted model, where it has one.
    #[must_use]
    pub fn with_model(self, model: &FittedModel) -> Self {
        match self {
            Self::Policy(recipe) => Self::Policy(recipe.with_model(&model.0)),
            Self::Oracle(share) => Self::Oracle(share),
        }
    }

    /// As it was written.
    pub fn label(&self) -> &str {
        match self {
            Self::Policy(recipe) => recipe.label(),
            Self::Oracle(_) => "oracle",
        }
    }

    /// The name and value of its risk knob.
    pub fn knob(&self) -> (&'static str, f64) {
        match self {
            Self::Policy(recipe) => recipe.knob(),
            Self::Oracle(share) => ("short", SHORT_SHARES[*share]),
        }
    }

    /// The contender at each value of its knob that draws its curve.
    pub fn sweep(&self) -> Vec<Self> {
        match self {
            Self::Policy(recipe) => recipe.sweep().map(Self::Policy).collect(),
            Self::Oracle(_) => (0..SHORT_SHARES.len()).map(Self::Oracle).collect(),
        }
    }

    /// What a replay asks for limits.
    pub fn teller(&self) -> Result<Teller, CatalogueError> {
        Ok(match self {
            Self::Policy(recipe) => Teller::Policy(recipe.make()?),
            Self::Oracle(share) => Teller::Oracle(*share),
        })
    }
}

/// The resource that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Memory.
    Memory,
    /// CPU.
    Cpu,
}

/// The counts of one contender at one value of its knob: a tally a workload, in the trace's order.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The label of the contender that it belongs to.
    pub label: String,
    /// Its knob.
    pub knob: f64,
    /// Whether it is the contender as asked for, not a point of its sweep.
    pub asked: bool,
    /// A tally a workload.
    pub tallies: Vec<Tally>,
}

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimated {
    /// The figure; absent where it cannot be told.
    pub value: Option<f64>,
    /// Its interval over draws of workloads.
    pub interval: Option<Interval>,
}

/// One policy's line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The policy as it was asked for.
    pub policy: String,
    /// Its risk knob.
    pub knob: String,
    /// The knob's value.
    pub knob_value: f64,
    /// Figures of all but the first 24 h of each workload.
    pub figures: Figures,
    /// Those of tasks older than 24 h alone.
    pub settled: Figures,
    /// Those of the first 24 h of each workload.
    pub cold_start: Figures,
    /// Share of workload-days with more kills than the greater of 4 and a seventh of the tasks.
    pub severe_days: f64,
    /// The interval of the rate: of kills per task-day, or of the share of time short.
    pub rate_interval: Option<Interval>,
    /// The interval of the footprint over usage.
    pub footprint_interval: Option<Interval>,
    /// The share of VPA's footprint above the oracle's that is left at VPA's rate.
    pub excess: Estimated,
    /// Misses at VPA's footprint over VPA's.
    pub misses_at_footprint: Option<f64>,
    /// The curve over the risk knob.
    pub curve: Option<Curve>,
}

/// What each workload came to under one policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkloadLine {
    /// The policy as it was asked for.
    pub policy: String,
    /// The workload.
    pub workload: String,
    /// Its figures.
    pub figures: Figures,
}

/// What a trace came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The trace.
    pub trace: String,
    /// Which resource.
    pub resource: Resource,
    /// Seconds of a step.
    pub step: i64,
    /// Workloads in it.
    pub workloads: usize,
    /// Tasks in it.
    pub tasks: usize,
    /// Steps of tasks in it.
    pub samples: usize,
    /// What was repaired.
    pub repairs: Repairs,
    /// A line a policy.
    pub lines: Vec<Line>,
    /// A line a workload and policy.
    pub by_workload: Vec<WorkloadLine>,
    /// A line a policy and class of volatility.
    pub by_volatility: Vec<ClassLine>,
}

/// Everything that comparisons refer to.
struct Reference {
    vpa: Point,
    oracle: f64,
    vpa_draws: Vec<(Point, f64)>,
}

/// Makes the report of what was scored. VPA and the oracle must be among it, as asked for, for the
/// comparisons; points of one label make its curve.
pub fn report(trace: &Trace, resource: Resource, contenders: &[Contender], scored: &[Scored]) -> Report {
    let draws = Draws::new(trace.workloads.len(), DRAWS, SEED);
    let judge = Judge { resource, step: trace.step, draws };
    let of = |label: &str| scored.iter().find(|one| one.asked && one.label == label);
    let oracles: Vec<&Scored> = scored.iter().filter(|one| one.label == "oracle").collect();
    let reference = of("vpa").zip(of("oracle")).map(|(vpa, oracle)| judge.reference(vpa, oracle, &oracles));
    let asked = |contender: &&Contender| of(contender.label()).is_some();
    let lines = contenders.iter().filter(asked).filter_map(|contender| {
        let points: Vec<&Scored> = scored.iter().filter(|one| one.label == contender.label()).collect();
        Some(judge.line(contender, of(contender.label())?, &points, reference.as_ref()))
    });
    let by_workload = contenders.iter().filter_map(|contender| of(contender.label())).flat_map(|one| {
        trace.workloads.iter().zip(&one.tallies).map(|(workload, tally)| WorkloadLine {
            policy: one.label.clone(),
            workload: workload.name.clone(),
            figures: Figures::of(&judge.counts(tally), trace.step),
        })
    });
    Report {
        trace: trace.name.clone(),
        resource,
        step: trace.step,
        workloads: trace.workloads.len(),
        tasks: trace.workloads.iter().map(|workload| workload.tasks.len()).sum(),
        samples: trace.samples(),
        repairs: trace.repairs,
        lines: lines.collect(),
        by_workload: by_workload.collect(),
        by_volatility: by_volatility(trace, resource, contenders, scored),
    }
}

/// How tallies become figures.
struct Judge {
    resource: Resource,
    step: i64,
    draws: Draws,
}

impl Judge {
    fn counts(&self, tally: &Tally) -> Counts {
        match self.resource {
            Resource::Memory => tally.memory.scored(),
            Resource::Cpu => tally.cpu.scored(),
        }
    }

    fn figures(&self, tally: &Tally) -> Figures {
        Figures::of(&self.counts(tally), self.step)
    }

    /// Kills per task-day, or the share of time short.
    fn rate(&self, figures: &Figures) -> f64 {
        match self.resource {
            Resource::Memory => figures.rate,
            Resource::Cpu => figures.short_time,
        }
    }

    fn point(&self, knob: f64, tally: &Tally) -> Point {
        let figures = self.figures(tally);
        Point { knob, rate: self.rate(&figures), footprint: figures.footprint }
    }

    /// Half of the smallest rate that the trace could show.
    fn floor(&self, tally: &Tally) -> f64 {
        let counts = self.counts(tally);
        let one = Counts { missed: 1, ..counts };
        0.5 * self.rate(&Figures::of(&one, self.step))
    }

    fn reference(&self, vpa: &Scored, oracle: &Scored, oracles: &[&Scored]) -> Reference {
        let points: Vec<(f64, Vec<Tally>)> =
            oracles.iter().map(|one| (one.knob, self.draws.sums(&one.tallies))).collect();
        let asked = self.draws.sums(&oracle.tallies);
        let vpa_draws = self.draws.sums(&vpa.tallies);
        let vpa_draws = vpa_draws.iter().enumerate().map(|(draw, tally)| {
            let point = self.point(vpa.knob, tally);
            let of_draw = points.iter().map(|(knob, sums)| (*knob, sums[draw]));
            (point, self.oracle(point.rate, &asked[draw], of_draw))
        });
        let point = self.point(vpa.knob, &sum(&vpa.tallies));
        let whole = oracles.iter().map(|one| (one.knob, sum(&one.tallies)));
        Reference {
            vpa: point,
            oracle: self.oracle(point.rate, &sum(&oracle.tallies), whole),
            vpa_draws: vpa_draws.collect(),
        }
    }

    /// What the oracle pays. For memory it is never killed. For CPU it may be short as often as VPA is:
    /// peaks of a day that are never passed cost more than VPA's request.
    fn oracle(&self, rate: f64, asked: &Tally, points: impl Iterator<Item = (f64, Tally)>) -> f64 {
        let never = self.figures(asked).footprint;
        match self.resource {
            Resource::Memory => never,
            Resource::Cpu => {
                let points = points.map(|(knob, tally)| self.point(knob, &tally));
                Curve::new(points, self.floor(asked)).footprint_at(rate).unwrap_or(never)
            }
        }
    }

    fn line(
        &self,
        contender: &Contender,
        asked: &Scored,
        points: &[&Scored],
        reference: Option<&Reference>,
    ) -> Line {
        let total = sum(&asked.tallies);
        let figures = self.figures(&total);
        let phases = match self.resource {
            Resource::Memory => total.memory,
            Resource::Cpu => total.cpu,
        };
        let drawn: Vec<Figures> =
            self.draws.sums(&asked.tallies).iter().map(|tally| self.figures(tally)).collect();
        let interval = |of: &dyn Fn(&Figures) -> f64| Interval::of(&drawn.iter().map(of).collect::<Vec<_>>());
        // A policy that mostly knew nothing was charged the usage itself: it is not to be compared.
        let told = figures.withheld < 0.5;
        let curve = (told && points.len() > 1).then(|| self.curve(points, &total));
        let (knob, knob_value) = contender.knob();
        Line {
            policy: asked.label.clone(),
            knob: knob.to_owned(),
            knob_value,
            figures,
            settled: Figures::of(&phases.settled, self.step),
            cold_start: Figures::of(&phases.cold, self.step),
            severe_days: total.severe_days as f64 / total.days as f64,
            rate_interval: interval(&|figures| self.rate(figures)),
            footprint_interval: interval(&|figures| figures.footprint_over_use),
            excess: self.excess(points, curve.as_ref(), reference),
            misses_at_footprint: curve.as_ref().zip(reference).and_then(|(curve, reference)| {
                let rate = curve.rate_at(reference.vpa.footprint)?;
                (reference.vpa.rate > 0.0).then(|| rate / reference.vpa.rate)
            }),
            curve,
        }
    }

    fn curve(&self, points: &[&Scored], total: &Tally) -> Curve {
        Curve::new(points.iter().map(|one| self.point(one.knob, &sum(&one.tallies))), self.floor(total))
    }

    fn excess(&self, points: &[&Scored], curve: Option<&Curve>, reference: Option<&Reference>) -> Estimated {
        let Some((curve, reference)) = curve.zip(reference) else {
            return Estimated { value: None, interval: None };
        };
        let sums: Vec<(f64, Vec<Tally>)> =
            points.iter().map(|one| (one.knob, self.draws.sums(&one.tallies))).collect();
        let drawn: Vec<f64> = reference
            .vpa_draws
            .iter()
            .enumerate()
            .map(|(draw, (vpa, oracle))| {
                let points = sums.iter().map(|(knob, sums)| self.point(*knob, &sums[draw]));
                let floor = sums.first().map_or(0.0, |(_, sums)| self.floor(&sums[draw]));
                excess(&Curve::new(points, floor), *vpa, *oracle).unwrap_or(f64::NAN)
            })
            .collect();
        Estimated { value: excess(curve, reference.vpa, reference.oracle), interval: Interval::of(&drawn) }
    }
}
