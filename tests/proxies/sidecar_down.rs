//! When nobody answers the proxies' question.

use rustix::process::Signal;

use crate::expected::Route;
use crate::fronts::{Fronts, Proxy, is_of_application};
use crate::presented;
use crate::support::PATIENCE;
use crate::support::http1::Reply;
use crate::support::lab::Lab;
use crate::support::wait::wait_for;

/// Every route but the one that asks nobody is 503: also where a token is optional, and in report mode.
pub(crate) async fn check_closed(fronts: &Fronts) {
    let table = presented::all(&fronts.lab.keys);
    let table = table.iter().filter(|presented| ["active", "nothing", "garbage"].contains(&&*presented.name));
    let table: Vec<_> = table.collect();
    assert_eq!(table.len(), 3);
    for proxy in fronts.proxies() {
        for route in Route::of(proxy) {
            for presented in &table {
                let reply = fronts.ask(proxy, &presented.ask(route.path())).await;
                let what = format!("{proxy:?} {route:?} {}: {reply:?}", presented.name);
                let seen = seen(&reply);
                if *route == Route::Unasked {
                    assert_eq!((reply.status, is_of_application(&reply)), (200, true), "{what}");
                } else {
                    assert_eq!(seen, CLOSED, "{what}");
                }
            }
        }
    }
}

fn seen(reply: &Reply) -> (u16, bool, [&str; 1], [&str; 1]) {
    let only = |name: &str| <[&str; 1]>::try_from(reply.all(name)).unwrap_or(["not one line"]);
    (reply.status, is_of_application(reply), only("retry-after"), only("cache-control"))
}

/// A refusal without a verdict: 503, and when to come again.
const CLOSED: (u16, bool, [&str; 1], [&str; 1]) = (503, false, ["1"], ["no-store"]);

#[tokio::test]
async fn without_a_sidecar_every_route_is_closed_and_opens_when_it_is_back() {
    let mut fronts = Fronts::start(Lab::start().await).await;
    fronts.lab.sidecar().child.kill().await.unwrap();
    check_closed(&fronts).await;
    fronts.lab.start_sidecar(&[]).await;
    let good = presented::all(&fronts.lab.keys).remove(0);
    for proxy in Proxy::ALL {
        wait_for(&format!("{proxy:?} is open again"), PATIENCE, async || {
            let reply = fronts.ask(proxy, &good.ask("/")).await;
            if reply.status == 200 { Ok(()) } else { Err(format!("{reply:?}")) }
        })
        .await;
    }
}

/// It hangs: the question is not waited for, but answered with 503.
#[tokio::test]
async fn a_sidecar_that_hangs_is_not_waited_for() {
    let mut fronts = Fronts::start(Lab::start().await).await;
    let good = presented::all(&fronts.lab.keys).remove(0);
    fronts.lab.sidecar().child.signal(Signal::STOP).unwrap();
    // A signal needs a moment: another thread of the sidecar may answer until then.
    wait_for("the sidecar has stopped", PATIENCE, async || {
        let reply = fronts.ask(Proxy::Envoy, &good.ask("/")).await;
        if is_of_application(&reply) { Err(format!("{reply:?}")) } else { Ok(()) }
    })
    .await;
    for proxy in Proxy::ALL {
        for route in [Route::Required, Route::Optional, Route::Report] {
            let reply = fronts.ask(proxy, &good.ask(route.path())).await;
            assert_eq!(seen(&reply), CLOSED, "{proxy:?} {route:?} {reply:?}");
        }
    }
    fronts.lab.sidecar().child.signal(Signal::CONT).unwrap();
}
