//! Revoking, and waiting until it is enforced.

use insta::assert_snapshot;

use super::fake::{Behaviour, Enforcement, token};
use super::*;

async fn harness() -> Harness {
    Harness::new(Behaviour::default()).await
}

async fn enforcing(enforcement: Enforcement) -> Harness {
    Harness::new(Behaviour { enforcement, ..Behaviour::default() }).await
}

/// Runs a command that must succeed without a word on standard error.
async fn out(harness: &Harness, command: &str) -> String {
    let Seen { exit, out, err } = harness.run(command).await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{command}");
    out
}

#[tokio::test]
async fn people_read_what_was_revoked_and_when_it_is_enforced() {
    assert_snapshot!(out(&harness().await, "subject alice --reason LostDevice --message stolen").await);
}

#[tokio::test]
async fn wide_has_everything_there_is() {
    assert_snapshot!(
        out(&harness().await, "subject alice --reason LostDevice --message stolen -o wide").await
    );
}

#[tokio::test]
async fn json_is_one_object_like_the_custom_resource() {
    let harness =
        Harness::new(Behaviour { warnings: vec!["MayNotReach: x".to_owned()], ..Behaviour::default() }).await;
    let seen = harness.run("subject alice --reason LostDevice --compare-with session-start -o json").await;
    assert_eq!((seen.exit, seen.err.as_str()), (Exit::Done, "warning: MayNotReach: x\n"));
    let value: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    let object: crate::api::revocation::Revocation =
        serde_json::from_value(value["revocation"].clone()).unwrap();
    assert_eq!(object.spec.list_name.as_deref(), Some("shop"));
    assert_snapshot!(seen.out);
}

#[tokio::test]
async fn yaml_is_the_same_object() {
    assert_snapshot!(out(&harness().await, "session s1 --ban --for 12h -o yaml").await);
}

#[tokio::test]
async fn a_name_can_be_handed_to_another_command() {
    assert_eq!(out(&harness().await, "subject alice -o name").await, "revocation/r-1\n");
}

#[tokio::test]
async fn every_kind_of_target_is_described_as_the_server_understood_it() {
    let harness = harness().await;
    let mut all = String::new();
    for command in [
        "session s1",
        "session s1 --cutoff now",
        "subject alice --compare-with session-start",
        "client web --cutoff 2026-11-21T09:00:00Z",
        "key k1",
        "issuer https://id.example.com --cutoff now",
        "issuer https://id.example.com --ban --until 2026-11-22T10:00:00Z",
        "selector subject-on-client sub=alice client_id=7 --type client_id=number",
        "token --jti j1 --list shop/shop",
    ] {
        all += &format!("$ rescind {command}\n{}\n", out(&harness, &format!("{command} --wait=false")).await);
    }
    assert_snapshot!(all);
}

#[tokio::test]
async fn a_token_is_read_from_standard_input_or_a_file() {
    let harness = harness().await;
    let token = token("j1", "alice");
    let file = harness.file("token", &format!("{token}\n"));
    for (command, input) in [
        ("token --wait=false".to_owned(), format!("{token}\r\n")),
        ("token --wait=false --file -".to_owned(), token.clone()),
        ("token --wait=false -".to_owned(), token.clone()),
        (format!("token --wait=false --file {file}"), String::new()),
    ] {
        let seen = harness.run_with(&command, &input).await;
        assert_eq!((seen.exit, seen.err.as_str()), (Exit::Done, ""), "{command}");
        assert!(seen.out.contains("target       token j1\n"), "{}", seen.out);
        assert!(seen.out.contains("lock the account at the issuer first, then revoke"), "{}", seen.out);
    }
}

#[tokio::test]
async fn of_an_opaque_token_only_the_hash_leaves() {
    let seen = harness().await.run_with("token --opaque --wait=false", "session-id-4711\n").await;
    let hash = "ff75740e2ea4440707f279805567cdd940302c30015043db400996d561d3213c";
    assert_eq!(seen.exit, Exit::Done);
    assert!(seen.out.contains(&format!("target       opaque {hash}\n")), "{}", seen.out);
}

#[tokio::test]
async fn a_server_that_quotes_the_token_is_not_repeated() {
    let token = token("forged", "alice");
    let seen = harness().await.run_with("token", &token).await;
    assert_eq!(seen, Seen::new(Exit::Failed, "", "error: bad signature: [a token]\n"));
}

#[tokio::test]
async fn what_is_not_one_signed_token_is_refused_before_anything_is_sent() {
    let harness = harness().await;
    let (one, two) = (token("j1", "alice"), token("j2", "bob"));
    let check = async |input: &str, expected: &str| {
        let seen = harness.run_with("token", input).await;
        assert_eq!(seen, Seen::new(Exit::Failed, "", &format!("error: {expected}\n")));
    };
    let several = "standard input holds a space or a line break inside the token: \
                   write one token, alone, without a scheme such as Bearer";
    check(&format!("{one}\n{two}\n"), several).await;
    check(&format!("Bearer {one}"), several).await;
    check("", "standard input is empty: write one token to it").await;
    check(&"x".repeat(20_000), "standard input holds more than 16384 bytes, which is the most for a token")
        .await;
    let not_signed = "what was read is no signed token (a compact JWS with an iss): \
                      for an opaque token or a session id, say --opaque";
    check("session-id-4711", not_signed).await;
    let missing = harness.run("token --file /does/not/exist").await;
    assert!(missing.err.starts_with("error: can't read /does/not/exist: No such file"), "{}", missing.err);
    assert_eq!(harness.run("list").await, Seen::new(Exit::Done, "", "no revocations\n"));
}

#[tokio::test]
async fn refused_is_1() {
    let harness = harness().await;
    let check = async |command: &str, expected: &str| {
        let seen = harness.run(command).await;
        assert_eq!(seen, Seen::new(Exit::Failed, "", &format!("error: {expected}\n")), "{command}");
    };
    check("subject alice --list other", "no list default/other is declared").await;
    check(
        "subject alice --issuer https://evil",
        "spec.issuer: is not declared by list shop/shop: it declares https://id.example.com",
    )
    .await;
    check(
        "issuer https://id.example.com",
        "everything of an issuer is much: say --cutoff now, --cutoff TIME, or --ban",
    )
    .await;
    check("subject alice --ban --for 0s", "--for must be a second or more").await;
    check(
        "subject alice --ban --until 2020-01-01T00:00:00Z",
        "--until lies in the past: the ban would be over at once",
    )
    .await;
}

#[tokio::test]
async fn a_named_revocation_is_repeated_safely_and_never_overwritten() {
    let harness = harness().await;
    let first = out(&harness, "subject alice --name ticket-4711 -o json").await;
    assert_eq!(out(&harness, "subject alice --name ticket-4711 -o json").await, first);
    let other = harness.run("subject bob --name ticket-4711").await;
    let expected = "error: shop/shop has another revocation named ticket-4711: choose another name\n";
    assert_eq!(other, Seen::new(Exit::Failed, "", expected));
}

#[tokio::test]
async fn a_dry_run_stores_nothing_and_waits_for_nothing() {
    let harness = enforcing(Enforcement::Never).await;
    for flag in ["--dry-run", "--dry-run=server"] {
        let text = out(&harness, &format!("subject alice {flag}")).await;
        assert!(text.starts_with("revocation would be accepted; nothing is stored (dry run)\n"), "{text}");
    }
    assert_eq!(out(&harness, "subject alice --dry-run=none --wait=false -o name").await, "revocation/r-1\n");
    assert_snapshot!(out(&harness, "subject bob --dry-run -o json").await);
}

#[tokio::test]
async fn accepted_but_not_enforced_in_time_is_2() {
    let harness = enforcing(Enforcement::Never).await;
    let seen = harness.run("subject alice --timeout 200ms").await;
    assert_eq!(seen.exit, Exit::Pending);
    assert!(seen.out.starts_with("r-1 accepted\n") && !seen.out.contains("enforced"), "{}", seen.out);
    assert_eq!(
        seen.err,
        "warning: r-1 is accepted and stays in force, but it was not enforced within 200 ms: \
         10 of 12 sidecars have applied it; `rescind status` shows who lags\n"
    );
    let seen = harness.run("subject alice --timeout 100ms -o json").await;
    assert_eq!(seen.exit, Exit::Pending);
    assert_snapshot!(seen.out);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_no_longer_than_asked() {
    let seen = enforcing(Enforcement::Silent).await.run("subject alice --timeout 100ms").await;
    assert_eq!(seen.exit, Exit::Pending);
    assert!(seen.err.contains("within 100 ms: no sidecar has reported;"), "{}", seen.err);
}

#[tokio::test]
async fn a_stream_that_breaks_is_opened_again() {
    let seen = enforcing(Enforcement::AfterABreak).await.run("subject alice").await;
    assert_eq!(seen.exit, Exit::Done);
    assert!(seen.out.ends_with("enforced after 42.0 s: 12 of 12 sidecars have applied it\n"), "{}", seen.out);
    assert!(seen.err.contains("can't serve now: moving to another replica\n"), "{}", seen.err);
}

#[tokio::test]
async fn who_may_revoke_but_not_watch_gets_2() {
    let seen = enforcing(Enforcement::Forbidden).await.run("subject alice -o name").await;
    assert_eq!((seen.exit, seen.out.as_str()), (Exit::Pending, "revocation/r-1\n"));
    assert_eq!(
        seen.err,
        "warning: r-1 is accepted and stays in force, but whether it is enforced can't be told: \
         you may not do this: you may not watch\n"
    );
}

#[tokio::test]
async fn the_bearer_token_of_a_file_is_shown_to_the_server() {
    let harness = Harness::new(Behaviour { bearer: Some("s3cret"), ..Behaviour::default() }).await;
    let file = harness.file("bearer", "s3cret\n");
    assert_eq!(
        out(&harness, &format!("subject alice -o name --bearer-file {file}")).await,
        "revocation/r-1\n"
    );
    let seen = harness.run("subject alice").await;
    let expected = format!(
        "error: unix:{} does not know who you are: a bearer token is needed; \
         give --bearer-file, or --cert and --key\n",
        harness.address()
    );
    assert_eq!(seen, Seen::new(Exit::Failed, "", &expected));
}
