//! `rescind status`: the lists, and what every sidecar knows.

use clap::Args;
use serde::Serialize;

use super::backend::{Backend, BackendOptions, everywhere};
use super::cluster::Cluster;
use super::console::{Console, Tone, printable};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::Machine;
use super::table::table;
use super::time::elapsed;
use crate::proto::v1;

/// Show the lists, and what every sidecar knows
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rescind status
  rescind status -A
  rescind status -o json | jq '.sidecars[] | select(.connected | not)'")]
pub(super) struct Status {
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml", hide_possible_values = true)]
    output: Option<Machine>,
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
        let sidecar = |sidecar: v1::SubscriberSummary| Sidecar {
            identity: sidecar.identity,
            list: sidecar.list,
            acknowledged_version: sidecar.acknowledged_version,
            last_ping_age_milliseconds: sidecar.last_ping_age_milliseconds,
            connected: sidecar.connected,
            replica: sidecar.replica,
        };
        Self {
            version: wire.version,
            lists: wire.lists.into_iter().map(list).collect(),
            sidecars: wire.subscribers.into_iter().map(sidecar).collect(),
        }
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
        match self.output {
            Some(machine) => machine.print(&answer, context.console)?,
            None => {
                let text = describe(&answer, context.console);
                context.console.print(&text)?;
            }
        }
        Ok(Exit::Done)
    }

    async fn of_cluster(&self, cluster: &Cluster, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let status = cluster.status(self.all_namespaces, &self.controllers).await?;
        if let Some(warning) = &status.warning {
            context.console.remark(Tone::Doubtful, "warning", warning);
        }
        match self.output {
            Some(machine) => machine.print(&status, context.console)?,
            None => {
                let text = status.describe(context.now(), context.console);
                context.console.print(&text)?;
            }
        }
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
            if sidecar.connected { "yes" } else { "no" }.to_owned(),
            sidecar.replica.clone(),
        ]
    };
    let rows: Vec<_> = sidecars.iter().map(row).collect();
    table(["SIDECAR", "LIST", "ACKNOWLEDGED", "LAST PING", "CONNECTED", "REPLICA"], &rows)
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
