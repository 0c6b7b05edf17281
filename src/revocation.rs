//! The core: what is revoked, and what a sidecar may conclude from what it holds.
//!
//! Everything here is a pure function of its arguments: no clock, no input or output, no task. Time is an
//! argument, randomness is an argument, and every error is a value.

pub mod claims;
pub mod delta;
pub mod digest;
pub mod expiry;
pub mod filter;
pub mod freshness;
pub mod key;
pub mod list;
pub mod names;
pub mod record;
pub mod row;
pub mod selector;
pub mod snapshot;
pub mod state;
pub mod time;
pub mod verdict;
pub mod version;
