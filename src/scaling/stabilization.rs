//! How fast a count may change: the most cautious answer of a window, and rules per period.
//! Not here: which count the metrics ask for (`metric_count`).
//!
//! In: a wanted count and what was wanted and changed before. Out: the count that is allowed now.
//!
//! Follows `stabilizeRecommendationWithBehaviors` and `convertDesiredReplicasWithBehaviorRate` in
//! `pkg/controller/podautoscaler/horizontal.go` of Kubernetes.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::scale::{ScaleSpec, ScalingAmount, ScalingRules, SelectPolicy};

/// Answers and changes kept at most; the oldest go first. An hour's window of one answer a second fits.
const KEPT_MAX: usize = 4096;

/// What a service's count was wanted to be at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    at: Timestamp,
    count: u32,
}

/// A change of a service's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Move {
    at: Timestamp,
    from: u32,
    to: u32,
}

/// What is remembered of one service between decisions. A document of this type can be stored: after a
/// restart windows and periods go on where they were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HorizontalState {
    /// Whether anything was ever decided.
    begun: bool,
    answers: VecDeque<Answer>,
    moves: VecDeque<Move>,
}

/// A count with the rule that bound it, where one did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounded {
    pub(super) count: u32,
    pub(super) rule: Option<&'static str>,
}

/// The rule: the most cautious answer of the window holds.
pub(super) const WINDOW: &str = "stabilization window";
/// The rule: never more instances than this.
pub(super) const MAX: &str = "max instances";
/// The rule: never fewer instances than this.
pub(super) const MIN: &str = "min instances";
/// The rule: no more may be added within the period.
const UP_RULE: &str = "scale-up rule";
/// The rule: no more may be removed within the period.
const DOWN_RULE: &str = "scale-down rule";

impl HorizontalState {
    /// Notes that a decision was carried out. A decision that is only observed is not noted: rules
    /// limit what really changed.
    pub fn applied(&mut self, from: u32, to: u32, at: Timestamp) {
        self.moves.push_back(Move { at, from, to });
        if self.moves.len() > KEPT_MAX {
            self.moves.pop_front();
        }
    }

    /// The machine's clock was set: windows and periods go on as they were.
    pub fn clock_moved(&mut self, by: SignedDuration) {
        let moved = |at: Timestamp| at.saturating_add(by).unwrap_or(at);
        self.answers.iter_mut().for_each(|answer| answer.at = moved(answer.at));
        self.moves.iter_mut().for_each(|change| change.at = moved(change.at));
    }

    /// Makes the present count the very first answer, so that an engine that has just been started does
    /// not scale down at once; and drops what no window or period reaches any more.
    pub(super) fn prepare(&mut self, spec: &ScaleSpec, count: u32, now: Timestamp) {
        let window = spec.up.stabilization.max(spec.down.stabilization);
        let period =
            [&spec.up, &spec.down].into_iter().flat_map(|rules| &rules.rules).map(|rule| rule.period);
        let period = period.max().unwrap_or_default();
        // What lies ahead of now was noted before the clock was set back; it would hold for too long.
        let reaches = |at: Timestamp, back: SignedDuration| at <= now && now.duration_since(at) <= back;
        self.answers.retain(|answer| reaches(answer.at, window));
        self.moves.retain(|change| reaches(change.at, period));
        if !self.begun {
            self.begun = true;
            self.answers.push_back(Answer { at: now, count });
        }
    }

    /// The present count, moved no further than every answer of the windows agrees to: up to the least
    /// of the upward window, down to the greatest of the downward window. Remembers `wanted`.
    pub(super) fn stabilized(
        &mut self,
        spec: &ScaleSpec,
        count: u32,
        wanted: u32,
        now: Timestamp,
    ) -> Bounded {
        let within = |window: SignedDuration| {
            let recent = self.answers.iter().filter(move |answer| now.duration_since(answer.at) < window);
            recent.map(|answer| answer.count).chain([wanted])
        };
        let up = within(spec.up.stabilization).min().unwrap_or(wanted);
        let down = within(spec.down.stabilization).max().unwrap_or(wanted);
        let allowed = count.max(up).min(down);
        self.answers.push_back(Answer { at: now, count: wanted });
        if self.answers.len() > KEPT_MAX {
            self.answers.pop_front();
        }
        Bounded { count: allowed, rule: (allowed != wanted).then_some(WINDOW) }
    }

    /// `wanted` within the rules of its direction and the bounds of the service.
    pub(super) fn limited(&self, spec: &ScaleSpec, count: u32, wanted: u32, now: Timestamp) -> Bounded {
        if wanted > count {
            let limit = self.upward_limit(&spec.up, count, now).max(count);
            let (most, rule) = if limit < spec.max { (limit, UP_RULE) } else { (spec.max, MAX) };
            return Bounded { count: wanted.min(most), rule: (wanted > most).then_some(rule) };
        }
        if wanted < count {
            let limit = self.downward_limit(&spec.down, count, now).min(count);
            let (least, rule) = if limit > spec.min { (limit, DOWN_RULE) } else { (spec.min, MIN) };
            return Bounded { count: wanted.max(least), rule: (wanted < least).then_some(rule) };
        }
        Bounded { count, rule: None }
    }

    /// How far down a count may go at once by the rules alone, without the window: for what has waited already.
    pub fn downwards(&self, spec: &ScaleSpec, count: u32, wanted: u32, now: Timestamp) -> u32 {
        self.limited(spec, count, wanted.min(count), now).count
    }

    fn upward_limit(&self, rules: &ScalingRules, count: u32, now: Timestamp) -> u32 {
        let limits = rules.rules.iter().map(|rule| {
            let start = self.count_before(count, rule.period, now);
            match rule.amount {
                ScalingAmount::Instances(more) => start.saturating_add(more),
                // Rounded up: of one instance, 50 % more must be two, or it could never grow.
                ScalingAmount::Percent(percent) => {
                    let grown = u64::from(start) * (100 + u64::from(percent));
                    u32::try_from(grown.div_ceil(100)).unwrap_or(u32::MAX)
                }
            }
        });
        match rules.select {
            SelectPolicy::Disabled => count,
            SelectPolicy::Max => limits.max().unwrap_or(u32::MAX),
            SelectPolicy::Min => limits.min().unwrap_or(u32::MAX),
        }
    }

    fn downward_limit(&self, rules: &ScalingRules, count: u32, now: Timestamp) -> u32 {
        let limits = rules.rules.iter().map(|rule| {
            let start = self.count_before(count, rule.period, now);
            match rule.amount {
                ScalingAmount::Instances(fewer) => start.saturating_sub(fewer),
                ScalingAmount::Percent(percent) => {
                    let kept = u64::from(start) * u64::from(100_u32.saturating_sub(percent)) / 100;
                    u32::try_from(kept).unwrap_or(u32::MAX)
                }
            }
        });
        match rules.select {
            SelectPolicy::Disabled => count,
            // The greatest change leaves the fewest instances.
            SelectPolicy::Max => limits.min().unwrap_or(0),
            SelectPolicy::Min => limits.max().unwrap_or(0),
        }
    }

    /// The count at the beginning of the period that ends now, as far as scaling changed it since.
    fn count_before(&self, count: u32, period: SignedDuration, now: Timestamp) -> u32 {
        let recent = self.moves.iter().filter(|change| now.duration_since(change.at) < period);
        let since: i64 = recent.map(|change| i64::from(change.to) - i64::from(change.from)).sum();
        u32::try_from((i64::from(count) - since).max(0)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scale::{MetricTarget, ScalingRule};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn rules(select: SelectPolicy, rules: &[(ScalingAmount, i64)]) -> ScalingRules {
        ScalingRules {
            stabilization: SignedDuration::ZERO,
            select,
            rules: rules
                .iter()
                .map(|&(amount, seconds)| ScalingRule { amount, period: SignedDuration::from_secs(seconds) })
                .collect(),
            tolerance: None,
        }
    }

    fn spec() -> ScaleSpec {
        ScaleSpec::new(1, 100, vec![MetricTarget::Cpu { utilization: 0.5 }])
    }

    fn limited(
        spec: &ScaleSpec,
        state: &HorizontalState,
        count: u32,
        wanted: u32,
    ) -> (u32, Option<&'static str>) {
        let bounded = state.limited(spec, count, wanted, at(1000));
        (bounded.count, bounded.rule)
    }

    #[test]
    fn four_or_twice_as_many_each_fifteen_seconds_by_default() {
        let (spec, mut state) = (spec(), HorizontalState::default());
        assert_eq!(limited(&spec, &state, 2, 50), (6, Some(UP_RULE)));
        assert_eq!(limited(&spec, &state, 10, 50), (20, Some(UP_RULE)));
        assert_eq!(limited(&spec, &state, 2, 3), (3, None));
        // Half of the period's growth has been used up.
        state.applied(10, 15, at(990));
        assert_eq!(limited(&spec, &state, 15, 50), (20, Some(UP_RULE)));
        // The period is over.
        state = HorizontalState::default();
        state.applied(10, 15, at(985));
        assert_eq!(limited(&spec, &state, 15, 50), (30, Some(UP_RULE)));
    }

    #[test]
    fn growth_that_is_used_up_does_not_shrink_the_count() {
        let mut spec = spec();
        spec.up = rules(SelectPolicy::Max, &[(ScalingAmount::Instances(2), 60)]);
        let mut state = HorizontalState::default();
        state.applied(10, 15, at(990));
        assert_eq!(limited(&spec, &state, 15, 20), (15, Some(UP_RULE)));
    }

    #[test]
    fn the_selected_rule_holds() {
        let both = [(ScalingAmount::Instances(4), 60), (ScalingAmount::Percent(10), 60)];
        let mut spec = spec();
        for (select, up, down) in
            [(SelectPolicy::Max, 84, 72), (SelectPolicy::Min, 84, 76), (SelectPolicy::Disabled, 80, 80)]
        {
            spec.down = rules(select, &both);
            assert_eq!(limited(&spec, &HorizontalState::default(), 80, 10).0, down, "{select:?}");
            spec.up = rules(select, &[both[0]]);
            assert_eq!(limited(&spec, &HorizontalState::default(), 80, 100).0, up, "{select:?}");
        }
        // Two of nine are removed already; 10 % of the eleven at the beginning leaves 9.
        let mut state = HorizontalState::default();
        state.applied(11, 9, at(980));
        spec.down = rules(SelectPolicy::Max, &[both[1]]);
        assert_eq!(limited(&spec, &state, 9, 1), (9, Some(DOWN_RULE)));
    }

    #[test]
    fn bounds_hold_and_rounding_never_stops_growth() {
        let mut spec = spec();
        (spec.min, spec.max) = (3, 8);
        assert_eq!(limited(&spec, &HorizontalState::default(), 6, 12), (8, Some(MAX)));
        assert_eq!(limited(&spec, &HorizontalState::default(), 6, 1), (3, Some(MIN)));
        spec.up = rules(SelectPolicy::Max, &[(ScalingAmount::Percent(10), 60)]);
        assert_eq!(limited(&spec, &HorizontalState::default(), 1, 5).0, 2);
        spec.up = rules(SelectPolicy::Max, &[]);
        assert_eq!(limited(&spec, &HorizontalState::default(), 1, 5), (5, None));
    }

    #[test]
    fn down_waits_for_the_whole_window_and_up_does_not_wait() {
        let (spec, mut state) = (spec(), HorizontalState::default());
        state.prepare(&spec, 5, at(0));
        assert_eq!(state.stabilized(&spec, 5, 8, at(15)), Bounded { count: 8, rule: None });
        for seconds in (30..=300).step_by(15) {
            state.prepare(&spec, 8, at(seconds));
            let bounded = state.stabilized(&spec, 8, 3, at(seconds));
            assert_eq!(bounded, Bounded { count: 8, rule: Some(WINDOW) }, "{seconds}");
        }
        state.prepare(&spec, 8, at(315));
        assert_eq!(state.stabilized(&spec, 8, 3, at(315)), Bounded { count: 3, rule: None });
    }

    #[test]
    fn a_window_shorter_than_the_time_between_decisions_holds_nothing_up() {
        let (mut spec, mut state) = (spec(), HorizontalState::default());
        spec.down.stabilization = SignedDuration::from_secs(10);
        for (seconds, count) in [(0, 8), (15, 3)] {
            state.prepare(&spec, 8, at(seconds));
            assert_eq!(state.stabilized(&spec, 8, 3, at(seconds)).count, count, "{seconds}");
        }
    }

    #[test]
    fn up_waits_where_a_window_is_given() {
        let (mut spec, mut state) = (spec(), HorizontalState::default());
        spec.up.stabilization = SignedDuration::from_secs(60);
        state.prepare(&spec, 2, at(0));
        assert_eq!(state.stabilized(&spec, 2, 9, at(0)).count, 2);
        assert_eq!(state.stabilized(&spec, 2, 7, at(30)).count, 2);
        assert_eq!(state.stabilized(&spec, 2, 8, at(60)).count, 7, "the least of the last minute");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut spec, mut state) = (spec(), HorizontalState::default());
        for second in 0..700 {
            state.prepare(&spec, 5, at(second));
            state.stabilized(&spec, 5, 5, at(second));
            state.applied(5, 5, at(second));
        }
        assert!(state.answers.len() <= 302 && state.moves.len() <= 17);
        spec.down.stabilization = SignedDuration::from_hours(100);
        state.answers = std::iter::repeat_n(Answer { at: at(2000), count: 5 }, KEPT_MAX).collect();
        state.stabilized(&spec, 5, 5, at(2001));
        assert_eq!(state.answers.len(), KEPT_MAX);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let (spec, mut state) = (spec(), HorizontalState::default());
        state.prepare(&spec, 50, at(90_000));
        state.stabilized(&spec, 50, 50, at(90_000));
        state.prepare(&spec, 5, at(0));
        assert_eq!(state.stabilized(&spec, 5, 3, at(301)).count, 3);
    }
}
