//! What a cluster tells of lists, replicas and sidecars.
//!
//! Sidecars are known to the replicas that serve them. What every replica tells of them is its report: how many
//! follow a list, and what all of them have in use at least. What a single one knows, it is asked itself.

use std::collections::BTreeMap;

use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::core::ObjectMeta;
use serde::Serialize;

use crate::api::condition::ConditionType;
use crate::api::revocation::{self as api, HeartbeatKind, ListReport};
use crate::api::target::write_time;
use crate::api::token_revocation_list::{
    Condition, ConditionStatus, Enforcement, FreshnessPolicy, TokenRevocationList,
};
use crate::revocation::time::UnixSeconds;

use super::super::console::{Console, Tone, printable};
use super::super::table::table;
use super::super::time::age;
use super::error::Wanted;
use super::pods::Asked;
use super::sidecar::{Sidecar, count, problems, sidecar_table};
use super::{Cluster, ClusterError, LISTS, REVOCATIONS, page};

/// A replica that has sidecars proves something every second. One whose pulse is older lags.
const LATE_AFTER_SECONDS: u64 = 5;

/// The answer of `status`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(in super::super) struct Status {
    lists: Vec<List>,
    replicas: Vec<Replica>,
    sidecars: Vec<Sidecar>,
    /// What could not be read.
    #[serde(skip)]
    pub(in super::super) warnings: Vec<String>,
    #[serde(skip)]
    missing: Missing,
}

/// What could not be read at all, and is shown as nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missing {
    replicas: bool,
    sidecars: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    list: String,
    entries: Option<i64>,
    subscribers: Option<i64>,
    version: Option<String>,
    bound_seconds: u32,
    maximum_seconds: u32,
    policy: FreshnessPolicy,
    enforcement: Enforcement,
    conditions: Vec<Condition>,
}

/// What the objects of one replica tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Replica {
    /// Its process, by a random number.
    pub(in super::super) replica: String,
    /// When its objects were last written.
    pub(in super::super) last_seen: Option<String>,
    /// The same, by the clock of the API server.
    #[serde(skip)]
    pub(in super::super) seen: Option<UnixSeconds>,
    /// Seconds since then.
    pub(in super::super) age_seconds: Option<u64>,
    pub(in super::super) state: State,
    /// Of its pulse: new with each proof.
    #[serde(skip)]
    pub(in super::super) nonce: Option<String>,
    /// The sidecars that it serves, by list.
    pub(in super::super) lists: Vec<ListReport>,
}

/// Whether a replica proves what it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(in super::super) enum State {
    /// Sidecars are connected, and its pulse moves.
    Proving,
    /// Sidecars are connected, and its pulse stands still.
    Late,
    /// No sidecar asks it for a proof.
    #[default]
    Idle,
}

impl Replica {
    /// Returns how many sidecars are connected to it; one that follows two lists counts twice.
    pub(in super::super) fn connected(&self) -> i64 {
        self.lists.iter().map(|list| list.connected).sum()
    }

    /// Judges it by the time that the API server has.
    fn judge(&mut self, now: UnixSeconds) {
        self.age_seconds = self.seen.map(|seen| now.get().saturating_sub(seen.get()));
        self.state = match self.age_seconds {
            _ if self.connected() == 0 => State::Idle,
            Some(age) if age <= LATE_AFTER_SECONDS => State::Proving,
            Some(_) | None => State::Late,
        };
    }
}

impl Cluster {
    /// Reads the lists of the namespace, or of all, and the reports of the controllers' namespace, and asks the sidecars.
    pub(in super::super) async fn status(
        &self,
        is_everywhere: bool,
        controllers: &str,
        now: UnixSeconds,
    ) -> Result<Status, ClusterError> {
        // What is written last is told by its clock. Without that, ours may do.
        let now = self.server().await?.time.unwrap_or(now);
        let namespace = if is_everywhere { None } else { Some(self.namespace.as_str()) };
        let lists = self.declared(namespace).await?;
        let versions = lists.iter().filter_map(|list| Some((list.list.clone(), list.version.clone()?)));
        let (mut missing, mut warnings) = (Missing::default(), Vec::new());
        let replicas = match self.beating(namespace, controllers, now).await {
            Ok(replicas) => replicas,
            // Who may see the lists need not see what is beside the controllers.
            Err(error @ ClusterError::Forbidden { .. }) => {
                missing.replicas = true;
                warnings.push(format!("the replicas can't be shown: {error}"));
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let sidecars = match self.sidecars(namespace, versions.collect()).await {
            Ok(Asked { sidecars, warning }) => {
                warnings.extend(warning);
                sidecars
            }
            Err(error) => {
                missing.sidecars = true;
                warnings.push(format!("the sidecars can't be shown: {error}"));
                Vec::new()
            }
        };
        Ok(Status { lists, replicas, sidecars, warnings, missing })
    }

    /// Reads the names of the lists alone.
    pub(in super::super) async fn declared_lists(&self, is_everywhere: bool) -> Result<Status, ClusterError> {
        let namespace = if is_everywhere { None } else { Some(self.namespace.as_str()) };
        Ok(Status { lists: self.declared(namespace).await?, ..Status::default() })
    }

    async fn declared(&self, namespace: Option<&str>) -> Result<Vec<List>, ClusterError> {
        let lists: Api<TokenRevocationList> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let wanted = Wanted::new("list", LISTS, namespace);
        Ok(page::all(self, wanted, &lists, None).await?.iter().map(list).collect())
    }

    /// Reads what the replicas have written, as far as it is about a namespace.
    async fn beating(
        &self,
        namespace: Option<&str>,
        controllers: &str,
        now: UnixSeconds,
    ) -> Result<Vec<Replica>, ClusterError> {
        let beats: Api<DeserializeGuard<api::Revocation>> = Api::namespaced(self.client.clone(), controllers);
        let wanted = Wanted::new("list", REVOCATIONS, Some(controllers));
        let beats = page::all(self, wanted, &beats, Some("spec.listName=")).await?;
        let mut replicas = replicas(beats.into_iter().filter_map(|DeserializeGuard(beat)| beat.ok()));
        for replica in &mut replicas {
            replica.judge(now);
            // What a replica tells of other namespaces was not asked for.
            replica.lists.retain(|list| namespace.is_none_or(|only| list.namespace == only));
        }
        Ok(replicas)
    }
}

fn list(list: &TokenRevocationList) -> List {
    let status = list.status.clone().unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let freshness = list.spec.freshness;
    List {
        list: format!("{}/{}", text(&list.metadata.namespace), text(&list.metadata.name)),
        entries: status.entries,
        subscribers: status.subscribers,
        version: status.version,
        bound_seconds: freshness.bound_seconds,
        maximum_seconds: freshness.maximum_seconds,
        policy: freshness.policy,
        enforcement: list.spec.enforcement,
        conditions: status.conditions,
    }
}

/// Puts the objects of each replica together.
pub(in super::super) fn replicas(beats: impl Iterator<Item = api::Revocation>) -> Vec<Replica> {
    let mut replicas: BTreeMap<String, Replica> = BTreeMap::new();
    for beat in beats {
        let Some(target) = beat.spec.target.heartbeat else { continue };
        let replica = replicas.entry(target.replica.clone()).or_default();
        replica.seen = replica.seen.max(written(&beat.metadata));
        let content = beat.status.and_then(|status| status.heartbeat).unwrap_or_default();
        match target.kind {
            HeartbeatKind::Pulse => replica.nonce = content.nonce,
            HeartbeatKind::Report => replica.lists = content.lists,
        }
        replica.replica = target.replica;
    }
    let mut replicas: Vec<Replica> = replicas.into_values().collect();
    for replica in &mut replicas {
        replica.last_seen = replica.seen.map(write_time);
    }
    replicas
}

/// Returns when an object was written last, by the clock of the API server.
fn written(metadata: &ObjectMeta) -> Option<UnixSeconds> {
    let fields = metadata.managed_fields.iter().flatten().filter_map(|fields| fields.time.as_ref());
    let times = fields.chain(metadata.creation_timestamp.as_ref()).map(|time| time.0.as_second());
    times.max().and_then(|seconds| UnixSeconds::new(u64::try_from(seconds).ok()?).ok())
}

impl Status {
    /// Writes it for people.
    pub(in super::super) fn describe(&self, width: Width, console: &Console) -> String {
        let sidecars = if self.missing.sidecars { String::new() } else { sidecar_table(&self.sidecars) };
        let sections = [
            lists(&self.lists, width),
            replica_table(self),
            sidecars,
            problems(&self.sidecars, console),
            conditions(&self.lists, console),
            self.hint(),
        ];
        sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Writes the names of the lists.
    pub(in super::super) fn names(&self) -> String {
        let name = |list: &List| list.list.rsplit('/').next().unwrap_or_default().to_owned();
        self.lists.iter().map(|list| format!("tokenrevocationlist/{}\n", name(list))).collect()
    }

    /// Says where more is known.
    fn hint(&self) -> String {
        let shown = |list: &List| i64::try_from(count(&self.sidecars, &list.list)).unwrap_or(i64::MAX);
        let knows_more = |list: &List| list.subscribers.is_some_and(|known| known > shown(list));
        let text = "Controllers know more sidecars of these lists than are shown here: in other namespaces (-A), or in no pod of\n\
            this cluster. Ask a controller, with --server (see --help).\n";
        if !self.missing.sidecars && self.lists.iter().any(knows_more) {
            text.to_owned()
        } else {
            String::new()
        }
    }
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Width {
    Usual,
    Wide,
}

type Column = (&'static str, fn(&List) -> String);

fn lists(lists: &[List], width: Width) -> String {
    if lists.is_empty() {
        return "No lists.\n".to_owned();
    }
    let mut columns: Vec<Column> = vec![
        ("LIST", |list| list.list.clone()),
        ("READY", |list| ready(list).to_owned()),
        ("ENTRIES", |list| number(list.entries)),
        ("SIDECARS", |list| number(list.subscribers)),
        ("VERSION", |list| list.version.clone().unwrap_or_default()),
    ];
    if width == Width::Wide {
        columns.extend::<[Column; 4]>([
            ("BOUND", |list| format!("{} s", list.bound_seconds)),
            ("MAXIMUM", |list| format!("{} s", list.maximum_seconds)),
            ("POLICY", |list| {
                match list.policy {
                    FreshnessPolicy::Strict => "Strict",
                    FreshnessPolicy::BestEffort => "BestEffort",
                }
                .to_owned()
            }),
            ("ENFORCEMENT", |list| {
                match list.enforcement {
                    Enforcement::Enforce => "Enforce",
                    Enforcement::Shadow => "Shadow",
                }
                .to_owned()
            }),
        ]);
    }
    let head: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    let row = |list: &List| columns.iter().map(|(_, cell)| cell(list)).collect::<Vec<_>>();
    table(head, &lists.iter().map(row).collect::<Vec<_>>())
}

fn number(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn ready(list: &List) -> &'static str {
    match list
        .conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Ready)
        .map(|found| found.status)
    {
        Some(ConditionStatus::True) => "True",
        Some(ConditionStatus::False) => "False",
        Some(ConditionStatus::Unknown) | None => "Unknown",
    }
}

fn replica_table(status: &Status) -> String {
    if status.replicas.is_empty() {
        let text = if status.missing.replicas {
            ""
        } else {
            "No controller has told of itself: none runs, or no sidecar has asked one for a proof yet.\n"
        };
        return text.to_owned();
    }
    let row = |replica: &Replica, list: Option<&ListReport>| {
        let ago = replica.age_seconds.map(|seconds| format!("{} ago", age(seconds)));
        [
            replica.replica.clone(),
            match replica.state {
                State::Proving => "Proving",
                State::Late => "Late",
                State::Idle => "Idle",
            }
            .to_owned(),
            ago.unwrap_or_default(),
            list.map(|list| format!("{}/{}", list.namespace, list.name)).unwrap_or_default(),
            list.map(|list| list.subscribers.to_string()).unwrap_or_default(),
            list.map(|list| list.connected.to_string()).unwrap_or_default(),
            list.and_then(|list| list.lowest.clone()).unwrap_or_default(),
        ]
    };
    let rows = status.replicas.iter().flat_map(|replica| match replica.lists.as_slice() {
        [] => vec![row(replica, None)],
        lists => lists.iter().map(|list| row(replica, Some(list))).collect(),
    });
    let head = ["REPLICA", "STATE", "SEEN", "LIST", "SIDECARS", "CONNECTED", "LOWEST"];
    table(head, &rows.collect::<Vec<_>>())
}

/// Everything that is wrong with a list, and why.
fn conditions(lists: &[List], console: &Console) -> String {
    let line = |list: &List, condition: &Condition| {
        let name = console.out_surface().paint(Tone::Doubtful, &printable(&list.list));
        let Condition { type_, reason, message, .. } = condition;
        let what = match condition.status {
            ConditionStatus::False => format!("{type_} is not fulfilled ({reason}): {message}"),
            ConditionStatus::True | ConditionStatus::Unknown => format!("{type_} ({reason}): {message}"),
        };
        format!("{name}: {}\n", printable(&what))
    };
    let wrong = |list: &List| -> String {
        let wrong = list.conditions.iter().filter(|condition| is_trouble(condition));
        wrong.map(|condition| line(list, condition)).collect()
    };
    let lines: String = lists.iter().map(wrong).collect();
    if lines.is_empty() { lines } else { format!("Conditions\n{lines}") }
}

/// Tells whether a condition of a list is bad news: that it is not ready, or anything else that holds.
pub(in super::super) fn is_trouble(condition: &Condition) -> bool {
    let bad =
        if condition.type_ == ConditionType::Ready { ConditionStatus::False } else { ConditionStatus::True };
    condition.status == bad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::Surface;

    fn beat(replica: &str, kind: &str, second: u32, status: serde_json::Value) -> api::Revocation {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation",
            "metadata": {
                "name": format!("{kind}-{replica}").to_lowercase(), "namespace": "rescind-system",
                "creationTimestamp": "2026-11-21T09:00:00Z",
                "managedFields": [{"manager": "rescind", "time": format!("2026-11-21T10:00:{second:02}Z")}],
            },
            "spec": {"target": {"heartbeat": {"replica": replica, "kind": kind}}},
            "status": {"heartbeat": status},
        }))
        .unwrap()
    }

    fn declared() -> TokenRevocationList {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "rescind.dev/v1alpha1", "kind": "TokenRevocationList",
            "metadata": {"name": "shop", "namespace": "shop"},
            "spec": {"issuers": [{
                "issuer": "https://a", "anyAudience": true, "maxTokenLifetimeSeconds": 60,
                "verification": {"keys": []},
            }]},
            "status": {"entries": 3, "subscribers": 2, "version": "1/7", "conditions": [
                {"type": "Ready", "status": "False", "reason": "Undeclared",
                 "message": "Two revocations name nothing.", "lastTransitionTime": "2026-11-21T10:00:00Z"},
                {"type": "StoreWentBack", "status": "True", "reason": "OlderCopy",
                 "message": "Revoke again.", "lastTransitionTime": "2026-11-21T10:00:00Z"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn the_objects_of_a_replica_are_put_together() {
        let report = serde_json::json!({"lists": [
            {"namespace": "shop", "name": "shop", "subscribers": 2, "connected": 1, "lowest": "1/5"},
        ]});
        let beats = [
            beat("b0", "Pulse", 9, serde_json::json!({"nonce": "1"})),
            beat("a0", "Report", 1, report),
            beat("a0", "Pulse", 8, serde_json::json!({"nonce": "2"})),
        ];
        let mut replicas = replicas(beats.into_iter());
        assert_eq!(replicas[0].nonce.as_deref(), Some("2"));
        // 2026-11-21T10:00:10Z.
        let now = UnixSeconds::new(1_795_255_210).unwrap();
        replicas.iter_mut().for_each(|replica| replica.judge(now));
        let status = Status { lists: vec![list(&declared())], replicas, ..Status::default() };
        let console = Console::new(
            (Surface::Plain, Box::new(std::io::sink())),
            (Surface::Plain, Box::new(std::io::sink())),
            Box::new(std::io::empty()),
        );
        assert_eq!(
            status.describe(Width::Usual, &console),
            "LIST        READY   ENTRIES   SIDECARS   VERSION\n\
             shop/shop   False   3         2          1/7\n\
             \n\
             REPLICA   STATE     SEEN     LIST        SIDECARS   CONNECTED   LOWEST\n\
             a0        Proving   2s ago   shop/shop   2          1           1/5\n\
             b0        Idle      1s ago   -           -          -           -\n\
             \n\
             No sidecars.\n\
             \n\
             Conditions\n\
             shop/shop: Ready is not fulfilled (Undeclared): Two revocations name nothing.\n\
             shop/shop: StoreWentBack (OlderCopy): Revoke again.\n\
             \n\
             Controllers know more sidecars of these lists than are shown here: in other namespaces (-A), or in no pod of\n\
             this cluster. Ask a controller, with --server (see --help).\n"
        );
        let wide = status.describe(Width::Wide, &console);
        assert!(wide.starts_with(
            "LIST        READY   ENTRIES   SIDECARS   VERSION   BOUND   MAXIMUM   POLICY   ENFORCEMENT\n\
             shop/shop   False   3         2          1/7       15 s    300 s     Strict   Enforce\n"
        ));
        assert_eq!(status.names(), "tokenrevocationlist/shop\n");
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["replicas"][0]["lastSeen"], "2026-11-21T10:00:08Z");
        assert_eq!(json["replicas"][0]["state"], "Proving");
        assert_eq!(json["replicas"][0]["lists"][0]["lowest"], "1/5");
        assert_eq!(json["lists"][0]["conditions"][0]["reason"], "Undeclared");
    }

    #[test]
    fn a_replica_is_late_when_sidecars_wait_for_its_pulse() {
        let report = |connected: i64| {
            serde_json::json!({"lists": [
                {"namespace": "shop", "name": "shop", "subscribers": 1, "connected": connected},
            ]})
        };
        let check = |connected, now: u64, expected| {
            let mut of_one = replicas([beat("a0", "Report", 1, report(connected))].into_iter());
            of_one[0].judge(UnixSeconds::new(1_795_255_200 + now).unwrap());
            assert_eq!(of_one[0].state, expected, "{connected} {now}");
        };
        check(1, 1, State::Proving);
        check(1, 6, State::Proving);
        check(1, 7, State::Late);
        check(0, 7, State::Idle);
        // A clock that is behind makes nobody late.
        check(1, 0, State::Proving);
    }
}
