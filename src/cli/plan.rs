//! `loadline plan`: which nodes, and how many of each type, cost least for these tasks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use serde::Serialize;

use crate::cli::node_types::{OverheadArgs, TypeFilter, load};
use crate::cli::output::{Output, say, say_json, say_table, table};
use crate::config::{read_duration, read_nodes, read_tasks};
use crate::domain::money::MicroCents;
use crate::domain::node::PoolName;
use crate::domain::node_type::{NodeType, Purchase};
use crate::domain::quantity::Share;
use crate::replay::packing::{
    ClusterPlan, Offer, Packer, PackingFigures, Place, Request, bound, figures, placed_only, plan,
};

/// The pool that nodes of a plan would belong to, for conditions that ask for one.
const POOL: &str = "new";
/// Tasks without a place that are named.
const NAMED_MAX: usize = 10;

/// `loadline plan`
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The tasks, CSV: name, count, cpu, memory and others (docs/cluster.md has all columns).
    #[arg(long, value_name = "FILE")]
    tasks: PathBuf,
    /// Node types that can be had, CSV or TOML. Default: the list in the binary; `none` buys nothing.
    #[arg(long, value_name = "FILE")]
    types: Option<PathBuf>,
    /// Nodes that are there, CSV: name, cpu, memory and others (docs/cluster.md has all columns).
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// Whose way of packing; can be given several times to compare.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "loadline")]
    policy: Vec<PolicyName>,
    /// Work out what any plan costs at least.
    #[arg(long)]
    bound: bool,
    /// How long to look for cheaper plans, and for a higher bound.
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = time)]
    time_limit: SignedDuration,
    /// Share of every node that is kept free.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    headroom: f64,
    /// At most this share of each workload's tasks goes to spot nodes.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    spot_share: f64,
    /// Leave types out that take longer to boot.
    #[arg(long, value_name = "TIME", value_parser = time)]
    within: Option<SignedDuration>,
    /// Look at CPU and memory only, whatever else tasks ask for.
    #[arg(long)]
    cpu_and_memory_only: bool,
    /// Chance of the search: the same seed gives the same plan where time does not run out.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    filter: TypeFilter,
    #[command(flatten)]
    overhead: OverheadArgs,
}

fn time(text: &str) -> Result<SignedDuration, String> {
    read_duration(text).ok_or_else(|| "a time such as 500ms, 10s or 5m".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PolicyName {
    /// Loadline's own.
    Loadline,
    /// First fit by CPU, then memory; the cheapest type that holds them.
    Karpenter,
    /// First fit by score, one group of nodes at a time, least waste.
    ClusterAutoscaler,
}

impl PolicyName {
    fn packer(self) -> Packer {
        match self {
            Self::Loadline => Packer::Loadline,
            Self::Karpenter => Packer::Karpenter,
            Self::ClusterAutoscaler => Packer::ClusterAutoscaler,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Loadline => "loadline",
            Self::Karpenter => "karpenter",
            Self::ClusterAutoscaler => "cluster-autoscaler",
        }
    }
}

/// What programs read.
#[derive(Serialize)]
struct Document {
    policy: &'static str,
    seconds: f64,
    figures: PackingFigures,
    /// New nodes by type.
    types: Vec<Bought>,
    nodes: Vec<NodeTasks>,
    unplaced: Vec<Left>,
}

#[derive(Serialize)]
struct Bought {
    name: String,
    nodes: u32,
    price_per_hour: MicroCents,
}

#[derive(Serialize)]
struct NodeTasks {
    /// The type of a new node, or the name of one that is there.
    node: String,
    new: bool,
    tasks: BTreeMap<String, u32>,
}

#[derive(Serialize)]
struct Left {
    name: String,
    count: u32,
    why: &'static str,
}

pub(super) fn run(output: Output, args: &PlanArgs) -> anyhow::Result<()> {
    let request = request(args)?;
    let limit = Duration::try_from(args.time_limit).unwrap_or_default();
    let mut documents = Vec::new();
    for policy in &args.policy {
        let start = Instant::now();
        let made = plan(&request, policy.packer(), args.seed, &mut || start.elapsed() < limit);
        let seconds = start.elapsed().as_secs_f64();
        let lowest = args.bound.then(|| {
            let (placed, start) = (placed_only(&request, &made), Instant::now());
            // A proof is worth more time than a plan: what has begun is brought to an end.
            bound(&placed, &mut || start.elapsed() < 10 * limit).best()
        });
        documents.push(document(&request, &made, *policy, seconds, lowest));
    }
    match output {
        Output::Json => say_json(&documents),
        Output::Table => documents.iter().try_for_each(|document| show(&request, document)),
    }
}

fn request(args: &PlanArgs) -> anyhow::Result<Request> {
    let mut tasks = read_tasks(&args.tasks)?;
    let nothing = args.types.as_ref().is_some_and(|path| path.as_os_str() == "none");
    let types = if nothing { Vec::new() } else { load(args.types.as_deref(), &args.filter, args.overhead)? };
    if args.cpu_and_memory_only {
        for group in &mut tasks {
            group.need.extra.clear();
        }
    }
    let pool = PoolName::new(POOL).map_err(anyhow::Error::msg)?;
    Ok(Request {
        nodes: args.nodes.as_deref().map(read_nodes).transpose()?.unwrap_or_default(),
        headroom: Share::new(args.headroom),
        spot_share: Share::new(args.spot_share),
        needed_within: args.within,
        ..Request::new(tasks, types.iter().map(|known| offer(known, &pool)).collect())
    })
}

fn offer(known: &NodeType, pool: &PoolName) -> Offer {
    let zone = known.zone.as_ref().map(|zone| format!(" {zone}")).unwrap_or_default();
    let spot = known.purchase == Purchase::Spot;
    Offer {
        name: format!("{}{zone}{}", known.name, if spot { " spot" } else { "" }),
        pool: pool.clone(),
        capacity: known.allocatable(),
        price: known.price_per_hour,
        attributes: known.attributes(),
        reserved_for: Vec::new(),
        spot,
        boot: known.boot_time,
        limit: None,
    }
}

fn document(
    request: &Request,
    plan: &ClusterPlan,
    policy: PolicyName,
    seconds: f64,
    lowest: Option<MicroCents>,
) -> Document {
    let types = plan.bought().into_iter().map(|(offer, nodes)| {
        let offer = &request.offers[offer];
        Bought { name: offer.name.clone(), nodes, price_per_hour: offer.price }
    });
    let name = |group: usize| request.tasks[group].workload.to_string();
    let nodes = plan.nodes.iter().map(|node| {
        let (called, new) = match node.place {
            Place::New(offer) => (request.offers[offer].name.clone(), true),
            Place::Existing(at) => (request.nodes[at].name.clone(), false),
        };
        let mut tasks = BTreeMap::new();
        node.tasks.iter().for_each(|&(group, count)| *tasks.entry(name(group)).or_default() += count);
        NodeTasks { node: called, new, tasks }
    });
    let left = plan.unplaced.iter().map(|left| Left {
        name: name(left.group),
        count: left.count,
        why: left.why.as_str(),
    });
    Document {
        policy: policy.word(),
        seconds,
        figures: figures(request, plan, lowest),
        types: types.collect(),
        nodes: nodes.collect(),
        unplaced: left.collect(),
    }
}

fn show(request: &Request, document: &Document) -> anyhow::Result<()> {
    let figures = &document.figures;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    say(&format!(
        "{}: {} of {} tasks placed, {} new nodes, {} per hour, {} CPU and {} memory of them requested, {:.2} s",
        document.policy,
        figures.placed,
        request.count(),
        figures.nodes,
        figures.price_per_hour,
        percent(figures.cpu_share),
        percent(figures.memory_share),
        document.seconds
    ))?;
    if figures.price_there > MicroCents::ZERO {
        say(&format!("nodes that are there: {} per hour more", figures.price_there))?;
    }
    if let (Some(bound), Some(over)) = (figures.bound, figures.over_bound) {
        say(&format!(
            "no plan for the tasks placed costs less than {bound} per hour: this one {over:.4} times that"
        ))?;
    }
    if !document.types.is_empty() {
        let mut rows = table(&["type", "nodes", "each per hour", "per hour"]);
        let price = |bought: &Bought| bought.price_per_hour.scale(f64::from(bought.nodes));
        let mut types: Vec<&Bought> = document.types.iter().collect();
        types.sort_by_key(|bought| std::cmp::Reverse(price(bought)));
        for bought in types {
            let each = format!("{:.4}", bought.price_per_hour.units());
            rows.add_row([bought.name.clone(), bought.nodes.to_string(), each, price(bought).to_string()]);
        }
        say_table(&rows)?;
    }
    let mut why: BTreeMap<&str, Vec<&Left>> = BTreeMap::new();
    document.unplaced.iter().for_each(|left| why.entry(left.why).or_default().push(left));
    for (why, left) in why {
        let count: u64 = left.iter().map(|left| u64::from(left.count)).sum();
        let names: Vec<&str> = left.iter().take(NAMED_MAX).map(|left| left.name.as_str()).collect();
        let more = if left.len() > names.len() { ", ..." } else { "" };
        say(&format!("{count} without a place, {why}: {}{more}", names.join(", ")))?;
    }
    say("")?;
    Ok(())
}
