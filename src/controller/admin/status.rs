//! What the admin API tells of lists, replicas and sidecars.

use crate::api::target::check_declared;
use crate::distribution::enforcement::SessionReport;
use crate::distribution::hub::Hub;
use crate::proto::v1;
use crate::revocation::freshness::Policy;
use crate::store::Fetched;
use crate::token::list_config::{Enforcement, ListConfig};

/// Summarises everything.
pub(super) fn summarise(
    configs: &[ListConfig],
    fetched: &Fetched,
    hub: &Hub,
    sessions: Vec<SessionReport>,
) -> v1::AdminStatusResponse {
    let lists = configs.iter().map(|config| summary(config, fetched, hub, &sessions)).collect();
    let subscribers = sessions.into_iter().map(|session| v1::SubscriberSummary {
        identity: session.identity,
        list: session.list.to_string(),
        acknowledged_version: session.acknowledged.map(|version| version.to_string()).unwrap_or_default(),
        last_ping_age_milliseconds: session.last_ping_age_nanos / 1_000_000,
        connected: session.connected,
        replica: session.replica,
    });
    v1::AdminStatusResponse {
        version: fetched.version.to_string(),
        lists,
        subscribers: subscribers.collect(),
    }
}

fn summary(config: &ListConfig, fetched: &Fetched, hub: &Hub, sessions: &[SessionReport]) -> v1::ListSummary {
    let mut summary = v1::ListSummary {
        list: config.name.to_string(),
        bound_seconds: config.freshness.bound_seconds,
        maximum_seconds: config.freshness.maximum_seconds,
        policy: match config.freshness.policy {
            Policy::Strict => "Strict",
            Policy::BestEffort => "BestEffort",
        }
        .to_owned(),
        enforcement: match config.enforcement {
            Enforcement::Enforce => "Enforce",
            Enforcement::Shadow => "Shadow",
        }
        .to_owned(),
        conditions: conditions(config, fetched),
        ..v1::ListSummary::default()
    };
    let subscribers = sessions.iter().filter(|session| session.list == config.name).count();
    summary.subscribers = u32::try_from(subscribers).unwrap_or(u32::MAX);
    let published = hub.with(&config.name, &mut |publisher| {
        summary.records = publisher.state().record_count() as u64;
        summary.keys = publisher.state().key_count() as u64;
        let standing = publisher.standing();
        summary.version = standing.last_change.to_string();
        summary.config_generation = standing.config_generation;
    });
    if !published {
        summary.conditions.push("NotPublished: no replica serves the list yet".to_owned());
    }
    summary
}

/// Revocations that were taken while what they name was declared, and is no more.
fn conditions(config: &ListConfig, fetched: &Fetched) -> Vec<String> {
    let own = fetched.revocations.iter().filter(|revocation| revocation.list == config.name);
    let undeclared: Vec<_> =
        own.filter(|revocation| check_declared(&revocation.spec, config).is_err()).collect();
    if undeclared.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = undeclared.iter().take(5).map(|revocation| revocation.name.as_str()).collect();
    vec![format!(
        "Undeclared: {} of the revocations name an issuer or a selector that the list does not declare, and have no effect: {}",
        undeclared.len(),
        names.join(", ")
    )]
}
