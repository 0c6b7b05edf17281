//! The images on a real cluster of one node, driven by `kubectl` and Helm as a user drives them.
//!
//! Where the machine can't run a node, the tests say so, loudly, and pass; where it can, what is missing is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "what tests share fails by panicking, as the tests do, and long ones say how far they are"
)]

mod cluster;
mod docker;
mod figures;
mod forward;
mod installed;
mod limits;
mod outage;
mod release;
mod replicas;
mod requests;
mod shop;
mod standalone;
#[path = "../support/mod.rs"]
mod support;
mod traffic;
mod uninstalled;
mod workloads;
