//! The steps of a rollout by groups or by a switch: how many instances of which revision each wants, and
//! when it goes on or is taken back.
//! Not here: how instances are replaced (`services`), what a comparison finds (`acceptance`), failures
//! and deadline (`rollout`).

use jiff::{SignedDuration, Timestamp};

use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::observation::Observed;
use crate::domain::plan::Step;
use crate::domain::rollout::{Rollout, RolloutState, Stage, StageKey, StageWait};
use crate::domain::strategy::{Acceptance, Strategy};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};
use crate::scheduling::acceptance::{Finding, compare};
use crate::scheduling::services::counts;
use crate::scheduling::view::{Row, View};

/// Instances of one revision that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cohort {
    pub(super) revision: u64,
    pub(super) wanted: usize,
}

/// What a service is to consist of at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// In the order in which missing instances are made: what is proven first.
    pub(super) cohorts: Vec<Cohort>,
    /// Ready instances that must stay in the front door.
    pub(super) capacity: usize,
}

impl Shape {
    /// Instances of all revisions.
    pub(super) fn total(&self) -> usize {
        self.cohorts.iter().map(|cohort| cohort.wanted).sum()
    }
}

/// A command that is to judge a step now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueCommand {
    /// The service.
    pub workload: WorkloadName,
    /// The step.
    pub stage: StageKey,
    /// The revision that was there before.
    pub from: Option<u64>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// One that takes longer refuses.
    pub time_limit: SignedDuration,
}

/// The commands whose judgement is waited for and not observed yet.
pub fn due_commands(world: &World, observed: &Observed, now: Timestamp) -> Vec<DueCommand> {
    if world.frozen(Switch::Deploys).is_some() {
        return Vec::new();
    }
    let due = |workload: &Workload| {
        let rollout = workload.rollout.as_ref()?;
        let stage = rollout.open_stage()?;
        let StageWait::Command { from } = stage.waits else { return None };
        let (Acceptance::Command { command, time_limit }, _) = rollout.strategy.acceptance() else {
            return None;
        };
        let key = rollout.stage_key()?;
        let known = observed.judged.get(&workload.name).is_some_and(|verdict| verdict.stage == key);
        let waits = now >= from && !known && !workload.deleted && world.paused(&workload.name).is_none();
        waits.then(|| DueCommand {
            workload: workload.name.clone(),
            stage: key,
            from: rollout.from,
            command: command.clone(),
            time_limit: *time_limit,
        })
    };
    world.workloads.values().filter_map(due).collect()
}

/// What the instances of a service are to be. While deploys are frozen, an open rollout stays as it is:
/// what fails is made good by the revision before.
pub(super) fn shape(view: &View<'_>, workload: &Workload, rows: &[Row<'_>]) -> Shape {
    let count = if view.paused(&workload.name) { 0 } else { workload.count as usize };
    let cohort = |revision, wanted| Cohort { revision, wanted };
    let shape = |cohorts| Shape { cohorts, capacity: count };
    let plain = || shape(vec![cohort(workload.revision, count)]);
    let open = workload.rollout.as_ref().filter(|rollout| rollout.state.is_open() && count > 0);
    let Some((rollout, from)) = open.and_then(|rollout| Some((rollout, rollout.from?))) else {
        return plain();
    };
    let there = |revision| {
        let active = |row: &&Row<'_>| row.task.revision == revision && row.task.state.is_active();
        rows.iter().filter(active).count().min(count)
    };
    let frozen = view.frozen(Switch::Deploys);
    let new = rollout.to;
    match (rollout.stage.as_ref(), &rollout.strategy) {
        (Some(stage), Strategy::BlueGreen { .. }) if stage.index > 0 => {
            if matches!(stage.waits, StageWait::Hold { .. }) || frozen {
                shape(vec![cohort(new, count), cohort(from, there(from))])
            } else {
                plain()
            }
        }
        (Some(_), Strategy::BlueGreen { .. }) => {
            shape(vec![cohort(from, count), cohort(new, if frozen { there(new) } else { count })])
        }
        _ if frozen => shape(vec![cohort(from, count - there(new)), cohort(new, there(new))]),
        (Some(stage), Strategy::Canary { .. }) if stage.waits != StageWait::Rest => {
            let group = rollout.strategy.instances(stage.index, workload.count) as usize;
            // One old instance stays in any case, to compare with and to go back to.
            shape(vec![cohort(from, (count - group).max(1)), cohort(new, group)])
        }
        _ => plain(),
    }
}

/// Whether instances of an earlier revision that fail are made good.
pub(super) fn keeps(view: &View<'_>, workload: &Workload, revision: u64) -> bool {
    let open = workload.rollout.as_ref().filter(|rollout| rollout.state.is_open());
    open.is_some_and(|rollout| {
        let staged = rollout.open_stage().is_some_and(|stage| stage.waits != StageWait::Rest);
        rollout.from == Some(revision) && (staged || view.frozen(Switch::Deploys))
    })
}

/// What becomes of a step.
enum Turn {
    /// It goes on, or waits for something else.
    To(Stage, String),
    /// It is refused, for this reason; and what it said.
    Back(String, Option<String>),
}

/// Moves a rollout on from step to step as far as it goes.
pub(super) fn keep(view: &mut View<'_>, name: &WorkloadName) {
    while let Some((turn, rollout)) = next(view, name) {
        match turn {
            Turn::To(stage, reason) => {
                view.step(Change::RolloutStaged { workload: name.clone(), stage }, reason);
            }
            Turn::Back(why, verdict) => {
                let steps = back(name, &rollout, why, verdict);
                view.take(steps);
                return;
            }
        }
    }
}

fn next(view: &View<'_>, name: &WorkloadName) -> Option<(Turn, Rollout)> {
    let workload = view.workload(name).filter(|workload| !workload.deleted)?;
    let rollout = workload.rollout.as_ref()?;
    let stage = rollout.open_stage()?;
    let turn = if view.paused(name) {
        rewound(view, stage)
    } else if view.frozen(Switch::Deploys) {
        None
    } else {
        turn(view, workload, rollout, stage)
    };
    Some((turn?, rollout.clone()))
}

fn back(name: &WorkloadName, rollout: &Rollout, why: String, verdict: Option<String>) -> Vec<Step> {
    let mut steps = Vec::new();
    if let (Some(verdict), Some(stage)) = (verdict, &rollout.stage) {
        let stage = Stage { verdict: Some(verdict.clone()), ..stage.clone() };
        let change = Change::RolloutStaged { workload: name.clone(), stage };
        steps.push(Step { change, reason: verdict });
    }
    let from = rollout.from.map_or_else(String::new, |from| format!("; back to revision {from}"));
    let reason = format!("{why}{from}");
    steps.push(Step { change: rolled_back(name, rollout, why), reason });
    steps
}

/// The change that takes a rollout back.
pub(super) fn rolled_back(name: &WorkloadName, rollout: &Rollout, why: String) -> Change {
    Change::RolloutMoved {
        workload: name.clone(),
        state: RolloutState::RolledBack { reason: why },
        failures: rollout.failures,
        progressed_at: rollout.progressed_at,
    }
}

fn turn(view: &View<'_>, workload: &Workload, rollout: &Rollout, stage: &Stage) -> Option<Turn> {
    let now = view.now;
    let wanted = rollout.strategy.instances(stage.index, workload.count);
    if stage.waits == StageWait::Rest {
        return None;
    }
    if stage.instances != wanted {
        let reason = format!("{} is {wanted} instances of {} now", rollout.title(stage), workload.count);
        return Some(Turn::To(Stage { instances: wanted, ..stage.clone() }, reason));
    }
    if let StageWait::Hold { until } = stage.waits {
        let waits = StageWait::Rest;
        return (now >= until || stage.advanced).then(|| {
            let reason = "the time for an instant return is over: the old instances go".to_owned();
            Turn::To(Stage { waits, since: now, advanced: false, ..stage.clone() }, reason)
        });
    }
    let rows = view.rows_of(&workload.name);
    let new = rows.iter().filter(|row| row.task.revision == rollout.to && row.task.state.is_active());
    let ready = new.filter(|row| counts(view, workload, **row)).count();
    let is_ready = ready >= wanted as usize;
    if stage.advanced {
        return is_ready.then(|| accepted(view, workload, rollout, "somebody let it go on", None));
    }
    match stage.waits {
        StageWait::Ready => is_ready.then(|| watched(view, workload, rollout, stage)),
        StageWait::Time { until } => (is_ready && now >= until).then(|| {
            let (_, wait) = rollout.strategy.acceptance();
            accepted(view, workload, rollout, &format!("its instances were ready for {wait:#}"), None)
        }),
        StageWait::Metric { until } => by_metric(view, workload, rollout, until, is_ready),
        StageWait::Command { .. } => by_command(view, workload, rollout, is_ready),
        StageWait::Advance | StageWait::Hold { .. } | StageWait::Rest => None,
    }
}

/// What was being judged has been stopped: it is judged anew when it is back.
fn rewound(view: &View<'_>, stage: &Stage) -> Option<Turn> {
    let judged = !matches!(stage.waits, StageWait::Ready | StageWait::Hold { .. } | StageWait::Rest);
    let stage = Stage { waits: StageWait::Ready, since: view.now, ..stage.clone() };
    judged.then(|| Turn::To(stage, "the service is paused: the step begins anew".to_owned()))
}

/// The step is ready: from now on it is judged.
fn watched(view: &View<'_>, workload: &Workload, rollout: &Rollout, stage: &Stage) -> Turn {
    let (accept, wait) = rollout.strategy.acceptance();
    let until = view.now.checked_add(wait).unwrap_or(Timestamp::MAX);
    let waits = match accept {
        Acceptance::Ready => return accepted(view, workload, rollout, "its instances are ready", None),
        Acceptance::Time if wait.is_zero() => {
            return accepted(view, workload, rollout, "its instances are ready", None);
        }
        Acceptance::Time => StageWait::Time { until },
        Acceptance::Manual => StageWait::Advance,
        Acceptance::Metric(_) => StageWait::Metric { until },
        Acceptance::Command { .. } => StageWait::Command { from: until },
    };
    let reason = format!(
        "{}: {} of revision {} are ready; it {waits}",
        rollout.title(stage),
        stage.instances,
        rollout.to
    );
    Turn::To(Stage { waits, since: view.now, verdict: None, ..stage.clone() }, reason)
}

fn by_metric(
    view: &View<'_>,
    workload: &Workload,
    rollout: &Rollout,
    until: Timestamp,
    is_ready: bool,
) -> Option<Turn> {
    let (Acceptance::Metric(limits), _) = rollout.strategy.acceptance() else { return None };
    let (stage, key) = (rollout.open_stage()?, rollout.stage_key()?);
    let seen = view.observed.compared.get(&workload.name).filter(|seen| seen.stage == key);
    let title = rollout.title(stage);
    let at_end = view.now >= until;
    match compare(limits, seen, at_end) {
        Finding::Refused(words) => Some(Turn::Back(format!("{title} was refused: {words}"), Some(words))),
        Finding::Accepted(words) if at_end && is_ready => {
            Some(accepted(view, workload, rollout, "it answers about as well", Some(words)))
        }
        Finding::TooFew(words) if at_end => {
            let deadline = workload.spec.as_service()?.rollout.deadline;
            if view.now.duration_since(until) >= deadline {
                let why = format!("{title} could not be judged within {deadline:#}: {words}");
                return Some(Turn::Back(why, Some(words)));
            }
            // Said once: the figures change with each look.
            stage.verdict.is_none().then(|| {
                let needed = limits.min_requests;
                let words = format!("waits until each revision has answered {needed} requests");
                Turn::To(Stage { verdict: Some(words.clone()), ..stage.clone() }, format!("{title} {words}"))
            })
        }
        _ => None,
    }
}

fn by_command(view: &View<'_>, workload: &Workload, rollout: &Rollout, is_ready: bool) -> Option<Turn> {
    let (stage, key) = (rollout.open_stage()?, rollout.stage_key()?);
    let verdict = view.observed.judged.get(&workload.name).filter(|verdict| verdict.stage == key)?;
    let words = verdict.message.clone();
    if !verdict.accepted {
        return Some(Turn::Back(format!("{} was refused: {words}", rollout.title(stage)), Some(words)));
    }
    is_ready.then(|| accepted(view, workload, rollout, "the command accepts it", Some(words)))
}

/// The next step, or what follows after the last one.
fn accepted(
    view: &View<'_>,
    workload: &Workload,
    rollout: &Rollout,
    why: &str,
    verdict: Option<String>,
) -> Turn {
    let index = rollout.stage.as_ref().map_or(0, |stage| stage.index) + 1;
    let (waits, follows) = match &rollout.strategy {
        Strategy::BlueGreen { hold, .. } if !hold.is_zero() => {
            let until = view.now.checked_add(*hold).unwrap_or(Timestamp::MAX);
            let words = format!(
                "all requests go to revision {} now, the old instances stay for {hold:#}",
                rollout.to
            );
            (StageWait::Hold { until }, words)
        }
        Strategy::BlueGreen { .. } => {
            (StageWait::Rest, format!("all requests go to revision {} now, the old instances go", rollout.to))
        }
        strategy if index < strategy.steps() => {
            let next = strategy.instances(index, workload.count);
            (StageWait::Ready, format!("group {} of {}: {next} instances", index + 1, strategy.steps()))
        }
        _ => (StageWait::Rest, "the rest follows".to_owned()),
    };
    let instances = rollout.strategy.instances(index, workload.count);
    let before = rollout.stage.as_ref();
    let title = before.map_or_else(String::new, |stage| rollout.title(stage));
    let judged = verdict.as_ref().map_or_else(String::new, |words| format!(" ({words})"));
    let reason = format!("{title} is accepted, {why}{judged}; {follows}");
    let verdict = verdict.or_else(|| before.and_then(|stage| stage.verdict.clone()));
    Turn::To(Stage { index, instances, waits, since: view.now, advanced: false, verdict }, reason)
}
