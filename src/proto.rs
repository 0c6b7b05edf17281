//! The generated code of the protocols, with its lints silenced here and nowhere else.

#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    clippy::large_futures,
    rustdoc::all,
    reason = "generated from proto/; the comments there are the documentation"
)]

/// All modules by package.
mod protocols {
    include!(concat!(env!("OUT_DIR"), "/protocols.rs"));
}

pub use protocols::envoy;
pub use protocols::google;
pub use protocols::rescind::v1;

/// The descriptors of all protocols, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
