//! Opaque tokens: all that is known of one is whether it is listed, by its SHA-256.

use aws_lc_rs::digest::{SHA256, digest};
use rescind::proto::v1::target::Target;
use serde_json::{Value, json};

use crate::decision_table::check;
use crate::doubt::{freeze, until};
use crate::expected::Knowledge;
use crate::fronts::Fronts;
use crate::presented::{Meaning, Presented, in_cookie};
use crate::support::issue::ISSUER;
use crate::support::lab::Lab;

/// Declares both places of the examples, each with its kind of token.
fn sources(header: Value, cookie: Value) -> Lab {
    let with = |mut source: Value, more: Value| {
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    Lab::declaring(|spec| {
        spec["tokenSources"] = json!([
            with(json!({"header": "Authorization", "scheme": "Bearer"}), header),
            with(json!({"cookie": "access_token", "clearWhenRefused": true}), cookie),
        ]);
    })
}

fn opaque() -> Value {
    json!({"kind": "Opaque", "issuer": ISSUER})
}

/// Revokes an opaque token as `rescind token --opaque` does.
async fn revoke(lab: &Lab, token: &str) {
    let hash = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
    let revoked = lab.revoke(Target::OpaqueSha256(hash.into())).await;
    lab.until_enforced(&revoked.version).await;
}

/// What clients present in either place when both are of opaque tokens, after `listed` was revoked.
fn table(lab: &Lab, listed: &str) -> Vec<Presented> {
    use Meaning::{Absent, Ambiguous, NotListed, Rejected, Revoked};
    let jwt = lab.keys.token(&json!({"iss": "https://other.example.com", "exp": 1}));
    let rows = [
        ("not listed", NotListed, "session-4711.x_Y~+/=="),
        ("listed", Revoked, listed),
        ("the listed one, but for a letter's case", NotListed, "SESSION-0815"),
        ("a beginning of the listed one", NotListed, "session-081"),
        // Its claims are not read: neither what is declared nor what is revoked has to do with them.
        ("a JWT that is no good as one", NotListed, &*jwt),
        // An escape, or not: applications differ.
        ("with a backslash", Rejected, "session\\-4711"),
        ("empty", Rejected, ""),
    ];
    let both = format!("Bearer {listed}");
    let rows = rows.into_iter().flat_map(|(name, meaning, token)| {
        let cookie = in_cookie(&format!("{name}, in the cookie"), meaning, token);
        [Presented::bearer(name, meaning, token), cookie]
    });
    let spelled = |name, token| in_cookie(name, Revoked, token);
    let other = [
        // Who holds a listed one chooses the spelling: applications take these for the same.
        spelled("the listed one, in quotes", &format!("\"{listed}\"")),
        spelled(
            "the listed one, with a letter in hexadecimal",
            &format!("%{:02x}{}", listed.as_bytes()[0], &listed[1..]),
        ),
        Presented::lines("nothing", Absent, &[]),
        Presented::lines(
            "in both places",
            Ambiguous,
            &[("authorization", &both), ("cookie", "access_token=session-4711")],
        ),
        Presented::lines(
            "two in one line",
            Ambiguous,
            &[("authorization", "Bearer session-1, Bearer session-2")],
        ),
    ];
    rows.chain(other).collect()
}

#[tokio::test]
async fn of_an_opaque_token_every_proxy_hears_whether_it_is_listed() {
    let lab = sources(opaque(), opaque()).started().await;
    revoke(&lab, "session-0815").await;
    let table = table(&lab, "session-0815");
    let mut fronts = Fronts::start(lab).await;
    check(&fronts, Knowledge::Fresh, &table).await;
    // Nobody vouches any more that one is not listed; that another is, is known.
    freeze(&mut fronts.lab);
    until(&fronts, &table[0], 503).await;
    check(&fronts, Knowledge::Stale, &table).await;
}

/// As of a browser's session and an API's clients: what is a token in one place is none in the other.
#[tokio::test]
async fn each_place_has_its_own_kind_of_token() {
    let lab = sources(json!({}), opaque()).started().await;
    revoke(&lab, "session-0815").await;
    let listed = lab.revoke(Target::Token("the-one".to_owned())).await;
    lab.until_enforced(&listed.version).await;
    let one = lab.keys.token(&json!({"jti": "the-one"}));
    let good = lab.keys.token(&json!({}));
    let table = [
        Presented::bearer("a JWT in the header", Meaning::Active, &good),
        Presented::bearer("a listed JWT in the header", Meaning::Revoked, &one),
        Presented::bearer("an opaque token in the header", Meaning::Rejected, "session-4711"),
        in_cookie("an opaque token in the cookie", Meaning::NotListed, "session-4711"),
        in_cookie("a listed opaque token in the cookie", Meaning::Revoked, "session-0815"),
        in_cookie("a JWT in the cookie, listed as a JWT", Meaning::NotListed, &one),
        Presented::lines(
            "one in each place",
            Meaning::Ambiguous,
            &[("authorization", &format!("Bearer {good}")), ("cookie", "access_token=session-4711")],
        ),
    ];
    let fronts = Fronts::start(lab).await;
    check(&fronts, Knowledge::Fresh, &table).await;
}
