//! A gRPC workload behind a proxy: no refusal may reach its client as INTERNAL or UNKNOWN.

use serde_json::json;

use crate::fronts::{Fronts, Proxy};
use crate::support::http1::{Ask, Reply};
use crate::support::lab::Lab;

/// What a gRPC client makes of an answer: its grpc-status, or the one of the HTTP status.
fn code(reply: &Reply) -> String {
    let said = reply.all("grpc-status").first().map(ToString::to_string);
    said.unwrap_or_else(|| match reply.status {
        401 => "16".to_owned(),
        503 => "14".to_owned(),
        other => format!("HTTP {other}"),
    })
}

#[tokio::test]
async fn refusals_are_unauthenticated_or_unavailable_to_a_grpc_client() {
    let fronts = Fronts::start(Lab::start().await).await;
    let token = fronts.lab.keys.token(&json!({}));
    let call = |path: &str| {
        let ask = Ask::get(path).line("content-type", "application/grpc").line("te", "trailers");
        Ask { method: http::Method::POST, ..ask }
    };
    for proxy in Proxy::ALL {
        let check = async |name: &str, ask: Ask, expected: &str| {
            let reply = fronts.ask(proxy, &ask).await;
            assert_eq!(code(&reply), expected, "{proxy:?} {name}: {reply:?}");
        };
        check("no token", call("/a.B/C"), "16").await;
        let both = call("/a.B/C").bearer(&token).line("cookie", format!("access_token={token}"));
        check("ambiguous", both, "16").await;
        check("malformed", call("/a.B/C").bearer("garbage"), "16").await;
        check("bad policy", call("/bad/C").bearer(&token), "14").await;
        let reply = fronts.ask(proxy, &call("/a.B/C").bearer(&token)).await;
        assert_eq!(reply.status, 200, "{proxy:?} {reply:?}");
    }
}
