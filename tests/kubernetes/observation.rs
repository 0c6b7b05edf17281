//! What sidecars answer all the while that something else is done.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lab::{Lab, WINDOW};
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
            let choose = move |_| Some(ask.clone());
            tasks.spawn(watch(*sidecar, socket, choose, allowed, stop.clone()));
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
            let seen = seen.unwrap();
            seen.check(lab);
            assert!(seen.asked > 0, "nothing was answered");
        }
    }
}

/// Revocations that were acknowledged. A bound later no sidecar lets their tokens pass, whatever is done meanwhile.
pub(crate) struct Acknowledged {
    known: Arc<Mutex<Vec<Known>>>,
    stop: CancellationToken,
    tasks: JoinSet<Seen>,
}

struct Known {
    name: String,
    ask: Ask,
    since: Instant,
}

impl Acknowledged {
    /// Asks all sidecars of a lab with the usual bound about what is added.
    pub(crate) fn observe(lab: &Lab) -> Self {
        let (known, stop, mut tasks) =
            (Arc::new(Mutex::new(Vec::<Known>::new())), CancellationToken::new(), JoinSet::new());
        for (sidecar, node) in lab.sidecars.iter().enumerate() {
            let known = Arc::clone(&known);
            let choose = move |turn: usize| {
                let known = known.lock().unwrap();
                let must_be_known = known.iter().take_while(|one| one.since.elapsed() > WINDOW).count();
                known.get(turn.checked_rem(must_be_known)?).map(|one| one.ask.clone())
            };
            tasks.spawn(watch(sidecar, node.socket().to_owned(), choose, &[401, 503], stop.clone()));
        }
        Self { known, stop, tasks }
    }

    /// Adds a revocation of a subject that has just been acknowledged.
    pub(crate) fn add(&self, lab: &Lab, subject: &str) {
        let ask = Ask::get("/auth").bearer(&lab.token(subject));
        self.known.lock().unwrap().push(Known { name: subject.to_owned(), ask, since: Instant::now() });
    }

    /// Returns the names so far.
    pub(crate) fn names(&self) -> Vec<String> {
        self.known.lock().unwrap().iter().map(|one| one.name.clone()).collect()
    }

    /// Waits until what was added first has been asked about, ends, and returns the names.
    ///
    /// # Panics
    /// If a token passed, or if there was no answer.
    pub(crate) async fn end(mut self, lab: &Lab) -> Vec<String> {
        let first = self.known.lock().unwrap().first().map(|one| one.since).unwrap();
        tokio::time::sleep_until(first + WINDOW + 4 * PAUSE).await;
        self.stop.cancel();
        let mut asked = 0;
        while let Some(seen) = self.tasks.join_next().await {
            let seen = seen.unwrap();
            seen.check(lab);
            asked += seen.asked;
        }
        assert!(asked > 0, "nothing was answered");
        self.names()
    }
}

impl Seen {
    fn check(&self, lab: &Lab) {
        let Self { asked, wrong } = self;
        assert!(wrong.is_empty(), "{} of {asked}: {wrong:#?}\n{}", wrong.len(), lab.logs());
    }
}

/// Asks what `choose` gives for each turn.
async fn watch(
    sidecar: usize,
    socket: PathBuf,
    choose: impl Fn(usize) -> Option<Ask> + Send,
    allowed: &'static [u16],
    stop: CancellationToken,
) -> Seen {
    let mut seen = Seen::default();
    let begun = Instant::now();
    for turn in 0.. {
        if stop.is_cancelled() {
            break;
        }
        // One that is killed or paused says nothing, and lets nobody pass.
        if let Some(ask) = choose(turn)
            && let Some(Ok(reply)) = stop.run_until_cancelled(ask_unix(&socket, &ask)).await
        {
            seen.asked += 1;
            if !allowed.contains(&reply.status) {
                seen.wrong.push(format!("sidecar {sidecar} after {:?}: {}", begun.elapsed(), reply.status));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    seen
}
