//! `preflight=allow`: a CORS preflight carries no credentials, and a browser takes a refusal for the last word.

use http::Method;
use serde_json::json;

use crate::fronts::{Fronts, Proxy, got, is_of_application};
use crate::support::http1::Ask;
use crate::support::lab::Lab;

type Lines<'a> = &'a [(&'a str, &'a str)];

fn ask(method: Method, path: &str, lines: Lines<'_>) -> Ask {
    lines.iter().fold(Ask { method, ..Ask::get(path) }, |ask, (name, value)| ask.line(name, value))
}

const ORIGIN: (&str, &str) = ("origin", "https://app.example.com");
const WANTS: (&str, &str) = ("access-control-request-method", "DELETE");

/// It reaches the application, which answers it; whatever token it carries does not.
#[tokio::test]
async fn a_preflight_passes_envoy_without_a_token_and_takes_none_along() {
    let fronts = Fronts::start_these(Lab::start().await, &[Proxy::Envoy]).await;
    let good = fronts.lab.keys.token(&json!({}));
    let (bearer, cookie) = (format!("Bearer {good}"), format!("theme=dark; access_token={good}"));
    let rows: [(&str, Lines<'_>); 4] = [
        ("nothing", &[]),
        ("a good token", &[("authorization", &bearer)]),
        ("a bad token", &[("authorization", "Bearer garbage")]),
        ("a good token twice", &[("authorization", &bearer), ("cookie", &cookie)]),
    ];
    for (name, carried) in rows {
        let lines = [&[ORIGIN, WANTS], carried, &[("x-rescind-verdict", "active")]].concat();
        let reply = fronts.ask(Proxy::Envoy, &ask(Method::OPTIONS, "/cors/page", &lines)).await;
        let what = format!("{name}: {reply:?}");
        assert_eq!((reply.status, is_of_application(&reply)), (200, true), "{what}");
        assert_eq!(reply.json()["method"], "OPTIONS", "{what}");
        assert_eq!(got(&reply, "x-rescind-verdict"), ["none"], "{what}");
        assert_eq!(got(&reply, "access-control-request-method"), ["DELETE"], "{what}");
        for name in ["authorization", "cookie"] {
            assert!(got(&reply, name).is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn what_is_no_preflight_or_not_on_such_a_route_needs_a_token() {
    let fronts = Fronts::start_these(Lab::start().await, &[Proxy::Envoy]).await;
    let override_method = ("x-http-method-override", "OPTIONS");
    let rows: [(&str, Method, &str, Lines<'_>); 8] = [
        ("without Origin", Method::OPTIONS, "/cors/page", &[WANTS]),
        ("without the method that it is about", Method::OPTIONS, "/cors/page", &[ORIGIN]),
        ("OPTIONS and nothing else", Method::OPTIONS, "/cors/page", &[]),
        ("another method", Method::GET, "/cors/page", &[ORIGIN, WANTS]),
        ("the method that it is about", Method::DELETE, "/cors/page", &[ORIGIN, WANTS]),
        ("a method that only a header says", Method::GET, "/cors/page", &[ORIGIN, WANTS, override_method]),
        ("another route", Method::OPTIONS, "/shop/cart", &[ORIGIN, WANTS]),
        ("a route beside it", Method::OPTIONS, "/cors/../private", &[ORIGIN, WANTS]),
    ];
    for (name, method, path, lines) in rows {
        let reply = fronts.ask(Proxy::Envoy, &ask(method, path, lines)).await;
        let challenge = reply.all("www-authenticate");
        assert_eq!((reply.status, challenge), (401, vec!["Bearer realm=\"rescind\""]), "{name}: {reply:?}");
        assert!(!is_of_application(&reply), "{name}: {reply:?}");
    }
}
