//! Listing, lifting and the state of everything.

use insta::assert_snapshot;

use super::fake::Behaviour;
use super::*;

async fn with_three() -> Harness {
    let harness = Harness::new(Behaviour::default()).await;
    for command in [
        "subject alice --reason LostDevice --message stolen,\u{202e}ticket",
        "session 08a5019c-17e1-4977-8f42-65a12843ea02-and-a-very-long-rest --ban --for 7d",
        "issuer https://id.example.com --cutoff 2026-11-21T09:00:00Z --reason Breach",
    ] {
        assert_eq!(harness.run(&format!("{command} --wait=false")).await.exit, Exit::Done);
    }
    harness
}

async fn out(harness: &Harness, command: &str) -> String {
    let Seen { exit, out, err } = harness.run(command).await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{command}");
    out
}

#[tokio::test]
async fn the_list_goes_through_all_pages_in_every_format() {
    let harness = with_three().await;
    assert_snapshot!("list_human", out(&harness, "list").await);
    assert_snapshot!("list_wide", out(&harness, "list -o wide").await);
    assert_snapshot!("list_yaml", out(&harness, "list -o yaml").await);
    assert_eq!(out(&harness, "list -o name").await, "revocation/r-1\nrevocation/r-2\nrevocation/r-3\n");
    let json: serde_json::Value = serde_json::from_str(&out(&harness, "list -o json").await).unwrap();
    assert_eq!((json["kind"].as_str(), json["items"].as_array().unwrap().len()), (Some("RevocationList"), 3));
}

#[tokio::test]
async fn an_empty_list_is_still_an_object_for_machines() {
    let harness = Harness::new(Behaviour::default()).await;
    assert_eq!(harness.run("list -o wide").await, Seen::new(Exit::Done, "", "no revocations\n"));
    assert_eq!(out(&harness, "list -o name").await, "");
    let json: serde_json::Value = serde_json::from_str(&out(&harness, "list -o json").await).unwrap();
    assert_eq!(json["items"], serde_json::json!([]));
}

#[tokio::test]
async fn a_revocation_is_undone_by_its_name_or_its_uid() {
    let harness = with_three().await;
    let text = out(&harness, "undo r-1 --dry-run").await;
    assert_eq!(text, "r-1 (subject alice, list shop/shop) would be lifted; nothing is changed (dry run)\n");
    assert_eq!(
        out(&harness, "undo r-1").await,
        "r-1 (subject alice, list shop/shop) lifted at version 1/99\n\
         What it denied passes again as the sidecars learn of it, unless another revocation covers it.\n"
    );
    assert_eq!(out(&harness, "undo 00000000-0000-0000-0000-000000000003 -o name").await, "revocation/r-3\n");
    assert_eq!(out(&harness, "undo revocation/r-2 --dry-run -o name").await, "revocation/r-2\n");
    assert_snapshot!("undo_yaml", out(&harness, "undo r-2 -o yaml").await);
}

#[tokio::test]
async fn what_is_not_there_can_not_be_undone() {
    let harness = Harness::new(Behaviour::default()).await;
    for name in ["r-1", "00000000-0000-0000-0000-000000000003"] {
        let expected =
            format!("error: shop/shop has no revocation named {name}: it was lifted, or never was\n");
        assert_eq!(harness.run(&format!("undo {name}")).await, Seen::new(Exit::Failed, "", &expected));
    }
}

#[tokio::test]
async fn the_status_shows_lists_sidecars_and_conditions() {
    let harness = Harness::new(Behaviour {
        conditions: vec!["MaximumRaised: tokens of an hour were refused".to_owned()],
        ..Behaviour::default()
    })
    .await;
    assert_snapshot!("status_human", out(&harness, "status").await);
    assert_snapshot!("status_json", out(&harness, "status -o json").await);
}
