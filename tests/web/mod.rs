//! The web interface: over HTTP as any program sees it, and in a real browser.

mod browser;
mod chromium;
mod latency;
mod operator;
mod roles;
mod visitor;
