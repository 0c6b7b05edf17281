//! The command line of the sidecar.

use std::path::PathBuf;

use clap::Args;

use crate::revocation::freshness::BOUND_SECONDS;
use crate::revocation::names::ListName;
use crate::runtime::listen::Address;
use crate::runtime::tls::Identity;

use super::compose::{Config, DEFAULT_MAX_CONCURRENT_CHECKS};

/// Follows revocation lists and answers whether tokens may be accepted.
#[derive(Args, Clone, Debug)]
pub struct SidecarArgs {
    /// A controller: https://HOST:PORT; http://IP:PORT or unix:/PATH on this machine. A host name stands for all its
    /// addresses, looked up at each attempt: one is chosen at random, and the one that was just left comes last. May be
    /// given several times
    #[arg(long = "controller", value_name = "URI", required = true)]
    pub controllers: Vec<String>,
    /// A list to follow: NAMESPACE/NAME, or NAME in the namespace default. May be given several times
    #[arg(long = "list", value_name = "LIST", required = true)]
    pub lists: Vec<ListName>,
    /// Unix socket of the checks over gRPC: Envoy's ext_authz, and rescind.v1.RevocationCheck
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The same on TCP: IP:PORT of this machine. May be given several times
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<Address>,
    /// Forward auth over HTTP, for nginx, Traefik and Caddy: IP:PORT or the path of a Unix socket. May be given several times
    #[arg(long, value_name = "ADDR")]
    pub http: Vec<Address>,
    /// Checks by bare claims (rescind.v1.ClaimsCheck): the path of a Unix socket. It tells who is revoked; off unless given
    #[arg(long, value_name = "PATH")]
    pub claims_socket: Option<PathBuf>,
    /// The largest bound on age that is accepted, where it is smaller than a list's: 2 to 3600
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).
        range(i64::from(*BOUND_SECONDS.start())..=i64::from(*BOUND_SECONDS.end())))]
    pub bound: Option<u32>,
    /// Folder for snapshots, with room for two of each list; what is there after a restart denies, and vouches for nothing,
    /// until a controller has proven more
    #[arg(long, value_name = "DIR", env = "RESCIND_DATA")]
    pub data: Option<PathBuf>,
    /// Where probes and metrics are (/livez, /readyz, /startupz, /metrics): IP:PORT
    #[arg(long, value_name = "ADDR")]
    pub health: Option<Address>,
    /// Host name by which probes may be asked for, beside addresses. May be given several times
    #[arg(long, value_name = "NAME")]
    pub health_host: Vec<String>,
    /// Authorities that are trusted for https, PEM; read anew when they change
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate chain that is shown to controllers, PEM; read anew when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// File with the ServiceAccount token that is shown to controllers; it is read for each connection. Others must not be
    /// able to write it
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// What the sidecar calls itself in status reports [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,
    /// Threads for checks [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// The most checks at one time; beyond, they are answered with 503 at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_CONCURRENT_CHECKS,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_concurrent_checks: u32,
    /// Tell the outside whether a refused token was revoked, rather than otherwise invalid
    #[arg(long)]
    pub reveal: bool,
}

impl SidecarArgs {
    /// Checks what goes together.
    ///
    /// # Errors
    /// A sentence that names the flag.
    pub fn config(self) -> anyhow::Result<Config> {
        let socket = self.socket.map(Address::Unix);
        let grpc: Vec<Address> = socket.into_iter().chain(self.listen).collect();
        anyhow::ensure!(
            !grpc.is_empty() || !self.http.is_empty(),
            "nothing to serve: give --socket, --listen or --http"
        );
        let mut lists = self.lists;
        lists.sort();
        lists.dedup();
        Ok(Config {
            controllers: self.controllers,
            tls_authorities: self.tls_ca,
            tls_identity: self
                .tls_cert
                .zip(self.tls_key)
                .map(|(certificates, key)| Identity { certificates, key }),
            token_file: self.token_file,
            lists,
            grpc,
            http: self.http,
            claims: self.claims_socket.map(Address::Unix),
            bound_seconds: self.bound,
            data: self.data,
            health: self.health,
            health_hosts: self.health_host,
            identity: self.identity,
            threads: self.threads,
            max_concurrent_checks: self.max_concurrent_checks,
            reveal: self.reveal,
        })
    }
}
