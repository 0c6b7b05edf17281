//! The sidecar's check paths: one decision, told over Envoy's ext_authz, forward auth, and gRPC.
//!
//! [`checker`] decides, and is pure; [`answer`] says it in HTTP. Everything else moves requests and answers
//! between these and a transport.
//!
//! **Cost**: a check is bound by the CPU, nearly all of it the signature's verification, and never waits. It runs
//! where its request was read, on single-threaded runtimes, one per core: so at most as many signatures are verified
//! at one time as there are cores. How many checks may be under way, with those that wait for their turn or for the
//! rest of their question, is bounded by a [gate](crate::runtime::gate) that all paths of a process share. Beyond it
//! a check is answered with `OVERLOADED` at once, and nothing that it presents is looked at.

pub mod answer;
pub mod args;
pub mod check_service;
pub mod checker;
pub mod claims_service;
pub mod compose;
mod disk;
pub mod ext_authz;
pub mod forward_auth;
pub mod metrics;
pub mod outcome;
pub mod request;
pub mod snapshot_file;

#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
