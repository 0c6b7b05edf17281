use super::*;
use crate::distribution::view::ListView;
use crate::sidecar::test_support::*;

async fn reason(views: &[ListView], claims: &[u8]) -> String {
    let service = ClaimsService::new(checker(views).0);
    let wire = v1::CheckClaimsRequest { claims: claims.to_vec().into(), ..v1::CheckClaimsRequest::default() };
    service.check_claims(granted(wire)).await.unwrap().into_inner().reason
}

#[tokio::test]
async fn verified_claims_are_judged_and_looked_up() {
    let claims = claims().to_string();
    assert_eq!(reason(&[shop(&[])], claims.as_bytes()).await, "");
    assert_eq!(reason(&[shop(&[(alice(), always())])], claims.as_bytes()).await, "REVOKED");
}

#[tokio::test]
async fn what_can_not_be_claims_is_refused() {
    let views = [shop(&[])];
    for claims in [&b""[..], b"[]", br#"{"iss":"a","iss":"a"}"#, b"{\"iss\":\"\xff\"}"] {
        assert_eq!(reason(&views, claims).await, "MALFORMED");
    }
    let large = format!(r#"{{"iss":"{}"}}"#, "a".repeat(MAX_TOKEN_BYTES));
    assert_eq!(reason(&views, large.as_bytes()).await, "TOO_LARGE");
}

#[tokio::test]
async fn others_on_the_core_have_their_turn_between_two_questions_of_a_batch() {
    let service = ClaimsService::new(checker(&[shop(&[])]).0);
    let requests = vec![v1::CheckClaimsRequest::default(); 3];
    let mut batch = service.check_claims_batch(granted(v1::CheckClaimsBatchRequest { requests }));
    for question in 0..3 {
        assert!(futures::poll!(&mut batch).is_pending(), "after question {question}");
    }
    assert_eq!(batch.await.unwrap().into_inner().responses.len(), 3);
}

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let one = |claims: String| v1::CheckClaimsRequest {
        claims: claims.into(),
        ..v1::CheckClaimsRequest::default()
    };
    let service = ClaimsService::new(checker(&[shop(&[])]).0);
    let requests = vec![one("{}".to_owned()), one(claims().to_string())];
    let batch = granted(v1::CheckClaimsBatchRequest { requests });
    let responses = service.check_claims_batch(batch).await.unwrap().into_inner().responses;
    let reasons: Vec<_> = responses.iter().map(|response| response.reason.as_str()).collect();
    assert_eq!(reasons, ["UNKNOWN_ISSUER", ""]);
    let requests = vec![one(String::new()); 257];
    let refused = service.check_claims_batch(granted(v1::CheckClaimsBatchRequest { requests })).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::InvalidArgument);
}
