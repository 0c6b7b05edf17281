//! Where traces and metrics go by OTLP over gRPC, as the standard variables say.

use std::path::PathBuf;

use opentelemetry::Key;
use opentelemetry_sdk::Resource;
use tonic::transport::{Certificate, ClientTlsConfig};

use super::TelemetryError;

/// The variables of one signal. Each goes before that of all.
pub(super) struct Signal {
    endpoint: &'static str,
    exporter: &'static str,
    protocol: &'static str,
    insecure: &'static str,
    certificate: &'static str,
}

pub(super) const TRACES: Signal = Signal {
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    exporter: "OTEL_TRACES_EXPORTER",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    insecure: "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    certificate: "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
};

pub(super) const METRICS: Signal = Signal {
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    exporter: "OTEL_METRICS_EXPORTER",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    insecure: "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
    certificate: "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
};

/// Where a signal goes.
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

/// Reads a variable.
pub(super) type Environment<'a> = &'a dyn Fn(&'static str) -> Option<String>;

/// Returns `None` if the signal is not asked for, or turned off.
pub(super) fn settings(
    signal: &Signal,
    environment: Environment<'_>,
) -> Result<Option<Settings>, TelemetryError> {
    let either = |own: &'static str, common: &'static str| environment(own).or_else(|| environment(common));
    let is_true = |value: Option<String>| value.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoint = either(signal.endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT");
    let Some(endpoint) = endpoint else { return Ok(None) };
    if is_true(environment("OTEL_SDK_DISABLED")) {
        return Ok(None);
    }
    match environment(signal.exporter).as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(given) => return Err(unsupported(signal.exporter, given, "otlp or none")),
    }
    for variable in [signal.protocol, "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match environment(variable).as_deref() {
            None => {}
            Some("grpc") => break,
            Some(given) => return Err(unsupported(variable, given, "grpc")),
        }
    }
    let insecure = is_true(either(signal.insecure, "OTEL_EXPORTER_OTLP_INSECURE"));
    let is_secure = match endpoint.split_once("://") {
        Some((scheme, _)) => scheme.eq_ignore_ascii_case("https"),
        None => !insecure,
    };
    let authorities = either(signal.certificate, "OTEL_EXPORTER_OTLP_CERTIFICATE");
    let trust = authorities.map_or(Trust::System, |path| Trust::AuthoritiesIn(path.into()));
    Ok(Some(Settings { endpoint, trust: is_secure.then_some(trust) }))
}

pub(super) fn unsupported(variable: &'static str, given: &str, supported: &'static str) -> TelemetryError {
    TelemetryError::Unsupported { variable, given: given.to_owned(), supported }
}

pub(super) fn tls(trust: &Trust) -> Result<ClientTlsConfig, TelemetryError> {
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
pub(super) fn resource(service: &'static str) -> Resource {
    let described = Resource::builder().build();
    let name = described.get(&Key::from_static_str("service.name"));
    if name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        return described;
    }
    Resource::builder().with_service_name(service).build()
}
