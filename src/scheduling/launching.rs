//! What a task is started with: the template of its revision, with what its run has other than that, and
//! what it may want to know of itself. In: the world, a task. Out: a template.

use crate::domain::intent::RunOverrides;
use crate::domain::task::Task;
use crate::domain::workload::{EnvValue, TaskTemplate};
use crate::domain::world::{Run, World};
use crate::scheduling::placing::template_of;

/// Variables that tasks of runs get; specs and overrides may not set names that begin like them.
pub const RESERVED_PREFIX: &str = "LOADLINE_";

/// The template that a task is started with; none where its workload is gone.
pub fn template(world: &World, task: &Task) -> Option<TaskTemplate> {
    let mut template = template_of(world.workloads.get(task.workload())?, task).clone();
    if let Some(key) = task.run() {
        let run = world.runs.get(&key);
        if let Some(run) = run {
            override_with(&mut template, &run.order.overrides, task);
        }
        let count = run.map_or(1, |run: &Run| run.count);
        let mut tell = |name: &str, value: String| {
            template.env.insert(format!("{RESERVED_PREFIX}{name}"), EnvValue::Plain(value));
        };
        tell("RUN", key.at.to_string());
        tell("ATTEMPT", task.attempt().to_string());
        tell("INDEX", task.index().to_string());
        tell("COUNT", count.to_string());
    }
    Some(template)
}

fn override_with(template: &mut TaskTemplate, overrides: &RunOverrides, task: &Task) {
    if let Some(args) = &overrides.args {
        // A text that the shell runs finds them as $1, $2 and so on.
        let shell = template.command.len() == 3
            && template.command[1] == "-c"
            && template.command[0].rsplit('/').next() == Some("sh");
        if shell {
            template.command.push(task.workload().to_string());
        } else {
            template.command.truncate(1);
        }
        template.command.extend(args.iter().cloned());
    }
    template.env.extend(overrides.env.iter().map(|(name, value)| (name.clone(), value.clone())));
}
