//! The loops: observe, decide, act. They see ports and pure functions, no adapter.

pub mod analyst;
pub mod autoscaler;
pub mod bookkeeper;
pub mod cluster_scaler;
pub mod control;
pub mod count_policies;
pub mod decisions;
pub mod disasters;
pub mod driver;
pub mod housekeeper;
mod joint;
mod judges;
pub mod load_feed;
pub mod machines;
pub mod notices;
mod read_ahead;
mod readings;
pub mod real_use;
pub mod routes;
mod run_peaks;
pub mod scheduler;
pub mod sizing;
mod startups;
pub mod state;
pub mod steady_clock;
pub mod waker;
pub mod what_if;
