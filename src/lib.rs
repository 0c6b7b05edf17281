//! Rescind: a revocation list service for access tokens.
//!
//! The crate is one library with thin binaries over it. Arrows between its modules go one way:
//! `cli` -> `controller` | `sidecar` -> `distribution`, `store`, `api`, `runtime` -> `token` -> `revocation`.
//! `cli` and `controller` -> `injection` -> `api`. `reference` reads the definitions of all of them.

pub mod api;
pub mod cli;
pub mod controller;
pub mod distribution;
pub mod injection;
pub mod metrics;
pub mod process;
pub mod proto;
pub mod reference;
pub mod revocation;
pub mod runtime;
pub mod sidecar;
pub mod store;
pub mod token;
