use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::compile::public_key;
use crate::api::compile::tests::{config, document};
use crate::api::document::ListDocument;
use crate::controller::audit::silent;
use crate::controller::expiry::tests::Counting;
use crate::distribution::enforcement::Predecessor;
use crate::distribution::replica::Replica;
use crate::proto::v1::cutoff::Cutoff;
use crate::proto::v1::target::Target;
use crate::revocation::record::{CompareWith, Cutoff as SpecCutoff, RevocationSpec};
use crate::revocation::row::{Rows, TokenTimes};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::runtime::clock::SystemClock;
use crate::runtime::environment::Environment;
use crate::store::contract::{ISSUER, subject as subject_of};
use crate::store::embedded::EmbeddedStore;
use crate::store::embedded::tests::open;
use crate::token::issuer::Issuer;
use crate::token::keys::Algorithm;
use crate::token::list_config::Maxima;

/// An admin API over a new store with the example's list; nothing publishes it.
async fn admin() -> (tempfile::TempDir, Admin) {
    let (folder, _, admin) = admin_over_store().await;
    (folder, admin)
}

/// The same, with the store, in which lists can be declared.
async fn admin_over_store() -> (tempfile::TempDir, EmbeddedStore, Admin) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    (folder, store.clone(), admin_over(Arc::new(store)))
}

/// The example's list with the keys of an issuer in place of its own.
fn declaring(issuer: &Issuer) -> ListDocument {
    let mut document = document();
    let keys = public_key(&issuer.jwk()).into_iter().collect();
    document.spec.issuers[0].verification.keys = Some(keys);
    document
}

fn admin_over(store: Arc<dyn Store>) -> Admin {
    let sessions = Arc::new(Sessions::new(Predecessor::None));
    let hub = Hub::new("replica-0", store.seal_key(), Arc::clone(&sessions));
    Admin::new(store, Arc::from([hub]), sessions, Arc::new(SystemClock), CancellationToken::new(), silent())
}

fn request(target: Target) -> v1::RevokeRequest {
    v1::RevokeRequest { target: Some(v1::Target { target: Some(target) }), ..v1::RevokeRequest::default() }
}

fn subject(name: &str) -> v1::RevokeRequest {
    request(Target::Subject(name.to_owned()))
}

async fn revoke(admin: &Admin, request: v1::RevokeRequest) -> Result<v1::RevokeResponse, Status> {
    admin.revoke(Request::new(request)).await.map(Response::into_inner)
}

async fn live(admin: &Admin) -> Vec<v1::Revocation> {
    RevocationAdmin::list(admin, Request::new(v1::ListRequest::default()))
        .await
        .unwrap()
        .into_inner()
        .revocations
}

async fn refusal(admin: &Admin, request: v1::RevokeRequest) -> (tonic::Code, String) {
    let status = revoke(admin, request).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn the_only_list_and_issuer_need_not_be_named_and_the_answer_says_what_is_in_force() {
    let (_folder, admin) = admin().await;
    let answer = revoke(&admin, subject("alice")).await.unwrap();
    let revocation = answer.revocation.unwrap();
    assert_eq!((revocation.list.as_str(), revocation.issuer.as_str()), ("default/shop", ISSUER));
    let cutoff = Some(v1::Cutoff { cutoff: Some(Cutoff::UnixSeconds(revocation.created_unix_seconds)) });
    assert_eq!(revocation.cutoff, cutoff);
    // The skew of the list is one second, and the cutoff is inclusive.
    assert_eq!(revocation.admits_from_unix_seconds, revocation.created_unix_seconds + 2);
    assert!(revocation.forgotten_at_unix_seconds > revocation.created_unix_seconds + 3600);
    assert_eq!(live(&admin).await, [revocation]);
}

/// The check counts the largest skew since the token's issue, or since its session began.
#[test]
fn no_token_is_denied_that_was_issued_when_a_revocation_is_said_to_admit_again() {
    let at = |seconds| UnixSeconds::new(seconds).unwrap();
    let (cutoff, mut list) = (1_000_000, config());
    let issuer = &mut list.issuers[0];
    let before = Maxima { clock_skew_seconds: 60, ..issuer.maxima };
    issuer.history.push((at(cutoff - 1000), before));
    let check = |compare_with, expected: u64| {
        let spec =
            RevocationSpec { cutoff: Some(SpecCutoff::At(at(cutoff))), compare_with, ..subject_of("alice") };
        let new = NewRevocation { list: list.name.clone(), name: None, spec, reason: None, message: None };
        let now = Moment { boot_nanos: 0, wall_nanos: 0 };
        let admits = convert::planned(&new, &list, now).admits_from_unix_seconds;
        assert_eq!(admits, expected, "{compare_with:?}");
        let rows = match compare_with {
            CompareWith::IssueTime => Rows { issued: Some(at(cutoff)), ..Rows::default() },
            CompareWith::SessionStart => Rows { session_started: Some(at(cutoff)), ..Rows::default() },
        };
        let issuer = &list.issuers[0];
        for later in 0..100 {
            let issued = admits + later;
            let oldest = match compare_with {
                CompareWith::IssueTime => issued - issuer.maxima.session_lifetime_seconds,
                CompareWith::SessionStart => issued,
            };
            let session_started = Some(at(oldest).into());
            let times = TokenTimes { issued: Some(at(issued).into()), session_started };
            assert_eq!(rows.denies(times, issuer.clock_skew_of(times)), None, "{times:?}");
        }
    };
    check(CompareWith::IssueTime, cutoff + 61);
    check(CompareWith::SessionStart, cutoff + 2);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_field_and_nothing_is_stored() {
    let (_folder, admin) = admin().await;
    let check = async |change: fn(&mut v1::RevokeRequest), expected: &str| {
        let mut changed = subject("alice");
        change(&mut changed);
        let (code, message) = refusal(&admin, changed).await;
        assert!(message.contains(expected), "{code:?}: {message}");
    };
    check(|r| r.list = "default/unknown".into(), "no list default/unknown is declared").await;
    check(|r| r.list = "No Name".into(), "list: ").await;
    check(|r| r.issuer = "https://else".into(), "spec.issuer: is not declared by list default/shop").await;
    check(|r| r.target = None, "target: name what is to be revoked").await;
    check(|r| r.target = subject("").target, "spec.target.subject: is empty").await;
    check(|r| r.target = request(Target::Everything(true)).target, "needs a cutoff").await;
    check(|r| r.target = request(Target::OpaqueSha256(vec![1].into())).target, "64 lower-case").await;
    check(|r| r.compare_with = 9, "compare_with is not understood").await;
    check(|r| r.compare_with = 2, "SessionStart needs auth_time").await;
    check(|r| r.cutoff = Some(v1::Cutoff { cutoff: None }), "cutoff: give a time").await;
    check(|r| r.reason = "lost device".into(), "reason: is not one CamelCase word").await;
    check(|r| r.name = "Not A Label".into(), "name: is not a name").await;
    check(
        |r| {
            r.cutoff = Some(v1::Cutoff { cutoff: Some(Cutoff::Always(true)) });
            r.expires_at_unix_seconds = 1;
        },
        "the ban would end before it begins",
    )
    .await;
    assert_eq!(live(&admin).await, []);
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_stores_nothing() {
    let (_folder, admin) = admin().await;
    let answer = revoke(&admin, v1::RevokeRequest { dry_run: true, ..subject("alice") }).await.unwrap();
    assert!(answer.revocation.unwrap().uid.is_empty());
    let session = v1::RevokeRequest { dry_run: true, ..request(Target::Session("s".into())) };
    let warnings = revoke(&admin, session).await.unwrap().warnings;
    assert!(warnings[0].starts_with("MayNotReach: "), "{warnings:?}");
    assert_eq!(live(&admin).await, []);
}

/// Who presents a token may end it, and nobody ends another's by making one up.
#[tokio::test]
async fn a_presented_token_is_verified_before_its_identifier_is_taken() {
    let (_folder, admin) = admin().await;
    let stranger = Issuer::generate(ISSUER, "k1", Algorithm::Es256).unwrap();
    let claims = serde_json::json!({"iss": ISSUER, "jti": "t1", "sub": "alice", "iat": 1, "exp": 2});
    let forged = stranger.sign(&claims).unwrap();
    for (token, code) in
        [(forged.as_str(), "BAD_SIGNATURE"), ("no token", "MALFORMED"), ("a.b.c", "MALFORMED")]
    {
        let (_, message) = refusal(&admin, request(Target::PresentedToken(token.to_owned()))).await;
        assert!(message.contains(code) && !message.contains(token), "{message}");
    }
    assert_eq!(live(&admin).await, []);
}

/// What is stored is the identifier that the signature vouches for, under the token's own issuer.
#[tokio::test]
async fn a_presented_token_of_a_declared_key_is_revoked_by_its_identifier() {
    let (_folder, store, admin) = admin_over_store().await;
    let issuer = Issuer::generate(ISSUER, "k1", Algorithm::Es256).unwrap();
    store.put_list(declaring(&issuer)).await.unwrap();
    let now = SystemClock.now().wall().floor().get();
    let sign = |changes: serde_json::Value| {
        let mut claims = serde_json::json!({
            "iss": ISSUER, "aud": "shop-api", "sub": "alice", "jti": "t1", "iat": now, "exp": now + 600,
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        issuer.sign(&claims).unwrap()
    };
    let presented = |changes| request(Target::PresentedToken(sign(changes)));
    let revocation = revoke(&admin, presented(serde_json::json!({}))).await.unwrap().revocation.unwrap();
    let target = revocation.target.clone().unwrap().target.unwrap();
    assert_eq!((target, revocation.issuer.as_str()), (Target::Token("t1".to_owned()), ISSUER));
    assert_eq!(revocation.cutoff, Some(v1::Cutoff { cutoff: Some(Cutoff::Always(true)) }));
    assert_eq!(live(&admin).await, [revocation]);
    for (changes, why) in [
        (serde_json::json!({"exp": now - 1, "iat": now - 600}), "EXPIRED"),
        (serde_json::json!({"jti": null}), "UNREVOCABLE"),
        (serde_json::json!({"aud": "another-api"}), "WRONG_AUDIENCE"),
    ] {
        assert!(refusal(&admin, presented(changes)).await.1.contains(why), "{why}");
    }
    let other_issuer =
        v1::RevokeRequest { issuer: "https://else".to_owned(), ..presented(serde_json::json!({})) };
    assert!(refusal(&admin, other_issuer).await.1.contains("the token is of another issuer"));
    assert_eq!(live(&admin).await.len(), 1);
}

#[tokio::test]
async fn a_revocation_is_lifted_by_name_or_by_uid_and_only_once() {
    let (_folder, admin) = admin().await;
    let mut made = Vec::new();
    for name in ["alice", "bob"] {
        made.push(revoke(&admin, subject(name)).await.unwrap().revocation.unwrap());
    }
    let lift = async |name: &str, uid: &str, dry_run| {
        let request =
            v1::LiftRequest { name: name.into(), uid: uid.into(), dry_run, ..v1::LiftRequest::default() };
        admin.lift(Request::new(request)).await.map(|answer| answer.into_inner().revocation.unwrap().uid)
    };
    assert_eq!(lift(&made[0].name, "", true).await.unwrap(), made[0].uid);
    assert_eq!(live(&admin).await.len(), 2);
    assert_eq!(lift(&made[0].name, "", false).await.unwrap(), made[0].uid);
    assert_eq!(lift("", &made[1].uid, false).await.unwrap(), made[1].uid);
    assert_eq!(lift(&made[0].name, "", false).await.unwrap_err().code(), tonic::Code::NotFound);
    assert_eq!(lift("", "", false).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(lift("", "nonsense", false).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(live(&admin).await, []);
}

#[tokio::test]
async fn everything_is_read_for_one_call_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Counting::new(open(folder.path()).await);
    let admin = admin_over(Arc::clone(&store) as Arc<dyn Store>);
    let calls = (0..5).map(|_| live(&admin));
    assert_eq!(futures::future::join_all(calls).await.concat(), []);
    assert_eq!(store.most_open.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn pages_lead_through_all_revocations_once() {
    let (_folder, admin) = admin().await;
    for n in 0..7 {
        revoke(&admin, subject(&format!("user-{n}"))).await.unwrap();
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListRequest { page_size: 3, page_token, ..v1::ListRequest::default() };
        let page = RevocationAdmin::list(&admin, Request::new(request)).await.unwrap().into_inner();
        assert!(page.revocations.len() <= 3);
        seen.extend(page.revocations.into_iter().map(|revocation| revocation.uid));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let all: Vec<String> = live(&admin).await.into_iter().map(|revocation| revocation.uid).collect();
    assert_eq!(seen, all);
    let bad = v1::ListRequest { page_token: "x".into(), ..v1::ListRequest::default() };
    assert!(RevocationAdmin::list(&admin, Request::new(bad)).await.is_err());
}

#[tokio::test]
async fn a_wait_for_what_is_no_version_of_this_store_is_refused() {
    let (_folder, admin) = admin().await;
    let wait = v1::WaitEnforcedRequest { list: String::new(), version: "1/2".into() };
    let refused = admin.wait_enforced(Request::new(wait)).await.map(drop).unwrap_err();
    // Nothing was fetched by a replica here: it can't be told yet.
    assert_eq!(refused.code(), tonic::Code::Unavailable);
}

/// A replica runs, and a version of another history, or none at all, can't be waited for.
#[tokio::test]
async fn a_wait_for_a_version_of_another_history_or_for_nonsense_is_refused() {
    let (_folder, store, admin) = admin_over_store().await;
    let hub = Arc::clone(&admin.hubs[0]);
    let replica = Replica::new(Arc::clone(&hub), Arc::new(store), Environment::of_machine());
    let revoked = revoke(&admin, subject("alice")).await.unwrap().revocation.unwrap();
    let wait = async |version: &str| {
        let request = v1::WaitEnforcedRequest { list: String::new(), version: version.to_owned() };
        let waiting = admin.wait_enforced(Request::new(request)).await;
        waiting.map(drop).map_err(|status| (status.code(), status.message().to_owned()))
    };
    let test = async {
        let mut news = hub.news();
        news.wait_for(|news| news.complete.is_some()).await.unwrap();
        assert_eq!(wait(&revoked.version).await, Ok(()));
        let (counter, revision) = revoked.version.split_once('/').unwrap();
        let later = format!("{}/{revision}", counter.parse::<u64>().unwrap() + 1);
        for version in [later.as_str(), "1/2", "", "nonsense", "/", &format!("{counter}/x")] {
            let (code, message) = wait(version).await.unwrap_err();
            assert_eq!(code, tonic::Code::InvalidArgument, "{version:?}: {message}");
            assert!(message.contains("is not a version of this store, like "), "{message}");
        }
    };
    tokio::select! {
        ended = replica.run(CancellationToken::new()) => panic!("the replica ended: {ended:?}"),
        () = test => {}
    }
}

/// A revocation whose selector or issuer was declared when it was taken, and is no more, has no effect: the status
/// names it.
#[tokio::test]
async fn the_status_names_revocations_that_have_no_effect_any_more() {
    let (_folder, store, admin) = admin_over_store().await;
    let value = v1::ClaimValue {
        claim: "/tenant/id".to_owned(),
        value: Some(v1::claim_value::Value::String("acme".to_owned())),
    };
    let by_tenant = v1::SelectorTarget { name: "tenant".to_owned(), values: vec![value] };
    let tenant = revoke(&admin, request(Target::Selector(by_tenant))).await.unwrap().revocation.unwrap();
    revoke(&admin, subject("alice")).await.unwrap();
    let undeclared = async || {
        let status = admin.status(Request::new(v1::AdminStatusRequest {})).await.unwrap().into_inner();
        let conditions = status.lists[0].conditions.clone();
        conditions.into_iter().filter(|text| text.starts_with("Undeclared: ")).collect::<Vec<_>>()
    };
    assert_eq!(undeclared().await, Vec::<String>::new());
    let mut without = document();
    without.spec.selectors.retain(|selector| selector.name != "tenant");
    store.put_list(without).await.unwrap();
    let [condition] = &undeclared().await[..] else { panic!("{:?}", undeclared().await) };
    assert!(condition.starts_with("Undeclared: 1 of the revocations"), "{condition}");
    assert!(condition.ends_with(&format!("have no effect: {}", tenant.name)), "{condition}");
    store.put_list(document()).await.unwrap();
    assert_eq!(undeclared().await, Vec::<String>::new());
}
