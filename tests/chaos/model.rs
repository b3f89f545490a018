//! What runs while things are killed: services with and without checks and front doors, cron jobs under
//! each overlap policy, jobs, two pools. Every task writes what it does into one file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::binary;

/// Services with the count that they begin with.
pub(super) const SERVICES: [(&str, u32); 3] = [("web", 3), ("steady", 2), ("family", 2)];
/// Cron jobs with the seconds between their occurrences.
pub(super) const CRONS: [(&str, i64); 4] = [("forbid", 3), ("allow", 2), ("replace", 4), ("retried", 5)];
/// Jobs that are run now and then.
pub(super) const JOBS: [&str; 1] = ["chore"];

/// What is declared.
pub(super) struct Model<'a> {
    /// The file of effects.
    pub(super) effects: &'a Path,
    /// Marks every process of this test.
    pub(super) mark: &'a str,
}

impl Model<'_> {
    /// Everything.
    pub(super) fn specs(&self) -> String {
        let mut specs = r#"
[pool.a]
cpu = 4
memory = "2GiB"
min = 2
max = 3
[pool.b]
cpu = 2
memory = "1GiB"
min = 1
max = 2
"#
        .to_owned();
        specs.push_str(&self.web(1, true));
        specs.push_str(&self.steady(1));
        specs.push_str(&self.family());
        for (name, seconds) in CRONS {
            specs.push_str(&self.cron(name, seconds));
        }
        specs.push_str(&self.job());
        specs
    }

    fn common(&self, generation: u64) -> String {
        format!(
            "cpu = 0.01\nmemory = \"48MiB\"\nstop_grace = \"1s\"\n\
             env = {{ CHAOS = \"{}\", GENERATION = \"{generation}\", EFFECTS = \"{}\" }}\n",
            self.mark,
            self.effects.display()
        )
    }

    /// A web service behind the front door; a bad version ends at once.
    pub(super) fn web(&self, version: u64, good: bool) -> String {
        let program = binary();
        let serve = format!("exec {program} demo-task web --startup 200ms --memory 1MiB");
        let then = if good { serve } else { "exit 3".to_owned() };
        format!(
            r#"
[service.web]
command = """echo "begin $GENERATION $LOADLINE_TASK $$" >> $EFFECTS; {then}"""
{common}ports = ["http"]
instances = 3
placement = {{ pool = "a" }}
drain_timeout = "2s"
readiness = {{ http = "/healthz", interval = "300ms", timeout = "1s" }}
liveness = {{ http = "/healthz", interval = "1s", timeout = "1s", failures = 3 }}
restart = {{ backoff = "200ms", backoff_max = "1s", reset_after = "5s" }}
rollout = {{ max_failures = 2, deadline = "20s" }}
"#,
            common = self.common(version)
        )
    }

    /// A service of one shell, without checks.
    pub(super) fn steady(&self, version: u64) -> String {
        format!(
            r#"
[service.steady]
command = """echo "begin $GENERATION $LOADLINE_TASK $$" >> $EFFECTS; while :; do sleep 1; done"""
{common}instances = 2
restart = {{ backoff = "200ms", backoff_max = "1s", reset_after = "5s" }}
"#,
            common = self.common(version)
        )
    }

    /// A service whose main process has children that outlive it.
    fn family(&self) -> String {
        format!(
            r#"
[service.family]
command = """echo "begin $GENERATION $LOADLINE_TASK $$" >> $EFFECTS; sleep 100000 & sleep 100000 & wait"""
{common}instances = 2
placement = {{ pool = "b" }}
restart = {{ backoff = "200ms", backoff_max = "1s", reset_after = "5s" }}
"#,
            common = self.common(1)
        )
    }

    /// A service that comes and goes.
    pub(super) fn phoenix(&self, generation: u64) -> String {
        format!(
            r#"
[service.phoenix]
command = """echo "begin $GENERATION $LOADLINE_TASK $$" >> $EFFECTS; sleep 100000 & wait"""
{common}instances = 2
restart = {{ backoff = "200ms", backoff_max = "1s" }}
"#,
            common = self.common(generation)
        )
    }

    fn cron(&self, name: &str, seconds: i64) -> String {
        let (overlap, retries) = match name {
            "allow" => ("allow", 0),
            "replace" => ("replace", 0),
            "retried" => ("forbid", 2),
            _ => ("forbid", 0),
        };
        // Some runs are done at once, others are still there when the next one is due.
        format!(
            r#"
[cron.{name}]
schedule = "*/{seconds} * * * * *"
command = """{effect}"""
overlap = "{overlap}"
start_deadline = "1s"
retries = {retries}
retry = {{ backoff = "200ms", backoff_max = "500ms" }}
{common}
"#,
            effect = effect(5),
            common = self.common(1)
        )
    }

    fn job(&self) -> String {
        format!(
            "\n[job.chore]\ncommand = \"\"\"{}\"\"\"\nrun_on_apply = false\n{}",
            effect(3),
            self.common(1)
        )
    }
}

/// Says when it begins and when it ends, some time later. A kill that meets the clock's process first ends it
/// all the same.
fn effect(spread: u32) -> String {
    format!(
        "at=$(date +%s%N) || exit 137; echo \"begin $GENERATION $LOADLINE_TASK $$ $at\" >> $EFFECTS; \
         sleep $(($$ % {spread})).3; \
         at=$(date +%s%N) || exit 137; echo \"end $GENERATION $LOADLINE_TASK $$ $at\" >> $EFFECTS"
    )
}

/// What one task did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) begins: Vec<u64>,
    pub(super) ends: Vec<u64>,
    pub(super) pids: Vec<u32>,
}

/// What all tasks did, by generation and task.
pub(super) fn effects(path: &Path) -> BTreeMap<(String, String), Done> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut found = BTreeMap::<_, Done>::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, generation, task, number, rest @ ..] = words.as_slice() else {
            panic!("a line of effects that nobody writes: {line}");
        };
        let at = rest.first().map_or(0, |at| at.parse().expect("an instant"));
        let done = found.entry(((*generation).to_owned(), (*task).to_owned())).or_default();
        done.pids.push(number.parse().expect("a process id"));
        match *what {
            "begin" => done.begins.push(at),
            "end" => done.ends.push(at),
            _ => panic!("a line of effects that nobody writes: {line}"),
        }
    }
    found
}
