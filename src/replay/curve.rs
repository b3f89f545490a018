//! A policy's curve: footprint against the rate of kills or short-falls while its risk knob is swept, and
//! comparisons at an equal rate.

use serde::Serialize;

/// One value of the knob.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The knob.
    pub knob: f64,
    /// Kills per task-day, or the share of time short.
    pub rate: f64,
    /// Footprint.
    pub footprint: f64,
}

/// The points that no other point beats in both, by growing rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    points: Vec<Point>,
    /// What a rate of nothing counts as, for its logarithm: half of the smallest that could be seen.
    floor: f64,
}

impl Curve {
    /// The lower envelope of points; points that are no numbers are left out.
    pub fn new(points: impl IntoIterator<Item = Point>, floor: f64) -> Self {
        let mut sorted: Vec<Point> = points
            .into_iter()
            .filter(|point| point.rate.is_finite() && point.footprint.is_finite())
            .collect();
        sorted.sort_by(|a, b| a.rate.total_cmp(&b.rate).then(a.footprint.total_cmp(&b.footprint)));
        let mut points: Vec<Point> = Vec::new();
        for point in sorted {
            if points.last().is_none_or(|last| point.footprint < last.footprint) {
                points.push(point);
            }
        }
        Self { points, floor }
    }

    /// The footprint at a rate, interpolated in the rate's logarithm. Beyond the riskiest point it is that
    /// point's (the same footprint buys fewer misses than asked for); below the safest it is absent.
    pub fn footprint_at(&self, rate: f64) -> Option<f64> {
        let (from, to, share) = self.place(rate)?;
        Some(from.footprint + share * (to.footprint - from.footprint))
    }

    /// The points that a rate lies between, the safer first, and how far it is from the one to the other, in
    /// the rate's logarithm. Beyond the riskiest point it is that point; below the safest it is absent.
    pub fn place(&self, rate: f64) -> Option<(Point, Point, f64)> {
        let next = self.points.iter().position(|point| point.rate >= rate);
        let Some(next) = next else { return self.points.last().map(|point| (*point, *point, 1.0)) };
        let to = self.points[next];
        if next == 0 {
            let is_it = to.rate <= rate || self.log(to.rate) <= self.log(rate);
            return is_it.then_some((to, to, 1.0));
        }
        let from = self.points[next - 1];
        let (low, high) = (self.log(from.rate), self.log(to.rate));
        if high <= low {
            return Some((to, to, 1.0));
        }
        Some((from, to, ((self.log(rate) - low) / (high - low)).clamp(0.0, 1.0)))
    }

    /// The rate at a footprint, interpolated in the rate's logarithm; absent where even the riskiest
    /// point is dearer. Above the safest point it is that point's.
    pub fn rate_at(&self, footprint: f64) -> Option<f64> {
        let from = self.points.iter().position(|point| point.footprint <= footprint)?;
        let to = self.points[from];
        let Some(before) = from.checked_sub(1).map(|place| self.points[place]) else { return Some(to.rate) };
        let share = (footprint - to.footprint) / (before.footprint - to.footprint);
        let log = self.log(to.rate) + share * (self.log(before.rate) - self.log(to.rate));
        Some(log.exp())
    }

    /// The points, by growing rate.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// What a rate of nothing counts as.
    pub fn floor(&self) -> f64 {
        self.floor
    }

    fn log(&self, rate: f64) -> f64 {
        rate.max(self.floor).ln()
    }
}

/// (footprint - oracle) / (footprint of VPA - oracle), both at VPA's rate: 1 is as good as VPA, 0 is
/// perfect. Absent where the curve does not reach VPA's rate, or VPA is no dearer than the oracle.
pub fn excess(curve: &Curve, vpa: Point, oracle: f64) -> Option<f64> {
    let theirs = vpa.footprint - oracle;
    let ours = curve.footprint_at(vpa.rate)? - oracle;
    (theirs > 0.0).then(|| ours / theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve::new(points.iter().map(|&(rate, footprint)| Point { knob: 0.0, rate, footprint }), 0.001)
    }

    #[test]
    fn between_points_the_logarithm_of_the_rate_counts() {
        let curve = curve(&[(0.01, 30.0), (1.0, 10.0), (0.5, 40.0)]);
        assert_eq!(curve.points().len(), 2, "a point that is beaten in both is no part of the curve");
        assert!((curve.footprint_at(0.1).expect("within") - 20.0).abs() < 1e-9);
        assert!((curve.rate_at(20.0).expect("within") - 0.1).abs() < 1e-9);
        assert_eq!(curve.footprint_at(0.005), None);
        assert_eq!(curve.footprint_at(5.0), Some(10.0));
        assert_eq!(curve.rate_at(9.0), None);
        assert_eq!(curve.rate_at(99.0), Some(0.01));
    }

    #[test]
    fn a_rate_of_nothing_counts_as_the_floor() {
        let curve = curve(&[(0.0, 30.0), (0.1, 10.0)]);
        assert!((curve.footprint_at(0.01).expect("within") - 20.0).abs() < 1e-9);
        assert_eq!(curve.footprint_at(0.0), Some(30.0));
    }

    #[test]
    fn excess_is_told_at_the_rate_of_vpa() {
        let curve = curve(&[(0.01, 30.0), (1.0, 10.0)]);
        let vpa = Point { knob: 1.15, rate: 0.1, footprint: 35.0 };
        assert!((excess(&curve, vpa, 5.0).expect("an excess") - 0.5).abs() < 1e-9);
        assert_eq!(excess(&curve, vpa, 36.0), None);
    }
}
