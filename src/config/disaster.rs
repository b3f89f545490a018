//! Reads `[disaster]`: when the engine freezes scaling and draining by itself.

use jiff::SignedDuration;

use crate::config::reader::Table;
use crate::config::values::{duration_from, flag, interval, share, tries};
use crate::scheduling::disaster::DisasterSettings;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

pub(super) fn disaster(table: &Table<'_>, default: &DisasterSettings) -> DisasterSettings {
    let time = |key, default| table.or(key, default, duration_from(SECOND));
    DisasterSettings {
        enabled: table.or("enabled", default.enabled, flag),
        interval: table.or("interval", default.interval, interval),
        window: time("window", default.window),
        tasks_lost_share: table.or("tasks_lost_share", default.tasks_lost_share, share),
        tasks_lost_min: table.or("tasks_lost_min", default.tasks_lost_min, tries(1)),
        nodes_lost_share: table.or("nodes_lost_share", default.nodes_lost_share, share),
        nodes_lost_min: table.or("nodes_lost_min", default.nodes_lost_min, tries(1)),
        samples_missing_share: table.or("samples_missing_share", default.samples_missing_share, share),
        hold: time("hold", default.hold),
        late: time("late", default.late),
        lag_warning: time("lag_warning", default.lag_warning),
        lag_critical: time("lag_critical", default.lag_critical),
        freeze: time("freeze", default.freeze),
        calm: time("calm", default.calm),
        grace: time("grace", default.grace),
    }
}
