//! The export of metrics by OTLP over gRPC: now and then, and once more at the end.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::TelemetryError;
use super::exported::{self, Span, attribute};
use super::otlp::{self, Environment, unsupported};
use crate::runtime::clock::Clock;
use crate::runtime::metrics::{Exposition, Format};

const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const DEFAULT_INTERVAL: Duration = Duration::from_mins(1);
/// More often would be a load of its own.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last export may take, while the process waits to end.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Exports metrics.
#[derive(Debug)]
pub struct Exporter {
    client: MetricsServiceClient<Channel>,
    headers: MetadataMap,
    interval: Duration,
    timeout: Duration,
    resource: Resource,
}

pub(super) fn exporter(
    service: &'static str,
    environment: Environment<'_>,
) -> Result<Option<Exporter>, TelemetryError> {
    let Some(settings) = otlp::settings(&otlp::METRICS, environment)? else { return Ok(None) };
    let given = || settings.endpoint.clone();
    let failed = |source| TelemetryError::Endpoint { endpoint: given(), source };
    let uri = match (&settings.trust, settings.endpoint.contains("://")) {
        (_, true) => given(),
        (Some(_), false) => format!("https://{}", given()),
        (None, false) => format!("http://{}", given()),
    };
    let mut endpoint = Endpoint::from_shared(uri).map_err(failed)?;
    if let Some(trust) = &settings.trust {
        endpoint = endpoint.tls_config(otlp::tls(trust)?).map_err(failed)?;
    }
    let timeout = ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let timeout = milliseconds(&timeout, environment)?.unwrap_or(DEFAULT_TIMEOUT);
    let attributes = otlp::resource(service);
    let attributes = attributes.iter().map(|(key, value)| attribute(key.as_str(), &value.as_str()));
    Ok(Some(Exporter {
        client: MetricsServiceClient::new(endpoint.connect_timeout(timeout).connect_lazy()),
        headers: headers(environment)?,
        interval: milliseconds(&[INTERVAL], environment)?.unwrap_or(DEFAULT_INTERVAL).max(LEAST_INTERVAL),
        timeout,
        resource: Resource { attributes: attributes.collect(), ..Resource::default() },
    }))
}

/// Reads the first of these variables that is set.
fn milliseconds(
    variables: &[&'static str],
    environment: Environment<'_>,
) -> Result<Option<Duration>, TelemetryError> {
    let Some((variable, given)) = variables.iter().find_map(|name| Some((*name, environment(name)?))) else {
        return Ok(None);
    };
    match given.parse() {
        Ok(milliseconds) if milliseconds > 0 => Ok(Some(Duration::from_millis(milliseconds))),
        _ => Err(unsupported(variable, &given, "a number of milliseconds, such as 60000")),
    }
}

/// Reads `name=value,name=value` with values in percent-encoding. An error does not show what was given: it may be a
/// secret.
fn headers(environment: Environment<'_>) -> Result<MetadataMap, TelemetryError> {
    let mut headers = MetadataMap::new();
    let variables = ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
    let Some((variable, given)) = variables.iter().find_map(|name| Some((*name, environment(name)?))) else {
        return Ok(headers);
    };
    for pair in given.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let read = pair.split_once('=').and_then(|(name, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let name = MetadataKey::from_bytes(name.trim().to_ascii_lowercase().as_bytes()).ok()?;
            Some((name, MetadataValue::try_from(value.as_ref()).ok()?))
        });
        let Some((name, mut value)) = read else {
            return Err(unsupported(variable, "(not shown)", "name=value,name=value"));
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

impl Exporter {
    /// Exports until the request to stop, and once more then. That a collector is away is logged once, until one is
    /// there again.
    ///
    /// # Errors
    /// None: who collects metrics has no say in whether the process runs.
    pub async fn run(
        mut self,
        exposition: Exposition,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let start = clock.now().wall_nanos;
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = false;
        loop {
            let last = tokio::select! {
                () = shutdown.cancelled() => true,
                _ = ticks.tick() => false,
            };
            let limit = if last { self.timeout.min(LAST_TIMEOUT) } else { self.timeout };
            let span = Span { start, now: clock.now().wall_nanos };
            let exporting = tokio::time::timeout(limit, self.export(&exposition, span));
            let exported = tokio::select! {
                exported = exporting => exported.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))),
                // The end does not wait for an export under way; the last one comes all the same.
                () = shutdown.cancelled(), if !last => continue,
            };
            match exported {
                Ok(()) => complained = false,
                Err(error) if !complained => {
                    tracing::warn!(code = ?error.code(), error = error.message(), "metrics can't be exported");
                    complained = true;
                }
                Err(_) => {}
            }
            if last {
                return Ok(());
            }
        }
    }

    async fn export(&mut self, exposition: &Exposition, span: Span) -> Result<(), Status> {
        let text =
            exposition.encode(Format::OpenMetrics).map_err(|error| Status::internal(error.to_string()))?;
        let scope = InstrumentationScope { name: "prometheus".to_owned(), ..InstrumentationScope::default() };
        let metrics = exported::metrics(&text, span);
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        let of_process = ResourceMetrics { resource, scope_metrics, schema_url: String::new() };
        let mut request = Request::new(ExportMetricsServiceRequest { resource_metrics: vec![of_process] });
        *request.metadata_mut() = self.headers.clone();
        self.client.export(request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &'static [(&'static str, &'static str)]) -> Result<Option<Exporter>, TelemetryError> {
        exporter("example", &|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");

    #[tokio::test]
    async fn the_variables_say_where_how_often_and_with_what() {
        assert!(of(&[]).unwrap().is_none());
        let exporter = of(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!((exporter.interval, exporter.timeout), (DEFAULT_INTERVAL, DEFAULT_TIMEOUT));
        let exporter = of(&[
            ENDPOINT,
            (INTERVAL, "1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20a%3Db, x-tenant = shop"),
        ]);
        let exporter = exporter.unwrap().unwrap();
        assert_eq!((exporter.interval, exporter.timeout), (LEAST_INTERVAL, Duration::from_secs(3)));
        assert_eq!(exporter.headers.get("authorization").unwrap(), "Bearer a=b");
        assert_eq!(exporter.headers.get("x-tenant").unwrap(), "shop");
        assert!(!format!("{exporter:?}").contains("Bearer"));
        let name = exporter.resource.attributes.iter().find(|of| of.key == "service.name");
        assert_eq!(name, Some(&attribute("service.name", "example")));
    }

    #[tokio::test]
    async fn what_can_not_be_used_is_an_error_that_shows_no_secret() {
        let message = |variables| of(variables).unwrap_err().to_string();
        for given in [&[ENDPOINT, (INTERVAL, "soon")][..], &[ENDPOINT, (INTERVAL, "0")]] {
            assert!(message(given).contains("a number of milliseconds"), "{given:?}");
        }
        let headers = message(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", "secret")]);
        assert!(headers.contains("name=value") && !headers.contains("secret"), "{headers}");
        assert!(message(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b")]).contains("http://a b"));
    }

    /// A collector that hangs costs one export at a time, and the end waits for it no longer than told.
    #[tokio::test]
    async fn a_collector_that_hangs_keeps_nobody_from_ending() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let variables = |name: &'static str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
            "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("200".to_owned()),
            _ => None,
        };
        let exporter = exporter("example", &variables).unwrap().unwrap();
        let (shutdown, clock) = (CancellationToken::new(), Arc::new(crate::runtime::clock::SystemClock));
        let running = exporter.run(Exposition::default(), clock, shutdown.clone());
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    }
}
