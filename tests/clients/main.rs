//! Programs of others, which know of us only what is public: a gRPC client in another language, and Prometheus' own
//! judge of metrics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as the tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod foreign_grpc;
mod metrics;
