//! Asks an API server which version it is, what time it has, and as whom it knows the caller.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::{Api, PostParams};
use kube::client::Body;
use kube::core::Status;

use crate::revocation::time::UnixSeconds;

use super::error::Wanted;
use super::{Cluster, ClusterError};

/// What an API server says of itself.
#[derive(Clone, Debug)]
pub(in super::super) struct ApiServer {
    /// Its version.
    pub(in super::super) version: Info,
    /// Its clock, cut off to the second; none if the answer does not say.
    pub(in super::super) time: Option<UnixSeconds>,
}

impl Cluster {
    /// Asks the API server for its version, which everybody may know.
    pub(in super::super) async fn server(&self) -> Result<ApiServer, ClusterError> {
        let client = self.client();
        let asking = async move {
            let request = http::Request::get("/version").body(Body::empty());
            let answer = client.send(request.map_err(kube::Error::HttpError)?).await?;
            let (status, time) = (answer.status(), time(&answer));
            let body = answer.into_body().collect_bytes().await?;
            if status.is_success() {
                let version = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
                return Ok(ApiServer { version, time });
            }
            let said = serde_json::from_slice(&body)
                .unwrap_or_else(|_| Status::failure(status.as_str(), "").with_code(status.as_u16()));
            Err(kube::Error::Api(Box::new(said)))
        };
        self.call(Wanted::new("get", "/version", None), asking).await
    }

    /// Asks the API server as whom it knows the caller; none if it does not say.
    pub(in super::super) async fn user(&self) -> Result<Option<String>, ClusterError> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client());
        let wanted = Wanted::new("create", "selfsubjectreviews.authentication.k8s.io", None);
        let (params, review) = (PostParams::default(), SelfSubjectReview::default());
        let answer = self.call(wanted, reviews.create(&params, &review)).await?;
        Ok(answer.status.and_then(|status| status.user_info).and_then(|user| user.username))
    }
}

fn time(answer: &http::Response<Body>) -> Option<UnixSeconds> {
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    let seconds = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
    UnixSeconds::new(u64::try_from(seconds).ok()?).ok()
}
