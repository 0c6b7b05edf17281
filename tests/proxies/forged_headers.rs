//! Other ways to smuggle a verdict past the sidecar than its very names.

use serde_json::json;

use crate::fronts::{Fronts, Proxy, got, is_of_application};
use crate::support::http1::Ask;
use crate::support::lab::Lab;

/// Applications that read headers as variables can't tell `_` from `-`; and a client may name headers in `Connection`
/// for a proxy to take off.
#[tokio::test]
async fn the_application_hears_of_a_verdict_only_from_the_sidecar() {
    let fronts = Fronts::start(Lab::start().await).await;
    let token = fronts.lab.keys.token(&json!({}));
    let bearer = format!("Bearer {token}");
    let tricks: [(&str, &str); 6] = [
        ("x_rescind_verdict", "forged"),
        ("x-rescind_verdict", "forged"),
        ("connection", "x-rescind-verdict"),
        ("connection", "close, X-Rescind-Verdict, x-rescind-age-ms"),
        ("connection", "authorization"),
        ("connection", "cookie"),
    ];
    for proxy in Proxy::ALL {
        for path in ["/", "/optional/", "/report/"] {
            for (name, value) in tricks {
                let ask = Ask::get(path).bearer(&token).line(name, value);
                let reply = fronts.ask(proxy, &ask).await;
                let what = format!("{proxy:?} {path} {name}: {value}: {reply:?}");
                let (verdict, seen) = (got(&reply, "x-rescind-verdict"), got(&reply, "authorization"));
                if !is_of_application(&reply) {
                    // Envoy refuses what it would have to guess about, or takes the token off before it asks.
                    assert!([400, 401].contains(&reply.status) && path != "/report/", "{what}");
                } else if seen.is_empty() {
                    assert!(verdict == ["none"] && path != "/", "{what}");
                } else {
                    assert_eq!((verdict, seen), (vec!["active".to_owned()], vec![bearer.clone()]), "{what}");
                }
                assert!(!reply.body.contains("forged"), "{what}");
            }
        }
    }
}

/// On a route that nobody is asked about, there is no verdict, and no client makes one up.
#[tokio::test]
async fn where_nobody_is_asked_there_is_no_verdict() {
    let fronts = Fronts::start(Lab::new()).await;
    for proxy in Proxy::ALL {
        let ask = Ask::get("/healthz").line("x-rescind-verdict", "active");
        let reply = fronts.ask(proxy, &ask.line("x_rescind_verdict", "active")).await;
        assert_eq!(reply.status, 200, "{proxy:?}");
        assert!(!reply.body.contains("active"), "{proxy:?} {reply:?}");
    }
}
