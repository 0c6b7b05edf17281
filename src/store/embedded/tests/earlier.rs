//! A file that an earlier build has written is opened by this one, and says what it said.

use super::*;
use crate::revocation::version::{Epoch, Revisions, Version};
use crate::store::{Event, What, written};

/// Written by the build with which this test began: a list in which every field says something, a revocation of every
/// kind, one that was lifted, one that has expired, and a history that was started anew twice. It is never written
/// anew: a later format gets a file of its own beside it.
const FORMAT_1: &[u8] = include_bytes!("../fixtures/format-1.redb");
const DOCUMENT: &[u8] = include_bytes!("../../../api/document/fixtures/full.json");
/// How many steps of the log are of the last of its histories.
const STEPS: usize = 15;

fn said(event: &Event) -> String {
    let what = match &event.what {
        What::Added(revocation) => format!("added {}", revocation.name),
        What::Removed { id, list } => format!("removed {id} of {list}"),
        What::Horizon(horizon) => format!("horizon {}", horizon.get()),
        What::Heartbeat(beat) => format!("{beat:?}"),
        What::Unreadable(unreadable) => format!("{unreadable:?}"),
    };
    format!("{} {what}", event.version)
}

#[tokio::test]
async fn a_store_that_an_earlier_build_has_written_is_read_as_it_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE_NAME), FORMAT_1).unwrap();
    let store = EmbeddedStore::open(folder.path(), environment()).unwrap();
    let lists = store.lists().await.unwrap();
    assert_eq!(lists.len(), 1);
    assert_eq!(String::from_utf8(lists[0].document.encode()).unwrap(), String::from_utf8_lossy(DOCUMENT));
    let fetched = store.fetch().await.unwrap();
    let Epoch { counter, id } = fetched.version.epoch;
    let mut lines = vec![
        format!("epoch {counter} {id:032x}, at {}, horizon {}", fetched.version, fetched.horizon.get()),
        format!("hash key {:02x?}", lists[0].hash_key.as_bytes()),
        format!("seal {:02x?}", store.seal_key().seal(&fetched.version)),
    ];
    lines.extend(
        fetched.revocations.iter().map(|one| String::from_utf8(written::write(one).unwrap()).unwrap()),
    );
    let revocations = fetched.version.revisions.revocations - STEPS as u64;
    let from = Version { epoch: fetched.version.epoch, revisions: Revisions { revocations, segments: 0 } };
    let mut follow = store.follow(from).await.unwrap();
    for _ in 0..STEPS {
        lines.push(said(&follow.next().await.unwrap()));
    }
    insta::assert_snapshot!(lines.join("\n"));
    assert!(revoke(&store, "bob").await.version > fetched.version);
}
