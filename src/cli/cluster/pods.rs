//! Asks the sidecars of pods for what they tell of themselves, through the API server.
//!
//! The API server forwards a request to a pod for whoever may `get` its `pods/proxy`. Pods are many, and one that does not
//! answer must not hide the others: each has its time, few are asked at one time, and all of it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::client::Body;
use kube::core::Status;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::Wanted;
use super::exposition::Told;
use super::sidecar::{Injected, Sidecar, Unread, followed, sort};
use super::{Cluster, ClusterError, LISTS, PROXY, page};
use crate::api::token_revocation_list::TokenRevocationList;
use crate::cli::time::duration;

/// All of it.
const ALL_WITHIN: Duration = Duration::from_secs(30);
/// One pod.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Pods that are asked at one time.
const AT_ONE_TIME: usize = 16;
/// Longer is no answer of a sidecar: with 64 lists it is a tenth of that.
const LONGEST_ANSWER: usize = 1 << 20;
/// Lists of other namespaces that are looked up for their versions.
const MOST_FOREIGN_LISTS: usize = 64;

/// What was found out about sidecars.
pub(super) struct Asked {
    pub(super) sidecars: Vec<Sidecar>,
    /// What is missing, for whoever asks.
    pub(super) warning: Option<String>,
}

impl Cluster {
    /// Asks all sidecars of a namespace, or of all. The versions of lists that are known already spare a question.
    ///
    /// # Errors
    /// [`ClusterError`] if it can't be found out which there are.
    pub(super) async fn sidecars(
        &self,
        namespace: Option<&str>,
        mut versions: BTreeMap<String, String>,
    ) -> Result<Asked, ClusterError> {
        let deadline = Instant::now() + ALL_WITHIN;
        let pods: Api<Pod> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let wanted = Wanted::new("list", "pods", namespace);
        let injected = page::chosen(self, wanted, &pods, None, |pod| Injected::of(&pod));
        let injected = timeout_at(deadline, injected).await.map_err(|_| self.no_answer(ALL_WITHIN))??;
        let ask = async |injected: Injected| {
            let told = self.told(&injected, deadline).await;
            let is_forbidden = told == Err(Unread::Forbidden);
            (is_forbidden, injected.rows(told))
        };
        let answers: Vec<(bool, Vec<Sidecar>)> =
            stream::iter(injected).map(ask).buffer_unordered(AT_ONE_TIME).collect().await;
        let is_forbidden = answers.iter().any(|(is_forbidden, _)| *is_forbidden);
        let mut sidecars: Vec<Sidecar> = answers.into_iter().flat_map(|(_, rows)| rows).collect();
        sort(&mut sidecars);
        self.look_up(&sidecars, &mut versions, deadline).await;
        sidecars.iter_mut().for_each(|sidecar| sidecar.judge(&versions));
        let warning = is_forbidden.then(|| missing(namespace));
        Ok(Asked { sidecars, warning })
    }

    /// Adds the versions of lists that are elsewhere. One that can't be had stays unknown.
    async fn look_up(
        &self,
        sidecars: &[Sidecar],
        versions: &mut BTreeMap<String, String>,
        deadline: Instant,
    ) {
        let unknown = followed(sidecars).into_iter().filter(|list| !versions.contains_key(*list));
        let unknown: Vec<&str> = unknown.take(MOST_FOREIGN_LISTS).collect();
        let look = async |list: &str| {
            let (namespace, name) = list.split_once('/')?;
            let lists: Api<TokenRevocationList> = Api::namespaced(self.client.clone(), namespace);
            let asking = self.call(Wanted::new("get", LISTS, Some(namespace)), lists.get(name));
            let found = timeout_at(deadline, asking).await.ok()?.ok()?;
            Some((list.to_owned(), found.status?.version?))
        };
        let found: Vec<_> = stream::iter(unknown).map(look).buffered(AT_ONE_TIME).collect().await;
        versions.extend(found.into_iter().flatten());
    }

    /// Asks one sidecar.
    async fn told(&self, injected: &Injected, deadline: Instant) -> Result<Told, Unread> {
        let failed = |why: String| Err(Unread::Failed(why));
        if injected.absent.is_some() {
            return failed(String::new());
        }
        if Instant::now() >= deadline {
            return failed(format!("it was not asked: {} were over", duration(ALL_WITHIN)));
        }
        let Ok(answer) = timeout(ANSWER_WITHIN, self.answer(injected)).await else {
            return failed(format!("no answer within {}", duration(ANSWER_WITHIN)));
        };
        match answer {
            Ok((StatusCode::OK, body)) => {
                let text =
                    str::from_utf8(&body).map_err(|_| Unread::Failed("its answer is no text".to_owned()))?;
                Told::read(text).map_err(|error| Unread::Failed(error.to_string()))
            }
            Ok((status, body)) => Err(refusal(status, &body)),
            Err(why) => failed(why),
        }
    }

    async fn answer(&self, injected: &Injected) -> Result<(StatusCode, Vec<u8>), String> {
        let (status, body) = self.get_metrics(injected, None).await?;
        // The API server hands on the name by which it was asked itself, and a sidecar answers to no name that it does
        // not know, lest web pages read it. It knows this one.
        if status == StatusCode::FORBIDDEN && said(&body).is_none() {
            return self.get_metrics(injected, Some("localhost")).await;
        }
        Ok((status, body))
    }

    async fn get_metrics(
        &self,
        Injected { namespace, name, port, .. }: &Injected,
        host: Option<&str>,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics");
        let request = http::Request::get(path).header(header::ACCEPT, "text/plain");
        let request = host.into_iter().fold(request, |request, host| request.header(header::HOST, host));
        let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
        let wanted = Wanted::new("get", PROXY, Some(namespace));
        let answer = self.client().send(request).await;
        let answer = answer.map_err(|error| ClusterError::new(&self.url, &wanted, &error).to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| format!("its answer can't be read: {error}"))?;
        Ok((status, body.to_bytes().to_vec()))
    }
}

/// Returns what the API server itself says, which it does in an object.
fn said(body: &[u8]) -> Option<Status> {
    serde_json::from_slice(body).ok().filter(|said: &Status| said.code > 0)
}

/// Reads an answer that is not a good one.
fn refusal(status: StatusCode, body: &[u8]) -> Unread {
    match said(body) {
        // Permissions are denied in these words.
        Some(said) if status == StatusCode::FORBIDDEN && said.message.contains(" cannot get ") => {
            Unread::Forbidden
        }
        Some(said) => Unread::Failed(said.message),
        None => Unread::Failed(format!("it answers {status}: {}", String::from_utf8_lossy(body).trim())),
    }
}

/// Says which permission is missing. The words are ours: a pod could answer in those of an API server.
fn missing(namespace: Option<&str>) -> String {
    let wanted = Wanted::new("get", PROXY, namespace);
    format!("the numbers of sidecars can't be shown: it takes {wanted}{}", wanted.advice())
}

#[cfg(test)]
mod tests;
