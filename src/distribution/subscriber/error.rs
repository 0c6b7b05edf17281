//! Why a stream is ended from the controller's side.

use crate::revocation::names::NameError;
use crate::revocation::version::Version;

use super::MAX_NACKS;
use crate::distribution::MAX_LISTS;
use crate::distribution::convert::ConvertError;

/// Says why a stream is ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The first message must be Hello, and only the first.
    #[error("Hello must come first, and only once")]
    Hello,
    /// A message that this version does not know.
    #[error("a message is not understood: update this controller")]
    NotUnderstood,
    /// A value makes no sense.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// No name of a list.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A reference that is zero, unknown, or in use.
    #[error("reference {reference} is zero, unknown, or in use already")]
    Reference {
        /// The reference.
        reference: u32,
    },
    /// More lists than one stream carries.
    #[error("more than {MAX_LISTS} lists in one stream")]
    TooManyLists,
    /// The filter alone is not served.
    #[error("compact mode is not served by this version: subscribe with mode exact")]
    Compact,
    /// An acknowledgement of what was never sent.
    #[error("version {version} was acknowledged and never sent")]
    NeverSent {
        /// The version.
        version: Version,
    },
    /// The sidecar refuses again and again.
    #[error("the sidecar has refused {MAX_NACKS} updates in a row: {detail}")]
    Refused {
        /// What it said last.
        detail: String,
    },
}
