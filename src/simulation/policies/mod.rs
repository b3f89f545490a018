//! Policies of nodes. In: what a `Sight` shows. Out: steps.
//!
//! - `fixed`: as many nodes as the peak needs, from the beginning to the end.
//! - `cluster_autoscaler`: the Kubernetes Cluster Autoscaler with its defaults.
//! - `karpenter`: Karpenter with its defaults.
//! - `engine_pools`: what the engine itself runs (`scaling::cluster`).
//! - `packing`: first fit, for the baselines.
//!
//! A node with a task of a run on it is not emptied by any of them: peers are told so by an annotation on
//! the pod (`safe-to-evict`, `do-not-disrupt`), the engine does so by itself.

pub mod cluster_autoscaler;
pub mod engine_pools;
pub mod fixed;
pub mod karpenter;
mod packing;

use crate::domain::quantity::Share;
use crate::simulation::machines::Machine;
use crate::simulation::policies::engine_pools::EnginePools;
use crate::simulation::policy::ClusterPolicy;
use crate::simulation::scene::Scene;

/// Names of all policies, in the order in which they are compared.
pub const ALL: [&str; 4] = ["fixed", "cluster-autoscaler", "karpenter", "loadline"];

/// A policy by its name.
pub fn named(name: &str, scene: &Scene, machines: &[Machine]) -> Result<Box<dyn ClusterPolicy>, String> {
    Ok(match name {
        "fixed" => Box::new(fixed::Fixed::for_peak(scene, machines)),
        "cluster-autoscaler" => Box::new(cluster_autoscaler::ClusterAutoscaler::default()),
        "karpenter" => Box::new(karpenter::Karpenter::default()),
        _ => Box::new(engine(name)?),
    })
}

/// `loadline`, `loadline:RISK` with headroom, or `loadline:overcommit=RISK`.
fn engine(name: &str) -> Result<EnginePools, String> {
    if name == "loadline" {
        return Ok(EnginePools::new(None));
    }
    let Some(risk) = name.strip_prefix("loadline:") else {
        let known = ALL.join(", ");
        return Err(format!(
            "`{name}` is not a policy of nodes; those known are {known}, loadline:RISK, loadline:overcommit=RISK"
        ));
    };
    let (number, lends) = risk.strip_prefix("overcommit=").map_or((risk, false), |number| (number, true));
    let risk = number.parse::<f64>().ok().filter(|risk| *risk > 0.0 && *risk < 0.5);
    let risk = risk.ok_or_else(|| format!("`{name}`: the risk should be a number above 0 and below 0.5"))?;
    let risk = Share::new(risk);
    Ok(if lends { EnginePools::lending(risk) } else { EnginePools::new(Some(risk)) })
}

/// Whether there is such a policy; if not, why.
pub fn check(name: &str) -> Result<(), String> {
    if ALL.contains(&name) { Ok(()) } else { engine(name).map(|_| ()) }
}
