//! A steady stream of requests and revocations, and what was wrongly answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::cluster::{Cluster, text};
use crate::requests;
use crate::support::PATIENCE;
use crate::support::http1::Reply;
use crate::support::issue::Keys;
use crate::support::wait::wait_for;

/// Between two pairs of requests: one that must pass, and one that must not.
const PACE: Duration = Duration::from_millis(25);
/// No stream is longer.
const LONGEST: Duration = Duration::from_mins(10);

/// A stream of requests, each over a connection of its own. It ends when it is dropped.
pub(crate) struct Traffic {
    seen: Arc<Seen>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    /// Tokens that are revoked, for a fact.
    revoked: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
    answers: AtomicUsize,
    /// How often Envoy got no answer from the sidecar in time.
    late: AtomicUsize,
}

impl Traffic {
    /// Begins to show a good token and a revoked one, again and again, to `IP:PORT`.
    pub(crate) fn start(address: String, good: String, revoked: String) -> Self {
        let seen = Arc::new(Seen::default());
        seen.revoked.lock().unwrap().push(revoked);
        let mut tasks = JoinSet::new();
        tasks.spawn(flow(address, good, seen.clone()));
        Self { seen, tasks }
    }

    /// Returns how many answers there were.
    ///
    /// # Panics
    /// With those that were wrong, and how many seconds after the start, if there were any.
    #[track_caller]
    pub(crate) fn assert_right(&mut self, during: &str) -> usize {
        let wrong = self.seen.wrong.lock().unwrap();
        let answers = self.seen.answers.load(Ordering::Relaxed);
        let first: Vec<&String> = wrong.iter().take(20).collect();
        assert!(wrong.is_empty(), "{during}: {} of {answers} answers were wrong: {first:#?}", wrong.len());
        let late = self.seen.late.load(Ordering::Relaxed);
        assert!(late * 100 <= answers, "{during}: for {late} of {answers} answers the sidecar took too long");
        assert!(self.tasks.try_join_next().is_none(), "{during}: the stream has ended");
        answers
    }

    /// Waits until there were so many more answers.
    pub(crate) async fn go_on(&self, more: usize) {
        grow("answers", &self.seen.answers, more).await;
    }
}

async fn flow(address: String, good: String, seen: Arc<Seen>) {
    let started = Instant::now();
    let mut ticks = interval(PACE);
    for number in 0.. {
        if started.elapsed() > LONGEST {
            return;
        }
        ticks.tick().await;
        let revoked = {
            let all = seen.revoked.lock().unwrap();
            all.get(number % all.len()).cloned().unwrap()
        };
        for (token, status) in [(&good, 200), (&revoked, 401)] {
            let reply = ask(&address, token, &seen.late).await;
            seen.answers.fetch_add(1, Ordering::Relaxed);
            if !reply.as_ref().is_ok_and(|reply| reply.status == status) {
                let said = format!("after {:?}: not {status}: {reply:?}", started.elapsed());
                seen.wrong.lock().unwrap().push(said);
            }
        }
    }
}

/// Asks as a client with patience: where Envoy itself has said 503, the sidecar had no time to answer within half a second,
/// which on a busy machine says nothing about what it knows. Its own refusals bear a status.
async fn ask(address: &str, token: &str, late: &AtomicUsize) -> Result<Reply, String> {
    let mut reply = requests::show(address, token).await;
    for _ in 0..3 {
        let is_envoys =
            reply.as_ref().is_ok_and(|reply| reply.status == 503 && reply.all("x-rescind-status").is_empty());
        if !is_envoys {
            break;
        }
        late.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        reply = requests::show(address, token).await;
    }
    reply
}

/// Revokes users of a list one after another, as a user would, until it is dropped: each must be enforced, and be refused
/// from then on.
pub(crate) struct Revocations {
    enforced: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Revocations {
    /// Begins. Whoever fails is a wrong answer of the stream of requests.
    pub(crate) fn start(
        cluster: &'static Cluster,
        namespace: &'static str,
        keys: Arc<Keys>,
        traffic: &Traffic,
    ) -> Self {
        let enforced = Arc::new(AtomicUsize::new(0));
        let (seen, counted) = (traffic.seen.clone(), enforced.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            for number in 0.. {
                let user = format!("user-{number}");
                let token = keys.token(&serde_json::json!({"sub": user, "sid": user}));
                let act = move || cluster.rescind(&["subject", &user, "-n", namespace, "--timeout=60s"]);
                let output = tokio::task::spawn_blocking(act).await.unwrap();
                if output.status.success() {
                    seen.revoked.lock().unwrap().push(token);
                    counted.fetch_add(1, Ordering::Relaxed);
                } else {
                    let said =
                        format!("revocation {number}: {}{}", text(&output.stdout), text(&output.stderr));
                    seen.wrong.lock().unwrap().push(said);
                }
            }
        });
        Self { enforced, _tasks: tasks }
    }

    /// Waits until so many more are enforced.
    pub(crate) async fn go_on(&self, more: usize) {
        grow("enforced revocations", &self.enforced, more).await;
    }
}

async fn grow(what: &str, counter: &AtomicUsize, more: usize) {
    let enough = counter.load(Ordering::Relaxed) + more;
    wait_for(&format!("{more} more {what}"), 4 * PATIENCE, async || {
        let now = counter.load(Ordering::Relaxed);
        if now >= enough { Ok(()) } else { Err(format!("{now} of {enough}")) }
    })
    .await;
}
