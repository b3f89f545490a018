//! In: what is declared, before and after. Out: what is other, a line a field, for people. Secrets are
//! references, and even those are not shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::api::answers::DiffDto;
use crate::domain::intent::Declared;
use crate::domain::workload::WorkloadSpec;
use crate::domain::world::World;

/// What specs would change of the world.
pub(super) fn declared(world: &World, declared: &Declared) -> Vec<DiffDto> {
    let mut diffs = Vec::new();
    for (name, rules) in &declared.policies {
        add(&mut diffs, "policy", name, lines(world.policies.get(name), rules));
    }
    for (name, spec) in &declared.pools {
        let present = world.pools.get(name).filter(|pool| !pool.deleted).map(|pool| &pool.spec);
        add(&mut diffs, "pool", name, lines(present, spec));
    }
    for (team, quota) in &declared.quotas {
        add(&mut diffs, "quota", team, lines(world.quotas.get(team), quota));
    }
    for (name, spec) in &declared.workloads {
        let present = world.workloads.get(name).filter(|found| !found.deleted).map(|found| &found.spec);
        add(&mut diffs, &spec.kind().to_string(), name, specs(present, spec));
    }
    diffs
}

fn add(diffs: &mut Vec<DiffDto>, kind: &str, name: &impl ToString, lines: Vec<String>) {
    if !lines.is_empty() {
        diffs.push(DiffDto { kind: kind.to_owned(), workload: name.to_string(), lines });
    }
}

/// What is other in a workload's next spec.
pub(super) fn specs(before: Option<&WorkloadSpec>, after: &WorkloadSpec) -> Vec<String> {
    let mut lines = lines(before, after);
    // A spec is written as `{"service": {...}}`: the kind stands beside the lines already.
    for line in &mut lines {
        for kind in ["service.", "cron_job.", "job."] {
            if let Some(rest) = line.strip_prefix(kind) {
                *line = rest.to_owned();
                break;
            }
        }
    }
    lines
}

fn lines<T: Serialize>(before: Option<&T>, after: &T) -> Vec<String> {
    let fields = |value: Option<&T>| {
        let mut found = BTreeMap::new();
        if let Some(Ok(value)) = value.map(serde_json::to_value) {
            flatten(String::new(), &value, &mut found);
        }
        found
    };
    let (old, new) = (fields(before), fields(Some(after)));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter_map(|key| match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) => Some(format!("{key}: {} -> {}", old.shown(), new.shown())),
            (None, Some(new)) => Some(format!("{key}: {}", new.shown())),
            (Some(old), None) => Some(format!("{key}: {} -> none", old.shown())),
            (None, None) => None,
        })
        .collect()
}

/// The value of a field.
#[derive(PartialEq)]
enum Field {
    Plain(String),
    Secret(String),
}

impl Field {
    fn shown(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(_) => "(secret)",
        }
    }
}

/// Notes each leaf under its path. What is absent is no field.
fn flatten(path: String, value: &Value, found: &mut BTreeMap<String, Field>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            if let (1, Some(reference)) = (fields.len(), fields.get("secret")) {
                found.insert(path, Field::Secret(reference.to_string()));
                return;
            }
            if let (1, Some(plain)) = (fields.len(), fields.get("plain")) {
                return flatten(path, plain, found);
            }
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(path, value, found);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (at, item) in items.iter().enumerate() {
                flatten(format!("{path}[{at}]"), item, found);
            }
        }
        Value::String(text) => {
            found.insert(path, Field::Plain(text.clone()));
        }
        other => {
            found.insert(path, Field::Plain(other.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_specs;

    fn spec(text: &str) -> Declared {
        parse_specs(&[("web.toml".to_owned(), text.to_owned())]).expect("a spec")
    }

    #[test]
    fn a_diff_names_the_fields_that_differ_and_no_secret() {
        let old = spec(
            "[service.web]\ncommand = \"x\"\ninstances = 2\n\
             env = { A = \"1\", KEY = { secret_env = \"FIRST\" } }\n",
        );
        let new = spec(
            "[service.web]\ncommand = \"x\"\ninstances = 3\n\
             env = { A = \"1\", B = \"2\", KEY = { secret_env = \"SECOND\" } }\n",
        );
        let (old, new) = (old.workloads.values().next(), new.workloads.values().next().expect("a spec"));
        let lines = specs(old, new);
        assert_eq!(
            lines,
            ["instances: 2 -> 3", "template.env.B: 2", "template.env.KEY: (secret) -> (secret)",]
        );
        assert!(specs(Some(new), new).is_empty());
        let created = specs(None, new).join("\n");
        assert!(created.contains("instances: 3") && !created.contains("SECOND"), "{created}");
    }
}
