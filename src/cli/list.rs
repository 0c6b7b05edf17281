//! `rescind list`: the live revocations.

use clap::Args;
use serde::Serialize;

use super::console::Console;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::{Format, Machine};
use super::revoke::list_text;
use super::server::{Role, Server, ServerOptions};
use super::table::{shorten, table};
use super::time::age;
use super::view::{BadAnswer, View};
use crate::api::revocation as api;
use crate::api::target::write_time;
use crate::proto::v1;
use crate::revocation::names::ListName;
use crate::revocation::time::UnixSeconds;

const PAGE_SIZE: u32 = 500;
/// So that a line fits a terminal; `wide` shows everything.
const MAX_TARGET: usize = 48;

/// List live revocations
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rescind list
  rescind list --list shop -o wide
  rescind list -o json | jq -r '.items[].metadata.name'")]
pub(super) struct List {
    /// Only those of this list, NAMESPACE/NAME or NAME
    #[arg(long, short, value_name = "LIST")]
    list: Option<ListName>,
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml|name|wide", hide_possible_values = true)]
    output: Option<Format>,
    /// Where the server is.
    #[command(flatten)]
    server: ServerOptions,
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
        let server = Server::open(&self.server, Role::Controller)?;
        let views = fetch(&server, self.list.as_ref()).await?;
        let now = context.now();
        print(&views, self.output, now, context.console)?;
        Ok(Exit::Done)
    }
}

/// Fetches all pages.
pub(super) async fn fetch(server: &Server, list: Option<&ListName>) -> Result<Vec<View>, Failure> {
    let mut views = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            v1::ListRequest { list: list_text(list), page_size: PAGE_SIZE, page_token: page_token.clone() };
        let page = server.answer(server.admin().list(server.request(request))).await?;
        for revocation in page.revocations {
            views.push(View::try_from(Some(revocation))?);
        }
        if page.next_page_token.is_empty() {
            return Ok(views);
        }
        if page.next_page_token == page_token {
            return Err(BadAnswer { what: "a page that follows itself" }.into());
        }
        page_token = page.next_page_token;
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
        Some(Format::Wide) => return Ok(console.print(&wide(views, now))?),
        None => return Ok(console.print(&narrow(views, now))?),
    };
    let items = views.iter().map(View::object).collect();
    let items = Items { api_version: crate::api::API_VERSION, kind: "RevocationList", items };
    Ok(machine.print(&items, console)?)
}

fn since(view: &View, now: UnixSeconds) -> String {
    age(now.get().saturating_sub(view.created.get()))
}

fn narrow(views: &[View], now: UnixSeconds) -> String {
    let row = |view: &View| {
        [
            view.name.clone(),
            shorten(&view.target(), MAX_TARGET),
            view.list.to_string(),
            view.cutoff(),
            since(view, now),
            view.reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = views.iter().map(row).collect();
    table(["NAME", "TARGET", "LIST", "CUTOFF", "AGE", "REASON"], &rows)
}

fn wide(views: &[View], now: UnixSeconds) -> String {
    let row = |view: &View| {
        [
            view.name.clone(),
            view.target(),
            view.list.to_string(),
            view.cutoff(),
            since(view, now),
            view.reason.clone().unwrap_or_default(),
            view.expires().map_or_else(|| "never".to_owned(), write_time),
            view.version.clone(),
            view.message.clone().unwrap_or_default(),
            view.uid.clone(),
        ]
    };
    let rows: Vec<_> = views.iter().map(row).collect();
    let head = ["NAME", "TARGET", "LIST", "CUTOFF", "AGE", "REASON", "EXPIRES", "VERSION", "MESSAGE", "UID"];
    table(head, &rows)
}
