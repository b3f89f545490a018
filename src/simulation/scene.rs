//! What runs in a simulation, and when. In: how many tasks, days, a seed, a policy of counts. Out: specs
//! of workloads, changes of counts and requests for runs in order of time, and what each process does.
//!
//! About 70 % of the tasks at the peak are instances of services, whose counts follow load with a rhythm
//! of days and weeks; 15 % are tasks of cron jobs, many of which fire at full hours, as people write them;
//! 15 % are batch runs that arrive at random, more by day than by night.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::cron::CronSchedule;
use crate::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use crate::domain::strategy::Strategy;
use crate::domain::task::Task;
use crate::domain::workload::{
    CatchUp, CronJobSpec, HealthChecks, JobSpec, OverlapPolicy, Owner, PlacementSpec, RestartPolicy,
    RolloutSpec, RunPolicy, ServiceSpec, TaskTemplate, WorkloadName, WorkloadSpec,
};
use crate::replay::families::Family;
use crate::scaling::counts::catalogue::CountRecipe;
use crate::simulation::chance::Chance;
use crate::simulation::cluster::Process;
use crate::simulation::demand::counts;

/// Seconds that a simulation runs before anything is counted: the cluster fills.
pub const WARM_UP: i64 = 3_600;
/// A Monday.
const BEGIN: i64 = 1_793_577_600;
const DAY: i64 = 86_400;

const SERVICES: f64 = 0.70;
const CRONS: f64 = 0.15;
const BATCHES: f64 = 0.15;

/// Millicores of a task; small ones are common.
const CPU: [u64; 12] = [100, 100, 100, 200, 200, 250, 250, 500, 500, 1000, 2000, 4000];
/// MiB for each core.
const MIB_PER_CORE: [u64; 7] = [1024, 2048, 2048, 4096, 4096, 6144, 8192];
/// Schedules, the common ones more than once, and the longest time in seconds that runs take.
const SCHEDULES: [(&str, f64); 8] = [
    ("0 * * * *", 1200.0),
    ("0 * * * *", 1800.0),
    ("*/15 * * * *", 420.0),
    ("30 * * * *", 1200.0),
    ("0 */6 * * *", 3600.0),
    ("0 2 * * *", 7200.0),
    ("30 3 * * *", 5400.0),
    ("0 9 * * 1-5", 1800.0),
];
/// Shapes of usage of services.
const FAMILIES: [Family; 6] =
    [Family::Steady, Family::Diurnal, Family::Diurnal, Family::Weekly, Family::Plateau, Family::Leak];

/// What is to be simulated.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Tasks at the peak, about.
    pub tasks: u32,
    /// How long.
    pub days: f64,
    /// What chance is drawn from.
    pub seed: u64,
    /// What decides about the counts of services.
    pub counts: CountRecipe,
}

/// A workload and what its processes do.
#[derive(Debug, Clone)]
pub struct Part {
    /// What was declared.
    pub spec: WorkloadSpec,
    /// From the launch until a process runs.
    pub starts_after: SignedDuration,
    /// The usual time in seconds that a try of a run takes; instances of services stay.
    pub lasts: Option<f64>,
    /// The shape of its usage.
    pub family: Family,
    /// Use of CPU and of memory as shares of what it asks for, before the shape.
    pub uses: (f64, f64),
}

/// Something that happens from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The service is to have so many instances.
    Count(u32),
    /// A run of the job is asked for.
    Run,
}

/// A deed with its time, and the workload that it is about by its place in `names`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// Which workload.
    pub workload: usize,
    /// What.
    pub deed: Deed,
}

/// Everything that happens from outside.
#[derive(Debug, Clone)]
pub struct Scene {
    /// What chance is drawn from.
    pub seed: u64,
    /// When it begins; what is counted begins `WARM_UP` later.
    pub begin: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// The workloads.
    pub parts: BTreeMap<WorkloadName, Part>,
    /// Names of workloads that acts are about.
    pub names: Vec<WorkloadName>,
    /// Counts and runs, in order of time.
    pub acts: Vec<Act>,
}

impl Scene {
    /// Makes one. `progress` is called with tasks done so far.
    pub fn of(wish: &Wish, progress: &mut dyn FnMut(u32)) -> Result<Self, String> {
        let begin = Timestamp::from_second(BEGIN).map_err(|error| error.to_string())?;
        let seconds = (wish.days * DAY as f64) as i64 + WARM_UP;
        let end = begin.checked_add(SignedDuration::from_secs(seconds)).map_err(|error| error.to_string())?;
        let (parts, names, acts) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut scene = Self { seed: wish.seed, begin, end, parts, names, acts };
        scene.add_services(wish, seconds, progress)?;
        scene.add_crons(wish)?;
        scene.add_batches(wish, seconds)?;
        scene.acts.sort_by_key(|act| (act.at, act.workload));
        progress(wish.tasks);
        Ok(scene)
    }

    fn add_services(
        &mut self,
        wish: &Wish,
        seconds: i64,
        progress: &mut dyn FnMut(u32),
    ) -> Result<(), String> {
        let wanted = (f64::from(wish.tasks) * SERVICES) as u32;
        let largest = f64::from(wish.tasks / 10).clamp(3.0, 80.0);
        let mut made = 0;
        for number in 1.. {
            if made >= wanted {
                break;
            }
            let name = name("svc", number)?;
            let mut chance = Chance::of(wish.seed, &format!("{name}:spec"));
            let peak = (chance.by_size(2.0, largest) as u32).min(wanted - made).max(1);
            let starts_after = chance.by_size(3.0, 40.0);
            let span = (self.begin, seconds);
            let asked = counts(&name, (wish.seed, peak, starts_after), span, &wish.counts);
            let first = asked.first().map_or(1, |asked| asked.count);
            let place = self.names.len();
            for next in asked.iter().skip(1) {
                let at = Timestamp::from_second(next.at).map_err(|error| error.to_string())?;
                self.acts.push(Act { at, workload: place, deed: Deed::Count(next.count) });
            }
            let part = Part {
                spec: service(size(&mut chance), first),
                starts_after: span_of(starts_after),
                lasts: None,
                family: chance.pick(&FAMILIES).copied().unwrap_or(Family::Steady),
                uses: (chance.between(0.15, 0.55), chance.between(0.3, 0.49)),
            };
            self.names.push(name.clone());
            self.parts.insert(name, part);
            made += peak;
            progress(made);
        }
        Ok(())
    }

    fn add_crons(&mut self, wish: &Wish) -> Result<(), String> {
        let mut left = f64::from(wish.tasks) * CRONS;
        for number in 1.. {
            if left < 1.0 {
                break;
            }
            let name = name("cron", number)?;
            let mut chance = Chance::of(wish.seed, &format!("{name}:spec"));
            let count = (chance.by_size(1.0, 24.0) as u32).min(left as u32).max(1);
            let (expression, longest) = chance.pick(&SCHEDULES).copied().unwrap_or(SCHEDULES[0]);
            let schedule = CronSchedule::new(expression, "UTC").map_err(|error| error.to_string())?;
            let mut run = runs(count);
            run.time_limit = Some(SignedDuration::from_hours(12));
            let spec = WorkloadSpec::CronJob(Box::new(CronJobSpec {
                owner: Owner::default(),
                template: template(size(&mut chance)),
                schedule,
                overlap: OverlapPolicy::Allow,
                queue_max: 10,
                start_deadline: SignedDuration::from_hours(2),
                catch_up: CatchUp::default(),
                jitter: SignedDuration::ZERO,
                run,
                policy: None,
            }));
            let part = run_part(spec, chance.by_size(60.0, longest), &mut chance);
            self.parts.insert(name, part);
            left -= f64::from(count);
        }
        Ok(())
    }

    fn add_batches(&mut self, wish: &Wish, seconds: i64) -> Result<(), String> {
        let jobs = (wish.tasks / 100).max(2);
        let concurrent = f64::from(wish.tasks) * BATCHES / f64::from(jobs);
        for number in 1..=jobs {
            let name = name("batch", number)?;
            let mut chance = Chance::of(wish.seed, &format!("{name}:spec"));
            let count = chance.by_size(1.0, 40.0) as u32;
            let lasts = chance.by_size(180.0, 3600.0);
            let spec = WorkloadSpec::Job(Box::new(JobSpec {
                owner: Owner::default(),
                template: template(size(&mut chance)),
                run_on_apply: false,
                run: runs(count),
                policy: None,
            }));
            let part = run_part(spec, lasts, &mut chance);
            // As many at once, on the mean, as it is to have.
            let mean = f64::from(count) * lasts / concurrent;
            let mut second = chance.wait(mean);
            while second < seconds as f64 {
                // Thinned to a rhythm of days: from a third of the rate to one and two thirds of it.
                let hour = (second / 3600.0) % 24.0;
                let rate = 1.0 + 0.66 * ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos();
                if chance.happens(rate / 1.66) {
                    let at = self.begin + SignedDuration::from_secs(second as i64);
                    self.acts.push(Act { at, workload: self.names.len(), deed: Deed::Run });
                }
                second += chance.wait(mean / 1.66).max(1.0);
            }
            self.names.push(name.clone());
            self.parts.insert(name, part);
        }
        Ok(())
    }

    /// What the process of a task does: a try of a run takes up to a third less or more than usual.
    pub fn process(&self, task: &Task) -> Process {
        let Some(part) = self.parts.get(task.workload()) else {
            return Process { starts_after: SignedDuration::from_secs(1), ends_after: None };
        };
        let ends_after = part.lasts.map(|lasts| {
            let what = task.run().map_or(0, |run| run.at.as_second());
            let key = format!("{}:{what}:{}", task.workload(), task.index());
            (span_of(lasts * Chance::of(self.seed, &key).between(0.67, 1.33)), 0)
        });
        Process { starts_after: part.starts_after, ends_after }
    }
}

fn name(kind: &str, number: u32) -> Result<WorkloadName, String> {
    Ok(WorkloadName::new(&format!("{kind}-{number:05}"))?)
}

fn span_of(seconds: f64) -> SignedDuration {
    SignedDuration::from_millis((seconds * 1000.0) as i64)
}

fn size(chance: &mut Chance) -> TaskSize {
    let cpu = chance.pick(&CPU).copied().unwrap_or(100);
    let per_core = chance.pick(&MIB_PER_CORE).copied().unwrap_or(2048);
    let request = Resources::new(Millicores::new(cpu), Bytes::mib((cpu * per_core / 1000).max(64)));
    TaskSize::of(request)
}

fn restart() -> RestartPolicy {
    RestartPolicy {
        backoff: SignedDuration::from_secs(10),
        backoff_max: SignedDuration::from_mins(5),
        jitter: Share::new(0.2),
        reset_after: SignedDuration::from_mins(10),
    }
}

fn runs(count: u32) -> RunPolicy {
    RunPolicy { count, ..RunPolicy::new(6, restart(), None) }
}

fn template(size: TaskSize) -> TaskTemplate {
    TaskTemplate {
        command: vec!["simulated".to_owned()],
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        size,
        stop_grace: SignedDuration::from_secs(10),
        placement: PlacementSpec::default(),
        priority: 0,
    }
}

fn run_part(spec: WorkloadSpec, lasts: f64, chance: &mut Chance) -> Part {
    let starts_after = span_of(chance.by_size(1.0, 10.0));
    let uses = (chance.between(0.3, 0.9), chance.between(0.3, 0.9));
    Part { spec, starts_after, lasts: Some(lasts), family: Family::Steady, uses }
}

fn service(size: TaskSize, instances: u32) -> WorkloadSpec {
    WorkloadSpec::Service(Box::new(ServiceSpec {
        owner: Owner::default(),
        template: template(size),
        ports: Vec::new(),
        checks: HealthChecks::default(),
        instances,
        scale: None,
        restart: restart(),
        rollout: RolloutSpec {
            strategy: Strategy::Rolling,
            max_surge: 1,
            deadline: SignedDuration::from_mins(10),
            max_failures: 3,
            min_ready: SignedDuration::ZERO,
        },
        drain_timeout: SignedDuration::from_secs(30),
        policy: None,
        latency_objective: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(seed: u64) -> Wish {
        let counts = CountRecipe::parse("hpa").expect("a policy");
        Wish { tasks: 300, days: 1.0, seed, counts }
    }

    #[test]
    fn a_scene_is_the_same_each_time_and_has_what_it_should() {
        let scene = Scene::of(&wish(1), &mut |_| ()).expect("a scene");
        assert_eq!(scene.acts, Scene::of(&wish(1), &mut |_| ()).expect("a scene").acts);
        assert_ne!(scene.acts, Scene::of(&wish(2), &mut |_| ()).expect("a scene").acts);
        let kinds = |kind: &str| scene.parts.keys().filter(|name| name.as_str().starts_with(kind)).count();
        assert!(kinds("svc-") > 5 && kinds("cron-") > 3 && kinds("batch-") == 3);
        assert!(scene.acts.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert!(scene.acts.iter().any(|act| act.deed == Deed::Run));
        assert!(scene.acts.iter().any(|act| matches!(act.deed, Deed::Count(_))));
    }
}
