//! From the answers of a task's checks to its health. Pure: no clock, no socket.

use crate::domain::observation::Health;
use crate::domain::workload::{HealthCheck, HealthChecks};
use crate::ports::health::CheckKind;

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    Passed,
    Failed,
    /// As bad as all the failures that the check may have.
    FailedForGood,
}

/// How a check stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Standing {
    /// Too few answers so far.
    #[default]
    Undecided,
    Passed,
    /// What the answer that decided it said.
    Failed(String),
}

/// One check with its consecutive answers.
#[derive(Debug, Clone)]
struct Tally {
    failures_needed: u32,
    passes_needed: u32,
    failures: u32,
    passes: u32,
    standing: Standing,
}

impl Tally {
    fn new(check: &HealthCheck) -> Self {
        Self {
            failures_needed: check.failures.max(1),
            passes_needed: check.passes.max(1),
            failures: 0,
            passes: 0,
            standing: Standing::Undecided,
        }
    }

    fn record(&mut self, grade: Grade, message: &str) {
        if grade == Grade::Passed {
            self.passes = self.passes.saturating_add(1);
            self.failures = 0;
            if self.passes >= self.passes_needed {
                self.standing = Standing::Passed;
            }
        } else {
            self.failures = self.failures.saturating_add(1);
            self.passes = 0;
            if grade == Grade::FailedForGood || self.failures >= self.failures_needed {
                self.standing = Standing::Failed(message.to_owned());
            }
        }
    }
}

/// The health of one task, from its answers.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    startup: Option<Tally>,
    readiness: Option<Tally>,
    liveness: Option<Tally>,
    /// A failure for good stays: the task is to be restarted, whatever is answered later.
    failed: Option<String>,
}

impl Verdict {
    /// Nothing has been answered so far.
    pub(super) fn new(checks: &HealthChecks) -> Self {
        let tally = |check: &Option<HealthCheck>| check.as_ref().map(Tally::new);
        Self {
            startup: tally(&checks.startup),
            readiness: tally(&checks.readiness),
            liveness: tally(&checks.liveness),
            failed: None,
        }
    }

    /// Takes an answer in.
    pub(super) fn record(&mut self, kind: CheckKind, grade: Grade, message: &str) {
        let tally = match kind {
            CheckKind::Startup => &mut self.startup,
            CheckKind::Readiness => &mut self.readiness,
            CheckKind::Liveness => &mut self.liveness,
        };
        let Some(tally) = tally else { return };
        tally.record(grade, message);
        if kind != CheckKind::Readiness
            && self.failed.is_none()
            && let Standing::Failed(message) = &tally.standing
        {
            let times = match tally.failures {
                1 => "once".to_owned(),
                failures => format!("{failures} times"),
            };
            self.failed = Some(format!("{kind} check failed {times}: {message}"));
        }
    }

    /// Whether the start-up check has passed, or there is none.
    pub(super) fn started(&self) -> bool {
        self.startup.as_ref().is_none_or(|tally| tally.standing == Standing::Passed)
    }

    /// Whether nothing more needs to be asked: the task is to be restarted.
    pub(super) fn failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The health now.
    pub(super) fn health(&self) -> Health {
        if let Some(message) = &self.failed {
            return Health::Failed { message: message.clone() };
        }
        if !self.started() {
            return Health::Starting;
        }
        // Without a readiness check the first sign of life will do: an instance that was never seen
        // alive must not replace one that works.
        match self.readiness.as_ref().or(self.liveness.as_ref()).map(|tally| &tally.standing) {
            None | Some(Standing::Passed) => Health::Ready,
            Some(Standing::Undecided) => Health::Starting,
            Some(Standing::Failed(message)) => Health::Unready { message: message.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::workload::Probe;

    fn check(failures: u32, passes: u32) -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp { port: None },
            interval: SignedDuration::from_secs(1),
            timeout: SignedDuration::from_secs(1),
            failures,
            passes,
            delay: SignedDuration::ZERO,
        }
    }

    fn grade(passed: bool) -> Grade {
        if passed { Grade::Passed } else { Grade::Failed }
    }

    #[test]
    fn one_answer_can_be_enough() {
        let checks = HealthChecks { startup: Some(check(60, 1)), ..HealthChecks::default() };
        let mut verdict = Verdict::new(&checks);
        verdict.record(CheckKind::Startup, Grade::Failed, "status 503");
        assert_eq!(verdict.health(), Health::Starting);
        verdict.record(CheckKind::Startup, Grade::FailedForGood, "status 500");
        let message = "start-up check failed 2 times: status 500".to_owned();
        assert_eq!(verdict.health(), Health::Failed { message });
    }

    #[test]
    fn readiness_needs_its_passes_and_is_lost_after_its_failures() {
        let mut verdict =
            Verdict::new(&HealthChecks { readiness: Some(check(2, 2)), ..HealthChecks::default() });
        let mut answer = |passed| {
            verdict.record(CheckKind::Readiness, grade(passed), "refused");
            verdict.health()
        };
        assert_eq!(answer(false), Health::Starting);
        assert_eq!(answer(true), Health::Starting);
        assert_eq!(answer(true), Health::Ready);
        assert_eq!(answer(false), Health::Ready);
        assert_eq!(answer(false), Health::Unready { message: "refused".to_owned() });
        assert_eq!(answer(true), Health::Unready { message: "refused".to_owned() });
        assert_eq!(answer(true), Health::Ready);
    }

    #[test]
    fn nothing_counts_before_the_start_up_check_has_passed() {
        let checks = HealthChecks {
            startup: Some(check(3, 1)),
            readiness: Some(check(1, 1)),
            liveness: Some(check(1, 1)),
        };
        let mut verdict = Verdict::new(&checks);
        verdict.record(CheckKind::Startup, Grade::Failed, "refused");
        assert_eq!((verdict.started(), verdict.health()), (false, Health::Starting));
        verdict.record(CheckKind::Startup, Grade::Passed, "");
        assert_eq!((verdict.started(), verdict.health()), (true, Health::Starting));
        verdict.record(CheckKind::Readiness, Grade::Passed, "");
        assert_eq!(verdict.health(), Health::Ready);
    }

    #[test]
    fn a_failure_for_good_stays() {
        let mut verdict =
            Verdict::new(&HealthChecks { liveness: Some(check(2, 1)), ..HealthChecks::default() });
        verdict.record(CheckKind::Liveness, Grade::Passed, "");
        assert_eq!(verdict.health(), Health::Ready);
        verdict.record(CheckKind::Liveness, Grade::Failed, "refused");
        assert_eq!(verdict.health(), Health::Ready);
        verdict.record(CheckKind::Liveness, Grade::Failed, "refused");
        verdict.record(CheckKind::Liveness, Grade::Passed, "");
        let message = "liveness check failed 2 times: refused".to_owned();
        assert_eq!(verdict.health(), Health::Failed { message });
    }
}
