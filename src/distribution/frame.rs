//! Messages that are encoded once and shared by all streams: only the stream's reference differs.

use bytes::{BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::ProstCodec;

use crate::proto::v1;

/// Which message of a list it is: its field number in `PublisherMessage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Config = 1,
    SnapshotHeader = 2,
    SnapshotFilter = 3,
    SnapshotEntries = 4,
    SnapshotEnd = 5,
    Delta = 6,
}

/// A message about a list, encoded but for the reference that the stream gave to the list.
///
/// **Cost**: cloning is a reference count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    field: Field,
    body: Bytes,
}

impl Shared {
    /// Returns the size of the message, without what is written anew for each stream.
    #[must_use]
    pub(super) fn body_bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// Encodes a configuration; its `ref` must be zero, as for all the others.
    #[must_use]
    pub fn config(message: &v1::Config) -> Self {
        Self { field: Field::Config, body: message.encode_to_vec().into() }
    }

    /// Encodes the header of a snapshot.
    #[must_use]
    pub fn snapshot_header(message: &v1::SnapshotHeader) -> Self {
        Self { field: Field::SnapshotHeader, body: message.encode_to_vec().into() }
    }

    /// Encodes a part of the filter.
    #[must_use]
    pub fn snapshot_filter(message: &v1::SnapshotFilter) -> Self {
        Self { field: Field::SnapshotFilter, body: message.encode_to_vec().into() }
    }

    /// Encodes a part of the entries.
    #[must_use]
    pub fn snapshot_entries(message: &v1::SnapshotEntries) -> Self {
        Self { field: Field::SnapshotEntries, body: message.encode_to_vec().into() }
    }

    /// Encodes the end of a snapshot.
    #[must_use]
    pub fn snapshot_end(message: &v1::SnapshotEnd) -> Self {
        Self { field: Field::SnapshotEnd, body: message.encode_to_vec().into() }
    }

    /// Encodes a delta.
    #[must_use]
    pub fn delta(message: &v1::Delta) -> Self {
        Self { field: Field::Delta, body: message.encode_to_vec().into() }
    }

    /// Returns the number of bytes that are shared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Tells whether there is nothing but the kind of message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }
}

/// A message on its way into a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A shared message, under the stream's reference.
    Shared {
        /// The reference.
        reference: u32,
        /// The message.
        message: Shared,
    },
    /// A message of this stream alone.
    Own(Box<v1::PublisherMessage>),
}

impl Frame {
    /// Writes the message as protobuf has it.
    ///
    /// # Errors
    /// The library's, if the buffer can't grow.
    pub fn encode(&self, buffer: &mut impl BufMut) -> Result<(), prost::EncodeError> {
        match self {
            Self::Own(message) => message.encode(buffer),
            Self::Shared { reference, message } => {
                let inner = prost::encoding::uint32::encoded_len(1, reference) + message.body.len();
                prost::encoding::encode_key(
                    message.field as u32,
                    prost::encoding::WireType::LengthDelimited,
                    buffer,
                );
                prost::encoding::encode_varint(inner as u64, buffer);
                prost::encoding::uint32::encode(1, reference, buffer);
                buffer.put_slice(&message.body);
                Ok(())
            }
        }
    }
}

/// Encodes frames, and decodes what sidecars send.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = v1::SubscriberMessage;
    type Encoder = FrameEncoder;
    type Decoder = SubscriberDecoder;

    fn encoder(&mut self) -> FrameEncoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> SubscriberDecoder {
        SubscriberDecoder(ProstCodec::<v1::SubscriberMessage, v1::SubscriberMessage>::default().decoder())
    }
}

/// See [`FrameCodec`].
#[derive(Clone, Copy, Debug)]
pub struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, item: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

/// See [`FrameCodec`].
#[derive(Debug)]
pub struct SubscriberDecoder(<ProstCodec<v1::SubscriberMessage, v1::SubscriberMessage> as Codec>::Decoder);

impl Decoder for SubscriberDecoder {
    type Item = v1::SubscriberMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<v1::SubscriberMessage>, Status> {
        self.0.decode(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_frame_has_the_bytes_of_the_whole_message() {
        let mut delta =
            v1::Delta { digest: Bytes::from_static(b"0123456789abcdef"), horizon: 7, ..v1::Delta::default() };
        let message = Shared::delta(&delta);
        for reference in [1, 300] {
            let mut bytes = Vec::new();
            Frame::Shared { reference, message: message.clone() }.encode(&mut bytes).unwrap();
            delta.r#ref = reference;
            let whole =
                v1::PublisherMessage { message: Some(v1::publisher_message::Message::Delta(delta.clone())) };
            assert_eq!(bytes, whole.encode_to_vec());
        }
    }
}
