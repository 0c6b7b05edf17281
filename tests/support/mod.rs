//! What tests of whole processes share: a lab in which controller and sidecar run, tokens for it, and an HTTP client
//! and an application that say exactly what was on the wire.
//!
//! Everything of a lab is in a folder of its own, on Unix sockets or on ports that the system chooses, so labs run
//! beside each other. What a lab has started ends with it, and nothing else does.

#![allow(dead_code, reason = "each test binary has its own copy and uses a part of it")]

pub(crate) mod control_plane;
pub(crate) mod foreign_kinds;
pub(crate) mod held;
pub(crate) mod http1;
pub(crate) mod issue;
pub(crate) mod lab;
pub(crate) mod metrics;
pub(crate) mod program;
pub(crate) mod tools;
pub(crate) mod upstream;
pub(crate) mod wait;

/// Longer than anything takes when all is well, also on a machine that is busy with other things.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
