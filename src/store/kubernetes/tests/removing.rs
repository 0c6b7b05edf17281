//! What is removed is what was looked at, and nothing that has come into its place.

use super::*;
use crate::revocation::record::{Cutoff, RevocationSpec};
use crate::store::contract::{list, new, subject};
use crate::store::{NewRevocation, NewStep};

/// Bans a subject, in an object of its name.
async fn ban(store: &KubernetesStore, name: &str) {
    let spec = RevocationSpec {
        cutoff: Some(Cutoff::Always),
        expires_at: Some(UnixSeconds::new(4_000_000_000).unwrap()),
        ..subject(name)
    };
    let named = NewRevocation { name: Some(name.to_owned()), ..new(spec) };
    Store::append(store, NewStep::Revoke(Box::new(named))).await.unwrap();
}

/// Returns the names of all revocations, in order.
async fn names(store: &KubernetesStore) -> Vec<String> {
    let fetched = Store::fetch(store).await.unwrap().revocations;
    let mut names: Vec<String> = fetched.into_iter().map(|revocation| revocation.name).collect();
    names.sort();
    names
}

/// Invariant 15: whoever removes may be behind: what was changed, or deleted and made anew under its name, stays.
#[tokio::test]
async fn what_was_changed_or_made_anew_meanwhile_is_not_removed() {
    let _cluster = cluster().await;
    let (store, other) = (open().await, open().await);
    let namespace = list().namespace().to_owned();
    for name in ["gone", "namesake", "prolonged", "same"] {
        ban(&store, name).await;
    }
    Store::fetch(&store).await.unwrap();
    let patch = r#"{"spec": {"expiresAt": "2099-01-01T00:00:00Z"}}"#;
    kubectl(&["patch", "revocation", "-n", &namespace, "prolonged", "--type=merge", "-p", patch]);
    kubectl(&["delete", "revocation", "-n", &namespace, "gone", "namesake"]);
    Store::fetch(&other).await.unwrap();
    ban(&other, "namesake").await;
    let mut outcomes = Vec::new();
    let observed = store.with_mirror(|mirror| {
        let of_all = mirror.revocations.values().map(|revocation| revocation.metadata.clone());
        of_all.collect::<Vec<_>>()
    });
    for metadata in observed {
        outcomes.push((metadata.name.clone().unwrap(), store.remove(&metadata).await));
    }
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("gone", Written::Superseded),
        ("namesake", Written::Superseded),
        ("prolonged", Written::Superseded),
        ("same", Written::Done),
    ];
    assert_eq!(outcomes, expected.map(|(name, written)| (name.to_owned(), written)));
    assert_eq!(names(&other).await, ["namesake", "prolonged"]);
}
