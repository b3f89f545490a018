//! Asks the health checks of the tasks on this machine, each at its own interval, for as long as it is
//! told to: start-up first, then readiness and liveness for the task's whole life.
//! Not here: what follows from a task's health; the scheduler decides that.

mod history;
mod probe;
mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::agent::prober::history::{Ended, History};
use crate::agent::prober::probe::{Answer, BODY_MAX, kept};
use crate::agent::prober::verdict::{Grade, Verdict};
use crate::domain::observation::Health;
use crate::domain::task::{ExitStatus, TaskId};
use crate::domain::workload::{HealthCheck, HealthChecks, Probe};
use crate::ports::clock::Clock;
use crate::ports::exec::{ExecLimits, ExecTarget, TaskExec};
use crate::ports::health::{CheckKind, HealthSource, ProbeResult, ProbeTarget};

/// No check is asked more often, whatever its interval.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

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
    history: History,
}

/// Asks tasks over sockets and by commands.
pub struct Prober {
    runtime: Handle,
    clock: Arc<dyn Clock>,
    exec: Arc<dyn TaskExec>,
    watched: Mutex<BTreeMap<TaskId, Watched>>,
    ended: Mutex<Ended>,
    changed: Arc<Notify>,
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Prober {
    /// A prober that asks nobody so far; questions run on `runtime`, commands by `exec`.
    pub fn new(runtime: Handle, clock: Arc<dyn Clock>, exec: Arc<dyn TaskExec>) -> Self {
        Self {
            runtime,
            clock,
            exec,
            watched: Mutex::default(),
            ended: Mutex::default(),
            changed: Arc::default(),
        }
    }

    fn start(&self, target: ProbeTarget) -> Watched {
        let verdict = Verdict::new(&target.checks);
        let answers = Arc::new(Mutex::new(Answers { verdict, history: History::default() }));
        let asker = Asker {
            target: target.clone(),
            answers: Arc::clone(&answers),
            clock: Arc::clone(&self.clock),
            exec: Arc::clone(&self.exec),
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
        let mut ended = locked(&self.ended);
        for (task, gone) in before {
            if !watched.contains_key(&task) {
                let history = std::mem::take(&mut locked(&gone.answers).history);
                ended.keep(task, history, Instant::now());
            }
        }
    }

    fn health(&self) -> BTreeMap<TaskId, Health> {
        let health = |watched: &Watched| locked(&watched.answers).verdict.health();
        locked(&self.watched).iter().map(|(task, watched)| (task.clone(), health(watched))).collect()
    }

    fn results(&self, task: &TaskId) -> Vec<ProbeResult> {
        if let Some(watched) = locked(&self.watched).get(task) {
            return locked(&watched.answers).history.results();
        }
        locked(&self.ended).results(task, Instant::now())
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
    exec: Arc<dyn TaskExec>,
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
        tokio::time::sleep(unsigned(check.delay)).await;
        while !over(&locked(&self.answers)) {
            let asked = Instant::now();
            let answer = self.ask(check).await;
            let grade = answer.grade;
            let result = ProbeResult {
                at: self.clock.now(),
                check: kind,
                passed: grade == Grade::Passed,
                took: SignedDuration::try_from(asked.elapsed()).unwrap_or_default(),
                message: answer.message,
                body: answer.body,
            };
            if self.record(result, grade) {
                self.changed.notify_one();
            }
            if over(&locked(&self.answers)) {
                return;
            }
            tokio::time::sleep(unsigned(check.interval).max(INTERVAL_MIN)).await;
        }
    }

    /// Takes a result in; tells whether the health has changed.
    fn record(&self, result: ProbeResult, grade: Grade) -> bool {
        let mut answers = locked(&self.answers);
        let before = answers.verdict.health();
        answers.verdict.record(result.check, grade, &result.message);
        let after = answers.verdict.health();
        if before != after {
            tracing::debug!(task = %self.target.task, check = %result.check, ?after, "health changed");
        }
        answers.history.push(result);
        before != after
    }

    async fn ask(&self, check: &HealthCheck) -> Answer {
        let limit = unsigned(check.timeout);
        let answer = match &check.probe {
            Probe::Http { path, port, options } => match self.port(port.as_ref()) {
                Ok(port) => tokio::time::timeout(limit, probe::http(port, path, options)).await.ok(),
                Err(no) => Some(no),
            },
            Probe::Tcp { port } => match self.port(port.as_ref()) {
                Ok(port) => tokio::time::timeout(limit, probe::tcp(port)).await.ok(),
                Err(no) => Some(no),
            },
            Probe::Exec { command } => self.run(command, check.timeout).await,
        };
        answer.unwrap_or_else(|| Answer::no(format!("no answer within {} s", limit.as_secs_f64())))
    }

    /// Whether a command in the task ends with exit status 0; nothing where its time was up.
    async fn run(&self, command: &[String], time: SignedDuration) -> Option<Answer> {
        let target = ExecTarget {
            task: self.target.task.clone(),
            template: self.target.template.clone(),
            first_port: self.target.first_port.clone(),
        };
        let output = match self.exec.exec(&target, command, ExecLimits { time, output: BODY_MAX }).await {
            Ok(output) => output,
            Err(error) => return Some(Answer::no(in_one_line(&error))),
        };
        if output.timed_out {
            return None;
        }
        let body = kept(&[output.stdout, output.stderr].concat());
        Some(match output.status {
            Some(ExitStatus::Code(0)) => Answer::yes("exit status 0").with(body),
            Some(ExitStatus::Code(code)) => Answer::no(format!("exit status {code}")).with(body),
            Some(ExitStatus::Signal(signal)) => Answer::no(format!("killed by signal {signal}")).with(body),
            None => Answer::no("it did not run").with(body),
        })
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

/// An error with its causes.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
