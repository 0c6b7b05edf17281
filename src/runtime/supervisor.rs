//! Owns every long-running task by name, so that a dead one can't hide in a live process.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::signals::Signals;

/// Says why a process stopped otherwise than by a complete drain.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A task returned although nobody had asked it to stop.
    #[error("task {task:?} ended although nothing had asked it to stop")]
    EndedEarly {
        /// Its name.
        task: String,
    },
    /// A task returned an error.
    #[error("task {task:?} failed: {source:#}")]
    Failed {
        /// Its name.
        task: String,
        /// What it returned.
        source: anyhow::Error,
    },
    /// A task panicked. The panic itself was written to standard error.
    #[error("task {task:?} panicked")]
    Panicked {
        /// Its name.
        task: String,
    },
    /// Some tasks were still at work when the time to drain was over.
    #[error("still at work {} s after the request to stop: {}", deadline.as_secs_f32(), tasks.join(", "))]
    DrainDeadline {
        /// The names of those tasks.
        tasks: Vec<String>,
        /// The time that they were given.
        deadline: Duration,
    },
    /// A second signal came before the drain was complete.
    #[error("stopped by a second signal; still at work: {}", tasks.join(", "))]
    Aborted {
        /// The names of the tasks that were still at work.
        tasks: Vec<String>,
    },
}

/// The owner of the tasks of a process, or of a test.
///
/// Every task runs until the [shutdown token](Self::shutdown) is cancelled, and returns soon after. The
/// first that ends early, fails or panics cancels the token for all, and its name is in the error of
/// [`run`](Self::run). Dropping the supervisor aborts its tasks (threads can't be aborted).
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Outcome>,
    names: HashMap<Id, String>,
    shutdown: CancellationToken,
}

#[derive(Debug)]
enum Outcome {
    Returned(anyhow::Result<()>),
    ThreadPanicked,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new(CancellationToken::new())
    }
}

impl Supervisor {
    /// Makes a supervisor whose tasks stop when `shutdown` is cancelled.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), shutdown }
    }

    /// Returns the token that asks every task to stop. Anyone may cancel it.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task on the current runtime.
    pub fn spawn<F>(&mut self, name: impl Into<String>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let handle = self.tasks.spawn(async move { Outcome::Returned(task.await) });
        self.names.insert(handle.id(), name.into());
    }

    /// Starts a thread of its own, for work that blocks.
    ///
    /// # Errors
    /// The operating system's, if it refuses another thread.
    pub fn spawn_thread<F>(&mut self, name: impl Into<String>, work: F) -> io::Result<()>
    where
        F: FnOnce() -> anyhow::Result<()> + Send + 'static,
    {
        let name = name.into();
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new().name(name.clone()).spawn(move || {
            // The receiver is gone only if the supervisor is: then nobody wants to know.
            drop(done.send(work()));
        })?;
        // A panic unwinds past the send and drops the sender: that is how we learn of it.
        let watch = async move { ended.await.map_or(Outcome::ThreadPanicked, Outcome::Returned) };
        let handle = self.tasks.spawn(watch);
        self.names.insert(handle.id(), name);
        Ok(())
    }

    /// Starts a thread with a single-threaded runtime of its own, and drives a future on it.
    ///
    /// The future is made on that thread, so it need not be [`Send`].
    ///
    /// # Errors
    /// The operating system's, if it refuses another thread. That the runtime can't be built is the
    /// failure of the task.
    pub fn spawn_runtime<M, F>(&mut self, name: impl Into<String>, make: M) -> io::Result<()>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = anyhow::Result<()>>,
    {
        self.spawn_thread(name, move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async { make().await })
        })
    }

    /// Runs until the token is cancelled or a task ends, then drains. Signals are left alone.
    ///
    /// # Errors
    /// [`SupervisorError`]: the first thing that went wrong.
    pub async fn run(self, drain_deadline: Duration) -> Result<(), SupervisorError> {
        self.drive(drain_deadline, &mut None).await
    }

    /// Runs as [`run`](Self::run) does; the first signal drains, the second aborts.
    ///
    /// # Errors
    /// [`SupervisorError`]: the first thing that went wrong.
    pub async fn run_until_signal(
        self,
        drain_deadline: Duration,
        signals: Signals,
    ) -> Result<(), SupervisorError> {
        self.drive(drain_deadline, &mut Some(signals)).await
    }

    async fn drive(
        mut self,
        deadline: Duration,
        signals: &mut Option<Signals>,
    ) -> Result<(), SupervisorError> {
        let first = self.work(signals).await;
        if let Err(error) = &first {
            tracing::error!(%error, "stopping");
        }
        self.shutdown.cancel();
        let drained = self.drain(deadline, signals).await;
        // Threads and tasks that ignore the request end with the process.
        self.tasks.abort_all();
        first.and(drained)
    }

    /// Waits for a reason to stop.
    async fn work(&mut self, signals: &mut Option<Signals>) -> Result<(), SupervisorError> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Ok(()),
            name = next(signals) => {
                tracing::info!(signal = name, "draining");
                Ok(())
            }
            Some(ended) = self.tasks.join_next_with_id() => {
                let (task, outcome) = self.identify(ended);
                // A task may see the token cancelled, and return, before we look at the token.
                match outcome {
                    Ok(()) if self.shutdown.is_cancelled() => Ok(()),
                    Ok(()) => Err(SupervisorError::EndedEarly { task }),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Waits for every task to end.
    async fn drain(
        &mut self,
        deadline: Duration,
        signals: &mut Option<Signals>,
    ) -> Result<(), SupervisorError> {
        let timeout = tokio::time::sleep(deadline);
        tokio::pin!(timeout);
        let mut first = Ok(());
        loop {
            tokio::select! {
                biased;
                ended = self.tasks.join_next_with_id() => {
                    let Some(ended) = ended else { return first };
                    let (_, outcome) = self.identify(ended);
                    first = first.and(outcome);
                }
                () = &mut timeout => {
                    return first.and(Err(SupervisorError::DrainDeadline { tasks: self.running(), deadline }));
                }
                _ = next(signals) => {
                    return first.and(Err(SupervisorError::Aborted { tasks: self.running() }));
                }
            }
        }
    }

    fn identify(&mut self, ended: Result<(Id, Outcome), JoinError>) -> (String, Result<(), SupervisorError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let task = self.names.remove(&id).unwrap_or_default();
        let outcome = match ended {
            Ok((_, Outcome::Returned(Ok(())))) => Ok(()),
            Ok((_, Outcome::Returned(Err(source)))) => {
                Err(SupervisorError::Failed { task: task.clone(), source })
            }
            Ok((_, Outcome::ThreadPanicked)) | Err(_) => {
                Err(SupervisorError::Panicked { task: task.clone() })
            }
        };
        (task, outcome)
    }

    fn running(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.values().cloned().collect();
        names.sort_unstable();
        names
    }
}

/// Waits for the next signal, or for ever where none is taken up.
async fn next(signals: &mut Option<Signals>) -> &'static str {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
