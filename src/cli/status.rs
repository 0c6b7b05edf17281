//! `rescind status`: the lists, and what every sidecar knows.

use clap::Args;
use serde::Serialize;

use super::backend::{Backend, BackendOptions, everywhere};
use super::cluster::{Cluster, Width};
use super::console::{Console, Tone, printable};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::{Format, Machine};
use super::lag::Lag;
use super::table::table;
use super::time::elapsed;
use crate::proto::v1;

/// Show the lists, and what every sidecar knows
#[derive(Args, Clone, Debug)]
#[command(after_help = "In a cluster, objects tell of lists and of the controllers' replicas:
  Proving   sidecars are connected, and the replica's pulse moves: what they know is proven to be complete
  Late      sidecars are connected, and its pulse stands still: they go stale
  Idle      no sidecar is connected, so it has nothing to prove
Sidecars of pods are asked one by one, through the API server, which takes the verb get on pods/proxy:
  Fresh      its proof is not older than the bound (AGE, at the moment of the answer)
  Stale      it is older
  Unproven   there is no proof
Others tell nothing: NotRunning, Unread or Forbidden; it is said why. LAG compares VERSION with that of the list.
Sidecars in no pod of the cluster are known to the controller that serves them: give its admin address with --server.

Examples:
  rescind status
  rescind status -A -o wide

  # Sidecars that do not vouch
  rescind status -A -o json | jq '.sidecars[] | select(.state != \"Fresh\")'

  # What a controller of the cluster knows
  kubectl port-forward -n rescind-system service/rescind-admin 7402
  rescind status --server https://localhost:7402 --ca ca.crt --bearer-file token

  rescind status --server /run/rescind/admin.sock -o json | jq '.sidecars[] | select(.connected | not)'")]
pub(super) struct Status {
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml|name|wide", hide_possible_values = true)]
    output: Option<Format>,
    /// The lists of all namespaces of the cluster
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Namespace of the cluster's controllers
    #[arg(long, value_name = "NAMESPACE", default_value = "rescind-system")]
    controllers: String,
    /// Where revocations are kept.
    #[command(flatten)]
    backend: BackendOptions,
}

#[derive(Serialize)]
struct Answer {
    version: String,
    lists: Vec<List>,
    sidecars: Vec<Sidecar>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    list: String,
    records: u64,
    keys: u64,
    sidecars: u32,
    version: String,
    config_generation: u64,
    bound_seconds: u32,
    maximum_seconds: u32,
    policy: String,
    enforcement: String,
    conditions: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sidecar {
    identity: String,
    list: String,
    acknowledged_version: String,
    last_ping_age_milliseconds: u64,
    connected: bool,
    replica: String,
    lag: Lag,
}

impl From<v1::AdminStatusResponse> for Answer {
    fn from(wire: v1::AdminStatusResponse) -> Self {
        let list = |list: v1::ListSummary| List {
            list: list.list,
            records: list.records,
            keys: list.keys,
            sidecars: list.subscribers,
            version: list.version,
            config_generation: list.config_generation,
            bound_seconds: list.bound_seconds,
            maximum_seconds: list.maximum_seconds,
            policy: list.policy,
            enforcement: list.enforcement,
            conditions: list.conditions,
        };
        let lists: Vec<List> = wire.lists.into_iter().map(list).collect();
        let last_change =
            |name: &str| lists.iter().find(|list| list.list == name).map(|list| list.version.as_str());
        let sidecar = |sidecar: v1::SubscriberSummary| Sidecar {
            lag: Lag::new(&sidecar.acknowledged_version, last_change(&sidecar.list)),
            identity: sidecar.identity,
            list: sidecar.list,
            acknowledged_version: sidecar.acknowledged_version,
            last_ping_age_milliseconds: sidecar.last_ping_age_milliseconds,
            connected: sidecar.connected,
            replica: sidecar.replica,
        };
        let sidecars = wire.subscribers.into_iter().map(sidecar).collect();
        Self { version: wire.version, lists, sidecars }
    }
}

impl Status {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let server = match self.backend.open().await? {
            Backend::Server(_) if self.all_namespaces => return Err(everywhere()),
            Backend::Server(server) => server,
            Backend::Cluster(cluster) => return self.of_cluster(&cluster, context).await,
        };
        let request = server.request(v1::AdminStatusRequest {});
        let answer = Answer::from(server.answer(server.admin().status(request)).await?);
        let names = || answer.lists.iter().map(|list| format!("list/{}\n", list.list)).collect();
        self.print(&answer, names, |_, console| describe(&answer, console), context.console)
    }

    async fn of_cluster(&self, cluster: &Cluster, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let status = match self.output {
            // They need no more than the lists.
            Some(Format::Name) => cluster.declared_lists(self.all_namespaces).await?,
            Some(Format::Json | Format::Yaml | Format::Wide) | None => {
                cluster.status(self.all_namespaces, &self.controllers, context.now()).await?
            }
        };
        for warning in &status.warnings {
            context.console.remark(Tone::Doubtful, "warning", warning);
        }
        let describe = |width, console: &Console| status.describe(width, console);
        self.print(&status, || status.names(), describe, context.console)
    }

    fn print(
        &self,
        answer: &impl Serialize,
        names: impl FnOnce() -> String,
        describe: impl FnOnce(Width, &Console) -> String,
        console: &mut Console,
    ) -> Result<Exit, Failure> {
        let text = match self.output {
            Some(Format::Json) => return Ok(Machine::Json.print(answer, console).map(|()| Exit::Done)?),
            Some(Format::Yaml) => return Ok(Machine::Yaml.print(answer, console).map(|()| Exit::Done)?),
            Some(Format::Name) => names(),
            Some(Format::Wide) => describe(Width::Wide, console),
            None => describe(Width::Usual, console),
        };
        console.print(&text)?;
        Ok(Exit::Done)
    }
}

fn describe(answer: &Answer, console: &Console) -> String {
    let sections = [
        format!("Version {}\n", printable(&answer.version)),
        lists(&answer.lists),
        sidecars(&answer.sidecars),
        conditions(&answer.lists, console),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn lists(lists: &[List]) -> String {
    if lists.is_empty() {
        return "No lists.\n".to_owned();
    }
    let row = |list: &List| {
        [
            list.list.clone(),
            list.records.to_string(),
            list.keys.to_string(),
            list.sidecars.to_string(),
            list.version.clone(),
            format!("{} s", list.bound_seconds),
            format!("{} s", list.maximum_seconds),
            list.policy.clone(),
            list.enforcement.clone(),
            list.config_generation.to_string(),
        ]
    };
    let rows: Vec<_> = lists.iter().map(row).collect();
    let head = [
        "LIST",
        "RECORDS",
        "KEYS",
        "SIDECARS",
        "VERSION",
        "BOUND",
        "MAXIMUM",
        "POLICY",
        "ENFORCEMENT",
        "CONFIG",
    ];
    table(head, &rows)
}

fn sidecars(sidecars: &[Sidecar]) -> String {
    if sidecars.is_empty() {
        return "No sidecars.\n".to_owned();
    }
    let row = |sidecar: &Sidecar| {
        [
            sidecar.identity.clone(),
            sidecar.list.clone(),
            sidecar.acknowledged_version.clone(),
            format!("{} ago", elapsed(sidecar.last_ping_age_milliseconds)),
            sidecar.lag.text().to_owned(),
            if sidecar.connected { "yes" } else { "no" }.to_owned(),
            sidecar.replica.clone(),
        ]
    };
    let rows: Vec<_> = sidecars.iter().map(row).collect();
    table(["SIDECAR", "LIST", "ACKNOWLEDGED", "LAST PING", "LAG", "CONNECTED", "REPLICA"], &rows)
}

fn conditions(lists: &[List], console: &Console) -> String {
    let line = |list: &List, text: &String| {
        let name = console.out_surface().paint(Tone::Doubtful, &printable(&list.list));
        format!("{name}: {}\n", printable(text))
    };
    let lines: String =
        lists.iter().flat_map(|list| list.conditions.iter().map(move |text| line(list, text))).collect();
    if lines.is_empty() { lines } else { format!("Conditions\n{lines}") }
}
