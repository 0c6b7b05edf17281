//! Creates the object of a revocation.

use std::time::Duration;

use kube::api::PostParams;
use tokio::time::timeout;

use crate::api::REVOKED_BY;
use crate::api::invalid::label;
use crate::api::revocation as api;
use crate::api::target::write;
use crate::controller::admin;
use crate::proto::v1;
use crate::proto::v1::cutoff::Cutoff as WireCutoff;
use crate::revocation::names::RecordId;
use crate::revocation::record::{Cutoff, RevocationSpec};
use crate::revocation::time::Moment;
use crate::runtime::random::{self, SystemRandomness};
use crate::store::generated_name;
use crate::token::list_config::ListConfig;

use super::super::backend::{DryRun, ListReference, Revoked};
use super::error::Wanted;
use super::object::view;
use super::{Cluster, ClusterError, REVOCATIONS};

/// What was not answered is sent so many times. The name makes it the same revocation.
const ATTEMPTS: u32 = 3;
/// How long who revokes is asked for.
const NAMED_WITHIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(500);

impl Cluster {
    /// Creates the object of a revocation, after the checks that the admin API makes.
    pub(in super::super) async fn revoke(
        &self,
        list: Option<&ListReference>,
        request: &v1::RevokeRequest,
        dry_run: DryRun,
        now: Moment,
    ) -> Result<Revoked, ClusterError> {
        let config = self.resolve(list).await?;
        let refused = |status: tonic::Status| ClusterError::Refused(status.message().to_owned());
        let (spec, warnings) = admin::read(request, &config, now).map_err(refused)?;
        let spec = with_clock_of_cluster(spec, request.cutoff, now);
        let mut object = object(request, &config, &spec)?;
        if dry_run == DryRun::Client {
            return Ok(Revoked::Planned { object: Box::new(object), warnings });
        }
        // To revoke matters more than to be named: what asking comes to does not stand in the way.
        if let Ok(Ok(Some(user))) = timeout(NAMED_WITHIN, self.user()).await {
            object.metadata.annotations = Some([(REVOKED_BY.to_owned(), user)].into());
        }
        if dry_run == DryRun::Server {
            let params = PostParams { dry_run: true, ..params() };
            let api = self.revocations(config.name.namespace());
            object = self.call(wanted(&config), api.create(&params, &object)).await?;
        } else {
            object = self.create(&config, object).await?;
        }
        let mut view =
            view(object, Some(&config)).map_err(|error| ClusterError::Answer(error.to_string()))?;
        if dry_run == DryRun::Server {
            // A name at random is another one next time, and nothing bears the UID.
            view.name.clone_from(&request.name);
            view.uid.clear();
        }
        Ok(Revoked::Stored { view: Box::new(view), warnings })
    }

    /// Creates an object, or finds that it is there: what comes of it is known by its name, whichever of the
    /// attempts had an effect.
    async fn create(
        &self,
        config: &ListConfig,
        object: api::Revocation,
    ) -> Result<api::Revocation, ClusterError> {
        let namespace = config.name.namespace();
        let name = object.metadata.name.clone().unwrap_or_default();
        let api = self.revocations(namespace);
        let mut attempt = 1;
        loop {
            match self.call(wanted(config), api.create(&params(), &object)).await {
                Err(ClusterError::Conflict(_)) => return self.existing(namespace, &name, &object).await,
                Err(error) if error.is_unsettled() && attempt == ATTEMPTS => {
                    return Err(ClusterError::Unsettled { error: Box::new(error), name });
                }
                Err(error) if error.is_unsettled() => {}
                Err(error @ ClusterError::Busy { .. }) if attempt == ATTEMPTS => return Err(error),
                Err(ClusterError::Busy { .. }) => {}
                other => return other,
            }
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn existing(
        &self,
        namespace: &str,
        name: &str,
        wanted: &api::Revocation,
    ) -> Result<api::Revocation, ClusterError> {
        match self.find(namespace, name).await? {
            Some(found) if found.spec == wanted.spec && found.metadata.deletion_timestamp.is_none() => {
                Ok(found)
            }
            Some(_) => Err(ClusterError::Conflict(format!(
                "namespace {namespace} has another revocation named {name}: choose another name"
            ))),
            None => Err(ClusterError::Conflict(format!(
                "{name} was deleted by somebody while it was created: repeat the command"
            ))),
        }
    }
}

fn wanted(config: &ListConfig) -> Wanted {
    Wanted::new("create", REVOCATIONS, Some(config.name.namespace()))
}

fn params() -> PostParams {
    PostParams { dry_run: false, field_manager: Some("rescind".to_owned()) }
}

/// Leaves out a cutoff of now that is the default: then it is the second in which the API server takes the object,
/// by its own clock, and the same command can be repeated.
fn with_clock_of_cluster(spec: RevocationSpec, asked: Option<v1::Cutoff>, now: Moment) -> RevocationSpec {
    let is_now = asked.is_some_and(|asked| asked.cutoff == Some(WireCutoff::Now(true)));
    let second = now.wall().floor();
    let without = RevocationSpec { cutoff: None, ..spec.clone() };
    let is_default = without.effective_cutoff(second) == Ok(Cutoff::At(second));
    if is_now && is_default { without } else { spec }
}

fn object(
    request: &v1::RevokeRequest,
    config: &ListConfig,
    spec: &RevocationSpec,
) -> Result<api::Revocation, ClusterError> {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let name = match text(&request.name) {
        Some(name) => {
            label("name", &name).map(|()| name).map_err(|error| ClusterError::Refused(error.to_string()))?
        }
        None => {
            let random = SystemRandomness::new();
            generated_name(RecordId(u128::from_le_bytes(random::bytes(&random))))
        }
    };
    let (reason, message) = (text(&request.reason), text(&request.message));
    let spec = write(config.name.name(), spec, reason.as_deref(), message.as_deref());
    let mut object = api::Revocation::new(&name, spec);
    object.metadata.namespace = Some(config.name.namespace().to_owned());
    object.metadata.labels =
        Some([crate::api::MANAGED_BY].map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    Ok(object)
}

#[cfg(test)]
mod tests;
