//! A log of lines that others must be able to rely on: always on, written in order, to a file that may be rotated or
//! to standard error.
//!
//! Whoever writes never waits for a disk. The file is opened for each batch, so one that was moved away is made anew.
//! Lines that can't be written wait, and what does not fit any more is counted and said.

use std::convert::Infallible;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Lines that wait for the disk: some megabytes.
const MAX_WAITING: usize = 4096;
/// How many lines are written together.
const BATCH: usize = 256;
/// How long to wait before lines are tried again that could not be written.
const PAUSE: Duration = Duration::from_secs(1);
/// How long who writes many lines waits for room.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after the request to stop lines may still come.
const LAST_LINES: Duration = Duration::from_secs(5);
/// For its owner: it says who did what.
const MODE: u32 = 0o600;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard error, between the logs.
    StandardError,
    /// The end of a file, which is made if it is not there.
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StandardError => f.write_str("standard error"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::StandardError } else { Self::File(text.into()) })
    }
}

/// Takes lines. Clones share the log.
#[derive(Clone, Debug)]
pub struct LineLog {
    sender: mpsc::Sender<String>,
    lost: Counter,
}

/// Writes the lines that a [`LineLog`] takes.
#[derive(Debug)]
pub struct Writer {
    place: Place,
    lines: mpsc::Receiver<String>,
    lost: Counter,
    /// How many of the lost were said to be.
    told: u64,
    /// Whether the last line that was written may lack its end.
    torn: bool,
}

/// Opens a log.
///
/// # Errors
/// The operating system's, if the file can't be written.
pub fn open(place: Place) -> io::Result<(LineLog, Writer)> {
    if let Place::File(path) = &place {
        append(path, "")?;
    }
    let (sender, lines) = mpsc::channel(MAX_WAITING);
    let lost = Counter::default();
    let log = LineLog { sender, lost: lost.clone() };
    Ok((log, Writer { place, lines, lost, told: 0, torn: false }))
}

impl LineLog {
    /// Takes a line, without its end. It is lost, and counted, if there is no room.
    pub fn write(&self, line: String) {
        if self.sender.try_send(line).is_err() {
            self.lost.inc();
        }
    }

    /// Takes many lines, and waits a while for room.
    pub async fn write_all(&self, lines: impl IntoIterator<Item = String>) {
        let deadline = Instant::now() + PATIENCE;
        for line in lines {
            if tokio::time::timeout_at(deadline, self.sender.reserve())
                .await
                .is_ok_and(|room| room.map(|room| room.send(line)).is_ok())
            {
                continue;
            }
            self.lost.inc();
        }
    }

    /// Returns the count of lines that were lost.
    #[must_use]
    pub fn lost(&self) -> &Counter {
        &self.lost
    }
}

impl Writer {
    /// Writes until the request to stop, and what comes shortly after it. `lost` makes the line that says how many
    /// were.
    ///
    /// # Errors
    /// None: a log that can't be written is said in the logs, and harms nothing else.
    pub async fn run(
        mut self,
        lost: impl Fn(u64) -> String + Send,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LAST_LINES).await;
        };
        tokio::pin!(late);
        let mut lines = Vec::new();
        loop {
            // In this order, so that no line stays behind that came in time.
            let more = tokio::select! {
                biased;
                taken = self.lines.recv_many(&mut lines, BATCH) => taken > 0,
                () = &mut late => false,
            };
            if !more {
                // All who could write have ended; the log ends with the process.
                shutdown.cancelled().await;
                return Ok(());
            }
            let missing = self.lost.get() - self.told;
            if missing > 0 {
                lines.push(lost(missing));
                self.told += missing;
            }
            self.put(std::mem::take(&mut lines), &shutdown).await;
        }
    }

    /// Tries until it is done; after the request to stop, once.
    async fn put(&mut self, lines: Vec<String>, shutdown: &CancellationToken) {
        let batch: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let mut complained = false;
        loop {
            let text = if self.torn { format!("\n{batch}") } else { batch.clone() };
            let place = self.place.clone();
            let written = tokio::task::spawn_blocking(move || place.put(&text)).await;
            let error = match written {
                Ok(Ok(())) => {
                    self.torn = false;
                    return;
                }
                Ok(Err(error)) => error,
                Err(error) => io::Error::other(error),
            };
            self.torn = true;
            if !std::mem::replace(&mut complained, true) {
                tracing::error!(%error, place = %self.place, "lines wait that can't be written");
            }
            if shutdown.is_cancelled() {
                self.lost.inc_by(lines.len() as u64);
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

impl Place {
    fn put(&self, text: &str) -> io::Result<()> {
        match self {
            Self::StandardError => io::stderr().lock().write_all(text.as_bytes()),
            Self::File(path) => append(path, text),
        }
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn said(lost: u64) -> String {
        format!("lost {lost}")
    }

    struct Running {
        log: LineLog,
        path: PathBuf,
        shutdown: CancellationToken,
        tasks: JoinSet<anyhow::Result<()>>,
        _folder: tempfile::TempDir,
    }

    fn start() -> Running {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let (log, writer) = open(Place::File(path.clone())).unwrap();
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(writer.run(said, shutdown.clone()));
        Running { log, path, shutdown, tasks, _folder: folder }
    }

    async fn until(path: &Path, expected: &str) {
        let written = async {
            // A line that may have been cut off is ended first.
            while std::fs::read_to_string(path).unwrap_or_default().trim_start() != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(20), written).await;
        assert!(found.is_ok(), "{:?}", std::fs::read_to_string(path));
    }

    #[tokio::test]
    async fn lines_are_in_order_and_a_file_that_was_moved_away_is_made_anew_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let running = start();
        running.log.write("one".to_owned());
        running.log.write("two".to_owned());
        until(&running.path, "one\ntwo\n").await;
        std::fs::rename(&running.path, running.path.with_extension("1")).unwrap();
        running.log.write("three".to_owned());
        until(&running.path, "three\n").await;
        assert_eq!(std::fs::metadata(&running.path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[tokio::test]
    async fn what_was_taken_before_the_end_is_written() {
        let Running { log, path, shutdown, mut tasks, _folder } = start();
        log.write("last but one".to_owned());
        shutdown.cancel();
        log.write("last".to_owned());
        drop(log);
        tasks.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "last but one\nlast\n");
    }

    #[tokio::test]
    async fn lines_wait_for_a_place_that_is_away_and_those_without_room_are_counted() {
        let running = start();
        std::fs::remove_file(&running.path).unwrap();
        std::fs::create_dir(&running.path).unwrap();
        running.log.write("first".to_owned());
        // Its batch is under way, and then so many wait.
        let taken = async {
            while running.log.sender.capacity() != MAX_WAITING {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), taken).await.unwrap();
        (0..MAX_WAITING + 3).for_each(|n| running.log.write(n.to_string()));
        assert_eq!(running.log.lost().get(), 3);
        std::fs::remove_dir(&running.path).unwrap();
        let expected: Vec<String> = (0..MAX_WAITING).map(|n| n.to_string()).collect();
        let (head, tail) = expected.split_at(BATCH);
        let text = ["first\n", &head.join("\n"), "\nlost 3\n", &tail.join("\n"), "\n"].concat();
        until(&running.path, &text).await;
    }

    #[test]
    fn a_file_that_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(Place::File(folder.path().to_owned())).is_err());
        assert_eq!("-".parse(), Ok(Place::StandardError));
        assert_eq!("audit.log".parse(), Ok(Place::File("audit.log".into())));
    }
}
