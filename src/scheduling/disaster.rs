//! Sees a disaster, and freezes what would make it worse.
//! In: one look at the engine every few seconds (`Look`). Out: findings with their figures, and the
//! changes that begin, prolong and lift the engine's own freezes.
//!
//! After a start, and after a gap between two looks (the machine slept, the clock jumped), nothing is
//! found for a while: what is late or missing then is so for want of time.
//!
//! Not here: what a freeze withholds; who asks for it sees it in the world.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::domain::action::{Action, ActionEnd, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::plan::{Alarm, Step};
use crate::domain::quantity::Share;
use crate::domain::rollout::Actor;
use crate::domain::task::TaskState;
use crate::domain::world::World;

/// What alarms of this module are called.
pub const ALARM: &str = "disaster";

/// When something is a disaster, and what follows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DisasterSettings {
    /// Whether it is looked for at all.
    pub enabled: bool,
    /// From one look to the next.
    pub interval: SignedDuration,
    /// Losses within this time are one event.
    pub window: SignedDuration,
    /// More than this share of the tasks lost is a disaster,
    pub tasks_lost_share: Share,
    /// if they are at least so many.
    pub tasks_lost_min: u32,
    /// More than this share of the nodes lost is a disaster,
    pub nodes_lost_share: Share,
    /// if they are at least so many.
    pub nodes_lost_min: u32,
    /// Usage samples missing for more than this share of the tasks, of at least `tasks_lost_min`, are a
    /// disaster,
    pub samples_missing_share: Share,
    /// if it stays so for so long.
    pub hold: SignedDuration,
    /// A pass of the scheduler or the autoscaler that is later than this is a disaster.
    pub late: SignedDuration,
    /// Tasks that are due wait longer than this on average, at least `tasks_lost_min` of them: an alarm.
    pub lag_warning: SignedDuration,
    /// The same, a disaster.
    pub lag_critical: SignedDuration,
    /// How long a freeze holds unless it is prolonged.
    pub freeze: SignedDuration,
    /// A freeze is lifted early once nothing was found for so long.
    pub calm: SignedDuration,
    /// Nothing is found for so long after a start or a gap.
    pub grace: SignedDuration,
}

impl Default for DisasterSettings {
    /// Shares, window, hold and lag are those of `HubSpot`'s Singularity.
    fn default() -> Self {
        Self {
            enabled: true,
            interval: SignedDuration::from_secs(5),
            window: SignedDuration::from_secs(30),
            tasks_lost_share: Share::new(0.2),
            tasks_lost_min: 5,
            nodes_lost_share: Share::new(0.2),
            nodes_lost_min: 2,
            samples_missing_share: Share::new(0.5),
            hold: SignedDuration::from_secs(45),
            late: SignedDuration::from_secs(60),
            lag_warning: SignedDuration::from_mins(2),
            lag_critical: SignedDuration::from_mins(4),
            freeze: SignedDuration::from_mins(15),
            calm: SignedDuration::from_mins(2),
            grace: SignedDuration::from_mins(1),
        }
    }
}

/// The engine at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// Tasks that hold resources.
    pub tasks: u64,
    /// Tasks lost since the engine started.
    pub tasks_lost: u64,
    /// Nodes that are there.
    pub nodes: u64,
    /// Nodes lost since the engine started.
    pub nodes_lost: u64,
    /// Tasks that should have a usage sample by now.
    pub sampled: u64,
    /// Those of them whose newest sample is missing or old.
    pub unsampled: u64,
    /// How long ago loops should have finished a pass, by name, where they have not.
    pub late: Vec<(&'static str, SignedDuration)>,
    /// Tasks that are due and have no node.
    pub waiting: u64,
    /// How long these have been due, on average.
    pub lag: SignedDuration,
}

impl Look {
    /// What the world shows; samples and lateness are for the caller to fill in.
    pub fn of(world: &World, (tasks_lost, nodes_lost): (u64, u64), at: Timestamp) -> Self {
        let due: Vec<SignedDuration> = world
            .tasks
            .values()
            .filter(|task| task.state == TaskState::Pending)
            .map(|task| at.duration_since(task.not_before.max(task.created_at)))
            .filter(|lag| !lag.is_negative())
            .collect();
        let sum: f64 = due.iter().map(SignedDuration::as_secs_f64).sum();
        let average = if due.is_empty() { 0.0 } else { sum / due.len() as f64 };
        Self {
            at,
            tasks: world.tasks.values().filter(|task| task.state.holds_resources()).count() as u64,
            tasks_lost,
            nodes: world.nodes.values().filter(|node| is_there(node.state)).count() as u64,
            nodes_lost,
            sampled: 0,
            unsampled: 0,
            late: Vec::new(),
            waiting: due.len() as u64,
            lag: SignedDuration::from_secs(average as i64),
        }
    }
}

fn is_there(state: crate::domain::node::NodeState) -> bool {
    use crate::domain::node::NodeState::{Draining, Ready};
    matches!(state, Ready | Draining)
}

/// By what a disaster shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// Many tasks were lost at once.
    TasksLost,
    /// Many nodes were lost at once.
    NodesLost,
    /// Usage samples are missing or old.
    SamplesMissing,
    /// Loops do not finish their passes.
    Late,
    /// Tasks that are due wait.
    Waiting,
}

impl Sign {
    /// What is frozen. Tasks that wait may wait for nodes: the scaling that brings these goes on.
    fn freezes(self) -> &'static [Switch] {
        match self {
            Self::Waiting => &[Switch::Draining],
            _ => &[Switch::Scaling, Switch::Draining],
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// By what it shows.
    pub sign: Sign,
    /// Whether it is a disaster, or only a warning.
    pub critical: bool,
    /// The figures, in words.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

impl Finding {
    /// For people.
    pub fn alarm(&self) -> Alarm {
        let kind = if self.critical { ALARM } else { "tasks wait" };
        Alarm { kind: kind.to_owned(), workload: None, message: self.message.clone(), since: self.since }
    }
}

/// What is remembered from one look to the next.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    looks: VecDeque<Look>,
    quiet_until: Option<Timestamp>,
    /// Since when each sign shows.
    shows: BTreeMap<Sign, Timestamp>,
    /// Switches that were frozen because of what still shows: one that a person lifted stays lifted.
    begun: BTreeSet<Switch>,
    /// Since when nothing has asked for a switch to be frozen.
    calm: BTreeMap<Switch, Timestamp>,
}

impl Detector {
    /// Takes a look in and tells what it finds.
    pub fn look(&mut self, look: Look, settings: &DisasterSettings) -> Vec<Finding> {
        let at = look.at;
        let gap = self.looks.back().is_none_or(|last| {
            let passed = at.duration_since(last.at);
            passed.is_negative() || passed > settings.interval.saturating_mul(4)
        });
        if gap {
            *self = Self { quiet_until: at.checked_add(settings.grace).ok(), ..Self::default() };
        }
        self.looks.push_back(look);
        // The newest look that is as old as the window stays: what was lost since then counts.
        while self.looks.get(1).is_some_and(|second| at.duration_since(second.at) >= settings.window) {
            self.looks.pop_front();
        }
        if self.quiet_until.is_some_and(|until| at < until) {
            return Vec::new();
        }
        let found = self.signs(settings);
        self.shows.retain(|sign, _| found.iter().any(|(found, ..)| found == sign));
        let mut findings = Vec::new();
        for (sign, critical, message) in found {
            let since = *self.shows.entry(sign).or_insert(at);
            let held = sign != Sign::SamplesMissing || at.duration_since(since) >= settings.hold;
            if held {
                findings.push(Finding { sign, critical, message, since });
            }
        }
        findings
    }

    fn signs(&self, settings: &DisasterSettings) -> Vec<(Sign, bool, String)> {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else { return Vec::new() };
        let mut found = Vec::new();
        let window = settings.window;
        let tasks = self.looks.iter().map(|look| look.tasks).max().unwrap_or(0);
        let lost = last.tasks_lost.saturating_sub(first.tasks_lost);
        if is_many(lost, tasks, settings.tasks_lost_share, settings.tasks_lost_min) {
            let message = format!("{lost} of {tasks} tasks were lost within {window:#}");
            found.push((Sign::TasksLost, true, message));
        }
        let nodes = self.looks.iter().map(|look| look.nodes).max().unwrap_or(0);
        let lost = last.nodes_lost.saturating_sub(first.nodes_lost);
        if is_many(lost, nodes, settings.nodes_lost_share, settings.nodes_lost_min) {
            let message = format!("{lost} of {nodes} nodes were lost within {window:#}");
            found.push((Sign::NodesLost, true, message));
        }
        let (sampled, unsampled) = (last.sampled, last.unsampled);
        let min = settings.tasks_lost_min;
        if is_many(unsampled, sampled, settings.samples_missing_share, min) {
            let message = format!("usage samples of {unsampled} of {sampled} tasks are missing or old");
            found.push((Sign::SamplesMissing, true, message));
        }
        let late = last.late.iter().filter(|(_, age)| *age > settings.late);
        if let Some((name, age)) = late.max_by_key(|(_, age)| *age) {
            found.push((Sign::Late, true, format!("the {name} is late by {age:#}")));
        }
        if last.waiting >= u64::from(min) && last.lag > settings.lag_warning {
            let message =
                format!("{} tasks that are due wait for a node, {:#} on average", last.waiting, last.lag);
            found.push((Sign::Waiting, last.lag > settings.lag_critical, message));
        }
        found
    }

    /// Begins, prolongs and lifts the engine's own freezes, and ends any freeze whose time is up.
    pub fn follow(
        &mut self,
        findings: &[Finding],
        world: &World,
        settings: &DisasterSettings,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = expired(world, now);
        for switch in [Switch::Scaling, Switch::Draining] {
            let reasons: Vec<&str> = findings
                .iter()
                .filter(|finding| finding.critical && finding.sign.freezes().contains(&switch))
                .map(|finding| finding.message.as_str())
                .collect();
            let step = if reasons.is_empty() {
                self.relax(switch, world, settings, now)
            } else {
                self.calm.remove(&switch);
                self.insist(switch, &reasons.join("; "), world, settings, now)
            };
            steps.extend(step);
        }
        steps
    }

    fn insist(
        &mut self,
        switch: Switch,
        message: &str,
        world: &World,
        settings: &DisasterSettings,
        now: Timestamp,
    ) -> Option<Step> {
        let until = now.checked_add(settings.freeze).ok();
        let begun_at = match world.frozen(switch) {
            None if self.begun.contains(&switch) => return None,
            None => now,
            Some(action) if action.by != Actor::Engine => return None,
            Some(action) => {
                let left = action.until.map(|until| until.duration_since(now));
                let fresh =
                    left.is_none_or(|left| left.saturating_mul(3) > settings.freeze.saturating_mul(2));
                if fresh {
                    self.begun.insert(switch);
                    return None;
                }
                action.at
            }
        };
        self.begun.insert(switch);
        let action =
            Action { until, ..Action::new(ActionKey::Freeze(switch), Actor::Engine, message, begun_at) };
        let words = if begun_at == now { "is frozen" } else { "stays frozen" };
        let reason = format!("{switch} {words} for {:#}: {message}", settings.freeze);
        Some(Step { change: Change::ActionBegun { action: Box::new(action) }, reason })
    }

    fn relax(
        &mut self,
        switch: Switch,
        world: &World,
        settings: &DisasterSettings,
        now: Timestamp,
    ) -> Option<Step> {
        let since = *self.calm.entry(switch).or_insert(now);
        if now.duration_since(since) < settings.calm {
            return None;
        }
        self.begun.remove(&switch);
        let action = world.frozen(switch).filter(|action| action.by == Actor::Engine)?;
        let reason = format!("nothing of it for {:#}: {}", settings.calm, action.message);
        Some(Step {
            change: Change::ActionEnded { action: ActionKey::Freeze(switch), end: ActionEnd::Done },
            reason,
        })
    }
}

/// More than the share, and enough of them to mean something.
fn is_many(part: u64, whole: u64, share: Share, min: u32) -> bool {
    part >= u64::from(min) && part as f64 > share.get() * whole as f64
}

/// Freezes whose time is up.
fn expired(world: &World, now: Timestamp) -> Vec<Step> {
    let frozen = Switch::ALL.into_iter().filter_map(|switch| Some((switch, world.frozen(switch)?)));
    frozen
        .filter(|(_, action)| action.until.is_some_and(|until| until <= now))
        .map(|(switch, _)| Step {
            change: Change::ActionEnded { action: ActionKey::Freeze(switch), end: ActionEnd::Expired },
            reason: format!("the freeze of {switch} was until now"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::RecordedChange;

    /// A world with its detector, looked at every five seconds.
    struct Scene {
        world: World,
        detector: Detector,
        settings: DisasterSettings,
        look: Look,
        findings: Vec<Finding>,
    }

    impl Scene {
        fn new(tasks: u64, nodes: u64) -> Self {
            let at = Timestamp::from_second(1_000_000).expect("a time");
            let look = Look { tasks, nodes, sampled: tasks, ..Look::of(&World::default(), (0, 0), at) };
            let settings = DisasterSettings::default();
            let (world, detector) = (World::default(), Detector::default());
            Self { world, detector, settings, look, findings: Vec::new() }
        }

        fn apply(&mut self, steps: Vec<Step>) {
            for Step { change, reason } in steps {
                let at = self.look.at;
                self.world.apply(&RecordedChange { at, by: Actor::Engine, reason, request: None, change });
            }
        }

        /// Five seconds pass, and one look.
        fn step(&mut self) -> &mut Self {
            self.after(5)
        }

        fn after(&mut self, seconds: i64) -> &mut Self {
            self.look.at += SignedDuration::from_secs(seconds);
            self.findings = self.detector.look(self.look.clone(), &self.settings);
            let steps = self.detector.follow(&self.findings, &self.world, &self.settings, self.look.at);
            self.apply(steps);
            self
        }

        fn for_seconds(&mut self, seconds: i64) -> &mut Self {
            for _ in 0..seconds / 5 {
                self.step();
            }
            self
        }

        fn frozen(&self) -> Vec<Switch> {
            Switch::ALL.into_iter().filter(|switch| self.world.frozen(*switch).is_some()).collect()
        }

        fn signs(&self) -> Vec<Sign> {
            self.findings.iter().map(|finding| finding.sign).collect()
        }
    }

    const BOTH: [Switch; 2] = [Switch::Scaling, Switch::Draining];

    #[test]
    fn many_nodes_lost_at_once_freeze_and_the_freeze_is_lifted_once_it_is_over() {
        let mut scene = Scene::new(40, 10);
        scene.for_seconds(120);
        assert_eq!(scene.frozen(), []);
        scene.look.nodes_lost += 3;
        scene.look.nodes -= 3;
        scene.step();
        assert_eq!((scene.signs(), scene.frozen()), (vec![Sign::NodesLost], BOTH.to_vec()));
        let message = scene.world.frozen(Switch::Scaling).expect("a freeze").message.clone();
        assert_eq!(message, "3 of 10 nodes were lost within 30s");
        // The window passes, then two minutes of calm.
        scene.for_seconds(30 + 115);
        assert_eq!(scene.frozen(), BOTH);
        scene.for_seconds(20);
        assert_eq!(scene.frozen(), []);
    }

    #[test]
    fn a_freeze_is_prolonged_while_it_lasts() {
        let mut scene = Scene::new(40, 10);
        scene.for_seconds(120);
        scene.look.unsampled = 30;
        scene.for_seconds(40);
        assert_eq!(scene.frozen(), [], "frozen before it has lasted");
        scene.for_seconds(3_600);
        let freeze = scene.world.frozen(Switch::Draining).expect("a freeze");
        let left = freeze.until.expect("an end").duration_since(scene.look.at);
        assert!(left > SignedDuration::from_mins(9), "{left:#} left");
        assert!(scene.look.at.duration_since(freeze.at) > SignedDuration::from_mins(50), "it began anew");
    }

    #[test]
    fn losses_that_are_few_slow_or_of_a_small_cluster_are_no_disaster() {
        // All three tasks of a small cluster, and its only node.
        let mut small = Scene::new(3, 1);
        small.for_seconds(120);
        small.look.tasks_lost += 3;
        small.look.nodes_lost += 1;
        small.for_seconds(60);
        assert_eq!(small.frozen(), []);
        // A fifth, not more.
        let mut fifth = Scene::new(50, 10);
        fifth.for_seconds(120);
        fifth.look.tasks_lost += 10;
        fifth.look.nodes_lost += 2;
        fifth.for_seconds(60);
        assert_eq!(fifth.frozen(), []);
        // One each half minute and more, over a long time.
        let mut slow = Scene::new(20, 5);
        slow.for_seconds(120);
        for _ in 0..20 {
            slow.look.nodes_lost += 1;
            slow.look.tasks_lost += 4;
            slow.for_seconds(35);
            assert_eq!(slow.frozen(), []);
        }
    }

    #[test]
    fn neither_a_start_nor_a_gap_is_a_disaster() {
        let mut scene = Scene::new(40, 10);
        let bad = |scene: &mut Scene| {
            scene.look.unsampled = 40;
            scene.look.late = vec![("scheduler", SignedDuration::from_mins(30))];
            scene.look.waiting = 20;
            scene.look.lag = SignedDuration::from_mins(30);
        };
        bad(&mut scene);
        scene.for_seconds(55);
        assert_eq!(scene.frozen(), [], "after a start");
        let good = Scene::new(40, 10).look;
        scene.look = Look { at: scene.look.at, ..good.clone() };
        scene.for_seconds(300);
        for gap in [600, -86_400, 86_400] {
            bad(&mut scene);
            scene.after(gap).for_seconds(50);
            assert_eq!(scene.frozen(), [], "after a gap of {gap} s");
            scene.look = Look { at: scene.look.at, ..good.clone() };
            scene.for_seconds(300);
        }
    }

    #[test]
    fn late_passes_freeze_both_and_waiting_tasks_leave_scaling_alone() {
        let mut late = Scene::new(40, 10);
        late.for_seconds(120);
        late.look.late = vec![("scheduler", SignedDuration::from_secs(61))];
        late.step();
        assert_eq!((late.signs(), late.frozen()), (vec![Sign::Late], BOTH.to_vec()));

        let mut waiting = Scene::new(40, 10);
        waiting.for_seconds(120);
        (waiting.look.waiting, waiting.look.lag) = (8, SignedDuration::from_secs(150));
        waiting.step();
        assert_eq!((waiting.signs(), waiting.frozen()), (vec![Sign::Waiting], Vec::new()));
        assert!(!waiting.findings[0].critical);
        waiting.look.lag = SignedDuration::from_secs(250);
        waiting.step();
        assert_eq!(waiting.frozen(), [Switch::Draining]);
    }

    #[test]
    fn what_a_person_froze_or_lifted_stays_so() {
        let mut scene = Scene::new(40, 10);
        scene.for_seconds(120);
        let (key, ann) = (ActionKey::Freeze(Switch::Scaling), Actor::User("ann".to_owned()));
        let action = Action::new(key, ann, "moving house", scene.look.at);
        scene.apply(vec![Step {
            change: Change::ActionBegun { action: Box::new(action.clone()) },
            reason: String::new(),
        }]);
        scene.look.nodes_lost += 5;
        scene.step();
        assert_eq!(scene.frozen(), BOTH);
        // Somebody knows better about draining.
        let lifted =
            Change::ActionEnded { action: ActionKey::Freeze(Switch::Draining), end: ActionEnd::Cancelled };
        scene.apply(vec![Step { change: lifted, reason: String::new() }]);
        scene.for_seconds(20);
        assert_eq!(scene.signs(), [Sign::NodesLost]);
        assert_eq!(scene.frozen(), [Switch::Scaling]);
        scene.for_seconds(600);
        assert_eq!(scene.world.frozen(Switch::Scaling), Some(&action));
        // The next disaster is another one.
        scene.look.nodes_lost += 5;
        scene.step();
        assert_eq!(scene.frozen(), BOTH);
    }

    #[test]
    fn any_freeze_ends_when_its_time_is_up() {
        let mut scene = Scene::new(0, 0);
        let (key, ann) = (ActionKey::Freeze(Switch::Cron), Actor::User("ann".to_owned()));
        let until = Some(scene.look.at + SignedDuration::from_secs(22));
        let action = Action { until, ..Action::new(key, ann, "", scene.look.at) };
        let begun = Change::ActionBegun { action: Box::new(action) };
        scene.apply(vec![Step { change: begun, reason: String::new() }]);
        scene.for_seconds(20);
        assert_eq!(scene.frozen(), [Switch::Cron]);
        scene.step();
        assert_eq!(scene.frozen(), []);
    }
}
