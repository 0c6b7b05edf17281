//! The admin API of a cluster: who calls is the API server's word, and what they may do is RBAC's.

use futures::StreamExt;
use rescind::proto::v1;
use rescind::proto::v1::cutoff::Cutoff;
use rescind::proto::v1::revocation_admin_client::RevocationAdminClient;
use rescind::proto::v1::target::Target;
use rescind::runtime::dial;
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::access::OURS;
use crate::lab::{LIST, Lab, PATIENCE};
use crate::observability::audited;
use crate::support::control_plane::TOKEN;
use crate::support::wait::wait_for;

struct Api {
    channel: Channel,
}

impl Api {
    fn new(lab: &Lab) -> Self {
        let uri = format!("unix:{}", lab.path("admin.sock").display());
        Self { channel: dial::channel(&uri, None, |endpoint| endpoint).unwrap() }
    }

    fn client(&self) -> RevocationAdminClient<Channel> {
        RevocationAdminClient::new(self.channel.clone())
    }

    async fn revoke(&self, token: &str, target: Target) -> Result<v1::Revocation, Status> {
        let cutoff =
            matches!(target, Target::Everything(_)).then(|| v1::Cutoff { cutoff: Some(Cutoff::Now(true)) });
        let request = v1::RevokeRequest {
            cutoff,
            list: LIST.to_owned(),
            target: Some(v1::Target { target: Some(target) }),
            ..v1::RevokeRequest::default()
        };
        let revoke = async || self.client().revoke(shown(token, request.clone())).await;
        Ok(answered(revoke).await?.into_inner().revocation.unwrap())
    }

    async fn lift(&self, token: &str, name: &str) -> Result<(), Status> {
        let request =
            v1::LiftRequest { list: LIST.to_owned(), name: name.to_owned(), ..v1::LiftRequest::default() };
        answered(async || self.client().lift(shown(token, request.clone())).await).await.map(drop)
    }

    async fn list(&self, token: &str, list: &str) -> Result<usize, Status> {
        let request = v1::ListRequest { list: list.to_owned(), ..v1::ListRequest::default() };
        let list = async || self.client().list(shown(token, request.clone())).await;
        Ok(answered(list).await?.into_inner().revocations.len())
    }
}

/// Asks until there is an answer: an API server that is busy has no time to say who somebody is.
async fn answered<T>(mut ask: impl AsyncFnMut() -> Result<T, Status>) -> Result<T, Status> {
    wait_for("an answer", PATIENCE, async || match ask().await {
        Err(status) if status.code() == Code::Unavailable => Err(status.to_string()),
        answer => Ok(answer),
    })
    .await
}

fn shown<T>(token: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn check<T>(outcome: Result<T, Status>, code: Code, words: &[&str]) {
    let refused = outcome.map(drop).unwrap_err();
    assert_eq!(refused.code(), code, "{refused}");
    for words in words {
        assert!(refused.message().contains(words), "{refused}");
    }
}

fn subject(name: &str) -> Target {
    Target::Subject(name.to_owned())
}

/// Invariant 24: nobody revokes or lifts more than RBAC lets them.
#[tokio::test(flavor = "multi_thread")]
async fn callers_of_the_admin_api_may_do_what_rbac_says() {
    use Code::{PermissionDenied, Unauthenticated};
    let lab = Lab::guarded().await;
    for name in ["support", "nobody"] {
        lab.add_account("apps", name);
    }
    let bind = ["create", "rolebinding", "support", "-n", "apps", "--clusterrole=rescind-revoker"];
    lab.kubectl(&[&bind[..], &["--serviceaccount=apps:support"]].concat());
    let support = lab.account_token("apps", "support", OURS).await;
    let nobody = lab.account_token("apps", "nobody", OURS).await;
    let api = Api::new(&lab);
    // RBAC that was written just now takes a moment.
    let alice = wait_for("the role is bound", PATIENCE, async || {
        api.revoke(&support, subject("alice")).await.map_err(|status| format!("{status}\n{}", lab.logs()))
    })
    .await;

    let anonymous = answered(async || api.client().status(v1::AdminStatusRequest {}).await).await;
    check(anonymous, Unauthenticated, &["Authorization: Bearer"]);
    check(api.revoke("nonsense", subject("bob")).await, Unauthenticated, &["the token is not good"]);
    let elsewhere = lab.account_token("apps", "support", "elsewhere").await;
    check(api.revoke(&elsewhere, subject("bob")).await, Unauthenticated, &["the token is not good"]);
    let create = ["create", "revocations.rescind.dev", "namespace apps", "rescind-revoker"];
    check(api.revoke(&nobody, subject("bob")).await, PermissionDenied, &create);
    check(api.lift(&nobody, &alice.name).await, PermissionDenied, &["delete"]);
    check(api.list(&nobody, LIST).await, PermissionDenied, &["list"]);
    check(api.list(&support, "").await, PermissionDenied, &["all namespaces"]);
    check(api.list(&nobody, "apps/none").await, PermissionDenied, &["list"]);
    assert_eq!(api.list(&support, LIST).await.unwrap(), 1);

    let wide = ["revoke-wide", "tokenrevocationlists.rescind.dev/shop", "rescind-revoker-wide"];
    check(api.revoke(&support, Target::Client("web".to_owned())).await, PermissionDenied, &wide);
    check(api.revoke(&support, Target::Everything(true)).await, PermissionDenied, &["revoke-issuer"]);
    // The administrator's token is of the API server's own audience.
    let client = api.revoke(TOKEN, Target::Client("web".to_owned())).await.unwrap();
    let everything = api.revoke(TOKEN, Target::Everything(true)).await.unwrap();
    check(api.lift(&support, &client.name).await, PermissionDenied, &wide);
    check(api.lift(&support, &everything.name).await, PermissionDenied, &["revoke-issuer"]);
    for name in [&client.name, &everything.name] {
        api.lift(TOKEN, name).await.unwrap();
    }

    let wait = v1::WaitEnforcedRequest { list: LIST.to_owned(), version: alice.version.clone() };
    let ask = async |token: &str| {
        answered(async || api.client().wait_enforced(shown(token, wait.clone())).await).await
    };
    check(ask(&nobody).await, PermissionDenied, &["get"]);
    let progress = ask(&support).await.unwrap().into_inner();
    let last = tokio::time::timeout(PATIENCE, progress.map(Result::unwrap).collect::<Vec<_>>()).await;
    assert!(last.unwrap().last().unwrap().enforced);
    api.lift(&support, &alice.name).await.unwrap();
    assert!(!lab.logs().contains(&support), "a token is in the logs");
    check_audited(&lab, &[&support, &nobody, &elsewhere]).await;
}

/// The audit log says who did what, and who was refused, by their names in the cluster; never by their tokens.
async fn check_audited(lab: &Lab, tokens: &[&str]) {
    let (support, nobody) = ("system:serviceaccount:apps:support", "system:serviceaccount:apps:nobody");
    for expected in [
        [support, "revoke", "accepted", "", "subject"],
        [support, "revoke", "refused", "PERMISSION_DENIED", "client"],
        [support, "lift", "accepted", "", "subject"],
        [nobody, "revoke", "refused", "PERMISSION_DENIED", "subject"],
    ] {
        let shown = |line: &Value| {
            ["who", "act", "outcome", "cause", "kind"]
                .map(|field| line[field].as_str().unwrap_or_default().to_owned())
        };
        wait_for(&format!("a line of {expected:?}"), PATIENCE, async || {
            let lines = audited(lab);
            let found = lines.iter().any(|line| line["via"] == "admin-api" && shown(line) == expected);
            found.then_some(()).ok_or_else(|| format!("{lines:#?}"))
        })
        .await;
    }
    let text = std::fs::read_to_string(lab.path("audit-0.log")).unwrap();
    for token in tokens {
        assert!(!text.contains(token), "a token is in the audit log:\n{text}");
    }
}
