//! What will be: load to later load, load to use of resources.
//!
//! In: `(time, load)` of one series, events that are planned, what instances used at a load. Out: quantiles of the load
//! at a time, of its highest in a window, its expected course, whether there is any structure to go by; models that say
//! what follows from a load. Not here: what follows from a forecast (`scaling`), how forecasts are scored (`replay`).
//! `docs/forecast.md` and `docs/load-models.md` tell the methods and their figures.
//!
//! - `history`: observations on a grid of slots; where nothing was measured there is nothing.
//! - `seasons`: the course of earlier days and weeks, as it was known at an instant.
//! - `experts`: plain methods, each a forecast; `ridge`: a regression on them.
//! - `node`: one horizon: methods mixed by their recent losses.
//! - `learning`: what is learnt at the end of each slot.
//! - `conformal`: intervals that track their own coverage.
//! - `event`: what is planned. `forecaster`: all of it for one series, with the answers.
//! - `expected`: a forecast for one instant from recorded samples, in words.
//! - `course`: the same over the next hours, for charts, kept up to date as samples come.
//! - `load_model`: CPU, memory and latency of an instance as functions of its load.
//! - `usual_load`: the load by hour of the week, where nothing better is asked for.

mod conformal;
mod event;
mod experts;
mod forecaster;
mod history;
mod learning;
mod node;
mod ridge;
mod seasons;

pub mod baselines;
pub mod course;
pub mod expected;
pub mod load_model;
pub mod usual_load;

pub(crate) use conformal::probit;
pub use event::{Event, Planned};
pub use forecaster::{Forecaster, Path, Refused, Structure};
