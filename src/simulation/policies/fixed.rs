//! As many nodes as the peak needs, all the time: what people without an autoscaler pay for.
//!
//! The peak is looked up in the scene, which no owner could: every service at its highest count at once
//! with the cron jobs and batch runs of the busiest quarter of an hour. The type is the one on which that
//! costs least, if there were only that one; first fit decreasing says how many.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::plan::Step;
use crate::domain::quantity::Resources;
use crate::domain::workload::WorkloadName;
use crate::simulation::machines::Machine;
use crate::simulation::policies::packing::{by_cpu, first_fit};
use crate::simulation::policy::{ClusterPolicy, Sight, grow};
use crate::simulation::scene::{Deed, Scene};

/// Nodes beyond those that the packing needs, since the scheduler packs as tasks come and go.
const SPARE: f64 = 1.05;

/// The policy.
#[derive(Debug)]
pub struct Fixed {
    /// Type and number, until they were asked for.
    wanted: Option<(usize, u32)>,
}

impl Fixed {
    /// Sized for the busiest moment of a scene.
    pub fn for_peak(scene: &Scene, machines: &[Machine]) -> Self {
        let mut tasks = busiest(scene);
        by_cpu(&mut tasks);
        let options = machines.iter().enumerate().map(|(place, machine)| {
            let mut bins = Vec::new();
            let left = first_fit(&tasks, &mut bins, |request, bins| {
                let fits = request.fits(machine.size);
                if fits {
                    bins.push(machine.size);
                }
                fits
            });
            let nodes = (bins.len() as f64 * SPARE).ceil();
            (left.len(), machine.price.units() * nodes, place, nodes)
        });
        let best = options.min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Self { wanted: best.map(|(_, _, place, nodes)| (place, nodes as u32)) }
    }
}

/// The requests of all tasks at the moment at which most cores are asked for.
fn busiest(scene: &Scene) -> Vec<Resources> {
    let mut changes = runs(scene);
    for (place, name) in scene.names.iter().enumerate() {
        let Some(service) = scene.parts.get(name).and_then(|part| part.spec.as_service()) else { continue };
        let mut before = i64::from(service.instances);
        changes.push((scene.begin, name, before));
        for act in scene.acts.iter().filter(|act| act.workload == place) {
            if let Deed::Count(count) = act.deed {
                changes.push((act.at, name, i64::from(count) - before));
                before = i64::from(count);
            }
        }
    }
    changes.sort_by_key(|(at, ..)| *at);
    let request = |name: &WorkloadName| {
        scene.parts.get(name).map(|part| part.spec.template().size.request).unwrap_or_default()
    };
    let (mut cores, mut most, mut peak_at) = (0_i64, i64::MIN, scene.begin);
    for (place, (at, name, by)) in changes.iter().enumerate() {
        cores += by * request(name).cpu.get().cast_signed();
        let settled = changes.get(place + 1).is_none_or(|next| next.0 > *at);
        if settled && cores > most {
            (most, peak_at) = (cores, *at);
        }
    }
    let mut counts: BTreeMap<&WorkloadName, i64> = BTreeMap::new();
    for (_, name, by) in changes.into_iter().take_while(|(at, ..)| *at <= peak_at) {
        *counts.entry(name).or_default() += by;
    }
    let tasks = counts
        .into_iter()
        .flat_map(|(name, count)| std::iter::repeat_n(request(name), usize::try_from(count).unwrap_or(0)));
    tasks.collect()
}

/// When tasks of runs come and go, each as long as it may take.
fn runs(scene: &Scene) -> Vec<(Timestamp, &WorkloadName, i64)> {
    let mut changes = Vec::new();
    let mut add = |at: Timestamp, name, lasts: Option<f64>, count: u32| {
        let ends = at + SignedDuration::from_secs((lasts.unwrap_or(0.0) * 1.33) as i64 + 30);
        changes.push((at, name, i64::from(count)));
        changes.push((ends, name, -i64::from(count)));
    };
    for (name, part) in &scene.parts {
        let count = part.spec.run_policy().map_or(0, |run| run.count);
        if let Some(cron) = part.spec.as_cron() {
            for at in cron.schedule.after(scene.begin).take_while(|at| *at < scene.end) {
                add(at, name, part.lasts, count);
            }
        }
    }
    for act in scene.acts.iter().filter(|act| act.deed == Deed::Run) {
        let name = &scene.names[act.workload];
        if let Some(part) = scene.parts.get(name) {
            add(act.at, name, part.lasts, part.spec.run_policy().map_or(0, |run| run.count));
        }
    }
    changes
}

impl ClusterPolicy for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn decide(&mut self, sight: &Sight<'_>) -> Vec<Step> {
        let Some((machine, nodes)) = self.wanted.take() else { return Vec::new() };
        sight.pool(machine).map(|pool| grow(pool, nodes, "sized for the peak")).into_iter().collect()
    }
}
