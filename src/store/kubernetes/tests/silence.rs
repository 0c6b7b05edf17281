//! A watch over a connection that is dead says nothing, and nothing says that it is dead.

use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::{Instant, sleep, timeout};

use super::super::follower::IDLE_LIMIT;
use super::played::{BEAT, EPOCH, bookmark, follow, heartbeat, server, watching};
use super::*;
use crate::store::{Event, What};

/// Follows from version 10, and returns what comes first, when, and where watches have begun.
async fn check(
    watches: fn(usize) -> BoxStream<'static, Value>,
    revision: u64,
    begun_at: &[&str],
) -> Duration {
    let (client, opened) = server(move |number| watching(watches(number).chain(stream::pending())));
    let started = Instant::now();
    let mut follow = follow(client, 10).await;
    let event = timeout(IDLE_LIMIT * 10, follow.next()).await.expect("it was waited for ever").unwrap();
    let expected = Event { version: object::version(EPOCH, revision), what: What::Heartbeat(BEAT) };
    assert_eq!(event, expected);
    assert_eq!(*opened.lock().unwrap(), begun_at);
    started.elapsed()
}

/// Invariant 21: a connection that died without a word holds nobody up for ever.
#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_is_given_up_and_another_goes_on_where_it_was() {
    let watches = |number| match number {
        1 => stream::iter([bookmark(12)]).boxed(),
        2 => stream::empty().boxed(),
        _ => stream::iter([heartbeat(13)]).boxed(),
    };
    let waited = check(watches, 13, &["10", "12", "12"]).await;
    assert!((2 * IDLE_LIMIT..2 * IDLE_LIMIT + Duration::from_secs(1)).contains(&waited), "{waited:?}");
}

/// The API server sends a bookmark a minute where nothing happens.
#[tokio::test(start_paused = true)]
async fn a_watch_with_bookmarks_is_kept() {
    let watches = |_| {
        let events = [bookmark(11), bookmark(12), bookmark(13), heartbeat(14)];
        let one_a_minute = |event| async move {
            sleep(Duration::from_secs(60)).await;
            event
        };
        stream::iter(events).then(one_a_minute).boxed()
    };
    let waited = check(watches, 14, &["10"]).await;
    assert_eq!(waited.as_secs(), 240);
}
