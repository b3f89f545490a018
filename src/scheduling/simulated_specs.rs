//! Specs of stories beyond those of all tests: cron jobs and pools.

use std::collections::BTreeMap;

use crate::domain::cron::CronSchedule;
use crate::domain::node::{NodeSource, PoolSpec};
use crate::domain::quantity::{Bytes, Millicores, Resources, Share};
use crate::domain::sample_specs::restart;
pub(super) use crate::domain::sample_specs::{job, name, seconds, service_spec, size, template};
use crate::domain::workload::{CatchUp, CronJobSpec, OverlapPolicy, Owner, RunPolicy, WorkloadSpec};

pub(super) fn service(command: &str, instances: u32) -> WorkloadSpec {
    WorkloadSpec::Service(Box::new(service_spec(command, instances)))
}

pub(super) fn cron(command: &str, expression: &str, overlap: OverlapPolicy) -> WorkloadSpec {
    WorkloadSpec::CronJob(Box::new(CronJobSpec {
        owner: Owner::default(),
        template: template(command),
        schedule: CronSchedule::new(expression, "UTC").expect("a schedule"),
        overlap,
        queue_max: 10,
        start_deadline: seconds(30),
        catch_up: CatchUp::default(),
        jitter: seconds(0),
        run: RunPolicy::new(1, restart(), None),
        policy: None,
    }))
}

/// Nodes of one core and 1000 MiB.
pub(super) fn pool_spec(min: u32, max: u32) -> PoolSpec {
    PoolSpec {
        size: Resources::new(Millicores::new(1000), Bytes::mib(1000)),
        min,
        max,
        price_per_hour: None,
        attributes: BTreeMap::new(),
        reserved_for: Vec::new(),
        scale_down_below: Share::new(0.5),
        scale_down_after: seconds(600),
        cooldown_up: seconds(0),
        cooldown_down: seconds(0),
        source: NodeSource::default(),
    }
}
