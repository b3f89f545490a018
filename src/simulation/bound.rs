//! The least that machines for given tasks can cost. In: tasks by size, types of machines. Out: a price per
//! hour that no packing can go under.
//!
//! It is a bound of the linear programme that assigns fractions of tasks to the types that they fit, by its
//! dual: where the CPU of each type costs a share of the type's price and its memory the rest, each task
//! costs at least what the cheapest type that it fits asks for it. Any shares give a bound; the best ones,
//! which this looks for one type at a time, give the programme's own value. A plain resource programme
//! would buy machines that no task fits and bound nothing.

use std::collections::BTreeMap;

use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::simulation::machines::Machine;

/// Millicores and bytes that tasks of one size ask for.
pub type Shape = (u64, u64);

/// Shares that are tried for a type, and how often all types are gone through.
const SHARES: usize = 20;
const ROUNDS: usize = 3;

/// The shares of CPU in the prices of types; kept from one bound to the next, which is alike.
#[derive(Debug, Clone)]
pub struct Bound {
    shares: Vec<f64>,
}

impl Bound {
    /// For so many types.
    pub fn new(machines: usize) -> Self {
        Self { shares: vec![0.5; machines] }
    }

    /// The bound in units of currency per hour. Tasks that fit no type cost nothing.
    pub fn per_hour(&mut self, tasks: &BTreeMap<Shape, u64>, machines: &[Machine]) -> f64 {
        let mut best = value(tasks, machines, &self.shares);
        for _ in 0..ROUNDS {
            let before = best;
            for machine in 0..machines.len() {
                best = self.improve(machine, best, tasks, machines);
            }
            if best - before <= before * 1e-4 {
                break;
            }
        }
        best
    }

    fn improve(
        &mut self,
        machine: usize,
        best: f64,
        tasks: &BTreeMap<Shape, u64>,
        machines: &[Machine],
    ) -> f64 {
        let (mut best, mut kept) = (best, self.shares[machine]);
        for step in 0..=SHARES {
            self.shares[machine] = step as f64 / SHARES as f64;
            let found = value(tasks, machines, &self.shares);
            if found > best {
                (best, kept) = (found, self.shares[machine]);
            }
        }
        self.shares[machine] = kept;
        best
    }
}

fn value(tasks: &BTreeMap<Shape, u64>, machines: &[Machine], shares: &[f64]) -> f64 {
    let price = |request: Resources, (machine, share): (&Machine, &f64)| {
        let cpu = request.cpu.cores() / machine.size.cpu.cores();
        let memory = request.memory.as_f64() / machine.size.memory.as_f64();
        machine.price.units() * (share * cpu + (1.0 - share) * memory)
    };
    let cheapest = |(cpu, memory): Shape| {
        let request = Resources::new(Millicores::new(cpu), Bytes::new(memory));
        let fitting = machines.iter().zip(shares).filter(|(machine, _)| request.fits(machine.size));
        fitting.map(|of| price(request, of)).min_by(f64::total_cmp).unwrap_or(0.0)
    };
    tasks.iter().map(|(shape, count)| cheapest(*shape) * *count as f64).sum()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::simulation::machines::named;

    fn machines() -> Vec<Machine> {
        let names = ["c7i.xlarge", "m7i.xlarge", "r7i.xlarge"].map(str::to_owned);
        named(&names, SignedDuration::ZERO).expect("types")
    }

    fn tasks(of: &[(u64, u64, u64)]) -> BTreeMap<Shape, u64> {
        of.iter().map(|&(cpu, mib, count)| ((cpu, Bytes::mib(mib).get()), count)).collect()
    }

    #[test]
    fn tasks_that_fill_a_machine_cost_what_the_machine_costs() {
        let machine = &machines()[1];
        let whole = BTreeMap::from([((machine.size.cpu.get(), machine.size.memory.get()), 10)]);
        let bound = Bound::new(3).per_hour(&whole, &machines());
        assert!((bound - 10.0 * machine.price.units()).abs() < 1e-6, "{bound}");
    }

    #[test]
    fn the_mix_of_two_types_is_bounded_by_what_it_costs() {
        // Three of the one kind fill the CPU of a c7i and leave half of its memory; a type with more memory
        // takes the other kind beside them.
        let of = tasks(&[(1260, 2300, 300), (100, 14_000, 50)]);
        let bound = Bound::new(3).per_hour(&of, &machines());
        // Each kind on machines of its own costs no less; all CPU at the price of the cheapest core no more.
        let apart = 100.0 * 0.1785 + 25.0 * 0.2646;
        let cores = (300.0 * 1.26 + 50.0 * 0.1) / 3.78 * 0.1785;
        assert!(bound <= apart + 1e-9 && bound >= cores - 1e-9, "{cores} <= {bound} <= {apart}");
    }
}
