//! The peak of CPU use that a node is likely to reach, with a stated risk of going beyond.
//!
//! In: usage samples of tasks, where tasks are, the time. Out: what each task counts with against the CPU of its
//! node (`domain::overcommit`). Not here: memory, and who is placed where.
//!
//! The peak is the mean of what the tasks that are on a node now used together, window by window, plus so many
//! standard deviations of it: N-sigma of Bashir et al., "Take it to the Limit" (2021). The sum is taken
//! before the deviation, so peaks that come together count as such. How many deviations is not chosen but
//! learnt: each window that goes beyond adds to them, each other one takes a little away, so that in the long
//! run the stated share goes beyond, whatever the distribution (adaptive conformal inference, Gibbs and Candes, 2021).
//! It begins with what Cantelli's inequality says suffices for any distribution that stays.

mod calibration;
mod course;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::domain::node::NodeName;
use crate::domain::overcommit::Overcommit;
use crate::domain::quantity::{Millicores, Share};
use crate::domain::task::{Task, TaskId};
use crate::domain::usage::UsageSample;
use crate::domain::world::World;

pub use calibration::Calibration;
use course::{Course, HISTORY};

/// A series that hardly varied may begin to: its deviation is at least this share of what its tasks request.
const DEVIATION_MIN: f64 = 0.01;
/// With the last window unknown of a larger share of the tasks that should be known, nothing is predicted.
const UNKNOWN_MAX: f64 = 0.1;
/// A node that uses more than this share of its CPU is full: more than there is cannot be measured.
const FULL_FROM: f64 = 0.99;
/// Not to be known by chance: a task counts by its use no sooner than after so many windows.
const WINDOWS_MIN: usize = 2;

/// What peaks are predicted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeakSettings {
    /// In this share of the windows the use of a node may go beyond.
    pub risk: Share,
    /// Requests for CPU on a node come to at most so many times its size.
    pub most: f64,
    /// A task counts with its request until so much of its use is known.
    pub warm_up: SignedDuration,
    /// Use is the mean over a window.
    pub window: SignedDuration,
}

/// What was predicted of a node for the window that is going on.
#[derive(Debug, Clone)]
struct Prediction {
    members: Vec<TaskId>,
    peak: f64,
}

/// Peaks of nodes.
#[derive(Debug)]
pub struct NodePeaks {
    settings: PeakSettings,
    courses: BTreeMap<TaskId, Course>,
    predictions: BTreeMap<NodeName, Prediction>,
    calibration: Calibration,
    /// The window that is going on.
    current: i64,
    /// What tasks count with by the predictions.
    charges: BTreeMap<TaskId, Millicores>,
    /// Use is not known of too many tasks.
    blind: bool,
}

type Held<'w> = BTreeMap<&'w NodeName, Vec<&'w Task>>;

/// Whether a task is among some that are in order.
fn is_there(tasks: &[&Task], id: &TaskId) -> bool {
    tasks.binary_search_by(|task| task.id.cmp(id)).is_ok()
}

impl NodePeaks {
    /// Nothing is known yet, but for what an earlier engine has learnt with the same risk.
    pub fn new(settings: PeakSettings, learnt: Option<Calibration>) -> Self {
        let risk = settings.risk.get();
        let calibration = learnt.filter(|learnt| learnt.is_for(risk));
        Self {
            settings,
            courses: BTreeMap::new(),
            predictions: BTreeMap::new(),
            calibration: calibration.unwrap_or_else(|| Calibration::new(risk)),
            current: i64::MIN,
            charges: BTreeMap::new(),
            blind: false,
        }
    }

    /// How far back samples are of use.
    pub fn looks_back(settings: &PeakSettings) -> SignedDuration {
        settings.window.saturating_mul(i32::try_from(HISTORY).unwrap_or(i32::MAX))
    }

    /// What was learnt of the risk.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// Whether use is not known of so many tasks that all count as they request.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// Takes a sample.
    pub fn observe(&mut self, sample: &UsageSample) {
        let (Some(cores), Some(seconds)) = (sample.cpu_cores, sample.interval_seconds) else { return };
        let window = self.settings.window.as_secs_f64();
        let end = sample.at.as_duration().as_secs_f64() / window;
        let from = end - seconds / window;
        if !cores.is_finite() || !from.is_finite() || from >= end {
            return;
        }
        let course = match self.courses.get_mut(&sample.task) {
            Some(course) => course,
            None => self.courses.entry(sample.task.clone()).or_default(),
        };
        course.add(from..end, cores);
    }

    /// What tasks count with now. Looks at what was used where a window has ended since the last call.
    pub fn overcommit(&mut self, world: &World, now: Timestamp) -> Overcommit {
        let current = now.as_duration().as_secs_f64().div_euclid(self.settings.window.as_secs_f64()) as i64;
        let mut held: Held<'_> = BTreeMap::new();
        for task in world.tasks.values().filter(|task| task.state.holds_resources()) {
            if let Some(node) = &task.node {
                held.entry(node).or_default().push(task);
            }
        }
        if current > self.current {
            for course in self.courses.values_mut() {
                course.close(current);
            }
            self.score(world, &held);
            self.current = current;
            self.courses.retain(|task, _| world.tasks.contains_key(task));
            self.blind = self.is_unknown(&held, now);
            self.predictions.clear();
            self.charges.clear();
            for (node, tasks) in &held {
                self.predict(node, tasks);
            }
        } else {
            self.follow_departures(&held);
        }
        let charges = if self.blind { BTreeMap::new() } else { self.charges.clone() };
        Overcommit { charges, most: self.settings.most }
    }

    /// Predicts anew where tasks have left: those that stay may vary more, by themselves, than their share says.
    fn follow_departures(&mut self, held: &Held<'_>) {
        let left = |node: &NodeName, prediction: &Prediction| {
            let there = held.get(node).map_or(&[][..], Vec::as_slice);
            let stays = |member: &&TaskId| is_there(there, member);
            prediction.members.iter().filter(stays).count() < prediction.members.len()
        };
        let changed: Vec<NodeName> = self
            .predictions
            .iter()
            .filter(|(node, prediction)| left(node, prediction))
            .map(|(node, _)| node.clone())
            .collect();
        for node in changed {
            if let Some(before) = self.predictions.remove(&node) {
                for member in &before.members {
                    self.charges.remove(member);
                }
            }
            self.predict(&node, held.get(&node).map_or(&[], Vec::as_slice));
        }
    }

    /// Compares the window that has ended with what was predicted for it.
    fn score(&mut self, world: &World, held: &Held<'_>) {
        let window = self.current;
        let (mut nodes, mut beyond, mut lent, mut full) = (0_u64, 0_u64, 0_u64, 0_u64);
        for (node, prediction) in &self.predictions {
            let there = held.get(node).map_or(&[][..], Vec::as_slice);
            let Some(used) = self.used(prediction, there, window) else { continue };
            nodes += 1;
            let size = world.nodes.get(node).map(|node| node.size.cpu);
            let requested: Millicores =
                there.iter().fold(Millicores::ZERO, |sum, task| sum + task.size.request.cpu);
            let is_lent = size.is_some_and(|size| requested > size);
            let in_use = |task: &&Task| self.courses.get(&task.id).and_then(|course| course.at(window));
            let total: f64 = there.iter().filter_map(in_use).sum();
            let is_full = is_lent && size.is_some_and(|size| total > size.cores() * FULL_FROM);
            lent += u64::from(is_lent);
            full += u64::from(is_full);
            beyond += u64::from(used > prediction.peak || is_full);
        }
        self.calibration.learn((nodes, beyond), (lent, full));
    }

    /// What the tasks of a prediction used in a window; nothing where that is not known of one that is still there.
    fn used(&self, prediction: &Prediction, there: &[&Task], window: i64) -> Option<f64> {
        prediction.members.iter().try_fold(0.0, |sum, member| {
            let known = self.courses.get(member).and_then(|course| course.at(window));
            let gone = || !is_there(there, member);
            known.or_else(|| gone().then_some(0.0)).map(|used| sum + used)
        })
    }

    /// Whether the last window is unknown of too many of the tasks that have run for long enough.
    fn is_unknown(&self, held: &Held<'_>, now: Timestamp) -> bool {
        let (mut old, mut unknown) = (0_usize, 0_usize);
        for task in held.values().flatten() {
            let age = task.started_at.map(|started| now.duration_since(started));
            if age.is_none_or(|age| age < self.settings.warm_up.max(self.settings.window * 2)) {
                continue;
            }
            old += 1;
            let known = self.courses.get(&task.id).and_then(|course| course.at(self.current - 1));
            unknown += usize::from(known.is_none());
        }
        unknown as f64 > old as f64 * UNKNOWN_MAX
    }

    fn predict(&mut self, node: &NodeName, tasks: &[&Task]) {
        let enough = (self.settings.warm_up.as_secs_f64() / self.settings.window.as_secs_f64()).ceil();
        let enough = (enough as usize).clamp(WINDOWS_MIN, HISTORY);
        let known: Vec<(&Task, &Course)> = tasks
            .iter()
            .filter_map(|task| {
                let course = self.courses.get(&task.id)?;
                let ready = course.at(self.current - 1).is_some() && course.known() >= enough;
                ready.then_some((*task, course))
            })
            .collect();
        if known.is_empty() {
            return;
        }
        let courses: Vec<&Course> = known.iter().map(|(_, course)| *course).collect();
        let requested: f64 = known.iter().map(|(task, _)| task.size.request.cpu.cores()).sum();
        let (mean, deviation) = course::together(&courses, self.current);
        let peak = mean + self.calibration.multiplier() * deviation.max(requested * DEVIATION_MIN);
        // Each task's share goes by its mean use; where nothing is used, by its request.
        let weights: HashMap<&TaskId, f64> = known
            .iter()
            .map(|(task, course)| {
                let share = if mean > 0.0 {
                    course.mean() / mean
                } else {
                    task.size.request.cpu.cores() / requested.max(f64::MIN_POSITIVE)
                };
                (&task.id, share)
            })
            .collect();
        let charges: Vec<(TaskId, Millicores)> = weights
            .into_iter()
            .map(|(task, share)| (task.clone(), Millicores::from_cores(peak * share)))
            .collect();
        let members = known.iter().map(|(task, _)| task.id.clone()).collect();
        self.charges.extend(charges);
        self.predictions.insert(node.clone(), Prediction { members, peak });
    }
}
