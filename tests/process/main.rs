//! Whole processes: what holds when they start, stop, hang, die, and move.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "what tests share fails by panicking, as the tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod browser;
mod commands;
mod damage;
mod demo;
mod faults;
mod following;
mod freshness;
mod hostile;
mod logs;
mod otlp;
mod overload;
mod relay;
mod restart;
mod serving;
mod small_disk;
mod start_up;
mod streams;
mod tls;
mod traces;
