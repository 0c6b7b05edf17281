use tower::ServiceExt;

use super::*;
use crate::distribution::view::ListView;
use crate::sidecar::test_support::{State, *};
use crate::token::route::{Mode, TokenPolicy};

async fn ask(views: &[ListView], request: http::request::Builder) -> Response {
    let router = router(checker(views).0, Style::default());
    let request = request.extension(Admission::Granted);
    router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn get(uri: &str) -> http::request::Builder {
    http::Request::builder().uri(uri)
}

/// The values of a header of the answer.
fn values<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

fn bearer() -> String {
    format!("Bearer {}", token())
}

#[tokio::test]
async fn an_allow_repeats_the_credentials_and_says_what_is_known() {
    let bearer = bearer();
    let request = get("/auth")
        .header("authorization", &bearer)
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-rescind-verdict", "forged")
        .header("host", "evil.example")
        .header("origin", "https://evil.example");
    let response = ask(&[shop(&[])], request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(values(&response, "authorization"), [bearer]);
    assert_eq!(values(&response, "cookie"), ["a=1; b=2"]);
    assert_eq!(values(&response, "x-rescind-verdict"), ["active"]);
    assert_eq!(values(&response, "x-rescind-age-ms"), ["2000"]);
    assert_eq!(values(&response, "x-rescind-version"), ["1/9"]);
    assert_eq!(values(&response, "cache-control"), ["no-store"]);
}

#[tokio::test]
async fn without_an_accepted_token_the_answer_carries_cleaned_headers() {
    let cookie = format!("a=1; access_token={}", token());
    let listed = [shop(&[(alice(), always())])];
    let request = get("/auth?token=lenient").header("cookie", cookie).header("authorization", "Basic abc");
    let response = ask(&listed, request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(values(&response, "authorization"), [""]);
    assert_eq!(values(&response, "cookie"), ["a=1"]);
    assert_eq!(values(&response, "x-rescind-verdict"), ["none"]);
    let response = ask(&[shop(&[])], get("/auth?token=optional")).await;
    assert_eq!(values(&response, "authorization"), [""]);
    assert_eq!(values(&response, "cookie"), [""]);
}

#[tokio::test]
async fn a_refusal_carries_its_status_twice_and_clears_the_cookie() {
    let listed = [shop(&[(alice(), always())])];
    let request = get("/auth").header("cookie", format!("access_token={}", token()));
    let response = ask(&listed, request).await;
    assert_eq!(response.status(), 401);
    assert_eq!(values(&response, "x-rescind-status"), ["401"]);
    assert_eq!(values(&response, "set-cookie").len(), 1);
    assert!(
        values(&response, "authorization").is_empty() && values(&response, "x-rescind-verdict").is_empty()
    );
    let stale = [view(config("shop"), State::Stale, &[])];
    let response = ask(&stale, get("/auth").header("authorization", bearer())).await;
    assert_eq!((response.status().as_u16(), values(&response, "retry-after")), (503, vec!["1"]));
}

#[tokio::test]
async fn any_method_is_answered_and_no_other_path() {
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PURGE"] {
        let response = ask(&[shop(&[])], get("/auth").method(method)).await;
        assert_eq!(response.status(), 401, "{method}");
    }
    assert_eq!(ask(&[shop(&[])], get("/auth/x")).await.status(), 404);
}

/// The method that a proxy passes on is the client's word.
#[tokio::test]
async fn preflights_can_not_be_allowed_here() {
    let preflight = get("/auth?preflight=allow")
        .method("OPTIONS")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PUT")
        .header("x-forwarded-method", "OPTIONS")
        .header("x-forwarded-uri", "/cors/page");
    assert_eq!(ask(&[shop(&[])], preflight).await.status(), 503);
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_503() {
    for query in ["tokn=optional", "token=optional&token=optional", "token=%6", "token"] {
        let request = get(&format!("/auth?{query}")).header("authorization", bearer());
        assert_eq!(ask(&[shop(&[])], request).await.status(), 503, "{query}");
    }
}

#[test]
fn a_query_is_decoded_once_and_strictly() {
    let read = policy("token=%6Fptional&audience=a%26b%3D%2525&mode=report").unwrap();
    assert_eq!((read.token, read.mode), (TokenPolicy::Optional, Mode::Report));
    assert_eq!(read.audience.as_deref(), Some("a&b=%25"));
    assert_eq!(policy(""), Ok(RoutePolicy::default()));
    for query in ["&", "token=optional&", "=optional", "token"] {
        assert_eq!(policy(query), Err(QueryError::NotPairs), "{query}");
    }
    for query in ["audience=a+b", "audience=%", "audience=%0", "audience=%zz", "audience=%ff", "audience=%+1"]
    {
        assert_eq!(policy(query), Err(QueryError::Encoding), "{query}");
    }
    assert!(matches!(
        policy("token=lenient&%74oken=lenient"),
        Err(QueryError::Route(RouteError::Twice { .. }))
    ));
}
