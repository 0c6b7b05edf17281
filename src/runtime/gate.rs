//! Takes on a bounded number of requests at one time, and tells every other at once that it is one too many.
//!
//! A request counts from when its head was read until its answer is made. So those count that wait for their turn on
//! a busy core, and those whose body is still to come: neither queue grows beyond the bound.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::Extensions;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// The bound, and who counts. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    limit: usize,
    patience: Duration,
}

/// What the gate has told a request. Whoever answers has to look at it: the gate itself refuses nothing, for it does
/// not know how a refusal looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is one of those that are taken on.
    Granted,
    /// It is one too many: it is to be answered without any work.
    Refused,
}

impl Admission {
    /// Returns what a request was told. One that never came through a gate is not taken on.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Refused)
    }
}

impl Gate {
    /// Takes on at most `limit` requests at one time. Each has `patience` for its body; one that is late ends with an
    /// error, and counts no more.
    #[must_use]
    pub fn new(limit: usize, patience: Duration) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(limit)), limit, patience }
    }

    /// Returns how many requests are taken on and not answered yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.limit.saturating_sub(self.permits.available_permits())
    }

    /// Puts the gate in front of the routes that a router has so far; routes that are added later are not behind it.
    pub fn in_front_of(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), pass))
    }

    /// Fails only if all permits are taken, for nobody closes the semaphore.
    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let permit = gate.permit();
    let (mut head, body) = request.into_parts();
    if permit.is_some() {
        head.extensions.insert(Admission::Granted);
        // What else has been read by now is to count before the work begins: work that never waits would else be over
        // before the next request is seen, and nothing would ever be one too many, however long the queue is.
        tokio::task::yield_now().await;
    } else {
        head.extensions.insert(Admission::Refused);
    }
    let body = Body::new(Timely { body, patience: gate.patience, waited: None });
    let response = next.run(Request::from_parts(head, body)).await;
    // The answer is a value now. How slowly a peer reads it is no matter of the others.
    drop(permit);
    response
}

/// A body that fails if it has to be waited for too long, whether the request was taken on or not.
struct Timely {
    body: Body,
    patience: Duration,
    /// Runs from when the body had to be waited for first; most never have.
    waited: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Timely {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let patience = self.patience;
        let waited = self.waited.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(waited.as_mut().poll(context));
        let why = format!("the body did not come within {} s", patience.as_secs_f32());
        // Servers of gRPC make their answer of it.
        Poll::Ready(Some(Err(axum::Error::new(tonic::Status::deadline_exceeded(why)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
