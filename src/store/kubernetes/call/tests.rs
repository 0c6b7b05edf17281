use serde_json::{Value, json};

use super::*;

fn object(metadata: Value) -> Object {
    let object = json!({
        "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation", "metadata": metadata, "spec": {"listName": "shop"},
    });
    serde_json::from_value(object).unwrap()
}

/// What is kept of a name in metadata: all that is read of it here, and no more.
fn metadata() -> Value {
    json!({
        "name": "ticket", "namespace": "default", "uid": "0000", "resourceVersion": "7", "generation": 2,
        "creationTimestamp": "2026-11-21T10:00:00Z", "deletionTimestamp": "2026-11-21T11:00:00Z",
        "labels": {"app.kubernetes.io/managed-by": "rescind"},
        "annotations": {"rescind.dev/in-force": "{}"},
        "managedFields": [{"manager": "kubectl", "time": "2026-11-21T10:00:00Z"}],
    })
}

/// Invariant 18: whoever may create objects does not decide how much memory each of them takes.
#[test]
fn of_the_metadata_only_what_is_used_is_kept() {
    let mut much = metadata();
    much["labels"]["team"] = json!("shop");
    much["annotations"]["notes"] = json!("x".repeat(200_000));
    much["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}]);
    much["finalizers"] = json!(["example.com/f"]);
    much["managedFields"] = json!([
        {"manager": "rescind", "subresource": "status", "time": "2026-11-21T09:00:00Z"},
        {"manager": "argocd", "time": "2026-11-21T10:30:00Z", "operation": "Apply"},
        {"manager": "kubectl", "time": "2026-11-21T10:00:00Z", "fieldsV1": {"f:spec": {}}},
    ]);
    let kept = stripped(object(much.clone()), &["rescind.dev/in-force"]);
    assert_eq!(kept, object(metadata()));
    for (user, is_kept) in [(None, false), (Some(512), true), (Some(513), false)] {
        let mut of_revocation = metadata();
        of_revocation.as_object_mut().unwrap().remove("annotations");
        if let Some(length) = user {
            much["annotations"][REVOKED_BY] = json!("u".repeat(length));
        }
        if is_kept {
            of_revocation["annotations"] = json!({REVOKED_BY: much["annotations"][REVOKED_BY]});
        }
        assert_eq!(stripped_revocation(object(much.clone())), object(of_revocation.clone()));
        let event = WatchEvent::Modified(object(much.clone()));
        let WatchEvent::Modified(kept) = stripped_event(event) else { panic!("another event") };
        assert_eq!(kept, object(of_revocation));
    }
}
