//! `loadline fit --policy autopilot-ml`: the command that made `models/autopilot-ml-v1.json`.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::analytics::read_trace;
use crate::charts::cells;
use crate::cli::backtest_run::{How, score};
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{say, say_table, table};
use crate::replay::backtest::{Contender, Resource};
use crate::replay::grid::Trace;
use crate::replay::weights::{candidates, document, nearest, training_half, tried};

/// Sweeps the weights on the training halves of traces; prints what each came to, and writes those that were found.
pub(super) fn fit(traces: &[PathBuf], file: &Path) -> anyhow::Result<()> {
    let (reference, candidates) = candidates()?;
    let contenders: Vec<Contender> =
        std::iter::once(reference).chain(candidates.iter().map(|one| one.contender.clone())).collect();
    let mut scored = Vec::new();
    for path in traces {
        let rows = training_half(&read_trace(path)?);
        let name = format!("training half of {}", path.display());
        let trace = Trace::new(&name, &rows, None).with_context(|| name.clone())?;
        drop(rows);
        say(&format!("{name}: {} workloads, {} samples", trace.workloads.len(), trace.samples()))?;
        scored.push((trace.step, score(&trace, &contenders, How { no_sweep: true, ..How::default() })?));
    }
    let tried = tried(&candidates, &scored);
    let mut rows = table(&["resource", "overrun", "rate / VPA's", "chosen"]);
    for one in &tried {
        let chosen = nearest(&tried, one.resource).is_some_and(|best| best == *one);
        rows.add_row(vec![
            cells::resource(one.resource).to_owned(),
            one.overrun.to_string(),
            format!("{:.3}", one.ratio),
            if chosen { "*".to_owned() } else { String::new() },
        ]);
    }
    say_table(&rows)?;
    let Some(text) = document(&tried)? else {
        let missing =
            [Resource::Memory, Resource::Cpu].into_iter().filter(|one| nearest(&tried, *one).is_none());
        let missing: Vec<&str> = missing.map(cells::resource).collect();
        return Err(ended(
            Exit::BadInput,
            format!("the traces have no usable rate for {}", missing.join(" and ")),
        ));
    };
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(say(&format!("{} written", file.display()))?)
}
