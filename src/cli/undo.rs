//! `rescind undo`: lifts a revocation.

use clap::Args;
use serde::Serialize;

use super::change::ChangeOptions;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::{Format, Machine};
use super::list;
use super::revoke::list_text;
use super::server::{Role, Server};
use super::view::View;
use crate::api::revocation as api;
use crate::proto::v1;
use crate::revocation::names::RecordId;

/// Lift a revocation, by its name or UID
#[derive(Args, Clone, Debug)]
#[command(after_help = "What it denied passes again, unless another revocation covers it.

Examples:
  rescind undo r-7k2m9
  rescind undo r-7k2m9 --dry-run")]
pub(super) struct Undo {
    /// Name of the revocation, or its UID
    #[arg(value_name = "NAME|UID")]
    revocation: String,
    /// What every change has.
    #[command(flatten)]
    change: ChangeOptions,
}

/// The one object of a machine's answer.
#[derive(Serialize)]
struct Answer {
    revocation: api::Revocation,
    version: String,
}

impl Undo {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let server = Server::open(&self.change.server, Role::Controller)?;
        let dry_run = self.change.is_dry_run();
        let request = v1::LiftRequest { dry_run, ..self.find(&server).await? };
        let answer = server.answer(server.admin().lift(server.request(request))).await?;
        let view = View::try_from(answer.revocation)?;
        let machine = match self.change.output {
            Some(Format::Json) => Machine::Json,
            Some(Format::Yaml) => Machine::Yaml,
            Some(Format::Name) => {
                context.console.print(&format!("revocation/{}\n", view.name))?;
                return Ok(Exit::Done);
            }
            Some(Format::Wide) | None => {
                let text = describe(&view, &answer.version, dry_run);
                context.console.print(&text)?;
                return Ok(Exit::Done);
            }
        };
        machine.print(&Answer { revocation: view.object(), version: answer.version }, context.console)?;
        Ok(Exit::Done)
    }

    /// A UID is looked up, for the server wants a name; what no revocation has as its UID may still be a name.
    async fn find(&self, server: &Server) -> Result<v1::LiftRequest, Failure> {
        let by_name = v1::LiftRequest {
            list: list_text(self.change.list.as_ref()),
            name: self.revocation.clone(),
            ..v1::LiftRequest::default()
        };
        let Ok(uid) = self.revocation.parse::<RecordId>() else { return Ok(by_name) };
        let views = list::fetch(server, self.change.list.as_ref()).await?;
        let found = views.into_iter().find(|view| view.uid.parse() == Ok(uid));
        Ok(found.map_or(by_name, |view| v1::LiftRequest {
            list: view.list.to_string(),
            name: view.name,
            uid: view.uid,
            dry_run: false,
        }))
    }
}

fn describe(view: &View, version: &str, is_dry_run: bool) -> String {
    let what = format!("{} ({}, list {})", view.name, view.target(), view.list);
    match is_dry_run {
        true => format!("{what} would be lifted; nothing is changed (dry run)\n"),
        false => format!(
            "{what} lifted at version {version}\n\
             What it denied passes again as the sidecars learn of it, unless another revocation covers it.\n"
        ),
    }
}
