//! Loadline launches services and cron jobs, watches what each task uses, and keeps three numbers
//! right: the size of a task, the number of instances, the number of nodes.
//!
//! # The map, in layer order
//! A module may use only what stands above it, as the table in `tests/architecture.rs` says.
//!
//! 1. Nouns: [`domain`].
//! 2. Decisions, pure: [`estimation`], [`forecasting`], [`placement`], [`scaling`], [`scheduling`],
//!    [`accounting`], [`replay`], [`simulation`].
//! 3. Ports: [`ports`].
//! 4. Adapters: [`adapters`].
//! 5. Loops: [`agent`], [`controllers`].
//! 6. Edges: [`analytics`], [`charts`], [`backtests`], [`config`], [`api`], [`web`], [`app`], [`cli`].
//!
//! Layers 1 to 3 compile without the feature `shell`; nothing in them reads a clock, a file, the
//! environment or the network.

pub mod domain;

pub mod accounting;
pub mod estimation;
pub mod forecasting;
pub mod placement;
pub mod replay;
pub mod scaling;
pub mod scheduling;
pub mod simulation;

pub mod ports;

#[cfg(feature = "shell")]
pub mod adapters;

#[cfg(feature = "shell")]
pub mod agent;
#[cfg(feature = "shell")]
pub mod controllers;

#[cfg(feature = "shell")]
pub mod analytics;
#[cfg(feature = "shell")]
pub mod api;
#[cfg(feature = "shell")]
pub mod app;
#[cfg(feature = "shell")]
pub mod backtests;
#[cfg(feature = "shell")]
pub mod charts;
#[cfg(feature = "shell")]
pub mod cli;
#[cfg(feature = "shell")]
pub mod config;
#[cfg(feature = "shell")]
pub mod web;
