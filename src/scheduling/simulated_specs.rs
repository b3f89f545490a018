//! Specs of stories: small, with the least that a workload or a pool needs.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::domain::cron::CronSchedule;
use crate::domain::node::PoolSpec;
use crate::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use crate::domain::strategy::Strategy;
use crate::domain::workload::{
    CatchUp, CronJobSpec, HealthChecks, JobSpec, OverlapPolicy, Owner, PlacementSpec, RestartPolicy,
    RolloutSpec, RunPolicy, ServiceSpec, TaskTemplate, WorkloadName, WorkloadSpec,
};

pub(super) fn name(text: &str) -> WorkloadName {
    WorkloadName::new(text).expect("a name")
}

pub(super) fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub(super) fn size(millicores: u64, mib: u64) -> TaskSize {
    TaskSize::of(Resources::new(Millicores::new(millicores), Bytes::mib(mib)))
}

pub(super) fn template(command: &str) -> TaskTemplate {
    TaskTemplate {
        command: command.split(' ').map(str::to_owned).collect(),
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        size: size(250, 100),
        stop_grace: seconds(5),
        placement: PlacementSpec::default(),
        priority: 0,
    }
}

fn restart() -> RestartPolicy {
    RestartPolicy {
        backoff: seconds(2),
        backoff_max: seconds(60),
        jitter: Share::new(0.0),
        reset_after: seconds(120),
    }
}

pub(super) fn service_spec(command: &str, instances: u32) -> ServiceSpec {
    ServiceSpec {
        owner: Owner::default(),
        template: template(command),
        ports: Vec::new(),
        checks: HealthChecks::default(),
        instances,
        scale: None,
        restart: restart(),
        rollout: RolloutSpec {
            strategy: Strategy::Rolling,
            max_surge: 1,
            deadline: seconds(120),
            max_failures: 3,
            min_ready: seconds(1),
        },
        drain_timeout: seconds(10),
        policy: None,
    }
}

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

pub(super) fn job(command: &str, run_on_apply: bool, retries: u32) -> JobSpec {
    JobSpec {
        owner: Owner::default(),
        template: template(command),
        run_on_apply,
        run: RunPolicy::new(retries, restart(), None),
        policy: None,
    }
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
    }
}
