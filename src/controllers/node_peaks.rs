//! Predicted peaks of nodes for the analyst. In: samples, where tasks are. Out: what tasks count with instead of
//! their requests for CPU; nothing where the owner states no risk.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::controllers::sizing::Past;
use crate::domain::overcommit::Overcommit;
use crate::domain::usage::UsageSample;
use crate::domain::world::World;
use crate::estimation::node_peak::{Calibration, NodePeaks, PeakSettings};
use crate::ports::store::StoreError;

/// The document that what was learnt of the risk is kept in.
pub(super) const CHECKPOINT: &str = "overcommit";
/// So much of the past is in memory at a time.
const PART: SignedDuration = SignedDuration::from_hours(1);

/// Peaks of nodes, where they are wanted.
#[derive(Debug, Default)]
pub(super) struct Peaks(Option<NodePeaks>);

impl Peaks {
    /// Takes up where the last engine left off: what it learnt is in the document, what was used in the samples.
    pub(super) fn restored(
        settings: Option<PeakSettings>,
        document: Option<&[u8]>,
        (past, now): (&Past, Timestamp),
    ) -> Result<Self, StoreError> {
        let Some(settings) = settings else { return Ok(Self::default()) };
        let learnt: Option<Calibration> = document.and_then(|document| {
            let read = serde_json::from_slice(document);
            read.inspect_err(|error| tracing::warn!(%error, "the risk of overcommit is learnt anew")).ok()
        });
        let mut peaks = NodePeaks::new(settings, learnt);
        let mut from = now.checked_sub(NodePeaks::looks_back(&settings)).unwrap_or(Timestamp::UNIX_EPOCH);
        while from < now {
            let to = from.checked_add(PART).unwrap_or(now).min(now);
            past.history.usage(None, from, to)?.iter().for_each(|sample| peaks.observe(sample));
            from = to;
        }
        Ok(Self(Some(peaks)))
    }

    /// Takes a sample.
    pub(super) fn sampled(&mut self, sample: &UsageSample) {
        if let Some(peaks) = &mut self.0 {
            peaks.observe(sample);
        }
    }

    /// What tasks count with now; nothing where overcommit is off.
    pub(super) fn overcommit(&mut self, world: &World, now: Timestamp) -> Option<Arc<Overcommit>> {
        let peaks = self.0.as_mut()?;
        let blind = peaks.is_blind();
        let found = peaks.overcommit(world, now);
        if peaks.is_blind() && !blind {
            tracing::warn!("the use of too many tasks is unknown: nodes are filled by requests meanwhile");
        }
        Some(Arc::new(found))
    }

    /// What was learnt of the risk.
    pub(super) fn learnt(&self) -> Option<Calibration> {
        self.0.as_ref().map(|peaks| *peaks.calibration())
    }

    /// The same, for the next engine.
    pub(super) fn checkpoint(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.learnt()?).ok()
    }
}
