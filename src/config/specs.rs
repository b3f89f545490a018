//! Reads specs: all tables of all files, then what they say of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use toml::de::DeValue;

use crate::config::crosscheck::{Targets, check};
use crate::config::error::SpecError;
use crate::config::pool::{policy, pool, pool_name, quota, team};
use crate::config::reader::{Document, Place, Report, Table, describe};
use crate::config::source::{Source, read_files};
use crate::config::task::Uses;
use crate::config::values::key_name;
use crate::config::workload::{cron_job, job, service};
use crate::domain::intent::Declared;
use crate::domain::node::{PoolName, PoolSpec};
use crate::domain::policy::{Policy, PolicyName};
use crate::domain::quota::Quota;
use crate::domain::workload::{WorkloadName, WorkloadSpec};

/// What was declared earlier: specs may refer to it as to what they declare themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// Policies.
    pub policies: BTreeSet<PolicyName>,
    /// Node pools.
    pub pools: BTreeMap<PoolName, PoolSpec>,
}

/// Reads specs from files and folders (the `*.toml` files of a folder by name, not of folders in it).
/// Relative paths in a spec are relative to its file's folder. The errors are those of all files.
pub fn load_specs(paths: &[PathBuf]) -> Result<Declared, Vec<SpecError>> {
    read_specs(&read_files(paths)?, &Known::default())
}

/// Reads specs from texts, each with the name of its file. Relative paths in a spec are relative to its
/// file's folder if that name is an absolute path, and an error otherwise.
pub fn parse_specs(sources: &[(String, String)]) -> Result<Declared, Vec<SpecError>> {
    parse_specs_with(sources, &Known::default())
}

/// As `parse_specs`, for specs that may refer to what was declared earlier.
pub fn parse_specs_with(sources: &[(String, String)], known: &Known) -> Result<Declared, Vec<SpecError>> {
    let sources: Vec<_> = sources.iter().map(|(file, text)| Source::named(file, text)).collect();
    read_specs(&sources, known)
}

/// What is declared under one kind of name, and where. A refused declaration has its name only.
type Named<N, T> = BTreeMap<N, (Option<T>, Place)>;

/// What was read so far.
#[derive(Default)]
struct Reading {
    workloads: Named<WorkloadName, WorkloadSpec>,
    pools: Named<PoolName, PoolSpec>,
    policies: Named<PolicyName, Policy>,
    quotas: Named<String, Quota>,
    uses: Uses,
}

fn read_specs(sources: &[Source], known: &Known) -> Result<Declared, Vec<SpecError>> {
    let report = Report::default();
    let mut reading = Reading::default();
    for index in 0..sources.len() {
        Document::read(&report, sources, index, |root| reading.read(root, sources, &report));
    }
    let policies = reading.policies.keys().chain(&known.policies).collect();
    let pools = reading.pools.iter().filter_map(|(name, (pool, _))| Some((name, pool.as_ref()?)));
    let targets = Targets {
        policies,
        // What is declared anew stands in for what was declared earlier.
        pools: known.pools.iter().chain(pools).collect(),
        pools_refused: reading.pools.values().any(|(pool, _)| pool.is_none()),
    };
    check(&reading.uses, &targets, sources, &report);
    let errors = report.into_errors(sources);
    if errors.is_empty() { Ok(reading.into_specs()) } else { Err(errors) }
}

impl Reading {
    fn read(&mut self, root: &Table<'_>, sources: &[Source], report: &Report) {
        let Self { workloads, pools, policies, quotas, uses } = self;
        let context = Context { sources, report };
        context.each(root, "service", WorkloadName::new, workloads, |table| {
            Some(WorkloadSpec::Service(Box::new(service(table, uses))))
        });
        context.each(root, "cron", WorkloadName::new, workloads, |table| {
            cron_job(table, uses).map(|spec| WorkloadSpec::CronJob(Box::new(spec)))
        });
        context.each(root, "job", WorkloadName::new, workloads, |table| {
            Some(WorkloadSpec::Job(Box::new(job(table, uses))))
        });
        context.each(root, "pool", pool_name, pools, pool);
        context.each(root, "policy", PolicyName::new, policies, |table| Some(policy(table)));
        context.each(root, "quota", team, quotas, |table| Some(quota(table)));
    }

    fn into_specs(self) -> Declared {
        Declared {
            workloads: declared(self.workloads),
            pools: declared(self.pools),
            policies: declared(self.policies),
            quotas: declared(self.quotas),
        }
    }
}

fn declared<N: Ord, T>(declared: Named<N, T>) -> BTreeMap<N, T> {
    declared.into_iter().filter_map(|(name, (spec, _))| Some((name, spec?))).collect()
}

/// What is needed to report a name that is taken.
struct Context<'a> {
    sources: &'a [Source],
    report: &'a Report,
}

impl Context<'_> {
    /// Reads each `[KEY.NAME]`.
    fn each<'t, N: Ord + std::fmt::Display, T>(
        &self,
        root: &Table<'t>,
        key: &'static str,
        make: impl Fn(&str) -> Result<N, &'static str>,
        declared: &mut Named<N, T>,
        mut read: impl FnMut(&Table<'t>) -> Option<T>,
    ) {
        let Some(group) = root.get(key) else { return };
        let Some(entries) = group.entries(&format!("tables such as [{key}.NAME]")) else { return };
        for (name, value) in entries {
            if !matches!(value.get(), DeValue::Table(_)) {
                name.refuse::<()>(&format!("a table with a name of its own, [{key}.NAME]"), None);
                continue;
            }
            let spec = value.table(format!("{key}.{}", name.text), name.at, &mut read).flatten();
            let Some(valid) = key_name(&name, &make) else { continue };
            if let Some((_, other)) = declared.get(&valid) {
                // Kinds are read one after the other; the one that stands later is the second.
                let (first, second) = (name.at.min(*other), name.at.max(*other));
                let expected = format!("a name that is not taken, see {}", describe(first, self.sources));
                self.report.disagreement(second, format!("a second `{valid}`"), expected, None);
            } else {
                declared.insert(valid, (spec, name.at));
            }
        }
    }
}
