//! Tokens: where a request carries one, what it says, and whether its issuer's keys and rules accept it.
//!
//! Nothing here asks a clock or a network: keys are pinned by the list's configuration, and `now` is an argument.

pub mod check;
pub mod hash;
pub mod issuer;
pub mod jws;
pub mod keys;
pub mod list_config;
pub mod rejection;
pub mod route;
pub mod rules;
pub mod selection;
pub mod sources;
