//! Sums over the cluster, kept in memory: fine for an hour, coarse for a week. Fed from views, told by
//! `/v1/totals`. Not a history: an engine that starts again begins a new one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::month::MonthCost;
use crate::api::present;
use crate::api::savings::LastSavings;
use crate::api::usage_courses::{self, UsageCourses, UsageCoursesDto};
use crate::domain::money::Prices;
use crate::domain::node::NodeState;
use crate::domain::quantity::Resources;
use crate::domain::recommendation::Estimate;
use crate::ports::control::View;

/// From one sum to the next.
pub const INTERVAL: SignedDuration = SignedDuration::from_secs(10);
/// Fine sums that are kept: an hour of them.
const FINE_MAX: usize = 360;
/// From one coarse sum to the next.
const COARSE_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
/// Coarse sums that are kept: a week of them.
const COARSE_MAX: usize = 7 * 24 * 12;

/// One resource over the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourceSums {
    /// What the nodes offer that are there.
    pub capacity: f64,
    /// What tasks have reserved.
    pub requested: f64,
    /// What tasks use at their newest samples.
    pub used: f64,
    /// What the same tasks would reserve at the recommended sizes; those without a recommendation count as
    /// they are.
    pub recommended: f64,
}

/// Sums over the cluster at an instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TotalsDto {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Cores.
    pub cpu: ResourceSums,
    /// Bytes.
    pub memory: ResourceSums,
    /// What the nodes cost per hour, in currency units.
    pub price_per_hour: f64,
    /// Nodes that are there.
    pub nodes: u32,
    /// Tasks that hold resources.
    pub tasks: u32,
    /// Tasks without a node.
    pub waiting: u32,
}

/// The sums of lately.
#[derive(Debug, Default)]
pub struct Totals {
    kept: Mutex<Kept>,
    /// What the nodes cost in this month.
    pub month: MonthCost,
    /// What applied advice saved, as it was worked out last.
    pub savings: LastSavings,
}

#[derive(Debug, Default)]
struct Kept {
    fine: VecDeque<TotalsDto>,
    coarse: VecDeque<TotalsDto>,
    courses: UsageCourses,
}

impl Totals {
    /// Adds the sums of a view.
    pub fn record(&self, view: &View, prices: &Prices, now: Timestamp) {
        let sums = sums(view, prices, now);
        let used = usage_courses::used(view);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let due = |last: &TotalsDto| now.duration_since(last.at) >= COARSE_INTERVAL;
        if kept.coarse.back().is_none_or(due) {
            push(&mut kept.coarse, sums.clone(), COARSE_MAX);
        }
        push(&mut kept.fine, sums, FINE_MAX);
        kept.courses.push(now, used);
    }

    /// What these workloads used, or all where none are named.
    pub fn courses(&self, names: Option<&[&str]>) -> UsageCoursesDto {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).courses.told(names)
    }

    /// What is known from an instant on, oldest first: coarse where fine sums do not reach back so far.
    pub fn since(&self, from: Timestamp) -> Vec<TotalsDto> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fine_from = kept.fine.front().map_or(Timestamp::MAX, |first| first.at);
        let coarse = kept.coarse.iter().filter(|sums| sums.at >= from && sums.at < fine_from);
        coarse.chain(kept.fine.iter().filter(|sums| sums.at >= from)).cloned().collect()
    }
}

fn push(kept: &mut VecDeque<TotalsDto>, sums: TotalsDto, most: usize) {
    if kept.len() == most {
        kept.pop_front();
    }
    kept.push_back(sums);
}

fn sums(view: &View, prices: &Prices, now: Timestamp) -> TotalsDto {
    let (mut capacity, mut requested, mut recommended) =
        (Resources::default(), Resources::default(), Resources::default());
    let (mut cpu_used, mut memory_used, mut tasks, mut nodes) = (0.0, 0.0, 0_u32, 0_u32);
    for node in view.world.nodes.values().filter(|node| node.state != NodeState::Lost) {
        capacity += node.size;
        nodes += 1;
    }
    for task in view.world.tasks.values().filter(|task| task.state.holds_resources()) {
        tasks += 1;
        requested += task.size.request;
        recommended += match view.recommendations.get(task.workload()) {
            Some(Estimate::Recommended(found)) => found.size.request,
            _ => task.size.request,
        };
        if let Some(sample) = view.usage.get(&task.id) {
            cpu_used += sample.cpu_cores.unwrap_or(0.0);
            memory_used += sample.memory.get() as f64;
        }
    }
    TotalsDto {
        at: now,
        cpu: ResourceSums {
            capacity: capacity.cpu.cores(),
            requested: requested.cpu.cores(),
            used: cpu_used,
            recommended: recommended.cpu.cores(),
        },
        memory: ResourceSums {
            capacity: capacity.memory.get() as f64,
            requested: requested.memory.get() as f64,
            used: memory_used,
            recommended: recommended.memory.get() as f64,
        },
        price_per_hour: present::price_per_hour(view, prices).units(),
        nodes,
        tasks,
        waiting: u32::try_from(view.waiting.len()).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_fine_and_what_was_before_it_is_coarse() {
        let totals = Totals::default();
        let at = |second: i64| Timestamp::from_second(second).expect("an instant");
        let sums = |second| TotalsDto {
            at: at(second),
            cpu: ResourceSums::default(),
            memory: ResourceSums::default(),
            price_per_hour: 0.0,
            nodes: 0,
            tasks: 0,
            waiting: 0,
        };
        let mut kept = totals.kept.lock().expect("a lock");
        for second in (0..7_200).step_by(10) {
            if second % 300 == 0 {
                push(&mut kept.coarse, sums(second), COARSE_MAX);
            }
            push(&mut kept.fine, sums(second), FINE_MAX);
        }
        drop(kept);
        let told = totals.since(at(0));
        assert_eq!((told.len(), told[0].at, told[12].at), (12 + 360, at(0), at(3_600)));
        assert_eq!(totals.since(at(7_000)).len(), 20);
    }
}
