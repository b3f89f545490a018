//! What simulations came to: figures as tables of text, courses as charts, everything as one page.
//! Not here: how charts and pages look (`draw`, `page`).

use std::fmt::Write;

use crate::charts::cells::{Cells, dash, number, percent};
use crate::charts::draw::{Chart, Mark, Series};
use crate::charts::page::{around, figure, table};
use crate::simulation::tally::{Effort, Outcome, Sample};

/// Points of a curve; more would not be seen.
const POINTS: usize = 400;

/// What the columns mean.
pub const LEGEND: &str = "Price: what was paid for machines, per hour; over bound: that over the least that any \
     packing of the tasks that ran could have cost (the programme that assigns fractions of tasks to types, by its \
     dual). Waited: seconds from asked to placed. Moved: instances replaced because their node was emptied; tasks \
     moved per unit of money that was saved against the first policy. Lacking: the share of instance-time in which a \
     wanted instance did not serve. CPU beyond: the share of 5-minute windows of nodes in which their tasks used more CPU \
     than they have.";

/// The figures of each policy: money and time.
pub fn figures(outcomes: &[Outcome]) -> Cells {
    let head = vec![
        "policy",
        "price/h",
        "over bound",
        "node-hours",
        "most nodes",
        "waited p50",
        "p99",
        "longest",
        "lacking",
        "moved",
        "moved per saved",
    ];
    let first = outcomes.first().map_or(0.0, |outcome| outcome.paid);
    let rows = outcomes.iter().map(|outcome| {
        let saved = first - outcome.paid;
        vec![
            outcome.policy.clone(),
            number(outcome.price_per_hour(), 3),
            number(outcome.over_bound(), 3),
            number(outcome.node_hours, 0),
            outcome.nodes_max.to_string(),
            format!("{} s", outcome.wait_p50),
            format!("{} s", outcome.wait_p99),
            format!("{} s", outcome.wait_max),
            format!("{} %", number(outcome.under_provisioned * 100.0, 3)),
            outcome.moved.to_string(),
            if saved > 0.0 { number(outcome.moved as f64 / saved, 1) } else { dash() },
        ]
    });
    Cells { head, rows: rows.collect() }
}

/// What happened to tasks, and how full nodes were.
pub fn tasks(outcomes: &[Outcome]) -> Cells {
    let head = vec![
        "policy",
        "placed",
        "wait at end",
        "runs",
        "failed",
        "OOM kills",
        "lost",
        "CPU requested",
        "memory requested",
        "CPU used",
        "memory used",
        "CPU beyond",
    ];
    let rows = outcomes.iter().map(|outcome| {
        let share = |part: fn(&Sample) -> f64, whole: fn(&Sample) -> f64| {
            percent(outcome.mean(part) / outcome.mean(whole).max(f64::MIN_POSITIVE))
        };
        vec![
            outcome.policy.clone(),
            outcome.placed.to_string(),
            outcome.unplaced.to_string(),
            outcome.runs.to_string(),
            outcome.runs_failed.to_string(),
            outcome.oom_kills.to_string(),
            outcome.lost.to_string(),
            share(|s| s.cores_requested, |s| s.cores),
            share(|s| s.gib_requested, |s| s.gib),
            share(|s| s.cores_used, |s| s.cores),
            share(|s| s.gib_used, |s| s.gib),
            format!("{} %", number(outcome.beyond() * 100.0, 3)),
        ]
    });
    Cells { head, rows: rows.collect() }
}

/// What deciding took.
pub fn efforts(outcomes: &[Outcome], efforts: &[Effort]) -> Cells {
    let head = vec!["policy", "wall", "plans", "plan p50", "p99", "nodes decided p50", "p99"];
    let milliseconds = |value: f64| format!("{} ms", number(value, 2));
    let rows = outcomes.iter().zip(efforts).map(|(outcome, effort)| {
        vec![
            outcome.policy.clone(),
            format!("{} s", number(effort.wall, 1)),
            outcome.plans.to_string(),
            milliseconds(effort.plan_p50),
            milliseconds(effort.plan_p99),
            milliseconds(effort.decision_p50),
            milliseconds(effort.decision_p99),
        ]
    });
    Cells { head, rows: rows.collect() }
}

/// What is drawn of a sample, and its name; the policy's where that is empty.
type Drawn = (&'static str, fn(&Sample) -> f64);

/// A course over time of each of several things.
struct Course {
    title: &'static str,
    y: &'static str,
    of: &'static [Drawn],
}

const OF_ALL: [Course; 4] = [
    Course { title: "Machines", y: "machines that take tasks", of: &[("", |sample| sample.nodes as f64)] },
    Course { title: "Price", y: "price per hour", of: &[("", |sample| sample.price_per_hour)] },
    Course {
        title: "Waiting",
        y: "longest wait in the five minutes before, s",
        of: &[("", |sample| sample.longest_wait as f64)],
    },
    Course { title: "Tasks that wait", y: "tasks", of: &[("", |sample| sample.waiting as f64)] },
];

const OF_ONE: [Course; 2] = [
    Course {
        title: "CPU",
        y: "cores",
        of: &[("there", |s| s.cores), ("requested", |s| s.cores_requested), ("used", |s| s.cores_used)],
    },
    Course {
        title: "Memory",
        y: "GiB",
        of: &[("there", |s| s.gib), ("requested", |s| s.gib_requested), ("used", |s| s.gib_used)],
    },
];

fn chart(outcomes: &[Outcome], course: &Course) -> Chart {
    let mut series = Vec::new();
    for outcome in outcomes {
        let every = outcome.samples.len().div_ceil(POINTS).max(1);
        for (what, of) in course.of {
            let name = if what.is_empty() { outcome.policy.clone() } else { (*what).to_owned() };
            // The highest of those that one point stands for: a peak must not fall between two points.
            let marks = outcome.samples.chunks(every).filter_map(|samples| {
                let highest = samples.iter().max_by(|a, b| of(a).total_cmp(&of(b)))?;
                let (x, y) = (highest.second as f64 / 3600.0, of(highest));
                Some(Mark { x, y, words: format!("{name}\nhour {x:.1}: {y:.1}") })
            });
            let marks = marks.collect();
            series.push(Series { name: name.clone(), place: series.len(), marks, asked: None });
        }
    }
    Chart { title: course.title.to_owned(), x: "hours".to_owned(), y: course.y.to_owned(), series }
}

/// The page of a run.
pub fn page(words: &str, outcomes: &[Outcome], took: &[Effort]) -> String {
    let mut body = format!(
        "<section>\n<h2>Policies</h2>\n{}{}{}",
        table(&figures(outcomes), "Price and waiting"),
        table(&tasks(outcomes), "Tasks and nodes"),
        table(&efforts(outcomes, took), "Wall time")
    );
    for course in &OF_ALL {
        let drawn = figure(&chart(outcomes, course), "nothing was sampled");
        let _ = write!(body, "<h3>{}</h3>\n{drawn}", course.title);
    }
    body.push_str("</section>\n");
    for outcome in outcomes {
        let _ = writeln!(body, "<section>\n<h2>{}</h2>", outcome.policy);
        for course in &OF_ONE {
            let drawn = figure(&chart(std::slice::from_ref(outcome), course), "nothing was sampled");
            let _ = write!(body, "<h3>{}</h3>\n{drawn}", course.title);
        }
        body.push_str("</section>\n");
    }
    around("Simulation of a cluster", &format!("{words} {LEGEND}"), &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_curve_for_each_policy_and_names_the_peak() {
        let sample = |second, nodes| Sample { second, nodes, ..Sample::default() };
        let samples: Vec<Sample> =
            (0..1000).map(|i| sample(i * 300, if i == 501 { 99 } else { 5 })).collect();
        let outcome = |policy: &str| Outcome {
            policy: policy.to_owned(),
            samples: samples.clone(),
            ..Outcome::default()
        };
        let outcomes = [outcome("fixed"), outcome("karpenter")];
        let drawn = chart(&outcomes, &OF_ALL[0]);
        assert_eq!(drawn.series.len(), 2);
        assert!(drawn.series[1].marks.iter().any(|mark| mark.y > 98.0), "the peak is not drawn");
        let page = page("Words.", &outcomes, &[Effort::default(), Effort::default()]);
        assert!(page.contains("<h2>karpenter</h2>") && page.contains("Words."));
    }
}
