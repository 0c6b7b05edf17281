//! The sidecar behind real proxies.

#[path = "../support/mod.rs"]
mod support;

use rescind::proto::v1;
use rescind::proto::v1::target::Target;
use serde_json::json;
use support::lab::Lab;

#[tokio::test]
async fn a_lab_refuses_what_was_revoked() {
    let lab = Lab::start().await;
    let token = lab.keys.token(&json!({"sub": "mallory"}));
    let revoked = lab.revoke(Target::Subject("mallory".into())).await;
    lab.until_enforced(&revoked.version).await;
    assert_eq!(lab.check(&token).await.unwrap().verdict(), v1::VerdictKind::Revoked);
}
