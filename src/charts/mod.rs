//! Charts and pages: figures in, SVG or HTML out. Pure: no file is read or written here.
//!
//! - `draw`: a chart of curves by the crate kuva, which only this file and `time` name.
//! - `pareto`: what a backtest came to as such a chart.
//! - `cells`: its figures as tables of text, for the terminal and for pages.
//! - `forecasts`: what forecasts came to, as tables and as a page.
//! - `page`: everything as one HTML file that loads nothing from elsewhere.
//! - `run`: what a run on real processes came to, as one page of courses over its time.
//! - `load`: cells, chart and page of a backtest of load.
//! - `simulation`: the same of simulations of a cluster.
//! - `time`: courses over wall-clock time, for the pages of a running engine.
//!
//! Why kuva, and what a page may contain: `docs/decisions/010-charts.md`.

pub mod cells;
pub mod draw;
pub mod forecasts;
pub mod load;
pub mod page;
pub mod pareto;
pub mod run;
pub mod simulation;
pub mod time;
