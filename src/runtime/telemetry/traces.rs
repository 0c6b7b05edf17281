//! The export of traces by OTLP over gRPC.

use std::path::PathBuf;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, global};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::TelemetryError;

/// What the export itself runs on: its traces would beget traces for ever.
const OWN_TARGETS: [&str; 5] = ["h2", "hyper", "opentelemetry", "tonic", "tower"];

/// Where traces go. The library reads the rest of the variables by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) endpoint: String,
    /// `None` if the connection is in the clear.
    pub(super) trust: Option<Trust>,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    System,
    AuthoritiesIn(PathBuf),
}

/// Returns `None` if traces are not asked for, or turned off.
pub(super) fn settings(
    environment: &dyn Fn(&'static str) -> Option<String>,
) -> Result<Option<Settings>, TelemetryError> {
    // The variable of one signal goes before that of all.
    let either = |own: &'static str, common: &'static str| environment(own).or_else(|| environment(common));
    let is_true = |value: Option<String>| value.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoint = either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let Some(endpoint) = endpoint else { return Ok(None) };
    if is_true(environment("OTEL_SDK_DISABLED")) {
        return Ok(None);
    }
    match environment("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(given) => return Err(unsupported("OTEL_TRACES_EXPORTER", given, "otlp or none")),
    }
    for variable in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match environment(variable).as_deref() {
            None => {}
            Some("grpc") => break,
            Some(given) => return Err(unsupported(variable, given, "grpc")),
        }
    }
    let insecure = is_true(either("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"));
    let is_secure = match endpoint.split_once("://") {
        Some((scheme, _)) => scheme.eq_ignore_ascii_case("https"),
        None => !insecure,
    };
    let authorities = either("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE");
    let trust = authorities.map_or(Trust::System, |path| Trust::AuthoritiesIn(path.into()));
    Ok(Some(Settings { endpoint, trust: is_secure.then_some(trust) }))
}

fn unsupported(variable: &'static str, given: &str, supported: &'static str) -> TelemetryError {
    TelemetryError::Unsupported { variable, given: given.to_owned(), supported }
}

/// Makes what exports spans, in batches, from a thread of its own. Must be called within a runtime.
pub(super) fn provider(
    service: &'static str,
    settings: &Settings,
) -> Result<SdkTracerProvider, TelemetryError> {
    // The library would panic.
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let mut builder = SpanExporter::builder().with_tonic().with_endpoint(&settings.endpoint);
    if let Some(trust) = &settings.trust {
        builder = builder.with_tls_config(tls(trust)?);
    }
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(builder.build()?)
        .with_resource(resource(service))
        .build())
}

fn tls(trust: &Trust) -> Result<ClientTlsConfig, TelemetryError> {
    match trust {
        Trust::System => Ok(ClientTlsConfig::new().with_enabled_roots()),
        Trust::AuthoritiesIn(path) => {
            let pem = std::fs::read(path)
                .map_err(|source| TelemetryError::Authorities { path: path.clone(), source })?;
            Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
        }
    }
}

/// Describes the process as the environment does; our name is used only if that gives none.
fn resource(service: &'static str) -> Resource {
    let described = Resource::builder().build();
    let name = described.get(&Key::from_static_str("service.name"));
    if name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        return described;
    }
    Resource::builder().with_service_name(service).build()
}

/// Turns spans into traces.
pub(super) fn layer<S>(service: &'static str, provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_foreign = |target: &str| !OWN_TARGETS.iter().any(|own| target.starts_with(own));
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(service))
        .with_filter(filter_fn(move |metadata| is_foreign(metadata.target())))
}

/// Makes `traceparent` what requests carry their trace in.
pub(super) fn propagate() {
    global::set_text_map_propagator(TraceContextPropagator::new());
}
