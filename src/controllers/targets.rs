//! In: the world and a task. Out: what ports are called with about it: launches, probes, commands. Not here: when.

use crate::domain::observation::Observed;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::workload::WorkloadSpec;
use crate::domain::world::World;
use crate::ports::cluster::Launch;
use crate::ports::exec::ExecTarget;
use crate::ports::health::ProbeTarget;

/// A task's spec, of its own revision.
pub(super) fn spec_of<'a>(world: &'a World, task: &Task) -> Option<&'a WorkloadSpec> {
    let workload = world.workloads.get(task.workload())?;
    Some(workload.revisions.get(&task.revision).map_or(&workload.spec, |revision| &revision.spec))
}

/// Whether anything asks a task how it is.
pub(super) fn has_checks(world: &World, task: &Task) -> bool {
    let service = spec_of(world, task).and_then(WorkloadSpec::as_service);
    service.is_some_and(|s| {
        s.checks.startup.is_some() || s.checks.readiness.is_some() || s.checks.liveness.is_some()
    })
}

/// The names of a service's ports.
pub(super) fn port_names(spec: &WorkloadSpec) -> Vec<String> {
    spec.as_service().map(|s| s.ports.iter().map(|port| port.name.clone()).collect()).unwrap_or_default()
}

/// A task whose agent has numbers for its ports that the world does not know: the engine ended between
/// the launch and the writing down.
pub(super) fn ports_unknown(world: &World, task: &Task, observed: &Observed) -> bool {
    task.ports.is_empty()
        && matches!(task.state, TaskState::Starting | TaskState::Running)
        && observed.tasks.contains_key(&task.id)
        && spec_of(world, task).is_some_and(|spec| !port_names(spec).is_empty())
}

/// What a task is launched with.
pub(super) fn launch_of(world: &World, id: &TaskId) -> Option<Launch> {
    let task = world.tasks.get(id)?;
    let spec = spec_of(world, task)?;
    let template = crate::scheduling::launching::template(world, task)?;
    Some(Launch { task: task.clone(), template, ports: port_names(spec) })
}

/// What the health checks of a task are made with.
pub(super) fn probe_target(world: &World, task: &Task) -> Option<ProbeTarget> {
    let spec = spec_of(world, task)?;
    let service = spec.as_service()?;
    Some(ProbeTarget {
        task: task.id.clone(),
        checks: service.checks.clone(),
        ports: task.ports.clone(),
        first_port: service.ports.first().map(|port| port.name.clone()),
        template: service.template.clone(),
    })
}

/// What a command in a task is run with.
pub(super) fn exec_target(world: &World, task: &Task) -> Option<ExecTarget> {
    let spec = spec_of(world, task)?;
    let template = crate::scheduling::launching::template(world, task)?;
    Some(ExecTarget { task: task.id.clone(), template, first_port: port_names(spec).into_iter().next() })
}
