//! The time from a revocation to the last sidecar that refuses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rescind::distribution::client::{Client, Controllers, Environment, Observer};
use rescind::distribution::session::{Note, Session};
use rescind::distribution::view::{ListView, Views};
use rescind::proto::v1::{self, RevokeRequest, target};
use rescind::revocation::claims::Claims;
use rescind::revocation::names::ListName;
use rescind::runtime::clock::{Clock, SystemClock};
use rescind::runtime::random::SystemRandomness;
use rescind::runtime::resolve::SystemResolver;
use rescind::sidecar::checker::check;
use rescind::sidecar::outcome::Verdict;
use rescind::sidecar::request::{Credential, Request};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lab::{Lab, Verifier};
use crate::sample::{self, ISSUER, LIST};
use crate::table::Row;
use crate::times::{Times, row};

const STREAMS: usize = 50;
const REVOCATIONS: u64 = 100;
const PAUSE: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn run(runtime: &Runtime) -> anyhow::Result<Vec<Row>> {
    let one = measure(runtime, 1)?;
    let many = measure(runtime, STREAMS)?;
    let mut rows = Vec::new();
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let what =
            format!("revoke -> the last of {STREAMS} sidecars refuses / revoke -> acknowledged, {name}");
        rows.push(row(&what, part, &many.refused, &many.acknowledged, None));
        let what = format!("revoke -> the last of {STREAMS} sidecars refuses / the only one does, {name}");
        rows.push(row(&what, part, &many.refused, &one.refused, None));
    }
    Ok(rows)
}

struct Measured {
    acknowledged: Times,
    refused: Times,
}

fn measure(runtime: &Runtime, streams: usize) -> anyhow::Result<Measured> {
    let lab = Lab::start(runtime, Verifier::Sidecar, 0)?;
    let sidecars = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (events, heard) = mpsc::channel();
    let question = Arc::new(Question::default());
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    for number in 0..streams {
        let client = client(&lab.streams, number, &question, &events);
        tasks.spawn_on(client.run(shutdown.clone()), sidecars.handle());
    }
    for _ in 0..streams {
        anyhow::ensure!(matches!(heard.recv_timeout(DEADLINE)?, Heard::Proven), "too early");
    }
    let mut measured = Measured { acknowledged: Times::default(), refused: Times::default() };
    let mut admin = runtime.block_on(async { lab.admin() })?;
    for round in 1..=REVOCATIONS {
        let subject = format!("subject-{round}");
        question.set(round, &subject);
        let started = Instant::now();
        runtime.block_on(admin.revoke(revocation(&subject)))?;
        measured.acknowledged.push(started.elapsed());
        let mut last = started;
        for _ in 0..streams {
            match heard.recv_timeout(DEADLINE)? {
                Heard::Refused { round: of, at } if of == round => last = last.max(at),
                Heard::Proven | Heard::Refused { .. } => anyhow::bail!("a sidecar refused too early"),
            }
        }
        measured.refused.push(last - started);
        std::thread::sleep(PAUSE);
    }
    shutdown.cancel();
    tasks.close();
    sidecars.block_on(tasks.wait());
    Ok(measured)
}

fn revocation(subject: &str) -> RevokeRequest {
    RevokeRequest {
        list: LIST.to_owned(),
        issuer: ISSUER.to_owned(),
        target: Some(v1::Target { target: Some(target::Target::Subject(subject.to_owned())) }),
        ..RevokeRequest::default()
    }
}

/// Makes the stream's end of a sidecar.
pub(crate) fn client(
    controller: &str,
    number: usize,
    question: &Arc<Question>,
    events: &mpsc::Sender<Heard>,
) -> Client {
    let list: ListName = LIST.parse().unwrap();
    let views = Views::new(std::slice::from_ref(&list));
    let session = Session::new(format!("bench#{number:032x}"), vec![ListView::empty(list)]);
    let controllers = Controllers { uris: vec![controller.to_owned()], tls: None, token_file: None };
    let observer = Watcher {
        views: views.clone(),
        question: Arc::clone(question),
        events: Mutex::new(events.clone()),
        last: AtomicU64::new(UNPROVEN),
    };
    let environment = Environment {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandomness::new()),
        resolver: Arc::new(SystemResolver),
        observer: Arc::new(observer),
    };
    Client::new(session, views, controllers, environment)
}

/// The token that is about to be revoked.
#[derive(Default)]
pub(crate) struct Question(Mutex<Option<(u64, Arc<Claims>)>>);

impl Question {
    pub(crate) fn set(&self, round: u64, subject: &str) {
        let claims = Claims::parse(sample::claims(subject).to_string().as_bytes()).unwrap();
        *self.0.lock().unwrap() = Some((round, Arc::new(claims)));
    }
}

/// What a sidecar tells.
pub(crate) enum Heard {
    /// Its list is fresh.
    Proven,
    /// It refuses the token of a round.
    Refused { round: u64, at: Instant },
}

const UNPROVEN: u64 = u64::MAX;

/// Checks the token whenever something has come.
struct Watcher {
    views: Views,
    question: Arc<Question>,
    events: Mutex<mpsc::Sender<Heard>>,
    last: AtomicU64,
}

impl Observer for Watcher {
    fn connected(&self, _controller: Option<&str>) {}

    fn noted(&self, _list: Option<&ListName>, note: &Note) {
        let heard = match note {
            Note::Proven { lists: 1.., .. } if self.last.load(Ordering::Relaxed) == UNPROVEN => {
                self.last.store(0, Ordering::Relaxed);
                Some(Heard::Proven)
            }
            Note::Delta { .. } => self.refused(),
            Note::Proven { .. }
            | Note::Snapshot { .. }
            | Note::Config { .. }
            | Note::NotAdmitted { .. }
            | Note::Refused { .. } => None,
        };
        if let Some(heard) = heard {
            // At the end nobody listens.
            drop(self.events.lock().unwrap().send(heard));
        }
    }
}

impl Watcher {
    /// Returns what is to be told if the token is refused now, and was not before.
    fn refused(&self) -> Option<Heard> {
        let (round, claims) = self.question.0.lock().unwrap().clone()?;
        let views = self.views.load();
        let credential = Credential::Claims { claims: Ok(&claims), key_id: Some("k1") };
        let outcome = check(&views, &Request::new(credential), SystemClock.now());
        let is_refused = matches!(outcome.verdict, Verdict::Revoked(_));
        (is_refused && self.last.swap(round, Ordering::Relaxed) != round)
            .then(|| Heard::Refused { round, at: Instant::now() })
    }
}
