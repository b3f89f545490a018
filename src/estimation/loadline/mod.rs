//! Loadline's own estimator: limits by expected cost.
//!
//! In: observations and kills of a fleet, a stated risk. Out: the limits that cost least at that risk.
//! `recent` remembers a workload, `forest` says how likely usage passes a candidate limit, `price` what a
//! miss costs so that the fleet's risk is the stated one, `sizer` chooses, `policy` joins them. What is
//! fitted offline lies in `models/loadline-v1.json`. The method and its figures: `docs/estimator.md`.

pub mod forest;
pub mod policy;
pub mod price;
pub mod recent;
pub mod sizer;
