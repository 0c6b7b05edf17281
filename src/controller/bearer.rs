//! The token that callers of the admin API show on TCP.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tonic::Status;
use tonic::service::Routes;

use super::access::Caller;

/// Whoever shows the token.
const NAME: &str = "bearer of the admin token";
const LEAST_BYTES: usize = 16;
const MOST_BYTES: u64 = 4096;

/// A token that is compared in constant time.
#[derive(Clone)]
pub(super) struct Bearer(Arc<str>);

impl Bearer {
    /// Reads the token from a file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let size = std::fs::metadata(path).with_context(|| format!("can't read {shown}"))?.len();
        anyhow::ensure!(size <= MOST_BYTES, "{shown} is too large for a token: {size} bytes");
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {shown}"))?;
        let token = text.trim();
        anyhow::ensure!(
            token.len() >= LEAST_BYTES && token.bytes().all(|b| b.is_ascii_graphic()),
            "{shown} must hold one token of at least {LEAST_BYTES} visible ASCII characters"
        );
        Ok(Self(token.into()))
    }

    /// Lets only callers through that show the token.
    pub(super) fn protect(self, routes: Routes) -> Routes {
        Routes::from(routes.into_axum_router().layer(from_fn_with_state(self, require)))
    }

    fn admits(&self, shown: Option<&str>) -> bool {
        shown.is_some_and(|shown| verify_slices_are_equal(shown.as_bytes(), self.0.as_bytes()).is_ok())
    }
}

/// Returns the token that headers show, if they show exactly one.
pub(super) fn shown(headers: &http::HeaderMap) -> Option<&str> {
    let mut headers = headers.get_all(http::header::AUTHORIZATION).iter();
    let (shown, more) = (headers.next()?, headers.next());
    let token = shown.to_str().ok()?.strip_prefix("Bearer ")?;
    more.is_none().then_some(token)
}

async fn require(State(bearer): State<Bearer>, mut request: Request, next: Next) -> Response {
    if !bearer.admits(shown(request.headers())) {
        let status = Status::unauthenticated("show the admin token: Authorization: Bearer <token>");
        return status.into_http::<axum::body::Body>().into_response();
    }
    request.extensions_mut().insert(Caller { name: NAME.to_owned(), ..Caller::default() });
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_admitted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let bearer = Bearer::read(&file).unwrap();
        let admits = |headers: &[&str]| {
            let mut map = http::HeaderMap::new();
            for header in headers {
                map.append(http::header::AUTHORIZATION, header.parse().unwrap());
            }
            bearer.admits(shown(&map))
        };
        assert!(admits(&["Bearer 0123456789abcdef"]));
        for shown in ["", "Bearer ", "Bearer 0123456789abcde", "0123456789abcdef", "Bearer 0123456789abcdefg"]
        {
            assert!(!admits(&[shown]));
        }
        assert!(!admits(&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"]));
        assert!(!bearer.admits(None));
    }

    #[test]
    fn a_file_without_a_good_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        for content in ["", "short", "two words that are long enough"] {
            std::fs::write(&file, content).unwrap();
            assert!(Bearer::read(&file).is_err(), "{content}");
        }
        assert!(Bearer::read(&folder.path().join("none")).is_err());
    }
}
