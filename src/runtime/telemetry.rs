//! Sets up the logs of a process, and the export of its traces and metrics; the home of the environment variables of
//! all three.
//!
//! | variable | meaning |
//! |---|---|
//! | `RUST_LOG` | what is logged, and what is traced; `info` if unset |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT`, or with `TRACES_` or `METRICS_` | where they go; unset means nowhere |
//! | `OTEL_SDK_DISABLED` | `true` turns both off |
//! | `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` | `none` turns one off |
//! | `OTEL_EXPORTER_OTLP_CERTIFICATE`, or with `TRACES_` or `METRICS_` | the authorities to trust, else those of the system |
//! | `OTEL_METRIC_EXPORT_INTERVAL` | milliseconds between two exports of metrics; 60000 if unset |
//! | `OTEL_EXPORTER_OTLP_METRICS_TIMEOUT`, or without `METRICS_` | milliseconds that an export may take; 10000 if unset |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | how the process is called |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, headers, timeouts | as the specification of OpenTelemetry says |

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, fmt as output};

mod exported;
pub mod metrics;
mod otlp;
mod traces;

const FILTER: &str = "RUST_LOG";
const NO_COLOR: &str = "NO_COLOR";
/// The target of spans that only traces show. They are off while nothing is exported: a span with its fields costs
/// the logs several microseconds, which is more than what some of them are about.
pub const TRACES_ONLY: &str = "rescind::trace";
/// The time for the last traces when nobody has called [`Guard::shutdown`]. The thread is blocked for it.
const DROP_DEADLINE: Duration = Duration::from_secs(2);

/// How logs are written. They go to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line, with the fields of the event at its top.
    Json,
    /// For people; coloured if standard error is a terminal.
    Text,
}

/// Says which setting of logs or traces can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of the logs can't be understood.
    #[error("RUST_LOG={given:?} is not a filter of logs: {source}; write info, or info,hyper=debug")]
    BadFilter {
        /// What it was set to.
        given: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A variable is set to something that we don't implement.
    #[error("{variable}={given:?} is not supported; use {supported}")]
    Unsupported {
        /// The name of the variable.
        variable: &'static str,
        /// What it was set to.
        given: String,
        /// What it may be set to.
        supported: &'static str,
    },
    /// The file with the authorities to trust can't be read.
    #[error("can't read the authorities to trust for traces and metrics in {}: {source}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The place can't be connected to.
    #[error("can't export metrics to {endpoint}: {source}")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// Traces need a runtime.
    #[error("traces can be exported only from within an asynchronous runtime")]
    NoRuntime,
    /// The exporter of traces can't be made.
    #[error("can't export traces: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// Somebody else has set up the logs of this process.
    #[error("the logs of this process are set up already: {0}")]
    SetUpAlready(#[from] TryInitError),
}

/// Keeps traces flowing. When it goes, what was not exported yet is.
#[must_use = "without it traces end at once"]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("exports", &self.traces.is_some()).finish()
    }
}

impl Guard {
    /// Exports what is left, for at most `deadline`. Prefer it to dropping the guard, which blocks the thread:
    /// the exporter may need that very thread.
    pub async fn shutdown(mut self, deadline: Duration) {
        let Some(traces) = self.traces.take() else { return };
        let flushed = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(deadline)).await;
        match flushed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces may be lost"),
            Err(error) => tracing::warn!(%error, "the last traces may be lost"),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take()
            && let Err(error) = traces.shutdown_with_timeout(DROP_DEADLINE)
        {
            tracing::warn!(%error, "the last traces may be lost");
        }
    }
}

/// Sets up the logs of the process, and the export of traces if the environment asks for it.
///
/// `service` is the name in traces unless the environment gives another. Call it once, within a runtime that
/// lives as long as traces are to be exported.
///
/// # Errors
/// [`TelemetryError`], which names the setting that can't be used.
pub fn init(service: &'static str, format: Format) -> Result<Guard, TelemetryError> {
    let traces = otlp::settings(&otlp::TRACES, &environment)?
        .map(|settings| traces::provider(service, &settings))
        .transpose()?;
    let filter = filter(&environment, traces.is_some())?;
    let spans = traces.as_ref().map(|provider| traces::layer(service, provider));
    // https://no-color.org: set, and not empty.
    let colours = io::stderr().is_terminal() && environment(NO_COLOR).is_none();
    tracing_subscriber::registry()
        .with(filter)
        .with(output_layer(format, io::stderr, colours))
        .with(spans)
        .try_init()?;
    if traces.is_some() {
        traces::propagate();
    }
    Ok(Guard { traces })
}

/// Returns what exports metrics, if the environment asks for it.
///
/// `service` is the name of the process unless the environment gives another.
///
/// # Errors
/// [`TelemetryError`], which names the setting that can't be used.
pub fn metrics_exporter(service: &'static str) -> Result<Option<metrics::Exporter>, TelemetryError> {
    metrics::exporter(service, &environment)
}

/// Reads a variable; as the specification demands, an empty one counts as unset.
#[allow(clippy::disallowed_methods, reason = "the standard variables of logs and traces are read here alone")]
fn environment(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn filter(
    environment: &dyn Fn(&'static str) -> Option<String>,
    exports: bool,
) -> Result<EnvFilter, TelemetryError> {
    let given = environment(FILTER).unwrap_or_else(|| "info".to_owned());
    let directives = if exports { given.clone() } else { format!("{given},{TRACES_ONLY}=off") };
    EnvFilter::builder().parse(directives).map_err(|source| TelemetryError::BadFilter { given, source })
}

fn output_layer<S, W>(format: Format, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        Format::Json => output::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(writer)
            .boxed(),
        Format::Text => output::layer().with_ansi(colours).with_writer(writer).boxed(),
    }
}

#[cfg(test)]
mod tests;
