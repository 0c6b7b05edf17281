//! The application behind a proxy: answers with what it got.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// The header that only answers of the application bear.
pub(crate) const MARK: &str = "x-application";

/// A running application. It answers 200, or `N` for a path that ends with `/status/N`, and repeats the request as
/// `{"method", "path", "headers": [[name, value], ...]}`.
pub(crate) struct Upstream {
    paths: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Upstream {
    /// Starts it at the path of a Unix socket.
    pub(crate) fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let paths = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&paths));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { paths, _server: server }
    }

    /// Returns the paths of all requests so far, with their queries.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.paths.lock().unwrap().clone()
    }
}

async fn answer(State(paths): State<Arc<Mutex<Vec<String>>>>, request: Request) -> Response {
    let path = request.uri().to_string();
    paths.lock().unwrap().push(path.clone());
    let asked = request.uri().path().rsplit_once("/status/").and_then(|(_, status)| status.parse().ok());
    let lines = request.headers().iter();
    let headers: Vec<_> = lines
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let echo = json!({"method": request.method().as_str(), "path": path, "headers": headers});
    let head = [(CONTENT_TYPE.as_str(), "application/json"), (MARK, "here")];
    (asked.unwrap_or(StatusCode::OK), head, echo.to_string()).into_response()
}
