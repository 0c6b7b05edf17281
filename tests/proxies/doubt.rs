//! When the sidecar can't vouch.

use rescind::token::list_config::Enforcement;
use rustix::process::Signal;
use serde_json::json;

use crate::decision_table::check;
use crate::expected::{Knowledge, Route, expect, judge};
use crate::fronts::{Fronts, Proxy, got};
use crate::presented::{self, Presented};
use crate::revocations;
use crate::support::PATIENCE;
use crate::support::held::{until_in_flight, while_held};
use crate::support::http1::Reply;
use crate::support::lab::{BOUND, Lab};
use crate::support::metrics::metric_where;
use crate::support::wait::wait_for;

/// Waits until every proxy answers a good token with this status.
pub(crate) async fn until(fronts: &Fronts, good: &Presented, status: u16) {
    until_answer(fronts, good, &format!("answers {status}"), |reply| reply.status == status).await;
}

/// Waits until every proxy answers a good token so.
pub(crate) async fn until_answer(
    fronts: &Fronts,
    good: &Presented,
    what: &str,
    is_so: impl Fn(&Reply) -> bool,
) {
    for proxy in fronts.proxies() {
        wait_for(&format!("{proxy:?} {what}"), PATIENCE, async || {
            let reply = fronts.ask(proxy, &good.ask("/")).await;
            if is_so(&reply) { Ok(()) } else { Err(format!("{reply:?}")) }
        })
        .await;
    }
}

/// Returns the rows of the whole table, with what is revoked.
pub(crate) async fn whole_table(lab: &Lab) -> Vec<Presented> {
    let table = presented::all(&lab.keys).into_iter().chain(revocations::make(lab).await);
    // The other key is revoked with all the rest.
    table.filter(|presented| !presented.name.contains("other key")).collect()
}

/// Stops the controller: it keeps its connections, and answers nothing.
pub(crate) fn freeze(lab: &mut Lab) {
    lab.controller().child.signal(Signal::STOP).unwrap();
}

/// Failure 17: a controller that hangs, rather than fails. What was revoked stays refused as revoked, for a hit
/// denies in every state; and all is well again when it goes on.
#[tokio::test]
async fn a_frozen_controller_makes_every_proxy_answer_503() {
    let mut lab = Lab::start().await;
    let mut table = whole_table(&lab).await;
    freeze(&mut lab);
    let fronts = Fronts::start(lab).await;
    until(&fronts, &table[0], 503).await;
    // Half of it shows that every kind of answer is right; the fresh table is run in full elsewhere.
    let mut index = 0;
    table.retain(|presented| {
        index += 1;
        index % 2 == 1 || presented.meaning != presented::Meaning::Rejected
    });
    check(&fronts, Knowledge::Stale, &table).await;
    fronts.lab.controller.as_ref().unwrap().child.signal(Signal::CONT).unwrap();
    until(&fronts, &table[0], 200).await;
}

/// Beyond the bound, a list with `BestEffort` decides all the same: the age says so to the application, and a metric
/// to the operator.
#[tokio::test]
async fn a_stale_best_effort_list_decides_through_every_proxy_and_says_how_old_it_is() {
    let lab = Lab::declaring(|spec| spec["freshness"]["policy"] = "BestEffort".into());
    let mut lab = lab.started().await;
    let table = whole_table(&lab).await;
    freeze(&mut lab);
    let mut fronts = Fronts::start(lab).await;
    until_answer(&fronts, &table[0], "is beyond the bound", |reply| {
        let age = got(reply, "x-rescind-age-ms").concat().parse();
        age.is_ok_and(|age: u128| age > BOUND.as_millis())
    })
    .await;
    let health = fronts.lab.sidecar().address("health").to_owned();
    let marked = async |transport| {
        let labels =
            [("transport", transport), ("decision", "allow"), ("reason", ""), ("best_effort", "true")];
        metric_where(&health, "rescind_checks_total", &labels).await
    };
    let before = [marked("ext_authz").await, marked("forward_auth").await];
    check(&fronts, Knowledge::BestEffort, &table).await;
    assert!(marked("ext_authz").await > before[0], "the metric of ext_authz");
    assert!(marked("forward_auth").await > before[1], "the metric of forward auth");
}

/// Beyond the maximum, no policy lets anything pass; and a hit denies as ever.
#[tokio::test]
async fn an_expired_best_effort_list_makes_every_proxy_answer_503() {
    let lab = Lab::declaring(|spec| {
        spec["freshness"] = json!({"boundSeconds": 2, "maximumSeconds": 4, "policy": "BestEffort"});
    });
    let mut lab = lab.started().await;
    let table = whole_table(&lab).await;
    freeze(&mut lab);
    let mut fronts = Fronts::start(lab).await;
    until(&fronts, &table[0], 503).await;
    check(&fronts, Knowledge::Stale, &table).await;
    let health = fronts.lab.sidecar().address("health").to_owned();
    let labels = [("decision", "deny"), ("reason", "EXPIRED_LIST")];
    assert!(metric_where(&health, "rescind_checks_total", &labels).await > 0.0);
}

/// Failure 18: a start with nothing, and nobody who tells more.
#[tokio::test]
async fn a_sidecar_that_was_never_fresh_makes_every_proxy_answer_503() {
    let mut lab = Lab::new();
    lab.start_sidecar(&[]).await;
    let fronts = Fronts::start(lab).await;
    let table = presented::all(&fronts.lab.keys);
    check(&fronts, Knowledge::None, &table).await;
}

/// The few rows that stand for all where nothing is looked at.
pub(crate) async fn samples(lab: &Lab) -> Vec<Presented> {
    let all = presented::all(&lab.keys).into_iter();
    let few = all.filter(|presented| ["active", "nothing", "garbage"].contains(&&*presented.name));
    let table: Vec<_> = few.chain(revocations::make(lab).await.into_iter().take(1)).collect();
    assert_eq!(table.len(), 4);
    table
}

/// A lab whose sidecar is fresh, and takes on one check at a time.
pub(crate) async fn with_room_for_one() -> Lab {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    lab.start_sidecar(&["--max-concurrent-checks=1"]).await;
    lab.until_fresh().await;
    lab
}

/// The sidecar could vouch, and is asked more than it takes on: as in any doubt, and good again when there is room.
#[tokio::test]
async fn a_sidecar_that_is_overloaded_makes_every_proxy_answer_503() {
    let fronts = Fronts::start(with_room_for_one().await).await;
    let table = samples(&fronts.lab).await;
    let mut wrong = Vec::new();
    for (proxy, route) in Proxy::ALL.iter().flat_map(|proxy| Route::ALL.map(|route| (*proxy, route))) {
        let ask_all = async || {
            let mut replies = Vec::new();
            for presented in &table {
                replies.push(fronts.ask(proxy, &presented.ask(route.path())).await);
            }
            replies
        };
        let (replies, _) = while_held(&fronts.lab, 1, ask_all).await;
        for (presented, reply) in table.iter().zip(replies) {
            let expected = expect(Knowledge::Overloaded, Enforcement::Enforce, route, presented, proxy);
            let found = judge(expected, Knowledge::Overloaded, presented, proxy, &reply);
            wrong.extend(found.iter().map(|what| format!("{proxy:?} {route:?} {}: {what}", presented.name)));
        }
    }
    assert!(wrong.is_empty(), "{} deviations:\n{}", wrong.len(), wrong.join("\n"));
    until_in_flight(&fronts.lab, 0).await;
    check(&fronts, Knowledge::Fresh, &table).await;
}
