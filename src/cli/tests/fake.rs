//! A controller and a sidecar that keep revocations in memory, and enforce them as a test wants.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::Stream;
use futures::stream;
use tonic::{Request, Response, Status};

use crate::proto::v1::revocation_admin_server::RevocationAdmin;
use crate::proto::v1::revocation_check_server::RevocationCheck;
use crate::proto::v1::{self, cutoff::Cutoff, target::Target};
use crate::revocation::claims::ClaimValue;
use crate::token::jws::Jws;

/// The server's clock, five minutes before the command's: 2026-11-21T10:00:00Z.
pub(super) const CREATED: u64 = 1_795_255_200;
pub(super) const NOW: u64 = CREATED + 300;
const ISSUER: &str = "https://id.example.com";
const LIST: &str = "shop/shop";

/// How waiting for enforcement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enforcement {
    AtOnce,
    /// Two sidecars lag for ever.
    Never,
    /// The first stream breaks, the second one says that it is enforced.
    AfterABreak,
    Forbidden,
    Silent,
}

/// How the server behaves.
pub(super) struct Behaviour {
    pub(super) enforcement: Enforcement,
    /// Shown by every call, if there is one.
    pub(super) bearer: Option<&'static str>,
    pub(super) warnings: Vec<String>,
    pub(super) conditions: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let (warnings, conditions) = (Vec::new(), Vec::new());
        Self { enforcement: Enforcement::AtOnce, bearer: None, warnings, conditions }
    }
}

pub(super) struct Fake {
    behaviour: Behaviour,
    revocations: Mutex<Vec<v1::Revocation>>,
    waits: AtomicU32,
}

/// Makes a token that is signed by nobody.
pub(super) fn token(jti: &str, sub: &str) -> String {
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"iss":"{ISSUER}","jti":"{jti}","sub":"{sub}"}}"#);
    let header = r#"{"alg":"ES256","kid":"k1"}"#.to_owned();
    [part(header), part(claims), part("signature".to_owned())].join(".")
}

fn claim(token: &str, name: &str) -> Option<String> {
    let token = Jws::parse(token).ok()?;
    let Some(ClaimValue::String(value)) = token.claims.get(name) else { return None };
    Some(value.clone())
}

impl Fake {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self { behaviour, revocations: Mutex::default(), waits: AtomicU32::new(0) }
    }

    fn authenticate<T>(&self, request: Request<T>) -> Result<T, Status> {
        let shown = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        match self.behaviour.bearer {
            Some(bearer) if shown.as_deref() != Some(&format!("Bearer {bearer}")) => {
                Err(Status::unauthenticated("a bearer token is needed"))
            }
            _ => Ok(request.into_inner()),
        }
    }

    fn describe(&self, request: v1::RevokeRequest, number: usize) -> Result<v1::Revocation, Status> {
        if !["", LIST].contains(&request.list.as_str()) {
            return Err(Status::not_found(format!("no list {} is declared", request.list)));
        }
        if !["", ISSUER].contains(&request.issuer.as_str()) {
            let text = format!("spec.issuer: is not declared by list {LIST}: it declares {ISSUER}");
            return Err(Status::failed_precondition(text));
        }
        let mut target = request.target.and_then(|target| target.target).unwrap();
        if let Target::PresentedToken(token) = target {
            let jti = claim(&token, "jti").unwrap();
            if jti == "forged" {
                // It quotes the token, as no server should.
                return Err(Status::invalid_argument(format!("bad signature: {token}")));
            }
            target = Target::Token(jti);
        }
        let is_dated = matches!(&target, Target::Subject(_) | Target::Client(_) | Target::Selector(_));
        let default = if is_dated { Cutoff::UnixSeconds(CREATED) } else { Cutoff::Always(true) };
        let cutoff = match request.cutoff.and_then(|cutoff| cutoff.cutoff) {
            Some(Cutoff::Now(true)) => Cutoff::UnixSeconds(CREATED),
            chosen => chosen.unwrap_or(default),
        };
        let (admits_from, forgotten_at) = match cutoff {
            Cutoff::UnixSeconds(seconds) => (seconds + 2, seconds + 3_601),
            Cutoff::Always(_) | Cutoff::Now(_) => (0, request.expires_at_unix_seconds),
        };
        let stored = |text: String| if request.dry_run { String::new() } else { text };
        Ok(v1::Revocation {
            list: LIST.to_owned(),
            name: if request.name.is_empty() { stored(format!("r-{number}")) } else { request.name },
            uid: stored(format!("00000000-0000-0000-0000-{number:012}")),
            issuer: ISSUER.to_owned(),
            target: Some(v1::Target { target: Some(target) }),
            cutoff: Some(v1::Cutoff { cutoff: Some(cutoff) }),
            compare_with: request.compare_with,
            expires_at_unix_seconds: request.expires_at_unix_seconds,
            reason: request.reason,
            message: request.message,
            created_unix_seconds: CREATED,
            version: stored(format!("1/{number}")),
            admits_from_unix_seconds: admits_from,
            forgotten_at_unix_seconds: forgotten_at,
        })
    }

    fn decide(request: &v1::CheckRequest) -> Result<v1::CheckResponse, Status> {
        let options = request.options.clone().unwrap();
        let sub = claim(&request.token, "sub").unwrap_or_default();
        let (decision, verdict, reason) = match (sub.as_str(), options.audience.as_str()) {
            ("", _) => (v1::Decision::Deny, v1::VerdictKind::Rejected, "MALFORMED"),
            (_, "other") => (v1::Decision::Deny, v1::VerdictKind::Rejected, "WRONG_AUDIENCE"),
            ("alice", _) => (v1::Decision::Deny, v1::VerdictKind::Revoked, "REVOKED"),
            _ if options.max_age_milliseconds == 1 || options.min_version == "9/9" => {
                (v1::Decision::Deny, v1::VerdictKind::Unknown, "STALE")
            }
            _ => (v1::Decision::Allow, v1::VerdictKind::Active, ""),
        };
        if options.lists.iter().any(|list| list != LIST) {
            return Err(Status::invalid_argument(format!(
                "{} is not followed here",
                options.lists.join(", ")
            )));
        }
        Ok(v1::CheckResponse {
            decision: decision.into(),
            verdict: verdict.into(),
            reason: reason.to_owned(),
            age_milliseconds: Some(120),
            version: "1/7".to_owned(),
            shadow: false,
            best_effort: request.source == "access_token",
        })
    }
}

type Progress = Pin<Box<dyn Stream<Item = Result<v1::EnforcementProgress, Status>> + Send>>;

#[tonic::async_trait]
impl RevocationAdmin for Fake {
    async fn revoke(
        &self,
        request: Request<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeResponse>, Status> {
        let request = self.authenticate(request)?;
        let mut revocations = self.revocations.lock().unwrap();
        let is_dry_run = request.dry_run;
        let new = self.describe(request, revocations.len() + 1)?;
        let old = revocations.iter().find(|old| old.name == new.name).cloned();
        let revocation = match old {
            Some(old) if old.target == new.target && old.cutoff == new.cutoff => old,
            Some(old) => {
                let text = format!("{LIST} has another revocation named {}: choose another name", old.name);
                return Err(Status::already_exists(text));
            }
            None if is_dry_run => new,
            None => {
                revocations.push(new.clone());
                new
            }
        };
        Ok(Response::new(v1::RevokeResponse {
            revocation: Some(revocation),
            warnings: self.behaviour.warnings.clone(),
        }))
    }

    async fn lift(&self, request: Request<v1::LiftRequest>) -> Result<Response<v1::LiftResponse>, Status> {
        let request = self.authenticate(request)?;
        let mut revocations = self.revocations.lock().unwrap();
        let bears = |revocation: &v1::Revocation| {
            revocation.name == request.name && ["", &revocation.uid].contains(&request.uid.as_str())
        };
        let Some(index) = revocations.iter().position(bears) else {
            let text =
                format!("{LIST} has no revocation named {}: it was lifted, or never was", request.name);
            return Err(Status::not_found(text));
        };
        let revocation = match request.dry_run {
            true => revocations[index].clone(),
            false => revocations.remove(index),
        };
        Ok(Response::new(v1::LiftResponse { version: "1/99".to_owned(), revocation: Some(revocation) }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let request = self.authenticate(request)?;
        // Two to a page, whatever was asked for.
        let start: usize = request.page_token.parse().unwrap_or(0);
        let revocations = self.revocations.lock().unwrap();
        let page: Vec<_> = revocations.iter().skip(start).take(2).cloned().collect();
        let end = start + page.len();
        let next_page_token = if end < revocations.len() { end.to_string() } else { String::new() };
        Ok(Response::new(v1::ListResponse { revocations: page, next_page_token }))
    }

    async fn status(
        &self,
        request: Request<v1::AdminStatusRequest>,
    ) -> Result<Response<v1::AdminStatusResponse>, Status> {
        self.authenticate(request)?;
        let records = self.revocations.lock().unwrap().len() as u64;
        let sidecar = |identity: &str, connected, age| v1::SubscriberSummary {
            identity: identity.to_owned(),
            list: LIST.to_owned(),
            acknowledged_version: "1/7".to_owned(),
            last_ping_age_milliseconds: age,
            connected,
            replica: "replica-0".to_owned(),
        };
        Ok(Response::new(v1::AdminStatusResponse {
            version: "1/7".to_owned(),
            lists: vec![v1::ListSummary {
                list: LIST.to_owned(),
                records,
                keys: records,
                version: "1/7".to_owned(),
                config_generation: 3,
                subscribers: 2,
                bound_seconds: 15,
                maximum_seconds: 300,
                policy: "Strict".to_owned(),
                enforcement: "Enforce".to_owned(),
                conditions: self.behaviour.conditions.clone(),
            }],
            subscribers: vec![sidecar("shop/web-1", true, 412), sidecar("shop/web-2", false, 95_000)],
        }))
    }

    type WaitEnforcedStream = Progress;

    async fn wait_enforced(
        &self,
        request: Request<v1::WaitEnforcedRequest>,
    ) -> Result<Response<Progress>, Status> {
        let request = self.authenticate(request)?;
        assert_eq!(request.list, LIST);
        assert!(request.version.starts_with("1/"), "{request:?}");
        let report = |enforced, applied| v1::EnforcementProgress {
            enforced,
            subscribers: 12,
            applied,
            away: 0,
            // So long that what the command measures is always less.
            elapsed_milliseconds: 42_000,
        };
        let is_first = self.waits.fetch_add(1, Ordering::SeqCst) == 0;
        let reports = match self.behaviour.enforcement {
            Enforcement::Forbidden => return Err(Status::permission_denied("you may not watch")),
            Enforcement::AfterABreak if is_first => {
                vec![Ok(report(false, 3)), Err(Status::unavailable("moving to another replica"))]
            }
            Enforcement::AtOnce | Enforcement::AfterABreak => {
                vec![Ok(report(false, 3)), Ok(report(true, 12))]
            }
            Enforcement::Never => vec![Ok(report(false, 10))],
            Enforcement::Silent => Vec::new(),
        };
        let is_open = matches!(self.behaviour.enforcement, Enforcement::Never | Enforcement::Silent);
        let reports = stream::iter(reports);
        Ok(Response::new(match is_open {
            true => Box::pin(futures::StreamExt::chain(reports, stream::pending())),
            false => Box::pin(reports),
        }))
    }
}

#[tonic::async_trait]
impl RevocationCheck for Fake {
    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        let request = self.authenticate(request)?;
        Ok(Response::new(Self::decide(&request)?))
    }

    async fn check_batch(
        &self,
        _: Request<v1::CheckBatchRequest>,
    ) -> Result<Response<v1::CheckBatchResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn explain(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let request = self.authenticate(request)?;
        let response = Self::decide(&request)?;
        let step =
            |step: &str, outcome: String, passed| v1::ExplainStep { step: step.to_owned(), outcome, passed };
        let steps = vec![
            // It quotes the token, as no server should.
            step("parse", format!("{} is well-formed", request.token), true),
            step("look up", response.reason.clone(), response.reason.is_empty()),
        ];
        Ok(Response::new(v1::ExplainResponse { response: Some(response), steps }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
