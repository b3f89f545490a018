//! One series of load under several policies of counts: what to replay, and the figures that come of it.
//!
//! In: a series, policies by name, the days of replays that the caller ran (on as many threads as it has). Out:
//! a `LoadReport` of figures, intervals and curves. Emitting and printing are the caller's.
//!
//! Policies are compared at an equal share of under-provisioned time: each one's curve over its knob is
//! interpolated in the logarithm of that share. The reference is HPA v2 at its default target.

use serde::Serialize;

use crate::domain::load_series::LoadSeries;
use crate::domain::workload::WorkloadName;
use crate::estimation::catalogue::CatalogueError;
use crate::replay::backtest::Estimated;
use crate::replay::curve::{Curve, Point};
use crate::replay::figures::{Draws, Interval};
use crate::replay::horizontal::{Asked, Outcome, Steps, oracle_by_day, replay_by_day};
use crate::scaling::counts::Terms;
use crate::scaling::counts::catalogue::CountRecipe;
pub use crate::scaling::counts::catalogue::help;

/// Draws of the bootstrap.
const DRAWS: usize = 400;
/// The seed of the bootstrap.
const SEED: u64 = 1;
/// The policy that others are compared with.
pub const REFERENCE: &str = "hpa";
/// Shares of under-provisioned time at which all are compared.
const LEVELS: [f64; 5] = [0.001, 0.003, 0.01, 0.03, 0.1];

/// What is compared unless policies are named.
pub const ALL: &[&str] = &[
    "loadline",
    "hpa",
    "target-value",
    "keda-cron",
    "aws-predictive",
    "autopilot",
    "seasonal-hpa",
    "oracle",
];

/// A policy in a backtest of load, or the oracle.
#[derive(Debug, Clone)]
pub enum LoadContender {
    /// A policy of the catalogue.
    Policy(CountRecipe),
    /// The oracle.
    Oracle,
}

impl LoadContender {
    /// Reads `NAME[:key=value]...`, `oracle` among the names.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        if text == "oracle" { Ok(Self::Oracle) } else { CountRecipe::parse(text).map(Self::Policy) }
    }

    /// As it was written.
    pub fn label(&self) -> &str {
        match self {
            Self::Policy(recipe) => recipe.label(),
            Self::Oracle => "oracle",
        }
    }

    /// The name and value of its knob; the oracle has none.
    pub fn knob(&self) -> Option<(&'static str, f64)> {
        match self {
            Self::Policy(recipe) => Some(recipe.knob()),
            Self::Oracle => None,
        }
    }

    /// The share of time that may be under-provisioned, where it is asked for one.
    fn budget(&self) -> Option<f64> {
        match self {
            Self::Policy(recipe) => recipe.budget(),
            Self::Oracle => None,
        }
    }

    /// The contender at each value of its knob that draws its curve.
    pub fn sweep(&self) -> Vec<Self> {
        match self {
            Self::Policy(recipe) => recipe.sweep().map(Self::Policy).collect(),
            Self::Oracle => Vec::new(),
        }
    }

    /// Replays a case; `asked` is called at each change of the count.
    pub fn replay(&self, case: &Case, asked: impl FnMut(Asked)) -> Vec<Outcome> {
        match self {
            Self::Policy(recipe) => {
                let mut policy = recipe.make(&case.name);
                replay_by_day(&case.steps, &case.terms, policy.as_mut(), asked)
            }
            Self::Oracle => oracle_by_day(&case.steps, &case.terms, asked),
        }
    }
}

/// How a series is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// The load that one instance serves; where absent, the series' peak over `max`.
    pub capacity: Option<f64>,
    /// Seconds until a new instance serves.
    pub startup: f64,
    /// Seconds from one decision to the next.
    pub interval: i64,
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
}

/// A series, ready to be replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The series.
    pub series: String,
    /// What policies know the service by.
    name: WorkloadName,
    /// Its load.
    pub steps: Steps,
    /// What holds.
    pub terms: Terms,
}

impl Case {
    /// A series in a setting; none where it has no load at all.
    pub fn new(series: &LoadSeries, setting: &Setting) -> Option<Self> {
        let steps = Steps::of(&series.times, &series.loads, setting.interval);
        let peak = steps.peak();
        let capacity = setting.capacity.unwrap_or(peak / f64::from(setting.max.max(1)));
        let terms = Terms {
            capacity,
            startup: setting.startup,
            interval: setting.interval as f64,
            min: setting.min,
            max: setting.max,
        };
        let name = WorkloadName::new("service").ok()?;
        (peak > 0.0).then(|| Self { series: series.name.clone(), name, steps, terms })
    }
}

/// The days of one contender at one value of its knob.
#[derive(Debug, Clone)]
pub struct LoadScored {
    /// The label of the contender that it belongs to.
    pub label: String,
    /// Its knob.
    pub knob: f64,
    /// Whether it is the contender as asked for, not a point of its sweep.
    pub asked: bool,
    /// What came of each day.
    pub days: Vec<Outcome>,
}

/// What a policy came to on a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LoadFigures {
    /// Share of time with load above ready capacity.
    pub under_time: f64,
    /// Load above capacity over all load.
    pub shed: f64,
    /// Instance-hours over the oracle's.
    pub hours: f64,
    /// Changes of the count per day.
    pub changes: f64,
    /// Changes of direction per day.
    pub flips: f64,
    /// Percentage points between the share of time asked for and the one obtained.
    pub budget_gap: Option<f64>,
}

impl LoadFigures {
    fn of(outcome: &Outcome, budget: Option<f64>) -> Self {
        let under_time = outcome.under_time();
        Self {
            under_time,
            shed: outcome.shed_share(),
            hours: outcome.hours_over_oracle(),
            changes: outcome.changes_per_day(),
            flips: outcome.flips_per_day(),
            budget_gap: budget.map(|budget| 100.0 * (budget - under_time).abs()),
        }
    }
}

/// A value of the knob and what it came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LoadPoint {
    /// The knob.
    pub knob: f64,
    /// What it came to.
    pub figures: LoadFigures,
}

/// A policy where its curve has a share of under-provisioned time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AtLevel {
    /// The share of under-provisioned time.
    pub under_time: f64,
    /// Instance-hours over the oracle's; absent where the curve does not reach so little.
    pub hours: Option<f64>,
    /// Changes per day there.
    pub changes: Option<f64>,
    /// (hours - 1) / (HPA's hours - 1).
    pub excess: Option<f64>,
}

/// One policy's line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadLine {
    /// The policy as it was asked for.
    pub policy: String,
    /// Its knob.
    pub knob: Option<&'static str>,
    /// The knob's value.
    pub knob_value: Option<f64>,
    /// Its figures there.
    pub figures: LoadFigures,
    /// The interval of the under-provisioned time.
    pub under_interval: Option<Interval>,
    /// The interval of the hours.
    pub hours_interval: Option<Interval>,
    /// The share of HPA's hours above the oracle's that is left at HPA's under-provisioned time.
    pub excess: Estimated,
    /// Changes per day there.
    pub changes_at_reference: Option<f64>,
    /// The same at given shares of under-provisioned time, each against HPA's curve.
    pub at: Vec<AtLevel>,
    /// Every value of the knob.
    pub points: Vec<LoadPoint>,
}

/// What a series came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadReport {
    /// The file.
    pub file: String,
    /// The series.
    pub series: String,
    /// What held.
    pub terms: Terms,
    /// Decisions whose load was known.
    pub steps: u64,
    /// Days from its begin to its end.
    pub days: f64,
    /// Instance-hours of the oracle.
    pub oracle_hours: f64,
    /// A line a policy.
    pub lines: Vec<LoadLine>,
}

/// One contender's points, with sums over days as they are or as they are drawn.
struct Swept<'a> {
    points: Vec<&'a LoadScored>,
}

impl Swept<'_> {
    /// The curve and the changes of each knob, over days that count so many times each.
    fn curve(&self, times: Option<&[u32]>) -> (Curve, Vec<(f64, f64)>) {
        let sums: Vec<(f64, Outcome)> =
            self.points.iter().map(|one| (one.knob, sum(&one.days, times))).collect();
        let floor = sums.first().map_or(0.0, |(_, sum)| 0.5 / sum.steps.max(1) as f64);
        let points = sums.iter().map(|(knob, sum)| Point {
            knob: *knob,
            rate: sum.under_time(),
            footprint: sum.hours_over_oracle(),
        });
        let changes = sums.iter().map(|(knob, sum)| (*knob, sum.changes_per_day())).collect();
        (Curve::new(points, floor), changes)
    }
}

fn sum(days: &[Outcome], times: Option<&[u32]>) -> Outcome {
    match times {
        None => Outcome::sum(days),
        Some(times) => Outcome::sum(
            days.iter().zip(times).flat_map(|(day, times)| std::iter::repeat_n(day, *times as usize)),
        ),
    }
}

/// Hours and changes where a curve has a share of under-provisioned time.
fn at(curve: &(Curve, Vec<(f64, f64)>), under: f64) -> Option<(f64, f64)> {
    let (curve, changes) = curve;
    let (from, to, share) = curve.place(under)?;
    let of = |point: Point| {
        changes.iter().find(|(knob, _)| knob.total_cmp(&point.knob).is_eq()).map(|(_, changes)| *changes)
    };
    let (low, high) = (of(from)?, of(to)?);
    Some((from.footprint + share * (to.footprint - from.footprint), low + share * (high - low)))
}

fn excess(hours: f64, reference: f64) -> Option<f64> {
    (reference > 1.0).then(|| (hours - 1.0) / (reference - 1.0))
}

/// The report of what was scored. `REFERENCE` must be among it, as asked for, for comparisons; points of one
/// label make its curve.
pub fn report(file: &str, case: &Case, contenders: &[LoadContender], scored: &[LoadScored]) -> LoadReport {
    let asked = |label: &str| scored.iter().find(|one| one.asked && one.label == label);
    let any = scored.iter().find(|one| one.asked).map(|one| sum(&one.days, None)).unwrap_or_default();
    let days = scored.first().map_or(0, |one| one.days.len());
    let draws = Draws::new(days, DRAWS, SEED);
    let judge = Judge { draws, scored, reference: asked(REFERENCE) };
    let lines = contenders.iter().filter_map(|one| Some(judge.line(one, asked(one.label())?)));
    LoadReport {
        file: file.to_owned(),
        series: case.series.clone(),
        terms: case.terms,
        steps: any.steps,
        days: any.days,
        oracle_hours: any.oracle as f64 * case.terms.interval / 3_600.0,
        lines: lines.collect(),
    }
}

struct Judge<'a> {
    draws: Draws,
    scored: &'a [LoadScored],
    reference: Option<&'a LoadScored>,
}

impl<'a> Judge<'a> {
    fn swept(&self, label: &str) -> Swept<'a> {
        let points = self.scored.iter().filter(|one| one.label == label);
        Swept { points: points.collect() }
    }

    fn line(&self, contender: &LoadContender, asked: &LoadScored) -> LoadLine {
        let swept = self.swept(&asked.label);
        let drawn: Vec<Outcome> = self.draws.times().map(|times| sum(&asked.days, Some(times))).collect();
        let interval = |of: &dyn Fn(&Outcome) -> f64| Interval::of(&drawn.iter().map(of).collect::<Vec<_>>());
        let mut points: Vec<LoadPoint> = swept
            .points
            .iter()
            .filter(|one| !one.asked)
            .map(|one| LoadPoint {
                knob: one.knob,
                figures: LoadFigures::of(&sum(&one.days, None), contender.budget().map(|_| one.knob)),
            })
            .collect();
        points.sort_by(|a, b| a.knob.total_cmp(&b.knob));
        let curve = swept.curve(None);
        let of_reference = self.reference.map(|one| sum(&one.days, None));
        let there = of_reference.as_ref().and_then(|one| at(&curve, one.under_time()));
        // Without a sweep there is one point, and nothing to compare at an equal share of time.
        let compares = swept.points.len() > 1 || asked.label == "oracle";
        LoadLine {
            policy: asked.label.clone(),
            knob: contender.knob().map(|(name, _)| name),
            knob_value: contender.knob().map(|(_, value)| value),
            figures: LoadFigures::of(&sum(&asked.days, None), contender.budget()),
            under_interval: interval(&Outcome::under_time),
            hours_interval: interval(&Outcome::hours_over_oracle),
            excess: if compares { self.excess(&swept, there) } else { NO_ESTIMATE },
            changes_at_reference: there.filter(|_| compares).map(|(_, changes)| changes),
            at: if compares { self.levels(&curve) } else { Vec::new() },
            points,
        }
    }

    fn excess(&self, swept: &Swept<'_>, there: Option<(f64, f64)>) -> Estimated {
        let Some(reference) = self.reference else { return NO_ESTIMATE };
        let whole = sum(&reference.days, None);
        let value = there.and_then(|(hours, _)| excess(hours, whole.hours_over_oracle()));
        let drawn = self.draws.times().map(|times| {
            let theirs = sum(&reference.days, Some(times));
            let ours = at(&swept.curve(Some(times)), theirs.under_time());
            ours.and_then(|(hours, _)| excess(hours, theirs.hours_over_oracle())).unwrap_or(f64::NAN)
        });
        Estimated { value, interval: Interval::of(&drawn.collect::<Vec<_>>()) }
    }

    fn levels(&self, curve: &(Curve, Vec<(f64, f64)>)) -> Vec<AtLevel> {
        let reference = self.reference.map(|one| self.swept(&one.label).curve(None));
        let level = |under_time: f64| {
            let ours = at(curve, under_time);
            let theirs = reference.as_ref().and_then(|reference| at(reference, under_time));
            AtLevel {
                under_time,
                hours: ours.map(|(hours, _)| hours),
                changes: ours.map(|(_, changes)| changes),
                excess: ours.zip(theirs).and_then(|(ours, theirs)| excess(ours.0, theirs.0)),
            }
        };
        LEVELS.map(level).into()
    }
}

const NO_ESTIMATE: Estimated = Estimated { value: None, interval: None };

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(under: u64, instances: u64, changes: u64) -> Outcome {
        Outcome { steps: 1_000, under, instances, oracle: 1_000, changes, days: 1.0, ..Outcome::default() }
    }

    fn scored(label: &str, asked: bool, knob: f64, days: &[Outcome]) -> LoadScored {
        LoadScored { label: label.to_owned(), knob, asked, days: days.to_vec() }
    }

    #[test]
    fn policies_are_compared_where_hpa_is() {
        let setting = Setting { capacity: Some(1.0), startup: 60.0, interval: 15, min: 1, max: 40 };
        let series = LoadSeries { name: "s".to_owned(), times: vec![0, 60], loads: vec![1.0, 2.0] };
        let case = Case::new(&series, &setting).expect("a case");
        let contenders =
            ["hpa", "autopilot", "oracle"].map(|name| LoadContender::parse(name).expect("known"));
        let both = |one: Outcome| [one, one];
        let all = [
            scored("hpa", true, 0.7, &both(outcome(10, 2_000, 100))),
            scored("hpa", false, 0.7, &both(outcome(10, 2_000, 100))),
            scored("hpa", false, 1.0, &both(outcome(100, 1_200, 200))),
            scored("autopilot", true, 0.7, &both(outcome(1, 2_000, 20))),
            scored("autopilot", false, 0.9, &both(outcome(100, 1_000, 40))),
            scored("oracle", true, 0.0, &both(outcome(0, 1_000, 9))),
        ];
        let report = report("f", &case, &contenders, &all);
        assert_eq!((report.steps, report.days, report.lines.len()), (2_000, 2.0, 3));
        let line = |place: usize| &report.lines[place];
        assert_eq!(line(0).excess.value, Some(1.0));
        // 1 % lies in the middle of 0.1 % and 10 %: 1.5 hours, 30 changes.
        let close = |found: Option<f64>, expected: f64| {
            assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{found:?} {expected}");
        };
        close(line(1).excess.value, 0.5);
        close(line(1).changes_at_reference, 30.0);
        // Days are alike, so that draws are.
        assert!(line(1).excess.interval.is_some_and(|interval| interval.high - interval.low < 1e-9));
        close(line(2).excess.value, 0.0);
        close(line(1).at[4].excess, 0.0);
        close(line(1).at[0].hours, 2.0);
        assert_eq!(line(1).at[0].excess, None, "HPA's curve has nothing so safe");
        assert_eq!(line(1).figures.budget_gap, None);
        // Nothing is asked of a series without load.
        let none = LoadSeries { name: "s".to_owned(), times: vec![0], loads: vec![0.0] };
        assert_eq!(Case::new(&none, &setting), None);
    }
}
