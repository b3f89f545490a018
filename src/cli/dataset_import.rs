//! `loadline dataset import`: a public trace, as it is published, to one of ours.
//!
//! In: files and what their numbers are shares of. Out: a trace, and a count of what was left out. Not here:
//! the formats themselves (`analytics::import`).

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::analytics::TraceWriter;
use crate::analytics::import::{Answers, Import, Labels, Size, Source};
use crate::cli::dataset::wrong_name;
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{Output, say, say_error, say_json};

/// `loadline dataset import`
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// How the files are published.
    #[arg(long, value_enum)]
    format: Format,
    /// The published files, plain or gzip, and at the end the trace to write: `.parquet` or `.csv`.
    #[arg(value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Cores that a share of CPU is of: those of the largest machine (google), of each container (alibaba)
    /// or VM (azure).
    #[arg(long)]
    cores: Option<f64>,
    /// GiB that a share of memory is of: of the largest machine, or of each container.
    #[arg(long)]
    memory_gib: Option<f64>,
    /// alibaba: the file of `container_meta`, with sizes and groups of containers.
    #[arg(long, value_name = "FILE")]
    containers: Option<PathBuf>,
    /// azure: the file of `vmtable`, with sizes of VMs.
    #[arg(long, value_name = "FILE")]
    vms: Option<PathBuf>,
    /// prometheus: the answer with cores in use.
    #[arg(long, value_name = "FILE")]
    cpu: Option<PathBuf>,
    /// prometheus: the answer with bytes in use.
    #[arg(long, value_name = "FILE")]
    memory: Option<PathBuf>,
    /// prometheus: the answer with cores asked for.
    #[arg(long, value_name = "FILE")]
    cpu_request: Option<PathBuf>,
    /// prometheus: the answer with bytes asked for.
    #[arg(long, value_name = "FILE")]
    memory_request: Option<PathBuf>,
    /// prometheus: labels that name the workload, split by commas. Default: namespace,workload.
    #[arg(long, value_delimiter = ',', value_name = "LABEL")]
    workload_label: Vec<String>,
    /// prometheus: labels that name the task, split by commas. Default: pod.
    #[arg(long, value_delimiter = ',', value_name = "LABEL")]
    task_label: Vec<String>,
    /// Only the workloads that are found first, so many.
    #[arg(long, value_name = "NUMBER")]
    workloads: Option<usize>,
    /// Write over a trace that is there.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Google's cluster data of 2011: `task_usage`.
    #[value(name = "google-2011")]
    Google2011,
    /// Google's cluster data of 2019: `instance_usage`.
    #[value(name = "google-2019")]
    Google2019,
    /// Alibaba cluster-trace-v2018: `container_usage`.
    #[value(name = "alibaba-2018")]
    Alibaba2018,
    /// Azure public VM traces of 2017 and 2019: `vm_cpu_readings`.
    #[value(name = "azure-vm")]
    AzureVm,
    /// Bitbrains GWA-T-12, a file a VM.
    Bitbrains,
    /// Answers of Prometheus to `query_range`.
    Prometheus,
}

impl Format {
    /// The options that say something of it.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Google2011 | Self::Google2019 => &["--cores", "--memory-gib"],
            Self::Alibaba2018 => &["--cores", "--memory-gib", "--containers"],
            Self::AzureVm => &["--cores", "--vms"],
            Self::Bitbrains => &[],
            Self::Prometheus => &[
                "--cpu",
                "--memory",
                "--cpu-request",
                "--memory-request",
                "--workload-label",
                "--task-label",
            ],
        }
    }
}

/// What was imported, for programs.
#[derive(Serialize)]
struct Imported {
    file: String,
    rows: usize,
    notes: Vec<ImportNote>,
}

#[derive(Serialize)]
struct ImportNote {
    what: String,
    count: u64,
}

pub(super) fn run(output: Output, args: &ImportArgs) -> anyhow::Result<()> {
    let (import, out) = plan(args)?;
    let mut writer = TraceWriter::create(&out)?;
    let bytes = import.files().iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum();
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes} {eta} left") {
        bar.set_style(style);
    }
    let read = import.read(&|bytes| bar.inc(bytes), &mut |row| writer.push(row));
    bar.finish_and_clear();
    let notes = read?;
    let rows = writer.finish()?;
    // On standard error, so that JSON stays whole.
    for (what, count) in notes.iter() {
        say_error(&format!("{count} {what}"));
    }
    match output {
        Output::Table => Ok(say(&format!("{rows} rows written to {}", out.display()))?),
        Output::Json => {
            let notes = notes.iter().map(|(what, count)| ImportNote { what: what.to_owned(), count });
            say_json(&Imported { file: out.display().to_string(), rows, notes: notes.collect() })
        }
    }
}

fn wrong(message: impl Into<String>) -> anyhow::Error {
    ended(Exit::BadInput, message)
}

/// What is read, and where it goes.
fn plan(args: &ImportArgs) -> anyhow::Result<(Import, PathBuf)> {
    let Some((out, inputs)) = args.files.split_last() else { return Err(wrong("no files are named")) };
    if !out.extension().is_some_and(|extension| extension == "parquet" || extension == "csv") {
        return Err(wrong_name(out));
    }
    if out.exists() && !args.overwrite {
        let name = out.display();
        return Err(wrong(format!(
            "{name} is there already: the trace to write is named last; --overwrite replaces it"
        )));
    }
    refuse_strangers(args)?;
    let source = source(args)?;
    match (&source, inputs) {
        (Source::Prometheus(_), []) => {}
        (Source::Prometheus(_), _) => {
            return Err(wrong("answers of Prometheus are named by --cpu and --memory, each metric a file"));
        }
        (_, []) => return Err(wrong("name the published files before the trace to write")),
        _ => {}
    }
    let import = Import { source, inputs: inputs.to_vec(), workloads_max: args.workloads };
    if import.files().iter().any(|file| file == out) {
        return Err(wrong(format!("{} is read and cannot be written too", out.display())));
    }
    Ok((import, out.clone()))
}

/// An option that says nothing of the format is a mistake.
fn refuse_strangers(args: &ImportArgs) -> anyhow::Result<()> {
    let given = [
        ("--cores", args.cores.is_some()),
        ("--memory-gib", args.memory_gib.is_some()),
        ("--containers", args.containers.is_some()),
        ("--vms", args.vms.is_some()),
        ("--cpu", args.cpu.is_some()),
        ("--memory", args.memory.is_some()),
        ("--cpu-request", args.cpu_request.is_some()),
        ("--memory-request", args.memory_request.is_some()),
        ("--workload-label", !args.workload_label.is_empty()),
        ("--task-label", !args.task_label.is_empty()),
    ];
    let known = args.format.options();
    match given.iter().find(|(name, given)| *given && !known.contains(name)) {
        Some((name, _)) if known.is_empty() => Err(wrong(format!("{name} says nothing of this format"))),
        Some((name, _)) => {
            Err(wrong(format!("{name} says nothing of this format, which knows {}", known.join(", "))))
        }
        None => Ok(()),
    }
}

fn source(args: &ImportArgs) -> anyhow::Result<Source> {
    let size = |what: &str| -> anyhow::Result<Size> {
        Ok(Size {
            cores: above_zero("--cores", args.cores, what)?,
            memory_gib: above_zero("--memory-gib", args.memory_gib, what)?,
        })
    };
    let machine = "the trace has shares of the largest machine; say its size";
    Ok(match args.format {
        Format::Google2011 => Source::Google2011(size(machine)?),
        Format::Google2019 => Source::Google2019(size(machine)?),
        Format::Alibaba2018 => match &args.containers {
            Some(containers) => {
                let what = "`mem_size` is a percentage of the largest machine; say its memory";
                let machine_gib = above_zero("--memory-gib", args.memory_gib, what)?;
                Source::Alibaba2018Meta { containers: containers.clone(), machine_gib }
            }
            None => Source::Alibaba2018(size(
                "usage is in percent of each container; say its size, or give --containers",
            )?),
        },
        Format::AzureVm => {
            if let Some(vms) = &args.vms {
                Source::AzureTable { vms: vms.clone() }
            } else {
                let what = "usage is in percent of each VM; say its cores, or give --vms";
                Source::Azure { cores: above_zero("--cores", args.cores, what)? }
            }
        }
        Format::Bitbrains => Source::Bitbrains,
        Format::Prometheus => {
            if args.cpu.is_none() && args.memory.is_none() {
                return Err(wrong("name an answer with --cpu or --memory"));
            }
            let or = |given: &[String], default: &[&str]| {
                let default = || default.iter().map(|&label| label.to_owned()).collect();
                if given.is_empty() { default() } else { given.to_vec() }
            };
            Source::Prometheus(Answers {
                cpu: args.cpu.clone(),
                memory: args.memory.clone(),
                cpu_request: args.cpu_request.clone(),
                memory_request: args.memory_request.clone(),
                labels: Labels {
                    workload: or(&args.workload_label, &["namespace", "workload"]),
                    task: or(&args.task_label, &["pod"]),
                },
            })
        }
    })
}

fn above_zero(option: &str, value: Option<f64>, what: &str) -> anyhow::Result<f64> {
    match value {
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        Some(value) => Err(wrong(format!("{option} is {value}; expected a number above 0"))),
        None => Err(wrong(format!("{what} with {option}"))),
    }
}
