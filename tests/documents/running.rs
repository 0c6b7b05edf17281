//! Processes of ours that a test starts.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
pub(crate) struct Running {
    child: Child,
    /// What it printed until the line that was waited for.
    pub(crate) printed: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; the test has said so then.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs `rescind dev` in a folder, with the probes and metrics on a socket there, until it says that it is there.
pub(crate) fn dev(folder: &Path, arguments: &[&str]) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rescind"))
        .arg("dev")
        .args(arguments)
        .arg("--health")
        .arg(health(folder))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    for line in lines.map(Result::unwrap) {
        printed.push(line);
        if printed.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
            break;
        }
    }
    let running = Running { child, printed };
    wait_until_ready(&health(folder));
    running
}

/// Runs a controller in a folder, with a list.
pub(crate) fn controller(folder: &Path) -> Running {
    let path = |name: &str| folder.join(name);
    let child = Command::new(env!("CARGO_BIN_EXE_rescind-controller"))
        .arg("--data")
        .arg(path("store"))
        .arg("--listen")
        .arg(path("stream.sock"))
        .arg("--admin")
        .arg(path("admin.sock"))
        .arg("--health")
        .arg(health(folder))
        .args(["--filename", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/lists.yaml")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running { child, printed: Vec::new() };
    wait_until_ready(&health(folder));
    running
}

/// Where probes and metrics are.
pub(crate) fn health(folder: &Path) -> PathBuf {
    folder.join("health.sock")
}

/// Asks for a path over a Unix socket.
pub(crate) fn get(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let lines = "Host: localhost\r\nAccept: application/openmetrics-text\r\nConnection: close";
    write!(stream, "GET {path} HTTP/1.1\r\n{lines}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The process answers as soon as it listens, and is ready when everything was fetched and proven.
fn wait_until_ready(socket: &Path) {
    for _ in 0..3000 {
        if get(socket, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} is not ready", socket.display());
}
