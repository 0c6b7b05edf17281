//! The core: what is revoked, and what a sidecar may conclude from what it holds.
//!
//! Everything here is a pure function of its arguments: no clock, no input or output, no task. Time is an
//! argument, randomness is an argument, and every error is a value.

pub mod names;
pub mod row;
pub mod time;
pub mod version;
