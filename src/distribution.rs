//! From the store to the sidecars: the stream, its proofs of freshness, and both of its ends.
//!
//! The publisher's end is [`replica`] (follows the store), [`hub`] (what it shares), [`publisher`] (one list, pure),
//! [`subscriber`] (one stream, pure), [`admission`] (who may have which list) and [`server`]; the sidecar's is [`session`] (pure), [`client`] and [`view`].
//! Between them is [`convert`], the only file that knows both the protocol and the core.

pub mod admission;
pub mod assembly;
pub mod client;
pub mod convert;
pub mod enforcement;
pub mod frame;
pub mod hub;
pub mod publisher;
#[cfg(test)]
pub(crate) mod pump;
pub mod replica;
pub mod server;
pub mod session;
pub mod subscriber;
pub mod view;

/// How keys are computed: SipHash-2-4-128 over tagged parts.
pub const KEY_SCHEME: u32 = 1;
/// The largest chunk of a snapshot, in bytes.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// The largest message that a sidecar accepts.
pub const MAX_PUBLISHER_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// The largest message that a controller accepts.
pub const MAX_SUBSCRIBER_MESSAGE_BYTES: usize = 64 * 1024;
/// How many lists one stream may carry.
pub const MAX_LISTS: usize = 64;
/// The most entries that a sidecar takes in one list; above it the last good state stays.
pub const MAX_ENTRIES: u64 = 16_000_000;
/// What a sidecar of this version understands beyond the first version of the protocol.
pub const FEATURES: &[&str] = &[];
