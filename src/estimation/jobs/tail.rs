//! The chance that the next run needs more than a size.
//!
//! In: the kept runs of a job, the input of the next one, what the pool of all jobs says of tails.
//! Out: a `Prediction`: survival and quantile of the next peak.
//!
//! Peaks are taken as logarithms. Where they follow the input, the line through (ln input, ln peak) is
//! taken off first, if it makes the errors of runs left out at least a fifth smaller. Within the runs seen the
//! survival is what exchangeable runs have, (runs above + 1) / (runs + 1). Above the highest of them but
//! a few (the square root of their number), excesses are taken as exponential; their mean is not known
//! but has a gamma prior worth two excesses of the pool's mean. What follows from both is a Lomax tail: heavy with
//! few runs, lighter with more.

use crate::estimation::jobs::state::{JobState, KeptRun, RUNS_KEPT};

/// The prior on a job's mean excess counts as much as this many excesses of its own.
const PRIOR_WEIGHT: f64 = 2.0;
/// The line on the input must bring the errors down to this share.
const WORTH: f64 = 0.8;
/// Fewer runs make no line.
const RUNS_FOR_A_LINE: usize = 3;
/// Quantiles below this chance are not asked for: the tail is a guess there.
const CHANCE_LEAST: f64 = 1e-12;
/// ln of the largest size that is answered: 2^60 bytes.
const LARGEST: f64 = 41.6;

/// What is expected of the next run's peak.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// ln bytes from which residuals count.
    centre: f64,
    /// The line is less sure away from the inputs that were seen.
    stretch: f64,
    /// Whether the input was used.
    by_input: bool,
    /// Residuals, the highest first.
    residuals: [f64; RUNS_KEPT],
    runs: usize,
    /// Residuals above the threshold.
    above: usize,
    threshold: f64,
    shape: f64,
    scale: f64,
}

impl Prediction {
    /// What to expect by the runs of a job and the mean excess of the pool; none without runs.
    pub fn of(state: &JobState, input: Option<f64>, pool_excess: f64) -> Option<Self> {
        let mut kept = [KeptRun { memory: 0.0, input: 0.0, cpu: 0.0, hours: 0.0 }; RUNS_KEPT];
        let runs = state.runs().len();
        for (place, run) in kept.iter_mut().zip(state.runs()) {
            *place = *run;
        }
        let kept = &kept[..runs];
        if runs == 0 {
            return None;
        }
        let mut residuals = [0.0; RUNS_KEPT];
        let line = input.and_then(|input| line(kept, input.max(1.0).ln(), &mut residuals[..runs]));
        let (centre, stretch) = line.unwrap_or_else(|| (level(kept, &mut residuals[..runs]), 1.0));
        let mut prediction = Self {
            centre,
            stretch,
            by_input: line.is_some(),
            residuals,
            runs,
            above: 0,
            threshold: 0.0,
            shape: 0.0,
            scale: 0.0,
        };
        prediction.fit_tail(pool_excess);
        Some(prediction)
    }

    fn fit_tail(&mut self, pool_excess: f64) {
        let seen = &mut self.residuals[..self.runs];
        seen.sort_by(|a, b| b.total_cmp(a));
        self.above = excesses(self.runs);
        self.threshold = seen[self.above];
        let excess: f64 = seen[..self.above].iter().map(|residual| residual - self.threshold).sum();
        self.shape = PRIOR_WEIGHT + self.above as f64;
        self.scale = PRIOR_WEIGHT * pool_excess + excess;
    }

    /// Whether the input told something.
    pub fn by_input(&self) -> bool {
        self.by_input
    }

    /// The chance that the next peak is above so many bytes.
    pub fn survival(&self, bytes: f64) -> f64 {
        let residual = (bytes.max(1.0).ln() - self.centre) / self.stretch;
        let runs = self.runs as f64;
        if residual < self.threshold {
            let above = self.residuals[..self.runs].iter().filter(|seen| **seen > residual).count();
            return (above as f64 + 1.0) / (runs + 1.0);
        }
        let beyond = (residual - self.threshold) / self.scale;
        self.tail_weight() * (1.0 + beyond).powf(-self.shape)
    }

    /// The bytes that the next peak is above with this chance.
    pub fn quantile(&self, chance: f64) -> f64 {
        let (chance, weight) = (chance.max(CHANCE_LEAST), self.tail_weight());
        let residual = if chance >= weight {
            let place = (chance * (self.runs as f64 + 1.0)) as usize;
            self.residuals[place.saturating_sub(1).min(self.runs - 1)]
        } else {
            self.threshold + self.scale * ((chance / weight).powf(-1.0 / self.shape) - 1.0)
        };
        (self.centre + self.stretch * residual).min(LARGEST).exp()
    }

    fn tail_weight(&self) -> f64 {
        (self.above as f64 + 1.0) / (self.runs as f64 + 1.0)
    }
}

/// How many of so many runs count as tail.
fn excesses(runs: usize) -> usize {
    ((runs as f64).sqrt().ceil() as usize).min(runs.saturating_sub(1))
}

/// The mean excess of a job's own tail: what it brings to the pool. None with few runs, whose tail would
/// be their whole range.
pub fn own_excess(state: &JobState) -> Option<f64> {
    const RUNS_LEAST: usize = 4;
    let mut seen = [0.0; RUNS_KEPT];
    let runs = state.runs().len();
    if runs < RUNS_LEAST {
        return None;
    }
    for (place, run) in seen.iter_mut().zip(state.runs()) {
        *place = f64::from(run.memory);
    }
    let seen = &mut seen[..runs];
    seen.sort_by(|a, b| b.total_cmp(a));
    let above = excesses(runs);
    Some(seen[..above].iter().map(|value| value - seen[above]).sum::<f64>() / above as f64)
}

/// The median, and the residuals around it.
fn level(kept: &[KeptRun], residuals: &mut [f64]) -> f64 {
    for (residual, run) in residuals.iter_mut().zip(kept) {
        *residual = f64::from(run.memory);
    }
    residuals.sort_by(f64::total_cmp);
    let median = residuals[kept.len() / 2];
    for residual in residuals.iter_mut() {
        *residual -= median;
    }
    median
}

/// The line through ln input and ln peak at this input with its stretch, and the residuals of runs left
/// out; none where the level does about as well.
fn line(kept: &[KeptRun], input: f64, residuals: &mut [f64]) -> Option<(f64, f64)> {
    if kept.len() < RUNS_FOR_A_LINE || kept.iter().any(|run| run.input <= 0.0) {
        return None;
    }
    let count = kept.len() as f64;
    let mean = |of: fn(&KeptRun) -> f32| kept.iter().map(|run| f64::from(of(run))).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|run| run.input), mean(|run| run.memory));
    let centred = |run: &KeptRun| (f64::from(run.input) - x_mean, f64::from(run.memory) - y_mean);
    let spread: f64 = kept.iter().map(|run| centred(run).0.powi(2)).sum();
    // Inputs within a thousandth of each other are the same to a peak.
    if spread < 1e-6 {
        return None;
    }
    let slope = kept.iter().map(|run| centred(run).0 * centred(run).1).sum::<f64>() / (spread + 1e-3);
    // A peak that falls with the input is chance, or not about the input.
    if slope <= 0.0 {
        return None;
    }
    let (mut with, mut without) = (0.0, 0.0);
    for (residual, run) in residuals.iter_mut().zip(kept) {
        let (x, y) = centred(run);
        let leverage = 1.0 / count + x * x / spread;
        *residual = (y - slope * x) / (1.0 - leverage).max(1e-3);
        with += residual.abs();
        without += (y * count / (count - 1.0)).abs();
    }
    let off = input - x_mean;
    (with < WORTH * without).then(|| (y_mean + slope * off, (1.0 + 1.0 / count + off * off / spread).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimation::jobs::{RunEnd, RunOutcome};

    fn state(runs: &[(f64, Option<f64>)]) -> JobState {
        let mut state = JobState::default();
        for &(peak, input) in runs {
            let end = RunEnd::Finished { peak };
            state.observe(&RunOutcome { end, limit: 1e9, hours: 1.0, cpu: None, input });
        }
        state
    }

    fn close(found: f64, expected: f64, within: f64) {
        assert!((found / expected - 1.0).abs() < within, "{found}, expected {expected}");
    }

    #[test]
    fn without_runs_nothing_is_expected() {
        assert!(Prediction::of(&JobState::default(), None, 0.1).is_none());
    }

    #[test]
    fn one_run_has_the_pools_tail() {
        // No excess of its own: shape 2, scale 2 x 0.1, weight 1 / 2.
        let prediction = Prediction::of(&state(&[(1e8, None)]), None, 0.1).expect("a run");
        // Peaks are kept in 32 bits: a little above the run itself.
        close(prediction.survival(1.00001e8), 0.5, 1e-3);
        close(prediction.survival(0.9e8), 1.0, 1e-9);
        // 0.5 x (1 + z / 0.2)^-2 = 0.02 at z = 0.8.
        close(prediction.quantile(0.02), 1e8 * 0.8_f64.exp(), 1e-5);
        close(prediction.survival(prediction.quantile(0.02)), 0.02, 1e-9);
    }

    #[test]
    fn survival_falls_with_size_and_quantiles_invert_it() {
        let runs: Vec<(f64, Option<f64>)> = (1..=30).map(|n| (1e8 + f64::from(n) * 1e6, None)).collect();
        let prediction = Prediction::of(&state(&runs), None, 0.1).expect("runs");
        let sizes = (90..200).map(|n| f64::from(n) * 1e6);
        let chances: Vec<f64> = sizes.map(|bytes| prediction.survival(bytes)).collect();
        assert!(chances.windows(2).all(|pair| pair[1] <= pair[0]), "{chances:?}");
        for chance in [0.1, 0.01, 1e-3, 1e-5] {
            close(prediction.survival(prediction.quantile(chance)), chance, 1e-6);
        }
        close(prediction.survival(1e8), 1.0, 1e-9);
    }

    #[test]
    fn peaks_that_follow_the_input_are_told_by_it() {
        let runs: Vec<(f64, Option<f64>)> =
            (1..=20).map(|n| (2e7 * f64::from(n), Some(1e9 * f64::from(n)))).collect();
        let known = state(&runs);
        let at = |input| Prediction::of(&known, Some(input), 0.05).expect("runs");
        assert!(at(1e10).by_input());
        close(at(1e10).quantile(0.5), 2e8, 0.02);
        close(at(4e10).quantile(0.5), 8e8, 0.05);
        assert!(!Prediction::of(&known, None, 0.05).expect("runs").by_input());
        let unrelated: Vec<_> = runs.iter().map(|(_, input)| (1e8, *input)).collect();
        assert!(!Prediction::of(&state(&unrelated), Some(1e10), 0.05).expect("runs").by_input());
    }

    #[test]
    fn the_pool_learns_from_tails_that_have_enough_runs() {
        assert_eq!(own_excess(&state(&[(1e8, None); 3])), None);
        let doubling: Vec<_> = (0..9).map(|n| (1e6 * 2_f64.powi(n), None)).collect();
        // Three excesses over the fourth highest: ln 2, 2 ln 2, 3 ln 2.
        close(own_excess(&state(&doubling)).expect("enough"), 2.0 * 2_f64.ln(), 1e-5);
    }
}
