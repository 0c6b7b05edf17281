//! Every row of the table, on every route, through every proxy, with and without forged headers.

use rescind::token::list_config::Enforcement;

use crate::expected::{Expected, Knowledge, Route, expect, judge};
use crate::fronts::{Fronts, Proxy, is_of_application};
use crate::presented::{self, Presented};
use crate::revocations;
use crate::support::http1::Ask;
use crate::support::lab::Lab;

/// What a client may try: none of it reaches the application, whatever is decided.
const FORGED: [(&str, &str); 14] = [
    ("x-rescind-verdict", "forged"),
    ("x-rescind-verdict", "forged too"),
    ("x-rescind-age-ms", "forged"),
    ("x-rescind-version", "forged"),
    ("x-rescind-status", "200"),
    // Nor does what it says of another request decide: here that it is a preflight on a route that asks nobody.
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "localhost"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-method", "OPTIONS"),
    ("x-forwarded-uri", "/healthz?token=optional&mode=report"),
    ("x-original-uri", "/healthz?token=optional&mode=report"),
    ("x-original-method", "OPTIONS"),
    ("origin", "https://app.example.com"),
    ("access-control-request-method", "DELETE"),
];

fn forged(ask: Ask) -> Ask {
    FORGED.iter().fold(ask, |ask, (name, value)| ask.line(name, value))
}

/// Asks everything, and fails with everything that is wrong. The list is enforced.
pub(crate) async fn check(fronts: &Fronts, knowledge: Knowledge, table: &[Presented]) {
    check_as(fronts, knowledge, Enforcement::Enforce, table).await;
}

/// The same, of a list that says whether it is enforced.
pub(crate) async fn check_as(
    fronts: &Fronts,
    knowledge: Knowledge,
    enforcement: Enforcement,
    table: &[Presented],
) {
    let mut wrong = Vec::new();
    let (mut answered, before) = (0, fronts.upstream.paths().len());
    for proxy in fronts.proxies() {
        for route in Route::of(proxy) {
            for presented in table {
                let expected = expect(knowledge, enforcement, *route, presented, proxy);
                let ask = presented.ask(route.path());
                for (kind, ask) in [("", ask.clone()), (" (forged headers)", forged(ask))] {
                    let reply = fronts.ask(proxy, &ask).await;
                    answered += usize::from(is_of_application(&reply));
                    let found = judge(expected, knowledge, presented, proxy, &reply);
                    let name = &presented.name;
                    wrong
                        .extend(found.iter().map(|what| format!("{proxy:?} {route:?} {name}{kind}: {what}")));
                }
            }
        }
    }
    // A refused request does not reach the application and lose its answer on the way back.
    assert_eq!(fronts.upstream.paths().len() - before, answered, "requests that reached the application");
    assert!(wrong.is_empty(), "{} deviations, {knowledge:?}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Failures 4, 5, 9 and 13.
#[tokio::test]
async fn every_proxy_follows_the_decision_table() {
    let fronts = Fronts::start(Lab::start().await).await;
    let mut table = presented::all(&fronts.lab.keys);
    check(&fronts, Knowledge::Fresh, &table).await;
    // The other key is good until it is revoked, with all the rest.
    table.retain(|presented| !presented.name.contains("by the other key"));
    let revoked = revocations::make(&fronts.lab).await;
    table.truncate(1);
    table.extend(revoked);
    check(&fronts, Knowledge::Fresh, &table).await;
}

/// Whoever is refused is refused alike: the answer does not tell revoked from otherwise invalid.
#[test]
fn the_table_expects_the_same_of_revoked_and_of_invalid() {
    let of = |meaning| {
        let presented = Presented::bearer("", meaning, "");
        Route::ALL
            .map(|route| expect(Knowledge::Fresh, Enforcement::Enforce, route, &presented, Proxy::Envoy))
    };
    let (revoked, rejected) = (of(presented::Meaning::Revoked), of(presented::Meaning::Rejected));
    let differ = revoked.iter().zip(&rejected).filter(|(one, other)| one != other);
    let differ: Vec<_> = differ.map(|(one, _)| matches!(one, Expected::Passes { .. })).collect();
    assert_eq!(differ, [true], "only what a report says to the application");
}
