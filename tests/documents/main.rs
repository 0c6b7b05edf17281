//! The documents say what is true: links lead somewhere, commands print what they are said to print, and the
//! invariants, flags and metrics that are named are those that are there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as the tests do"
)]

mod annotations;
mod commands;
mod flags;
mod invariants;
mod links;
mod markdown;
mod marked;
mod metrics;
mod running;
mod tables;
