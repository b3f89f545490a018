//! Prometheus: answers to `query_range` as they were saved, a file a metric.
//!
//! Source: prometheus.io/docs/prometheus/latest/querying/api, "Range queries" and "Range vectors": an object
//! with `status` and `data`, whose `result` is a list of series, each with its labels and `[time, "value"]`.
//! Times are seconds. The value at a time is taken to stand for the interval that ends there, as `rate`
//! and `max_over_time` over one step do. NaN is what Prometheus answers where there is nothing. All
//! answers are held in memory: they are joined by workload, task and time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::analytics::AnalyticsError;
use crate::analytics::import::table::{SECONDS_MAX, open};
use crate::analytics::import::{Advance, Notes, Take};
use crate::domain::trace::TraceRow;

/// Labels whose values, joined by `/`, name workload and task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Of the workload.
    pub workload: Vec<String>,
    /// Of the task.
    pub task: Vec<String>,
}

/// The files of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Cores in use.
    pub cpu: Option<PathBuf>,
    /// Bytes in use.
    pub memory: Option<PathBuf>,
    /// Cores asked for.
    pub cpu_request: Option<PathBuf>,
    /// Bytes asked for.
    pub memory_request: Option<PathBuf>,
    /// What names a series.
    pub labels: Labels,
}

/// Places of the metrics in a row.
const METRICS: usize = 4;

impl Answers {
    /// The files, each with the place of its metric.
    pub(super) fn files(&self) -> impl Iterator<Item = (usize, &PathBuf)> {
        let all = [&self.cpu, &self.memory, &self.cpu_request, &self.memory_request];
        all.into_iter().enumerate().filter_map(|(place, file)| Some((place, file.as_ref()?)))
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

type Points = BTreeMap<i64, [Option<f64>; METRICS]>;

/// Joins the answers to rows, by workload, task, then time.
pub(super) fn read(
    answers: &Answers,
    advance: &Advance<'_>,
    take: &mut Take<'_>,
    notes: &mut Notes,
) -> Result<(), AnalyticsError> {
    let mut joined: BTreeMap<(String, String), Points> = BTreeMap::new();
    for (place, path) in answers.files() {
        let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (number, series) in series(path, advance, notes)?.into_iter().enumerate() {
            let fault = |problem| AnalyticsError::Series { path: path.clone(), series: number + 1, problem };
            let key = key(&series.metric, &answers.labels).map_err(fault)?;
            if let Some(before) = seen.insert(key.clone(), number + 1) {
                return Err(fault(format!(
                    "workload {} and task {} are those of series {before} too; name more labels with \
                     --workload-label or --task-label, or sum the series in the query",
                    key.0, key.1
                )));
            }
            let points = joined.entry(key).or_default();
            for (at, (time, text)) in series.values.iter().enumerate() {
                let value = value(text).map_err(|problem| fault(format!("value {}: {problem}", at + 1)))?;
                if value.is_none() {
                    notes.count("values that are NaN: taken as nothing");
                }
                if time.abs() > SECONDS_MAX {
                    return Err(fault(format!("value {}: found {time}, expected a time in seconds", at + 1)));
                }
                points.entry(time.round() as i64).or_default()[place] = value;
            }
        }
    }
    for ((workload, task), points) in joined {
        for (time, [cpu, memory, cpu_request, memory_request]) in points {
            let (workload, task) = (workload.clone(), task.clone());
            take(TraceRow { workload, task, time, cpu, memory, cpu_request, memory_request, load: None })?;
        }
    }
    Ok(())
}

fn series(path: &Path, advance: &Advance<'_>, notes: &mut Notes) -> Result<Vec<Series>, AnalyticsError> {
    let answer = |problem: String| AnalyticsError::Answer { path: path.to_owned(), problem };
    let mut file = open(path, advance)?;
    let Answer { status, mut data, error, warnings } =
        serde_json::from_reader(&mut file).map_err(|error| answer(error.to_string()))?;
    if status != "success" {
        return Err(answer(format!("its status is `{status}`: {error}")));
    }
    let kind = data["resultType"].as_str().unwrap_or("nothing");
    if kind != "matrix" {
        return Err(answer(format!("its resultType is {kind}, expected matrix, as of /api/v1/query_range")));
    }
    for warning in warnings {
        notes.count(&format!("warnings from Prometheus, which said: {warning}"));
    }
    let series: Vec<Series> =
        serde_json::from_value(data["result"].take()).map_err(|error| answer(error.to_string()))?;
    if series.is_empty() { Err(AnalyticsError::Empty { path: path.to_owned() }) } else { Ok(series) }
}

/// The names of a series' workload and task.
fn key(metric: &BTreeMap<String, String>, labels: &Labels) -> Result<(String, String), String> {
    let name = |of: &[String]| -> Result<String, String> {
        let missing = |label: &String| {
            let there: Vec<&str> = metric.keys().map(String::as_str).collect();
            format!("it has no label `{label}`; it has {}", there.join(", "))
        };
        let part = |label: &String| metric.get(label).ok_or_else(|| missing(label));
        let parts: Vec<&str> =
            of.iter().map(|label| part(label).map(String::as_str)).collect::<Result<_, _>>()?;
        Ok(parts.join("/"))
    };
    Ok((name(&labels.workload)?, name(&labels.task)?))
}

fn value(text: &str) -> Result<Option<f64>, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_nan() => Ok(None),
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
        _ => Err(format!("found `{text}`, expected a number of at least 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::import::Source;
    use crate::analytics::import::tests::import;

    const CPU: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"namespace":"shop","workload":"web","pod":"web-1"},"values":[[1000.4,"0.5"],[1060,"NaN"],[1120,"0.25"]]},
        {"metric":{"namespace":"shop","workload":"web","pod":"web-2"},"values":[[1000,"1e-1"]]}]}}"#;
    const MEMORY: &str = r#"{"status":"success","warnings":["slow"],"data":{"resultType":"matrix","result":[
        {"metric":{"namespace":"shop","workload":"web","pod":"web-1"},"values":[[1000,"4096"],[1060,"8192"]]}]}}"#;

    fn source(workload: &'static [&'static str]) -> impl Fn(&Path) -> Source {
        move |folder| {
            let names = |labels: &[&str]| labels.iter().map(|&label| label.to_owned()).collect();
            Source::Prometheus(Answers {
                cpu: Some(folder.join("cpu.json")),
                memory: Some(folder.join("memory.json.gz")),
                cpu_request: None,
                memory_request: None,
                labels: Labels { workload: names(workload), task: names(&["pod"]) },
            })
        }
    }

    #[test]
    fn answers_are_joined_by_workload_task_and_time() {
        let files = [("cpu.json", CPU), ("memory.json.gz", MEMORY)];
        let (rows, notes) = import(source(&["namespace", "workload"]), &files).expect("rows");
        let found: Vec<_> =
            rows.iter().map(|row| (row.task.as_str(), row.time, row.cpu, row.memory)).collect();
        assert_eq!(
            found,
            [
                ("web-1", 1000, Some(0.5), Some(4096.0)),
                ("web-1", 1060, None, Some(8192.0)),
                ("web-1", 1120, Some(0.25), None),
                ("web-2", 1000, Some(0.1), None)
            ]
        );
        assert_eq!(rows[0].workload, "shop/web");
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn wrong_answers_are_named() {
        let fault = |label: &'static [&'static str], cpu: &str| {
            import(source(label), &[("cpu.json", cpu), ("memory.json.gz", MEMORY)]).expect_err("a fault")
        };
        let of = |cpu: &str| fault(&["workload"], cpu);
        assert_eq!(
            fault(&["app"], CPU),
            "cpu.json: series 1: it has no label `app`; it has namespace, pod, workload"
        );
        assert_eq!(
            of(&CPU.replace("0.25", "-3")),
            "cpu.json: series 1: value 3: found `-3`, expected a number of at least 0"
        );
        assert!(
            of(&CPU.replace("1120", "1e15"))
                .contains("value 3: found 1000000000000000, expected a time in seconds")
        );
        assert!(of(&CPU.replace("0.25", "+Inf")).contains("value 3: found `+Inf`"));
        assert!(
            of(&CPU.replace("web-2", "web-1"))
                .contains("series 2: workload web and task web-1 are those of series 1")
        );
        assert!(of(&CPU.replace("matrix", "vector")).contains("its resultType is vector, expected matrix"));
        let refused = of(r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#);
        assert_eq!(refused, "cpu.json: this is no answer of Prometheus: its status is `error`: parse error");
        assert!(of("{\"status\"").contains("EOF while parsing"));
    }
}
