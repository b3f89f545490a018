//! The web interface: over HTTP as any program sees it, and in a real browser.

mod browser;
mod browser_work;
mod chromium;
mod cost;
mod given;
mod latency;
mod operator;
mod roles;
mod stars;
mod visitor;
mod work;
