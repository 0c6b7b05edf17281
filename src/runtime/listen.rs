//! Binds the addresses that a process listens on, and accepts what comes.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::time::Sleep;

pub use self::address::{Address, BadAddress};
use self::places::Places;
use self::socket_file::SocketFile;
pub use self::stream::{Peer, Placed, Stream};

mod address;
pub(in crate::runtime) mod places;
mod socket_file;
mod stream;

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: u32 = 1024;
/// Long enough for something to end and free what is missing, short enough to go unnoticed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Says why nothing listens on an address, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error(
        "can't listen on {address}: it is in use; stop the process that uses it or choose another address"
    )]
    InUse {
        /// The address that was asked for.
        address: Address,
    },
    /// The operating system forbids it.
    #[error("can't listen on {address}: permission denied; {next_step}")]
    PermissionDenied {
        /// The address that was asked for.
        address: Address,
        /// What usually helps.
        next_step: &'static str,
    },
    /// The address belongs to another machine.
    #[error(
        "can't listen on {address}: this machine has no such address; 0.0.0.0 or [::] stand for all it has"
    )]
    NotLocal {
        /// The address that was asked for.
        address: Address,
    },
    /// Something that is no socket lies at the path.
    #[error("can't listen on {address}: what exists there is not a socket; remove it or choose another path")]
    NotASocket {
        /// The address that was asked for.
        address: Address,
    },
    /// The directory of the path is missing.
    #[error("can't listen on {address}: its directory does not exist; create or mount it")]
    NoDirectory {
        /// The address that was asked for.
        address: Address,
    },
    /// Anything else.
    #[error("can't listen on {address}: {source}")]
    Io {
        /// The address that was asked for.
        address: Address,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ListenError {
    fn new(address: &Address, source: io::Error) -> Self {
        let address = address.clone();
        match Errno::from_io_error(&source) {
            Some(Errno::ADDRINUSE) => Self::InUse { address },
            Some(Errno::ADDRNOTAVAIL) => Self::NotLocal { address },
            Some(Errno::NOENT | Errno::NOTDIR) => Self::NoDirectory { address },
            Some(Errno::ACCESS | Errno::PERM) => {
                let next_step = match address {
                    Address::Tcp(_) => "choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
                    Address::Unix(_) => "its directory must be writable for the user of this process",
                };
                Self::PermissionDenied { address, next_step }
            }
            _ => Self::Io { address, source },
        }
    }
}

/// A bound address. Connections are taken by [`accept`](Self::accept), or as a [`futures::Stream`].
///
/// It belongs to the runtime in which it was bound; [`rehome`](Self::rehome) takes it to another. When it
/// is dropped, the file of a Unix socket is removed, unless another process has put its own there since.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    socket: Socket,
    persistence: Persistence,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    // The order matters: while the listener is open its inode can't be given to another file, so the
    // file must go first.
    Unix { file: Arc<SocketFile>, listener: UnixListener },
}

/// Binds an address. Must be called within a runtime.
///
/// `unix_mode` becomes the mode of the file of a Unix socket, such as `0o660`. A file that a dead process
/// left behind is replaced.
///
/// # Errors
/// [`ListenError`], which names the address and the next step.
pub fn bind(address: &Address, unix_mode: u32) -> Result<Listener, ListenError> {
    let (address, socket) = match address {
        Address::Tcp(tcp) => {
            let listener = bind_tcp(*tcp).map_err(|source| ListenError::new(address, source))?;
            // Port 0 has become a real one.
            let local = listener.local_addr().map_err(|source| ListenError::new(address, source))?;
            (Address::Tcp(local), Socket::Tcp(listener))
        }
        Address::Unix(path) => {
            let (file, listener) = socket_file::bind(path, unix_mode)?;
            (address.clone(), Socket::Unix { file: Arc::new(file), listener })
        }
    };
    Ok(Listener { address, socket, persistence: Persistence::default() })
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Else a restart would have to wait for the old connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listener {
    /// Returns the address that is really bound: port 0 has been replaced.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Returns another handle of the same socket: connections go to whichever handle takes them first. The file
    /// of a Unix socket is removed with the last one.
    ///
    /// # Errors
    /// The operating system's.
    pub fn share(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Tcp(listener) => {
                let other = listener.as_fd().try_clone_to_owned()?;
                Socket::Tcp(TcpListener::from_std(other.into())?)
            }
            Socket::Unix { file, listener } => {
                let other = listener.as_fd().try_clone_to_owned()?;
                Socket::Unix { file: Arc::clone(file), listener: UnixListener::from_std(other.into())? }
            }
        };
        Ok(Self { address: self.address.clone(), socket, persistence: Persistence::default() })
    }

    /// Registers the socket with the current runtime, whichever bound it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn rehome(self) -> io::Result<Self> {
        let socket = match self.socket {
            Socket::Tcp(listener) => Socket::Tcp(TcpListener::from_std(listener.into_std()?)?),
            Socket::Unix { file, listener } => {
                Socket::Unix { file, listener: UnixListener::from_std(listener.into_std()?)? }
            }
        };
        // A timer of the old runtime would never fire here.
        Ok(Self { address: self.address, socket, persistence: Persistence::default() })
    }

    /// Waits for a connection. Errors are logged and survived: running out of descriptors must not end a
    /// service. Cancel safe.
    pub async fn accept(&mut self) -> Stream {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Accepts no more than so many connections at one time, and of one machine no more than its share: others wait in
    /// the queue of the kernel.
    pub fn bounded(
        self,
        connections: usize,
    ) -> impl futures::Stream<Item = io::Result<Placed>> + Send + Unpin + use<> {
        let places = Places::new(connections);
        Box::pin(futures::stream::unfold(self, move |mut listener| {
            let places = places.clone();
            async move {
                let (stream, place) = places.accept(&mut listener).await?;
                Some((Ok(Placed::new(stream, place)), listener))
            }
        }))
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Stream> {
        let Self { address, socket, persistence } = self;
        persistence.poll(address, cx, |cx| socket.poll_accept(cx))
    }
}

impl futures::Stream for Listener {
    type Item = io::Result<Stream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(cx).map(|stream| Some(Ok(stream)))
    }
}

impl Socket {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                // It fails only if the peer has gone already; then reading says so.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "can't set TCP_NODELAY");
                }
                Poll::Ready(Ok(Stream::Tcp(stream)))
            }
            Self::Unix { listener, .. } => {
                listener.poll_accept(cx).map_ok(|(stream, _)| Stream::Unix(stream))
            }
        }
    }
}

/// Goes on after errors, with a pause if they are likely to come again at once.
#[derive(Debug, Default)]
struct Persistence {
    pause: Option<Pin<Box<Sleep>>>,
}

impl Persistence {
    fn poll(
        &mut self,
        address: &Address,
        cx: &mut Context<'_>,
        mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<Stream>>,
    ) -> Poll<Stream> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(accept(cx)) {
                Ok(stream) => return Poll::Ready(stream),
                Err(error) if is_about_one_connection(&error) => {
                    tracing::debug!(%error, %address, "a connection ended before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(%error, %address, "can't accept connections; trying again");
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE_AFTER_ERROR)));
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests;
