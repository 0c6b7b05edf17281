//! Whole processes: what holds when they start, stop, hang, die, and move.

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod faults;
mod following;
mod freshness;
mod relay;
mod restart;
mod start_up;
mod tls;
