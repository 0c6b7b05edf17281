//! `rescind undo`: lifts a revocation.

use clap::Args;
use serde::Serialize;

use super::backend::{Backend, Lifted, ListReference};
use super::change::ChangeOptions;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::{Format, Machine};
use super::view::View;
use crate::api::revocation as api;
use crate::revocation::names::RecordId;

/// Lift a revocation, by its name or UID
#[derive(Args, Clone, Debug)]
#[command(after_help = "What it denied passes again, unless another revocation covers it.

Examples:
  rescind undo r-7k2m9
  rescind undo r-7k2m9 --dry-run
  rescind undo r-7k2m9 -n shop
  rescind list -o name | xargs -n1 rescind undo")]
pub(super) struct Undo {
    /// Name of the revocation, or its UID; revocation/NAME, too, as -o name prints it
    #[arg(value_name = "NAME|UID", value_parser = named)]
    revocation: String,
    /// What every change has.
    #[command(flatten)]
    change: ChangeOptions,
}

/// Reads a name as it is, or as `kubectl` and `-o name` write it.
fn named(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        None => Ok(text.to_owned()),
        Some((kind, name)) if KINDS.contains(&kind) => Ok(name.to_owned()),
        Some((kind, _)) => Err(format!("{kind} is no revocation: write NAME, or revocation/NAME")),
    }
}

/// What stands before a name.
const KINDS: [&str; 5] =
    ["revocation", "revocations", "revocation.rescind.dev", "revocations.rescind.dev", "rvk"];

/// The one object of a machine's answer.
#[derive(Serialize)]
struct Answer {
    revocation: api::Revocation,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
}

impl Undo {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let backend = self.change.backend.open().await?;
        let (list, name, uid) = self.find(&backend).await?;
        let Lifted { view, version } =
            backend.lift(list.as_ref(), &name, uid.as_deref(), self.change.dry_run).await?;
        let machine = match self.change.output {
            Some(Format::Json) => Machine::Json,
            Some(Format::Yaml) => Machine::Yaml,
            Some(Format::Name) => {
                context.console.print(&format!("revocation/{}\n", view.name))?;
                return Ok(Exit::Done);
            }
            Some(Format::Wide) | None => {
                let text = describe(&view, &version, self.change.is_dry_run());
                context.console.print(&text)?;
                return Ok(Exit::Done);
            }
        };
        machine.print(&Answer { revocation: view.object(), version }, context.console)?;
        Ok(Exit::Done)
    }

    /// A UID is looked up, for a name is wanted; what no revocation has as its UID may still be a name.
    async fn find(
        &self,
        backend: &Backend,
    ) -> Result<(Option<ListReference>, String, Option<String>), Failure> {
        let by_name = (self.change.list.clone(), self.revocation.clone(), None);
        let Ok(uid) = self.revocation.parse::<RecordId>() else { return Ok(by_name) };
        let listed = backend.list(self.change.list.as_ref(), false).await?;
        let found = listed.views.into_iter().find(|view| view.uid.parse() == Ok(uid));
        Ok(found.map_or(by_name, |view| (Some((&view.list).into()), view.name, Some(view.uid))))
    }
}

fn describe(view: &View, version: &str, is_dry_run: bool) -> String {
    let what = format!("{} ({}, list {})", view.name, view.target(), view.list);
    match is_dry_run {
        true => format!("{what} would be lifted; nothing is changed (dry run)\n"),
        false => format!(
            "{what} lifted{}\n\
             What it denied passes again as the sidecars learn of it, unless another revocation covers it.\n",
            if version.is_empty() { String::new() } else { format!(" at version {version}") },
        ),
    }
}
