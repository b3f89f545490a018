//! In: `AgentReading`, what an agent read of the kernel.
//! Out: the same as Prometheus text, and back again on the engine's side.
//!
//! | metric of a task (labels `task`, `workload`, `node`) | type | unit |
//! | --- | --- | --- |
//! | `loadline_task_sample_time_seconds` | gauge | since 1970 UTC, to the microsecond: when the kernel was read |
//! | `loadline_task_request_cores`, `_request_memory_bytes` | gauge | the size in force |
//! | `loadline_task_memory_limit_bytes` | gauge | the limit in force |
//! | `loadline_task_cpu_seconds_total` | counter | CPU time |
//! | `loadline_task_cpu_throttled_seconds_total` | counter | time held back by the CPU limit |
//! | `loadline_task_cpu_periods_total`, `_cpu_throttled_periods_total` | counter | CPU bandwidth periods |
//! | `loadline_task_memory_working_set_bytes`, `_memory_page_cache_bytes`, `_memory_peak_bytes` | gauge | |
//! | `loadline_task_oom_kills_total` | counter | kills for want of memory |
//! | `loadline_task_disk_read_bytes_total`, `_disk_written_bytes_total` | counter | |
//! | `loadline_task_network_received_bytes_total`, `_network_sent_bytes_total` | counter | |
//! | `loadline_task_threads`, `loadline_task_open_files` | gauge | now |
//!
//! | metric of a node (label `node`) | type | unit |
//! | --- | --- | --- |
//! | `loadline_node_sample_time_seconds` | gauge | as above |
//! | `loadline_node_size_cores`, `_size_memory_bytes` | gauge | what it offers |
//! | `loadline_node_cpu_seconds_total` | counter | CPU time of all its tasks |
//! | `loadline_node_memory_working_set_bytes`, `loadline_node_tasks` | gauge | of all its tasks |
//!
//! What is absent in the reading is absent in the text. Other metrics in the text are passed over.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode as write_text;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::text::{self, Sample, TextError};
use crate::domain::node::NodeName;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::usage::{AgentReading, NodeReading, TaskCounters, TaskReading};

/// The media type of what `encode` writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const TASK_PREFIX: &str = "loadline_task_";
const NODE_PREFIX: &str = "loadline_node_";

/// Why a text is not a reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not Prometheus text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A sample says nothing that could be understood.
    #[error("{metric} of {subject}: {message}")]
    Sample {
        /// The metric without its prefix.
        metric: String,
        /// The task or node, or its absence.
        subject: String,
        /// What is wrong.
        message: String,
    },
}

/// A value on its way out: counts as integers, so that none loses digits.
enum Out {
    Count(u64),
    Real(f64),
}

/// A metric of a `T`: its name without prefix and `_total`, what it is, and where its value stands.
struct Metric<T> {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    value: fn(&T) -> Option<Out>,
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<Out>) -> Metric<T> {
    Metric { name, help, kind: MetricType::Gauge, value }
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<Out>) -> Metric<T> {
    Metric { name, help, kind: MetricType::Counter, value }
}

fn bytes(value: Option<Bytes>) -> Option<Out> {
    value.map(|bytes| Out::Count(bytes.get()))
}

fn time(at: Timestamp) -> Out {
    Out::Real(at.as_microsecond() as f64 / 1e6)
}

const TASK_METRICS: [Metric<TaskReading>; 18] = [
    gauge("sample_time_seconds", "When the kernel was read", |r| Some(time(r.at))),
    gauge("request_cores", "CPU request in force", |r| Some(Out::Real(r.request.cpu.cores()))),
    gauge("request_memory_bytes", "Memory request in force", |r| bytes(Some(r.request.memory))),
    gauge("memory_limit_bytes", "Memory limit in force", |r| bytes(r.memory_limit)),
    counter("cpu_seconds", "CPU time used", |r| Some(Out::Real(r.counters.cpu_seconds))),
    counter("cpu_throttled_seconds", "Time held back by the CPU limit", |r| {
        r.counters.throttled_seconds.map(Out::Real)
    }),
    counter("cpu_periods", "CPU bandwidth periods", |r| r.counters.periods.map(Out::Count)),
    counter("cpu_throttled_periods", "CPU bandwidth periods with throttling", |r| {
        r.counters.throttled_periods.map(Out::Count)
    }),
    gauge("memory_working_set_bytes", "Memory in use less inactive file cache", |r| {
        bytes(Some(r.counters.working_set))
    }),
    gauge("memory_page_cache_bytes", "File cache", |r| bytes(r.counters.page_cache)),
    gauge("memory_peak_bytes", "Highest memory use so far", |r| bytes(r.counters.peak_memory)),
    counter("oom_kills", "Kills for want of memory", |r| r.counters.oom_kills.map(Out::Count)),
    counter("disk_read_bytes", "Bytes read from storage", |r| bytes(r.counters.disk_read)),
    counter("disk_written_bytes", "Bytes written to storage", |r| bytes(r.counters.disk_written)),
    counter("network_received_bytes", "Bytes received", |r| bytes(r.counters.network_received)),
    counter("network_sent_bytes", "Bytes sent", |r| bytes(r.counters.network_sent)),
    gauge("threads", "Threads now", |r| r.counters.threads.map(Out::Count)),
    gauge("open_files", "Open files now", |r| r.counters.open_files.map(Out::Count)),
];

const NODE_METRICS: [Metric<NodeReading>; 6] = [
    gauge("sample_time_seconds", "When the kernel was read", |r| Some(time(r.at))),
    gauge("size_cores", "CPU offered to tasks", |r| Some(Out::Real(r.size.cpu.cores()))),
    gauge("size_memory_bytes", "Memory offered to tasks", |r| bytes(Some(r.size.memory))),
    counter("cpu_seconds", "CPU time used by all tasks", |r| Some(Out::Real(r.cpu_seconds))),
    gauge("memory_working_set_bytes", "Working set of all tasks", |r| bytes(Some(r.working_set))),
    gauge("tasks", "Tasks that run", |r| Some(Out::Count(r.tasks))),
];

/// A reading as text. Instants are kept to the microsecond.
pub fn encode(reading: &AgentReading) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ReadingCollector(reading.clone())));
    let mut text = String::new();
    write_text(&mut text, &registry).expect("a String takes all text");
    text
}

/// Hands a reading to the registry.
#[derive(Debug)]
struct ReadingCollector(AgentReading);

impl Collector for ReadingCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let AgentReading { tasks, nodes } = &self.0;
        for metric in &TASK_METRICS {
            write_metric(&mut encoder, TASK_PREFIX, metric, tasks, |reading| {
                vec![
                    ("task", reading.task.to_string()),
                    ("workload", reading.task.workload().to_string()),
                    ("node", reading.node.to_string()),
                ]
            })?;
        }
        for metric in &NODE_METRICS {
            let labels = |reading: &NodeReading| vec![("node", reading.node.to_string())];
            write_metric(&mut encoder, NODE_PREFIX, metric, nodes, labels)?;
        }
        Ok(())
    }
}

fn write_metric<T>(
    encoder: &mut DescriptorEncoder<'_>,
    prefix: &str,
    metric: &Metric<T>,
    readings: &[T],
    labels: impl Fn(&T) -> Vec<(&'static str, String)>,
) -> fmt::Result {
    let mut values =
        readings.iter().filter_map(|reading| Some((reading, (metric.value)(reading)?))).peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let name = format!("{prefix}{}", metric.name);
    let mut family = encoder.encode_descriptor(&name, metric.help, None, metric.kind)?;
    let no_exemplar = None::<&Exemplar<[(&str, &str); 0], f64>>;
    for (reading, value) in values {
        let labels = labels(reading);
        let mut one = family.encode_family(&labels)?;
        match (metric.kind, value) {
            (MetricType::Counter, Out::Count(value)) => one.encode_counter(&value, no_exemplar)?,
            (MetricType::Counter, Out::Real(value)) => one.encode_counter(&value, no_exemplar)?,
            (_, Out::Count(value)) => one.encode_gauge(&value)?,
            (_, Out::Real(value)) => one.encode_gauge(&value)?,
        }
    }
    Ok(())
}

/// The reading in a text; tasks and nodes in the order of their first sample.
pub fn decode(text: &str) -> Result<AgentReading, DecodeError> {
    let found = text::parse(text)?;
    let mut tasks: Subjects<'_> = Subjects::default();
    let mut nodes: Subjects<'_> = Subjects::default();
    for sample in &found.samples {
        if let Some(metric) = sample.name.strip_prefix(TASK_PREFIX) {
            tasks.take("task", metric, sample)?;
        } else if let Some(metric) = sample.name.strip_prefix(NODE_PREFIX) {
            nodes.take("node", metric, sample)?;
        }
    }
    Ok(AgentReading {
        tasks: tasks.all.iter().map(read_task).collect::<Result<_, _>>()?,
        nodes: nodes.all.iter().map(read_node).collect::<Result<_, _>>()?,
    })
}

/// Samples gathered by what they are about.
#[derive(Default)]
struct Subjects<'a> {
    all: Vec<Subject<'a>>,
    places: HashMap<&'a str, usize>,
}

/// The samples of one task or node by metric.
struct Subject<'a> {
    name: &'a str,
    node: Option<&'a str>,
    samples: BTreeMap<&'a str, &'a Sample<'a>>,
}

impl<'a> Subjects<'a> {
    fn take(
        &mut self,
        label: &'static str,
        metric: &'a str,
        sample: &'a Sample<'a>,
    ) -> Result<(), DecodeError> {
        let fault = |subject: &str, message: String| DecodeError::Sample {
            metric: metric.to_owned(),
            subject: subject.to_owned(),
            message,
        };
        let name = sample.label(label).ok_or_else(|| fault("no one", format!("no label `{label}`")))?;
        let place = *self.places.entry(name).or_insert_with(|| {
            self.all.push(Subject { name, node: sample.label("node"), samples: BTreeMap::new() });
            self.all.len() - 1
        });
        let subject = &mut self.all[place];
        if subject.node != sample.label("node") {
            return Err(fault(name, "on two nodes".to_owned()));
        }
        match subject.samples.insert(metric, sample) {
            Some(_) => Err(fault(name, "given twice".to_owned())),
            None => Ok(()),
        }
    }
}

impl Subject<'_> {
    fn fault(&self, metric: &str, message: impl Into<String>) -> DecodeError {
        DecodeError::Sample {
            metric: metric.to_owned(),
            subject: self.name.to_owned(),
            message: message.into(),
        }
    }

    /// A measured value: a finite number, zero or more.
    fn real(&self, metric: &str) -> Result<Option<f64>, DecodeError> {
        let Some(sample) = self.samples.get(metric) else { return Ok(None) };
        if sample.value.is_finite() && sample.value >= 0.0 {
            Ok(Some(sample.value))
        } else {
            Err(self.fault(metric, format!("{} is not a finite number of zero or more", sample.written)))
        }
    }

    fn count(&self, metric: &str) -> Result<Option<u64>, DecodeError> {
        let Some(sample) = self.samples.get(metric) else { return Ok(None) };
        if let Ok(count) = sample.written.parse() {
            return Ok(Some(count));
        }
        // Others may write 12 as 12.0 or 1.2e1.
        match self.real(metric)? {
            Some(value) if value.fract() == 0.0 => Ok(Some(value as u64)),
            _ => Err(self.fault(metric, format!("{} is not a whole number", sample.written))),
        }
    }

    fn bytes(&self, metric: &str) -> Result<Option<Bytes>, DecodeError> {
        Ok(self.count(metric)?.map(Bytes::new))
    }

    fn cores(&self, metric: &str) -> Result<Millicores, DecodeError> {
        let cores = self.required(metric, self.real(metric)?)?;
        Ok(Millicores::new((cores * 1000.0).round() as u64))
    }

    fn required<T>(&self, metric: &str, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.fault(metric, "absent"))
    }

    fn time(&self) -> Result<Timestamp, DecodeError> {
        let metric = "sample_time_seconds";
        let sample = self.required(metric, self.samples.get(metric))?;
        // Whole seconds and the rest apart: their product with a million would lose the last digit.
        let whole = sample.value.floor();
        let microseconds = ((sample.value - whole) * 1e6).round();
        let at = if sample.value.is_finite() {
            Timestamp::from_microsecond(whole as i64)
                .and_then(|_| Timestamp::from_microsecond(whole as i64 * 1_000_000 + microseconds as i64))
                .ok()
        } else {
            None
        };
        at.ok_or_else(|| self.fault(metric, format!("{} is not a time", sample.written)))
    }

    fn node(&self) -> Result<NodeName, DecodeError> {
        let name = self.node.ok_or_else(|| self.fault("node", "no label `node`"))?;
        NodeName::new(name).map_err(|rule| self.fault("node", format!("`{name}`: {rule}")))
    }
}

fn read_task(subject: &Subject<'_>) -> Result<TaskReading, DecodeError> {
    let task: TaskId = subject.name.parse().map_err(|error: String| subject.fault("task", error))?;
    Ok(TaskReading {
        task,
        node: subject.node()?,
        at: subject.time()?,
        request: Resources::new(
            subject.cores("request_cores")?,
            subject.required("request_memory_bytes", subject.bytes("request_memory_bytes")?)?,
        ),
        memory_limit: subject.bytes("memory_limit_bytes")?,
        counters: TaskCounters {
            cpu_seconds: subject.required("cpu_seconds_total", subject.real("cpu_seconds_total")?)?,
            throttled_seconds: subject.real("cpu_throttled_seconds_total")?,
            periods: subject.count("cpu_periods_total")?,
            throttled_periods: subject.count("cpu_throttled_periods_total")?,
            working_set: subject
                .required("memory_working_set_bytes", subject.bytes("memory_working_set_bytes")?)?,
            page_cache: subject.bytes("memory_page_cache_bytes")?,
            peak_memory: subject.bytes("memory_peak_bytes")?,
            oom_kills: subject.count("oom_kills_total")?,
            disk_read: subject.bytes("disk_read_bytes_total")?,
            disk_written: subject.bytes("disk_written_bytes_total")?,
            network_received: subject.bytes("network_received_bytes_total")?,
            network_sent: subject.bytes("network_sent_bytes_total")?,
            threads: subject.count("threads")?,
            open_files: subject.count("open_files")?,
        },
    })
}

fn read_node(subject: &Subject<'_>) -> Result<NodeReading, DecodeError> {
    Ok(NodeReading {
        node: subject.node()?,
        at: subject.time()?,
        size: Resources::new(
            subject.cores("size_cores")?,
            subject.required("size_memory_bytes", subject.bytes("size_memory_bytes")?)?,
        ),
        cpu_seconds: subject.required("cpu_seconds_total", subject.real("cpu_seconds_total")?)?,
        working_set: subject
            .required("memory_working_set_bytes", subject.bytes("memory_working_set_bytes")?)?,
        tasks: subject.required("tasks", subject.count("tasks")?)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    fn at() -> impl Strategy<Value = Timestamp> {
        // From 1970 to 2100, to the microsecond.
        (0_i64..4_102_444_800_000_000).prop_map(|us| Timestamp::from_microsecond(us).expect("an instant"))
    }

    fn seconds() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), 0.0..1e9_f64, 0.0..1e-6_f64]
    }

    fn some_bytes() -> impl Strategy<Value = Bytes> {
        any::<u64>().prop_map(Bytes::new)
    }

    fn resources() -> impl Strategy<Value = Resources> {
        (0_u64..1_000_000_000, some_bytes())
            .prop_map(|(cpu, memory)| Resources::new(Millicores::new(cpu), memory))
    }

    prop_compose! {
        fn counters()(
            (cpu_seconds, throttled_seconds, periods, throttled_periods) in
                (seconds(), of(seconds()), of(any::<u64>()), of(any::<u64>())),
            (working_set, page_cache, peak_memory, oom_kills) in
                (some_bytes(), of(some_bytes()), of(some_bytes()), of(any::<u64>())),
            (disk_read, disk_written, network_received, network_sent) in
                (of(some_bytes()), of(some_bytes()), of(some_bytes()), of(some_bytes())),
            (threads, open_files) in (of(any::<u64>()), of(any::<u64>())),
        ) -> TaskCounters {
            TaskCounters {
                cpu_seconds, throttled_seconds, periods, throttled_periods, working_set, page_cache,
                peak_memory, oom_kills, disk_read, disk_written, network_received, network_sent, threads,
                open_files,
            }
        }
    }

    prop_compose! {
        fn reading()(
            tasks in proptest::collection::vec(
                (at(), resources(), of(some_bytes()), counters()), 0..4),
            nodes in proptest::collection::vec(
                (at(), resources(), seconds(), some_bytes(), any::<u64>()), 0..3),
        ) -> AgentReading {
            let node = |number: usize| NodeName::new(&format!("small-{number}")).expect("a name");
            let tasks = tasks.into_iter().enumerate().map(|(number, (at, request, memory_limit, counters))| {
                // Falling numbers: the order is the reading's, not the names'.
                let task = format!("web.{}", 9 - number).parse().expect("a task id");
                TaskReading { task, node: node(number % 2), at, request, memory_limit, counters }
            });
            let nodes = nodes.into_iter().enumerate().map(|(number, (at, size, cpu_seconds, working_set, tasks))| {
                NodeReading { node: node(number), at, size, cpu_seconds, working_set, tasks }
            });
            AgentReading { tasks: tasks.collect(), nodes: nodes.collect() }
        }
    }

    proptest! {
        #[test]
        fn a_reading_comes_back_exactly(reading in reading()) {
            prop_assert_eq!(decode(&encode(&reading)), Ok(reading));
        }
    }

    const TASK: &str = "{task=\"web.1\",workload=\"web\",node=\"small-1\"}";

    fn least() -> String {
        let values = [
            ("sample_time_seconds", "1763805600.123456"),
            ("request_cores", "0.25"),
            ("request_memory_bytes", "6.7108864e7"),
            ("cpu_seconds_total", "1.5"),
            ("memory_working_set_bytes", "1024"),
        ];
        values.map(|(name, value)| format!("{TASK_PREFIX}{name}{TASK} {value}\n")).concat()
    }

    #[test]
    fn what_is_not_given_is_absent_and_other_metrics_do_not_matter() {
        let text = format!("process_threads 3\n{}", least());
        let reading = decode(&text).expect("a reading").tasks.remove(0);
        assert_eq!(reading.at.as_microsecond(), 1_763_805_600_123_456);
        assert_eq!(reading.request, Resources::new(Millicores::new(250), Bytes::mib(64)));
        assert_eq!((reading.memory_limit, reading.counters.oom_kills), (None, None));
        let again = encode(&AgentReading { tasks: vec![reading], nodes: Vec::new() });
        assert!(!again.contains("oom_kills") && !again.contains("NaN"), "{again}");
    }

    #[test]
    fn counters_are_declared_as_counters() {
        let reading = decode(&least()).expect("a reading");
        let text = encode(&reading);
        let found = text::parse(&text).expect("a text");
        assert!(found.is_counter("loadline_task_cpu_seconds_total"));
        assert!(!found.is_counter("loadline_task_memory_working_set_bytes"));
    }

    #[test]
    fn what_cannot_be_understood_is_an_error_that_names_it() {
        let wrong = |name: &str, value: &str| {
            let replaced: String = least()
                .lines()
                .map(|line| {
                    if line.contains(name) {
                        format!("{TASK_PREFIX}{name}{TASK} {value}\n")
                    } else {
                        format!("{line}\n")
                    }
                })
                .collect();
            decode(&replaced).expect_err(name).to_string()
        };
        assert_eq!(
            wrong("cpu_seconds_total", "NaN"),
            "cpu_seconds_total of web.1: NaN is not a finite number of zero or more"
        );
        assert_eq!(
            wrong("memory_working_set_bytes", "1.5"),
            "memory_working_set_bytes of web.1: 1.5 is not a whole number"
        );
        assert_eq!(
            wrong("sample_time_seconds", "1e300"),
            "sample_time_seconds of web.1: 1e300 is not a time"
        );
        let absent = least().replace("request_cores", "request_spoons");
        assert_eq!(decode(&absent).expect_err("absent").to_string(), "request_cores of web.1: absent");
        let twice = least().repeat(2);
        assert!(decode(&twice).expect_err("twice").to_string().ends_with("given twice"));
        let moved = least() + &least().replace("small-1", "small-2").replace("seconds", "hours");
        assert!(decode(&moved).expect_err("two nodes").to_string().ends_with("on two nodes"));
        let nobody = least().replace("task=\"web.1\",", "");
        assert!(decode(&nobody).expect_err("nobody").to_string().ends_with("no label `task`"));
        let strange = least().replace("web.1", "web");
        assert!(matches!(decode(&strange), Err(DecodeError::Sample { .. })));
    }
}
