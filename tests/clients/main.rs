//! Programs of others, which know of us only what is public: a gRPC client in another language, and Prometheus' own
//! judge of metrics.

#[path = "../support/mod.rs"]
mod support;

mod foreign_grpc;
mod metrics;
