//! From the engine's view to what the API says.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::dto::{NodeDto, PoolDto, RunDto, ScaleDto, StatusDto, TaskDto, WaitingDto, WorkloadDto};
use crate::api::node_answers::{NodeBlockDto, NodeOutlookDto, PlannedChangeDto};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{NodePool, NodeState};
use crate::domain::node_outlook::{Block, NodeOutlook, PlannedChange};
use crate::domain::observation::{Health, ProcessState};
use crate::domain::plan::{WaitKind, Waiting};
use crate::domain::quantity::{Bytes, Resources};
use crate::domain::rollout::RolloutState;
use crate::domain::task::{Task, TaskState};
use crate::domain::world::{NextRun, Run, Workload};
use crate::ports::control::View;

/// A status names the nodes for at most this many waiting tasks; each task's own answer names them too.
const EXPLAINED_MAX: usize = 100;

/// Everything at a glance.
pub fn status(view: &View, prices: &Prices, now: Timestamp) -> StatusDto {
    let pools: Vec<PoolDto> = view.world.pools.values().map(|each| pool(view, each, prices)).collect();
    StatusDto {
        engine: view.engine.clone(),
        workloads: view.world.workloads.values().map(|each| workload(view, each, now)).collect(),
        pools,
        waiting: view.waiting.iter().enumerate().map(|(at, each)| waiting(each, at)).collect(),
        price_per_hour: price_per_hour(view, prices).units(),
        price_this_month: None,
    }
}

/// What the nodes that are there cost per hour.
pub fn price_per_hour(view: &View, prices: &Prices) -> MicroCents {
    let there = view.world.nodes.values().filter(|node| node.state != NodeState::Lost);
    there
        .map(|node| {
            let declared = view.world.pools.get(&node.pool).and_then(|pool| pool.spec.price_per_hour);
            declared.unwrap_or_else(|| prices.per_hour(node.size))
        })
        .sum()
}

/// A workload and where it stands.
pub fn workload(view: &View, workload: &Workload, now: Timestamp) -> WorkloadDto {
    let spec = &workload.spec;
    let service = spec.as_service();
    let live: Vec<&Task> =
        view.world.tasks_of(&workload.name).filter(|task| !task.state.is_terminal()).collect();
    let ready = match service {
        Some(_) => live.iter().filter(|task| workload.takes_traffic(task) && is_ready(view, task)).count(),
        None => live.iter().filter(|task| task.state.holds_resources()).count(),
    };
    let used = usage_of(view, &live);
    let load = view.load.get(&workload.name);
    let scaling = view.scaling.get(&workload.name).filter(|_| service.is_some_and(|s| s.scale.is_some()));
    let mut dto = WorkloadDto {
        name: workload.name.to_string(),
        kind: spec.kind(),
        team: spec.owner().team.clone(),
        cost_centre: spec.owner().cost_centre.clone(),
        state: String::new(),
        notes: Vec::new(),
        revision: workload.revision,
        generation: workload.generation,
        wanted: service.map(|_| workload.count),
        scale_bounds: service.and_then(|s| s.scale.as_ref()).map(|scale| {
            let bounds = scale.bounds_at(now);
            (bounds.min, bounds.max)
        }),
        scale: scaling.map(ScaleDto::from),
        ready: count(ready),
        tasks: count(live.len()),
        size: workload.size().into(),
        cpu_used: used.and_then(|(cpu, _)| cpu),
        memory_used: used.map(|(_, memory)| memory.get()),
        requests_per_second: load.map(|sample| sample.requests_per_second),
        latency_p95: load.and_then(|sample| sample.latency_p95),
        latency_objective: service.and_then(|s| s.latency_objective).map(|most| most.as_secs_f64()),
        front_doors: view.front_doors.get(&workload.name).cloned().unwrap_or_default(),
        schedule: spec.as_cron().map(|cron| cron.schedule.to_string()),
        next_run: match workload.jobs.next {
            NextRun::At { due, .. } => Some(due),
            NextRun::Unknown => spec.as_cron().and_then(|cron| cron.schedule.next_after(now)),
            NextRun::Finished => None,
        },
        rollout: workload.rollout.clone(),
    };
    dto.state = state_word(view, workload, &dto, &live).to_owned();
    dto.notes = notes(view, workload, &live, now);
    dto.notes.extend(scaling.into_iter().flat_map(crate::api::scaling::notes));
    dto
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn is_ready(view: &View, task: &Task) -> bool {
    task.state == TaskState::Running
        && view.observed.tasks.get(&task.id).is_some_and(|seen| seen.health == Health::Ready)
}

/// Cores and working set over the tasks that have a sample; absent where none has.
fn usage_of(view: &View, tasks: &[&Task]) -> Option<(Option<f64>, Bytes)> {
    let samples: Vec<_> = tasks.iter().filter_map(|task| view.usage.get(&task.id)).collect();
    if samples.is_empty() {
        return None;
    }
    let memory = samples.iter().fold(Bytes::ZERO, |sum, sample| sum + sample.memory);
    let cores = samples.iter().filter_map(|sample| sample.cpu_cores);
    Some((cores.reduce(|sum, cores| sum + cores), memory))
}

fn state_word(view: &View, workload: &Workload, dto: &WorkloadDto, live: &[&Task]) -> &'static str {
    if workload.deleted {
        return "deleting";
    }
    if workload.restart.crash_loop {
        return "crash loop";
    }
    let finds_no_node =
        |task: &&Task| waiting_of(view, task).is_some_and(|waiting| waiting.kind != WaitKind::Backoff);
    if live.iter().any(finds_no_node) {
        return "waiting";
    }
    if matches!(&workload.rollout, Some(rollout) if rollout.state == RolloutState::InProgress && rollout.from.is_some())
    {
        return "rolling out";
    }
    match dto.wanted {
        None if dto.ready > 0 => "running",
        None if workload.jobs.next == NextRun::Finished => "finished",
        None => "idle",
        Some(wanted) if dto.ready >= wanted => "healthy",
        Some(_) if dto.ready == 0 => "starting",
        Some(_) => "degraded",
    }
}

fn notes(view: &View, workload: &Workload, live: &[&Task], now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(RolloutState::RolledBack { reason }) = workload.rollout.as_ref().map(|rollout| &rollout.state)
    {
        notes.push(format!("the last rollout was rolled back: {reason}"));
    }
    if let Some(rollout) = &workload.rollout
        && let Some(stage) = rollout.open_stage()
    {
        notes.push(format!("rollout: {} {}, since {:.0}", rollout.title(stage), stage.waits, stage.since));
    }
    if workload.restart.failures > 0 {
        let next = workload.restart.not_before.filter(|at| *at > now);
        let next = next.map(|at| format!(", next start not before {at:.0}"));
        notes.push(format!("{} failures in a row{}", workload.restart.failures, next.unwrap_or_default()));
    }
    for task in live {
        if let Some(waiting) = waiting_of(view, task) {
            notes.push(format!("{} waits: {}", task.id, waiting.reason));
        }
    }
    notes
}

/// A task as it stands; `view` adds what is known of it while it lives.
pub fn task(view: &View, task: &Task) -> TaskDto {
    let seen = view.observed.tasks.get(&task.id).filter(|_| !task.state.is_terminal());
    let sample = view.usage.get(&task.id).filter(|_| !task.state.is_terminal());
    TaskDto {
        id: task.id.to_string(),
        workload: task.workload().to_string(),
        revision: task.revision,
        state: task.state,
        reason: task.reason.clone(),
        node: task.node.as_ref().map(ToString::to_string),
        pid: seen.and_then(|seen| match seen.process {
            ProcessState::Running { pid, .. } => Some(pid),
            _ => None,
        }),
        health: seen.map(|seen| health_words(&seen.health)),
        size: task.size.into(),
        cpu_used: sample.and_then(|sample| sample.cpu_cores),
        throttled_share: sample.and_then(|sample| sample.throttled_share),
        memory_used: sample.map(|sample| sample.memory.get()),
        page_cache: sample.and_then(|sample| sample.page_cache).map(Bytes::get),
        ports: task.ports.clone(),
        created_at: task.created_at,
        started_at: task.started_at,
        state_since: task.state_since,
        exit: task.exit.clone(),
        waiting: waiting_of(view, task).map(lines).unwrap_or_default(),
    }
}

fn health_words(health: &Health) -> String {
    match health {
        Health::Starting => "starting".to_owned(),
        Health::Ready => "ready".to_owned(),
        Health::Unready { message } => format!("unready: {message}"),
        Health::Failed { message } => format!("failed: {message}"),
    }
}

/// Why a task has no node, if it has none.
fn waiting_of<'v>(view: &'v View, task: &Task) -> Option<&'v Waiting> {
    let at = view.waiting.binary_search_by(|waiting| waiting.task.cmp(&task.id));
    at.ok().filter(|_| task.state == TaskState::Pending).map(|at| &view.waiting[at])
}

fn lines(waiting: &Waiting) -> Vec<String> {
    let nodes = waiting.nodes.iter().map(|(node, misfit)| format!("{node} {misfit}"));
    std::iter::once(waiting.reason.clone()).chain(nodes).collect()
}

/// The nodes are told of the first ones only: what one task waits for, thousands often do.
fn waiting(waiting: &Waiting, number: usize) -> WaitingDto {
    let nodes = if number < EXPLAINED_MAX { waiting.nodes.as_slice() } else { &[] };
    WaitingDto {
        task: waiting.task.to_string(),
        kind: waiting.kind.as_str().to_owned(),
        reason: waiting.reason.clone(),
        nodes: nodes.iter().map(|(node, misfit)| (node.to_string(), misfit.to_string())).collect(),
    }
}

/// All nodes.
pub fn nodes(view: &View) -> Vec<NodeDto> {
    let mut requested: BTreeMap<&str, (u32, Resources, f64, Bytes)> = BTreeMap::new();
    for task in view.world.tasks.values().filter(|task| task.state.holds_resources()) {
        let Some(node) = &task.node else { continue };
        let entry = requested.entry(node.as_str()).or_default();
        entry.0 += 1;
        entry.1 += task.size.request;
        if let Some(sample) = view.usage.get(&task.id) {
            entry.2 += sample.cpu_cores.unwrap_or(0.0);
            entry.3 += sample.memory;
        }
    }
    let dto = |node: &crate::domain::node::Node| {
        let (tasks, request, cpu_used, memory_used) =
            requested.get(node.name.as_str()).copied().unwrap_or_default();
        NodeDto {
            name: node.name.to_string(),
            pool: node.pool.to_string(),
            state: node.state,
            reason: node.reason.clone(),
            tasks,
            cpu: node.size.cpu.cores(),
            cpu_requested: request.cpu.cores(),
            cpu_used,
            memory: node.size.memory.get(),
            memory_requested: request.memory.get(),
            memory_used: memory_used.get(),
            created_at: node.created_at,
            made_for: node.made_for.clone(),
            outlook: view.outlook.nodes.get(&node.name).map(outlook),
        }
    };
    view.world.nodes.values().map(dto).collect()
}

fn outlook(outlook: &NodeOutlook) -> NodeOutlookDto {
    let block = |block: &Block| NodeBlockDto {
        by: block.by.to_string(),
        reason: block.reason.clone(),
        until: block.until,
    };
    NodeOutlookDto {
        prospect: outlook.prospect.as_str().to_owned(),
        not_before: outlook.not_before,
        blocks: outlook.blocks.iter().map(block).collect(),
    }
}

/// Changes of nodes that are decided and not done yet.
pub fn planned(view: &View) -> Vec<PlannedChangeDto> {
    let dto = |planned: &PlannedChange| PlannedChangeDto {
        kind: planned.kind.as_str().to_owned(),
        pool: planned.pool.to_string(),
        node: planned.node.as_ref().map(ToString::to_string),
        nodes: planned.nodes,
        tasks: planned.tasks,
        since: planned.since,
        expected_at: planned.expected_at,
        reason: planned.reason.clone(),
    };
    view.outlook.planned.iter().map(dto).collect()
}

/// A pool.
pub fn pool(view: &View, pool: &NodePool, prices: &Prices) -> PoolDto {
    let ready =
        view.world.nodes.values().filter(|n| n.pool == pool.name && n.state == NodeState::Ready).count();
    PoolDto {
        name: pool.name.to_string(),
        min: pool.spec.min,
        max: pool.spec.max,
        target: pool.target,
        ready: count(ready),
        cpu: pool.spec.size.cpu.cores(),
        memory: pool.spec.size.memory.get(),
        price_per_hour: pool.spec.price_per_hour.unwrap_or_else(|| prices.per_hour(pool.spec.size)).units(),
    }
}

/// A run.
pub fn run(run: &Run) -> RunDto {
    RunDto {
        workload: run.key.workload.to_string(),
        at: run.key.at,
        manual: run.manual,
        outcome: run.outcome.clone(),
        tasks: run.tasks.iter().map(ToString::to_string).collect(),
        started_at: run.started_at,
        ended_at: run.ended_at,
    }
}
