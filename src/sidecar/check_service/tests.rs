use super::*;
use crate::sidecar::test_support::*;

fn service(views: &[ListView]) -> CheckService {
    let (_, controller) = watch::channel(Some("https://controller:7443".to_owned()));
    CheckService::new(checker(views).0, controller)
}

async fn ask(views: &[ListView], options: v1::CheckOptions) -> v1::CheckResponse {
    let wire = v1::CheckRequest { token: token(), options: Some(options), source: String::new() };
    service(views).check(granted(wire)).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_plain_allow_says_how_old_it_is() {
    let expected = v1::CheckResponse {
        decision: v1::Decision::Allow.into(),
        verdict: v1::VerdictKind::Active.into(),
        reason: String::new(),
        age_milliseconds: Some(2000),
        version: "1/9".to_owned(),
        shadow: false,
        best_effort: false,
    };
    assert_eq!(ask(&[shop(&[])], v1::CheckOptions::default()).await, expected);
}

#[tokio::test]
async fn options_that_are_not_understood_are_denied_never_dropped() {
    let none = v1::CheckOptions::default;
    let options = [
        v1::CheckOptions { min_version: "9".to_owned(), ..none() },
        v1::CheckOptions { lists: vec![String::new()], ..none() },
        v1::CheckOptions { lists: vec!["not a list".to_owned()], ..none() },
        v1::CheckOptions { lists: vec!["other".to_owned()], ..none() },
    ];
    for options in options {
        let response = ask(&[shop(&[])], options).await;
        assert_eq!((response.decision(), response.reason.as_str()), (v1::Decision::Deny, "BAD_POLICY"));
    }
}

#[tokio::test]
async fn a_caller_reads_its_own_revocation() {
    let asked = |min: &str| v1::CheckOptions { min_version: min.to_owned(), ..v1::CheckOptions::default() };
    assert_eq!(ask(&[shop(&[])], asked("1/9")).await.decision(), v1::Decision::Allow);
    let behind = ask(&[shop(&[])], asked("1/10")).await;
    assert_eq!((behind.verdict(), behind.reason.as_str()), (v1::VerdictKind::Unknown, "BEHIND_MIN_VERSION"));
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_one_too_large_not_at_all() {
    let one = |token: &str| v1::CheckRequest { token: token.to_owned(), ..v1::CheckRequest::default() };
    let requests = vec![one("x"), one(""), one(&token())];
    let batch = granted(v1::CheckBatchRequest { requests });
    let responses = service(&[shop(&[])]).check_batch(batch).await.unwrap().into_inner().responses;
    let reasons: Vec<_> = responses.iter().map(|response| response.reason.as_str()).collect();
    assert_eq!(reasons, ["MALFORMED", "NO_TOKEN", ""]);
    let batch = granted(v1::CheckBatchRequest { requests: vec![one("x"); MAX_BATCH + 1] });
    let refused = service(&[shop(&[])]).check_batch(batch).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn the_status_tells_what_is_held_of_each_list() {
    let views =
        [view(config("a"), State::Stale, &[(alice(), always())]), ListView::empty("bb".parse().unwrap())];
    let status = service(&views).status(Request::new(v1::StatusRequest {})).await.unwrap().into_inner();
    let stale = v1::ListStatus {
        list: "default/a".to_owned(),
        state: "STALE".to_owned(),
        age_milliseconds: Some(100_000),
        version: "1/9".to_owned(),
        entries: 1,
        config_generation: 1,
    };
    let nothing = v1::ListStatus {
        list: "default/bb".to_owned(),
        state: "NEVER_FRESH".to_owned(),
        ..v1::ListStatus::default()
    };
    let controller = "https://controller:7443".to_owned();
    assert_eq!(status, v1::StatusResponse { lists: vec![stale, nothing], controller });
}
