//! Specs for tests: small, with the least that a workload needs.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use crate::domain::strategy::Strategy;
use crate::domain::workload::{
    HealthChecks, JobSpec, Owner, PlacementSpec, RestartPolicy, RolloutSpec, RunPolicy, ServiceSpec,
    TaskTemplate, WorkloadName,
};

pub(crate) fn name(text: &str) -> WorkloadName {
    WorkloadName::new(text).expect("a name")
}

pub(crate) fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub(crate) fn size(millicores: u64, mib: u64) -> TaskSize {
    TaskSize::of(Resources::new(Millicores::new(millicores), Bytes::mib(mib)))
}

pub(crate) fn template(command: &str) -> TaskTemplate {
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

pub(crate) fn restart() -> RestartPolicy {
    RestartPolicy {
        backoff: seconds(2),
        backoff_max: seconds(60),
        jitter: Share::new(0.0),
        reset_after: seconds(120),
    }
}

pub(crate) fn service_spec(command: &str, instances: u32) -> ServiceSpec {
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
        latency_objective: None,
        policy: None,
    }
}

pub(crate) fn job(command: &str, run_on_apply: bool, retries: u32) -> JobSpec {
    JobSpec {
        owner: Owner::default(),
        template: template(command),
        run_on_apply,
        run: RunPolicy::new(retries, restart(), None),
        policy: None,
    }
}
