//! First fit over nodes that are there and nodes that could be. Not here: in which order, on which types.

use crate::domain::quantity::Resources;

/// Puts each request into the first bin with room, from where an equal one just went on; those without
/// a bin are handed to `open`, which may push another bin. Returns those that found none.
pub(super) fn first_fit(
    requests: &[Resources],
    bins: &mut Vec<Resources>,
    mut open: impl FnMut(Resources, &mut Vec<Resources>) -> bool,
) -> Vec<Resources> {
    let mut left = Vec::new();
    let mut last: Option<(Resources, usize)> = None;
    for request in requests {
        // What refused an equal request just now refuses this one too.
        let from = last.filter(|(before, _)| before == request).map_or(0, |(_, bin)| bin);
        let mut found = bins[from..].iter().position(|free| request.fits(*free)).map(|at| at + from);
        if found.is_none() && open(*request, bins) {
            found = Some(bins.len() - 1);
        }
        last = Some((*request, found.unwrap_or(bins.len())));
        match found {
            Some(bin) => bins[bin] = bins[bin].saturating_sub(*request),
            None => left.push(*request),
        }
    }
    left
}

/// A part of a whole.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Largest first by CPU and memory as shares of a node added, as Cluster Autoscaler orders pods.
pub(super) fn by_score(requests: &mut [Resources], node: Resources) {
    let score = |request: &Resources| {
        share(request.cpu.get(), node.cpu.get()) + share(request.memory.get(), node.memory.get())
    };
    requests.sort_by(|a, b| score(b).total_cmp(&score(a)).then_with(|| by_cpu_key(b).cmp(&by_cpu_key(a))));
}

/// Largest first by CPU, then by memory, as Karpenter orders pods.
pub(super) fn by_cpu(requests: &mut [Resources]) {
    requests.sort_by_key(|request| std::cmp::Reverse(by_cpu_key(request)));
}

fn by_cpu_key(request: &Resources) -> (u64, u64) {
    (request.cpu.get(), request.memory.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::{Bytes, Millicores};

    fn of(cpu: u64, mib: u64) -> Resources {
        Resources::new(Millicores::new(cpu), Bytes::mib(mib))
    }

    #[test]
    fn bins_are_opened_where_none_has_room() {
        let mut requests = vec![of(400, 1), of(600, 1), of(400, 1), of(600, 1), of(2000, 1)];
        by_cpu(&mut requests);
        let mut bins = vec![of(500, 100)];
        let left = first_fit(&requests, &mut bins, |request, bins| {
            let fits = request.fits(of(1000, 100));
            if fits {
                bins.push(of(1000, 100));
            }
            fits
        });
        assert_eq!(left, [of(2000, 1)]);
        assert_eq!(bins, [of(100, 99), of(0, 98), of(400, 99)]);
    }
}
