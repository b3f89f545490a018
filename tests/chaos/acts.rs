//! What is done to the engine and to what it runs, drawn from a seeded generator.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use loadline::api::client::ClientError;
use loadline::api::dto::{Changed, MessageRequest, NodeDto, ScaleRequest};
use loadline::domain::node::NodeState;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::chaos::model::{JOBS, Model};
use crate::harness::{Engine, Place, supervisors, variable};
use crate::machine::{is_alive, processes, signal};

/// One thing that is done.
#[derive(Debug, Clone, Copy)]
enum Act {
    KillEngine,
    EndEngine,
    FreezeEngine,
    KillSupervisor,
    KillTask,
    KillNode,
    FailNode,
    DeployGood,
    DeployBad,
    Scale,
    Drain,
    Activate,
    FreezeTask,
    FreezeSupervisor,
    DeletePhoenix,
    MakePhoenix,
    RunJob,
}

/// How often each is done, relative to the others.
const ACTS: [(Act, u32); 17] = [
    (Act::KillEngine, 8),
    (Act::EndEngine, 2),
    (Act::FreezeEngine, 2),
    (Act::KillSupervisor, 8),
    (Act::KillTask, 8),
    (Act::KillNode, 2),
    (Act::FailNode, 2),
    (Act::DeployGood, 4),
    (Act::DeployBad, 3),
    (Act::Scale, 4),
    (Act::Drain, 2),
    (Act::Activate, 4),
    (Act::FreezeTask, 4),
    (Act::FreezeSupervisor, 4),
    (Act::DeletePhoenix, 2),
    (Act::MakePhoenix, 3),
    (Act::RunJob, 6),
];

/// The hand that does it.
pub(super) struct Chaos<'a> {
    pub(super) rng: fastrand::Rng,
    pub(super) place: &'a Place,
    pub(super) model: Model<'a>,
    pub(super) engine: Option<Engine>,
    /// What was done, and when.
    pub(super) done: Vec<String>,
    pub(super) began: Instant,
    /// The newest version of the web service.
    version: u64,
    generation: u64,
    /// Processes that are stopped, until when.
    frozen: Vec<(u32, Instant)>,
}

impl<'a> Chaos<'a> {
    pub(super) fn new(seed: u64, place: &'a Place, model: Model<'a>, engine: Engine) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            place,
            model,
            engine: Some(engine),
            done: Vec::new(),
            began: Instant::now(),
            version: 1,
            generation: 0,
            frozen: Vec::new(),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine that runs")
    }

    fn note(&mut self, words: &str) {
        self.done.push(format!("{:7.3} {words}", self.began.elapsed().as_secs_f64()));
    }

    /// An answer of the engine; refusals are part of the game, silence is not.
    fn heard(&mut self, what: &str, answer: Result<Changed, ClientError>) {
        match answer {
            Ok(changed) => self.note(&format!("{what}: {}", changed.changes.join("; "))),
            Err(ClientError::Refused(problem)) if problem.status < 500 => {
                self.note(&format!("{what}: refused, {}", problem.detail));
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
    }

    /// Does something, and waits a moment.
    pub(super) async fn step(&mut self) {
        assert!(
            !self.engine.as_mut().expect("an engine that runs").has_ended(),
            "the engine ended by itself:\n{}",
            self.place.log()
        );
        self.thaw(false);
        let all: u32 = ACTS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.rng.u32(..all);
        let act = ACTS.iter().find_map(|(act, weight)| {
            let hit = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            hit.then_some(*act)
        });
        let act = act.expect("an act");
        self.act(act).await;
        // Between what is written down and what follows from it is where an engine dies worst.
        let begins = matches!(
            act,
            Act::DeployGood | Act::DeployBad | Act::Scale | Act::MakePhoenix | Act::RunJob | Act::FailNode
        );
        if begins && self.rng.u32(..3) == 0 {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(..120))).await;
            self.kill_engine().await;
        }
        let pause = self.rng.u64(..1500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::KillEngine => self.kill_engine().await,
            Act::EndEngine => {
                self.note("end the engine");
                self.engine.take().expect("an engine").end();
                self.start_engine();
            }
            Act::FreezeEngine => {
                let number = self.engine().pid();
                self.note("freeze the engine");
                signal(number, Signal::SIGSTOP);
                let moment = self.rng.u64(..2500);
                tokio::time::sleep(Duration::from_millis(moment)).await;
                signal(number, Signal::SIGCONT);
            }
            Act::KillSupervisor => self.kill_supervisor(),
            Act::KillTask => self.kill_task(),
            Act::KillNode => self.kill_node(),
            Act::FreezeTask => self.freeze(false),
            Act::FreezeSupervisor => self.freeze(true),
            Act::FailNode | Act::Drain | Act::Activate => self.node(act).await,
            Act::DeployGood | Act::DeployBad => {
                self.version += 1;
                let text = self.model.web(self.version, matches!(act, Act::DeployGood));
                let text = if self.rng.bool() { text } else { text + &self.model.steady(self.version) };
                let answer = self.engine().apply(&text).await;
                self.heard(&format!("{act:?} {}", self.version), answer);
            }
            Act::Scale => {
                let name = ["web", "steady"][self.rng.usize(..2)];
                let count = self.rng.u32(1..=4);
                let request = ScaleRequest {
                    count,
                    message: "chaos".to_owned(),
                    acknowledged: true,
                    for_seconds: None,
                };
                let answer =
                    self.engine().client.post(&format!("/v1/workloads/{name}/scale"), &request).await;
                self.heard(&format!("scale {name} to {count}"), answer);
            }
            Act::DeletePhoenix => {
                let answer = self.engine().client.delete("/v1/workloads/phoenix").await;
                self.heard("delete phoenix", answer);
            }
            Act::MakePhoenix => {
                self.generation += 1;
                let answer = self.engine().apply(&self.model.phoenix(self.generation)).await;
                self.heard(&format!("make phoenix {}", self.generation), answer);
            }
            Act::RunJob => {
                let name = JOBS[self.rng.usize(..JOBS.len())];
                let path = format!("/v1/workloads/{name}/run");
                let answer = self.engine().client.post(&path, &MessageRequest::default()).await;
                self.heard(&format!("run {name}"), answer);
            }
        }
    }

    /// Kills it, perhaps does more while it is away, and starts it again.
    async fn kill_engine(&mut self) {
        self.note("kill the engine");
        self.engine.take().expect("an engine").kill();
        for _ in 0..self.rng.u32(..3) {
            let pause = self.rng.u64(..1200);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            match self.rng.u32(..4) {
                0 => self.kill_supervisor(),
                1 => self.kill_task(),
                2 => self.kill_node(),
                _ => {}
            }
        }
        self.start_engine();
    }

    fn start_engine(&mut self) {
        self.engine = Some(self.place.start());
        self.note("the engine is up");
    }

    fn kill_supervisor(&mut self) {
        let all: Vec<_> = supervisors(&self.place.data).into_iter().collect();
        let Some((number, task)) = self.rng.choice(all) else { return };
        self.note(&format!("kill the supervisor of {task}"));
        signal(number, Signal::SIGKILL);
    }

    /// The processes of tasks, with the task's name.
    fn of_tasks(&self) -> Vec<(u32, String)> {
        let is_ours = |number: &u32| variable(*number, "CHAOS").as_deref() == Some(self.model.mark);
        let ours = processes().into_iter().filter(is_ours);
        ours.filter_map(|number| Some((number, variable(number, "LOADLINE_TASK")?))).collect()
    }

    fn kill_task(&mut self) {
        let all = self.of_tasks();
        let Some((number, task)) = self.rng.choice(all) else { return };
        self.note(&format!("kill process {number} of {task}"));
        signal(number, Signal::SIGKILL);
    }

    /// Everything of one node dies at once, supervisors and all; nobody tells the engine.
    fn kill_node(&mut self) {
        let tasks = self.of_tasks();
        let nodes: Vec<String> =
            tasks.iter().filter_map(|(number, _)| variable(*number, "LOADLINE_NODE")).collect();
        let Some(node) = self.rng.choice(nodes) else { return };
        self.note(&format!("kill everything on {node}"));
        let there: Vec<&(u32, String)> = tasks
            .iter()
            .filter(|(number, _)| variable(*number, "LOADLINE_NODE").as_deref() == Some(&node))
            .collect();
        for (number, task) in supervisors(&self.place.data) {
            if there.iter().any(|(_, other)| *other == task) {
                signal(number, Signal::SIGKILL);
            }
        }
        for (number, _) in there {
            signal(*number, Signal::SIGKILL);
        }
    }

    fn freeze(&mut self, supervisor: bool) {
        let all: Vec<_> =
            if supervisor { supervisors(&self.place.data).into_iter().collect() } else { self.of_tasks() };
        let Some((number, task)) = self.rng.choice(all) else { return };
        let what = if supervisor { "the supervisor" } else { "a process" };
        self.note(&format!("freeze {what} of {task}"));
        signal(number, Signal::SIGSTOP);
        let moment = Duration::from_millis(self.rng.u64(..6000));
        self.frozen.push((number, Instant::now() + moment));
    }

    /// Lets go on what has been frozen for long enough, or everything.
    pub(super) fn thaw(&mut self, all: bool) {
        self.frozen.retain(|(number, until)| {
            let over = all || *until <= Instant::now();
            if over && is_alive(*number) {
                signal(*number, Signal::SIGCONT);
            }
            !over
        });
    }

    async fn node(&mut self, act: Act) {
        let mut nodes: Vec<NodeDto> = self.engine().client.get("/v1/nodes").await.expect("nodes");
        match act {
            Act::Activate => nodes.retain(|node| node.state == NodeState::Draining),
            _ => nodes.retain(|node| node.state == NodeState::Ready),
        }
        let Some(node) = self.rng.choice(nodes) else { return };
        let word = match act {
            Act::FailNode => "fail",
            Act::Drain => "drain",
            _ => "activate",
        };
        let path = format!("/v1/nodes/{}/{word}", node.name);
        let answer = self.engine().client.post(&path, &MessageRequest::default()).await;
        self.heard(&format!("{word} {}", node.name), answer);
    }

    /// Lets everything be well again: nothing is frozen or drained, the last version is a good one.
    pub(super) async fn calm(&mut self) {
        self.thaw(true);
        let nodes: Vec<NodeDto> = self.engine().client.get("/v1/nodes").await.expect("nodes");
        for node in nodes.iter().filter(|node| node.state == NodeState::Draining) {
            let path = format!("/v1/nodes/{}/activate", node.name);
            let answer = self.engine().client.post(&path, &MessageRequest::default()).await;
            self.heard("activate", answer);
        }
        self.version += 1;
        let answer = self.engine().apply(&self.model.web(self.version, true)).await;
        self.heard("a last good version", answer);
    }
}

/// The folder of the group that holds everything of the engine over `data`, if it uses groups.
pub(crate) fn engine_group(data: &Path) -> Option<std::path::PathBuf> {
    fs::read_dir(data.join("nodes")).ok()?.flatten().find_map(|entry| {
        let record: Value = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
        let folder = ["/group/v1/memory", "/group/v2/folder"].iter().find_map(|at| record.pointer(at));
        Some(Path::new(folder?.as_str()?).parent()?.to_owned())
    })
}
