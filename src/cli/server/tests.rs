use super::*;

fn check(given: &str, expected: Result<&str, BadServer>) {
    let address = given.parse::<ServerAddress>().map(|address| address.to_string());
    assert_eq!(address, expected.map(str::to_owned), "{given}");
}

#[test]
fn addresses_are_read_in_every_accepted_form_and_written_in_one() {
    for given in ["/run/a.sock", "unix:/run/a.sock", "unix:///run/a.sock"] {
        check(given, Ok("unix:/run/a.sock"));
    }
    for given in ["http://127.0.0.1:80", "http://[::1]:80", "http://localhost:80", "https://a.example:443"] {
        check(given, Ok(given));
    }
    check("https://a.example/", Ok("https://a.example"));
}

#[test]
fn what_is_no_address_is_refused() {
    for given in [
        "",
        "a",
        "127.0.0.1:80",
        "a:80",
        "unix:a",
        "ftp://a",
        "http://",
        "https://a/b",
        "https://u:p@a",
        "http:a",
    ] {
        check(given, Err(BadServer::Form));
    }
    for given in ["http://192.0.2.1:80", "http://a.example", "http://localhost.a.example"] {
        check(given, Err(BadServer::InTheClear));
    }
}

fn open(options: ServerOptions) -> String {
    Server::open(&options, Role::Controller).unwrap_err().to_string()
}

fn options(server: &str) -> ServerOptions {
    ServerOptions { server: Some(server.parse().unwrap()), ..ServerOptions::default() }
}

#[tokio::test]
async fn options_that_do_not_fit_the_address_are_errors() {
    assert!(open(ServerOptions::default()).contains("name a sidecar with --server or in RESCIND_SERVER"));
    assert_eq!(
        open(options("https://a.example")),
        "https://a.example asks for TLS: give the authority to trust with --ca"
    );
    let ca = Some(PathBuf::from("/ca"));
    assert_eq!(
        open(ServerOptions { ca, ..options("/a") }),
        "--ca, --cert and --key are for https, and unix:/a is not: leave them out"
    );
}

#[tokio::test]
async fn a_bearer_file_holds_one_word_that_no_error_shows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let with = |content: &str| {
        std::fs::write(&path, content).unwrap();
        let options = ServerOptions { bearer_file: Some(path.clone()), ..options("/a") };
        Server::open(&options, Role::Controller)
    };
    let server = with("s3cret\n").unwrap();
    let request = server.request(());
    assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer s3cret");
    assert!(!format!("{server:?} {request:?}").contains("s3cret"));
    for content in ["", "\n", "two words", "two\nlines\n", "ünicode", &"x".repeat(16 * 1024 + 1)] {
        let error = with(content).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "does not hold one token: it must be a single word of visible ASCII, at most 16 KiB"
            )
        );
    }
    std::fs::remove_file(&path).unwrap();
    let missing = ServerOptions { bearer_file: Some(path), ..options("/a") };
    assert!(open(missing).contains("token: No such file"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_waited_for_10_s() {
    let server = Server::open(&options("/a"), Role::Controller).unwrap();
    let error = server.answer::<()>(std::future::pending()).await.unwrap_err();
    assert_eq!(error.to_string(), "unix:/a did not answer within 10 s");
    assert!(error.is_unsettled());
}

#[test]
fn a_refusal_says_what_the_server_said_and_no_more() {
    let server = "/a".parse().unwrap();
    let check = |code, message: &str, expected: &str| {
        let error = CallError::new(&server, Role::Controller, &Status::new(code, message));
        assert_eq!(error.to_string(), expected);
    };
    use tonic::Code;
    check(Code::NotFound, "no such list", "no such list");
    check(Code::InvalidArgument, "", "Client specified an invalid argument");
    check(Code::PermissionDenied, "needs revoke-wide", "you may not do this: needs revoke-wide");
    check(Code::Unavailable, "the store is busy", "unix:/a can't serve now: the store is busy");
    check(Code::Internal, "disk", "unix:/a failed: disk");
    check(
        Code::Unimplemented,
        "",
        "unix:/a does not serve this: --server must be the admin address of a controller \
         (a sidecar's is for check and explain)",
    );
}
