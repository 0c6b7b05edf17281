//! Asks the API server whose a token is, and what a caller may do.
//!
//! Answers about tokens are kept for a short time, by a keyed hash of the token: every reconnection and every call of a
//! program would ask anew. What is kept is bounded, and so is the number of calls under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::api::GROUP;
use crate::controller::access::{Access, Caller, Permission};
use crate::revocation::time::UnixSeconds;
use crate::runtime::environment::Environment;
use crate::runtime::random::bytes;
use crate::store::kubernetes::KubernetesStore;
use crate::token::jws::{Jws, MAX_TOKEN_BYTES};
use crate::token::rules;

/// How long one question may take. A sidecar gives up on a controller that has not answered within three seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How many questions are under way at one time.
const MAX_CALLS: usize = 32;
/// How many answers are kept.
const MAX_KEPT: usize = 4096;
/// How long it is believed that a token is good: for so long one may be that was taken back.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// How long it is believed that one is not: an account that was made just now has not to wait.
const BAD_FOR: Duration = Duration::from_secs(2);
/// After a question without an answer, none is asked for so long.
const REST: Duration = Duration::from_secs(2);

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reviewed {
    /// This user's.
    User(Box<Caller>),
    /// Nobody's, or it is meant for somebody else.
    Nobody,
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The API server gives none.
    Away,
    /// More is asked here than may be under way: that says nothing about the API server.
    Busy,
}

/// Asks, and keeps answers.
pub(super) struct Reviews {
    store: KubernetesStore,
    environment: Environment,
    key: hmac::Key,
    kept: Mutex<HashMap<[u8; 32], (Reviewed, Instant)>>,
    calls: Semaphore,
    resting_until: Mutex<Option<Instant>>,
}

impl Reviews {
    pub(super) fn new(store: KubernetesStore, environment: Environment) -> Self {
        let secret: [u8; 32] = bytes(&*environment.random);
        Self {
            store,
            environment,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            kept: Mutex::default(),
            calls: Semaphore::new(MAX_CALLS),
            resting_until: Mutex::default(),
        }
    }

    /// Tells whether the API server has answered when it was asked last.
    pub(super) fn answers(&self) -> bool {
        let resting = self.resting_until.lock().unwrap_or_else(PoisonError::into_inner);
        resting.is_none_or(|until| until <= Instant::now())
    }

    /// Finds out whose a token is that is meant for an audience; none is the API server's own.
    pub(super) async fn whose(&self, token: &str, audience: Option<&str>) -> Result<Reviewed, NoAnswer> {
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Ok(Reviewed::Nobody);
        }
        let hash = self.hash(token, audience);
        if let Some(kept) = self.kept(&hash) {
            return Ok(kept);
        }
        let spec = TokenReviewSpec {
            audiences: audience.map(|audience| vec![audience.to_owned()]),
            token: Some(token.to_owned()),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = self.ask(|client| async move {
            let api: Api<TokenReview> = Api::all(client);
            api.create(&PostParams::default(), &review).await
        });
        let reviewed = judge(answer.await?.status.unwrap_or_default(), audience);
        self.keep(hash, &reviewed, token);
        Ok(reviewed)
    }

    fn hash(&self, token: &str, audience: Option<&str>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // No audience has a line break.
        context.update(audience.unwrap_or_default().as_bytes());
        context.update(b"\n");
        context.update(token.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }

    fn kept(&self, hash: &[u8; 32]) -> Option<Reviewed> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(hash).filter(|(_, until)| *until > Instant::now()).map(|(reviewed, _)| reviewed.clone())
    }

    fn keep(&self, hash: [u8; 32], reviewed: &Reviewed, token: &str) {
        let now = Instant::now();
        let until = match reviewed {
            Reviewed::Nobody => now + BAD_FOR,
            Reviewed::User(_) => now + GOOD_FOR.min(self.ends_in(token).unwrap_or(GOOD_FOR)),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (_, until)| *until > now);
        }
        // Beyond that nothing is kept, and everything still works.
        if kept.len() < MAX_KEPT {
            kept.insert(hash, (reviewed.clone(), until));
        }
    }

    /// Returns when a token ends, by its own account: it is for one that the API server has taken for good.
    pub(super) fn ends_in(&self, token: &str) -> Option<Duration> {
        let jws = Jws::parse(token).ok()?;
        let end = rules::end(&jws.claims).ok().flatten()?;
        Some(Duration::from_secs(end.get().saturating_sub(self.now().get())))
    }

    pub(super) fn now(&self) -> UnixSeconds {
        self.environment.clock.now().wall().floor()
    }

    /// Puts one question to the API server.
    pub(super) async fn ask<T, F>(&self, call: impl FnOnce(kube::Client) -> F) -> Result<T, NoAnswer>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        if !self.answers() {
            return Err(NoAnswer::Away);
        }
        let turn = timeout(CALL_TIMEOUT, self.calls.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(NoAnswer::Busy) };
        let answer = timeout(CALL_TIMEOUT, call(self.store.client())).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            // It has answered: these rights are missing, or this object is.
            Ok(Err(kube::Error::Api(status))) if status.code < 500 && status.code != 429 => {
                tracing::warn!(why = status.message, "the API server refuses a question about rights");
                Err(NoAnswer::Away)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the API server can't be asked about rights");
                self.rest()
            }
            Err(_) => {
                tracing::warn!("the API server does not answer questions about rights in time");
                self.rest()
            }
        }
    }

    fn rest<T>(&self) -> Result<T, NoAnswer> {
        *self.resting_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
        Err(NoAnswer::Away)
    }
}

/// An answer counts only if it says for whom the token is meant: an API server that knows nothing of audiences leaves that
/// out, and would take every token.
fn judge(status: TokenReviewStatus, audience: Option<&str>) -> Reviewed {
    let meant = match audience {
        None => true,
        Some(audience) => status.audiences.iter().flatten().any(|meant| meant == audience),
    };
    let is_good =
        status.authenticated == Some(true) && status.error.as_deref().unwrap_or_default().is_empty();
    match status.user {
        Some(user) if is_good && meant => match user.username.filter(|name| !name.is_empty()) {
            Some(name) => Reviewed::User(Box::new(Caller {
                name,
                groups: user.groups.unwrap_or_default(),
                uid: user.uid,
                extra: user.extra.unwrap_or_default(),
            })),
            None => Reviewed::Nobody,
        },
        _ => Reviewed::Nobody,
    }
}

/// Callers of the admin API, as the API server knows them.
pub(super) struct ClusterAccess {
    pub(super) reviews: Arc<Reviews>,
    pub(super) audience: String,
}

impl Access for ClusterAccess {
    fn caller(&self, token: String) -> BoxFuture<'_, Result<Caller, Status>> {
        Box::pin(async move {
            // Programs ask for a token of our audience, people have one of the API server's own.
            for audience in [Some(self.audience.as_str()), None] {
                match self.reviews.whose(&token, audience).await {
                    Ok(Reviewed::User(caller)) => return Ok(*caller),
                    Ok(Reviewed::Nobody) => {}
                    Err(_) => return Err(unavailable()),
                }
            }
            Err(Status::unauthenticated(format!(
                "the token is not good: show one of this cluster, with audience {} or that of the API server",
                self.audience
            )))
        })
    }

    fn may<'a>(
        &'a self,
        caller: &'a Caller,
        permission: &'a Permission,
    ) -> BoxFuture<'a, Result<bool, Status>> {
        let attributes = ResourceAttributes {
            group: Some(GROUP.to_owned()),
            resource: Some(permission.resource.to_owned()),
            verb: Some(permission.verb.to_owned()),
            namespace: permission.namespace.clone(),
            name: permission.name.clone(),
            ..ResourceAttributes::default()
        };
        let extra: BTreeMap<_, _> = caller.extra.clone();
        let spec = SubjectAccessReviewSpec {
            user: Some(caller.name.clone()),
            groups: Some(caller.groups.clone()),
            uid: caller.uid.clone(),
            extra: Some(extra),
            resource_attributes: Some(attributes),
            non_resource_attributes: None,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        Box::pin(async move {
            let answer = self.reviews.ask(|client| async move {
                let api: Api<SubjectAccessReview> = Api::all(client);
                api.create(&PostParams::default(), &review).await
            });
            let status = answer.await.map_err(|_| unavailable())?.status.unwrap_or_default();
            Ok(status.allowed && status.denied != Some(true))
        })
    }
}

fn unavailable() -> Status {
    Status::unavailable("the API server can't be asked who you are and what you may do: try again")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(audiences: Option<&[&str]>) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: audiences.map(|all| all.iter().map(ToString::to_string).collect()),
            user: Some(UserInfo { username: Some("alice".to_owned()), ..UserInfo::default() }),
            error: None,
        }
    }

    /// Invariant 24: a token for somebody else is none for us.
    #[test]
    fn an_answer_that_does_not_name_the_audience_is_nobodys() {
        let alice = Reviewed::User(Box::new(Caller { name: "alice".to_owned(), ..Caller::default() }));
        assert_eq!(judge(status(Some(&["rescind.dev"])), Some("rescind.dev")), alice);
        assert_eq!(judge(status(Some(&["api"])), Some("rescind.dev")), Reviewed::Nobody);
        assert_eq!(judge(status(None), Some("rescind.dev")), Reviewed::Nobody);
        assert_eq!(judge(status(None), None), alice);
    }

    #[test]
    fn an_answer_that_is_not_a_yes_is_nobodys() {
        let refused = TokenReviewStatus { authenticated: Some(false), ..status(None) };
        let failed = TokenReviewStatus { error: Some("no".to_owned()), ..status(None) };
        for status in [refused, failed, TokenReviewStatus::default()] {
            assert_eq!(judge(status, None), Reviewed::Nobody);
        }
    }
}
