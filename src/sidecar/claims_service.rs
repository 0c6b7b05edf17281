//! Checks claims that the caller has verified itself: `rescind.v1.ClaimsCheck`.
//!
//! Off by default, and on a socket of its own: whoever can ask needs no token to learn who is revoked.

use tonic::{Request, Response, Status};

use crate::proto::v1;
use crate::proto::v1::claims_check_server::{ClaimsCheck, ClaimsCheckServer};
use crate::revocation::claims::Claims;
use crate::runtime::gate::Admission;
use crate::token::jws::MAX_TOKEN_BYTES;
use crate::token::rejection::Rejection;

use super::check_service::{give_way, options, to_wire, within_batch};
use super::checker::Checker;
use super::outcome::{Outcome, Transport};
use super::request::{self, Credential};

/// A full batch of the largest claims, with their options.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// The service `rescind.v1.ClaimsCheck`.
#[derive(Clone, Debug)]
pub struct ClaimsService {
    checker: Checker,
}

impl ClaimsService {
    /// Makes the service.
    #[must_use]
    pub const fn new(checker: Checker) -> Self {
        Self { checker }
    }

    /// Returns the service for a gRPC server.
    #[must_use]
    pub fn into_server(self) -> ClaimsCheckServer<Self> {
        ClaimsCheckServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn answer(
        &self,
        wire: &v1::CheckClaimsRequest,
        admission: Admission,
        check: impl FnOnce(&request::Request<'_>) -> Outcome,
    ) -> v1::CheckResponse {
        let (policy, min_version) = match options(wire.options.as_ref()) {
            Ok(options) => options,
            Err(error) => return to_wire(&self.checker.bad_policy(Transport::Claims, &error)),
        };
        let claims = match admission {
            Admission::Granted => Some(parse(&wire.claims)),
            Admission::Refused => None,
        };
        let key_id = Some(wire.key_id.as_str()).filter(|key_id| !key_id.is_empty());
        let credential = claims.as_ref().map_or(Credential::Unread, |claims| Credential::Claims {
            claims: claims.as_ref().map_err(|rejection| *rejection),
            key_id,
        });
        to_wire(&check(&request::Request { policy, min_version, ..request::Request::new(credential) }))
    }
}

fn parse(claims: &[u8]) -> Result<Claims, Rejection> {
    // What no token could hold was not in one.
    if claims.len() > MAX_TOKEN_BYTES {
        return Err(Rejection::TooLarge);
    }
    Claims::parse(claims).map_err(|_| Rejection::Malformed)
}

#[tonic::async_trait]
impl ClaimsCheck for ClaimsService {
    async fn check_claims(
        &self,
        request: Request<v1::CheckClaimsRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let admission = Admission::of(request.extensions());
        let check = |question: &request::Request<'_>| self.checker.check(Transport::Claims, question);
        Ok(Response::new(self.answer(&request.into_inner(), admission, check)))
    }

    async fn check_claims_batch(
        &self,
        request: Request<v1::CheckClaimsBatchRequest>,
    ) -> Result<Response<v1::CheckBatchResponse>, Status> {
        let admission = Admission::of(request.extensions());
        let wire = request.into_inner();
        within_batch(wire.requests.len())?;
        let (views, _) = self.checker.look();
        let check =
            |question: &request::Request<'_>| self.checker.check_with(Transport::Claims, question, &views);
        let mut responses = Vec::with_capacity(wire.requests.len());
        for one in &wire.requests {
            responses.push(self.answer(one, admission, check));
            give_way(admission).await;
        }
        Ok(Response::new(v1::CheckBatchResponse { responses }))
    }
}

#[cfg(test)]
mod tests;
