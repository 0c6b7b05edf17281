//! What commands do to tokens: a controller and a sidecar run, and the sidecar is asked.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{Seen, finish, rescind};
use crate::lab::{Lab, NAMESPACE, PATIENCE, RELAXED_BOUND};
use crate::objects::list;
use crate::observability::line;
use crate::support::issue::now;
use crate::support::wait::wait_for;

/// A lab whose list has selectors, and a home for the program.
struct Shop {
    lab: Lab,
    home: tempfile::TempDir,
}

impl Shop {
    async fn start() -> Self {
        let lab = Lab::start_with_bound(1, 1, RELAXED_BOUND).await;
        let mut list = list("shop", &lab.keys);
        list["spec"]["freshness"]["boundSeconds"] = json!(RELAXED_BOUND.as_secs());
        list["spec"]["selectors"] = json!([
            {"name": "subject-on-client", "claims": ["sub", "client_id"]},
            {"name": "tenant", "claims": ["/tenant/id"]},
        ]);
        lab.apply(&list);
        Self { lab, home: tempfile::tempdir().unwrap() }
    }

    fn run_with(&self, kubeconfig: &Path, line: &str) -> Seen {
        let mut command = rescind(self.home.path());
        command.env("KUBECONFIG", kubeconfig).args(line.split(' '));
        block_in_place(|| finish(command, ""))
    }

    /// Runs a command in the namespace of the lists, as the administrator.
    fn run(&self, line: &str) -> String {
        self.run_with(self.lab.plane.kubeconfig(), &format!("{line} -n {NAMESPACE}")).done()
    }

    /// Signs a token that was issued before whatever is revoked, with other claims.
    fn token(&self, claims: &Value) -> String {
        self.token_issued_at(now() - 1800, claims)
    }

    /// Signs a token that is issued later than whatever is revoked by now, and the skew of the issuer's clock.
    async fn later(&self, claims: &Value) -> String {
        let latest = now() + 1;
        wait_for("a second has passed, and the next", PATIENCE, async || {
            if now() > latest { Ok(()) } else { Err(format!("{} s", now())) }
        })
        .await;
        self.token_issued_at(now(), claims)
    }

    fn token_issued_at(&self, issued: u64, claims: &Value) -> String {
        let mut all = json!({"iat": issued, "auth_time": issued, "exp": now() + 600});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        self.lab.keys.token(&all)
    }

    /// Asks about a token now: what has been waited for has happened.
    async fn answer(&self, token: &str) -> u16 {
        self.lab.ask(0, token).await.unwrap()
    }

    async fn until(&self, token: &str, status: u16) {
        self.lab.until_answer(0, token, status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_revoked_ends_and_another_of_the_same_user_goes_on() {
    let shop = Shop::start().await;
    let of = |session: &str| shop.token(&json!({"sub": "alice", "sid": session}));
    let (lost, kept) = (of("laptop"), of("phone"));
    shop.until(&lost, 200).await;
    let told = shop.run("session laptop --name ticket-1 --reason LostDevice");
    assert!(told.contains("\n  target       session laptop\n"), "{told}");
    let audited = line(&shop.lab, "revoke", "ticket-1").await;
    let administrator =
        shop.lab.kubectl(&["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"]);
    assert_eq!(audited["who"], administrator.as_str(), "{audited}");
    assert_eq!((shop.answer(&lost).await, shop.answer(&kept).await), (401, 200));
    // Whatever a session is issued later is of the same session.
    assert_eq!(shop.answer(&shop.later(&json!({"sub": "alice", "sid": "laptop"})).await).await, 401);
    assert_eq!(shop.answer(&shop.later(&json!({"sub": "alice", "sid": "phone"})).await).await, 200);
    shop.run("undo ticket-1");
    shop.until(&lost, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_refuses_the_tokens_that_match_all_its_claims_by_value_and_type() {
    let shop = Shop::start().await;
    let on = |user: &str, client: &str| shop.token(&json!({"sub": user, "client_id": client}));
    let at = |tenant: Value| shop.token(&json!({"sub": "carol", "tenant": {"id": tenant}}));
    shop.until(&on("alice", "web"), 200).await;
    shop.run("selector subject-on-client sub=alice client_id=web --name on-client");
    let answers = [("alice", "web"), ("alice", "app"), ("bob", "web")].map(|(user, client)| on(user, client));
    for (token, expected) in answers.iter().zip([401, 200, 200]) {
        assert_eq!(shop.answer(token).await, expected);
    }
    shop.run("selector tenant /tenant/id=42 --type /tenant/id=number --name tenant");
    for (tenant, expected) in [(json!(42), 401), (json!("42"), 200), (json!(43), 200)] {
        assert_eq!(shop.answer(&at(tenant.clone())).await, expected, "{tenant}");
    }
    shop.run("undo on-client");
    shop.until(&answers[0], 200).await;
    assert_eq!(shop.answer(&at(json!(42))).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_refuses_tokens_that_are_issued_later_and_ends_when_it_was_said_to() {
    let shop = Shop::start().await;
    let of = |user: &str| json!({"sub": user});
    shop.until(&shop.token(&of("alice")), 200).await;
    shop.run("subject dave --name short --ban --for 10s --wait=false");
    shop.run("subject alice --name cutoff");
    shop.run("subject bob --name ban --ban");
    let begun = now();
    shop.run("subject carol --name day --ban --for 24h");
    for (user, later) in [("alice", 200), ("bob", 401), ("carol", 401)] {
        assert_eq!(shop.answer(&shop.token(&of(user))).await, 401, "{user}");
        assert_eq!(shop.answer(&shop.later(&of(user)).await).await, later, "{user}");
    }
    let day = shop.lab.get("day").await.unwrap();
    let end = day["spec"]["expiresAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let expected = (begun + 86_400).try_into().unwrap()..=(now() + 86_400).try_into().unwrap();
    assert!(expected.contains(&end), "{end} is not in {expected:?}");
    assert_eq!(shop.lab.get("ban").await.unwrap()["spec"]["expiresAt"], Value::Null);
    shop.lab.until("short", "Expired", "True").await;
    shop.until(&shop.token(&of("dave")), 200).await;
    assert_eq!(shop.answer(&shop.later(&of("carol")).await).await, 401);
}

/// Invariant 16: what each of two covers holds, and lifting one leaves exactly what the other covers.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_revocations_of_one_user_lifting_one_leaves_the_other() {
    let shop = Shop::start().await;
    let alice = json!({"sub": "alice"});
    let before = shop.token(&alice);
    shop.until(&before, 200).await;
    shop.run("subject alice --name cutoff");
    shop.run("subject alice --name ban --ban");
    let later = shop.later(&alice).await;
    assert_eq!((shop.answer(&before).await, shop.answer(&later).await), (401, 401));
    shop.run("undo ban");
    shop.until(&later, 200).await;
    assert_eq!(shop.answer(&before).await, 401);
    shop.run("undo cutoff");
    shop.until(&before, 200).await;
}

/// Writes a kubeconfig with a cluster that is away, which it is about unless told otherwise, and that of the shop.
fn two_clusters(shop: &Shop) -> PathBuf {
    let config = std::fs::read_to_string(shop.lab.plane.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    let mut away = config["clusters"][0].clone();
    // A port on which nobody listens.
    (away["name"], away["cluster"]["server"]) = (json!("away"), json!("https://127.0.0.1:1"));
    config["clusters"].as_array_mut().unwrap().push(away);
    config["contexts"] = json!([
        {"name": "staging", "context": {"cluster": "away", "user": "test"}},
        {"name": "production", "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE}},
    ]);
    config["current-context"] = json!("staging");
    let path = shop.lab.path("two-clusters");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_chooses_the_cluster_and_the_namespace_in_which_something_is_revoked() {
    let shop = Shop::start().await;
    let kubeconfig = two_clusters(&shop);
    let alice = shop.token(&json!({"sub": "alice"}));
    shop.until(&alice, 200).await;
    let elsewhere = shop.run_with(&kubeconfig, "subject alice --name ticket-1");
    assert_eq!(elsewhere.code, 1, "{elsewhere:?}");
    assert_eq!(shop.answer(&alice).await, 200);
    shop.run_with(&kubeconfig, "subject alice --name ticket-1 --context production").done();
    assert_eq!(shop.answer(&alice).await, 401);
    let listed = shop.run_with(&kubeconfig, "list -o name --context production").done();
    assert_eq!(listed, "revocation/ticket-1\n");
    shop.run_with(&kubeconfig, "undo ticket-1 --context production").done();
    shop.until(&alice, 200).await;
}
