//! The three proxies before one application, with one sidecar.

use std::path::{Path, PathBuf};

use crate::support::PATIENCE;
use crate::support::http1::{Ask, Reply, ask_unix};
use crate::support::lab::Lab;
use crate::support::program::Program;
use crate::support::tools::tool;
use crate::support::upstream::{MARK, Upstream};
use crate::support::wait::wait_for;

/// A proxy of `examples/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Envoy,
    /// Envoy, which verifies tokens itself.
    EnvoyJwtAuthn,
    Nginx,
    Caddy,
}

impl Proxy {
    /// Those that leave the tokens to the sidecar.
    pub(crate) const ALL: [Self; 3] = [Self::Envoy, Self::Nginx, Self::Caddy];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Envoy | Self::EnvoyJwtAuthn => "envoy",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
        }
    }

    /// Starts it as `examples/README.md` says.
    fn start(self, folder: &Path) -> Program {
        let example = |path: &str| {
            let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path);
            path.display().to_string()
        };
        let arguments: Vec<String> = match self {
            Self::Envoy | Self::EnvoyJwtAuthn => {
                let file = if self == Self::Envoy { "envoy/envoy.yaml" } else { "envoy/jwt_authn.yaml" };
                vec!["-c".to_owned(), example(file), "--disable-hot-restart".to_owned()]
            }
            Self::Nginx => {
                let words = ["-e", "stderr", "-p", ".", "-g", "daemon off; master_process off;", "-c"];
                words.map(str::to_owned).into_iter().chain([example("nginx/nginx.conf")]).collect()
            }
            Self::Caddy => {
                let words = ["run", "--adapter", "caddyfile", "--config"];
                words.map(str::to_owned).into_iter().chain([example("caddy/Caddyfile")]).collect()
            }
        };
        Program::start(self.name(), &tool(self.name()), arguments, folder)
    }
}

/// A lab with the application and proxies before it.
pub(crate) struct Fronts {
    proxies: Vec<(Proxy, Program)>,
    pub(crate) upstream: Upstream,
    pub(crate) lab: Lab,
}

impl Fronts {
    /// Starts the proxies before a lab; what runs in the lab stays as it is.
    pub(crate) async fn start(lab: Lab) -> Self {
        Self::start_these(lab, &Proxy::ALL).await
    }

    /// Starts only these proxies.
    pub(crate) async fn start_these(lab: Lab, proxies: &[Proxy]) -> Self {
        let upstream = Upstream::start(&lab.path("upstream.sock"));
        let proxies = proxies.iter().map(|proxy| (*proxy, proxy.start(&lab.path("")))).collect();
        let mut fronts = Self { proxies, upstream, lab };
        for index in 0..fronts.proxies.len() {
            fronts.until_serving(index).await;
        }
        fronts
    }

    /// Returns the proxies.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = Proxy> + use<'_> {
        self.proxies.iter().map(|(proxy, _)| *proxy)
    }

    async fn until_serving(&mut self, index: usize) {
        let (proxy, program) = &mut self.proxies[index];
        let socket = self.lab.path(&format!("{}.sock", proxy.name()));
        wait_for(proxy.name(), PATIENCE, async || {
            assert!(!program.has_ended(), "{proxy:?} has ended:\n{}", program.log());
            match ask_unix(&socket, &Ask::get("/healthz")).await {
                Ok(reply) if reply.status == 200 => Ok(()),
                reply => Err(format!("{reply:?}\n{}", program.log())),
            }
        })
        .await;
    }

    /// Sends a request through a proxy.
    pub(crate) async fn ask(&self, proxy: Proxy, ask: &Ask) -> Reply {
        let socket = self.lab.path(&format!("{}.sock", proxy.name()));
        match ask_unix(&socket, ask).await {
            Ok(reply) => reply,
            Err(error) => panic!("{proxy:?} {ask:?}: {error}\n{}\n{}", self.log(proxy), self.lab.logs()),
        }
    }

    fn log(&self, proxy: Proxy) -> String {
        let found = self.proxies.iter().find(|(found, _)| *found == proxy);
        found.map(|(_, program)| program.log()).unwrap_or_default()
    }
}

/// Tells whether an answer is the application's own.
pub(crate) fn is_of_application(reply: &Reply) -> bool {
    !reply.all(MARK).is_empty()
}

/// Returns the header lines that the application got under a name.
pub(crate) fn got(reply: &Reply, name: &str) -> Vec<String> {
    let echo = reply.json();
    let lines = echo["headers"].as_array().cloned().unwrap_or_default();
    let named = lines.iter().filter(|line| line[0] == name);
    named.map(|line| line[1].as_str().unwrap_or_default().to_owned()).collect()
}
