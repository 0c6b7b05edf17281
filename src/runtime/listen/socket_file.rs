//! The file of a Unix socket: who owns it, and who may remove it.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::net::{UnixListener, UnixSocket};

use super::{Address, BACKLOG, ListenError};

/// The file of a socket of ours. Dropping it removes the file if it is still ours.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from another that took its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        // The path itself counts, not what a link there points to.
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Identity::of(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "can't remove the file of a socket");
        }
    }
}

/// Binds a path, and replaces a file that a dead process left there.
pub(super) fn bind(path: &Path, mode: u32) -> Result<(SocketFile, UnixListener), ListenError> {
    let address = Address::Unix(path.to_owned());
    let failed = |source| ListenError::new(&address, source);
    remove_if_stale(&address, path)?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    // Before the file exists, so that it never has a wider mode than the one asked for: Linux gives the
    // file the mode of the socket, less the umask.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode)).map_err(|errno| failed(errno.into()))?;
    socket.bind(path).map_err(failed)?;
    // From here on the file is ours: an error must remove it.
    let identity = Identity::of(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), identity };
    // Gives back what the umask took.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    Ok((file, listener))
}

fn remove_if_stale(address: &Address, path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::new(address, source);
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket { address: address.clone() });
    }
    let before = Identity { device: metadata.dev(), inode: metadata.ino() };
    match knock(path) {
        // Nobody listens, and nobody can begin to on an old file.
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => return Err(failed(errno.into())),
        // It answers, its queue is full, or it is a socket of another type: somebody is there.
        Ok(()) | Err(_) => return Err(ListenError::InUse { address: address.clone() }),
    }
    // Another process may have replaced it while we knocked.
    if Identity::of(path).is_ok_and(|now| now == before) {
        std::fs::remove_file(path).map_err(failed)?;
    }
    Ok(())
}

fn knock(path: &Path) -> Result<(), Errno> {
    // A blocking connect would wait while the queue of the other is full.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}
