//! The sidecar's end of the wire: keeps one stream to one controller, and moves when it must.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming};

use crate::proto::v1;
use crate::proto::v1::distribution_client::DistributionClient;
use crate::revocation::names::ListName;
use crate::runtime::clock::Clock;
use crate::runtime::dial::{self, DialError};
use crate::runtime::random::{Random, below, bytes};
use crate::runtime::resolve::Resolve;
use crate::runtime::tls::ClientFiles;

use super::MAX_PUBLISHER_MESSAGE_BYTES;
use super::session::{Leave, Note, Received, Session, SessionError};
use super::view::Views;
use choice::Choice;
use credential::{TokenError, bearer};

mod choice;
mod credential;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEPALIVE: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(3);
/// Messages on their way out. One stream has a few per ping and per update.
const OUTBOUND: usize = 256;
/// Pings are sent this many times per bound, within the limits below.
const PINGS_PER_BOUND: u32 = 15;
const SHORTEST_PING: Duration = Duration::from_millis(200);
const LONGEST_PING: Duration = Duration::from_secs(1);
/// A controller that proves nothing for this part of the bound is left.
const PATIENCE_PER_MILLE: u32 = 400;
/// For so many proofs the stream before is kept, until all lists are proven: what is not may have to be asked for first.
const PROOFS_BEFORE_GOODBYE: u32 = 3;
/// How long the end of a stream may take.
const GOODBYE: Duration = Duration::from_millis(500);
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Which controllers to follow, and how.
#[derive(Clone)]
pub struct Controllers {
    /// Their URIs: `https://host:port`, or `http://` and `unix:` on the same machine. A host name stands for all its
    /// addresses.
    pub uris: Vec<String>,
    /// What is trusted, for `https`; each connection has what was read last.
    pub tls: Option<Arc<ClientFiles>>,
    /// Where the token is that each stream shows, if it shows one. It is read for each, for it is renewed.
    pub token_file: Option<PathBuf>,
}

/// Hears what happens, for metrics and status.
pub trait Observer: Send + Sync + 'static {
    /// The stream is open to this controller, or to none.
    fn connected(&self, controller: Option<&str>);
    /// Something happened to a list, or to the stream as a whole.
    fn noted(&self, list: Option<&ListName>, note: &Note);
}

/// What a client needs from outside.
#[derive(Clone)]
pub struct Environment {
    /// The clock, read before each ping is sent.
    pub clock: Arc<dyn Clock>,
    /// Where nonces and jitter come from.
    pub random: Arc<dyn Random>,
    /// Who finds the addresses of controllers.
    pub resolver: Arc<dyn Resolve>,
    /// Who hears what happens.
    pub observer: Arc<dyn Observer>,
}

/// Follows controllers until it is told to stop.
pub struct Client {
    session: Session,
    views: Views,
    controllers: Controllers,
    environment: Environment,
    choice: Choice<Candidate>,
    failures: u32,
}

/// A controller to connect to: which URI, and which address of its host, if that has a name.
type Candidate = (usize, Option<SocketAddr>);

struct Connection {
    /// Its URI, with the address if its host has a name.
    controller: String,
    candidate: Candidate,
    outbound: mpsc::Sender<v1::SubscriberMessage>,
    inbound: Streaming<v1::PublisherMessage>,
}

/// Why a stream is over.
enum End {
    Shutdown,
    /// Another one is open already; the old one is kept until the new one has proven something.
    Moved(Box<Connection>, Box<Connection>),
    Lost(Lost),
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("no address is known for {uri}: {source}")]
    Unknown { uri: String, source: io::Error },
    #[error("no address of a controller is known: the host names can't be resolved, or have no address")]
    Unresolved,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    #[error("{}", told(.0))]
    Status(#[from] Status),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the controller ended the stream")]
    Ended,
    #[error("the controller has not seen what this sidecar has")]
    Behind,
    #[error("the controller has proven nothing for {} ms", .0.as_millis())]
    Unproven(Duration),
    #[error("the stream takes no messages")]
    Clogged,
}

/// What a status says, with its causes: a transport's own words are no more than that it failed.
fn told(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

impl Client {
    /// Makes a client over what is known of each list; it publishes to `views`, which has the same lists.
    #[must_use]
    pub fn new(session: Session, views: Views, controllers: Controllers, environment: Environment) -> Self {
        Self { session, views, controllers, environment, choice: Choice::new(), failures: 0 }
    }

    /// Runs until `shutdown`, which is to come after the last check was answered: the controllers then count this
    /// sidecar no more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut connection = None;
        let mut retiring = None;
        loop {
            let end = match connection.take() {
                Some(connection) => self.serve(connection, retiring.take(), &shutdown).await,
                None => tokio::select! {
                    () = shutdown.cancelled() => End::Shutdown,
                    opened = self.find_and_open() => match opened {
                        Ok(opened) => {
                            connection = Some(opened);
                            continue;
                        }
                        Err(lost) => End::Lost(lost),
                    },
                },
            };
            self.environment.observer.connected(None);
            match end {
                End::Shutdown => return,
                End::Moved(new, old) => (connection, retiring) = (Some(*new), Some(*old)),
                End::Lost(lost) => {
                    tracing::warn!(error = %lost, "the stream was lost; trying another controller");
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(self.backoff()) => {}
                    }
                }
            }
        }
    }

    /// The pause before the next attempt: longer after every failure, and never the same for all sidecars.
    fn backoff(&mut self) -> Duration {
        let doubled =
            FIRST_BACKOFF.saturating_mul(1u32.checked_shl(self.failures.min(10)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        let longest = doubled.min(LAST_BACKOFF);
        let half = u64::try_from(longest.as_millis() / 2).unwrap_or(0);
        longest / 2 + Duration::from_millis(below(&*self.environment.random, half + 1))
    }

    /// Finds the controllers there are: their hosts may have other addresses than a moment ago.
    fn find(&self) -> BoxFuture<'static, Result<Vec<Candidate>, Lost>> {
        let named = self.controllers.uris.iter().enumerate().map(|(index, uri)| {
            let name = dial::host_name(uri);
            let found = name.map(|(host, port)| self.environment.resolver.resolve(&host, port));
            let uri = uri.clone();
            async move {
                match found {
                    None => Ok(vec![(index, None)]),
                    // One name that is slow must not be in the way of the others.
                    Some(found) => match tokio::time::timeout(CONNECT_TIMEOUT, found).await {
                        Ok(Ok(addresses)) => {
                            Ok(addresses.into_iter().map(|one| (index, Some(one))).collect())
                        }
                        Ok(Err(source)) => Err(Lost::Unknown { uri, source }),
                        Err(_) => Err(Lost::Unknown { uri, source: io::ErrorKind::TimedOut.into() }),
                    },
                }
            }
        });
        let all = futures::future::join_all(named);
        Box::pin(async move {
            let (mut candidates, mut failure) = (Vec::new(), Lost::Unresolved);
            for one in all.await {
                match one {
                    Ok(found) => candidates.extend(found),
                    // Another URI may do.
                    Err(error) => failure = error,
                }
            }
            if candidates.is_empty() { Err(failure) } else { Ok(candidates) }
        })
    }

    async fn find_and_open(&mut self) -> Result<Connection, Lost> {
        let found = self.find().await?;
        self.open(&found).await
    }

    /// Opens a stream to one of the controllers that were found.
    fn open(&mut self, candidates: &[Candidate]) -> BoxFuture<'static, Result<Connection, Lost>> {
        let chosen = self.choice.choose(candidates, &*self.environment.random);
        let candidate = chosen.unwrap_or_default();
        let (index, address) = candidate;
        let uri = self.controllers.uris.get(index).cloned().unwrap_or_default();
        let files = self.controllers.tls.as_ref().filter(|_| uri.starts_with("https:"));
        let tls = files.map(|files| files.current());
        let token_file = self.controllers.token_file.clone();
        Box::pin(async move {
            let token = match &token_file {
                Some(file) => Some(bearer(file, &uri).await?),
                None => None,
            };
            let channel = dial::channel_to(&uri, address, tls, |endpoint| {
                endpoint
                    .connect_timeout(CONNECT_TIMEOUT)
                    .http2_keep_alive_interval(KEEPALIVE)
                    .keep_alive_timeout(KEEPALIVE)
                    .keep_alive_while_idle(true)
            })?;
            let (outbound, messages) = mpsc::channel(OUTBOUND);
            let mut client =
                DistributionClient::new(channel).max_decoding_message_size(MAX_PUBLISHER_MESSAGE_BYTES);
            let mut request = Request::new(ReceiverStream::new(messages));
            if let Some(token) = token {
                request.metadata_mut().insert("authorization", token);
            }
            let call = client.follow(request);
            let answer = tokio::time::timeout(CONNECT_TIMEOUT, call).await.map_err(|_| Lost::Timeout)?;
            let controller = match address {
                Some(address) => format!("{uri} ({})", address.ip()),
                None => uri,
            };
            Ok(Connection { controller, candidate, outbound, inbound: answer?.into_inner() })
        })
    }

    async fn serve(
        &mut self,
        connection: Connection,
        retiring: Option<Connection>,
        shutdown: &CancellationToken,
    ) -> End {
        let mut stream = Stream { connection, retiring, proofs: 0, leaving: Leaving::No };
        let controller = stream.connection.controller.clone();
        self.environment.observer.connected(Some(&controller));
        tracing::info!(controller, "following");
        match self.drive(&mut stream, shutdown).await {
            Ok(Some(new)) => End::Moved(Box::new(new), Box::new(stream.connection)),
            Ok(None) => {
                say_goodbye(stream.connection, self.session.goodbye()).await;
                End::Shutdown
            }
            Err(lost) => End::Lost(lost),
        }
    }

    /// Runs one stream; returns the one to go on with, or none on shutdown.
    async fn drive(
        &mut self,
        stream: &mut Stream,
        shutdown: &CancellationToken,
    ) -> Result<Option<Connection>, Lost> {
        for message in self.session.connect() {
            stream.send(message)?;
        }
        let mut next_ping = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                message = stream.connection.inbound.message() => {
                    let message = message?.ok_or(Lost::Ended)?;
                    let received = self.session.receive(message)?;
                    self.take(received, stream).await?;
                }
                () = tokio::time::sleep_until(next_ping) => {
                    next_ping = Instant::now() + self.ping(stream)?;
                }
                opened = &mut stream.leaving => match opened {
                    Step::Find => stream.leaving = Leaving::Finding(self.find()),
                    Step::Found(Ok(found)) => stream.leaving = Leaving::Opening(self.open(&found)),
                    Step::Found(Err(lost)) => {
                        tracing::warn!(error = %lost, "can't move yet");
                        stream.leaving = Leaving::after(self.backoff());
                    }
                    Step::Opened(opened) => match *opened {
                        Ok(new) => return Ok(Some(new)),
                        Err(lost) => {
                            tracing::warn!(error = %lost, "can't move yet");
                            stream.leaving = Leaving::after(self.backoff());
                        }
                    },
                },
            }
        }
    }

    /// Sends a ping; returns the time until the next.
    fn ping(&mut self, stream: &Stream) -> Result<Duration, Lost> {
        let bound = Duration::from_secs(self.session.shortest_bound_seconds().unwrap_or(15).into());
        let patience = (bound * PATIENCE_PER_MILLE / 1000).max(LEAST_PATIENCE);
        let nonce = bytes(&*self.environment.random);
        // The clock is read before the ping leaves: a proof makes us fresh as of here.
        let now = self.environment.clock.now();
        if u128::from(self.session.waiting_nanos(now)) > patience.as_nanos() {
            return Err(Lost::Unproven(patience));
        }
        if let Some(ping) = self.session.ping(nonce, now) {
            stream.send(ping)?;
        }
        Ok((bound / PINGS_PER_BOUND).clamp(SHORTEST_PING, LONGEST_PING))
    }

    /// Publishes before it acknowledges: what is acknowledged is in use.
    async fn take(&mut self, received: Received, stream: &mut Stream) -> Result<(), Lost> {
        for index in received.changed {
            if let Some(view) = self.session.view(index) {
                self.views.publish(index, view.clone());
            }
        }
        for reply in received.replies {
            stream.send(reply)?;
        }
        for note in &received.notes {
            self.note(note);
            if matches!(note, Note::Proven { lists, .. } if *lists > 0) {
                self.failures = 0;
                self.choice.settle(stream.connection.candidate);
                stream.proofs += 1;
                let is_over = self.session.has_proven_all() || stream.proofs >= PROOFS_BEFORE_GOODBYE;
                if let Some(old) = stream.retiring.take_if(|_| is_over) {
                    say_goodbye(old, self.session.goodbye_to_the_one_before()).await;
                }
            }
        }
        match received.leave {
            Some(Leave::Behind) => return Err(Lost::Behind),
            Some(Leave::Draining { within_milliseconds }) => {
                let wait = below(&*self.environment.random, u64::from(within_milliseconds) + 1);
                stream.leaving = Leaving::after(Duration::from_millis(wait));
            }
            None => {}
        }
        Ok(())
    }

    fn note(&self, note: &Note) {
        let index = match note {
            Note::Snapshot { index, .. }
            | Note::Delta { index }
            | Note::Config { index, .. }
            | Note::NotAdmitted { index, .. }
            | Note::Refused { index, .. } => Some(*index),
            Note::Proven { .. } => None,
        };
        let list = index.and_then(|index| self.session.view(index)).map(|view| &view.name);
        self.environment.observer.noted(list, note);
    }
}

/// Ends a stream in order; a peer that does not take it is none to wait for.
async fn say_goodbye(connection: Connection, goodbye: Vec<v1::SubscriberMessage>) {
    let Connection { outbound, mut inbound, .. } = connection;
    for message in goodbye {
        drop(outbound.try_send(message));
    }
    drop(outbound);
    let ended = async { while let Ok(Some(_)) = inbound.message().await {} };
    drop(tokio::time::timeout(GOODBYE, ended).await);
}

/// A stream at work.
struct Stream {
    connection: Connection,
    retiring: Option<Connection>,
    /// How many there were in this stream.
    proofs: u32,
    leaving: Leaving,
}

impl Stream {
    fn send(&self, message: v1::SubscriberMessage) -> Result<(), Lost> {
        self.connection.outbound.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Lost::Clogged,
            mpsc::error::TrySendError::Closed(_) => Lost::Ended,
        })
    }
}

/// Whether this controller was asked to be left, and how far that has come.
enum Leaving {
    No,
    Waiting(std::pin::Pin<Box<tokio::time::Sleep>>),
    Finding(BoxFuture<'static, Result<Vec<Candidate>, Lost>>),
    Opening(BoxFuture<'static, Result<Connection, Lost>>),
}

enum Step {
    Find,
    Found(Result<Vec<Candidate>, Lost>),
    Opened(Box<Result<Connection, Lost>>),
}

impl Leaving {
    fn after(wait: Duration) -> Self {
        Self::Waiting(Box::pin(tokio::time::sleep(wait)))
    }
}

impl Future for Leaving {
    type Output = Step;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Step> {
        match &mut *self {
            Self::No => std::task::Poll::Pending,
            Self::Waiting(sleep) => sleep.as_mut().poll(context).map(|()| Step::Find),
            Self::Finding(find) => find.as_mut().poll(context).map(Step::Found),
            Self::Opening(open) => open.as_mut().poll(context).map(|opened| Step::Opened(Box::new(opened))),
        }
    }
}

#[cfg(test)]
mod tests;
