//! Reads `[service.NAME]`, `[cron.NAME]` and `[job.NAME]`.

use jiff::SignedDuration;
use toml::de::DeValue;

use crate::config::checks::checks;
use crate::config::cron::schedule;
use crate::config::reader::{Table, Value};
use crate::config::rollout::rollout;
use crate::config::scale::scale;
use crate::config::task::{Uses, owner, policy, restart, template};
use crate::config::values::{
    count, duration, duration_from, flag, list, memory, name, number, port_number, tries, word,
};
use crate::config::wording::nearest;
use crate::domain::cron::CronSchedule;
use crate::domain::scale::ScaleSpec;
use crate::domain::workload::{
    CatchUp, CatchUpPolicy, CronJobSpec, JobSpec, OomRetry, OverlapPolicy, PortSpec, RunPolicy, ServiceSpec,
    WorkloadName, check_name,
};

/// As long as most proxies let a request last.
/// No latency that is asked for is shorter.
const OBJECTIVE_MIN: SignedDuration = SignedDuration::from_millis(1);
const DRAIN_TIMEOUT_DEFAULT: SignedDuration = SignedDuration::from_secs(30);
/// An occurrence that is later than this is better left out than run at the wrong time.
const START_DEADLINE_DEFAULT: SignedDuration = SignedDuration::from_mins(1);
/// Occurrences that wait for their turn.
const QUEUE_MAX_DEFAULT: u32 = 10;
/// Tasks of one run.
const TASKS_MAX: u32 = 1000;
/// The least of what must last some time.
const LASTING_MIN: SignedDuration = SignedDuration::from_secs(1);
/// Most ports of one service.
const PORTS_MAX: usize = 32;

/// The ports of a service, for what refers to them.
#[derive(Debug, Default)]
pub(super) struct Ports {
    list: Vec<PortSpec>,
    /// A port was refused: references are not checked, since one may be meant for it.
    refused: bool,
}

impl Ports {
    /// Reads the name of one of these ports.
    pub(super) fn known(&self, value: &Value<'_>) -> Option<String> {
        let names = || self.list.iter().map(|port| port.name.as_str());
        let expected = match names().collect::<Vec<_>>()[..] {
            [] => "no port, since the service has none".to_owned(),
            ref names => format!("a port of the service ({})", names.join(", ")),
        };
        let text = value.text(&expected)?;
        if self.refused || names().any(|name| name == text) {
            return Some(text.to_owned());
        }
        value.refuse_as(format!("unknown port \"{text}\""), &expected, nearest(text, names()))
    }

    /// Whether the service certainly has none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.refused
    }

    /// Refuses a value that makes sense only with a port.
    pub(super) fn needed(&self, value: &Value<'_>, what: &str) -> Option<()> {
        if self.refused || !self.list.is_empty() {
            return Some(());
        }
        value.refuse_as(
            format!("{what} in a service without ports"),
            "ports = [\"http\"] in the service",
            None,
        )
    }
}

/// Reads a service.
pub(super) fn service(table: &Table<'_>, uses: &mut Uses) -> ServiceSpec {
    let ports = ports(table, uses);
    let scale = table.table("scale", |scale_table| scale(scale_table, &ports));
    ServiceSpec {
        owner: owner(table),
        template: template(table, uses),
        checks: checks(table, &ports),
        instances: instances(table, scale.as_ref()),
        restart: restart(table, "restart"),
        rollout: rollout(table),
        drain_timeout: table.or("drain_timeout", DRAIN_TIMEOUT_DEFAULT, duration),
        policy: policy(table, uses),
        latency_objective: table.optional("latency_objective", duration_from(OBJECTIVE_MIN)),
        ports: ports.list,
        scale,
    }
}

fn instances(table: &Table<'_>, scale: Option<&ScaleSpec>) -> u32 {
    let instances = table.optional("instances", count(0));
    let Some(scale) = scale else { return instances.unwrap_or(1) };
    let Some(instances) = instances else { return scale.min };
    let (min, max) = scale.widest();
    if !(min..=max).contains(&instances) {
        let expected = format!("a count within [{min}, {max}], as `scale` says");
        table.refuse_key("instances", format!("instances = {instances}"), &expected, None);
    }
    instances
}

fn ports(table: &Table<'_>, uses: &mut Uses) -> Ports {
    let expected = "an array such as [\"http\"] or [{ name = \"http\", front_door = 8080 }]";
    let mut ports = Ports::default();
    let Some(value) = table.get("ports") else { return ports };
    let Some(elements) = value.elements(expected) else { return Ports { refused: true, ..ports } };
    if elements.len() > PORTS_MAX {
        value.refuse_as::<()>(format!("{} ports", elements.len()), &format!("at most {PORTS_MAX}"), None);
    }
    for element in &elements {
        match port(element, &ports.list, uses) {
            Some(port) => ports.list.push(port),
            None => ports.refused = true,
        }
    }
    ports
}

fn port(value: &Value<'_>, earlier: &[PortSpec], uses: &mut Uses) -> Option<PortSpec> {
    let free = |value: &Value<'_>| port_name(value, earlier);
    match value.get() {
        DeValue::Table(_) => value.table("ports".to_owned(), value.place(), |table| {
            let name = table.required(&["name"], "a name such as \"http\"", free);
            let front_door = table.optional("front_door", port_number);
            uses.front_doors.extend(front_door.map(|number| (number, table.place_of("front_door"))));
            Some(PortSpec { name: name?, front_door })
        })?,
        _ => Some(PortSpec { name: free(value)?, front_door: None }),
    }
}

fn port_name(value: &Value<'_>, earlier: &[PortSpec]) -> Option<String> {
    let expected = "a name such as \"http\"";
    let text = value.text(expected)?;
    if let Err(rule) = check_name(text) {
        return value.refuse(&format!("{expected} ({rule})"));
    }
    if earlier.iter().any(|port| port.name == text) {
        return value.refuse_as(format!("a second port \"{text}\""), "each name once", None);
    }
    Some(text.to_owned())
}

/// Reads a cron job.
pub(super) fn cron_job(table: &Table<'_>, uses: &mut Uses) -> Option<CronJobSpec> {
    let words = [
        ("forbid", OverlapPolicy::Forbid),
        ("allow", OverlapPolicy::Allow),
        ("replace", OverlapPolicy::Replace),
        ("queue", OverlapPolicy::Queue),
    ];
    let schedule: Option<CronSchedule> = schedule(table);
    let (owner, template, run) = (owner(table), template(table, uses), run(table));
    let overlap = table.or("overlap", OverlapPolicy::Forbid, word(&words));
    let start_deadline = table.or("start_deadline", START_DEADLINE_DEFAULT, duration_from(LASTING_MIN));
    let queue_max = table.or("queue_max", QUEUE_MAX_DEFAULT, tries(1));
    if table.has("queue_max") && overlap != OverlapPolicy::Queue {
        let expected = "overlap = \"queue\", or no `queue_max`";
        table.refuse_key("queue_max", "a bound of a queue that is not there".to_owned(), expected, None);
    }
    let catch_up = catch_up(table);
    let jitter = table.or("jitter", SignedDuration::ZERO, duration);
    let policy = policy(table, uses);
    let schedule = schedule?;
    Some(CronJobSpec {
        owner,
        template,
        schedule,
        overlap,
        queue_max,
        start_deadline,
        catch_up,
        jitter,
        run,
        policy,
    })
}

/// Reads `catch_up`, its bound and its deadline.
fn catch_up(table: &Table<'_>) -> CatchUp {
    let words = [("skip", CatchUpPolicy::Skip), ("once", CatchUpPolicy::Once), ("all", CatchUpPolicy::All)];
    let default = CatchUp::default();
    let read = CatchUp {
        policy: table.or("catch_up", default.policy, word(&words)),
        max: table.or("catch_up_max", default.max, tries(1)),
        deadline: table.or("catch_up_deadline", default.deadline, duration_from(LASTING_MIN)),
    };
    if table.has("catch_up_max") && read.policy != CatchUpPolicy::All {
        let expected = "catch_up = \"all\", or no `catch_up_max`";
        table.refuse_key("catch_up_max", "a bound without catching up on all".to_owned(), expected, None);
    }
    if table.has("catch_up_deadline") && read.policy == CatchUpPolicy::Skip {
        let expected = "catch_up = \"once\" or \"all\", or no `catch_up_deadline`";
        table.refuse_key("catch_up_deadline", "a deadline without catching up".to_owned(), expected, None);
    }
    read
}

/// Reads a job.
pub(super) fn job(table: &Table<'_>, uses: &mut Uses) -> JobSpec {
    let run = run(table);
    let run_on_apply = table.or("run_on_apply", run.after.is_empty(), flag);
    if run_on_apply && !run.after.is_empty() {
        let found = "run_on_apply = true in a job that comes after others".to_owned();
        table.refuse_key("run_on_apply", found, "either `after` or `run_on_apply`", None);
    }
    JobSpec {
        owner: owner(table),
        template: template(table, uses),
        run_on_apply,
        run,
        policy: policy(table, uses),
    }
}

/// Nothing is run again unless its owner says that it may be: the default is no retry.
fn run(table: &Table<'_>) -> RunPolicy {
    let tasks = table.or("count", 1, tries(1));
    if tasks > TASKS_MAX {
        let found = format!("count = {tasks}");
        table.refuse_key("count", found, &format!("at most {TASKS_MAX} tasks of one run"), None);
    }
    RunPolicy {
        retries: table.or("retries", 0, tries(0)),
        restart: restart(table, "retry"),
        time_limit: table.optional("time_limit", duration_from(LASTING_MIN)),
        oom: OomRetry {
            percent: table
                .optional("oom_factor", number(1.0..=10.0, "a factor from 1 to 10, such as 1.5"))
                .map_or(OomRetry::default().percent, |factor| (factor * 100.0).round() as u32),
            max: table.optional("oom_memory_max", memory),
        },
        count: tasks,
        max_parallel: table.optional("max_parallel", tries(1)),
        concurrency: table.optional("concurrency", tries(1)),
        after: table.or("after", Vec::new(), after),
    }
}

/// Reads the names of workloads that this one comes after. Whether they exist is known when all that was
/// declared is put together with what is declared already.
fn after(value: &Value<'_>) -> Option<Vec<WorkloadName>> {
    let one = name(WorkloadName::new);
    let names = list(value, "an array of names such as [\"import\"]", one)?;
    Some(names.into_iter().map(|(name, _)| name).collect())
}
