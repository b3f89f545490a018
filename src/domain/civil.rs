//! From the times that a clock on the wall shows to instants, where that clock is set forward and back.
//! In: a pattern of civil times and a time zone. Out: instants, each later than the one before.
//!
//! The rules are the same for every kind of pattern:
//! - a pattern that names hours (`30 2 * * *`): a time that the clock skips is due at the first instant
//!   after the gap, several of them once; a time that it shows twice is due at its first showing;
//! - a pattern that goes through every hour (`*/20 * * * *`) follows the clock as it runs: nothing is due
//!   in a gap, and an hour that comes twice is gone through twice.
//!
//! Not here: what the patterns are (`cron`, `recurrence`).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// Civil times that a pattern names, in order.
pub(super) type CivilTimes<'p> = Box<dyn Iterator<Item = DateTime> + 'p>;

/// A pattern of civil times.
pub(super) trait Pattern {
    /// Its times from `start` on, or after it.
    fn times(&self, start: DateTime, inclusive: bool) -> CivilTimes<'_>;

    /// Whether it goes through every hour rather than naming some.
    fn every_hour(&self) -> bool;

    /// The last instant that it may name, where it ends at one.
    fn until(&self) -> Option<Timestamp> {
        None
    }
}

/// The instants of a pattern in a zone, oldest first.
pub(super) struct Occurrences<'p> {
    pattern: &'p dyn Pattern,
    zone: &'p TimeZone,
    times: CivilTimes<'p>,
    last: Timestamp,
    /// For patterns through every hour: the offset that `times` are read with, and when it ends.
    stretch: Option<(Offset, Option<Timestamp>)>,
}

impl<'p> Occurrences<'p> {
    /// The instants after `after`.
    pub(super) fn new(pattern: &'p dyn Pattern, zone: &'p TimeZone, after: Timestamp) -> Self {
        let offset = zone.to_offset(after);
        // Patterns name whole seconds.
        let shown = offset.to_datetime(after);
        let shown = shown.with().subsec_nanosecond(0).build().unwrap_or(shown);
        let stretch = pattern.every_hour().then(|| (offset, end_of(zone, offset, after)));
        Self { pattern, zone, times: pattern.times(shown, false), last: after, stretch }
    }

    fn following(&mut self) -> Option<Timestamp> {
        loop {
            let civil = self.times.next()?;
            let Some((offset, end)) = self.stretch else { return instant_of(self.zone, civil) };
            let at = offset.to_timestamp(civil).ok()?;
            let Some(end) = end.filter(|end| at >= *end) else { return Some(at) };
            let offset = self.zone.to_offset(end);
            self.stretch = Some((offset, end_of(self.zone, offset, end)));
            self.times = self.pattern.times(offset.to_datetime(end), true);
        }
    }
}

impl Iterator for Occurrences<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        loop {
            let at = self.following()?;
            if self.pattern.until().is_some_and(|until| at > until) {
                return None;
            }
            if at > self.last {
                self.last = at;
                return Some(at);
            }
        }
    }
}

/// When the clock is next set to another offset.
fn end_of(zone: &TimeZone, offset: Offset, after: Timestamp) -> Option<Timestamp> {
    zone.following(after).find(|change| change.offset() != offset).map(|change| change.timestamp())
}

/// The instant at which a zone's clock shows a time first, or the first one after the gap that it is in.
pub(super) fn instant_of(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            let earlier = after.to_timestamp(civil).ok()?;
            zone.following(earlier).find(|change| change.offset() == after).map(|change| change.timestamp())
        }
    }
}
