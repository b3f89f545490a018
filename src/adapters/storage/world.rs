//! The world's rows: what plans are made from, each thing in a row of its own.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::columns::{body, count, instant, read_body};
use super::fault::Fault;
use crate::domain::action::Action;
use crate::domain::change::{Change, RecordedChange};
use crate::domain::node::{Node, NodeName, NodePool};
use crate::domain::policy::{Policy, PolicyName};
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{EntityKey, Run, RunKey, Workload, World};

/// The document of the policy that sizes come from: there is one, so it has no table.
const SIZE_POLICY: &str = "size policy";

/// The world as the rows tell it.
pub(super) fn load(connection: &Connection) -> Result<World, Fault> {
    let mut world = World::default();
    for workload in bodies::<Workload>(connection, "SELECT body FROM workload")? {
        world.workloads.insert(workload.name.clone(), workload);
    }
    for task in bodies::<Task>(connection, "SELECT body FROM task WHERE in_world = 1")? {
        world.tasks.insert(task.id.clone(), task);
    }
    for run in bodies::<Run>(connection, "SELECT body FROM run WHERE in_world = 1")? {
        world.runs.insert(run.key.clone(), run);
    }
    for node in bodies::<Node>(connection, "SELECT body FROM node")? {
        world.nodes.insert(node.name.clone(), node);
    }
    for pool in bodies::<NodePool>(connection, "SELECT body FROM pool")? {
        world.pools.insert(pool.name.clone(), pool);
    }
    let mut policies = connection.prepare_cached("SELECT name, body FROM policy")?;
    let mut rows = policies.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let name =
            PolicyName::new(&name).map_err(|rule| Fault::Content(format!("policy `{name}`: {rule}")))?;
        world.policies.insert(name, read_body(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    for action in bodies::<Action>(connection, "SELECT body FROM action")? {
        world.actions.insert(action.key.clone(), action);
    }
    let mut quotas = connection.prepare_cached("SELECT team, body FROM quota")?;
    let mut rows = quotas.query([])?;
    while let Some(row) = rows.next()? {
        let quota = read_body(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        world.quotas.insert(row.get(0)?, quota);
    }
    let query = "SELECT CAST(content AS TEXT) FROM document WHERE name = ?1";
    let chosen: Option<String> =
        connection.prepare_cached(query)?.query_row([SIZE_POLICY], |row| row.get(0)).optional()?;
    world.size_policy = chosen.map(|text| read_body(&text)).transpose()?;
    Ok(world)
}

/// The values in the first column of a query's rows.
fn bodies<T: DeserializeOwned>(connection: &Connection, query: &str) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_body(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(found)
}

/// Writes the row of `key` as it stands in `world`. `changes` are those of the same commit: a task or run
/// that ended and left the world in one step gets its end from them.
pub(super) fn write(
    transaction: &Transaction<'_>,
    world: &World,
    key: &EntityKey,
    changes: &[RecordedChange],
) -> Result<(), Fault> {
    match key {
        EntityKey::Workload(name) => match world.workloads.get(name) {
            Some(workload) => write_workload(transaction, workload),
            None => delete(transaction, "DELETE FROM workload WHERE name = ?1", name.as_str()),
        },
        EntityKey::Node(name) => match world.nodes.get(name) {
            Some(node) => write_node(transaction, node),
            None => delete(transaction, "DELETE FROM node WHERE name = ?1", name.as_str()),
        },
        EntityKey::Pool(name) => match world.pools.get(name) {
            Some(pool) => write_pool(transaction, pool),
            None => delete(transaction, "DELETE FROM pool WHERE name = ?1", name.as_str()),
        },
        EntityKey::Policy(name) => match world.policies.get(name) {
            Some(policy) => write_policy(transaction, name, policy),
            None => delete(transaction, "DELETE FROM policy WHERE name = ?1", name.as_str()),
        },
        EntityKey::Action(key) => match world.actions.get(key) {
            Some(action) => {
                let statement = "INSERT OR REPLACE INTO action (key, body) VALUES (?1, ?2)";
                write_body(transaction, statement, &key.to_string(), action)
            }
            None => delete(transaction, "DELETE FROM action WHERE key = ?1", &key.to_string()),
        },
        EntityKey::Quota(team) => match world.quotas.get(team) {
            Some(quota) => {
                let statement = "INSERT OR REPLACE INTO quota (team, body) VALUES (?1, ?2)";
                write_body(transaction, statement, team, quota)
            }
            None => delete(transaction, "DELETE FROM quota WHERE team = ?1", team),
        },
        EntityKey::SizePolicy => match &world.size_policy {
            Some(choice) => {
                let statement = "INSERT OR REPLACE INTO document (name, content) VALUES (?1, ?2)";
                let content = body(choice)?.into_bytes();
                transaction.prepare_cached(statement)?.execute(params![SIZE_POLICY, content])?;
                Ok(())
            }
            None => delete(transaction, "DELETE FROM document WHERE name = ?1", SIZE_POLICY),
        },
        EntityKey::Task(id) => match world.tasks.get(id) {
            Some(task) => write_task(transaction, task, true),
            None => retire_task(transaction, id, changes),
        },
        EntityKey::Run(key) => match world.runs.get(key) {
            Some(run) => write_run(transaction, run, true),
            None => retire_run(transaction, key, changes),
        },
    }
}

fn delete(transaction: &Transaction<'_>, statement: &str, name: &str) -> Result<(), Fault> {
    transaction.prepare_cached(statement)?.execute([name])?;
    Ok(())
}

fn write_body<T: Serialize>(
    transaction: &Transaction<'_>,
    statement: &str,
    key: &str,
    value: &T,
) -> Result<(), Fault> {
    transaction.prepare_cached(statement)?.execute(params![key, body(value)?])?;
    Ok(())
}

fn write_workload(transaction: &Transaction<'_>, workload: &Workload) -> Result<(), Fault> {
    let statement = "INSERT OR REPLACE INTO workload (name, kind, revision, count, deleted, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare_cached(statement)?.execute(params![
        workload.name.as_str(),
        workload.spec.kind().to_string(),
        count(workload.revision),
        workload.count,
        workload.deleted,
        body(workload)?,
    ])?;
    Ok(())
}

fn write_node(transaction: &Transaction<'_>, node: &Node) -> Result<(), Fault> {
    let statement = "INSERT OR REPLACE INTO node (name, pool, state, reason, created_at, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare_cached(statement)?.execute(params![
        node.name.as_str(),
        node.pool.as_str(),
        node.state.as_str(),
        node.reason,
        instant(node.created_at),
        body(node)?,
    ])?;
    Ok(())
}

fn write_pool(transaction: &Transaction<'_>, pool: &NodePool) -> Result<(), Fault> {
    let statement = "INSERT OR REPLACE INTO pool (name, target, minimum, maximum, body)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    transaction.prepare_cached(statement)?.execute(params![
        pool.name.as_str(),
        pool.target,
        pool.spec.min,
        pool.spec.max,
        body(pool)?,
    ])?;
    Ok(())
}

fn write_policy(transaction: &Transaction<'_>, name: &PolicyName, policy: &Policy) -> Result<(), Fault> {
    let statement = "INSERT OR REPLACE INTO policy (name, size_mode, count_mode, body)
        VALUES (?1, ?2, ?3, ?4)";
    transaction.prepare_cached(statement)?.execute(params![
        name.as_str(),
        policy.size.as_str(),
        policy.count.as_str(),
        body(policy)?,
    ])?;
    Ok(())
}

fn write_task(transaction: &Transaction<'_>, task: &Task, in_world: bool) -> Result<(), Fault> {
    let ended_at = match &task.exit {
        Some(exit) => Some(exit.at),
        None => task.state.is_terminal().then_some(task.state_since),
    };
    let statement = "INSERT OR REPLACE INTO task
        (id, created_at, workload, state, reason, node, started_at, ended_at, in_world, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    transaction.prepare_cached(statement)?.execute(params![
        task.id.to_string(),
        instant(task.created_at),
        task.workload().as_str(),
        task.state.as_str(),
        task.reason,
        task.node.as_ref().map(NodeName::as_str),
        task.started_at.map(instant),
        ended_at.map(instant),
        in_world,
        body(task)?,
    ])?;
    Ok(())
}

fn write_run(transaction: &Transaction<'_>, run: &Run, in_world: bool) -> Result<(), Fault> {
    let statement = "INSERT OR REPLACE INTO run
        (at, workload, manual, outcome, started_at, ended_at, in_world, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    transaction.prepare_cached(statement)?.execute(params![
        instant(run.key.at),
        run.key.workload.as_str(),
        run.manual,
        run.outcome.as_str(),
        run.started_at.map(instant),
        run.ended_at.map(instant),
        in_world,
        body(run)?,
    ])?;
    Ok(())
}

/// Makes a task history. Its row is as the last commit left it; what this commit says of its end is added.
fn retire_task(transaction: &Transaction<'_>, id: &TaskId, changes: &[RecordedChange]) -> Result<(), Fault> {
    let query = "SELECT body FROM task WHERE id = ?1 AND in_world = 1";
    let kept: Option<String> =
        transaction.prepare_cached(query)?.query_row([id.to_string()], |row| row.get(0)).optional()?;
    let mut task = kept.map(|text| read_body::<Task>(&text)).transpose()?;
    for recorded in changes {
        match (&recorded.change, &mut task) {
            (Change::TaskCreated { task: created }, _) if created.id == *id => {
                task = Some(Task::clone(created));
            }
            (Change::TaskMoved { task: moved, state, reason, exit }, Some(task)) if moved == id => {
                task.state = *state;
                task.reason.clone_from(reason);
                task.state_since = recorded.at;
                if exit.is_some() {
                    task.exit.clone_from(exit);
                }
            }
            _ => {}
        }
    }
    match task {
        Some(task) => write_task(transaction, &task, false),
        // Forgotten before, or never committed: there is nothing to keep.
        None => Ok(()),
    }
}

/// Makes a run history, like `retire_task`.
fn retire_run(transaction: &Transaction<'_>, key: &RunKey, changes: &[RecordedChange]) -> Result<(), Fault> {
    let query = "SELECT body FROM run WHERE at = ?1 AND workload = ?2 AND in_world = 1";
    let kept: Option<String> = transaction
        .prepare_cached(query)?
        .query_row([instant(key.at).as_str(), key.workload.as_str()], |row| row.get(0))
        .optional()?;
    let mut run = kept.map(|text| read_body::<Run>(&text)).transpose()?;
    for recorded in changes {
        match (&recorded.change, &mut run) {
            (Change::RunOpened { run: opened, manual, order }, None) if opened == key => {
                run = Some(Run::opened(key.clone(), *manual, (**order).clone(), 1));
            }
            (Change::RunClosed { run: closed, outcome }, Some(run)) if closed == key => {
                run.outcome = outcome.clone();
                run.ended_at = Some(recorded.at);
            }
            _ => {}
        }
    }
    match run {
        Some(run) => write_run(transaction, &run, false),
        None => Ok(()),
    }
}

/// The workload and the task that a change is about, for the columns that people search by.
pub(super) fn subject(change: &Change) -> (Option<WorkloadName>, Option<TaskId>) {
    match change.subjects().into_iter().next() {
        Some(EntityKey::Task(task)) => (Some(task.workload().clone()), Some(task)),
        Some(EntityKey::Run(run)) => (Some(run.workload), None),
        Some(EntityKey::Workload(workload)) => (Some(workload), None),
        Some(EntityKey::Action(key)) => (key.workload().cloned(), None),
        Some(
            EntityKey::Node(_)
            | EntityKey::Pool(_)
            | EntityKey::Policy(_)
            | EntityKey::Quota(_)
            | EntityKey::SizePolicy,
        )
        | None => (None, None),
    }
}
