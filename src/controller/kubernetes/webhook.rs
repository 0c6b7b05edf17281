//! The webhook by which pods are injected: the API server asks about each pod that is created.
//!
//! Whoever reaches the port may ask, and learns what `rescind inject` tells anybody. So nothing here is secret, and
//! everything is bounded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::api::invalid::label;
use crate::controller::metrics::{Injection, Injections};
use crate::injection::settings::Settings;
use crate::runtime::gate::{Admission, Gate};
use crate::runtime::http_serve::{self, Limits};
use crate::runtime::listen::Listener;

use review::{NotReviewed, Reviewed, Verdict, review};

mod review;

/// The path at which the API server asks.
pub const PATH: &str = "/inject";
/// The largest review. A pod is at most half of that, and an API server takes no larger request than this.
pub const MAX_REVIEW_BYTES: usize = 3 * 1024 * 1024;
/// Reviews at one time: as many as memory is for.
const MAX_REVIEWS: usize = 64;
/// Reviews that are worked on at one time: each takes many times its size.
const MAX_AT_WORK: usize = 2;
/// How long a review may be on its way. The API server waits 5 s at most.
const PATIENCE: Duration = Duration::from_secs(4);
const DRAIN: Duration = Duration::from_secs(2);
/// More namespaces than anybody injects.
const MAX_NAMESPACES: usize = 10_000;

/// The webhook, before it is served.
#[derive(Clone, Debug)]
pub struct Webhook {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    controllers: String,
    injections: Injections,
    namespaces: watch::Sender<BTreeSet<String>>,
    at_work: Semaphore,
}

impl Webhook {
    /// Makes the webhook of controllers in a namespace.
    #[must_use]
    pub fn new(settings: Settings, controllers: String, injections: Injections) -> Self {
        let namespaces = watch::Sender::new(BTreeSet::new());
        let at_work = Semaphore::new(MAX_AT_WORK);
        Self { inner: Arc::new(Inner { settings, controllers, injections, namespaces, at_work }) }
    }

    /// Returns the namespaces in which a pod was injected: what its sidecar trusts has to be there. Whoever has seen to that
    /// takes a name away.
    ///
    /// Whoever reaches the webhook can add a name, of a namespace that may not exist.
    #[must_use]
    pub fn namespaces(&self) -> watch::Sender<BTreeSet<String>> {
        self.inner.namespaces.clone()
    }

    /// Serves until `shutdown`. The certificate is whatever the configuration gives at each connection.
    ///
    /// # Errors
    /// None; so that it can be a task.
    pub async fn serve(
        self,
        listener: Listener,
        tls: Arc<ServerConfig>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        http_serve::serve_tls(listener, tls, self.router(), Limits::default(), shutdown, DRAIN).await;
        Ok(())
    }

    fn router(self) -> Router {
        let gate = Gate::new(MAX_REVIEWS, PATIENCE);
        // The body is bounded where it is read.
        let routes = Router::new()
            .route(PATH, post(inject))
            .method_not_allowed_fallback(async |State(it): State<Self>| it.unanswered(&Unanswered::NotPosted))
            .fallback(async |State(it): State<Self>| it.unanswered(&Unanswered::Elsewhere))
            .layer(DefaultBodyLimit::disable());
        gate.in_front_of(routes.with_state(self))
    }

    fn unanswered(&self, error: &Unanswered) -> Response {
        tracing::warn!(%error, "the injection webhook was asked something that it does not answer");
        self.inner.injections.count(Injection::Unanswered);
        (error.status(), format!("{error}\n")).into_response()
    }
}

/// Says why a request is not even looked at.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("more than {MAX_REVIEWS} reviews at one time: try again")]
    Busy,
    #[error(
        "reviews are at {PATH}, and nothing is elsewhere: correct the path in the webhook's configuration"
    )]
    Elsewhere,
    #[error("a review is sent by POST")]
    NotPosted,
    #[error("a review is sent as application/json")]
    NotJson,
    #[error("a review has at most {MAX_REVIEW_BYTES} bytes")]
    TooLarge,
    #[error("the body did not come: {0}")]
    Lost(String),
    #[error(transparent)]
    NotReviewed(#[from] NotReviewed),
}

impl Unanswered {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Elsewhere => StatusCode::NOT_FOUND,
            Self::NotPosted => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Lost(_) => StatusCode::REQUEST_TIMEOUT,
            Self::NotReviewed(_) => StatusCode::BAD_REQUEST,
        }
    }
}

async fn inject(
    State(webhook): State<Webhook>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let reviewed = async {
        let body = read(&extensions, &headers, body).await?;
        let _turn = webhook.inner.at_work.acquire().await;
        Ok(webhook.inner.review(&body)?)
    };
    match reviewed.await {
        Ok(reviewed) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, reviewed.answer.to_string()).into_response()
        }
        Err(error) => webhook.unanswered(&error),
    }
}

async fn read(extensions: &Extensions, headers: &HeaderMap, body: Body) -> Result<Bytes, Unanswered> {
    if Admission::of(extensions) == Admission::Refused {
        return Err(Unanswered::Busy);
    }
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Unanswered::NotJson);
    }
    match Limited::new(body, MAX_REVIEW_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unanswered::TooLarge),
        Err(error) => Err(Unanswered::Lost(error.to_string())),
    }
}

impl Inner {
    fn review(&self, body: &[u8]) -> Result<Reviewed, NotReviewed> {
        let reviewed = review(body, &self.settings, &self.controllers)?;
        let Reviewed { namespace, pod, is_dry_run: dry_run, .. } = &reviewed;
        match &reviewed.verdict {
            Verdict::Injected => {
                self.injections.count(Injection::Injected);
                tracing::info!(namespace, pod, dry_run, "a pod is injected");
                if !dry_run {
                    self.tell(namespace);
                }
            }
            Verdict::Left(why) => {
                self.injections.count(Injection::Left);
                tracing::info!(namespace, pod, dry_run, %why, "a pod is left as it is");
            }
            Verdict::Refused(refusal) => {
                self.injections.count(Injection::Refused);
                tracing::info!(namespace, pod, dry_run, %refusal, "a pod is refused");
            }
        }
        Ok(reviewed)
    }

    fn tell(&self, namespace: &str) {
        self.namespaces.send_if_modified(|namespaces| {
            let has_room = namespaces.len() < MAX_NAMESPACES && label("namespace", namespace).is_ok();
            has_room && namespaces.insert(namespace.to_owned())
        });
    }
}

#[cfg(test)]
mod tests;
