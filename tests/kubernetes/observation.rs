//! What sidecars answer all the while that something else is done.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lab::Lab;
use crate::support::http1::{Ask, ask_unix};

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks about one token, again and again, until it is ended.
pub(crate) struct Observation {
    stop: CancellationToken,
    tasks: JoinSet<Seen>,
}

#[derive(Default)]
struct Seen {
    asked: u32,
    wrong: Vec<String>,
}

impl Observation {
    /// Asks these sidecars; their answers have to be among `allowed`.
    pub(crate) fn begin(lab: &Lab, sidecars: &[usize], token: &str, allowed: &'static [u16]) -> Self {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for sidecar in sidecars {
            let socket = lab.sidecars[*sidecar].socket().to_owned();
            let ask = Ask::get("/auth").bearer(token);
            tasks.spawn(watch(*sidecar, socket, ask, allowed, stop.clone()));
        }
        Self { stop, tasks }
    }

    /// Asks all sidecars.
    pub(crate) fn of_all(lab: &Lab, token: &str, allowed: &'static [u16]) -> Self {
        Self::begin(lab, &(0..lab.sidecars.len()).collect::<Vec<_>>(), token, allowed)
    }

    /// Ends.
    ///
    /// # Panics
    /// If an answer was wrong, or if there was none.
    pub(crate) async fn end(mut self, lab: &Lab) {
        self.stop.cancel();
        while let Some(seen) = self.tasks.join_next().await {
            let Seen { asked, wrong } = seen.unwrap();
            assert!(wrong.is_empty(), "{} of {asked}: {wrong:#?}\n{}", wrong.len(), lab.logs());
            assert!(asked > 0, "nothing was answered");
        }
    }
}

async fn watch(
    sidecar: usize,
    socket: PathBuf,
    ask: Ask,
    allowed: &'static [u16],
    stop: CancellationToken,
) -> Seen {
    let mut seen = Seen::default();
    let begun = Instant::now();
    while !stop.is_cancelled() {
        // One that is killed or paused says nothing, and lets nobody pass.
        if let Some(Ok(reply)) = stop.run_until_cancelled(ask_unix(&socket, &ask)).await {
            seen.asked += 1;
            if !allowed.contains(&reply.status) {
                seen.wrong.push(format!("sidecar {sidecar} after {:?}: {}", begun.elapsed(), reply.status));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    seen
}
