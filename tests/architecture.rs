//! Holds the layer table: a module names only what its row allows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rows in layer order: a module, and the modules of ours that it may use. No row may name a later one.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("estimation", &["domain"]),
    ("forecasting", &["domain"]),
    ("placement", &["domain"]),
    ("scaling", &["domain", "estimation", "forecasting", "placement"]),
    ("scheduling", &["domain", "placement"]),
    ("accounting", &["domain"]),
    ("replay", &["domain", "estimation", "forecasting", "placement", "scaling", "scheduling", "accounting"]),
    ("simulation", &["domain", "estimation", "scaling", "scheduling", "replay"]),
    ("ports", &["domain"]),
    ("analytics", &["domain", "accounting", "replay", "ports"]),
    ("charts", &["forecasting", "replay", "simulation"]),
    ("backtests", &["domain", "estimation", "replay", "ports", "analytics", "charts"]),
    ("adapters", &["domain", "simulation", "ports"]),
    ("agent", &["domain", "ports"]),
    (
        "controllers",
        &["domain", "estimation", "forecasting", "placement", "scaling", "scheduling", "accounting", "ports"],
    ),
    (
        "config",
        &[
            "domain",
            "estimation",
            "placement",
            "scaling",
            "scheduling",
            "accounting",
            "simulation",
            "ports",
            "adapters",
            "agent",
            "controllers",
        ],
    ),
    ("api", &["domain", "accounting", "ports", "analytics", "config"]),
    ("web", &["domain", "accounting", "ports", "charts", "api"]),
    (
        "app",
        &[
            "domain",
            "estimation",
            "forecasting",
            "placement",
            "scaling",
            "scheduling",
            "accounting",
            "ports",
            "analytics",
            "backtests",
            "adapters",
            "agent",
            "controllers",
            "config",
            "api",
            "web",
        ],
    ),
    (
        "cli",
        &[
            "domain",
            "scaling",
            "accounting",
            "replay",
            "simulation",
            "analytics",
            "charts",
            "config",
            "api",
            "app",
        ],
    ),
];

/// What adapters share.
const SHARED: &str = "lock";

/// A file longer than this has a second idea in it.
const LINES_MAX: usize = 500;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// The module of layer level that a file belongs to; none for `lib.rs` and `main.rs`.
fn module_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("a source");
    let first = inside.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
    let name = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
    (name != "lib" && name != "main").then_some(name)
}

/// Every `crate::NAME` of a line of code.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, found)| {
        let rest = &line[at + found.len()..];
        &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())]
    })
}

#[test]
fn the_table_names_no_later_row() {
    for (row, (module, uses)) in MAY_USE.iter().enumerate() {
        for used in *uses {
            let at = MAY_USE.iter().position(|(name, _)| name == used);
            assert!(at.is_some_and(|at| at < row), "{module} may use {used}, which is not above it");
        }
    }
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for path in all_sources() {
        let Some(module) = module_of(&path) else { continue };
        seen.insert(module.clone());
        let Some((_, uses)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("{}: module {module} is not in the table", path.display()));
            continue;
        };
        for (number, line) in fs::read_to_string(&path).expect("a source").lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for name in named(line) {
                if name.is_empty() {
                    faults.push(format!(
                        "{}:{}: `use crate::{{..}}` hides names from this test",
                        path.display(),
                        number + 1
                    ));
                } else if name != module && !uses.contains(&name) {
                    faults.push(format!("{}:{}: {module} may not use {name}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    for (module, _) in MAY_USE {
        assert!(seen.contains(*module), "the table names {module}, which does not exist");
    }
}

#[test]
fn adapters_do_not_know_each_other() {
    let adapters = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/adapters");
    let mut faults = Vec::new();
    for path in all_sources() {
        let Ok(inside) = path.strip_prefix(&adapters) else { continue };
        let own = inside.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
        let own = own.trim_end_matches(".rs");
        for (number, line) in fs::read_to_string(&path).expect("a source").lines().enumerate() {
            if let Some((_, rest)) = line.split_once("crate::adapters::") {
                let other =
                    &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())];
                if other != own && own != "mod" && other != SHARED {
                    faults.push(format!("{}:{}: {own} uses {other}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn each_file_says_what_it_is_and_has_one_idea() {
    let mut faults = Vec::new();
    for path in all_sources() {
        let text = fs::read_to_string(&path).expect("a source");
        if !text.starts_with("//!") {
            faults.push(format!("{}: the first line does not say what the file is", path.display()));
        }
        // Tests at the end of a file do not count: they are read apart from the code.
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} lines, at most {LINES_MAX}", path.display()));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
