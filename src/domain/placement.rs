//! What a workload wants of the nodes that its tasks are placed on, and of its neighbours there.
//! Not here: whether a node has it (`placement`), how it is written (`config`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::workload::WorkloadName;

/// The word for a rule that holds of single nodes, in the place of an attribute's name.
pub const BY_NODE: &str = "node";

/// How the value of an attribute is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// It is one of the values.
    #[default]
    In,
    /// It is none of the values, or there is none.
    NotIn,
    /// There is one.
    Exists,
    /// There is none.
    Absent,
    /// It is a number above the one given.
    Above,
    /// It is a number below the one given.
    Below,
}

/// One condition on a node's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Constraint {
    /// The attribute's name. `pool` is the node's pool; others come from `[pool.NAME.attributes]`.
    pub attribute: String,
    /// How the node's value is compared.
    #[serde(default)]
    pub operator: Operator,
    /// What it is compared with: any one of several values; one number; nothing.
    pub any_of: Vec<String>,
}

impl Constraint {
    /// The attribute has one of the values.
    pub fn is_in(attribute: &str, any_of: Vec<String>) -> Self {
        Self { attribute: attribute.to_owned(), operator: Operator::In, any_of }
    }

    /// Whether a node meets it whose attribute has this value.
    pub fn holds(&self, found: Option<&str>) -> bool {
        let named = |found: &str| self.any_of.iter().any(|value| value == found);
        let compared = |holds: fn(f64, f64) -> bool| {
            let bound = self.any_of.first().and_then(|bound| bound.parse().ok());
            let found = found.and_then(|found| found.parse().ok());
            matches!((found, bound), (Some(found), Some(bound)) if holds(found, bound))
        };
        match self.operator {
            Operator::In => found.is_some_and(named),
            Operator::NotIn => !found.is_some_and(named),
            Operator::Exists => found.is_some(),
            Operator::Absent => found.is_none(),
            Operator::Above => compared(|found, bound| found > bound),
            Operator::Below => compared(|found, bound| found < bound),
        }
    }

    /// The values that it asks for, in words.
    pub fn wanted(&self) -> String {
        let values = self.any_of.join(" or ");
        match self.operator {
            Operator::In => values,
            Operator::NotIn => format!("not {values}"),
            Operator::Exists => "any value".to_owned(),
            Operator::Absent => "none".to_owned(),
            Operator::Above => format!("more than {values}"),
            Operator::Below => format!("less than {values}"),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (attribute, values) = (&self.attribute, self.any_of.join(" or "));
        match self.operator {
            Operator::In => write!(f, "{attribute} = {values}"),
            Operator::NotIn => write!(f, "{attribute} other than {values}"),
            Operator::Exists => write!(f, "with {attribute}"),
            Operator::Absent => write!(f, "without {attribute}"),
            Operator::Above => write!(f, "{attribute} > {values}"),
            Operator::Below => write!(f, "{attribute} < {values}"),
        }
    }
}

/// Which of the nodes that fit is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The one that is left with the least, so that nodes become empty and can be removed.
    #[default]
    Pack,
    /// The one with the fewest tasks of the workload, then the one with the most free.
    Spread,
}

/// That tasks are to be, or not to be, where tasks of a workload are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Neighbour {
    /// The other workload; or the same one.
    pub workload: WorkloadName,
    /// What counts as one place: `node`, or nodes with the same value of this attribute.
    pub by: String,
    /// Whether a task waits rather than go where this does not hold.
    pub required: bool,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on the same {}", self.workload, self.by)
    }
}

/// That the tasks of a workload are to be even over places.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpreadOver {
    /// What counts as one place: `node`, or nodes with the same value of this attribute.
    pub by: String,
    /// By how many tasks the fullest place may exceed the emptiest.
    pub max_skew: u32,
}

/// What a task wants of the node that it is placed on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlacementSpec {
    /// All of these must hold.
    pub constraints: Vec<Constraint>,
    /// Which of the nodes that fit is taken.
    #[serde(default)]
    pub strategy: Strategy,
    /// Evenness over places.
    #[serde(default)]
    pub spread_over: Option<SpreadOver>,
    /// Workloads to be near.
    #[serde(default)]
    pub affinity: Vec<Neighbour>,
    /// Workloads to be away from. A required one holds both ways: the other's tasks keep away as well.
    #[serde(default)]
    pub anti_affinity: Vec<Neighbour>,
}

impl PlacementSpec {
    /// Whether where a task may go depends on where other tasks are.
    pub fn looks_at_others(&self) -> bool {
        self.strategy == Strategy::Spread
            || self.spread_over.is_some()
            || !self.affinity.is_empty()
            || !self.anti_affinity.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_compare_as_they_say() {
        let holds = |operator, any_of: &[&str], found| {
            let any_of = any_of.iter().map(|&value| value.to_owned()).collect();
            Constraint { attribute: "zone".to_owned(), operator, any_of }.holds(found)
        };
        assert!(holds(Operator::In, &["a", "b"], Some("b")) && !holds(Operator::In, &["a"], None));
        assert!(holds(Operator::NotIn, &["a"], None) && !holds(Operator::NotIn, &["a"], Some("a")));
        assert!(holds(Operator::Exists, &[], Some("")) && !holds(Operator::Exists, &[], None));
        assert!(holds(Operator::Absent, &[], None) && !holds(Operator::Absent, &[], Some("x")));
        assert!(holds(Operator::Above, &["9"], Some("10")) && !holds(Operator::Above, &["9"], Some("9")));
        assert!(holds(Operator::Below, &["9"], Some("8.5")) && !holds(Operator::Below, &["9"], Some("x")));
    }

    #[test]
    fn a_constraint_of_an_earlier_store_has_values_only() {
        let old = r#"{"constraints":[{"attribute":"disk","any_of":["ssd"]}]}"#;
        let spec: PlacementSpec = serde_json::from_str(old).expect("a spec");
        assert_eq!(spec.constraints, [Constraint::is_in("disk", vec!["ssd".to_owned()])]);
        assert_eq!(spec.strategy, Strategy::Pack);
    }
}
