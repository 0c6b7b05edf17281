//! The heartbeats of a process, and what they prove when a write fails.

use futures::FutureExt;
use serde_json::json;

use super::super::call::{CallError, patch_status};
use super::super::heartbeat::{Heartbeats, PulseError};
use super::*;
use crate::api::revocation::ListReport;

const REPLICA: u64 = 0xaa;
const PULSE: &str = "pulse-00000000000000aa";
const REPORT: &str = "report-00000000000000aa";

const fn beat(nonce: u128) -> Beat {
    Beat { replica: REPLICA, nonce }
}

/// The objects of the controllers' namespace, and the same where nobody answers.
async fn apis() -> (MutexGuard<'static, ()>, Api<Object>, Api<Object>) {
    let guard = cluster().await;
    let of = |config: &Config| {
        Api::namespaced_with(call::connect(config).unwrap(), DEFAULT_NAMESPACE, &call::resource())
    };
    let config = config().await;
    let mut nowhere = config.clone();
    nowhere.cluster_url = "https://127.0.0.1:9".parse().unwrap();
    (guard, of(&config), of(&nowhere))
}

/// Writes a nonce into the pulse, as a write does whose answer was lost, or a restored backup.
async fn write_behind(api: &Api<Object>, nonce: u128) {
    let found = api.get(PULSE).await.unwrap();
    let status = json!({ "heartbeat": { "nonce": format!("{nonce:032x}") } });
    patch_status(api, &found.metadata, status).await.unwrap();
}

async fn conflict(heartbeats: &mut Heartbeats, api: &Api<Object>, nonce: u128) {
    let answer = heartbeats.beat(api, beat(nonce)).await;
    assert!(matches!(&answer, Err(PulseError::Call(error)) if error.is_conflict()), "{answer:?}");
}

#[tokio::test]
async fn every_pulse_is_above_the_one_before() {
    let (_cluster, api, _) = apis().await;
    let mut heartbeats = Heartbeats::default();
    let first = heartbeats.beat(&api, beat(1)).await.unwrap();
    let second = heartbeats.beat(&api, beat(2)).await.unwrap();
    assert!(second > first);
    // Another process takes over the object of its predecessor.
    let third = Heartbeats::default().beat(&api, beat(3)).await.unwrap();
    assert!(third > second);
}

/// Invariant 12: somebody has put a label on the object. The write is refused and proves nothing, and the next one is
/// made under the revision that is there.
#[tokio::test]
async fn an_edit_of_the_metadata_is_a_conflict_and_no_way_back_in_time() {
    let (_cluster, api, _) = apis().await;
    let mut heartbeats = Heartbeats::default();
    let first = heartbeats.beat(&api, beat(1)).await.unwrap();
    kubectl(&["label", "revocations", "-n", DEFAULT_NAMESPACE, PULSE, "seen=yes"]);
    conflict(&mut heartbeats, &api, 2).await;
    assert!(heartbeats.beat(&api, beat(3)).await.unwrap() > first);
}

/// Invariant 20: the store bears a nonce that this process had written before the last one that was acknowledged.
#[tokio::test]
async fn an_older_nonce_is_a_way_back_in_time() {
    let (_cluster, api, _) = apis().await;
    let mut heartbeats = Heartbeats::default();
    heartbeats.beat(&api, beat(1)).await.unwrap();
    heartbeats.beat(&api, beat(2)).await.unwrap();
    write_behind(&api, 1).await;
    let answer = heartbeats.beat(&api, beat(3)).await;
    assert!(matches!(answer, Err(PulseError::WentBack)), "{answer:?}");
    heartbeats.forget();
    heartbeats.beat(&api, beat(4)).await.unwrap();
}

/// Invariant 12: a round that took too long is given up while its heartbeat is under way: it may be carried out all the same.
#[tokio::test]
async fn a_write_that_nobody_waits_for_any_more_is_no_way_back_in_time() {
    let (_cluster, api, _) = apis().await;
    let mut heartbeats = Heartbeats::default();
    let first = heartbeats.beat(&api, beat(1)).await.unwrap();
    // It is begun, and dropped.
    assert!(heartbeats.beat(&api, beat(2)).now_or_never().is_none());
    let found = api.get(PULSE).await.unwrap();
    if status_nonce(&found) != Some(format!("{:032x}", 2)) {
        write_behind(&api, 2).await;
    }
    conflict(&mut heartbeats, &api, 3).await;
    assert!(heartbeats.beat(&api, beat(4)).await.unwrap() > first);
}

fn status_nonce(object: &Object) -> Option<String> {
    super::super::object::status(object).heartbeat.and_then(|heartbeat| heartbeat.nonce)
}

/// Invariant 12: it may have been carried out all the same; that is no way back in time, and proves nothing either.
#[tokio::test]
async fn a_write_without_an_answer_proves_nothing() {
    let (_cluster, api, nowhere) = apis().await;
    let mut heartbeats = Heartbeats::default();
    let first = heartbeats.beat(&api, beat(1)).await.unwrap();
    let unanswered = heartbeats.beat(&nowhere, beat(2)).await;
    assert!(matches!(unanswered, Err(PulseError::Call(CallError::Unreachable(_)))), "{unanswered:?}");
    // It had arrived.
    write_behind(&api, 2).await;
    conflict(&mut heartbeats, &api, 3).await;
    let second = heartbeats.beat(&api, beat(4)).await.unwrap();
    assert!(second > first);
    // One that had not arrived changes nothing.
    heartbeats.beat(&nowhere, beat(5)).await.unwrap_err();
    assert!(heartbeats.beat(&api, beat(6)).await.unwrap() > second);
}

/// The leader removes those of replicas long gone; a replica that was only quiet makes its own anew.
#[tokio::test]
async fn a_pulse_that_was_removed_is_made_anew() {
    let (_cluster, api, _) = apis().await;
    let mut heartbeats = Heartbeats::default();
    let first = heartbeats.beat(&api, beat(1)).await.unwrap();
    kubectl(&["delete", "revocations", "-n", DEFAULT_NAMESPACE, PULSE]);
    heartbeats.beat(&api, beat(2)).await.unwrap_err();
    assert!(heartbeats.beat(&api, beat(3)).await.unwrap() > first);
}

/// A report of one list with so many sidecars.
fn sidecars(subscribers: i64) -> Vec<ListReport> {
    let (namespace, name) = ("shop".to_owned(), "shop".to_owned());
    vec![ListReport {
        namespace,
        name,
        subscribers,
        connected: 0,
        lowest: None,
        generation: None,
        hash_key: None,
    }]
}

async fn reported(api: &Api<Object>) -> Vec<ListReport> {
    object::status(&api.get(REPORT).await.unwrap()).heartbeat.unwrap().lists
}

#[tokio::test]
async fn a_report_is_written_when_it_says_something_else() {
    let (_cluster, api, nowhere) = apis().await;
    let mut heartbeats = Heartbeats::default();
    let revision = async || api.get(REPORT).await.unwrap().metadata.resource_version.unwrap();
    heartbeats.report(&api, REPLICA, 1, sidecars(1)).await.unwrap();
    let first = revision().await;
    heartbeats.report(&api, REPLICA, 2, sidecars(1)).await.unwrap();
    assert_eq!(revision().await, first);
    heartbeats.report(&api, REPLICA, 3, sidecars(2)).await.unwrap();
    let second = revision().await;
    assert_ne!(second, first);
    // What became of it is not known, so the same is written again.
    heartbeats.report(&nowhere, REPLICA, 4, sidecars(3)).await.unwrap_err();
    heartbeats.report(&api, REPLICA, 5, sidecars(3)).await.unwrap();
    assert_eq!(reported(&api).await, sidecars(3));
}

/// A replica that has reported one sidecar, and has beaten since.
async fn beaten(api: &Api<Object>) -> Heartbeats {
    let mut heartbeats = Heartbeats::default();
    heartbeats.report(api, REPLICA, 1, sidecars(1)).await.unwrap();
    heartbeats.beat(api, beat(2)).await.unwrap();
    heartbeats
}

/// Invariant 1: a replica was silent for so long that the leader has removed its pulse and its report. It goes on with
/// the same sidecars, and nobody is told to be fresh before they are in a report again.
#[tokio::test]
async fn a_report_that_was_removed_with_its_pulse_is_written_again_before_the_next_pulse() {
    let (_cluster, api, _) = apis().await;
    let mut heartbeats = beaten(&api).await;
    kubectl(&["delete", "revocations", "-n", DEFAULT_NAMESPACE, PULSE, REPORT]);
    // A round writes the report first, and this one says what the one before has said.
    heartbeats.report(&api, REPLICA, 3, sidecars(1)).await.unwrap();
    heartbeats.beat(&api, beat(4)).await.unwrap_err();
    heartbeats.report(&api, REPLICA, 5, sidecars(1)).await.unwrap();
    heartbeats.beat(&api, beat(6)).await.unwrap();
    assert_eq!(reported(&api).await, sidecars(1));
}

/// Invariant 1: the leader has removed the pulse and hangs. It must not remove the report afterwards that was written
/// meanwhile, though it says the same.
#[tokio::test]
async fn a_report_that_is_written_anew_is_another_revision_even_if_it_says_the_same() {
    let (_cluster, api, _) = apis().await;
    let mut heartbeats = beaten(&api).await;
    let seen = api.get(REPORT).await.unwrap().metadata;
    kubectl(&["delete", "revocations", "-n", DEFAULT_NAMESPACE, PULSE]);
    heartbeats.beat(&api, beat(3)).await.unwrap_err();
    heartbeats.report(&api, REPLICA, 4, sidecars(1)).await.unwrap();
    heartbeats.beat(&api, beat(5)).await.unwrap();
    assert_eq!(open().await.remove(&seen).await, Written::Superseded);
    assert_eq!(reported(&api).await, sidecars(1));
}
