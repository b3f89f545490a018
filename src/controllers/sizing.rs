//! Which policy the analyst sizes by: made by name, told what was recorded, put in the place of the one before.
//!
//! In: the choice in the world, recorded samples and ends of tasks. Out: an estimator that knows them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::controllers::analyst::Analysis;
use crate::controllers::driver::chain;
use crate::domain::quantity::TaskSize;
use crate::domain::task::{ExitRecord, Task, TaskId};
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};
use crate::estimation::{EstimationError, Estimator, OomKill};
use crate::ports::history::History;
use crate::ports::store::{Archive, Store, StoreError};

/// The document that the estimators' state is kept in.
pub(super) const CHECKPOINT: &str = "estimators";
/// What stands in it where the policy in force keeps no state.
const NO_STATE: &[u8] = b"null";
/// No policy looks further back.
const PAST_MAX: SignedDuration = SignedDuration::from_hours(14 * 24);
/// So much of the past is in memory at a time.
const PART: SignedDuration = SignedDuration::from_hours(1);
/// Ended tasks that are looked through for kills, the newest ones.
const TASKS_MAX: usize = 10_000;

/// Makes an estimator of a policy's text, or says why not.
pub type MakeEstimator = dyn Fn(&str) -> Result<Box<dyn Estimator>, String> + Send + Sync;

/// Makes estimators by name.
pub struct Sizing {
    /// The policy that sizes come from until somebody chooses one.
    default: String,
    make: Box<MakeEstimator>,
}

impl Sizing {
    /// Makes them in this way; `default`, the policy in force until somebody chooses one, must be among what it
    /// can make.
    pub fn new(
        default: &str,
        make: impl Fn(&str) -> Result<Box<dyn Estimator>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { default: default.to_owned(), make: Box::new(make) }
    }

    pub(super) fn make(&self, policy: &str) -> Result<Box<dyn Estimator>, String> {
        (self.make)(policy)
    }

    /// The policy that the world names, or the default.
    pub(super) fn asked<'a>(&'a self, world: &'a World) -> &'a str {
        world.size_policy.as_ref().map_or(self.default.as_str(), |choice| choice.policy.as_str())
    }

    /// The estimator that an engine starts with: of the policy that was chosen, with the state that the last
    /// engine left, if there is one. One that was chosen and cannot be made any more gives way to the default.
    pub(super) fn at_start(&self, world: &World, store: &dyn Store) -> Result<InForce, StoreError> {
        let asked = self.asked(world);
        let default = self.default.as_str();
        let (policy, made, problem) = match self.make(asked) {
            Ok(made) => (asked, Ok(made), None),
            Err(why) => (default, self.make(default), Some(cannot(asked, default, &why))),
        };
        let failed = |why: String| StoreError::Failed {
            operation: "make an estimator".to_owned(),
            source: why.into(),
        };
        let mut estimator = made.map_err(failed)?;
        let mut warm = false;
        if let Some(state) = store.document(CHECKPOINT)?.filter(|state| state != NO_STATE)
            && estimator.keeps_checkpoint()
        {
            match estimator.restore(&state) {
                Ok(()) => warm = true,
                // The state is derived: one that cannot be read is made again of what was recorded.
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "estimates are made anew from what was recorded");
                }
            }
        }
        let (asked, policy) = (asked.to_owned(), policy.to_owned());
        Ok(InForce { estimator, asked, policy, warm, problem })
    }
}

fn cannot(asked: &str, instead: &str, why: &str) -> String {
    format!("sizes come from policy {instead}, not from {asked} as chosen: {why}")
}

/// The estimator in force.
pub(super) struct InForce {
    pub(super) estimator: Box<dyn Estimator>,
    /// The policy that was asked for last.
    asked: String,
    /// The one that it is of.
    policy: String,
    /// Whether it knows the past.
    warm: bool,
    problem: Option<String>,
}

impl InForce {
    /// Whether nothing is to be done for this policy to be in force.
    pub(super) fn follows(&self, asked: &str) -> bool {
        self.asked == asked && (self.warm || self.problem.is_some() && self.policy != asked)
    }

    /// Puts an estimator that knows the past in force, or says why it could not be made. `newest` are samples
    /// that may have come meanwhile.
    pub(super) fn take<'a>(
        &mut self,
        asked: &str,
        found: Result<Box<dyn Estimator>, String>,
        newest: impl Iterator<Item = &'a UsageSample>,
    ) {
        asked.clone_into(&mut self.asked);
        match found {
            Ok(mut estimator) => {
                newest.for_each(|sample| estimator.observe(sample));
                self.estimator = estimator;
                asked.clone_into(&mut self.policy);
                (self.warm, self.problem) = (true, None);
            }
            Err(why) => {
                let problem = cannot(asked, &self.policy, &why);
                tracing::error!("{problem}");
                self.problem = Some(problem);
            }
        }
    }

    /// Everything that the estimator knows, for the next engine.
    pub(super) fn checkpoint(&self) -> Result<Vec<u8>, EstimationError> {
        if self.estimator.keeps_checkpoint() { self.estimator.checkpoint() } else { Ok(NO_STATE.to_vec()) }
    }

    /// Tells others which policy it is.
    pub(super) fn publish(&self, published: &watch::Sender<Analysis>) {
        published.send_modify(|analysis| {
            analysis.size_policy.clone_from(&self.policy);
            analysis.size_policy_problem.clone_from(&self.problem);
        });
    }
}

/// What was recorded.
#[derive(Clone)]
pub struct Past {
    /// Samples.
    pub history: Arc<dyn History>,
    /// Tasks that ended.
    pub archive: Arc<dyn Archive>,
}

impl Past {
    /// Tells an estimator what was recorded of the workloads that there are, or of these `only`, in the order of time.
    pub(super) fn tell(
        &self,
        mut estimator: Box<dyn Estimator>,
        world: &World,
        only: Option<&BTreeSet<WorkloadName>>,
        now: Timestamp,
    ) -> Result<Box<dyn Estimator>, StoreError> {
        let wanted = |name: &WorkloadName| {
            world.workloads.contains_key(name) && only.is_none_or(|only| only.contains(name))
        };
        let ended = self.archive.tasks(None, TASKS_MAX)?;
        let tasks: BTreeMap<&TaskId, &Task> =
            ended.iter().map(|task| (&task.id, task)).chain(&world.tasks).collect();
        let mut kills: Vec<OomKill> = tasks.into_values().filter_map(kill_of).collect();
        kills.sort_by_key(|kill| kill.at);
        let mut kills = kills.into_iter().filter(|kill| wanted(kill.task.workload())).peekable();
        let mut from = now.checked_sub(PAST_MAX).unwrap_or(Timestamp::UNIX_EPOCH);
        while from < now {
            let to = from.checked_add(PART).unwrap_or(now).min(now);
            for sample in self.samples(only, from, to)? {
                while let Some(kill) = kills.next_if(|kill| kill.at <= sample.at) {
                    estimator.observe_oom(&kill);
                }
                if wanted(&sample.workload) {
                    estimator.observe(&sample);
                }
            }
            from = to;
        }
        kills.for_each(|kill| estimator.observe_oom(&kill));
        Ok(estimator)
    }

    /// Samples of a part of the past, by time.
    fn samples(
        &self,
        only: Option<&BTreeSet<WorkloadName>>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageSample>, StoreError> {
        let Some(only) = only else { return self.history.usage(None, from, to) };
        let mut found = Vec::new();
        for name in only {
            found.extend(self.history.usage(Some(name), from, to)?);
        }
        found.sort_by_key(|sample| sample.at);
        Ok(found)
    }
}

fn kill_of(task: &Task) -> Option<OomKill> {
    let exit = task.exit.as_ref().filter(|exit| exit.is_oom())?;
    Some(oom_kill(&task.id, exit, task.size))
}

/// The kill for want of memory that the end of a task of this size was.
pub(super) fn oom_kill(task: &TaskId, exit: &ExitRecord, size: TaskSize) -> OomKill {
    OomKill {
        task: task.clone(),
        at: exit.at,
        request: size.request.memory,
        limit: exit.memory_limit,
        peak: exit.peak_memory,
    }
}

/// Since when the workload has had its size: since its last size or revision, whichever came later.
pub(super) fn settled_since(world: &World, workload: &Workload) -> Timestamp {
    let revision = workload.revisions.get(&workload.revision).map(|revision| revision.at);
    let size = workload.size.as_ref().map(|size| size.since);
    let first = world.tasks_of(&workload.name).filter_map(|task| task.started_at).min();
    revision.into_iter().chain(size).max().or(first).unwrap_or(Timestamp::MIN)
}
