//! What a sidecar tells of itself: what it answered, what it knows, and how old that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use crate::distribution::client;
use crate::distribution::session::Note;
use crate::distribution::view::{ListView, Views};
use crate::metrics::{ListLabels, registry};
use crate::revocation::freshness::{Freshness, freshness};
use crate::revocation::names::ListName;
use crate::runtime::clock::Clock;
use crate::runtime::gate::Gate;
use crate::runtime::metrics::Exposition;

use super::outcome::{Decision, Observer, Outcome, Transport};

/// How a check was answered. The reasons are a fixed set of codes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    transport: &'static str,
    decision: &'static str,
    reason: &'static str,
    shadow: &'static str,
    best_effort: &'static str,
}

/// The counters of a sidecar. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    checks: Family<CheckLabels, Counter>,
    keys: Counter,
    hits: Counter,
    false_positives: Counter,
    issued_ahead_nanos: Arc<AtomicU64>,
    connected: Gauge,
    controller: Arc<watch::Sender<Option<String>>>,
    connections: Counter,
    snapshots: Family<ListLabels, Counter>,
    deltas: Family<ListLabels, Counter>,
    refused: Family<ListLabels, Counter>,
    proofs: Counter,
    snapshot_write_failures: Family<ListLabels, Counter>,
}

impl Metrics {
    /// Makes the exposition, which reads the views when somebody asks.
    #[must_use]
    pub fn exposition(&self, views: Views, clock: Arc<dyn Clock>, gate: Gate) -> Exposition {
        let mut registry = registry("sidecar");
        self.register(&mut registry);
        let issued_ahead_nanos = Arc::clone(&self.issued_ahead_nanos);
        registry.register_collector(Box::new(Knowledge { views, clock, issued_ahead_nanos, gate }));
        Exposition::new(registry)
    }

    /// Returns to which controller the stream is open.
    #[must_use]
    pub fn controller(&self) -> watch::Receiver<Option<String>> {
        self.controller.subscribe()
    }

    /// Counts a snapshot that could not be written to the disk.
    pub(super) fn snapshot_not_written(&self, list: &ListName) {
        let labels = ListLabels { list: list.to_string() };
        self.snapshot_write_failures.get_or_create(&labels).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("checks", "Checks by transport, decision and reason", self.checks.clone());
        registry.register("lookups", "Keys that were looked up", self.keys.clone());
        registry.register("lookup_hits", "Keys under which rows stand", self.hits.clone());
        registry.register(
            "filter_false_positives",
            "Keys that the prefilter reported and the exact set refuted",
            self.false_positives.clone(),
        );
        registry.register(
            "stream_connected",
            "Whether a stream to a controller is open",
            self.connected.clone(),
        );
        registry.register("stream_connections", "Streams that were opened", self.connections.clone());
        registry.register("snapshots", "Snapshots that were taken into use", self.snapshots.clone());
        registry.register("deltas", "Deltas that were taken into use", self.deltas.clone());
        registry.register("refused_updates", "Updates that were refused", self.refused.clone());
        registry.register("proofs", "Proofs of freshness that arrived", self.proofs.clone());
        registry.register(
            "snapshot_write_failures",
            "Attempts to write a snapshot to the disk that failed",
            self.snapshot_write_failures.clone(),
        );
    }
}

const fn yes_no(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

impl Observer for Metrics {
    fn checked(&self, transport: Transport, outcome: &Outcome) {
        let labels = CheckLabels {
            transport: transport.name(),
            decision: match outcome.decision {
                Decision::Allow => "allow",
                Decision::Deny => "deny",
            },
            reason: outcome.reason,
            shadow: yes_no(outcome.shadow),
            best_effort: yes_no(outcome.best_effort),
        };
        self.checks.get_or_create(&labels).inc();
        self.keys.inc_by(outcome.effort.keys);
        self.hits.inc_by(outcome.effort.hits);
        self.false_positives.inc_by(outcome.effort.false_positives);
        self.issued_ahead_nanos.fetch_max(outcome.effort.issued_ahead_nanos, Ordering::Relaxed);
    }
}

impl client::Observer for Metrics {
    fn connected(&self, controller: Option<&str>) {
        self.connected.set(i64::from(controller.is_some()));
        self.controller.send_replace(controller.map(ToOwned::to_owned));
        if controller.is_some() {
            self.connections.inc();
        }
    }

    fn noted(&self, list: Option<&ListName>, note: &Note) {
        let labels = ListLabels { list: list.map(ToString::to_string).unwrap_or_default() };
        match note {
            Note::Snapshot { .. } => _ = self.snapshots.get_or_create(&labels).inc(),
            Note::Delta { .. } => _ = self.deltas.get_or_create(&labels).inc(),
            Note::Refused { why, .. } => {
                tracing::warn!(list = labels.list, why, "an update was refused; a snapshot was asked for");
                self.refused.get_or_create(&labels).inc();
            }
            Note::Config { generation, .. } => {
                tracing::info!(list = labels.list, generation, "a declaration came")
            }
            Note::NotAdmitted { why, .. } => {
                tracing::warn!(list = labels.list, why, "the controller gives nothing of this list");
            }
            Note::Proven { .. } => _ = self.proofs.inc(),
        }
    }
}

/// What is known, computed when somebody asks.
struct Knowledge {
    views: Views,
    clock: Arc<dyn Clock>,
    issued_ahead_nanos: Arc<AtomicU64>,
    gate: Gate,
}

impl std::fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knowledge").field("views", &self.views).finish_non_exhaustive()
    }
}

impl Collector for Knowledge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let views = self.views.load();
        let now = self.clock.now();
        let state = |view: &ListView| freshness(view.knowledge, now, &view.bounds(), None);
        let age = |view: &ListView| state(view).age_nanos().map(seconds);
        let is_fresh =
            |view: &ListView| Some(f64::from(u8::from(matches!(state(view), Freshness::Fresh { .. }))));
        let count = |number: usize| number as f64;
        let entries = |view: &ListView| view.list.as_ref().map(|list| count(list.len()));
        let bytes = |view: &ListView| view.list.as_ref().map(|list| count(list.approximate_bytes()));
        let retained = |view: &ListView| {
            let kept = view.denials.iter().map(|list| list.retained_len()).sum::<usize>();
            view.list.as_ref().map(|list| count(list.retained_len() + kept))
        };
        let version = |view: &ListView| view.proven.map(|version| version.revisions.revocations as f64);
        let epoch = |view: &ListView| view.proven.map(|version| version.epoch.counter as f64);
        let mut per_list = |name, help, unit: Option<&Unit>, value: &dyn Fn(&ListView) -> Option<f64>| {
            gauges(&mut encoder, name, help, unit, &views, value)
        };
        per_list("list_age", "Age of the proof; absent without one", Some(&Unit::Seconds), &age)?;
        per_list("list_fresh", "Whether the list is FRESH", None, &is_fresh)?;
        per_list("list_version", "Revision up to which the list is proven complete", None, &version)?;
        per_list("list_epoch", "History of the store that the revision belongs to", None, &epoch)?;
        per_list("list_entries", "Live keys", None, &entries)?;
        per_list("list_memory", "Memory of the list, approximately", Some(&Unit::Bytes), &bytes)?;
        per_list(
            "list_retained",
            "Keys kept from earlier histories of the store or the list",
            None,
            &retained,
        )?;
        let in_flight = ConstGauge::new(count(self.gate.in_flight()));
        let help = "Checks that are under way, a batch as one";
        in_flight.encode(encoder.encode_descriptor(
            "checks_in_flight",
            help,
            None,
            in_flight.metric_type(),
        )?)?;
        let ahead = ConstGauge::new(seconds(self.issued_ahead_nanos.load(Ordering::Relaxed)));
        let help = "How far the issue time of a token has been ahead of our clock, at most";
        ahead.encode(encoder.encode_descriptor(
            "issued_ahead",
            help,
            Some(&Unit::Seconds),
            ahead.metric_type(),
        )?)
    }
}

fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    views: &[Arc<ListView>],
    value: &dyn Fn(&ListView) -> Option<f64>,
) -> Result<(), std::fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, unit, ConstGauge::new(0f64).metric_type())?;
    for view in views {
        let labels = ListLabels { list: view.name.to_string() };
        if let Some(value) = value(view) {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
