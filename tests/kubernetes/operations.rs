//! The commands of the page for operators do what it says.

use tokio::task::block_in_place;

use crate::cluster::{blocks, done, in_project, wait_until};
use crate::lab::{Lab, PATIENCE};
use crate::support::wait::wait_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_operations_page_work() {
    let lab = Lab::start(1, 0).await;
    lab.kubectl(&["create", "namespace", "shop"]);
    for manifest in ["policies.yaml", "list.yaml"] {
        lab.kubectl(&["apply", "--filename", &in_project(&format!("examples/kubernetes/{manifest}"))]);
    }
    wait_for("the list is served", PATIENCE, async || {
        let list = lab.kubectl(&["get", "trl", "-n", "shop", "shop", "-o", "jsonpath={.status.conditions}"]);
        if list.contains("\"Published\"") { Ok(()) } else { Err(list) }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rescind"), folder.path().join("kubectl-rescind")).unwrap();
    let epoch = || {
        let name = ["get", "revocations", "-n", "rescind-system", "epoch", "-o", "jsonpath={.metadata.uid}"];
        String::from_utf8(lab.plane.kubectl(&name).stdout).unwrap()
    };
    let before = epoch();
    // Somebody else has made what the administrator restores.
    let revocation = r#"{
        "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation",
        "metadata": {"name": "restored", "namespace": "shop", "annotations": {"rescind.dev/revoked-by": "alice-support"}},
        "spec": {"listName": "shop", "issuer": "https://id.example.com", "target": {"subject": "mallory"}}
    }"#;
    let create = ["create", "--filename=-", "--as=alice-support", "--as-group=system:masters"];
    lab.kubectl_with(&create, &serde_json::from_str(revocation).unwrap());
    let restored = || {
        let path = "--output=jsonpath={.metadata.annotations.rescind\\.dev/revoked-by}";
        lab.kubectl(&["get", "revocation", "restored", "-n", "shop", path])
    };
    let blocks = blocks("docs/operations.md", "the_commands_of_the_operations_page_work");
    let said: Vec<String> = blocks
        .iter()
        .map(|block| {
            if block.contains("apply -f shop.yaml") {
                lab.kubectl(&["delete", "revocation", "restored", "-n", "shop"]);
            }
            block_in_place(|| done(&lab.plane.shell(folder.path(), block)))
        })
        .collect();
    assert_eq!(said.len(), 5);
    assert!(said[0].contains("shop") && said[0].contains("rescind-controller"), "{}", said[0]);
    let copy = std::fs::read_to_string(folder.path().join("shop.yaml")).unwrap();
    assert!(copy.contains("TokenRevocationList"), "{copy}");
    assert!(said[2].contains("revocation.rescind.dev/restored created"), "{}", said[2]);
    assert_eq!(restored(), "alice-support");
    assert!(said[3].contains("\"epoch\" deleted"), "{}", said[3]);
    block_in_place(|| {
        wait_until("another history has begun", || {
            let now = epoch();
            !now.is_empty() && now != before
        });
    });
    assert!(said[4].contains("enforced"), "{}", said[4]);
}
