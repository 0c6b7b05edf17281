//! How workloads ask over gRPC: `rescind.v1.RevocationCheck`.
//!
//! What a caller asks for and nobody understands is answered with a denial, as everywhere; a gRPC error may be taken
//! for an outage, and let through.

use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::distribution::view::ListView;
use crate::proto::v1;
use crate::proto::v1::revocation_check_server::{RevocationCheck, RevocationCheckServer};
use crate::revocation::freshness::freshness;
use crate::revocation::time::Moment;
use crate::revocation::version::{ToldVersion, ToldVersionError};
use crate::runtime::gate::Admission;
use crate::token::route::{RouteError, RoutePolicy};

use super::checker::Checker;
use super::outcome::{Decision, Outcome, Transport, Verdict};
use super::request::{self, Credential};

/// How many questions one batch may hold.
pub const MAX_BATCH: usize = 256;
/// A full batch of the longest tokens, with their options.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// The service `rescind.v1.RevocationCheck`.
#[derive(Clone, Debug)]
pub struct CheckService {
    checker: Checker,
    controller: watch::Receiver<Option<String>>,
}

/// Says which option of a caller is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OptionsError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("options.min_version: {0}")]
    MinVersion(#[from] ToldVersionError),
}

impl CheckService {
    /// Makes the service. `controller` says to which controller the stream is connected.
    #[must_use]
    pub const fn new(checker: Checker, controller: watch::Receiver<Option<String>>) -> Self {
        Self { checker, controller }
    }

    /// Returns the service for a gRPC server.
    #[must_use]
    pub fn into_server(self) -> RevocationCheckServer<Self> {
        RevocationCheckServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// Makes the question of a token.
fn question(wire: &v1::CheckRequest, admission: Admission) -> Result<request::Request<'_>, OptionsError> {
    let token = || Credential::Token { token: &wire.token, source: &wire.source };
    let credential = Credential::read_if(admission, token);
    let (policy, min_version) = options(wire.options.as_ref())?;
    Ok(request::Request { policy, min_version, ..request::Request::new(credential) })
}

/// Reads a caller's options; zero and empty ask for nothing.
pub(super) fn options(
    options: Option<&v1::CheckOptions>,
) -> Result<(RoutePolicy, Option<ToldVersion>), OptionsError> {
    let Some(options) = options else { return Ok((RoutePolicy::default(), None)) };
    let lists = options.lists.join(",");
    // The same words as a route's, so that they are understood or refused by the same code.
    let pairs = [("audience", options.audience.as_str()), ("lists", lists.as_str())];
    let named = pairs.into_iter().filter(|(key, value)| {
        // A list without a name is a mistake, no list at all is all of them.
        !value.is_empty() || (*key == "lists" && !options.lists.is_empty())
    });
    let max_age = (options.max_age_milliseconds > 0).then_some(options.max_age_milliseconds);
    let policy = RoutePolicy { max_age_milliseconds: max_age, ..RoutePolicy::parse(named)? };
    let min_version = Some(options.min_version.as_str()).filter(|text| !text.is_empty());
    Ok((policy, min_version.map(str::parse).transpose()?))
}

/// Refuses a batch that is too large, for it can't be answered in part.
pub(super) fn within_batch(questions: usize) -> Result<(), Status> {
    if questions > MAX_BATCH {
        let why = format!("{questions} questions in one batch, and {MAX_BATCH} are possible: split it");
        return Err(Status::invalid_argument(why));
    }
    Ok(())
}

/// Between two questions of a batch: it takes milliseconds, and others on this core get their turn.
pub(super) async fn give_way(admission: Admission) {
    if admission == Admission::Granted {
        tokio::task::yield_now().await;
    }
}

/// Writes an outcome.
pub(super) fn to_wire(outcome: &Outcome) -> v1::CheckResponse {
    let verdict = match outcome.verdict {
        Verdict::Active => v1::VerdictKind::Active,
        Verdict::NotListed => v1::VerdictKind::NotListed,
        Verdict::Revoked(_) => v1::VerdictKind::Revoked,
        Verdict::Unknown(_) => v1::VerdictKind::Unknown,
        Verdict::Rejected(_) | Verdict::NoToken | Verdict::Ambiguous => v1::VerdictKind::Rejected,
    };
    let decision = match outcome.decision {
        Decision::Allow => v1::Decision::Allow,
        Decision::Deny => v1::Decision::Deny,
    };
    v1::CheckResponse {
        decision: decision.into(),
        verdict: verdict.into(),
        reason: outcome.reason.to_owned(),
        age_milliseconds: outcome.age_milliseconds(),
        version: outcome.version.map(|version| version.to_string()).unwrap_or_default(),
        shadow: outcome.shadow,
        best_effort: outcome.best_effort,
    }
}

#[tonic::async_trait]
impl RevocationCheck for CheckService {
    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        let admission = Admission::of(request.extensions());
        let wire = request.into_inner();
        let outcome = match question(&wire, admission) {
            Ok(question) => self.checker.check(Transport::Check, &question),
            Err(error) => self.checker.bad_policy(Transport::Check, &error),
        };
        Ok(Response::new(to_wire(&outcome)))
    }

    async fn check_batch(
        &self,
        request: Request<v1::CheckBatchRequest>,
    ) -> Result<Response<v1::CheckBatchResponse>, Status> {
        let admission = Admission::of(request.extensions());
        let wire = request.into_inner();
        within_batch(wire.requests.len())?;
        let (views, _) = self.checker.look();
        let mut responses = Vec::with_capacity(wire.requests.len());
        for one in &wire.requests {
            let outcome = match question(one, admission) {
                Ok(question) => self.checker.check_with(Transport::Check, &question, &views),
                Err(error) => self.checker.bad_policy(Transport::Check, &error),
            };
            responses.push(to_wire(&outcome));
            give_way(admission).await;
        }
        Ok(Response::new(v1::CheckBatchResponse { responses }))
    }

    async fn explain(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let admission = Admission::of(request.extensions());
        let wire = request.into_inner();
        let (outcome, steps) = match question(&wire, admission) {
            Ok(question) => self.checker.explain(Transport::Check, &question),
            Err(error) => (self.checker.bad_policy(Transport::Check, &error), Vec::new()),
        };
        let steps = steps.into_iter().map(|step| v1::ExplainStep {
            step: step.step,
            outcome: step.outcome,
            passed: step.passed,
        });
        let response = Some(to_wire(&outcome));
        Ok(Response::new(v1::ExplainResponse { response, steps: steps.collect() }))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let (views, now) = self.checker.look();
        let lists = views.iter().map(|view| list_status(view, now)).collect();
        let controller = self.controller.borrow().clone().unwrap_or_default();
        Ok(Response::new(v1::StatusResponse { lists, controller }))
    }
}

fn list_status(view: &ListView, now: Moment) -> v1::ListStatus {
    let freshness = freshness(view.knowledge, now, &view.bounds(), None);
    let held = view.list.as_ref().or(view.denials.first());
    v1::ListStatus {
        list: view.name.to_string(),
        state: freshness.name().to_owned(),
        age_milliseconds: freshness.age_nanos().map(|nanos| nanos.div_ceil(1_000_000)),
        version: view.proven.map(|version| version.to_string()).unwrap_or_default(),
        entries: held.map_or(0, |list| list.len() as u64),
        config_generation: view.generation,
    }
}

#[cfg(test)]
pub(crate) mod tests;
