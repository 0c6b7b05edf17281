//! The Secret with the authorities: made by whoever needs it first, and changed under the revision that was read.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};

use super::Authorities;

pub(super) const NAME: &str = "rescind-ca";
const FIELD: &str = "authorities.json";
/// An operator asks for a successor by it: `kubectl annotate secret rescind-ca rescind.dev/rotate=now`.
const ROTATE: &str = "rescind.dev/rotate";
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Says why the authorities are not known, or not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("the API server did not answer within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the API server: {0}")]
    Call(#[from] kube::Error),
    #[error(
        "field {FIELD:?} of Secret {NAME} can't be used: {0}; delete the Secret to have new authorities made, which \
         sidecars trust when they have read the ConfigMap {NAME} anew"
    )]
    Unusable(String),
}

/// The authorities as they were read.
pub(super) struct Stored {
    pub(super) authorities: Authorities,
    /// Whether an operator asks for a successor.
    pub(super) asked: bool,
    secret: Secret,
}

/// Returns the authorities; none if there are none yet.
pub(super) async fn read(api: &Api<Secret>) -> Result<Option<Stored>, SecretError> {
    timed(api.get_opt(NAME)).await?.map(parse).transpose()
}

/// Stores the first authorities. None: another replica was faster.
pub(super) async fn create(
    api: &Api<Secret>,
    authorities: &Authorities,
) -> Result<Option<Stored>, SecretError> {
    let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
    let secret = Secret { metadata, data: Some(data(authorities)?), ..Secret::default() };
    let created = timed(api.create(&PostParams::default(), &secret)).await;
    unless_conflict(created)
}

/// Stores others in their place. None: another replica has changed them meanwhile.
pub(super) async fn replace(
    api: &Api<Secret>,
    stored: Stored,
    authorities: &Authorities,
) -> Result<Option<Stored>, SecretError> {
    // It has the revision that was read.
    let mut secret = stored.secret;
    secret.data = Some(data(authorities)?);
    if let Some(annotations) = secret.metadata.annotations.as_mut().filter(|_| authorities.next.is_some()) {
        annotations.remove(ROTATE);
    }
    let replaced = timed(api.replace(NAME, &PostParams::default(), &secret)).await;
    unless_conflict(replaced)
}

fn unless_conflict(written: Result<Secret, SecretError>) -> Result<Option<Stored>, SecretError> {
    match written {
        Ok(secret) => parse(secret).map(Some),
        Err(SecretError::Call(kube::Error::Api(status))) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

fn data(authorities: &Authorities) -> Result<BTreeMap<String, ByteString>, SecretError> {
    let json = serde_json::to_vec(authorities).map_err(|error| SecretError::Unusable(error.to_string()))?;
    Ok(BTreeMap::from([(FIELD.to_owned(), ByteString(json))]))
}

fn parse(secret: Secret) -> Result<Stored, SecretError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(FIELD)).map(|bytes| bytes.0.as_slice());
    // What can't be read is not quoted: it has keys.
    let authorities = serde_json::from_slice(bytes.unwrap_or_default()).map_err(|error| {
        SecretError::Unusable(format!("line {}, column {}", error.line(), error.column()))
    })?;
    let annotations = secret.metadata.annotations.as_ref();
    let asked = annotations.is_some_and(|annotations| annotations.contains_key(ROTATE));
    Ok(Stored { authorities, asked, secret })
}

async fn timed<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, SecretError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(SecretError::Call),
        Err(_) => Err(SecretError::TimedOut),
    }
}
