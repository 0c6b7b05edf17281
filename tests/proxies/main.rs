//! The sidecar behind the real Envoy, nginx and Caddy, with the configurations of `examples/` as they are.
//!
//! Failures 4 and 5 (an edge that has the data and never consults it; one path that checks and another that does
//! not): there is one table of what clients present ([`presented`]) and one statement of what must follow
//! ([`expected`]), and every proxy runs all of it on every kind of route. The only exceptions are the ones that
//! `examples/README.md` tells its readers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as the tests do"
)]

#[path = "../support/mod.rs"]
mod support;

mod application_errors;
mod contradictions;
mod decision_table;
mod doubt;
mod expected;
mod forged_headers;
mod fronts;
mod grpc_workload;
mod jwt_authn;
mod opaque;
mod paths;
mod preflight;
mod presented;
mod revocations;
mod shadow;
mod sidecar_down;
