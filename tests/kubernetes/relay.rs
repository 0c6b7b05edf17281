//! A relay between a controller and an API server that can hang or cut what passes through it, or its watches alone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// An answer that goes on for so long after what was asked is a watch. What is encrypted tells no more.
const WATCH_AFTER: Duration = Duration::from_millis(400);

/// What the relay does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Bytes pass.
    Pass,
    /// Calls are answered, and watches deliver nothing: they are late for as long as this lasts. What is opened
    /// meanwhile counts as a watch.
    HoldWatches,
    /// Connections stay open, and nothing passes: what a lost network looks like.
    Hang,
    /// Connections are closed, and new ones too.
    Cut,
}

/// A relay on a port of its own. It ends with its owner.
pub(crate) struct Relay {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    open: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Listens, and connects to the server at `url`.
    pub(crate) async fn start(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target: SocketAddr = url.trim_start_matches("https://").parse().unwrap();
        let (mode, seen) = watch::channel(Mode::Pass);
        let (count, open) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, seen, count));
        Self { address, mode, open, _tasks: tasks }
    }

    /// Returns the URL at which it stands for the server.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Changes what the relay does, also with connections that are open.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Closes every connection that is open; whoever connects afterwards gets through.
    pub(crate) async fn cut_once(&self) {
        self.set(Mode::Cut);
        self.open.clone().wait_for(|open| *open == 0).await.unwrap();
        self.set(Mode::Pass);
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    mode: watch::Receiver<Mode>,
    open: watch::Sender<usize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        open.send_modify(|open| *open += 1);
        let (mode, open) = (mode.clone(), open.clone());
        connections.spawn(async move {
            relay(near, target, mode).await;
            open.send_modify(|open| *open -= 1);
        });
    }
}

async fn relay(near: TcpStream, target: SocketAddr, mode: watch::Receiver<Mode>) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    // Calls go on over the connections that they have; who fetches anew would open all of them again.
    let is_watch = *mode.borrow() == Mode::HoldWatches;
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // When something was asked last.
    let (asked, last_asked) = watch::channel(Instant::now());
    let mut cut = mode.clone();
    tokio::select! {
        () = up(near_read, far_write, mode.clone(), asked) => {}
        () = down(far_read, near_write, mode, last_asked, is_watch) => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn up(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut mode: watch::Receiver<Mode>,
    asked: watch::Sender<Instant>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let passes = |mode: &Mode| matches!(mode, Mode::Pass | Mode::HoldWatches);
        if mode.wait_for(passes).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        asked.send_replace(Instant::now());
    }
}

async fn down(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut mode: watch::Receiver<Mode>,
    last_asked: watch::Receiver<Instant>,
    mut is_watch: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        is_watch |= last_asked.borrow().elapsed() > WATCH_AFTER;
        let passes = |mode: &Mode| *mode == Mode::Pass || (*mode == Mode::HoldWatches && !is_watch);
        // What was read while nothing passes is held back until something does.
        if mode.wait_for(passes).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
