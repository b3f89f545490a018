//! Asks the health checks of the tasks on this machine, each at its own interval, for as long as it is
//! told to: start-up first, then readiness and liveness for the task's whole life.
//! Not here: what follows from a task's health; the scheduler decides that.

mod command;
mod probe;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::agent::prober::probe::Answer;
use crate::agent::prober::verdict::Verdict;
use crate::domain::observation::Health;
use crate::domain::task::TaskId;
use crate::domain::workload::{HealthCheck, HealthChecks, Probe};
use crate::ports::clock::Clock;
use crate::ports::health::{CheckKind, HealthSource, ProbeResult, ProbeTarget};

/// No check is asked more often, whatever its interval.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What commands are started with beyond their task's template, as the launcher of tasks does it.
pub struct CommandSurroundings {
    /// The environment that every task gets.
    pub env: BTreeMap<String, String>,
    /// The folder of a task whose template names none.
    pub folder: Box<dyn Fn(&TaskId) -> PathBuf + Send + Sync>,
}

impl CommandSurroundings {
    /// A clean environment with what this process has of `PATH`, `HOME` and `LANG`, and a
    /// function that tells a task's own folder.
    pub fn clean(folder: impl Fn(&TaskId) -> PathBuf + Send + Sync + 'static) -> Self {
        let own = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        Self { env: ["PATH", "HOME", "LANG"].into_iter().filter_map(own).collect(), folder: Box::new(folder) }
    }
}

/// A task that is asked.
struct Watched {
    target: ProbeTarget,
    answers: Arc<Mutex<Answers>>,
    /// Ends with the entry.
    _asking: AbortOnDropHandle<()>,
}

/// What a task has answered so far.
struct Answers {
    verdict: Verdict,
    last: BTreeMap<CheckKind, ProbeResult>,
}

/// Asks tasks over sockets and by commands.
pub struct Prober {
    runtime: Handle,
    clock: Arc<dyn Clock>,
    surroundings: Arc<CommandSurroundings>,
    watched: Mutex<BTreeMap<TaskId, Watched>>,
    changed: Arc<Notify>,
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Prober {
    /// A prober that asks nobody so far; questions run on `runtime`.
    pub fn new(runtime: Handle, clock: Arc<dyn Clock>, surroundings: CommandSurroundings) -> Self {
        Self {
            runtime,
            clock,
            surroundings: Arc::new(surroundings),
            watched: Mutex::default(),
            changed: Arc::default(),
        }
    }

    fn start(&self, target: ProbeTarget) -> Watched {
        let verdict = Verdict::new(&target.checks);
        let answers = Arc::new(Mutex::new(Answers { verdict, last: BTreeMap::new() }));
        let asker = Asker {
            target: target.clone(),
            answers: Arc::clone(&answers),
            clock: Arc::clone(&self.clock),
            surroundings: Arc::clone(&self.surroundings),
            changed: Arc::clone(&self.changed),
        };
        let asking = self.runtime.spawn(async move { asker.ask_all().await });
        Watched { target, answers, _asking: AbortOnDropHandle::new(asking) }
    }
}

#[async_trait]
impl HealthSource for Prober {
    fn watch(&self, targets: Vec<ProbeTarget>) {
        let mut watched = locked(&self.watched);
        let mut before = std::mem::take(&mut *watched);
        for target in targets.into_iter().filter(|target| target.checks != HealthChecks::default()) {
            let kept = before.remove(&target.task).filter(|known| known.target == target);
            let task = target.task.clone();
            watched.insert(task, kept.unwrap_or_else(|| self.start(target)));
        }
    }

    fn health(&self) -> BTreeMap<TaskId, Health> {
        let health = |watched: &Watched| locked(&watched.answers).verdict.health();
        locked(&self.watched).iter().map(|(task, watched)| (task.clone(), health(watched))).collect()
    }

    fn results(&self, task: &TaskId) -> Vec<ProbeResult> {
        let last = |watched: &Watched| locked(&watched.answers).last.values().cloned().collect();
        locked(&self.watched).get(task).map(last).unwrap_or_default()
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Asks one task.
struct Asker {
    target: ProbeTarget,
    answers: Arc<Mutex<Answers>>,
    clock: Arc<dyn Clock>,
    surroundings: Arc<CommandSurroundings>,
    changed: Arc<Notify>,
}

impl Asker {
    async fn ask_all(&self) {
        let checks = &self.target.checks;
        self.ask_until(CheckKind::Startup, checks.startup.as_ref(), Verdict::started).await;
        tokio::join!(
            self.ask_until(CheckKind::Readiness, checks.readiness.as_ref(), |_| false),
            self.ask_until(CheckKind::Liveness, checks.liveness.as_ref(), |_| false),
        );
    }

    /// Asks one check until `done` or until the task has failed for good.
    async fn ask_until(&self, kind: CheckKind, check: Option<&HealthCheck>, done: fn(&Verdict) -> bool) {
        let Some(check) = check else { return };
        let over = |answers: &Answers| answers.verdict.failed() || done(&answers.verdict);
        while !over(&locked(&self.answers)) {
            let asked = Instant::now();
            let answer = self.ask(check).await;
            let result = ProbeResult {
                at: self.clock.now(),
                check: kind,
                passed: answer.passed,
                took: SignedDuration::try_from(asked.elapsed()).unwrap_or_default(),
                message: answer.message,
                body: String::new(),
            };
            if self.record(result) {
                self.changed.notify_one();
            }
            if over(&locked(&self.answers)) {
                return;
            }
            tokio::time::sleep(unsigned(check.interval).max(INTERVAL_MIN)).await;
        }
    }

    /// Takes a result in; tells whether the health has changed.
    fn record(&self, result: ProbeResult) -> bool {
        let mut answers = locked(&self.answers);
        let before = answers.verdict.health();
        answers.verdict.record(result.check, result.passed, &result.message);
        let after = answers.verdict.health();
        if before != after {
            tracing::debug!(task = %self.target.task, check = %result.check, ?after, "health changed");
        }
        answers.last.insert(result.check, result);
        before != after
    }

    async fn ask(&self, check: &HealthCheck) -> Answer {
        let limit = unsigned(check.timeout);
        match tokio::time::timeout(limit, self.put(&check.probe)).await {
            Ok(answer) => answer,
            Err(_) => Answer::no(format!("no answer within {} s", limit.as_secs_f64())),
        }
    }

    async fn put(&self, probe: &Probe) -> Answer {
        match probe {
            Probe::Http { path, port } => match self.port(port.as_ref()) {
                Ok(port) => probe::http(port, path).await,
                Err(no) => no,
            },
            Probe::Tcp { port } => match self.port(port.as_ref()) {
                Ok(port) => probe::tcp(port).await,
                Err(no) => no,
            },
            Probe::Exec { command } => {
                let template = self.target.template.working_dir.clone();
                let folder = template.unwrap_or_else(|| (self.surroundings.folder)(&self.target.task));
                command::run(command, &self.target, &self.surroundings.env, folder).await
            }
        }
    }

    fn port(&self, name: Option<&String>) -> Result<u16, Answer> {
        let name = name
            .or(self.target.first_port.as_ref())
            .ok_or_else(|| Answer::no("the service has no port to ask"))?;
        let number = self.target.ports.get(name);
        number.copied().ok_or_else(|| Answer::no(format!("port `{name}` has no number")))
    }
}

/// A length of time; a negative one is none.
fn unsigned(length: SignedDuration) -> Duration {
    Duration::try_from(length).unwrap_or(Duration::ZERO)
}
