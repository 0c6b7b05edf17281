//! The signals that ask a process to end.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, taken up by this process instead of the system's default.
///
/// To be made before anything is started or told: until then a signal kills what would have had to be put in order, and
/// is ignored where the process is the first of its container.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes up the signals; those that come from now on are kept until [`next`](Self::next).
    ///
    /// # Errors
    /// The operating system's, if it refuses a handler.
    pub fn take_up() -> anyhow::Result<Self> {
        let of = |kind, name| signal(kind).with_context(|| format!("can't take up {name}"));
        Ok(Self {
            terminate: of(SignalKind::terminate(), "SIGTERM")?,
            interrupt: of(SignalKind::interrupt(), "SIGINT")?,
        })
    }

    /// Waits for the next signal, and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
