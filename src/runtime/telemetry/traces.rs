//! The export of traces by OTLP over gRPC.

use opentelemetry::global;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::TelemetryError;
use super::otlp::{Settings, resource, tls};

/// What the export itself runs on: its traces would beget traces for ever.
const OWN_TARGETS: [&str; 5] = ["h2", "hyper", "opentelemetry", "tonic", "tower"];

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
