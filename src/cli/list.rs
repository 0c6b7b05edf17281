//! `rescind list`: the live revocations.

use clap::Args;
use serde::Serialize;

use super::backend::{BackendOptions, ListReference};
use super::cluster::standing;
use super::console::{Console, Tone};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::{Format, Machine};
use super::table::{shorten, table};
use super::time::age;
use super::view::View;
use crate::api::revocation as api;
use crate::api::target::write_time;
use crate::revocation::time::UnixSeconds;

/// So that a line fits a terminal; `wide` shows everything.
const MAX_TARGET: usize = 48;

/// List live revocations
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rescind list
  rescind list --list shop -o wide
  rescind list -A
  rescind list -o json | jq -r '.items[].metadata.name'")]
pub(super) struct List {
    /// Only those of this list, NAMESPACE/NAME or NAME
    #[arg(long, short, value_name = "LIST")]
    list: Option<ListReference>,
    /// Those of all namespaces of the cluster
    #[arg(long, short = 'A', conflicts_with_all = ["namespace", "list"])]
    all_namespaces: bool,
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml|name|wide", hide_possible_values = true)]
    output: Option<Format>,
    /// Where revocations are kept.
    #[command(flatten)]
    backend: BackendOptions,
}

/// As `kubectl get -o json` has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Items {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<api::Revocation>,
}

impl List {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let backend = self.backend.open().await?;
        let listed = backend.list(self.list.as_ref(), self.all_namespaces).await?;
        for warning in &listed.warnings {
            context.console.remark(Tone::Doubtful, "warning", warning);
        }
        let now = context.now();
        print(&listed.views, self.output, now, context.console)?;
        Ok(Exit::Done)
    }
}

fn print(
    views: &[View],
    format: Option<Format>,
    now: UnixSeconds,
    console: &mut Console,
) -> Result<(), Failure> {
    let machine = match format {
        Some(Format::Json) => Machine::Json,
        Some(Format::Yaml) => Machine::Yaml,
        Some(Format::Name) => {
            let lines: String = views.iter().map(|view| format!("revocation/{}\n", view.name)).collect();
            return Ok(console.print(&lines)?);
        }
        Some(Format::Wide) | None if views.is_empty() => {
            console.note("no revocations\n");
            return Ok(());
        }
        Some(Format::Wide) => return Ok(console.print(&text(views, true, now))?),
        None => return Ok(console.print(&text(views, false, now))?),
    };
    let items = views.iter().map(View::object).collect();
    let items = Items { api_version: crate::api::API_VERSION, kind: "RevocationList", items };
    Ok(machine.print(&items, console)?)
}

/// A column of the table: its head, and its cell for a revocation at a time.
type Column = (&'static str, fn(&View, UnixSeconds) -> String);

fn text(views: &[View], is_wide: bool, now: UnixSeconds) -> String {
    // Only an object of a cluster tells; what a server enforces, whoever waits hears.
    let is_of_cluster = views.iter().any(|view| view.object.is_some());
    let mut columns: Vec<Column> = vec![
        ("NAME", |view, _| view.name.clone()),
        (
            "TARGET",
            if is_wide { |view, _| view.target() } else { |view, _| shorten(&view.target(), MAX_TARGET) },
        ),
        ("LIST", |view, _| view.list.to_string()),
        ("CUTOFF", |view, _| view.cutoff()),
    ];
    if is_of_cluster {
        columns.push(("ENFORCED", |view, _| {
            view.object.as_deref().map(standing).unwrap_or_default().to_owned()
        }));
    }
    columns.push(("AGE", |view, now| age(now.get().saturating_sub(view.created.get()))));
    columns.push(("REASON", |view, _| view.reason.clone().unwrap_or_default()));
    if is_wide {
        columns.extend::<[Column; 4]>([
            ("EXPIRES", |view, _| view.expires().map_or_else(|| "never".to_owned(), write_time)),
            ("VERSION", |view, _| view.version.clone()),
            ("MESSAGE", |view, _| view.message.clone().unwrap_or_default()),
            ("UID", |view, _| view.uid.clone()),
        ]);
    }
    let head: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    let row = |view: &View| columns.iter().map(|(_, cell)| cell(view, now)).collect::<Vec<_>>();
    let rows: Vec<_> = views.iter().map(row).collect();
    table(head, &rows)
}
