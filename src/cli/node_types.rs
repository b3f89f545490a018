//! `loadline node-types`: kinds of machines that can be had, from the list that the binary carries or an owner's.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::exit::{Exit, ended};
use crate::cli::output::{Output, cores, memory, or_dash, say, say_json, say_table, table};
use crate::config::{GPU, parse_node_types, read_node_types, render_errors, shipped_node_types};
use crate::domain::node_type::{NodeType, Overhead, Purchase};
use crate::domain::quantity::{Bytes, Millicores, Share};

/// `loadline node-types`
#[derive(Debug, Args)]
pub(super) struct NodeTypesArgs {
    /// An own list, TOML like config/node-types.toml or a CSV price list. Default: the one in the binary.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    filter: TypeFilter,
    #[command(flatten)]
    overhead: OverheadArgs,
}

/// Which types are looked at.
#[derive(Debug, Args)]
pub(super) struct TypeFilter {
    /// Types of this provider only: ec2, gce, azure, or a word of an own list.
    #[arg(long)]
    provider: Option<String>,
    /// Types with this instruction set only, such as amd64.
    #[arg(long)]
    arch: Option<String>,
    /// Types with at least so many cores only.
    #[arg(long, value_name = "CORES")]
    min_cpu: Option<f64>,
    /// Types with at most so many cores only.
    #[arg(long, value_name = "CORES")]
    max_cpu: Option<f64>,
    /// Types with at least so much memory only.
    #[arg(long, value_name = "SIZE")]
    min_memory: Option<Bytes>,
    /// Types with at most so much memory only.
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Bytes>,
    /// Types with GPUs only (true), or without (false).
    #[arg(long, action = ArgAction::Set)]
    gpu: Option<bool>,
    /// Spot nodes, too, where they have a price.
    #[arg(long)]
    spot: bool,
    /// Leave these families or types out: what stands before the dot or dash, such as t3.
    #[arg(long, value_name = "FAMILY", value_delimiter = ',')]
    exclude: Vec<String>,
}

/// What a machine keeps for its system, where a list does not say it: CSV.
#[derive(Debug, Clone, Copy, Args)]
#[expect(clippy::struct_field_names, reason = "the fields are the options' names")]
pub(super) struct OverheadArgs {
    /// Share of a machine's CPU that is not for tasks (CSV lists).
    #[arg(long, value_name = "SHARE", default_value_t = 0.03)]
    system_cpu_share: f64,
    /// And so many cores more.
    #[arg(long, value_name = "CORES", default_value_t = 0.1)]
    system_cpu: f64,
    /// Share of a machine's memory that is not for tasks (CSV lists).
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    system_memory_share: f64,
    /// And so much more.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    system_memory: Bytes,
}

impl OverheadArgs {
    fn overhead(self) -> Overhead {
        Overhead {
            cpu_share: Share::new(self.system_cpu_share),
            cpu: Millicores::from_cores(self.system_cpu),
            memory_share: Share::new(self.system_memory_share),
            memory: self.system_memory,
        }
    }
}

impl TypeFilter {
    fn keeps(&self, known: &NodeType) -> bool {
        let base = known.machine.base;
        let family = known.name.split(['.', '-']).next().unwrap_or_default();
        self.provider.as_ref().is_none_or(|provider| *provider == known.provider)
            && self.arch.as_ref().is_none_or(|arch| *arch == known.arch)
            && self.min_cpu.is_none_or(|least| base.cpu.cores() >= least)
            && self.max_cpu.is_none_or(|most| base.cpu.cores() <= most)
            && self.min_memory.is_none_or(|least| base.memory >= least)
            && self.max_memory.is_none_or(|most| base.memory <= most)
            && self.gpu.is_none_or(|gpu| gpu == known.machine.extra.contains_key(GPU))
            && (self.spot || known.purchase == Purchase::OnDemand)
            && !self.exclude.iter().any(|name| name == family || *name == known.name)
    }
}

/// The types of a list that a filter keeps, the cheapest first.
pub(super) fn load(
    file: Option<&Path>,
    filter: &TypeFilter,
    overhead: OverheadArgs,
) -> anyhow::Result<Vec<NodeType>> {
    let lines = |errors: Vec<crate::config::SpecError>| anyhow!("{}", render_errors(&errors).trim_end());
    let all = match file {
        None => shipped_node_types().map_err(lines)?,
        Some(path) if path.extension().is_some_and(|ext| ext == "csv") => {
            read_node_types(path, overhead.overhead())?
        }
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
            parse_node_types(&name, &text).map_err(lines)?
        }
    };
    let mut types: Vec<NodeType> = all.into_iter().filter(|known| filter.keeps(known)).collect();
    if types.is_empty() {
        return Err(ended(
            Exit::BadInput,
            "no node type is left: give fewer of --provider, --arch, --min-cpu, ...",
        ));
    }
    types.sort_by(|a, b| a.price_per_hour.cmp(&b.price_per_hour).then_with(|| a.name.cmp(&b.name)));
    Ok(types)
}

/// What programs read.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    node_type: &'a NodeType,
    allocatable: crate::domain::node_type::Capacity,
}

pub(super) fn run(output: Output, args: &NodeTypesArgs) -> anyhow::Result<()> {
    let types = load(args.file.as_deref(), &args.filter, args.overhead)?;
    if output == Output::Json {
        let listed = types.iter().map(|known| Listed { node_type: known, allocatable: known.allocatable() });
        return say_json(&listed.collect::<Vec<_>>());
    }
    let mut rows = table(&[
        "type",
        "provider",
        "region",
        "arch",
        "cpu",
        "memory",
        "gpu",
        "for tasks",
        "paid",
        "per hour",
    ]);
    for known in &types {
        let (base, left) = (known.machine.base, known.allocatable().base);
        rows.add_row([
            known.name.clone(),
            known.provider.clone(),
            known.zone.clone().unwrap_or_else(|| known.region.clone()),
            known.arch.clone(),
            cores(base.cpu.cores()),
            memory(base.memory.get()),
            or_dash(known.machine.extra.get(GPU), ToString::to_string),
            format!("{}, {}", cores(left.cpu.cores()), memory(left.memory.get())),
            known.purchase.as_str().to_owned(),
            format!("{:.4}", known.price_per_hour.units()),
        ]);
    }
    say_table(&rows)?;
    Ok(say(&format!("{} types", types.len()))?)
}
