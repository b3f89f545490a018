//! Ways to tell others: a signed request (`webhook`), a command (`command`).

pub mod command;
pub mod webhook;
