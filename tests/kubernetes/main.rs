//! On a real Kubernetes API server: what it accepts, what it refuses with which words, and who may do what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as the tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod admin;
mod cli;
mod cluster;
mod control_plane;
mod enforced;
mod faults;
mod injection;
mod integrations;
mod lab;
mod late;
mod leftovers;
mod list_status;
mod objects;
mod observability;
mod observation;
mod operations;
mod permissions;
mod refusals;
mod relay;
mod rounds;
mod schema;
mod trust;
