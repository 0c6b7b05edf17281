//! A path that the proxy and the application read differently must not open a private page.

use crate::fronts::{Fronts, Proxy, is_of_application};
use crate::support::http1::Ask;
use crate::support::lab::Lab;

/// Other spellings of a private path, or of one that only seems to be optional.
const TRICKS: [&str; 18] = [
    "/optional/../private",
    "/optional/./../private",
    "/optional/%2e%2e/private",
    "/optional/.%2E/private",
    "/optional/..%2Fprivate",
    "/optional/..%2fprivate",
    "/optional/..%5cprivate",
    "/optional/..\\private",
    "/optional/..;/private",
    "/optional//../../private",
    "/private/../optional/../private",
    "//optional/../private",
    "/healthz/../private",
    "/healthz/..%2fprivate",
    "/healthz%2f..%2fprivate",
    "/lenient/../../private",
    "/report/%2e%2e%2fprivate",
    "/optional/%252e%252e/private",
];

/// Without a token, only a page below an open path is reached, by whatever reading of the path that the application
/// gets.
#[tokio::test]
async fn no_spelling_of_a_path_opens_a_private_page() {
    check_tricks(&Fronts::start(Lab::start().await).await).await;
}

/// Tries every trick on every proxy.
pub(crate) async fn check_tricks(fronts: &Fronts) {
    for proxy in fronts.proxies() {
        for path in TRICKS {
            let reply = fronts.ask(proxy, &Ask::get(path)).await;
            let what = format!("{proxy:?} {path}: {reply:?}");
            if is_of_application(&reply) {
                let reached = reply.json()["path"].as_str().unwrap_or_default().to_owned();
                // Decoded once, as applications do, and as if `\` were a slash.
                let reached = reached.replace("%2e", ".").replace("%2E", ".").replace(['\\'], "/");
                assert!(!reached.contains(".."), "{what}");
                let open =
                    ["/optional/", "/lenient/", "/report/"].iter().any(|open| reached.starts_with(open));
                assert!(open || reached == "/healthz", "{what}");
            } else {
                assert!([400, 401, 307, 308].contains(&reply.status), "{what}");
            }
        }
    }
}

/// What `examples/README.md` tells of each proxy.
#[tokio::test]
async fn dots_and_slashes_are_read_as_the_readme_says() {
    let fronts = Fronts::start(Lab::start().await).await;
    let rows = [
        (Proxy::Envoy, "/private/../optional/x", Some("/optional/x")),
        (Proxy::Nginx, "/private/../optional/x", Some("/optional/x")),
        (Proxy::Caddy, "/private/../optional/x", None),
        (Proxy::Envoy, "//optional/x", Some("/optional/x")),
        (Proxy::Nginx, "//optional/x", Some("/optional/x")),
        (Proxy::Caddy, "//optional/x", None),
        (Proxy::Envoy, "/optional/a%2Fb", None),
        (Proxy::Nginx, "/optional/a%2Fb", Some("/optional/a/b")),
        (Proxy::Caddy, "/optional/a%2Fb", None),
        (Proxy::Envoy, "/optional/a%5Cb", None),
        (Proxy::Nginx, "/optional/a%5Cb", None),
        (Proxy::Caddy, "/optional/a%5Cb", None),
        (Proxy::Envoy, "/optional/a\\b", Some("/optional/a/b")),
        (Proxy::Nginx, "/optional/a\\b", None),
        (Proxy::Caddy, "/optional/a\\b", None),
    ];
    for (proxy, path, expected) in rows {
        let reply = fronts.ask(proxy, &Ask::get(path)).await;
        let reached =
            is_of_application(&reply).then(|| reply.json()["path"].as_str().unwrap_or_default().to_owned());
        assert_eq!(reached.as_deref(), expected, "{proxy:?} {path}: {reply:?}");
        assert!(reached.is_some() || reply.status == 400, "{proxy:?} {path}: {reply:?}");
    }
    // Other letters are another path: it needs a token.
    for proxy in Proxy::ALL {
        assert_eq!(fronts.ask(proxy, &Ask::get("/OPTIONAL/x")).await.status, 401, "{proxy:?}");
    }
}
