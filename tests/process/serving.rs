//! How a sidecar serves: with which threads and protocols, what it tells the outside, and whom it believes.

use std::collections::BTreeSet;
use std::path::Path;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rescind::proto::v1::target::Target;
use serde_json::json;
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::support::PATIENCE;
use crate::support::http1::{Ask, ask_unix};
use crate::support::issue::{ISSUER, claims};
use crate::support::lab::{LIST, Lab};
use crate::support::wait::wait_for;

async fn forward_auth(lab: &Lab, ask: &Ask) -> (u16, Vec<(String, String)>) {
    let reply = ask_unix(&lab.path("auth.sock"), ask).await.unwrap();
    let lines = reply
        .headers
        .into_iter()
        .filter(|(name, _)| !["date", "x-rescind-age-ms", "x-rescind-version"].contains(&&**name));
    (reply.status, lines.collect())
}

/// Returns the names of a process's threads that serve checks.
fn check_threads(process: i32) -> BTreeSet<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("checks-")).collect()
}

/// One single-threaded runtime per core, or as many as are asked for: each serves every socket, so that one is enough.
#[tokio::test]
async fn checks_have_as_many_threads_as_are_asked_for_and_else_one_per_core() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    for (flag, count) in [("--threads=1", 1), ("--threads=3", 3), ("--identity=as-usual", cores)] {
        if lab.sidecar.is_some() {
            lab.end_sidecar().await;
        }
        lab.start_sidecar(&[flag]).await;
        // It asks over gRPC.
        lab.until_fresh().await;
        let expected: BTreeSet<_> = (0..count).map(|number| format!("checks-{number}")).collect();
        assert_eq!(check_threads(lab.sidecar().child.id()), expected, "{flag}");
        let (good, bad) = (lab.keys.token(&json!({})), lab.keys.token(&json!({"aud": "else"})));
        let asked = (0..8 * count).map(async |number| {
            let token = if number % 2 == 0 { &good } else { &bad };
            let http = forward_auth(&lab, &Ask::get("/auth").bearer(token)).await.0;
            let grpc = lab.check(token).await.unwrap().reason;
            (http, grpc)
        });
        for (number, answer) in futures::future::join_all(asked).await.into_iter().enumerate() {
            let expected = if number % 2 == 0 { (200, "") } else { (401, "WRONG_AUDIENCE") };
            assert_eq!((answer.0, answer.1.as_str()), expected, "{flag}");
        }
    }
}

/// Nobody learns whether a token was revoked, unless the operator says so.
#[tokio::test]
async fn only_a_sidecar_that_is_told_to_reveal_it_says_why_a_token_is_refused() {
    let mut lab = Lab::start().await;
    let mallory = lab.keys.token(&json!({"sub": "mallory"}));
    let forged = lab.keys.stranger.sign(&claims(&json!({}))).unwrap();
    let revoked = lab.ban(Target::Subject("mallory".to_owned())).await;
    lab.until_enforced(&revoked.version).await;
    let both = async |lab: &Lab| {
        let [one, other] = [&mallory, &forged].map(|token| Ask::get("/auth").bearer(token));
        [forward_auth(lab, &one).await, forward_auth(lab, &other).await]
    };
    let [one, other] = both(&lab).await;
    assert_eq!((one.0, &one), (401, &other), "revoked looks like forged");
    lab.end_sidecar().await;
    lab.start_sidecar(&["--reveal"]).await;
    lab.until_proven(&revoked.version).await;
    for ((status, lines), reason) in both(&lab).await.into_iter().zip(["REVOKED", "BAD_SIGNATURE"]) {
        let challenge = lines.into_iter().find(|(name, _)| name == "www-authenticate").unwrap().1;
        let expected =
            format!("Bearer realm=\"rescind\", error=\"invalid_token\", error_description=\"{reason}\"");
        assert_eq!((status, challenge), (401, expected));
    }
}

/// A proxy passes these on as a client sent them, and routes by what it knows itself.
#[tokio::test]
async fn what_is_said_to_have_been_forwarded_never_decides() {
    let lab = Lab::start().await;
    let revoked = lab.ban(Target::Subject("mallory".to_owned())).await;
    lab.until_proven(&revoked.version).await;
    let good = lab.keys.token(&json!({}));
    let bad = lab.keys.token(&json!({"sub": "mallory"}));
    let lines = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-forwarded-uri", "/auth?token=optional&mode=report"),
        ("x-original-uri", "/auth?token=optional&mode=report"),
        ("forwarded", "for=127.0.0.1;proto=https;host=localhost"),
    ];
    let preflight = [("origin", "https://app.example.com"), ("access-control-request-method", "PUT")];
    for query in
        ["", "?token=optional", "?token=lenient", "?mode=report", "?preflight=allow", "?tokn=optional"]
    {
        let path = format!("/auth{query}");
        for ask in [Ask::get(&path), Ask::get(&path).bearer(&good), Ask::get(&path).bearer(&bad)] {
            let expected = forward_auth(&lab, &ask).await;
            let forged = |lines: &[(&str, &str)]| {
                lines.iter().fold(ask.clone(), |ask, (name, value)| ask.line(name, value))
            };
            for line in &lines {
                assert_eq!(forward_auth(&lab, &forged(&[*line])).await, expected, "{query} {line:?}");
            }
            let all = [&lines[..], &preflight].concat();
            assert_eq!(forward_auth(&lab, &forged(&all)).await, expected, "{query} all of them");
        }
    }
}

/// Without TLS nobody has agreed on HTTP/2, and so its floods of streams don't exist there.
#[tokio::test]
async fn forward_auth_speaks_no_http_2_that_was_not_agreed_on() {
    let lab = Lab::start().await;
    let stream = UnixStream::connect(lab.path("auth.sock")).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let request = http::Request::builder().uri("http://localhost/auth").body(Empty::<Bytes>::new()).unwrap();
    let ended =
        tokio::time::timeout(PATIENCE, async { tokio::join!(sender.send_request(request), connection) });
    let (answer, _) = ended.await.unwrap();
    assert!(answer.is_err(), "{answer:?}");
    // The listener is none the worse for it.
    let good = Ask::get("/auth").bearer(&lab.keys.token(&json!({})));
    assert_eq!(forward_auth(&lab, &good).await.0, 200);
}

/// Failure 24: whoever revokes too much can still take it back, though they show what they have revoked.
#[tokio::test]
async fn what_administrators_show_is_not_subject_to_the_lists() {
    let mut lab = Lab::new();
    let own = lab.keys.token(&json!({"sub": "administrator"}));
    std::fs::write(lab.path("bearer"), &own).unwrap();
    let arguments =
        lab.controller_arguments().into_iter().filter(|argument| !argument.starts_with("--admin="));
    let bearer = format!("--admin-token-file={}", lab.path("bearer").display());
    let arguments: Vec<_> =
        arguments.chain(["--admin=127.0.0.1:0".to_owned(), bearer, "--new-store".to_owned()]).collect();
    let controller = lab.start_other(crate::support::lab::Program::Controller, &arguments).await.unwrap();
    let admin = format!("http://{}", controller.address("admin"));
    lab.controller = Some(controller);
    lab.start_sidecar(&[]).await;
    lab.until_fresh().await;
    let rescind = async |arguments: &[&str]| {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_rescind")));
        command.args(arguments).args(["--server", &admin, "--bearer-file"]).arg(lab.path("bearer"));
        let output = command.kill_on_drop(true).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?} {output:?}\n{}", lab.logs());
        String::from_utf8(output.stdout).unwrap()
    };
    rescind(&["issuer", ISSUER, "--ban", "--list", LIST, "--name", "too-much"]).await;
    assert_eq!(lab.check(&own).await.unwrap().reason, "REVOKED");
    assert!(rescind(&["status"]).await.contains(LIST));
    rescind(&["undo", "too-much"]).await;
    wait_for("it passes again", PATIENCE, async || {
        let answer = lab.check(&own).await.unwrap();
        if answer.reason.is_empty() { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}
