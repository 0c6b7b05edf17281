//! The endpoints by which a cluster watches a process: probes and metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::host_guard::{self, HostGuard, Literals};
use super::metrics::{Exposition, Format};
use super::readiness::Readiness;

/// Makes the router of the probes and the metrics:
///
/// | path | answer |
/// |---|---|
/// | `/livez` | 200, as long as the process answers at all |
/// | `/readyz` | 200 or 503, with every condition |
/// | `/startupz` | 200 once the process was ready for the first time, else 503 with every condition |
/// | `/metrics` | OpenMetrics text if the scraper accepts it, else Prometheus' own |
///
/// Probes of a kubelet name the address of the pod as their host, so every literal address is acceptable;
/// of the names only `localhost` and the allowed ones are. Requests of web pages are refused.
pub fn router(readiness: Readiness, exposition: Exposition, allowed_hosts: Vec<String>) -> Router {
    let guard = Arc::new(HostGuard::new(Literals::Any, allowed_hosts));
    let probes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .with_state(readiness);
    let metrics = Router::new().route("/metrics", get(show_metrics)).with_state(exposition);
    // The layer comes last, so that it covers unknown paths too.
    probes.merge(metrics).layer(from_fn_with_state(guard, host_guard::enforce))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report();
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, report.to_string()).into_response()
}

async fn startupz(State(readiness): State<Readiness>) -> Response {
    if readiness.has_started() {
        return "started\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, readiness.report().to_string()).into_response()
}

async fn show_metrics(State(exposition): State<Exposition>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let format = Format::accepted(accept);
    match exposition.encode(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "can't encode the metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "can't encode the metrics\n").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::super::readiness::tests::Condition;
    use super::*;

    async fn get_from(router: &Router, host: &str, path: &str) -> Response {
        let request = http::Request::builder().uri(path).header("host", host).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    async fn check(router: &Router, path: &str, status: u16, text: &str) {
        let response = get_from(router, "10.1.2.3:8081", path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(str::from_utf8(&body).unwrap(), text, "{path}");
    }

    #[tokio::test]
    async fn probes_follow_readiness() {
        let readiness = Readiness::new();
        let data = Condition::of(&readiness, "data", "nothing was received yet");
        let router = router(readiness, Exposition::default(), Vec::new());
        let not_ready = "[-] data: nothing was received yet\n";
        check(&router, "/livez", 200, "ok\n").await;
        check(&router, "/readyz", 503, not_ready).await;
        check(&router, "/startupz", 503, not_ready).await;
        data.met();
        check(&router, "/readyz", 200, "[+] data\n").await;
        data.not_met("too old");
        check(&router, "/readyz", 503, "[-] data: too old\n").await;
        check(&router, "/startupz", 200, "started\n").await;
        check(&router, "/livez", 200, "ok\n").await;
    }

    #[tokio::test]
    async fn metrics_have_their_content_type_and_unknown_paths_are_not_found() {
        let router = router(Readiness::new(), Exposition::default(), Vec::new());
        check(&router, "/metrics", 200, "").await;
        check(&router, "/", 404, "").await;
        let response = get_from(&router, "localhost", "/metrics").await;
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), Format::Prometheus.content_type());
    }

    #[tokio::test]
    async fn every_path_is_guarded_against_names_that_are_not_allowed() {
        let router = router(Readiness::new(), Exposition::default(), vec!["metrics.example".to_owned()]);
        for path in ["/livez", "/readyz", "/startupz", "/metrics", "/unknown"] {
            assert_eq!(
                get_from(&router, "evil.example", path).await.status(),
                StatusCode::FORBIDDEN,
                "{path}"
            );
            assert_ne!(get_from(&router, "metrics.example", path).await.status(), StatusCode::FORBIDDEN);
        }
    }
}
