//! Runs whole commands, from their arguments to their exit codes, against a small server over a Unix socket.

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::proto::v1::revocation_admin_server::RevocationAdminServer;
use crate::proto::v1::revocation_check_server::RevocationCheckServer;
use crate::revocation::time::Moment;
use crate::runtime::clock::ManualClock;
use crate::runtime::listen::{Address, bind};

use self::fake::{Behaviour, Fake, NOW};

mod check;
mod failures;
mod fake;
mod inject;
mod read;
mod revoke;
mod usage;

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    exit: Exit,
    out: String,
    err: String,
}

impl Seen {
    fn new(exit: Exit, out: &str, err: &str) -> Self {
        Self { exit, out: out.to_owned(), err: err.to_owned() }
    }
}

#[derive(Clone, Default)]
pub(super) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Runs a command on its own thread, for it starts a runtime of its own.
async fn run_on(surface: Surface, arguments: &[&str], input: &str) -> Seen {
    run_as("rescind", surface, arguments, input).await
}

/// The same, by a path under which the program was called.
async fn run_as(program: &str, surface: Surface, arguments: &[&str], input: &str) -> Seen {
    let arguments: Vec<OsString> = [program].iter().chain(arguments).map(OsString::from).collect();
    let (out, err) = (Buffer::default(), Buffer::default());
    let mut console = Console::new(
        (surface, Box::new(out.clone())),
        (Surface::Plain, Box::new(err.clone())),
        Box::new(Cursor::new(input.as_bytes().to_vec())),
    );
    let clock = ManualClock::new(Moment { boot_nanos: 0, wall_nanos: NOW * 1_000_000_000 });
    let running = tokio::task::spawn_blocking(move || run(arguments, &mut console, &clock));
    Seen { exit: running.await.unwrap(), out: out.text(), err: err.text() }
}

/// Runs a command that needs no server.
async fn run_alone(arguments: &[&str], input: &str) -> Seen {
    run_on(Surface::Plain, arguments, input).await
}

/// A server, on a Unix socket of its own.
struct Harness {
    directory: TempDir,
    _server: JoinSet<Result<(), tonic::transport::Error>>,
}

impl Harness {
    async fn new(behaviour: Behaviour) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = bind(&Address::Unix(directory.path().join("s")), 0o600).unwrap();
        let fake = Arc::new(Fake::new(behaviour));
        let mut server = JoinSet::new();
        server.spawn(
            tonic::transport::Server::builder()
                .add_service(RevocationAdminServer::from_arc(Arc::clone(&fake)))
                .add_service(RevocationCheckServer::from_arc(fake))
                .serve_with_incoming(listener),
        );
        Self { directory, _server: server }
    }

    fn address(&self) -> String {
        self.directory.path().join("s").display().to_string()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Runs a command, given as one text, against the server.
    async fn run_with(&self, command: &str, input: &str) -> Seen {
        self.run_on(Surface::Plain, command, input).await
    }

    async fn run(&self, command: &str) -> Seen {
        self.run_with(command, "").await
    }

    async fn run_on(&self, surface: Surface, command: &str, input: &str) -> Seen {
        let address = self.address();
        let arguments: Vec<&str> = command.split(' ').chain(["--server", &address]).collect();
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, run_on(surface, &arguments, input)).await.unwrap()
    }
}
