//! Size and count of a service together, from its load model: the cheapest pair that holds a load.
//!
//! In: a load model, the load to be held, node shapes with prices, bounds, the size and count in force. Out: another
//! size and count, or none where a change is not worth its price. Not here: where the load comes from.
//!
//! Two scalers that both look at CPU use fight: one takes the size after the use, the other the count after use over
//! size, and neither comes to rest (`joint_conflict`). Here one decides both, from load, which neither changes.
//!
//! - A node of a shape is cut in 1, 2, 3, ... equal slots; an instance gets a slot of what it needs most of, so whole
//!   nodes are filled. For each slot the load that one instance may have is computed (CPU use, latency objective,
//!   queue), and from it the count.
//! - Going to another size disturbs every instance, going to another count only the difference. Both have a price,
//!   `RESIZE_HOURS` and `START_HOURS` of the instances concerned, set against what is saved over `HORIZON_HOURS`. So
//!   counts follow the day, and sizes change rarely.

use crate::domain::load_model::{LoadModel, Relation};
use crate::domain::money::MicroCents;
use crate::domain::node::PoolName;
use crate::domain::policy::SizeBounds;
use crate::domain::quantity::{Bytes, Millicores, Resources};

/// Instances on one node at most.
const SLOTS_MAX: u32 = 64;
/// A saving has to pay for its change within so long.
const HORIZON_HOURS: f64 = 1.0;
/// An instance more or less costs what one costs to run for so long,
const START_HOURS: f64 = 0.1;
/// and one of another size so long.
const RESIZE_HOURS: f64 = 0.5;
/// What is in force is left alone while CPU use is no more than this much over its share.
const TOLERANCE: f64 = 1.1;
/// No instance gets less CPU than the Vertical Pod Autoscaler's least.
const CPU_MIN: Millicores = Millicores::new(25);
/// Memory beyond what the model says, for what it does not see.
const MEMORY_MARGIN: f64 = 1.15;

/// Nodes that instances can run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Their pool.
    pub pool: PoolName,
    /// What one offers.
    pub size: Resources,
    /// What one costs for an hour.
    pub price: MicroCents,
}

/// A size and a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// What one instance asks for.
    pub size: Resources,
    /// Instances.
    pub count: u32,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct JointAsk<'a> {
    /// What is known of the service.
    pub model: &'a LoadModel,
    /// Requests per second that are to be held.
    pub load: f64,
    /// The share of its CPU request that an instance may use.
    pub utilization: f64,
    /// Never less memory than this.
    pub least_memory: Bytes,
    /// Fewest and most instances.
    pub counts: (u32, u32),
    /// Bounds on sizes.
    pub bounds: SizeBounds,
    /// Where instances can run.
    pub shapes: &'a [Shape],
    /// What is in force.
    pub now: Pair,
    /// The size stays, whatever it costs: a rollout or another size is on its way.
    pub fixed_size: bool,
}

/// A pair that holds the load.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The pair.
    pub pair: Pair,
    /// The pool that it is cheapest on.
    pub pool: PoolName,
    /// Instances that one of its nodes takes.
    pub slots: u32,
    /// What all instances cost for an hour, in units of the currency.
    pub price: f64,
}

/// Why there is a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// What is in force does not hold the load.
    Short,
    /// What is in force costs more than it needs to.
    Saves,
}

/// The pair that is to be in force; none where the one in force stays, or where nothing can be said.
pub fn decide(ask: &JointAsk<'_>) -> Option<(Cause, Choice)> {
    let all = candidates(ask);
    let now = ask.holds(&ask.now).then(|| ask.priced(ask.now)).flatten();
    let total = |choice: &Choice| choice.price * HORIZON_HOURS + change_price(ask, choice);
    let best = all.into_iter().min_by(|a, b| {
        let order = total(a).total_cmp(&total(b));
        order.then_with(|| a.pair.count.cmp(&b.pair.count))
    })?;
    if best.pair == ask.now {
        return None;
    }
    match now {
        None => Some((Cause::Short, best)),
        Some(now) => (total(&best) < now.price * HORIZON_HOURS).then_some((Cause::Saves, best)),
    }
}

/// The cheapest pair, whatever is in force.
pub fn cheapest(ask: &JointAsk<'_>) -> Option<Choice> {
    candidates(ask).into_iter().min_by(|a, b| {
        let order = a.price.total_cmp(&b.price);
        order.then_with(|| a.pair.count.cmp(&b.pair.count))
    })
}

fn change_price(ask: &JointAsk<'_>, choice: &Choice) -> f64 {
    let each = choice.price / f64::from(choice.pair.count.max(1));
    if choice.pair.size == ask.now.size {
        return f64::from(choice.pair.count.abs_diff(ask.now.count)) * each * START_HOURS;
    }
    f64::from(choice.pair.count.max(ask.now.count)) * each * RESIZE_HOURS
}

/// Every slot of every shape with the count that holds the load, and the size in force with it.
fn candidates(ask: &JointAsk<'_>) -> Vec<Choice> {
    let shapes = if ask.fixed_size { &[] } else { ask.shapes };
    let slots = shapes.iter().flat_map(|shape| (1..=SLOTS_MAX).map(move |slots| slot(shape.size, slots)));
    let sizes = slots.filter(|size| within(*size, &ask.bounds)).chain([ask.now.size]);
    let pair = |size: Resources| {
        let count = ask.count_for(size)?;
        let fitted = if size == ask.now.size { size } else { ask.trimmed(size, count) };
        let pair = Pair { size: fitted, count };
        ask.holds(&pair).then(|| ask.priced(pair)).flatten()
    };
    sizes.filter_map(pair).collect()
}

fn slot(node: Resources, slots: u32) -> Resources {
    let slots = u64::from(slots);
    Resources::new(Millicores::new(node.cpu.get() / slots), Bytes::new(node.memory.get() / slots))
}

fn within(size: Resources, bounds: &SizeBounds) -> bool {
    size.cpu >= CPU_MIN
        && bounds.min_cpu.is_none_or(|least| size.cpu >= least)
        && bounds.max_cpu.is_none_or(|most| size.cpu <= most)
        && bounds.min_memory.is_none_or(|least| size.memory >= least)
}

impl JointAsk<'_> {
    fn memory_at(&self, load: f64) -> Bytes {
        let band = self.model.memory.line().map_or(0.0, |line| line.band);
        let used = self.model.memory.at(load).map_or(0.0, |used| used * MEMORY_MARGIN + band);
        Bytes::from_f64(used).max(self.least_memory)
    }

    /// The load that an instance of a size may have.
    fn load_for(&self, size: Resources) -> Option<f64> {
        let cpu = self.model.load_within(size.cpu.cores(), self.utilization)?;
        if self.model.cpu.line()?.at(0.0) >= size.cpu.cores() * self.utilization {
            return None;
        }
        let Relation::Clear(memory) = &self.model.memory else { return Some(cpu) };
        let most = (size.memory.as_f64() - memory.band) / MEMORY_MARGIN;
        Some(memory.load_at(most).map_or(0.0, |load| load.value).min(cpu))
    }

    fn count_for(&self, size: Resources) -> Option<u32> {
        let each = self.load_for(size).filter(|load| *load > 0.0)?;
        let wanted = (self.load / each - 1e-9).ceil();
        let (least, most) = self.counts;
        (wanted <= f64::from(most)).then(|| (wanted.max(0.0) as u32).max(least))
    }

    /// A slot with no more of the lesser resource than is needed at that count.
    fn trimmed(&self, slot: Resources, count: u32) -> Resources {
        let load = self.load / f64::from(count.max(1));
        let cpu =
            self.model.cpu.at(load).map_or(slot.cpu, |used| Millicores::from_cores(used / self.utilization));
        let memory = self.memory_at(load);
        let part = |need: f64, of: f64| if of > 0.0 { need / of } else { f64::INFINITY };
        let by_cpu = part(cpu.cores(), slot.cpu.cores());
        let by_memory = part(memory.as_f64(), slot.memory.as_f64());
        let least_cpu = self.bounds.min_cpu.unwrap_or(CPU_MIN).max(CPU_MIN);
        if by_cpu >= by_memory {
            Resources::new(slot.cpu, memory.min(slot.memory))
        } else {
            Resources::new(cpu.clamp(least_cpu.min(slot.cpu), slot.cpu), slot.memory)
        }
    }

    /// Whether a pair holds the load; what is in force is allowed a little more.
    fn holds(&self, pair: &Pair) -> bool {
        let (least, most) = self.counts;
        if pair.count < least || pair.count > most || pair.count == 0 {
            return pair.count == 0 && least == 0 && self.load <= 0.0;
        }
        let tolerance = if *pair == self.now { TOLERANCE } else { 1.0 + 1e-6 };
        let load = self.load / f64::from(pair.count);
        let by_cpu = self
            .model
            .cpu
            .at(load)
            .is_some_and(|used| used <= pair.size.cpu.cores() * self.utilization * tolerance);
        let by_memory = self.memory_at(load).as_f64() <= pair.size.memory.as_f64() * tolerance;
        let bound = self.model.load_within(f64::MAX, self.utilization);
        by_cpu && by_memory && bound.is_none_or(|most| load <= most * tolerance)
    }

    /// Whether what is in force holds the load.
    pub fn is_held(&self) -> bool {
        self.holds(&self.now)
    }

    /// What a pair costs where it is cheapest; none where it fits on no node.
    fn priced(&self, pair: Pair) -> Option<Choice> {
        let on = |shape: &Shape| {
            let slots = slots_of(shape.size, pair.size)?;
            let price = f64::from(pair.count) * shape.price.units() / f64::from(slots);
            Some(Choice { pair, pool: shape.pool.clone(), slots, price })
        };
        self.shapes.iter().filter_map(on).min_by(|a, b| a.price.total_cmp(&b.price))
    }
}

/// Instances of a size that fit on a node; none where not even one does.
pub fn slots_of(node: Resources, size: Resources) -> Option<u32> {
    let by = |node: u64, size: u64| node.checked_div(size).unwrap_or(u64::MAX);
    let fit = by(node.cpu.get(), size.cpu.get()).min(by(node.memory.get(), size.memory.get()));
    let fit = u32::try_from(fit).unwrap_or(u32::MAX);
    (fit > 0).then_some(fit)
}
