//! Load -> later load: quantiles of a load from the next minute to two days ahead, refreshed with each observation.
//!
//! In: `(time, load)` of one series, events that are planned. Out: quantiles of the load at a time, of its highest
//! in a window, its expected course, and whether there is any structure to go by. Not here: what follows from a
//! forecast (`scaling`), how forecasts are scored (`replay`). `docs/forecast.md` tells the method and its figures.
//!
//! - `history`: observations on a grid of slots; where nothing was measured there is nothing.
//! - `seasons`: the course of earlier days and weeks, as it was known at an instant.
//! - `experts`: plain methods, each a forecast; `ridge`: a regression on them.
//! - `node`: one horizon: methods mixed by their recent losses.
//! - `learning`: what is learnt at the end of each slot.
//! - `conformal`: intervals that track their own coverage.
//! - `event`: what is planned. `forecaster`: all of it for one series, with the answers.

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

pub use event::{Event, Planned};
pub use forecaster::{Forecaster, Path, Refused, Structure};
