use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tonic::service::Routes;

use super::*;
use crate::distribution::enforcement::{Predecessor, Sessions};
use crate::distribution::hub::Hub;
use crate::distribution::replica::Replica;
use crate::distribution::server::{DistributionServer, MAX_STREAMS};
use crate::distribution::view::ListView;
use crate::revocation::freshness::Knowledge;
use crate::runtime::environment;
use crate::runtime::grpc_serve::{self, Transport};
use crate::runtime::listen::{self, Address, Listener};
use crate::runtime::random::SeededRandom;
use crate::runtime::resolve::SystemResolver;
use crate::store::Store;
use crate::store::contract::list;
use crate::store::embedded::tests::temporary;

/// Remembers the controllers that were connected to, in order, and counts the proofs, also those of no list.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>, AtomicUsize);

impl Observer for Seen {
    fn connected(&self, controller: Option<&str>) {
        self.0.lock().unwrap().extend(controller.map(ToOwned::to_owned));
    }

    fn noted(&self, _: Option<&ListName>, note: &Note) {
        self.1.fetch_add(usize::from(matches!(note, Note::Proven { .. })), Ordering::SeqCst);
    }
}

/// Serves a replica of its own over a store; cancelling the token that it returns drains it.
fn serve(
    tasks: &mut JoinSet<()>,
    name: &str,
    folder: &Path,
    store: &Arc<dyn Store>,
    sessions: &Arc<Sessions>,
) -> (String, CancellationToken) {
    let listener = listen::bind(&Address::Unix(folder.join(name)), 0o600).unwrap();
    let draining = serve_on(tasks, name, listener, store, sessions);
    (format!("unix:{}", folder.join(name).display()), draining)
}

fn serve_on(
    tasks: &mut JoinSet<()>,
    name: &str,
    listener: Listener,
    store: &Arc<dyn Store>,
    sessions: &Arc<Sessions>,
) -> CancellationToken {
    let machine = environment::Environment::of_machine();
    let hub = Hub::new(name, store.seal_key(), Arc::clone(sessions));
    let draining = CancellationToken::new();
    let server =
        DistributionServer::new(Arc::clone(&hub), machine.clock.clone(), draining.clone(), MAX_STREAMS);
    let replica = Replica::new(hub, Arc::clone(store), machine);
    tasks.spawn(async move { replica.run(CancellationToken::new()).await.unwrap() });
    let serving = grpc_serve::serve(
        listener,
        Transport::Plain(None),
        Routes::new(server),
        64,
        CancellationToken::new(),
        Duration::ZERO,
    );
    tasks.spawn(async move { serving.await.unwrap() });
    draining
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "{what}");
}

/// Told to move, a sidecar opens the next stream before it leaves the old one, and says goodbye to that only after
/// a proof on the new one.
#[tokio::test]
async fn a_draining_replica_is_left_for_another_and_told_goodbye() {
    let (folder, store) = temporary().await;
    let sessions = Arc::new(Sessions::new(Predecessor::None));
    let mut tasks = JoinSet::new();
    let replicas = ["one", "two"].map(|name| serve(&mut tasks, name, folder.path(), &store, &sessions));
    let machine = environment::Environment::of_machine();
    let seen = Arc::new(Seen::default());
    let views = Views::new(&[list()]);
    let controllers = Controllers {
        uris: replicas.iter().map(|(uri, _)| uri.clone()).collect(),
        tls: None,
        token_file: None,
    };
    let environment = Environment {
        clock: machine.clock.clone(),
        random: machine.random,
        resolver: machine.resolver,
        observer: Arc::clone(&seen) as Arc<dyn Observer>,
    };
    let session = Session::new("test#1".to_owned(), vec![ListView::empty(list())]);
    let client = Client::new(session, views.clone(), controllers, environment);
    tasks.spawn(client.run(CancellationToken::new()));
    until("fresh", || matches!(views.load()[0].knowledge, Knowledge::FreshAsOf(_))).await;
    let first = seen.0.lock().unwrap()[0].clone();
    let [left, other] = if replicas[0].0 == first { [0, 1] } else { [1, 0] };
    replicas[left].1.cancel();
    let other_name = ["one", "two"][other];
    until("only the other replica counts the sidecar", || {
        let report = sessions.report(machine.clock.now());
        report.len() == 1 && report[0].replica == other_name && report[0].connected
    })
    .await;
    assert_eq!(*seen.0.lock().unwrap(), [first, replicas[other].0.clone()]);
    let before = views.load()[0].knowledge;
    until("a newer proof comes", || views.load()[0].knowledge != before).await;
}

/// A client of one list that has connected to nothing yet.
fn unconnected(uris: &[String], seed: u64, list: ListName, seen: &Arc<Seen>) -> Client {
    let environment = Environment {
        clock: environment::Environment::of_machine().clock,
        random: Arc::new(SeededRandom::new(seed)),
        resolver: Arc::new(SystemResolver),
        observer: Arc::clone(seen) as Arc<dyn Observer>,
    };
    let session = Session::new("test#1".to_owned(), vec![ListView::empty(list.clone())]);
    Client::new(
        session,
        Views::new(&[list]),
        Controllers { uris: uris.to_vec(), tls: None, token_file: None },
        environment,
    )
}

#[test]
fn the_pause_between_attempts_doubles_up_to_three_seconds_and_differs_between_sidecars() {
    let pauses = |seed| {
        let mut client = unconnected(&[], seed, list(), &Arc::default());
        (0..50).map(|_| client.backoff()).collect::<Vec<_>>()
    };
    let mut longest = Duration::from_millis(100);
    for pause in pauses(1) {
        assert!((longest / 2..=longest).contains(&pause), "{pause:?} of {longest:?}");
        longest = (longest * 2).min(Duration::from_secs(3));
    }
    assert_eq!(pauses(1), pauses(1));
    let apart = pauses(1).into_iter().zip(pauses(2)).filter(|(one, other)| one != other).count();
    assert!(apart > 40, "{apart} of 50 differ");
}

/// A controller that answers and proves nothing is no better than one that is away.
#[tokio::test]
async fn a_proof_makes_the_next_pause_short_again_and_an_answer_alone_does_not() {
    let (folder, store) = temporary().await;
    let sessions = Arc::new(Sessions::new(Predecessor::None));
    let mut tasks = JoinSet::new();
    let (uri, _) = serve(&mut tasks, "one", folder.path(), &store, &sessions);
    let next_after = async |followed: ListName| {
        let is_served = followed == list();
        let seen = Arc::new(Seen::default());
        let mut client = unconnected(std::slice::from_ref(&uri), 1, followed, &seen);
        while client.backoff() < LAST_BACKOFF / 2 {}
        let connection = client.find_and_open().await.unwrap();
        let stop = CancellationToken::new();
        let views = client.views.clone();
        let proven = || matches!(views.load()[0].knowledge, Knowledge::FreshAsOf(_));
        let answered = async {
            until("answers to pings", || seen.1.load(Ordering::SeqCst) > 1 && proven() == is_served).await;
            stop.cancel();
        };
        let (end, ()) = tokio::join!(client.serve(connection, None, &stop), answered);
        assert!(matches!(end, End::Shutdown));
        client.backoff()
    };
    assert!(next_after("default/unknown".parse().unwrap()).await >= LAST_BACKOFF / 2);
    assert!(next_after(list()).await <= FIRST_BACKOFF);
}

/// A host with the addresses that a test says.
struct Host(Vec<SocketAddr>);

impl Resolve for Host {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        assert_eq!((host, port), ("controllers.example", 7401));
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

#[tokio::test]
async fn sidecars_spread_over_the_addresses_of_a_host_and_move_in_time_when_one_drains() {
    const SIDECARS: u64 = 12;
    let (_folder, store) = temporary().await;
    let sessions = Arc::new(Sessions::new(Predecessor::None));
    let mut tasks = JoinSet::new();
    let mut addresses = Vec::new();
    let draining = ["one", "two", "three"].map(|name| {
        let ip = addresses.len() + 1;
        let listener = listen::bind(&format!("127.0.0.{ip}:0").parse().unwrap(), 0).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("not TCP") };
        addresses.push(address);
        serve_on(&mut tasks, name, listener, &store, &sessions)
    });
    let seen = Arc::new(Seen::default());
    let all = (0..SIDECARS).map(|number| {
        let environment = Environment {
            clock: environment::Environment::of_machine().clock,
            random: Arc::new(SeededRandom::new(number)),
            resolver: Arc::new(Host(addresses.clone())),
            observer: Arc::clone(&seen) as Arc<dyn Observer>,
        };
        let session = Session::new(format!("test#{number:032x}"), vec![ListView::empty(list())]);
        let controllers = Controllers {
            uris: vec!["http://controllers.example:7401".to_owned()],
            tls: None,
            token_file: None,
        };
        let views = Views::new(&[list()]);
        tasks.spawn(
            Client::new(session, views.clone(), controllers, environment).run(CancellationToken::new()),
        );
        views
    });
    let all: Vec<Views> = all.collect();
    let fresh = |views: &Views| matches!(views.load()[0].knowledge, Knowledge::FreshAsOf(_));
    until("all are fresh", || all.iter().all(fresh)).await;
    let clock = environment::Environment::of_machine().clock;
    let on = |name: &str| {
        let report = sessions.report(clock.now());
        report.iter().filter(|sidecar| sidecar.connected && sidecar.replica == name).count()
    };
    for name in ["one", "two", "three"] {
        assert!((1..=8).contains(&on(name)), "{} on {name}", on(name));
    }
    assert!(
        seen.0.lock().unwrap().iter().all(|one| one.starts_with("http://controllers.example:7401 (127.0.0."))
    );
    draining[0].cancel();
    until("all have moved", || on("one") == 0 && on("two") + on("three") == 12).await;
    // Nobody was without a stream: a move is an opened stream more, and none was lost.
    let before: Vec<_> = all.iter().map(|views| views.load()[0].knowledge).collect();
    until("newer proofs come", || {
        all.iter().zip(&before).all(|(views, before)| views.load()[0].knowledge != *before)
    })
    .await;
}

#[tokio::test]
async fn a_host_without_an_address_is_told_and_another_uri_is_taken() {
    struct Nobody;
    impl Resolve for Nobody {
        fn resolve(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            Box::pin(std::future::ready(Err(io::Error::other("no such host"))))
        }
    }
    let uris = ["https://controllers.example:7401", "unix:/run/a.sock"].map(ToOwned::to_owned);
    let mut client = unconnected(&uris[..1], 1, list(), &Arc::default());
    client.environment.resolver = Arc::new(Nobody);
    let told = client.find().await.unwrap_err().to_string();
    assert_eq!(told, "no address is known for https://controllers.example:7401: no such host");
    let mut client = unconnected(&uris, 1, list(), &Arc::default());
    client.environment.resolver = Arc::new(Nobody);
    assert_eq!(client.find().await.unwrap(), [(1, None)]);
}
