//! The images as the head of the Dockerfile says, by the engine that most people have.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cluster::{is_able, succeed, text};
use crate::support::PATIENCE;
use crate::support::program::Program;
use crate::support::wait::wait_for;

/// Debian's, which has BuildKit in it; one from elsewhere may need a plugin for that.
const CLIENT: &str = "/usr/bin/docker";

/// A Docker of our own, without a network: nothing is pulled, and nothing of the machine's is touched.
struct Engine {
    daemon: Program,
    folder: TempDir,
}

impl Engine {
    async fn start() -> Self {
        let folder = TempDir::with_prefix("rescind-docker-").unwrap();
        let place = |option: &str, name: &str| format!("--{option}={}", folder.path().join(name).display());
        let mut arguments = vec![
            place("data-root", "data"),
            place("exec-root", "run"),
            place("pidfile", "pid"),
            format!("--host=unix://{}", folder.path().join("socket").display()),
        ];
        arguments.extend(
            ["bridge=none", "iptables=false", "ip-forward=false"].map(|option| format!("--{option}")),
        );
        let daemon = Program::start("dockerd", Path::new("dockerd"), arguments, folder.path());
        let engine = Self { daemon, folder };
        wait_for("Docker answers", PATIENCE, async || {
            let asked = engine.docker("0").arg("version").output().unwrap();
            if asked.status.success() { Ok(()) } else { Err(engine.daemon.log()) }
        })
        .await;
        engine
    }

    fn docker(&self, build_kit: &str) -> Command {
        let mut command = Command::new(CLIENT);
        command
            .env("DOCKER_HOST", format!("unix://{}", self.folder.path().join("socket").display()))
            .env("DOCKER_BUILDKIT", build_kit)
            .env("HOME", self.folder.path())
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// Asks it to end, and waits: it unmounts what it has mounted.
    async fn end(mut self) {
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).unwrap();
        kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::TERM).unwrap();
        wait_for("Docker has ended", PATIENCE, async || {
            if self.daemon.has_ended() { Ok(()) } else { Err(self.daemon.log()) }
        })
        .await;
    }
}

/// Returns the images that the head of the Dockerfile builds for a target, with the arguments of each.
fn builds(target: &str) -> Vec<(String, Vec<String>)> {
    let dockerfile = include_str!("../../Dockerfile");
    let lines = dockerfile.lines().filter_map(|line| line.strip_prefix("#   docker build "));
    lines
        .map(|line| {
            let line = line.replace("$target", target);
            let arguments: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
            let tag = arguments.iter().position(|argument| argument == "-t").unwrap() + 1;
            (arguments[tag].clone(), arguments)
        })
        .collect()
}

/// `make e2e` has built the programs before.
#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes the programs of the dist profile, and Docker; make e2e runs it"]
async fn docker_builds_the_images_with_and_without_build_kit() {
    if !is_able() {
        return;
    }
    let engine = Engine::start().await;
    let builds = builds("x86_64-unknown-linux-gnu");
    assert_eq!(builds.len(), 3, "{builds:?}");
    for (image, arguments) in &builds {
        for build_kit in ["0", "1"] {
            succeed(engine.docker(build_kit).arg("build").args(arguments));
            let user = ["image", "inspect", "--format={{.Config.User}}", image];
            assert_eq!(succeed(engine.docker(build_kit).args(user)).trim(), "65532:65532");
            let run = ["run", "--rm", "--network=none", "--read-only", image, "--version"];
            let said = engine.docker(build_kit).args(run).output().unwrap();
            assert!(
                text(&said.stdout).contains(env!("CARGO_PKG_VERSION")),
                "{image}: {}",
                text(&said.stderr)
            );
            succeed(engine.docker(build_kit).args(["image", "rm", image]));
        }
    }
    engine.end().await;
}

/// Nothing of the image is run while it is built, so any file will do for the program.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes Docker; make e2e runs it"]
async fn docker_builds_the_images_for_another_architecture() {
    if !is_able() {
        return;
    }
    let (engine, context) = (Engine::start().await, TempDir::with_prefix("rescind-context-").unwrap());
    let target = "aarch64-unknown-linux-gnu";
    let programs = context.path().join("target").join(target).join("dist");
    std::fs::create_dir_all(&programs).unwrap();
    for program in ["rescind-controller", "rescind-sidecar", "rescind"] {
        std::fs::write(programs.join(program), program).unwrap();
    }
    for file in ["Dockerfile", ".dockerignore"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        std::fs::copy(from, context.path().join(file)).unwrap();
    }
    for (image, arguments) in &builds(target) {
        let build = ["build", "--platform=linux/arm64"];
        succeed(engine.docker("1").current_dir(context.path()).args(build).args(arguments));
        let architecture = ["image", "inspect", "--format={{.Architecture}}", image];
        assert_eq!(succeed(engine.docker("1").args(architecture)).trim(), "arm64", "{image}");
    }
    engine.end().await;
}
