use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::subscriber::with_default;

use super::super::listen::{Address, bind};
use super::otlp::{METRICS, Settings, TRACES, Trust};
use super::*;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

fn environment_of<const N: usize>(
    variables: [(&'static str, &'static str); N],
) -> impl Fn(&'static str) -> Option<String> {
    let variables = HashMap::from(variables);
    move |name| variables.get(name).map(|value| (*value).to_owned())
}

fn settings_of<const N: usize>(variables: [(&'static str, &'static str); N]) -> Option<Settings> {
    otlp::settings(&TRACES, &environment_of(variables)).unwrap()
}

fn to(endpoint: &str, trust: Option<Trust>) -> Option<Settings> {
    Some(Settings { endpoint: endpoint.to_owned(), trust })
}

#[test]
fn the_filter_is_info_unless_set_and_a_bad_one_is_an_error() {
    let filter_of = |given| filter(&environment_of([(FILTER, given)]), true).map(|filter| filter.to_string());
    assert_eq!(filter(&environment_of([]), true).unwrap().to_string(), "info");
    assert_eq!(filter_of("warn,hyper=debug").unwrap(), "hyper=debug,warn");
    let message = filter_of("hyper=loud").unwrap_err().to_string();
    assert!(message.starts_with(r#"RUST_LOG="hyper=loud" is not a filter of logs: "#), "{message}");
}

#[test]
fn spans_for_traces_alone_are_off_while_nothing_is_exported() {
    let is_on = |exports| {
        let filter = filter(&environment_of([(FILTER, "debug")]), exports).unwrap();
        let subscriber = tracing_subscriber::registry().with(filter);
        with_default(subscriber, || {
            let [here, for_traces] =
                [tracing::info_span!("span"), tracing::info_span!(target: TRACES_ONLY, "span")];
            assert!(!here.is_disabled());
            !for_traces.is_disabled()
        })
    };
    assert_eq!([false, true].map(is_on), [false, true]);
}

#[test]
fn traces_are_exported_only_if_an_endpoint_is_set_and_nothing_turns_them_off() {
    assert_eq!(settings_of([]), None);
    assert_eq!(settings_of([ENDPOINT]), to("http://collector:4317", None));
    assert_eq!(settings_of([ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), None);
    assert_eq!(settings_of([ENDPOINT, ("OTEL_SDK_DISABLED", "yes")]), to("http://collector:4317", None));
    assert_eq!(settings_of([ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), None);
}

#[test]
fn the_endpoint_of_traces_goes_before_the_common_one_and_its_scheme_decides_on_tls() {
    let own = |value| ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value);
    let authorities = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.crt");
    assert_eq!(settings_of([ENDPOINT, own("https://a:1")]), to("https://a:1", Some(Trust::System)));
    let trusted = Some(Trust::AuthoritiesIn("/ca.crt".into()));
    assert_eq!(settings_of([own("https://a:1"), authorities]), to("https://a:1", trusted));
    assert_eq!(settings_of([own("a:1")]), to("a:1", Some(Trust::System)));
    assert_eq!(settings_of([own("a:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")]), to("a:1", None));
}

#[test]
fn what_is_not_implemented_is_an_error_and_not_ignored() {
    let message = |variable, given| {
        otlp::settings(&TRACES, &environment_of([ENDPOINT, (variable, given)])).unwrap_err().to_string()
    };
    assert_eq!(
        message("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        r#"OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf" is not supported; use grpc"#
    );
    assert_eq!(
        message("OTEL_TRACES_EXPORTER", "zipkin"),
        r#"OTEL_TRACES_EXPORTER="zipkin" is not supported; use otlp or none"#
    );
}

#[test]
fn each_signal_has_variables_of_its_own() {
    let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics:1");
    let of = |signal| otlp::settings(signal, &environment_of([ENDPOINT, own])).unwrap();
    assert_eq!(of(&METRICS), to("http://metrics:1", None));
    assert_eq!(of(&TRACES), to("http://collector:4317", None));
    let off = [ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")];
    assert_eq!(otlp::settings(&METRICS, &environment_of(off)).unwrap(), None);
    assert!(otlp::settings(&TRACES, &environment_of(off)).unwrap().is_some());
}

#[test]
fn traces_without_a_runtime_are_an_error() {
    let error = traces::provider("example", &settings_of([ENDPOINT]).unwrap()).unwrap_err();
    assert!(matches!(error, TelemetryError::NoRuntime), "{error}");
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: Format) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let layer = output_layer(format, move || writer.clone(), false);
    with_default(tracing_subscriber::registry().with(layer), || {
        let _span = tracing::info_span!("request", number = 7).entered();
        tracing::warn!(port = 80, "hello");
    });
    String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn json_has_the_fields_of_the_event_at_its_top_and_the_span_below() {
    let line: serde_json::Value = serde_json::from_str(&logged(Format::Json)).unwrap();
    let fields = ["level", "message", "port", "span"].map(|field| line[field].clone());
    let span = serde_json::json!({"name": "request", "number": 7});
    assert_eq!(fields, ["WARN".into(), "hello".into(), 80.into(), span]);
}

#[test]
fn text_has_no_colours_where_none_are_wanted() {
    let line = logged(Format::Text);
    assert!(line.contains("WARN request{number=7}") && line.ends_with("hello port=80\n"), "{line}");
}

/// A collector that hands on what it is sent, undecoded. Its answers are errors, which changes nothing here.
fn collector() -> (Address, mpsc::UnboundedReceiver<Bytes>, JoinSet<()>) {
    let (received, messages) = mpsc::unbounded_channel();
    let router = axum::Router::new().fallback(async move |body: Bytes| {
        received.send(body).unwrap();
    });
    let listener = bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
    let address = listener.address().clone();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let routes = tonic::service::Routes::from(router);
        tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(listener).await.unwrap();
    });
    (address, messages, server)
}

#[tokio::test]
async fn a_shutdown_exports_the_last_spans_but_not_those_of_the_export_itself() {
    let (address, mut messages, _server) = collector();
    let settings = Settings { endpoint: format!("http://{address}"), trust: None };
    let provider = traces::provider("example-service", &settings).unwrap();
    with_default(tracing_subscriber::registry().with(traces::layer("example", &provider)), || {
        drop(tracing::info_span!("span-of-ours").entered());
        drop(tracing::info_span!(target: "h2::client", "span-of-theirs").entered());
    });
    let guard = Guard { traces: Some(provider) };
    guard.shutdown(Duration::from_secs(5)).await;
    let message = messages.try_recv().unwrap();
    let holds = |text: &str| message.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("example-service") && holds("span-of-ours") && !holds("span-of-theirs"));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_longer_than_its_deadline() {
    // It accepts no connection, so the export hangs.
    let listener = bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
    let settings = Settings { endpoint: format!("http://{}", listener.address()), trust: None };
    let provider = traces::provider("example", &settings).unwrap();
    with_default(tracing_subscriber::registry().with(traces::layer("example", &provider)), || {
        drop(tracing::info_span!("span").entered());
    });
    let start = tokio::time::Instant::now();
    Guard { traces: Some(provider) }.shutdown(Duration::from_millis(50)).await;
    assert!(start.elapsed() < Duration::from_secs(3));
}
