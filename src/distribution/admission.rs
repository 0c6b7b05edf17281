//! Who may follow which list: what a stream asks, and what it is told. Who knows is outside.

use std::time::Duration;

use futures::future::BoxFuture;
use tonic::Status;

use crate::api::allowed_subscribers::AllowedSubscribers;
use crate::revocation::names::ListName;

/// Whether the sidecar of a stream may have a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Admitted,
    /// It is being found out; what was decided before stays.
    Pending,
    /// It may not, by the list's declaration, or there is no such list.
    Refused {
        /// A sentence for whoever runs the sidecar. It tells nothing that they may not know.
        why: String,
    },
    /// It can't be found out now.
    Unknown {
        /// A sentence.
        why: String,
    },
}

/// Finds out whose stream it is.
pub trait Authenticator: Send + Sync + 'static {
    /// Looks at what the stream's call shows: the token of a Bearer, if it is one.
    ///
    /// # Errors
    /// A status that ends the call: `UNAUTHENTICATED` if the token is not good, `UNAVAILABLE` if that can't be told.
    fn authenticate(&self, token: Option<String>) -> BoxFuture<'_, Result<Box<dyn Guest>, Status>>;
}

/// The sidecar of one stream, once it is known who that is.
pub trait Guest: Send + Sync + 'static {
    /// Tells whether it may have a list. `allowed` is what the list declares; none if it is not published.
    fn judge(&self, list: &ListName, allowed: Option<&AllowedSubscribers>) -> Admission;

    /// Returns what has to be looked up before the next judgement, if anything; it takes a bounded time.
    fn look_up(&self) -> Option<BoxFuture<'static, ()>>;

    /// Returns for how long its token is good.
    fn good_for(&self) -> Duration;

    /// Tells whether a sidecar could show a new token now.
    fn can_be_renewed(&self) -> bool;
}
