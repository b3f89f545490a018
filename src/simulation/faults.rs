//! What goes wrong in a simulated cluster, and how often. In: a text such as
//! `node-loss=0.05,failed-boot=0.02`. Out: rates.

use std::str::FromStr;

use serde::Serialize;

/// A boot that is slow takes so many times as long.
pub const SLOW_TIMES: f64 = 5.0;
/// Seconds for which an agent that falls silent says nothing, from and to.
pub const SILENT_SECONDS: (f64, f64) = (30.0, 600.0);

/// How often what goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Faults {
    /// Machines that die, per machine and day.
    pub node_loss: f64,
    /// The share of boots that take five times as long.
    pub slow_boot: f64,
    /// The share of boots that come to nothing.
    pub failed_boot: f64,
    /// The share of calls that get lost, half of them on the way there, half on the way back.
    pub lost_messages: f64,
    /// How often an agent falls silent, per machine and day.
    pub silence: f64,
}

/// The keys as people write them.
const KEYS: [&str; 5] = ["node-loss", "slow-boot", "failed-boot", "lost-messages", "silence"];

impl Faults {
    /// A bad week: rates that a large cluster on spot machines may see.
    pub const ALL: Self =
        Self { node_loss: 0.05, slow_boot: 0.05, failed_boot: 0.02, lost_messages: 0.01, silence: 0.1 };

    fn set(&mut self, key: &str, rate: f64) -> bool {
        let field = match key {
            "node-loss" => &mut self.node_loss,
            "slow-boot" => &mut self.slow_boot,
            "failed-boot" => &mut self.failed_boot,
            "lost-messages" => &mut self.lost_messages,
            "silence" => &mut self.silence,
            _ => return false,
        };
        *field = rate;
        true
    }

    fn read(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, rate) = part.split_once('=').ok_or_else(|| format!("`{part}` is not KEY=RATE"))?;
            let known: Option<f64> = rate.parse().ok();
            let is_share = matches!(key, "slow-boot" | "failed-boot" | "lost-messages");
            let fits = |rate: f64| rate >= 0.0 && rate.is_finite() && (!is_share || rate < 1.0);
            let rate = known.filter(|rate| fits(*rate)).ok_or_else(|| {
                let wanted = if is_share { "a share from 0 up to 1" } else { "a number of at least 0" };
                format!("`{rate}` is not a rate of {key}: {wanted} is")
            })?;
            if !faults.set(key, rate) {
                return Err(format!("`{key}` is not a fault; those known are {}", KEYS.join(", ")));
            }
        }
        Ok(faults)
    }
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::default()),
            "all" => Ok(Self::ALL),
            _ => Self::read(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_refused_in_words() {
        assert_eq!("none".parse(), Ok(Faults::default()));
        assert_eq!("all".parse(), Ok(Faults::ALL));
        let two = Faults { node_loss: 2.0, failed_boot: 0.5, ..Faults::default() };
        assert_eq!("node-loss=2,failed-boot=0.5".parse(), Ok(two));
        let refused = |text: &str| text.parse::<Faults>().expect_err("refused");
        assert!(refused("node-los=1").contains("not a fault; those known are node-loss"));
        assert!(refused("failed-boot=1").contains("a share from 0 up to 1"));
        assert!(refused("silence=-1").contains("at least 0"));
        assert!(refused("silence").contains("KEY=RATE"));
    }
}
