//! An API server that is not ready, that has forgotten, or that says what it has said before.

use futures::stream::{self, StreamExt};
use serde_json::json;
use tokio::time::timeout;

use super::super::call::{MAX_LIST_ATTEMPTS, list_all};
use super::played::{
    Answer, BEAT, EPOCH, answering, bookmark, follow, heartbeat, internal, page, parameter, refusing, server,
    watching,
};
use super::*;
use crate::store::{Event, What};

/// As the API server says it while a watch cache starts.
const NOT_READY: &str = "storage is (re)initializing";
/// Longer than all pauses together.
const PATIENCE: Duration = Duration::from_secs(600);

/// Lists everything from a server that answers each page as `pages` does with its number and the page that was asked
/// for; returns revision and names, and which pages were asked for.
async fn listed(
    pages: impl Fn(usize) -> Answer + Send + 'static,
) -> (Result<(u64, Vec<String>), String>, Vec<Option<String>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let client = answering(move |request| {
        let mut asked = seen.lock().unwrap();
        asked.push(parameter(request, "continue"));
        pages(asked.len())
    });
    let listed =
        timeout(PATIENCE, list_all(&Api::all_with(client, &call::resource()), call::stripped_revocation))
            .await;
    let names = |objects: Vec<Object>| objects.into_iter().filter_map(|object| object.metadata.name);
    let listed = listed.expect("it was asked for ever").map(|(at, objects)| (at, names(objects).collect()));
    let asked = asked.lock().unwrap().clone();
    (listed.map_err(|error| error.to_string()), asked)
}

fn revocation(name: &str) -> Value {
    internal(name, json!({"subject": name}), 3, Value::Null)
}

/// Invariant 21: it is so for a moment whenever the definition changes, and nothing is wrong then.
#[tokio::test(start_paused = true)]
async fn a_list_is_asked_for_again_while_the_server_makes_itself_ready() {
    let (result, asked) = listed(|number| match number {
        1..=3 => refusing(429, NOT_READY),
        _ => page(7, &[revocation("alice")], None),
    })
    .await;
    assert_eq!(result, Ok((7, vec!["alice".to_owned()])));
    assert_eq!(asked, [const { None }; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_gets_ready_is_asked_a_bounded_number_of_times() {
    let (result, asked) = listed(|_| refusing(429, NOT_READY)).await;
    assert_eq!(result, Err(format!("the API server refused: {NOT_READY}")));
    assert_eq!(asked.len(), MAX_LIST_ATTEMPTS as usize + 1);
    // What is no matter of time is not asked again.
    let (result, asked) = listed(|_| refusing(503, "nobody is here")).await;
    assert_eq!((result, asked.len()), (Err("the API server refused: nobody is here".to_owned()), 1));
}

/// Invariant 3: the pages of a list are of one revision. What was read before it was forgotten is of another.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_forgotten_between_its_pages_is_read_again_from_the_first() {
    let (result, asked) = listed(|number| match number {
        1 => page(5, &[revocation("alice"), revocation("bob")], Some("five")),
        2 => refusing(410, "The provided continue parameter is too old"),
        3 => page(9, &[revocation("bob")], Some("nine")),
        _ => page(9, &[revocation("carol")], None),
    })
    .await;
    assert_eq!(result, Ok((9, vec!["bob".to_owned(), "carol".to_owned()])));
    assert_eq!(asked, [None, Some("five".to_owned()), None, Some("nine".to_owned())]);
}

/// Follows from version 10 until something is not a heartbeat; returns the revisions of the heartbeats, what came then,
/// and where watches have begun.
async fn followed(
    watches: impl Fn(usize) -> Answer + Send + 'static,
) -> (Vec<u64>, Option<FollowError>, Vec<String>) {
    let (client, opened) = server(watches);
    let mut follow = follow(client, 10).await;
    let mut revisions = Vec::new();
    let ended = loop {
        match timeout(PATIENCE, follow.next()).await {
            Ok(Ok(Event { version, what })) => {
                assert_eq!((version.epoch, what), (EPOCH, What::Heartbeat(BEAT)));
                revisions.push(version.revisions.revocations);
            }
            Ok(Err(error)) => break Some(error),
            // It is silent.
            Err(_) => break None,
        }
    };
    let mut opened = opened.lock().unwrap().clone();
    // One that is silent is opened again and again.
    opened.dedup();
    (revisions, ended, opened)
}

/// Invariant 21: a watch that is refused for a moment is asked for again where it was.
#[tokio::test(start_paused = true)]
async fn a_watch_is_asked_for_again_while_the_server_is_busy_or_away() {
    let (revisions, ended, opened) = followed(|number| match number {
        1 => watching(stream::iter([heartbeat(12)])),
        2 => refusing(429, NOT_READY),
        3 => refusing(503, "nobody is here"),
        4 => watching(stream::iter([heartbeat(13), bookmark(15)])),
        _ => watching(stream::pending()),
    })
    .await;
    assert_eq!((revisions, ended), (vec![12, 13], None));
    assert_eq!(opened, ["10", "12", "15"]);
}

/// Invariant 3: what comes to a log that went back would be in a gap for whoever has gone on.
/// Invariant 13: a heartbeat that was delivered already proves nothing again.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_above_what_was_reached_is_of_another_history() {
    for (before, after, reached) in [
        (heartbeat(13), heartbeat(13), (13, 13)),
        (heartbeat(13), heartbeat(12), (13, 12)),
        (bookmark(15), heartbeat(15), (15, 15)),
        (bookmark(15), heartbeat(14), (15, 14)),
    ] {
        let events = [before.clone(), after];
        let (revisions, ended, _) = followed(move |number| {
            let first = events.clone().into_iter().filter(move |_| number == 1);
            watching(stream::iter(first).chain(stream::pending()))
        })
        .await;
        let delivered: &[u64] = if before == heartbeat(13) { &[13] } else { &[] };
        assert_eq!(revisions, delivered);
        let (from, reached) = (object::version(EPOCH, reached.0), object::version(EPOCH, reached.1));
        assert_eq!(ended, Some(FollowError::NotOfThisHistory { from, reached }));
    }
}

/// A watch that is opened anew at a revision below would deliver once more what was delivered.
#[tokio::test(start_paused = true)]
async fn a_bookmark_does_not_lead_back() {
    let (revisions, ended, opened) = followed(|number| match number {
        1 => watching(stream::iter([bookmark(15), bookmark(12)])),
        2 => watching(stream::iter([heartbeat(16), bookmark(16), bookmark(11)])),
        _ => watching(stream::pending()),
    })
    .await;
    assert_eq!((revisions, ended), (vec![16], None));
    assert_eq!(opened, ["10", "15", "16"]);
}
