//! The Helm chart: what it renders, what it refuses, what a real API server accepts of it, and its monitoring.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as the tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod copies;
mod dashboard;
mod effects;
mod helm;
mod installed;
mod prometheus;
mod rendered;
mod smoke;
mod values;
