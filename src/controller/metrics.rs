//! What a controller tells of itself, read from its replicas when somebody asks.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Unit;

use crate::distribution::hub::Hub;
use crate::distribution::publisher::ListPublisher;
use crate::metrics::{ListLabels, registry};
use crate::runtime::line_log::LineLog;
use crate::runtime::metrics::Exposition;
use crate::runtime::tls::ServerCertificate;

/// How the injection webhook answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Injection {
    Injected,
    Left,
    Refused,
    Unanswered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InjectionLabels {
    outcome: &'static str,
}

impl Injection {
    const fn name(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Left => "left",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Counts what the injection webhook has answered. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Injections(Family<InjectionLabels, Counter>);

impl Injections {
    pub(super) fn count(&self, outcome: Injection) {
        self.0.get_or_create(&InjectionLabels { outcome: outcome.name() }).inc();
    }
}

/// In how many places the authorities can't be published. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Unpublished(Gauge);

impl Unpublished {
    pub(super) fn set(&self, places: usize) {
        self.0.set(i64::try_from(places).unwrap_or(i64::MAX));
    }
}

/// What is told of trust.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    /// What is shown to sidecars and callers, if anything.
    pub(super) certificate: Option<Arc<ServerCertificate>>,
    pub(super) unpublished: Unpublished,
}

/// Makes the exposition of a controller.
pub(super) fn exposition(
    hubs: Arc<[Arc<Hub>]>,
    injections: &Injections,
    trust: Trust,
    audit: &LineLog,
) -> Exposition {
    let mut registry = registry("controller");
    registry.register(
        "injections",
        "Pods that the injection webhook was asked about, by outcome",
        injections.0.clone(),
    );
    if let Some(hub) = hubs.first() {
        registry.register_with_unit(
            "propagation",
            "Time from when a change was known to a replica until a sidecar had it in use",
            Unit::Seconds,
            hub.sessions().propagation().clone(),
        );
    }
    let lost = audit.lost().clone();
    registry.register("audit_lines_lost", "Lines of the audit log that could not be kept", lost);
    registry.register_collector(Box::new(Replicas { hubs }));
    registry.register(
        "authorities_unpublished",
        "Places where the authorities can't be published: ConfigMaps, and the webhook's configuration; told by the leader",
        trust.unpublished.0,
    );
    registry.register_collector(Box::new(Certificate(trust.certificate)));
    Exposition::new(registry)
}

#[derive(Debug)]
struct Certificate(Option<Arc<ServerCertificate>>);

impl Collector for Certificate {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(end) = self.0.as_ref().and_then(|certificate| certificate.not_after()) else {
            return Ok(());
        };
        gauge(
            &mut encoder,
            "serving_certificate_expiry_timestamp",
            "End of validity of the certificate that is shown to sidecars and callers, since 1970",
            Some(&Unit::Seconds),
            end,
        )
    }
}

#[derive(Debug)]
struct Replicas {
    hubs: Arc<[Arc<Hub>]>,
}

impl Collector for Replicas {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(first) = self.hubs.first() else { return Ok(()) };
        let connected = i64::try_from(first.sessions().connected()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "subscribers", "Open streams to sidecars", None, connected)?;
        let rounds = self.hubs.iter().map(|hub| hub.rounds()).sum();
        counter(&mut encoder, "proof_rounds", "Rounds of proof that were completed", rounds)?;
        let (mut snapshots, mut deltas) = (0, 0);
        for hub in self.hubs.iter() {
            hub.for_each(|_, publisher| {
                snapshots += publisher.counts().snapshots;
                deltas += publisher.counts().deltas;
            });
        }
        counter(
            &mut encoder,
            "encoded_snapshots",
            "Snapshots that were encoded; one serves many streams",
            snapshots,
        )?;
        counter(&mut encoder, "encoded_deltas", "Deltas that were encoded; one serves many streams", deltas)?;
        per_list(&mut encoder, first, "list_records", "Live revocations", |publisher| {
            publisher.state().record_count() as u64
        })?;
        per_list(&mut encoder, first, "list_entries", "Keys with rows", |publisher| {
            publisher.state().key_count() as u64
        })?;
        per_list(&mut encoder, first, "list_version", "Revision of the last change", |publisher| {
            publisher.standing().last_change.revisions.revocations
        })?;
        per_list(
            &mut encoder,
            first,
            "list_config_generation",
            "Generation of the declaration",
            |publisher| publisher.config().generation,
        )
    }
}

fn per_list(
    encoder: &mut DescriptorEncoder<'_>,
    hub: &Hub,
    name: &str,
    help: &str,
    value: impl Fn(&ListPublisher) -> u64,
) -> Result<(), std::fmt::Error> {
    let mut values = Vec::new();
    hub.for_each(|list, publisher| values.push((list.to_string(), value(publisher))));
    let mut metric = encoder.encode_descriptor(name, help, None, ConstGauge::new(0i64).metric_type())?;
    for (list, value) in values {
        let labels = ListLabels { list };
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: i64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}
