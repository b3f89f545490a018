//! What `loadline top` shows, as text. In: the engine's answers, a sorting and the size of the screen.
//! Out: lines. It draws nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use crate::api::dto::{NodeDto, TaskDto};
use crate::cli::output::{BAD, DIM, GOOD, WARN, cores, memory, or_dash, paint, plain};

/// Characters of a bar.
const BAR_WIDTH: usize = 10;
/// Use over these shares of the request wants a look.
const SHARE_HIGH: f64 = 0.8;
const SHARE_OVER: f64 = 1.0;

/// What rows are sorted by, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SortBy {
    /// Cores in use.
    Cpu,
    /// Bytes in use.
    Memory,
}

/// How a screen is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// The largest first, of what.
    pub(super) by: SortBy,
    /// A row a task instead of a row a workload.
    pub(super) tasks: bool,
    /// Rows at most.
    pub(super) rows: usize,
    /// Characters of a line at most.
    pub(super) width: usize,
}

/// One row: a task, or all tasks of a workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Row {
    /// Whose.
    pub(super) name: String,
    /// Tasks behind it that hold resources.
    pub(super) tasks: u32,
    /// Cores in use; absent where nothing was sampled yet.
    pub(super) cpu_used: Option<f64>,
    /// Cores requested.
    pub(super) cpu_requested: f64,
    /// Bytes in use; absent where nothing was sampled yet.
    pub(super) memory_used: Option<u64>,
    /// Bytes requested.
    pub(super) memory_requested: u64,
}

impl Row {
    fn add(&mut self, task: &TaskDto) {
        self.tasks += 1;
        self.cpu_used = sum(self.cpu_used, task.cpu_used);
        self.cpu_requested += task.size.cpu_request;
        self.memory_used = sum(self.memory_used, task.memory_used);
        self.memory_requested += task.size.memory_request;
    }
}

fn sum<T: std::ops::Add<Output = T>>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

/// The rows, the largest first; equal ones by name.
pub(super) fn rows(tasks: &[TaskDto], shape: Shape) -> Vec<Row> {
    let mut found: BTreeMap<&str, Row> = BTreeMap::new();
    // A task without a node uses nothing and holds nothing.
    for task in tasks.iter().filter(|task| task.node.is_some()) {
        let name = if shape.tasks { &task.id } else { &task.workload };
        let row = found.entry(name).or_insert_with(|| Row { name: name.clone(), ..Row::default() });
        row.add(task);
    }
    let mut rows: Vec<Row> = found.into_values().collect();
    match shape.by {
        SortBy::Cpu => rows.sort_by(|a, b| b.cpu_used.unwrap_or(0.0).total_cmp(&a.cpu_used.unwrap_or(0.0))),
        SortBy::Memory => rows.sort_by_key(|row| Reverse(row.memory_used)),
    }
    rows
}

/// The whole screen.
pub(super) fn screen(nodes: &[NodeDto], tasks: &[TaskDto], shape: Shape) -> Vec<String> {
    let rows = rows(tasks, shape);
    let mut lines = head(nodes);
    lines.push(String::new());
    let widest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).clamp(8, 40);
    let what = if shape.tasks { "TASK" } else { "WORKLOAD" };
    let mark = |by: SortBy, text: &str| format!("{text}{}", if by == shape.by { "*" } else { "" });
    lines.push(fit(
        &format!(
            "{what:widest$} {:>5}  {:33}  {:33}",
            "TASKS",
            mark(SortBy::Cpu, "CPU USED OF REQUESTED"),
            mark(SortBy::Memory, "MEMORY USED OF REQUESTED")
        ),
        shape.width,
    ));
    let shown = shape.rows.saturating_sub(lines.len()).max(1);
    let fits = if rows.len() > shown { shown.saturating_sub(1).max(1) } else { rows.len() };
    lines.extend(rows.iter().take(fits).map(|row| line(row, widest, shape.width)));
    if rows.is_empty() {
        lines.push("no task runs".to_owned());
    } else if rows.len() > fits {
        lines.push(paint(DIM, &format!("and {} more", rows.len() - fits)));
    }
    lines
}

fn head(nodes: &[NodeDto]) -> Vec<String> {
    let total = |of: fn(&NodeDto) -> f64| nodes.iter().map(of).sum::<f64>();
    let bytes = |of: fn(&NodeDto) -> u64| memory(nodes.iter().map(of).sum());
    vec![
        format!(
            "cpu     {} used, {} requested, {} on {} nodes",
            cores(total(|node| node.cpu_used)),
            cores(total(|node| node.cpu_requested)),
            cores(total(|node| node.cpu)),
            nodes.len()
        ),
        format!(
            "memory  {} used, {} requested, {}",
            bytes(|node| node.memory_used),
            bytes(|node| node.memory_requested),
            bytes(|node| node.memory)
        ),
    ]
}

fn line(row: &Row, widest: usize, width: usize) -> String {
    let name = fit(&plain(&row.name), widest);
    let share =
        |used: Option<f64>, requested: f64| used.filter(|_| requested > 0.0).map(|used| used / requested);
    let (cpu, held) = (
        share(row.cpu_used, row.cpu_requested),
        share(row.memory_used.map(|bytes| bytes as f64), row.memory_requested as f64),
    );
    let amounts = |used: String, requested: String| format!("{used} of {requested}");
    let texts = [
        (cpu, amounts(or_dash(row.cpu_used, cores), cores(row.cpu_requested))),
        (held, amounts(or_dash(row.memory_used, memory), memory(row.memory_requested))),
    ];
    let mut line = format!("{name:widest$} {:>5}", row.tasks);
    let mut left = width.saturating_sub(line.chars().count());
    for (share, text) in texts {
        let cell = format!("  {} {text:22}", "#".repeat(BAR_WIDTH));
        if cell.trim_end().chars().count() > left {
            break;
        }
        left = left.saturating_sub(cell.chars().count());
        let _ = write!(line, "  {} {text:22}", bar(share));
    }
    line.trim_end().to_owned()
}

/// A bar as full as the request is used.
fn bar(share: Option<f64>) -> String {
    let Some(share) = share else { return " ".repeat(BAR_WIDTH) };
    let full = ((share * BAR_WIDTH as f64).round() as usize).min(BAR_WIDTH);
    let style = if share > SHARE_OVER {
        BAD
    } else if share > SHARE_HIGH {
        WARN
    } else {
        GOOD
    };
    format!("{}{}", paint(style, &"#".repeat(full)), paint(DIM, &".".repeat(BAR_WIDTH - full)))
}

fn fit(text: &str, width: usize) -> String {
    text.chars().take(width).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::dto::SizeDto;
    use crate::domain::task::TaskState;

    fn task(workload: &str, number: u32, cpu_used: Option<f64>, memory_used: Option<u64>) -> TaskDto {
        TaskDto {
            id: format!("{workload}.{number}"),
            workload: workload.to_owned(),
            revision: 1,
            state: TaskState::Running,
            reason: String::new(),
            node: Some("n-1".to_owned()),
            pid: None,
            health: None,
            size: SizeDto {
                cpu_request: 0.5,
                memory_request: 64 << 20,
                cpu_limit: None,
                memory_limit: 64 << 20,
            },
            cpu_used,
            throttled_share: None,
            memory_used,
            page_cache: None,
            ports: BTreeMap::new(),
            created_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            state_since: Timestamp::UNIX_EPOCH,
            exit: None,
            waiting: Vec::new(),
        }
    }

    fn tasks() -> Vec<TaskDto> {
        let waits = TaskDto { node: None, ..task("waits", 1, None, None) };
        let (web, db) = (task("web", 1, Some(0.4), Some(8 << 20)), task("db", 1, Some(0.6), Some(96 << 20)));
        vec![web, task("web", 2, Some(0.3), Some(8 << 20)), db, task("new", 1, None, None), waits]
    }

    const SHAPE: Shape = Shape { by: SortBy::Cpu, tasks: false, rows: 20, width: 120 };

    fn names(shape: Shape) -> Vec<String> {
        rows(&tasks(), shape).into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn the_largest_come_first() {
        assert_eq!(names(SHAPE), ["web", "db", "new"]);
        assert_eq!(names(Shape { by: SortBy::Memory, ..SHAPE }), ["db", "web", "new"]);
        assert_eq!(names(Shape { tasks: true, ..SHAPE }), ["db.1", "web.1", "web.2", "new.1"]);
        let web = &rows(&tasks(), SHAPE)[0];
        assert_eq!((web.tasks, web.cpu_requested, web.memory_used), (2, 1.0, Some(16 << 20)));
    }

    #[test]
    fn a_screen_is_no_larger_than_it_may_be() {
        let shape = Shape { rows: 5, width: 60, tasks: true, ..SHAPE };
        let lines = screen(&[], &tasks(), shape);
        let plain: Vec<String> =
            lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert!(plain.len() <= 6 && plain.iter().all(|line| line.chars().count() <= 60), "{plain:#?}");
        assert!(plain.last().is_some_and(|line| line.starts_with("and ")), "{plain:#?}");
        assert!(plain.iter().any(|line| line == "db.1         1  ########## 0.600 of 0.500"), "{plain:#?}");
    }
}
