//! How an owner wants the number of instances to follow the load: metrics, bounds and behaviour rules
//! (the field names and defaults of the Kubernetes `autoscaling/v2` API).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::planned::PlannedEvent;
use crate::domain::quantity::Share;
pub use crate::domain::scale_window::{ScaleWindow, WeekDays, WindowTimes};
use crate::domain::workload::WorkloadName;

/// How long a request is held for an instance of a service that has none.
pub const HOLD_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);
/// Requests that are held at a time.
pub const HOLD_REQUESTS: u32 = 1000;
/// Without a request for so long, a service that may go to zero goes there.
pub const IDLE_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// The share of time in which the load may exceed the ready capacity, unless said otherwise.
pub const BUDGET: f64 = 0.01;
/// What comes again does so each day, unless said otherwise.
pub const SEASON: SignedDuration = SignedDuration::from_hours(24);

/// A metric with its target for one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricTarget {
    /// CPU in use as a share of the request, for example 0.8.
    Cpu {
        /// The share aimed at, above 0.
        utilization: f64,
    },
    /// Memory (working set) as a share of the request.
    Memory {
        /// The share aimed at, above 0.
        utilization: f64,
    },
    /// Requests per second through the front door.
    Requests {
        /// Per second and instance.
        per_instance: f64,
    },
    /// A gauge, or the rate of a counter, that each instance exposes as Prometheus text.
    Prometheus {
        /// The metric's name; samples of one instance with several label sets are added.
        metric: String,
        /// The port's name; the first port where absent.
        port: Option<String>,
        /// The path, for example `/metrics`.
        path: String,
        /// The average over instances that is aimed at.
        per_instance: f64,
    },
    /// Work that waits: how much of it, and for how long the oldest has waited.
    Queue(QueueTarget),
}

/// Where the figures of a queue are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueSource {
    /// A fixed address of Prometheus text, for example `http://127.0.0.1:9187/metrics`.
    Url(String),
    /// The ready instances of a service, added up.
    Service {
        /// Whose.
        service: WorkloadName,
        /// The port's name; the first port where absent.
        port: Option<String>,
        /// The path.
        path: String,
    },
    /// Requests at the service's own front door that are not answered yet, held ones included.
    FrontDoor,
}

/// A queue that a service works off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueTarget {
    /// Where it is read.
    pub source: QueueSource,
    /// The metric that is its length; absent for the front door, which counts by itself.
    pub length: Option<String>,
    /// Items for each instance; absent where only the age counts.
    pub length_per_instance: Option<f64>,
    /// The metric that is the age of its oldest item in seconds.
    pub age: Option<String>,
    /// How old its oldest item may be.
    pub max_age: Option<SignedDuration>,
}

/// What finds the count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CountPolicyKind {
    /// The Kubernetes Horizontal Pod Autoscaler v2.
    #[default]
    Hpa,
    /// Loadline's own: a forecast, paced by a budget.
    Loadline,
    /// nomad-autoscaler's `target-value`.
    TargetValue,
    /// KEDA's cron scaler beside HPA.
    KedaCron,
    /// AWS' predictive scaling beside HPA.
    AwsPredictive,
    /// Autopilot's horizontal scaling.
    Autopilot,
}

impl CountPolicyKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Hpa, Self::Loadline, Self::TargetValue, Self::KedaCron, Self::AwsPredictive, Self::Autopilot];

    /// The word in specs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hpa => "hpa",
            Self::Loadline => "loadline",
            Self::TargetValue => "target-value",
            Self::KedaCron => "keda-cron",
            Self::AwsPredictive => "aws-predictive",
            Self::Autopilot => "autopilot",
        }
    }
}

impl std::fmt::Display for CountPolicyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A service that may have no instances at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZeroSpec {
    /// It goes to zero after no request, and no waiting work, for so long.
    pub idle_after: SignedDuration,
    /// How long the front door holds a request while an instance starts.
    pub hold_timeout: SignedDuration,
    /// Requests that it holds at a time; the next one is refused.
    pub hold_requests: u32,
}

impl Default for ZeroSpec {
    fn default() -> Self {
        Self { idle_after: IDLE_AFTER, hold_timeout: HOLD_TIMEOUT, hold_requests: HOLD_REQUESTS }
    }
}

/// How much may change within a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingRule {
    /// A number of instances or a percentage of those at the beginning of the period.
    pub amount: ScalingAmount,
    /// The period.
    pub period: SignedDuration,
}

/// The unit of a scaling rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalingAmount {
    /// Instances (`type: Pods`).
    Instances(u32),
    /// Percent of the current count (`type: Percent`).
    Percent(u32),
}

/// Which of several rules holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectPolicy {
    /// The one that allows the most.
    Max,
    /// The one that allows the least.
    Min,
    /// No change in this direction.
    Disabled,
}

/// The rules of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingRules {
    /// The window over which the most cautious recommendation counts.
    pub stabilization: SignedDuration,
    /// Which rule holds where several are given.
    pub select: SelectPolicy,
    /// The rules; without any, the change is not limited.
    pub rules: Vec<ScalingRule>,
    /// No change in this direction while |current/target - 1| is at most this; the service's own
    /// `tolerance` where absent.
    #[serde(default)]
    pub tolerance: Option<Share>,
}

/// Automatic counts for a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleSpec {
    /// Never fewer, where no window says otherwise.
    pub min: u32,
    /// Never more, where no window says otherwise.
    pub max: u32,
    /// At least one; the highest answer counts.
    pub metrics: Vec<MetricTarget>,
    /// No change while |current/target - 1| is at most this.
    pub tolerance: f64,
    /// Upwards.
    pub up: ScalingRules,
    /// Downwards.
    pub down: ScalingRules,
    /// What finds the count.
    #[serde(default)]
    pub policy: CountPolicyKind,
    /// The share of time in which the load may exceed the ready capacity.
    #[serde(default = "budget")]
    pub budget: f64,
    /// The time after which the load's course comes again, at most a day: all times of policy `loadline` are parts
    /// of it.
    #[serde(default = "season")]
    pub season: SignedDuration,
    /// What is planned.
    #[serde(default)]
    pub events: Vec<PlannedEvent>,
    /// Other bounds at some times; the first one that is open holds.
    #[serde(default)]
    pub windows: Vec<ScaleWindow>,
    /// How it goes to zero, and comes back.
    #[serde(default)]
    pub zero: ZeroSpec,
}

fn budget() -> f64 {
    BUDGET
}

fn season() -> SignedDuration {
    SEASON
}

/// The bounds of a count at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleBounds {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// The window that they come from, by its place in the spec; none outside of all windows.
    pub window: Option<usize>,
}

impl ScaleSpec {
    /// By HPA with its defaults, without windows.
    pub fn new(min: u32, max: u32, metrics: Vec<MetricTarget>) -> Self {
        Self {
            min,
            max,
            metrics,
            tolerance: 0.1,
            up: ScalingRules::default_up(),
            down: ScalingRules::default_down(),
            policy: CountPolicyKind::default(),
            budget: BUDGET,
            season: SEASON,
            events: Vec::new(),
            windows: Vec::new(),
            zero: ZeroSpec::default(),
        }
    }

    /// The bounds in force at an instant: those of the first window that is open. A bound that the window
    /// leaves out is the service's own, moved as far as the window's other bound demands.
    pub fn bounds_at(&self, now: Timestamp) -> ScaleBounds {
        let open = self.windows.iter().position(|window| window.times.is_open(now));
        let found = open.and_then(|index| self.windows.get(index));
        let (min, max) = match found.map(|window| (window.min, window.max)) {
            None | Some((None, None)) => (self.min, self.max),
            Some((Some(min), Some(max))) => (min, max),
            Some((Some(min), None)) => (min, self.max.max(min)),
            Some((None, Some(max))) => (self.min.min(max), max),
        };
        ScaleBounds { min, max: max.max(min), window: open }
    }

    /// The least and the most that it may have at any time: by its own bounds and those of all windows.
    pub fn widest(&self) -> (u32, u32) {
        let mins = self.windows.iter().filter_map(|window| window.min);
        let maxs = self.windows.iter().filter_map(|window| window.max);
        let lows = mins.clone().chain(maxs.clone()).chain([self.min]).min();
        let highs = maxs.chain(mins).chain([self.max, self.min]).max();
        (lows.unwrap_or(self.min), highs.unwrap_or(self.max))
    }

    /// Whether it may have no instances at some time.
    pub fn reaches_zero(&self) -> bool {
        self.widest().0 == 0
    }

    /// The spec with the bounds that are in force at an instant, for what knows of no windows.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        let bounds = self.bounds_at(now);
        Self { min: bounds.min, max: bounds.max, windows: Vec::new(), ..self.clone() }
    }

    /// The share by which a metric may be over its target, and under it, without a change.
    pub fn tolerances(&self) -> (f64, f64) {
        let own = |rules: &ScalingRules| rules.tolerance.map_or(self.tolerance, Share::get);
        (own(&self.up), own(&self.down))
    }
}

impl ScalingRules {
    /// Kubernetes' default upwards: no waiting, the greater of +100 % and +4 instances each 15 s.
    pub fn default_up() -> Self {
        let period = SignedDuration::from_secs(15);
        Self {
            stabilization: SignedDuration::ZERO,
            select: SelectPolicy::Max,
            rules: vec![
                ScalingRule { amount: ScalingAmount::Instances(4), period },
                ScalingRule { amount: ScalingAmount::Percent(100), period },
            ],
            tolerance: None,
        }
    }

    /// Kubernetes' default downwards: the highest answer of 300 s, then without limit.
    pub fn default_down() -> Self {
        Self {
            stabilization: SignedDuration::from_secs(300),
            select: SelectPolicy::Max,
            rules: vec![ScalingRule {
                amount: ScalingAmount::Percent(100),
                period: SignedDuration::from_secs(15),
            }],
            tolerance: None,
        }
    }
}
