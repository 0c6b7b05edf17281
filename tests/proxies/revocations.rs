//! What is revoked, by every selector: the tokens that it hits, and their neighbours that it must not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rescind::proto::v1::claim_value::Value as Typed;
use rescind::proto::v1::cutoff::Cutoff;
use rescind::proto::v1::target::Target;
use rescind::proto::v1::{self, ClaimValue, SelectorTarget};
use serde_json::json;

use crate::presented::{Meaning, Presented, in_cookie};
use crate::support::issue::{claims, now};
use crate::support::lab::{Lab, revoke_request};

/// Revokes, waits until the sidecar has it all, and returns what clients present then.
pub(crate) async fn make(lab: &Lab) -> Vec<Presented> {
    let keys = &lab.keys;
    let sign = |changes| keys.token(&changes);
    let by_second = keys.second.sign(&claims(&json!({"sub": "erin"}))).unwrap();
    let one = sign(json!({"jti": "the-one"}));
    let old = sign(json!({"iat": now() - 1200}));
    let renewed = |seconds| json!({"sub": "trudy", "auth_time": now() - seconds});
    let hit = [
        ("a token", one.clone()),
        ("a token, spelled otherwise", respelled(&one)),
        ("a session", sign(json!({"sid": "the-session", "sub": "bob"}))),
        ("a subject", sign(json!({"sub": "mallory"}))),
        ("a client", sign(json!({"client_id": "stolen-app"}))),
        ("a key", by_second),
        ("a subject on a client", sign(json!({"sub": "dave", "client_id": "web"}))),
        ("everything up to a time", old),
        ("a subject's session, and renewed since", sign(renewed(800))),
    ];
    lab.revoke(Target::Token("the-one".to_owned())).await;
    lab.revoke(Target::Session("the-session".to_owned())).await;
    lab.revoke(Target::Subject("mallory".to_owned())).await;
    lab.revoke(Target::Client("stolen-app".to_owned())).await;
    lab.revoke(Target::Key("k2".to_owned())).await;
    let value = |claim: &str, value: &str| ClaimValue {
        claim: claim.to_owned(),
        value: Some(Typed::String(value.to_owned())),
    };
    let values = vec![value("sub", "dave"), value("client_id", "web")];
    let on_client = SelectorTarget { name: "subject-on-client".to_owned(), values };
    lab.revoke(Target::Selector(on_client)).await;
    let cutoff = Some(v1::Cutoff { cutoff: Some(Cutoff::UnixSeconds(now() - 1000)) });
    let everything = v1::RevokeRequest { cutoff, ..revoke_request(Target::Everything(true)) };
    lab.try_revoke(everything).await.unwrap();
    let cutoff = Some(v1::Cutoff { cutoff: Some(Cutoff::UnixSeconds(now() - 700)) });
    let compare_with = v1::CompareWith::SessionStart.into();
    let trudy = revoke_request(Target::Subject("trudy".to_owned()));
    lab.try_revoke(v1::RevokeRequest { cutoff, compare_with, ..trudy }).await.unwrap();
    let last = lab.ban(Target::Subject("banned".to_owned())).await;
    lab.until_enforced(&last.version).await;

    let banned = sign(json!({"sub": "banned", "iat": now(), "exp": now() + 60}));
    let neighbours = [
        // Failure 12: a value under another claim is another value.
        ("the jti as a subject", sign(json!({"sub": "the-one"}))),
        ("the subject as a session", sign(json!({"sid": "mallory"}))),
        ("another session of the subject", sign(json!({"sub": "bob", "sid": "other"}))),
        ("the subject on another client", sign(json!({"sub": "dave", "client_id": "app"}))),
        ("another subject on the client", sign(json!({"sub": "carol", "client_id": "web"}))),
        ("a later session of the subject", sign(renewed(600))),
    ];
    let hit = hit.into_iter().chain([("a ban, and issued after it", banned)]);
    let revoked = hit.flat_map(|(name, token)| {
        let name = format!("revoked by {name}");
        let cookie = in_cookie(&format!("{name}, in the cookie"), Meaning::Revoked, &token);
        [Presented::bearer(&name, Meaning::Revoked, &token), cookie]
    });
    let beside = neighbours.map(|(name, token)| Presented::bearer(name, Meaning::Active, &token));
    revoked.chain(beside).collect()
}

/// Writes the signature of a token in its other form, (r, n - s), which verifies as well.
///
/// Failure 13: what is revoked is the token, not one spelling of it.
fn respelled(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = false;
    for (digit, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let (difference, first) = order.overflowing_sub(*digit);
        let (difference, second) = difference.overflowing_sub(u8::from(borrow));
        (*digit, borrow) = (difference, first || second);
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
