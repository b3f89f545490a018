//! In: what was seen of two services, look by look. Out: figures of each, and which of the two did better in words.
//! Figures are of one run on a machine that does other things too.

use crate::charts::cells::Cells;
use crate::cli::demo::load_generator::LoadSummary;

/// A service at one look.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    /// Seconds since the load began.
    pub(super) at: f64,
    /// Requests per second that were due at that time.
    pub(super) load: f64,
    /// Requests per second that the ready instances serve well.
    pub(super) capacity: f64,
    /// Instances that hold resources or wait for them.
    pub(super) instances: u32,
    /// The count asked for.
    pub(super) wanted: u32,
    /// Requests that the front door holds for want of an instance.
    pub(super) held: u64,
    /// What became of the requests so far.
    pub(super) requests: LoadSummary,
}

/// What a span of time came to for one service.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Figures {
    /// Requests that were sent, and those of them that failed or could not even be sent.
    pub(super) sent: u64,
    pub(super) failed: u64,
    /// Requests held at a time, at most.
    pub(super) held: u64,
    /// Latency in seconds: the median, the 95th and the 99th percentile.
    pub(super) latency: [Option<f64>; 3],
    /// Instances times seconds, and seconds with more load than capacity.
    pub(super) instance_seconds: f64,
    pub(super) short_seconds: f64,
    /// How long it was.
    pub(super) seconds: f64,
    /// Changes of the count.
    pub(super) changes: u32,
}

/// The figures from `from` seconds on.
pub(super) fn figures(looks: &[Look], from: f64) -> Figures {
    let within = looks.partition_point(|look| look.at < from);
    let looks = &looks[within.min(looks.len())..];
    let mut figures = Figures::default();
    for pair in looks.windows(2) {
        let (look, next) = (&pair[0], &pair[1]);
        let lasted = next.at - look.at;
        figures.seconds += lasted;
        figures.instance_seconds += lasted * f64::from(look.instances);
        figures.short_seconds += if look.load > look.capacity { lasted } else { 0.0 };
        figures.changes += u32::from(look.wanted != next.wanted);
    }
    figures.held = looks.iter().map(|look| look.held).max().unwrap_or(0);
    if let (Some(first), Some(last)) = (looks.first(), looks.last()) {
        let ended = last.requests.ended.since(&first.requests.ended);
        let shed = last.requests.shed - first.requests.shed;
        figures.sent = last.requests.sent - first.requests.sent + shed;
        figures.failed = ended.errors + shed;
        figures.latency = [0.5, 0.95, 0.99].map(|level| ended.fine_quantile(level));
    }
    figures
}

impl Figures {
    /// The share of time with more load than capacity.
    pub(super) fn short(&self) -> f64 {
        if self.seconds > 0.0 { self.short_seconds / self.seconds } else { 0.0 }
    }
}

/// Both services in a table: their names, then their figures.
pub(super) fn table(sides: &[(String, Figures)]) -> Cells {
    let head = vec![
        "policy",
        "requests",
        "failed",
        "held",
        "p50",
        "p95",
        "p99",
        "under-provisioned",
        "instance-seconds",
        "changes",
    ];
    let rows = sides.iter().map(|(name, figures)| {
        let latency = figures
            .latency
            .map(|of| of.map_or_else(|| "-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1e3)));
        let [p50, p95, p99] = latency;
        vec![
            name.clone(),
            figures.sent.to_string(),
            figures.failed.to_string(),
            figures.held.to_string(),
            p50,
            p95,
            p99,
            format!("{:.1} % ({:.0} s)", 100.0 * figures.short(), figures.short_seconds),
            format!("{:.0}", figures.instance_seconds),
            figures.changes.to_string(),
        ]
    });
    Cells { head, rows: rows.collect() }
}

/// Which did better, as it was measured.
pub(super) fn verdict(reactive: &Figures, predictive: &Figures) -> String {
    if reactive.seconds <= 0.0 || predictive.seconds <= 0.0 {
        return "nothing was seen: this machine was too busy".to_owned();
    }
    let cost = 100.0 * (predictive.instance_seconds / reactive.instance_seconds.max(1.0) - 1.0);
    let short = 100.0 * (predictive.short() - reactive.short());
    // What rounds to nothing is no difference.
    let (dearer, shorter) = (cost.round() as i64, (10.0 * short).round() as i64);
    let instances = match dearer {
        0 => "as many".to_owned(),
        1.. => format!("{dearer} % more"),
        _ => format!("{} % fewer", -dearer),
    };
    let time = match shorter {
        0 => "as much".to_owned(),
        1.. => format!("{short:.1} percentage points more"),
        _ => format!("{:.1} percentage points less", -short),
    };
    let told = format!("{instances} instance-seconds, {time} under-provisioned time");
    let p95 = match (reactive.latency[1], predictive.latency[1]) {
        (Some(before), Some(after)) => format!(", p95 {:.0} against {:.0} ms", after * 1e3, before * 1e3),
        _ => String::new(),
    };
    let judged = match (dearer, shorter) {
        (0, 0) => "both were alike",
        (..=0, ..=0) => "predictive was better",
        (0.., 0..) => "predictive was NOT better",
        (1.., _) => "predictive was short for less time, and cost more",
        _ => "predictive cost less, and was short for more time",
    };
    format!("{judged}: {told}{p95}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::load::{FINE_BUCKETS, RequestCounters, fine_bucket};

    fn look(at: f64, (load, capacity): (f64, f64), instances: u32, (answered, seconds): (u64, f64)) -> Look {
        let mut ended = RequestCounters { requests: answered, ..RequestCounters::default() };
        ended.fine = vec![0; FINE_BUCKETS];
        ended.fine[fine_bucket(seconds)] = answered;
        let requests = LoadSummary { sent: answered, shed: 0, ended };
        Look { at, load, capacity, instances, wanted: instances, held: 0, requests }
    }

    #[test]
    fn time_counts_and_not_the_number_of_looks() {
        let looks = [
            look(0.0, (5.0, 10.0), 1, (0, 0.1)),
            look(10.0, (15.0, 10.0), 1, (50, 0.1)),
            look(12.0, (15.0, 20.0), 3, (80, 0.1)),
            look(20.0, (15.0, 20.0), 2, (200, 0.1)),
        ];
        let all = figures(&looks, 0.0);
        assert_eq!((all.sent, all.failed, all.changes), (200, 0, 2));
        assert!((all.short() - 0.1).abs() < 1e-9 && (all.instance_seconds - 36.0).abs() < 1e-9, "{all:?}");
        assert!((all.latency[1].expect("answers") / 0.1 - 1.0).abs() < 0.2, "{all:?}");
        let late = figures(&looks, 11.0);
        assert_eq!((late.sent, late.changes), (120, 1));
        assert!(late.short() < 1e-9 && (late.seconds - 8.0).abs() < 1e-9, "{late:?}");
        assert_eq!(figures(&[], 0.0), Figures::default());
        assert_eq!(table(&[("hpa".to_owned(), all)]).rows[0].len(), 10);
    }

    #[test]
    fn a_policy_that_is_not_better_is_told_so() {
        let of = |instance_seconds: f64, short_seconds: f64| Figures {
            instance_seconds,
            short_seconds,
            seconds: 100.0,
            ..Figures::default()
        };
        let said = |a: Figures, b: Figures| verdict(&a, &b);
        assert_eq!(
            said(of(200.0, 5.0), of(150.0, 2.0)),
            "predictive was better: 25 % fewer instance-seconds, 3.0 percentage points less under-provisioned time"
        );
        assert!(said(of(200.0, 5.0), of(210.0, 6.0)).starts_with("predictive was NOT better: 5 % more"));
        assert!(said(of(200.0, 5.0), of(210.0, 1.0)).contains("cost more"));
        assert!(said(of(200.0, 1.0), of(190.0, 5.0)).contains("short for more time"));
        assert!(said(of(200.0, 1.0), Figures::default()).starts_with("nothing was seen"));
    }
}
