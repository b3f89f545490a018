//! In: what two revisions did behind the same front door over the same time. Out: whether the new one is
//! about as good as the old one, in words with its figures.
//!
//! A difference counts only if it is large both in proportion and in itself: 2 ms in place of 1 ms is
//! twice as slow and harms nobody. Errors are judged as soon as there are requests enough, the rest at
//! the end of the wait: a revision that fails requests should not go on doing so until then.

use crate::domain::observation::{RevisionLoad, SideBySide};
use crate::domain::strategy::Comparison;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// There is too little to compare so far.
    TooFew(String),
    /// The new revision is about as good as the old one.
    Accepted(String),
    /// It is worse.
    Refused(String),
}

/// A quantity that should not grow from one revision to the next.
struct Quantity {
    name: &'static str,
    old: f64,
    new: f64,
    /// How often the old value is accepted.
    ratio: f64,
    /// What may be added in any case.
    floor: f64,
    show: fn(f64) -> String,
}

impl Quantity {
    fn is_worse(&self) -> bool {
        self.new > self.old * self.ratio && self.new - self.old > self.floor
    }

    fn words(&self) -> String {
        let times =
            if self.old > 0.0 { format!(" ({:.1} times)", self.new / self.old) } else { String::new() };
        format!("{} {}, before {}{times}", self.name, (self.show)(self.new), (self.show)(self.old))
    }
}

/// Compares two revisions. Before the end of the wait only errors count.
pub(super) fn compare(limits: &Comparison, seen: Option<&SideBySide>, at_end: bool) -> Finding {
    let needed = limits.min_requests.max(1);
    let (old, new) = seen.map_or_else(Default::default, |seen| (seen.old.clone(), seen.new.clone()));
    let (before, after) = (old.requests.requests, new.requests.requests);
    if before < needed || after < needed {
        return Finding::TooFew(format!(
            "too few requests to compare: {after} to the new revision, {before} to the old one, \
             at least {needed} each are needed"
        ));
    }
    let quantities = quantities(limits, &old, &new);
    let counted = format!("over {after} requests, before over {before}");
    let worse: Vec<&Quantity> = quantities
        .iter()
        .filter(|quantity| (at_end || quantity.name == ERRORS) && quantity.is_worse())
        .collect();
    if !worse.is_empty() {
        let words: Vec<String> = worse
            .iter()
            .map(|quantity| format!("{}, at most {} times are accepted", quantity.words(), quantity.ratio))
            .collect();
        return Finding::Refused(format!("{}; {counted}", words.join("; ")));
    }
    let words: Vec<String> = quantities.iter().map(Quantity::words).collect();
    Finding::Accepted(format!("{}; {counted}", words.join("; ")))
}

const ERRORS: &str = "errors";

fn quantities(limits: &Comparison, old: &RevisionLoad, new: &RevisionLoad) -> Vec<Quantity> {
    let p95 = |load: &RevisionLoad| load.requests.fine_quantile(0.95);
    let errors = |load: &RevisionLoad| load.requests.errors as f64 / load.requests.requests.max(1) as f64;
    let cpu = |load: &RevisionLoad| Some(load.cpu_seconds? / load.requests.requests.max(1) as f64);
    let mut found = vec![Quantity {
        name: ERRORS,
        old: errors(old),
        new: errors(new),
        ratio: limits.errors_ratio,
        floor: limits.errors_floor.get(),
        show: |share| format!("{:.1} %", share * 100.0),
    }];
    let milliseconds = |seconds: f64| format!("{:.1} ms", seconds * 1000.0);
    if let (Some(old), Some(new)) = (p95(old), p95(new)) {
        found.push(Quantity {
            name: "p95 latency",
            old,
            new,
            ratio: limits.latency_ratio,
            floor: limits.latency_floor.as_secs_f64(),
            show: milliseconds,
        });
    }
    if let (Some(ratio), Some(old), Some(new)) = (limits.cpu_ratio, cpu(old), cpu(new)) {
        // The kernel's clock of CPU time is fine enough for a floor of nothing.
        found.push(Quantity {
            name: "CPU time per request",
            old,
            new,
            ratio,
            floor: 0.0,
            show: milliseconds,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::load::{FINE_BUCKETS, RequestCounters, fine_bucket};
    use crate::domain::rollout::StageKey;

    fn load(requests: u64, milliseconds: f64, errors: u64) -> RevisionLoad {
        let mut fine = vec![0; FINE_BUCKETS];
        fine[fine_bucket(milliseconds / 1000.0)] = requests;
        let counters = RequestCounters { requests, errors, fine, ..RequestCounters::default() };
        RevisionLoad { requests: counters, cpu_seconds: Some(milliseconds / 1000.0 * requests as f64) }
    }

    fn judge(old: RevisionLoad, new: RevisionLoad, at_end: bool) -> Finding {
        let stage = StageKey { revision: 2, index: 0, since: jiff::Timestamp::UNIX_EPOCH };
        compare(&Comparison::default(), Some(&SideBySide { stage, old, new }), at_end)
    }

    #[test]
    fn slower_is_refused_at_the_end_with_its_figures() {
        let Finding::Refused(words) = judge(load(500, 20.0, 0), load(200, 60.0, 0), true) else {
            panic!("accepted");
        };
        assert!(words.contains("p95 latency") && words.contains("at most 1.5 times"), "{words}");
        assert!(words.contains("over 200 requests, before over 500"), "{words}");
        assert!(matches!(judge(load(500, 20.0, 0), load(200, 60.0, 0), false), Finding::Accepted(_)));
    }

    #[test]
    fn errors_are_refused_at_once() {
        assert!(matches!(judge(load(500, 20.0, 0), load(200, 20.0, 20), false), Finding::Refused(_)));
        assert!(matches!(judge(load(500, 20.0, 50), load(200, 20.0, 20), true), Finding::Accepted(_)));
    }

    #[test]
    fn noise_between_tiny_latencies_and_single_errors_is_accepted() {
        assert!(matches!(judge(load(500, 1.0, 0), load(200, 5.0, 1), true), Finding::Accepted(_)));
    }

    #[test]
    fn too_few_requests_say_nothing() {
        assert!(matches!(judge(load(500, 1.0, 0), load(99, 500.0, 99), true), Finding::TooFew(_)));
        assert!(matches!(judge(load(99, 1.0, 0), load(500, 500.0, 99), true), Finding::TooFew(_)));
        assert!(matches!(compare(&Comparison::default(), None, true), Finding::TooFew(_)));
    }

    #[test]
    fn cpu_time_per_request_is_compared_where_it_is_asked_for() {
        let stage = StageKey { revision: 2, index: 0, since: jiff::Timestamp::UNIX_EPOCH };
        let mut new = load(200, 20.0, 0);
        new.cpu_seconds = new.cpu_seconds.map(|seconds| seconds * 3.0);
        let seen = SideBySide { stage, old: load(200, 20.0, 0), new };
        let limits = Comparison { cpu_ratio: Some(2.0), ..Comparison::default() };
        let Finding::Refused(words) = compare(&limits, Some(&seen), true) else { panic!("accepted") };
        assert!(words.starts_with("CPU time per request 60.0 ms, before 20.0 ms (3.0 times)"), "{words}");
        assert!(matches!(compare(&Comparison::default(), Some(&seen), true), Finding::Accepted(_)));
    }
}
