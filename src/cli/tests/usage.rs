//! Arguments, help, and servers that are not there.

use super::fake::token;
use super::*;

/// The commands that talk to a server, and those that need none.
const COMMANDS: [&str; 16] = [
    "token",
    "subject",
    "session",
    "client",
    "key",
    "issuer",
    "selector",
    "list",
    "undo",
    "status",
    "check",
    "explain",
    "inject",
    "doctor",
    "version",
    "completion",
];

#[test]
fn the_definitions_of_all_commands_are_consistent() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    let cli = Cli::command();
    let names: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    assert!(COMMANDS.iter().all(|command| names.contains(command)), "{names:?}");
}

#[tokio::test]
async fn help_has_examples_for_every_command() {
    for command in COMMANDS {
        let seen = run_alone(&[command, "--help"], "").await;
        assert_eq!((seen.exit, seen.err.as_str()), (Exit::Done, ""), "{command}");
        assert!(seen.out.contains(&format!("  rescind {command} ")) || command == "version", "{}", seen.out);
        assert!(seen.out.contains("Examples:\n"), "{}", seen.out);
    }
    let seen = run_alone(&["--version"], "").await;
    assert_eq!(seen, Seen::new(Exit::Done, concat!("rescind ", env!("CARGO_PKG_VERSION"), "\n"), ""));
}

#[tokio::test]
async fn wrong_usage_is_1_and_says_why_on_standard_error() {
    let check = async |command: &str, expected: &str| {
        let seen = run_alone(&command.split(' ').collect::<Vec<_>>(), "").await;
        assert_eq!((seen.exit, seen.out.as_str()), (Exit::Failed, ""), "{command}");
        assert!(seen.err.contains(expected), "{command}: {}", seen.err);
    };
    check("nonsense", "unrecognized subcommand 'nonsense'").await;
    check("subject", "<SUB>").await;
    check("subject alice --cutoff yesterday", "write a time like 2026-11-21T10:00:00Z, now, or Always").await;
    check("subject alice --cutoff now --ban", "cannot be used with").await;
    check("subject alice --for 3h", "--ban").await;
    check("subject alice --ban --for 3", "write a duration like 30m, 12h, 7d or 1h30m").await;
    check("subject alice --ban --for 3h --until 2027-01-01T00:00:00Z", "cannot be used with").await;
    check("subject alice --ban --compare-with session-start", "cannot be used with").await;
    check("subject alice --reason lost_device", "is not one CamelCase word like LostDevice").await;
    check("subject alice --list Shop", "is not a name").await;
    check("subject alice --wait maybe", "unexpected argument 'maybe'").await;
    check("subject alice --wait=maybe", "invalid value 'maybe'").await;
    check("subject alice -o table", "[possible values: json, yaml, name, wide]").await;
    check("status -o table", "[possible values: json, yaml, name, wide]").await;
    check("doctor -o name", "[possible values: json, yaml]").await;
    check("issuer https://a --issuer https://b", "unexpected argument '--issuer'").await;
    check("selector tenant", "CLAIM=VALUE").await;
    check("selector tenant x", "write claim=value").await;
    check("list --server 127.0.0.1:80", "write unix:/path, /path, http://127.0.0.1:port").await;
    check("list --server http://192.0.2.1:80", "http is for this machine only").await;
    check("token --jti j --opaque", "cannot be used with").await;
}

/// Runs a command that needs no server, as a plugin of `kubectl`.
async fn run_plugin(arguments: &[&str]) -> Seen {
    run_as("/usr/local/bin/kubectl-rescind", Surface::Plain, arguments, "").await
}

#[tokio::test]
async fn a_plugin_calls_itself_by_the_name_under_which_it_is_called() {
    for command in COMMANDS {
        let seen = run_plugin(&[command, "--help"]).await;
        assert_eq!((seen.exit, seen.err.as_str()), (Exit::Done, ""), "{command}");
        assert!(seen.out.contains(&format!("\nUsage: kubectl rescind {command} ")), "{}", seen.out);
        assert!(seen.out.contains(&format!("  kubectl rescind {command}")), "{}", seen.out);
        assert!(!seen.out.contains("\n  rescind "), "{}", seen.out);
    }
    let seen = run_plugin(&["subject"]).await;
    assert!(seen.err.contains("\nUsage: kubectl rescind subject "), "{}", seen.err);
    let seen = run_plugin(&["subject", "alice", "--server", "/does/not/exist"]).await;
    assert!(
        seen.err
            .ends_with("start `kubectl rescind dev`, or give the address of a controller with --server\n")
    );
}

#[tokio::test]
async fn a_shell_is_given_candidates_and_whether_files_may_be_meant() {
    let seen = run_plugin(&["__complete", "sta"]).await;
    let about = "Show the lists, and what every sidecar knows";
    assert_eq!(seen, Seen::new(Exit::Done, &format!("status\t{about}\n:4\n"), ""));
    let seen = run_plugin(&["__complete", "list", "--kubeconfig", ""]).await;
    assert_eq!(seen, Seen::new(Exit::Done, ":0\n", ""));
    // What can't be asked is not there, and nobody is told.
    let seen = run_plugin(&["__complete", "list", "--kubeconfig", "/does/not/exist", "-n", ""]).await;
    assert_eq!(seen, Seen::new(Exit::Done, ":4\n", ""));
}

#[tokio::test]
async fn a_token_on_the_command_line_is_refused_and_not_quoted() {
    let secret = token("j1", "alice");
    for arguments in [
        vec!["token", secret.as_str()],
        vec!["check", &secret],
        vec!["nonsense", &secret],
        vec!["subject", "alice", "--message", &format!("stolen: {secret}")],
        vec!["token", &format!("--jti={secret}")],
        vec!["token", "an-opaque-session-id"],
        vec!["token", "--opaque", "an-opaque-session-id"],
        vec!["token", "--jti", "j1", "an-opaque-session-id"],
        vec!["check", "--server", "/a", "an-opaque-session-id"],
        vec!["explain", "an-opaque-session-id", "--server", "/a"],
    ] {
        let seen = run_alone(&arguments, &secret).await;
        let expected = "error: a token is never given on the command line, where others can see it: \
                        write it to standard input, or name a file with --file\n";
        assert_eq!(seen, Seen::new(Exit::Failed, "", expected), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let check = async |server: String, expected: &str| {
        let seen = run_alone(&["subject", "alice", "--server", &server], "").await;
        let shown = if server.starts_with('/') { format!("unix:{server}") } else { server };
        let step = "start `rescind dev`, or give the address of a controller with --server";
        let expected = format!("error: can't reach {shown}: {expected}; {step}\n");
        assert_eq!(seen, Seen::new(Exit::Failed, "", &expected));
    };
    check(path.display().to_string(), "there is no such socket").await;
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    check(path.display().to_string(), "nothing listens on the socket any more").await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    check(format!("http://127.0.0.1:{port}"), "nothing listens there").await;
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_open_whether_it_was_stored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // It takes every connection, and hangs up.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let seen = run_alone(&["subject", "alice", "--server", path.to_str().unwrap()], "").await;
    assert_eq!((seen.exit, seen.out.as_str()), (Exit::Failed, ""));
    assert!(seen.err.contains("broke before the answer came"), "{}", seen.err);
    assert!(
        seen.err.contains("whether the revocation was stored is not known: see `rescind list`, or repeat"),
        "{}",
        seen.err
    );
}

#[tokio::test]
async fn the_version_names_what_it_speaks() {
    let seen = run_alone(&["version"], "").await;
    let expected = concat!(
        "rescind ",
        env!("CARGO_PKG_VERSION"),
        " (objects rescind.dev/v1alpha1, protocol rescind.v1)\n"
    );
    assert_eq!(seen, Seen::new(Exit::Done, expected, ""));
    let json: serde_json::Value =
        serde_json::from_str(&run_alone(&["version", "-o", "json"], "").await.out).unwrap();
    assert_eq!(json["protocol"], "rescind.v1");
}

#[tokio::test]
async fn every_shell_gets_a_script() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let seen = run_alone(&["completion", shell], "").await;
        assert_eq!((seen.exit, seen.err.as_str()), (Exit::Done, ""), "{shell}");
        assert!(seen.out.contains("subject"), "{shell}");
    }
}

#[test]
fn exit_codes_are_as_documented() {
    assert_eq!([Exit::Done, Exit::Failed, Exit::Pending].map(Exit::code), [0, 1, 2]);
}
