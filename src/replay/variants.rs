//! Which policies a backtest replays, and at which values of their knobs. In: contenders. Out: variants of them,
//! and the place of what they come to. Not here: how replays are spread over threads.

use crate::estimation::catalogue::CatalogueError;
use crate::replay::backtest::{Contender, Scored};
use crate::replay::grid::Trace;
use crate::replay::tally::Tally;

/// One contender at one value of its knob.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The contender.
    pub contender: Contender,
    /// Whether it is the contender as asked for, not a point of its sweep.
    pub asked: bool,
}

impl Variant {
    /// The place of what a replay of `trace` comes to.
    pub fn unscored(&self, trace: &Trace) -> Scored {
        Scored {
            label: self.contender.label().to_owned(),
            knob: self.contender.knob().1,
            asked: self.asked,
            tallies: vec![Tally::default(); trace.workloads.len()],
        }
    }
}

/// Everything that is replayed: each contender as asked for and, unless switched off, over its knob. VPA
/// and the oracle are always among it, since all others are compared with them.
pub fn variants(contenders: &[Contender], sweep: bool) -> Result<Vec<Variant>, CatalogueError> {
    let mut all: Vec<Contender> = contenders.to_vec();
    for needed in ["vpa", "oracle"] {
        if sweep && !contenders.iter().any(|contender| contender.label() == needed) {
            all.push(Contender::parse(needed)?);
        }
    }
    let mut variants = Vec::new();
    for (place, contender) in all.into_iter().enumerate() {
        // The oracle's curve is needed for CPU, where it may be short as often as VPA is.
        if sweep && (place < contenders.len() || contender.label() == "oracle") {
            variants
                .extend(contender.sweep().into_iter().map(|contender| Variant { contender, asked: false }));
        }
        variants.push(Variant { contender, asked: true });
    }
    Ok(variants)
}
