//! A relay between a sidecar and a controller that can hang or cut what passes through it, and damage what the
//! controller says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::damage::{Damage, Fault, Frames, Passes};

/// What the relay does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Bytes pass.
    Pass,
    /// Connections stay open, and nothing passes: what a lost network looks like.
    Hang,
    /// Connections are closed, and new ones too.
    Cut,
}

/// A relay on a Unix socket. It ends with its owner.
pub(crate) struct Relay {
    path: PathBuf,
    mode: watch::Sender<Mode>,
    damage: Arc<Damage>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Listens at `path` and connects to `target`.
    pub(crate) fn start(path: PathBuf, target: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let (mode, seen) = watch::channel(Mode::Pass);
        let (mut tasks, damage) = (JoinSet::new(), Arc::new(Damage::default()));
        tasks.spawn(accept(listener, Arc::new(target), seen, Arc::clone(&damage)));
        Self { path, mode, damage, _tasks: tasks }
    }

    /// Returns the URI at which a sidecar connects.
    pub(crate) fn uri(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// Changes what the relay does, also with connections that are open.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Damages what the controller says from now on, on whatever connection.
    pub(crate) fn damage(&self, fault: Fault) {
        self.damage.start(fault);
    }

    /// Returns how many messages were damaged since.
    pub(crate) fn damaged(&self) -> usize {
        self.damage.damaged()
    }

    /// Returns how many messages were damaged since, and lets all messages pass.
    pub(crate) fn mend(&self) -> usize {
        self.damage.end()
    }
}

async fn accept(
    listener: UnixListener,
    target: Arc<PathBuf>,
    mode: watch::Receiver<Mode>,
    damage: Arc<Damage>,
) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (target, mode, damage) = (Arc::clone(&target), mode.clone(), Arc::clone(&damage));
        connections.spawn(async move { relay(near, &target, mode, &damage).await });
    }
}

async fn relay(near: UnixStream, target: &Path, mode: watch::Receiver<Mode>, damage: &Damage) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(far) = UnixStream::connect(target).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let mut cut = mode.clone();
    tokio::select! {
        () = copy(near_read, far_write, mode.clone(), None) => {}
        () = copy(far_read, near_write, mode, Some(damage)) => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut mode: watch::Receiver<Mode>,
    damage: Option<&Damage>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut frames = Frames::default();
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let (passes, last) = match damage {
            Some(damage) => frames.take(&buffer[..count], damage),
            None => (buffer[..count].to_vec(), Passes::On),
        };
        // What was read while nothing passes is held back until something does.
        if mode.wait_for(|mode| *mode == Mode::Pass).await.is_err()
            || to.write_all(&passes).await.is_err()
            || last == Passes::NoMore
        {
            return;
        }
    }
}
