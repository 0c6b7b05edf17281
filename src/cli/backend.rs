//! Where revocations are kept: with a controller, behind its admin API, or in a cluster, as objects.
//!
//! Each command says once what it wants, and this is where the two ways part.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::cluster::{Cluster, ClusterOptions};
use super::failure::Failure;
use super::server::{Role, Server, ServerOptions};
use super::view::{BadAnswer, View};
use super::wait::{self, Report};
use crate::api::revocation as api;
use crate::proto::v1;
use crate::revocation::names::{DEFAULT_NAMESPACE, ListName, NameError};
use crate::revocation::time::Moment;

/// Revocations in one answer of a server.
const PAGE_SIZE: u32 = 500;

/// Which of the two.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct BackendOptions {
    /// A controller's admin API.
    #[command(flatten)]
    server: ServerOptions,
    /// A cluster.
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// A list, as NAMESPACE/NAME or NAME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListReference {
    namespace: Option<String>,
    name: String,
}

impl ListReference {
    /// Returns the namespace, if one was written.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Returns the name within the namespace.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Writes it as a server wants it; empty lets the server choose.
    fn text(list: Option<&Self>) -> String {
        let whole = |list: &Self| format!("{}/{}", list.namespace().unwrap_or(DEFAULT_NAMESPACE), list.name);
        list.map(whole).unwrap_or_default()
    }
}

impl FromStr for ListReference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let whole: ListName = text.parse()?;
        let namespace = text.contains('/').then(|| whole.namespace().to_owned());
        Ok(Self { namespace, name: whole.name().to_owned() })
    }
}

impl From<&ListName> for ListReference {
    fn from(name: &ListName) -> Self {
        Self { namespace: Some(name.namespace().to_owned()), name: name.name().to_owned() }
    }
}

/// Where a dry run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    /// It is no dry run
    None,
    /// Before anything is sent: what would be is printed
    Client,
    /// At the server, which checks everything
    Server,
}

/// What came of revoking.
pub(super) enum Revoked {
    /// It is stored; or it would be, for a dry run at the server.
    Stored {
        /// The revocation.
        view: Box<View>,
        /// What may not be as its author thinks.
        warnings: Vec<String>,
    },
    /// Nothing was sent.
    Planned {
        /// What would be.
        object: Box<api::Revocation>,
        /// As above.
        warnings: Vec<String>,
    },
}

/// What came of lifting.
pub(super) struct Lifted {
    /// What was lifted.
    pub(super) view: View,
    /// The version as of which; empty where it is not known, or nothing was lifted.
    pub(super) version: String,
}

/// Live revocations.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) views: Vec<View>,
    /// What is missing.
    pub(super) warnings: Vec<String>,
}

/// One of the two.
pub(super) enum Backend {
    /// A controller's admin API.
    Server(Server),
    /// A cluster.
    Cluster(Cluster),
}

impl BackendOptions {
    /// Finds the server that is named, or else the cluster of the kubeconfig.
    ///
    /// # Errors
    /// [`Failure`] if neither is there, or options of both are given.
    pub(super) async fn open(&self) -> Result<Backend, Failure> {
        match (self.server.is_given(), self.server.credentials(), self.cluster.given()) {
            (true, _, Some(option)) => Err(Failure::Usage(format!(
                "{option} is for a cluster, and --server (or RESCIND_SERVER) names a server without one: \
                 leave one of them out"
            ))),
            (true, _, None) => Ok(Backend::Server(Server::open(&self.server, Role::Controller)?)),
            (false, Some(option), _) => {
                Err(Failure::Usage(format!("{option} is for a server: name it with --server")))
            }
            (false, None, _) => Ok(Backend::Cluster(Cluster::open(&self.cluster).await?)),
        }
    }
}

impl Backend {
    /// Returns what has happened to a revocation that was sent.
    pub(super) const fn participle(&self) -> &'static str {
        match self {
            Self::Server(_) => "accepted",
            // What the controller makes of it is told by its status, later.
            Self::Cluster(_) => "created",
        }
    }

    /// Revokes; the request's list and dry run are filled in here.
    ///
    /// # Errors
    /// [`Failure`] unless it is stored for good.
    pub(super) async fn revoke(
        &self,
        list: Option<&ListReference>,
        request: v1::RevokeRequest,
        dry_run: DryRun,
        now: Moment,
    ) -> Result<Revoked, Failure> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.revoke(list, &request, dry_run, now).await?),
            Self::Server(server) => {
                let dry_run = at_server(dry_run)?;
                let request = v1::RevokeRequest { list: ListReference::text(list), dry_run, ..request };
                let answer = server.answer(server.admin().revoke(server.request(request))).await?;
                let view = Box::new(View::try_from(answer.revocation)?);
                Ok(Revoked::Stored { view, warnings: answer.warnings })
            }
        }
    }

    /// Lifts a revocation by its name; with a UID, no other one of that name.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn lift(
        &self,
        list: Option<&ListReference>,
        name: &str,
        uid: Option<&str>,
        dry_run: DryRun,
    ) -> Result<Lifted, Failure> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.lift(list, name, uid, dry_run).await?),
            Self::Server(server) => {
                let request = v1::LiftRequest {
                    list: ListReference::text(list),
                    name: name.to_owned(),
                    uid: uid.unwrap_or_default().to_owned(),
                    dry_run: at_server(dry_run)?,
                };
                let answer = server.answer(server.admin().lift(server.request(request))).await?;
                Ok(Lifted { view: View::try_from(answer.revocation)?, version: answer.version })
            }
        }
    }

    /// Fetches all live revocations, of a list or of all; in a cluster, of one namespace or of all.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn list(
        &self,
        list: Option<&ListReference>,
        is_everywhere: bool,
    ) -> Result<Listed, Failure> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.list(list, is_everywhere).await?),
            Self::Server(_) if is_everywhere => Err(everywhere()),
            Self::Server(server) => {
                Ok(Listed { views: fetch(server, ListReference::text(list)).await?, warnings: Vec::new() })
            }
        }
    }

    /// Tells how far a revocation has come, until it is enforced or never will be.
    pub(super) fn reports(&self, view: &View) -> BoxStream<'_, Report> {
        match self {
            Self::Cluster(cluster) => cluster.reports(view),
            Self::Server(server) => {
                let (list, version) = (view.list.to_string(), view.version.clone());
                wait::reports(server, v1::WaitEnforcedRequest { list, version }).boxed()
            }
        }
    }
}

/// Says that a server has its lists together.
pub(super) fn everywhere() -> Failure {
    let text = "--all-namespaces is for a cluster: a server shows those of all namespaces without it";
    Failure::Usage(text.to_owned())
}

fn at_server(dry_run: DryRun) -> Result<bool, Failure> {
    match dry_run {
        DryRun::None => Ok(false),
        DryRun::Server => Ok(true),
        DryRun::Client => {
            let text = "--dry-run=client prints an object for a cluster; at a server, say --dry-run=server";
            Err(Failure::Usage(text.to_owned()))
        }
    }
}

/// Fetches all pages.
async fn fetch(server: &Server, list: String) -> Result<Vec<View>, Failure> {
    let mut views = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            v1::ListRequest { list: list.clone(), page_size: PAGE_SIZE, page_token: page_token.clone() };
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
