//! Plain methods of forecasting: what each says of a slot, from what was known at an origin.
//!
//! In: seasons and levels at the origin. Out: a value a method on the logarithmic scale, and the same values as
//! regressors. None has parameters, so that each can be asked anew about the past without a look ahead.

use crate::forecasting::seasons::Seasons;

/// Methods, in the order of `Experts::values`.
pub(super) const EXPERTS: usize = 8;

/// So many of them, the first, know no season.
pub(super) const PLAIN: usize = 3;

/// Where the regression stands.
pub(super) const RIDGE: usize = 7;

/// Regressors.
pub(super) const INPUTS: usize = 5;

/// What is known at an origin, whatever is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The level.
    pub(super) level: f64,
    hour: f64,
    days: f64,
    day_course: Option<f64>,
    week_course: Option<f64>,
}

/// What the methods say of one slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    /// A value a method; the regression's is filled in by the node, which knows its weights.
    pub(super) values: [f64; EXPERTS],
    /// Regressors, differences to the level.
    pub(super) inputs: [f64; INPUTS],
}

impl Origin {
    /// The origin at which `seasons` are known, with the time's own slot `here` and the level there.
    pub(super) fn new(seasons: &Seasons<'_>, here: i64, level: f64) -> Self {
        let history = seasons.history;
        let level = seasons.scale.up(level);
        let hour = seasons.recent(history.slots(3600).max(3), 1).unwrap_or(level);
        let stride = history.slots(1800);
        let days = seasons.recent(history.slots(2 * 86_400) / stride, stride).unwrap_or(level);
        Self { level, hour, days, day_course: seasons.day(here), week_course: seasons.week(here) }
    }

    /// What the methods say of `slot`.
    pub(super) fn say(&self, seasons: &Seasons<'_>, slot: i64) -> Said {
        let level = self.level;
        let (day, week) = (seasons.day(slot), seasons.week(slot));
        let moved =
            |then: Option<f64>, here: Option<f64>| then.zip(here).map(|(then, here)| level + then - here);
        let (by_day, by_week) = (moved(day, self.day_course), moved(week, self.week_course));
        // Without a week there is the day, without a day the level.
        let day = day.unwrap_or(self.days);
        let week = week.unwrap_or(day);
        let by_day = by_day.unwrap_or(level);
        let by_week = by_week.unwrap_or(by_day);
        let moves = f64::midpoint(by_day, by_week);
        Said {
            values: [level, self.hour, self.days, day, week, by_day, by_week, level],
            inputs: [self.hour - level, self.days - level, day - level, week - level, moves - level],
        }
    }
}
