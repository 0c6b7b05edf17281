//! Envoy's authorization service (ext_authz over gRPC).
//!
//! It always answers with a response to send or headers to set, never with a gRPC error: what Envoy does on one
//! depends on settings that are easy to get wrong.

use prost_types::value::Kind;
use tonic::{Response, Status};

use crate::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use crate::proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use crate::proto::envoy::service::auth::v3::attribute_context::HttpRequest;
use crate::proto::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use crate::proto::envoy::service::auth::v3::check_response::HttpResponse;
use crate::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use crate::proto::envoy::r#type::v3::{HttpStatus, StatusCode};
use crate::proto::google::rpc;
use crate::runtime::gate::Admission;
use crate::token::route::RoutePolicy;

use super::answer::{PREFIX, Refusal, RefusalStatus, Style, Workload, allowed};
use super::checker::Checker;
use super::outcome::{Outcome, Strip, Transport};
use super::request::{Credential, Method, Request};
use upstream::upstream_claims;

mod upstream;

/// The service `envoy.service.auth.v3.Authorization`.
#[derive(Clone, Debug)]
pub struct ExtAuthz {
    checker: Checker,
    style: Style,
}

impl ExtAuthz {
    /// Makes the service.
    #[must_use]
    pub const fn new(checker: Checker, style: Style) -> Self {
        Self { checker, style }
    }

    /// Returns the service for a gRPC server.
    #[must_use]
    pub fn into_server(self) -> AuthorizationServer<Self> {
        AuthorizationServer::new(self)
    }

    /// Answers one question.
    #[must_use]
    pub fn answer(&self, attributes: &AttributeContext, admission: Admission) -> CheckResponse {
        let empty = HttpRequest::default();
        let request = attributes.request.as_ref().and_then(|request| request.http.as_ref()).unwrap_or(&empty);
        let headers = Headers(request);
        let cookies = headers.lines("cookie");
        let outcome = self.outcome(attributes, admission, request, &headers);
        let workload = Workload::of(headers.lines("content-type").first().copied());
        match self.style.refusal(&outcome, workload) {
            Some(refusal) => denied(refusal, &outcome),
            None => passed(&outcome, &headers, !cookies.is_empty()),
        }
    }

    fn outcome(
        &self,
        attributes: &AttributeContext,
        admission: Admission,
        request: &HttpRequest,
        headers: &Headers<'_>,
    ) -> Outcome {
        let pairs = attributes.context_extensions.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let policy = match RoutePolicy::parse(pairs) {
            Ok(policy) => policy,
            Err(error) => return self.checker.bad_policy(Transport::ExtAuthz, &error),
        };
        let upstream = match admission {
            Admission::Granted => upstream_claims(attributes.metadata_context.as_ref()),
            Admission::Refused => Vec::new(),
        };
        let credential = Credential::read_if(admission, || Credential::Lines {
            authorization: headers.lines("authorization"),
            cookies: headers.lines("cookie"),
        });
        let preflight = request.method == "OPTIONS"
            && !headers.lines("origin").is_empty()
            && !headers.lines("access-control-request-method").is_empty();
        let method = if preflight { Method::Preflight } else { Method::Other };
        let question = Request { policy, upstream: &upstream, method, ..Request::new(credential) };
        self.checker.check(Transport::ExtAuthz, &question)
    }
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(&self, request: tonic::Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let admission = Admission::of(request.extensions());
        let attributes = request.into_inner().attributes.unwrap_or_default();
        Ok(Response::new(self.answer(&attributes, admission)))
    }
}

/// The headers of a request: every line, or, unless Envoy sends them raw, one entry per name.
struct Headers<'a>(&'a HttpRequest);

impl<'a> Headers<'a> {
    fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let raw = self.0.header_map.as_ref();
        let lines = raw.into_iter().flat_map(|map| &map.headers).map(|line| {
            let value = if line.raw_value.is_empty() { line.value.as_bytes() } else { &line.raw_value[..] };
            (line.key.as_str(), value)
        });
        let merged = self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        lines.chain(merged.filter(move |_| raw.is_none()))
    }

    fn lines(&self, name: &str) -> Vec<&'a [u8]> {
        self.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

fn passed(outcome: &Outcome, request: &Headers<'_>, has_cookies: bool) -> CheckResponse {
    let overwrite = HeaderAppendAction::OverwriteIfExistsOrAdd;
    let mut headers: Vec<HeaderValueOption> =
        allowed(outcome).map(|(name, value)| header(name, value.into_bytes(), overwrite)).into();
    // Names of ours that mean something elsewhere, or will.
    let forged = request
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| name.starts_with(PREFIX) && !headers.iter().any(|set| is_named(set, name)));
    let mut headers_to_remove: Vec<String> = forged.collect();
    if let Strip::Tokens { cookie } = &outcome.strip {
        headers_to_remove.push("authorization".to_owned());
        match cookie.as_slice() {
            [] => headers_to_remove.push("cookie".to_owned()),
            cookie if has_cookies => headers.push(header("cookie", cookie.to_vec(), overwrite)),
            _ => {}
        }
    }
    headers_to_remove.sort_unstable();
    headers_to_remove.dedup();
    let ok = OkHttpResponse { headers, headers_to_remove, ..OkHttpResponse::default() };
    CheckResponse {
        status: Some(rpc::Status::default()),
        dynamic_metadata: Some(metadata(outcome)),
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

fn denied(refusal: Refusal, outcome: &Outcome) -> CheckResponse {
    let (code, status) = match refusal.status {
        RefusalStatus::BadRequest => (tonic::Code::InvalidArgument, StatusCode::BadRequest),
        RefusalStatus::Unauthorized => (tonic::Code::Unauthenticated, StatusCode::Unauthorized),
        RefusalStatus::Unavailable => (tonic::Code::Unavailable, StatusCode::ServiceUnavailable),
    };
    let headers = refusal.headers.into_iter().map(|(name, value)| {
        // A refusal may clear several cookies.
        let action = if name == "set-cookie" {
            HeaderAppendAction::AppendIfExistsOrAdd
        } else {
            HeaderAppendAction::OverwriteIfExistsOrAdd
        };
        header(name, value.into_bytes(), action)
    });
    let response = DeniedHttpResponse {
        status: Some(HttpStatus { code: status.into() }),
        headers: headers.collect(),
        body: String::new(),
    };
    CheckResponse {
        status: Some(rpc::Status { code: code.into(), ..rpc::Status::default() }),
        dynamic_metadata: Some(metadata(outcome)),
        http_response: Some(HttpResponse::DeniedResponse(response)),
    }
}

/// For the proxy's access log: no client sees it, and none can forge it.
fn metadata(outcome: &Outcome) -> prost_types::Struct {
    let text = |text: &str| Kind::StringValue(text.to_owned());
    let fields = [
        ("verdict", text(outcome.verdict.word())),
        ("reason", text(outcome.reason)),
        ("shadow", Kind::BoolValue(outcome.shadow)),
        ("best_effort", Kind::BoolValue(outcome.best_effort)),
    ];
    let field = |(name, kind): (&str, Kind)| (name.to_owned(), prost_types::Value { kind: Some(kind) });
    prost_types::Struct { fields: fields.into_iter().map(field).collect() }
}

/// A value that is no UTF-8 has to go raw.
fn header(name: &str, value: Vec<u8>, action: HeaderAppendAction) -> HeaderValueOption {
    let key = name.to_owned();
    let header = match String::from_utf8(value) {
        Ok(value) => HeaderValue { key, value, raw_value: Vec::new() },
        Err(error) => HeaderValue { key, value: String::new(), raw_value: error.into_bytes() },
    };
    HeaderValueOption {
        header: Some(header),
        append_action: action.into(),
        keep_empty_value: true,
        ..HeaderValueOption::default()
    }
}

fn is_named(set: &HeaderValueOption, name: &str) -> bool {
    set.header.as_ref().is_some_and(|header| header.key == name)
}

#[cfg(test)]
mod tests;
