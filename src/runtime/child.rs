//! Processes that this one starts, watches and ends: by their id, and never longer than itself.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStderr, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How many of the last lines of a log are kept, to be shown when something fails.
const KEPT_LINES: usize = 200;
/// The message that says where a process listens.
const LISTENING: &str = "listening";

/// A process that writes JSON logs to its standard error, as ours do.
///
/// Dropping it kills the process.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: tokio::process::Child,
    pid: Pid,
    log: Arc<Mutex<VecDeque<String>>>,
    listening: watch::Receiver<Option<Map<String, Value>>>,
    _reader: JoinSet<()>,
}

impl Child {
    /// Starts a process. Its standard output is discarded.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> anyhow::Result<Self> {
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't start {name} ({})", program.display()))?;
        let pid = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{name} has ended at once"))?;
        let errors = process.stderr.take().with_context(|| format!("{name} has no standard error"))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (told, listening) = watch::channel(None);
        let mut reader = JoinSet::new();
        reader.spawn(read(errors, Arc::clone(&log), told));
        Ok(Self { name: name.to_owned(), process, pid, log, listening, _reader: reader })
    }

    /// Returns the process's id.
    #[must_use]
    pub const fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until the process says that it listens, and returns the fields of that message.
    ///
    /// # Errors
    /// What the process wrote, if it ends or takes longer than `deadline`.
    pub async fn listening(&mut self, deadline: Duration) -> anyhow::Result<Map<String, Value>> {
        let mut listening = self.listening.clone();
        let told = tokio::time::timeout(deadline, listening.wait_for(Option::is_some)).await;
        match told {
            Ok(Ok(fields)) => Ok(fields.clone().unwrap_or_default()),
            Ok(Err(_)) => anyhow::bail!("{} has ended:\n{}", self.name, self.log()),
            Err(_) => anyhow::bail!("{} does not listen after {deadline:?}:\n{}", self.name, self.log()),
        }
    }

    /// Returns the last lines of the log.
    #[must_use]
    pub fn log(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("  {line}\n")).collect()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The operating system's, for instance if the process has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("can't signal {}", self.name))
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// A sentence if it takes longer than `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(deadline, self.process.wait()).await;
        Ok(ended.with_context(|| format!("{} has not ended:\n{}", self.name, self.log()))??)
    }

    /// Kills the process, without a chance to put anything in order, and waits until it is gone.
    ///
    /// # Errors
    /// As [`Self::ended`].
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.start_kill().with_context(|| format!("can't kill {}", self.name))?;
        self.ended(Duration::from_secs(10)).await.map(drop)
    }
}

async fn read(
    errors: ChildStderr,
    log: Arc<Mutex<VecDeque<String>>>,
    listening: watch::Sender<Option<Map<String, Value>>>,
) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let fields = serde_json::from_str::<Map<String, Value>>(&line).ok();
        let fields = fields.filter(|fields| fields.get("message").and_then(Value::as_str) == Some(LISTENING));
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= KEPT_LINES {
            log.pop_front();
        }
        log.push_back(line);
        drop(log);
        if fields.is_some() {
            listening.send_replace(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start("shell", Path::new("/bin/sh"), ["-c", script]).unwrap()
    }

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn what_a_process_says_of_its_addresses_is_read() {
        let mut child = shell(r#"echo '{"message":"listening","at":"x"}' >&2; exec sleep 100"#);
        let fields = child.listening(DEADLINE).await.unwrap();
        assert_eq!(fields.get("at"), Some(&Value::from("x")));
        child.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_ends_instead_is_an_error_with_its_log() {
        let mut child = shell("echo 'error: no room' >&2; exit 3");
        let error = child.listening(DEADLINE).await.unwrap_err().to_string();
        assert_eq!(error, "shell has ended:\n  error: no room\n");
        assert_eq!(child.ended(DEADLINE).await.unwrap().code(), Some(3));
    }
}
