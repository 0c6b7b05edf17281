//! When the sidecar can't vouch.

use rustix::process::Signal;

use crate::decision_table::check;
use crate::expected::{Knowledge, Route, expect, judge};
use crate::fronts::{Fronts, Proxy};
use crate::presented::{self, Presented};
use crate::revocations;
use crate::support::PATIENCE;
use crate::support::held::{until_in_flight, while_held};
use crate::support::lab::Lab;
use crate::support::wait::wait_for;

/// Waits until every proxy answers a good token with this status.
async fn until(fronts: &Fronts, good: &Presented, status: u16) {
    for proxy in Proxy::ALL {
        wait_for(&format!("{proxy:?} answers {status}"), PATIENCE, async || {
            let reply = fronts.ask(proxy, &good.ask("/")).await;
            if reply.status == status { Ok(()) } else { Err(format!("{reply:?}")) }
        })
        .await;
    }
}

/// Failure 17: a controller that hangs, rather than fails. What was revoked stays refused as revoked, for a hit
/// denies in every state; and all is well again when it goes on.
#[tokio::test]
async fn a_frozen_controller_makes_every_proxy_answer_503() {
    let mut lab = Lab::start().await;
    let table = presented::all(&lab.keys).into_iter().chain(revocations::make(&lab).await);
    let mut table: Vec<Presented> = table.filter(|presented| !presented.name.contains("other key")).collect();
    let fronts = Fronts::start({
        lab.controller().child.signal(Signal::STOP).unwrap();
        lab
    })
    .await;
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

/// Failure 18: a start with nothing, and nobody who tells more.
#[tokio::test]
async fn a_sidecar_that_was_never_fresh_makes_every_proxy_answer_503() {
    let mut lab = Lab::new();
    lab.start_sidecar(&[]).await;
    let fronts = Fronts::start(lab).await;
    let table = presented::all(&fronts.lab.keys);
    check(&fronts, Knowledge::None, &table).await;
}

/// The sidecar could vouch, and is asked more than it takes on: as in any doubt, and good again when there is room.
#[tokio::test]
async fn a_sidecar_that_is_overloaded_makes_every_proxy_answer_503() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    lab.start_sidecar(&["--max-concurrent-checks=1"]).await;
    lab.until_fresh().await;
    let fronts = Fronts::start(lab).await;
    let all = presented::all(&fronts.lab.keys).into_iter();
    let mut table: Vec<_> =
        all.filter(|presented| ["active", "nothing", "garbage"].contains(&&*presented.name)).collect();
    table.extend(revocations::make(&fronts.lab).await.into_iter().take(1));
    assert_eq!(table.len(), 4);
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
            let expected = expect(Knowledge::Overloaded, route, presented, proxy);
            let found = judge(expected, presented, proxy, &reply);
            wrong.extend(found.iter().map(|what| format!("{proxy:?} {route:?} {}: {what}", presented.name)));
        }
    }
    assert!(wrong.is_empty(), "{} deviations:\n{}", wrong.len(), wrong.join("\n"));
    until_in_flight(&fronts.lab, 0).await;
    check(&fronts, Knowledge::Fresh, &table).await;
}
