//! The admin API: people and programs revoke, lift, list, and wait until it is enforced.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::api::invalid::Invalid;
use crate::api::target;
use crate::distribution::enforcement::Sessions;
use crate::distribution::hub::Hub;
use crate::proto::v1;
use crate::proto::v1::revocation_admin_server::RevocationAdmin;
use crate::revocation::key::HashKey;
use crate::revocation::names::ListName;
use crate::revocation::record::RevocationSpec;
use crate::revocation::selector::Selection;
use crate::revocation::time::Moment;
use crate::revocation::version::{ToldVersion, Version};
use crate::runtime::clock::Clock;
use crate::store::{Fetched, NewRevocation, NewStep, Store, StoreError};
use crate::token::list_config::ListConfig;

use super::access::{Caller, Gate, Permission};
use super::audit::{self, Audit, Deed};

mod convert;
mod status;
mod wait;

pub use wait::Enforcing;

/// Revocations in one answer to List, at most.
const MAX_PAGE: usize = 500;

/// The service `rescind.v1.RevocationAdmin`.
#[derive(Clone)]
pub struct Admin {
    store: Arc<dyn Store>,
    hubs: Arc<[Arc<Hub>]>,
    sessions: Arc<Sessions>,
    clock: Arc<dyn Clock>,
    enforcing: Arc<dyn Enforcing>,
    gate: Gate,
    shutdown: CancellationToken,
    audit: Audit,
    /// Everything is read for one call at a time: it takes memory and a core.
    reading: Arc<Semaphore>,
}

impl Admin {
    /// Makes the service over a store and the replicas of this process, of which there is at least one. When `shutdown`
    /// is cancelled, nobody is left waiting.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        hubs: Arc<[Arc<Hub>]>,
        sessions: Arc<Sessions>,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
        audit: Audit,
    ) -> Self {
        let (enforcing, gate) = (Arc::<Sessions>::clone(&sessions), Gate::open());
        let reading = Arc::new(Semaphore::new(1));
        Self { store, hubs, sessions, clock, enforcing, gate, shutdown, audit, reading }
    }

    /// Asks what each caller may do, and lets the reports of all processes say what is enforced.
    #[must_use]
    pub fn in_cluster(self, gate: Gate, enforcing: Arc<dyn Enforcing>) -> Self {
        Self { gate, enforcing, ..self }
    }

    /// Finds the list that a request means, if the caller may do this with revocations of its namespace. Nobody learns
    /// which lists there are in a namespace of others.
    async fn admitted(
        &self,
        caller: Option<&Caller>,
        verb: &'static str,
        named: &str,
    ) -> Result<(ListConfig, HashKey), Status> {
        if !self.gate.is_open() && !named.is_empty() {
            let name = list_name(named)?;
            let needed = Permission::on_revocations(verb, Some(name.namespace()));
            self.gate.require(caller, &needed).await?;
            return self.resolve_with_key(named).await;
        }
        let (list, hash_key) = self.resolve_with_key(named).await?;
        let needed = Permission::on_revocations(verb, Some(list.name.namespace()));
        self.gate.require(caller, &needed).await?;
        Ok((list, hash_key))
    }

    /// Revoking much, and lifting that, needs a right of its own.
    async fn may_be_wide(
        &self,
        caller: Option<&Caller>,
        list: &ListName,
        selection: &Selection,
    ) -> Result<(), Status> {
        match Permission::on_wide(list, selection) {
            Some(needed) => self.gate.require(caller, &needed).await,
            None => Ok(()),
        }
    }

    async fn fetch(&self) -> Result<Fetched, Status> {
        // Fails only if the semaphore is closed, which nobody does.
        let _turn = self.reading.acquire().await;
        self.store.read().await.map_err(status_of)
    }

    async fn configs(&self) -> Result<Vec<ListConfig>, Status> {
        Ok(self.lists().await?.into_iter().map(|(config, _)| config).collect())
    }

    /// The declared lists that can be used, with the keys of their hashes.
    async fn lists(&self) -> Result<Vec<(ListConfig, HashKey)>, Status> {
        let lists = self.store.lists().await.map_err(status_of)?;
        Ok(lists.iter().filter_map(|list| Some((list.document.config().ok()?, list.hash_key))).collect())
    }

    /// Finds the list that a request means: the one that it names, or the only one.
    async fn resolve(&self, named: &str) -> Result<ListConfig, Status> {
        Ok(self.resolve_with_key(named).await?.0)
    }

    async fn resolve_with_key(&self, named: &str) -> Result<(ListConfig, HashKey), Status> {
        let mut lists = self.lists().await?;
        if named.is_empty() {
            return match (lists.pop(), lists.pop()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err(Status::failed_precondition("no list is declared: declare one first")),
                (Some(_), Some(_)) => Err(Status::invalid_argument("there are several lists: name one")),
            };
        }
        let name = list_name(named)?;
        let found = lists.into_iter().find(|(config, _)| config.name == name);
        found.ok_or_else(|| Status::not_found(format!("no list {name} is declared")))
    }
}

fn list_name(named: &str) -> Result<ListName, Status> {
    named.parse().map_err(|error| Status::invalid_argument(format!("list: {error}")))
}

/// Returns who makes a call, where that is asked for.
fn caller_of<T>(request: &Request<T>) -> Option<Caller> {
    request.extensions().get().cloned()
}

fn status_of(error: StoreError) -> Status {
    let text = error.to_string();
    match error {
        StoreError::Full { .. } => Status::resource_exhausted(text),
        StoreError::UnknownList { .. } | StoreError::NotFound { .. } => Status::not_found(text),
        StoreError::NameTaken { .. } => Status::already_exists(text),
        StoreError::Spec(_) | StoreError::Unwritable => Status::invalid_argument(text),
        StoreError::Refused { .. } => Status::permission_denied(text),
        StoreError::Busy | StoreError::Unavailable { .. } | StoreError::WentBack => Status::unavailable(text),
        StoreError::Failed { .. } => Status::internal(text),
    }
}

fn invalid(error: &Invalid) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Reads what a request to revoke means under a list's declaration, and warns of what may not reach every token.
///
/// It decides everything but whether the store takes it: whoever stores revocations in another way asks here, too.
/// A presented token is verified before its identifier is taken.
///
/// # Errors
/// `INVALID_ARGUMENT` with a sentence that names the field. The list must be the one that the request means.
pub fn read(
    request: &v1::RevokeRequest,
    list: &ListConfig,
    now: Moment,
) -> Result<(RevocationSpec, Vec<String>), Status> {
    let spec = convert::spec(request, list, now)?;
    let warnings = target::check_declared(&spec, list).map_err(|error| invalid(&error))?;
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    target::notes(given(&request.reason), given(&request.message)).map_err(|error| invalid(&error))?;
    Ok((spec, warnings))
}

#[tonic::async_trait]
impl RevocationAdmin for Admin {
    type WaitEnforcedStream = Pin<Box<dyn Stream<Item = Result<v1::EnforcementProgress, Status>> + Send>>;

    async fn revoke(
        &self,
        request: Request<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeResponse>, Status> {
        let caller = caller_of(&request);
        let mut act = self.audit.request(Deed::Revoke, request.extensions());
        let request = request.into_inner();
        let is_try = request.dry_run;
        let revoked = self.try_revoke(caller.as_ref(), request, &mut act).await;
        if is_try {
            act.was_a_try()
        } else {
            act.ended(&revoked)
        }
        revoked.map(Response::new)
    }

    async fn lift(&self, request: Request<v1::LiftRequest>) -> Result<Response<v1::LiftResponse>, Status> {
        let caller = caller_of(&request);
        let mut act = self.audit.request(Deed::Lift, request.extensions());
        let request = request.into_inner();
        let is_try = request.dry_run;
        let lifted = self.try_lift(caller.as_ref(), request, &mut act).await;
        if is_try {
            act.was_a_try()
        } else {
            act.ended(&lifted)
        }
        lifted.map(Response::new)
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let caller = caller_of(&request);
        let request = request.into_inner();
        let only = match request.list.as_str() {
            "" => {
                let needed = Permission::on_revocations("list", None);
                self.gate.require(caller.as_ref(), &needed).await?;
                None
            }
            named => Some(self.admitted(caller.as_ref(), "list", named).await?.0.name),
        };
        let after = convert::page_token(&request.page_token)?;
        let configs = self.configs().await?;
        let fetched = self.fetch().await?;
        let asked = usize::try_from(request.page_size).unwrap_or(MAX_PAGE);
        let size = if asked == 0 { MAX_PAGE } else { asked.min(MAX_PAGE) };
        let mut matching = fetched
            .revocations
            .iter()
            .filter(|revocation| only.as_ref().is_none_or(|only| revocation.list == *only))
            .filter(|revocation| revocation.version.revisions.revocations > after)
            .peekable();
        let page: Vec<_> = matching.by_ref().take(size).collect();
        let last = page.last().map(|revocation| revocation.version.revisions.revocations.to_string());
        let next_page_token =
            if matching.peek().is_some() { last.unwrap_or_default() } else { String::new() };
        let revocations = page.into_iter().map(|revocation| {
            let config = configs.iter().find(|config| config.name == revocation.list);
            convert::stored(revocation, config)
        });
        Ok(Response::new(v1::ListResponse { revocations: revocations.collect(), next_page_token }))
    }

    async fn status(
        &self,
        request: Request<v1::AdminStatusRequest>,
    ) -> Result<Response<v1::AdminStatusResponse>, Status> {
        let needed = Permission::on_revocations("list", None);
        self.gate.require(caller_of(&request).as_ref(), &needed).await?;
        let configs = self.configs().await?;
        let fetched = self.fetch().await?;
        let hub = self.hubs.first().ok_or_else(|| Status::unavailable("no replica runs"))?;
        let sessions = self.sessions.report(self.clock.now());
        Ok(Response::new(status::summarise(&configs, &fetched, hub, sessions)))
    }

    async fn wait_enforced(
        &self,
        request: Request<v1::WaitEnforcedRequest>,
    ) -> Result<Response<Self::WaitEnforcedStream>, Status> {
        let caller = caller_of(&request);
        let request = request.into_inner();
        let list = self.admitted(caller.as_ref(), "get", &request.list).await?.0.name;
        let version = self.version(&request.version)?;
        let waiting = wait::Waiting {
            list,
            version,
            hubs: Arc::clone(&self.hubs),
            enforcing: Arc::clone(&self.enforcing),
            clock: Arc::clone(&self.clock),
            shutdown: self.shutdown.clone(),
        };
        Ok(Response::new(Box::pin(waiting.progress(PROGRESS_INTERVAL))))
    }
}

/// How often a caller hears of a wait in which nothing happens.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

impl Admin {
    async fn try_revoke(
        &self,
        caller: Option<&Caller>,
        request: v1::RevokeRequest,
        act: &mut audit::Request,
    ) -> Result<v1::RevokeResponse, Status> {
        act.tell(|told| told.kind(convert::kind(&request)));
        let (list, hash_key) = self.admitted(caller, "create", &request.list).await?;
        act.tell(|told| told.list(&list.name));
        let (spec, warnings) = read(&request, &list, self.clock.now())?;
        act.tell(|told| told.about(&spec.target, Some(&hash_key)));
        self.may_be_wide(caller, &list.name, &spec.target.selection).await?;
        let text = |text: String| (!text.is_empty()).then_some(text);
        let new = NewRevocation {
            list: list.name.clone(),
            name: convert::name(request.name)?,
            spec,
            reason: text(request.reason),
            message: text(request.message),
        };
        act.tell(|told| told.reason(new.reason.as_deref()));
        if request.dry_run {
            let revocation = Some(convert::planned(&new, &list, self.clock.now()));
            return Ok(v1::RevokeResponse { revocation, warnings });
        }
        let appended = self.store.append(NewStep::Revoke(Box::new(new))).await.map_err(status_of)?;
        act.tell(|told| told.version(&appended.version.to_string()));
        let revocation = appended.revocation.map(|revocation| {
            act.tell(|told| told.revocation(&revocation, Some(&hash_key)));
            tracing::info!(list = %revocation.list, id = %revocation.id, selector = revocation.spec.target.selection.name(), "revoked");
            v1::Revocation { version: appended.version.to_string(), ..convert::revocation(&revocation, &list) }
        });
        Ok(v1::RevokeResponse { revocation, warnings })
    }

    async fn try_lift(
        &self,
        caller: Option<&Caller>,
        request: v1::LiftRequest,
        act: &mut audit::Request,
    ) -> Result<v1::LiftResponse, Status> {
        let id = convert::uid(&request.uid)?;
        let named = if self.gate.is_open() {
            request.list
        } else {
            self.admitted(caller, "delete", &request.list).await?.0.name.to_string()
        };
        let ((list, hash_key), found) = self.find(&named, &request.name, id).await?;
        act.tell(|told| told.revocation(&found, Some(&hash_key)));
        self.may_be_wide(caller, &list.name, &found.spec.target.selection).await?;
        if request.dry_run {
            let revocation = Some(convert::revocation(&found, &list));
            return Ok(v1::LiftResponse { version: String::new(), revocation });
        }
        let step = NewStep::Lift { list: list.name.clone(), name: found.name.clone(), id: Some(found.id) };
        let appended = self.store.append(step).await.map_err(status_of)?;
        act.tell(|told| told.version(&appended.version.to_string()));
        tracing::info!(list = %list.name, id = %found.id, "lifted");
        let revocation = appended.revocation.map(|revocation| convert::revocation(&revocation, &list));
        Ok(v1::LiftResponse { version: appended.version.to_string(), revocation })
    }

    /// Reads a version as answers give it; it must be of the history that is followed now.
    fn version(&self, text: &str) -> Result<Version, Status> {
        let reached = self.hubs.first().and_then(|hub| hub.news().borrow().complete);
        let reached = reached.ok_or_else(|| Status::unavailable("nothing was fetched yet: try again"))?;
        let told = text.parse::<ToldVersion>().ok();
        told.and_then(|told| told.in_history(reached.epoch)).ok_or_else(|| {
            let example = reached.to_string();
            Status::invalid_argument(format!("{text:?} is not a version of this store, like {example}"))
        })
    }

    /// Finds a live revocation by name or by id, in one list or in all.
    async fn find(
        &self,
        list: &str,
        name: &str,
        id: Option<crate::revocation::names::RecordId>,
    ) -> Result<((ListConfig, HashKey), crate::store::Revocation), Status> {
        if name.is_empty() && id.is_none() {
            return Err(Status::invalid_argument("name the revocation, or give its uid"));
        }
        let only = if list.is_empty() { None } else { Some(self.resolve(list).await?.name) };
        let fetched = self.fetch().await?;
        let mut found = fetched.revocations.into_iter().filter(|revocation| {
            (name.is_empty() || revocation.name == name)
                && id.is_none_or(|id| revocation.id == id)
                && only.as_ref().is_none_or(|only| revocation.list == *only)
        });
        match (found.next(), found.next()) {
            (Some(found), None) => Ok((self.resolve_with_key(&found.list.to_string()).await?, found)),
            (None, _) => {
                let text = format!("no live revocation {name}: it was lifted, has expired, or never was");
                Err(Status::not_found(text))
            }
            (Some(_), Some(_)) => {
                Err(Status::invalid_argument("several lists have one of this name: name the list"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
