//! What the processes have in common: a runtime, logs, a supervisor, and an exit code with a sentence.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};

use crate::controller::{self, args::ControllerArgs};
use crate::runtime::clock::SystemClock;
use crate::runtime::environment::Environment;
use crate::runtime::listen::Address;
use crate::runtime::metrics::Exposition;
use crate::runtime::signals::Signals;
use crate::runtime::supervisor::Supervisor;
use crate::runtime::telemetry::{self, Format};
use crate::sidecar::args::SidecarArgs;
use crate::sidecar::compose;

/// How long everything may take to end after the request to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// Keeps revocations and streams them to sidecars.
#[derive(Parser, Debug)]
#[command(name = "rescind-controller", version, after_help = AFTER_CONTROLLER)]
pub struct ControllerProgram {
    #[command(flatten)]
    controller: ControllerArgs,
    #[command(flatten)]
    log: LogArgs,
}

const AFTER_CONTROLLER: &str = "Exit codes: 0 ended by a signal, 1 something can't be had or has failed, 2 used wrongly.

Example:
  rescind-controller --data /var/lib/rescind --listen 127.0.0.1:7401 --admin /run/rescind/admin.sock -f lists.yaml";

impl ControllerProgram {
    /// Runs it until a signal.
    #[must_use]
    pub fn run(self) -> ExitCode {
        report(controller(self.controller, self.log))
    }
}

/// Follows revocation lists and answers whether tokens may be accepted.
#[derive(Parser, Debug)]
#[command(name = "rescind-sidecar", version, after_help = AFTER_SIDECAR)]
pub struct SidecarProgram {
    #[command(flatten)]
    sidecar: SidecarArgs,
    #[command(flatten)]
    log: LogArgs,
}

const AFTER_SIDECAR: &str =
    "Exit codes: 0 ended by a signal, 1 something can't be had or has failed, 2 used wrongly.

Examples:
  rescind-sidecar --controller http://127.0.0.1:7401 --list default/shop --socket /run/rescind/check.sock

`rescind-sidecar explain` and `rescind-sidecar check` ask one that runs, as the commands of `rescind` do:
  kubectl exec -i POD -c rescind-sidecar -- /rescind-sidecar explain --server /run/rescind/check.sock < token.txt";

impl SidecarProgram {
    /// Runs it until a signal.
    #[must_use]
    pub fn run(self) -> ExitCode {
        report(sidecar(self.sidecar, self.log))
    }
}

/// How a process writes its logs, to standard error.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogArgs {
    /// How logs are written. RUST_LOG says which
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// The formats of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Text => Self::Text,
        }
    }
}

/// Runs a controller until a signal.
///
/// # Errors
/// A sentence about what can't be had, or what failed.
pub fn controller(args: ControllerArgs, log: LogArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(supervised("rescind-controller", log, async |supervisor| {
        let bound = controller::start(args.config()?, Environment::of_machine(), supervisor).await?;
        tracing::info!(
            streams = shown(&bound.listeners),
            admin = bound.admin.map(|address| address.to_string()),
            webhook = bound.webhook.map(|address| address.to_string()),
            health = bound.health.map(|address| address.to_string()),
            "listening"
        );
        Ok(bound.exposition)
    }))
}

/// Runs a sidecar until a signal.
///
/// # Errors
/// A sentence about what can't be had, or what failed.
pub fn sidecar(args: SidecarArgs, log: LogArgs) -> anyhow::Result<()> {
    // The stream and the probes need one thread; checks have runtimes of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervised("rescind-sidecar", log, async |supervisor| {
        let bound = compose::start(args.config()?, Environment::of_machine(), supervisor)?;
        tracing::info!(
            grpc = shown(&bound.grpc),
            http = shown(&bound.http),
            claims = bound.claims.map(|address| address.to_string()),
            health = bound.health.map(|address| address.to_string()),
            "listening"
        );
        Ok(bound.exposition)
    }))
}

fn shown(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Starts what is to run, then runs it until a signal.
async fn supervised(
    service: &'static str,
    log: LogArgs,
    start: impl AsyncFnOnce(&mut Supervisor) -> anyhow::Result<Exposition>,
) -> anyhow::Result<()> {
    let mut signals = Signals::take_up()?;
    let guard = telemetry::init(service, log.log_format.into())?;
    let exporter = telemetry::metrics_exporter(service)?;
    let mut supervisor = Supervisor::default();
    let started = tokio::select! {
        started = start(&mut supervisor) => Some(started),
        // What is waited for may never come: a server that is down, say.
        signal = signals.next() => {
            tracing::info!(signal, "ended before it had started");
            None
        }
    };
    let outcome = match started {
        Some(Ok(exposition)) => {
            if let Some(exporter) = exporter {
                let exporting = exporter.run(exposition, Arc::new(SystemClock), supervisor.shutdown());
                supervisor.spawn("metrics", exporting);
            }
            supervisor.run_until_signal(DRAIN_DEADLINE, signals).await.map_err(Into::into)
        }
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    guard.shutdown(FLUSH_DEADLINE).await;
    outcome
}

/// Says what went wrong, in one line, and returns the exit code of the process.
#[must_use]
pub fn report(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a standard error there is nobody to tell.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
