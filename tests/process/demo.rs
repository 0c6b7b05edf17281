//! The demonstration and the development server, as a user runs them.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::PATIENCE;
use crate::support::lab::Lab;
use crate::support::wait::wait_for;

const RESCIND: &str = env!("CARGO_BIN_EXE_rescind");

/// Prepares a command of `rescind` that makes its temporary folders in the lab.
fn rescind(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = Command::new(RESCIND);
    std::fs::create_dir_all(lab.path("tmp")).unwrap();
    command.args(arguments).env("TMPDIR", lab.path("tmp")).env_remove("NO_COLOR").kill_on_drop(true);
    command
}

/// Returns the temporary folders that are there.
fn temporary_folders(lab: &Lab) -> Vec<PathBuf> {
    std::fs::read_dir(lab.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Runs `rescind` on a terminal of its own; what it writes comes with that terminal's line ends.
async fn on_a_terminal(lab: &Lab, arguments: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("script");
    let line = format!("exec {RESCIND} {arguments}");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.env("TMPDIR", lab.path("tmp")).env("TERM", "xterm").env_remove("NO_COLOR");
    command.envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    std::fs::create_dir_all(lab.path("tmp")).unwrap();
    tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_step_of_the_demonstration_holds_and_its_folder_goes() {
    let lab = Lab::new();
    let output = rescind(&lab, &["demo", "-o", "json"]).output().await.unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{told:#}");
    assert_eq!(told["held"], Value::Bool(true));
    let steps = told["steps"].as_array().unwrap();
    assert!(steps.len() >= 20, "{told:#}");
    for step in steps {
        assert_eq!(step["expected"], step["seen"], "{step}");
        assert!(step["name"].is_string() && step["milliseconds"].is_u64(), "{step}");
    }
    assert_eq!(temporary_folders(&lab), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn the_demonstration_is_plain_in_a_pipe() {
    let output = rescind(&Lab::new(), &["demo"]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains('\u{1b}') && text.ends_with("steps held.\n"), "{text}");
}

#[tokio::test]
async fn the_demonstration_is_painted_on_a_terminal_unless_that_is_not_wanted() {
    let lab = Lab::new();
    let green = "  \u{1b}[32m✓\u{1b}[0m bob's token passes ";
    for (variables, title, step) in [
        (&[][..], "\r\n\u{1b}[1mBoth are logged in\u{1b}[0m\r\n", green),
        (&[("NO_COLOR", "1")], "\r\nBoth are logged in\r\n", "  ✓ bob's token passes "),
        (&[("TERM", "dumb")], "\r\nBoth are logged in\r\n", "  ✓ bob's token passes "),
    ] {
        let output = on_a_terminal(&lab, "demo", variables).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.ends_with("steps held.\r\n"), "{variables:?} {text}");
        assert!(text.contains(title) && text.contains(step), "{variables:?} {text:?}");
        assert_eq!(text.contains('\u{1b}'), variables.is_empty(), "{variables:?} {text:?}");
    }
}

/// A command of `rescind` that runs, with what it says.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    told: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, told: String::new() }
    }

    /// Reads until a line begins so, or until the end.
    async fn until(&mut self, beginning: &str) {
        let read = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.told.push_str(&line);
                self.told.push('\n');
                if line.starts_with(beginning) {
                    return;
                }
            }
        };
        assert!(tokio::time::timeout(PATIENCE, read).await.is_ok(), "{}", self.told);
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.id().unwrap()), signal).unwrap();
    }

    /// Reads to the end, and returns the exit code.
    async fn ended(&mut self) -> Option<i32> {
        self.until("\0").await;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().code()
    }

    /// Returns the processes that it has started, with their arguments.
    fn children(&self) -> Vec<(Pid, String)> {
        let parent = self.child.id().unwrap();
        let all = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let child = |id: u32| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let of =
                status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse::<u32>().ok()?;
            let arguments = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
            (of == parent).then(|| (pid(id), String::from_utf8_lossy(&arguments).replace('\0', " ")))
        };
        all.filter_map(|name| child(name.parse().ok()?)).collect()
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Tells whether a process is there, and has not ended.
fn is_alive(process: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

/// Whatever goes wrong is a step that does not hold: it is named with what was seen, and is the last one.
#[tokio::test]
async fn a_demonstration_whose_process_dies_names_the_step_and_fails() {
    for (victim, log) in [("sidecar", "log of the sidecar:"), ("controller", "log of the controller:")] {
        let lab = Lab::new();
        let mut demo = Running::start(rescind(&lab, &["demo"]));
        demo.until("Alice has lost her phone").await;
        let children = demo.children();
        let (process, _) = children.iter().find(|(_, line)| line.contains(&format!(" {victim} "))).unwrap();
        kill_process(*process, Signal::KILL).unwrap();
        assert_eq!(demo.ended().await, Some(1), "{}", demo.told);
        let told = &demo.told;
        let failed: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("FAIL ")).collect();
        let [failed] = failed[..] else { panic!("{victim}: {told}") };
        let (name, seen) = failed.split_once(": ").unwrap();
        let (seen, expected) = seen.rsplit_once(" (expected ").unwrap();
        let expected = expected.split_once(')').unwrap().0;
        let sentence = format!("\nThe demonstration failed: {name}: expected {expected}, and saw {seen}\n");
        assert!(told.contains(&sentence), "{sentence} {told}");
        assert!(told.contains(log), "{told}");
        assert_eq!(temporary_folders(&lab), [""; 0].map(PathBuf::from));
    }
}

#[tokio::test]
async fn a_demonstration_that_is_interrupted_leaves_nothing_behind() {
    let lab = Lab::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Running::start(rescind(&lab, &["demo"]));
        // The controller is frozen: it would stay so for ever.
        demo.until("The controller is frozen").await;
        let children = demo.children();
        assert_eq!(children.len(), 2, "{children:?}");
        demo.signal(signal);
        assert_eq!(demo.ended().await, Some(1), "{}", demo.told);
        assert!(demo.told.ends_with("The demonstration failed: interrupted\n"), "{}", demo.told);
        for (process, line) in children {
            let gone = async || if is_alive(process) { Err(line.clone()) } else { Ok(()) };
            wait_for("it is gone", PATIENCE, gone).await;
        }
        assert_eq!(temporary_folders(&lab), [""; 0].map(PathBuf::from));
    }
}

#[tokio::test]
async fn the_development_server_takes_a_folder_an_address_and_manifests_and_ends_on_ctrl_c() {
    let lab = Lab::new();
    let (data, socket) = (lab.path("dev"), lab.path("stream.sock"));
    let arguments = [
        "dev".to_owned(),
        format!("--data={}", data.display()),
        format!("--listen={}", socket.display()),
        format!("--filename={}", lab.path("lists.yaml").display()),
    ];
    let mut dev = Running::start(rescind(&lab, &arguments.each_ref().map(String::as_str)));
    dev.until("Ctrl-C").await;
    let told = &dev.told;
    assert!(told.contains("default/shop") && told.contains(&socket.display().to_string()), "{told}");
    assert!(data.join("store").join("rescind.redb").exists());
    dev.signal(Signal::INT);
    assert_eq!(dev.ended().await, Some(0));
    assert!(data.join("store").join("rescind.redb").exists(), "a folder that was given stays");
}

/// Pastes lines into a shell where `rescind` is found, and returns what they print.
async fn paste(lines: &str) -> String {
    let folder = Path::new(RESCIND).parent().unwrap().to_owned();
    let path = std::env::join_paths(
        std::iter::once(folder).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut shell = Command::new("sh");
    shell.arg("-ec").arg(lines).env("PATH", path.unwrap()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, shell.output()).await.unwrap().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{lines}\n{out}\n{err}");
    out
}

/// Returns the statuses among the answers that curl prints.
fn statuses(printed: &str) -> Vec<&str> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 "));
    lines.map(|line| line.split(' ').next().unwrap()).collect()
}

/// Asks, revokes and asks again, with nothing but what is printed. `line` is how the one that asks begins.
async fn follow(printed: &str, line: &str) -> String {
    let is_pasted = |line: &&str| {
        ["ALICE=", "BOB=", "TOKEN=", "curl ", "rescind "].iter().any(|start| line.starts_with(start))
    };
    let pasted: Vec<&str> = printed.lines().filter(is_pasted).collect();
    let ask = pasted.iter().find(|pasted| pasted.starts_with(line)).unwrap();
    // It is fresh in a moment; until then it answers 503.
    let variables: Vec<&str> = pasted.iter().copied().filter(|line| !line.contains(' ')).collect();
    let once = format!("{}\n{ask}", variables.join("\n"));
    wait_for("it is fresh", PATIENCE, async || {
        let printed = paste(&once).await;
        if statuses(&printed) == ["200"] { Ok(()) } else { Err(printed) }
    })
    .await;
    paste(&format!("{}\n{ask}", pasted.join("\n"))).await
}

#[tokio::test]
async fn the_lines_of_the_development_server_can_be_pasted_and_its_folder_goes() {
    let lab = Lab::new();
    let mut dev = Running::start(rescind(&lab, &["dev"]));
    dev.until("Ctrl-C").await;
    assert_eq!(temporary_folders(&lab).len(), 1);
    let printed = follow(&dev.told, "curl -i").await;
    assert_eq!(statuses(&printed), ["200", "401"], "{printed}");
    assert!(printed.contains("subject alice"), "{printed}");
    let bob = format!("{}\n", dev.told.lines().find(|line| line.starts_with("BOB=")).unwrap());
    let ask = dev.told.lines().find(|line| line.starts_with("curl")).unwrap().replace("$ALICE", "$BOB");
    assert_eq!(statuses(&paste(&(bob + &ask)).await), ["200"]);
    dev.signal(Signal::TERM);
    assert_eq!(dev.ended().await, Some(0));
    assert_eq!(temporary_folders(&lab), [""; 0].map(PathBuf::from));
}

/// A path with a space, a Unix socket, and an issuer that a shell would take apart.
#[tokio::test]
async fn the_lines_of_the_development_server_can_be_pasted_whatever_is_in_them() {
    let issuer = "https://id.example.com/realms/one?a=1&b=$HOME";
    let lab = Lab::declaring(|spec| spec["issuers"][0]["issuer"] = issuer.into());
    let token = lab.keys.token(&json!({"iss": issuer, "sub": "SUB"}));
    let folder = lab.path("a folder");
    let arguments = [
        "dev".to_owned(),
        format!("--data={}", folder.display()),
        format!("--http={}", folder.join("auth.sock").display()),
        format!("--filename={}", lab.path("lists.yaml").display()),
    ];
    std::fs::create_dir(&folder).unwrap();
    let mut dev = Running::start(rescind(&lab, &arguments.each_ref().map(String::as_str)));
    dev.until("Ctrl-C").await;
    let printed = follow(&format!("TOKEN={token}\n{}", dev.told), "curl -i").await;
    assert_eq!(statuses(&printed), ["200", "401"], "{printed}");
    dev.signal(Signal::INT);
    assert_eq!(dev.ended().await, Some(0));
}
