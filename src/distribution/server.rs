//! The gRPC service at a replica: moves messages between streams and their pure state.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

use crate::proto::v1;
use crate::revocation::names::ListName;
use crate::runtime::clock::Clock;

use super::MAX_SUBSCRIBER_MESSAGE_BYTES;
use super::admission::{Admission, Authenticator, Guest};
use super::enforcement::SessionId;
use super::frame::{Frame, FrameCodec};
use super::hub::Hub;
use super::subscriber::{ProtocolError, Reaction, Subscriber};
use door::{Door, Event, RENEW_WITHIN};

mod door;

/// How many streams a replica serves unless told otherwise.
pub const MAX_STREAMS: usize = 10_000;
/// A stream that has not sent a ping for so long is ended: its sidecar is gone, or has moved.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Frames on their way into the transport; their bytes are shared.
const FRAMES_IN_FLIGHT: usize = 4;
/// On shutdown, sidecars move at a random moment within this time.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(3);
/// How much longer a stream may take to move.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// The service `rescind.v1.Distribution`.
#[derive(Clone)]
pub struct DistributionServer {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
    draining: CancellationToken,
    closing: CancellationToken,
    streams: TaskTracker,
    max_streams: usize,
    authenticator: Option<Arc<dyn Authenticator>>,
}

impl std::fmt::Debug for DistributionServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DistributionServer").field("hub", &self.shared.hub).finish_non_exhaustive()
    }
}

impl DistributionServer {
    /// Serves a hub. When `draining` is cancelled, streams are told to move, and new ones are refused.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        clock: Arc<dyn Clock>,
        draining: CancellationToken,
        max_streams: usize,
    ) -> Self {
        let (streams, closing) = (TaskTracker::new(), CancellationToken::new());
        let authenticator = None;
        let shared = Shared { hub, clock, draining, closing, streams, max_streams, authenticator };
        Self { shared: Arc::new(shared) }
    }

    /// Serves only sidecars that show who they are, and each only the lists that admit it. For a server that has not
    /// served anybody yet.
    #[must_use]
    pub fn guarded_by(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.authenticator = Some(authenticator);
        }
        self
    }

    /// Gives sidecars time to move after draining began, then ends the streams that are left.
    pub async fn drain(&self) {
        self.shared.streams.close();
        let moved = tokio::time::timeout(DRAIN_WITHIN + DRAIN_GRACE, self.shared.streams.wait()).await;
        if moved.is_err() {
            tracing::info!(
                replica = self.shared.hub.name(),
                "some sidecars have not moved; their streams end now"
            );
        }
        self.shared.closing.cancel();
        self.shared.streams.wait().await;
    }

    async fn follow(
        &self,
        request: Request<Streaming<v1::SubscriberMessage>>,
    ) -> Result<ReceiverStream<Result<Frame, Status>>, Status> {
        self.make_room()?;
        let guest = match &self.shared.authenticator {
            Some(authenticator) => Some(authenticator.authenticate(bearer(&request)).await?),
            None => None,
        };
        // Others may have come meanwhile.
        self.make_room()?;
        Ok(self.start(guest, request.into_inner()))
    }

    fn make_room(&self) -> Result<(), Status> {
        if self.shared.draining.is_cancelled() {
            return Err(Status::unavailable("this replica is about to end: go to another"));
        }
        let full = self.shared.hub.sessions().is_full();
        if full || self.shared.streams.len() >= self.shared.max_streams {
            return Err(Status::resource_exhausted(
                "this replica serves as many streams as it takes: go to another",
            ));
        }
        Ok(())
    }

    fn start(
        &self,
        guest: Option<Box<dyn Guest>>,
        inbound: Streaming<v1::SubscriberMessage>,
    ) -> ReceiverStream<Result<Frame, Status>> {
        let (frames, outbound) = mpsc::channel(FRAMES_IN_FLIGHT);
        let stream = Stream::new(Arc::clone(&self.shared), frames, guest);
        // The tracker owns the task; it ends with its stream.
        #[allow(clippy::disallowed_methods, reason = "owned by the tracker, which `drain` waits for")]
        tokio::spawn(self.shared.streams.track_future(stream.run(inbound)));
        ReceiverStream::new(outbound)
    }
}

/// Returns the token that a call shows, if it shows exactly one.
fn bearer<T>(request: &Request<T>) -> Option<String> {
    let mut shown = request.metadata().get_all("authorization").iter();
    let (one, more) = (shown.next()?, shown.next());
    let token = one.to_str().ok()?.strip_prefix("Bearer ")?;
    more.is_none().then(|| token.to_owned())
}

impl NamedService for DistributionServer {
    const NAME: &'static str = "rescind.v1.Distribution";
}

impl Service<http::Request<Body>> for DistributionServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            if request.uri().path() != "/rescind.v1.Distribution/Follow" {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut grpc = Grpc::new(FrameCodec).max_decoding_message_size(MAX_SUBSCRIBER_MESSAGE_BYTES);
            Ok(grpc.streaming(FollowMethod(server), request).await)
        })
    }
}

struct FollowMethod(DistributionServer);

impl StreamingService<v1::SubscriberMessage> for FollowMethod {
    type Response = Frame;
    type ResponseStream = ReceiverStream<Result<Frame, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<v1::SubscriberMessage>>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move { server.follow(request).await.map(Response::new) })
    }
}

/// One stream at work.
struct Stream {
    shared: Arc<Shared>,
    frames: mpsc::Sender<Result<Frame, Status>>,
    subscriber: Subscriber,
    session: Option<SessionId>,
    outbox: VecDeque<Frame>,
    door: Door,
    told_to_move: bool,
    /// Whether a list has to be judged before anything is sent.
    to_judge: bool,
    /// Whether a list waits for a place in the report.
    waits_for_place: bool,
}

impl Stream {
    fn new(
        shared: Arc<Shared>,
        frames: mpsc::Sender<Result<Frame, Status>>,
        guest: Option<Box<dyn Guest>>,
    ) -> Self {
        let seal_key = shared.hub.seal_key();
        let subscriber =
            if guest.is_some() { Subscriber::guarded(seal_key) } else { Subscriber::new(seal_key) };
        Self {
            shared,
            frames,
            subscriber,
            session: None,
            outbox: VecDeque::new(),
            door: Door::new(guest),
            told_to_move: false,
            to_judge: false,
            waits_for_place: false,
        }
    }

    async fn run(mut self, inbound: Streaming<v1::SubscriberMessage>) {
        let outcome = self.serve(inbound).await;
        if let Some(session) = self.session {
            self.shared.hub.sessions().close(session, self.shared.clock.now());
        }
        if let Err(status) = outcome {
            tracing::info!(replica = self.shared.hub.name(), %status, "a stream ended");
            // The sidecar may be gone: then nobody wants to know.
            drop(self.frames.try_send(Err(status)));
        }
    }

    async fn serve(&mut self, mut inbound: Streaming<v1::SubscriberMessage>) -> Result<(), Status> {
        let shared = Arc::clone(&self.shared);
        let mut news = shared.hub.news();
        let mut moves = shared.hub.moves();
        let idle = tokio::time::sleep(IDLE_TIMEOUT);
        tokio::pin!(idle);
        loop {
            if self.outbox.is_empty() {
                self.to_judge |= news.has_changed().unwrap_or(false);
                let proven = news.borrow_and_update().proven;
                self.judge();
                self.fill(proven);
            }
            tokio::select! {
                message = inbound.message() => match message? {
                    Some(message) => {
                        idle.as_mut().reset(tokio::time::Instant::now() + IDLE_TIMEOUT);
                        self.receive(message)?;
                    }
                    None => return Ok(()),
                },
                permit = self.frames.clone().reserve_owned(), if !self.outbox.is_empty() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    if let Some(frame) = self.outbox.pop_front() {
                        permit.send(Ok(frame));
                    }
                }
                changed = news.changed(), if self.outbox.is_empty() => {
                    changed.map_err(|_| Status::unavailable("this replica has ended"))?;
                    self.to_judge = true;
                }
                () = shared.draining.cancelled(), if !self.told_to_move => self.ask_to_move(DRAIN_WITHIN),
                Ok(()) = moves.changed(), if !self.told_to_move => self.ask_to_move(DRAIN_WITHIN),
                event = self.door.next() => match event {
                    Event::Judge => self.to_judge = true,
                    Event::Renew => self.ask_to_move(RENEW_WITHIN),
                    Event::Overdue => return Err(Status::unauthenticated(
                        "the token that opened this stream has ended, and no new one was shown: is --token-file renewed?",
                    )),
                },
                () = shared.closing.cancelled() => {
                    return Err(Status::unavailable("this replica has ended"));
                }
                () = &mut idle => return Err(Status::deadline_exceeded("no message for too long")),
            }
        }
    }

    fn ask_to_move(&mut self, within: Duration) {
        if !std::mem::replace(&mut self.told_to_move, true) {
            self.outbox.push_back(draining(within));
        }
    }

    /// Judges anew which lists the sidecar may have. It is counted before it gets one, and as long as it may be fresh.
    fn judge(&mut self) {
        let (true, Some(session)) = (std::mem::take(&mut self.to_judge), self.session) else { return };
        if !self.door.is_guarded() && !std::mem::take(&mut self.waits_for_place) {
            return;
        }
        let hub = Arc::clone(&self.shared.hub);
        let lists: Vec<_> = self.subscriber.lists().cloned().collect();
        for list in lists {
            let mut admission = self.door.judge(&hub, &list).unwrap_or(Admission::Admitted);
            if admission == Admission::Admitted {
                admission = self.count(session, &list);
            }
            let Some(before) = self.subscriber.decide(&list, &admission, hub.pings()) else { continue };
            if before == Admission::Admitted {
                hub.sessions().part(session, &list, self.shared.clock.now());
            }
            if let Admission::Refused { why } | Admission::Unknown { why } = &admission {
                tracing::info!(replica = hub.name(), %list, why, "a list was not given");
            }
        }
        self.door.look_up();
    }

    /// Counts the sidecar for a list, if there is a place for that.
    fn count(&mut self, session: SessionId, list: &ListName) -> Admission {
        match self.shared.hub.sessions().follow(session, list) {
            Ok(()) => Admission::Admitted,
            Err(full) => {
                self.waits_for_place = true;
                Admission::Unknown { why: full.to_string() }
            }
        }
    }

    /// Only an empty outbox is filled: a slow sidecar makes nobody wait, and skips over what it missed.
    fn fill(&mut self, proven: u64) {
        let hub = Arc::clone(&self.shared.hub);
        let frames = self.subscriber.next_frames(proven, &mut |list, use_it| {
            hub.with(list, use_it);
        });
        if let Some(version) = self.subscriber.take_went_back() {
            hub.went_back(version);
        }
        let answered = self.subscriber.take_answered();
        if let (false, Some(session)) = (answered.is_empty(), self.session) {
            hub.sessions().proven(session, &answered);
        }
        self.outbox.extend(frames);
    }

    fn receive(&mut self, message: v1::SubscriberMessage) -> Result<(), Status> {
        let hub = Arc::clone(&self.shared.hub);
        let sessions = hub.sessions();
        let is_ping = matches!(message.message, Some(v1::subscriber_message::Message::Ping(_)));
        // A ping is counted after it was received and before any round that answers it begins.
        let serial = if is_ping { hub.ping() } else { hub.pings() };
        let reaction = self.subscriber.receive(message, serial)?;
        if let Reaction::Hello { identity, instance } = &reaction {
            let now = self.shared.clock.now();
            self.session = Some(sessions.open(identity, *instance, hub.name(), now));
            return Ok(());
        }
        let Some(session) = self.session else { return Ok(()) };
        match reaction {
            Reaction::Hello { .. } => {}
            Reaction::Subscribed(_) if self.door.is_guarded() => self.to_judge = true,
            Reaction::Subscribed(list) => {
                let admission = self.count(session, &list);
                self.subscriber.decide(&list, &admission, serial);
            }
            Reaction::Acknowledged(versions) => {
                let now = self.shared.clock.now();
                versions.iter().for_each(|(_, in_use)| hub.acknowledged(in_use.version, now));
                versions.iter().for_each(|(list, in_use)| sessions.acknowledge(session, list, *in_use));
            }
            Reaction::Ping(versions) => {
                sessions.ping(session, self.shared.clock.now());
                versions.iter().for_each(|(list, in_use)| sessions.acknowledge(session, list, *in_use));
            }
            Reaction::Bye(list) => sessions.bye(session, &list),
            Reaction::Refused { list, detail } => {
                tracing::warn!(%list, detail, "a sidecar refused an update; it gets a snapshot");
            }
        }
        Ok(())
    }
}

fn draining(within: Duration) -> Frame {
    let within_milliseconds = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    let message = v1::publisher_message::Message::Draining(v1::Draining { within_milliseconds });
    Frame::Own(Box::new(v1::PublisherMessage { message: Some(message) }))
}

impl From<ProtocolError> for Status {
    fn from(error: ProtocolError) -> Self {
        let text = error.to_string();
        match error {
            ProtocolError::Compact => Self::unimplemented(text),
            ProtocolError::TooManyLists => Self::resource_exhausted(text),
            ProtocolError::Refused { .. } => Self::failed_precondition(text),
            ProtocolError::Hello
            | ProtocolError::NotUnderstood
            | ProtocolError::Convert(_)
            | ProtocolError::Name(_)
            | ProtocolError::Reference { .. }
            | ProtocolError::NeverSent { .. } => Self::invalid_argument(text),
        }
    }
}

#[cfg(test)]
mod tests;
