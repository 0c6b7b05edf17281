//! The command line of the controller.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::api::document::ListDocument;
use crate::api::manifest::{self, Object};
use crate::runtime::line_log::Place;
use crate::runtime::listen::Address;
use crate::runtime::tls::{Clients, Identity};
use crate::store::embedded::DEFAULT_LIMIT;
use crate::store::kubernetes::DEFAULT_NAMESPACE;

use super::kubernetes::Cluster;
use super::{AdminListen, Config, Embedded, Listen, Past, StoreConfig};

/// Keeps revocations and streams them to sidecars.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Folder of the store; it is made if it is not there
    #[arg(
        long,
        value_name = "DIR",
        env = "RESCIND_DATA",
        required_unless_present = "kubernetes",
        conflicts_with = "kubernetes"
    )]
    pub data: Option<PathBuf>,
    /// Keep revocations as objects of a Kubernetes cluster, and not in a folder. There is no admin API then
    #[arg(long)]
    pub kubernetes: bool,
    /// Kubeconfig of the cluster; without it the one of the environment, or what a pod is given
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub context: Option<String>,
    /// Namespace of the controllers, where they keep keys, heartbeats and their lease
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE, env = "RESCIND_NAMESPACE")]
    pub namespace: String,
    /// No controller has used --data before: what is applied counts as enforced at once. Refused if a store is there
    #[arg(long, conflicts_with = "kubernetes")]
    pub new_store: bool,
    /// Where sidecars connect: IP:PORT, or the path of a Unix socket. May be given several times
    #[arg(long, value_name = "ADDR", required = true)]
    pub listen: Vec<Address>,
    /// Where the admin API is: the path of a Unix socket, or IP:PORT with --admin-token-file
    #[arg(long, value_name = "ADDR", required_unless_present = "kubernetes", conflicts_with = "kubernetes")]
    pub admin: Option<Address>,
    /// File with the token that callers of the admin API must show
    #[arg(long, value_name = "FILE", requires = "admin")]
    pub admin_token_file: Option<PathBuf>,
    /// Manifest with lists to declare (TokenRevocationList). May be given several times
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "kubernetes")]
    pub files: Vec<PathBuf>,
    /// Where probes and metrics are: IP:PORT
    #[arg(long, value_name = "ADDR")]
    pub health: Option<Address>,
    /// Host name by which probes may be asked for, beside addresses. May be given several times
    #[arg(long, value_name = "NAME")]
    pub health_host: Vec<String>,
    /// Certificate chain for --listen, PEM. Without it, only this machine is served
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of which sidecars must have a certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// Where to tell who has revoked and lifted what, one JSON object per line: a file, or - for standard error
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub audit_log: Place,
    /// The most live revocations that the store takes; beyond, new ones are refused
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
    pub limit: usize,
}

impl ControllerArgs {
    /// Reads the manifests and checks what goes together.
    ///
    /// # Errors
    /// A sentence that names the file or the flag.
    pub fn config(self) -> anyhow::Result<Config> {
        let store = match (self.data, self.admin) {
            (Some(data), Some(admin)) => StoreConfig::Embedded(Embedded {
                data,
                past: if self.new_store { Past::None } else { Past::Unknown },
                admin: AdminListen { address: admin, bearer_file: self.admin_token_file },
                lists: read_lists(&self.files)?,
                limit: self.limit,
            }),
            _ => {
                alone(&self.listen)?;
                let (kubeconfig, context, namespace) = (self.kubeconfig, self.context, self.namespace);
                StoreConfig::Kubernetes(Cluster { kubeconfig, context, namespace })
            }
        };
        let tls = self.tls_cert.zip(self.tls_key).map(|(certificates, key)| {
            let clients = self.tls_client_ca.map_or(Clients::Anonymous, Clients::CertifiedBy);
            (Identity { certificates, key }, clients)
        });
        let protect = |address: Address| {
            let tls = if matches!(address, Address::Tcp(_)) { tls.clone() } else { None };
            Listen { address, tls }
        };
        Ok(Config {
            store,
            listeners: self.listen.into_iter().map(protect).collect(),
            health: self.health,
            health_hosts: self.health_host,
            audit: self.audit_log,
        })
    }
}

/// Until sidecars are authenticated, a controller of a cluster serves its own machine alone; and a process is one
/// replica there.
fn alone(listen: &[Address]) -> anyhow::Result<()> {
    anyhow::ensure!(
        listen.len() == 1,
        "with --kubernetes, --listen is given once: run several controllers instead"
    );
    let remote = listen.iter().find(|address| !address.is_local());
    match remote {
        Some(address) => anyhow::bail!(
            "with --kubernetes, sidecars can't be authenticated yet: bind --listen to loopback or a Unix socket, not \
             to {address}"
        ),
        None => Ok(()),
    }
}

/// Reads the lists of manifests.
///
/// # Errors
/// A sentence that names the file, the line and the field.
pub fn read_lists(files: &[PathBuf]) -> anyhow::Result<Vec<ListDocument>> {
    let mut lists: Vec<ListDocument> = Vec::new();
    for file in files {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(|| format!("can't read {shown}"))?;
        for object in manifest::parse(&shown, &text)? {
            match object {
                Object::List(document) => {
                    let name = document.name()?;
                    anyhow::ensure!(
                        !lists.iter().any(|other| other.metadata.name == name.name()
                            && other.metadata.namespace == name.namespace()),
                        "{shown}: list {name} is declared twice"
                    );
                    lists.push(*document);
                }
                Object::Revocation { name, .. } => {
                    anyhow::bail!(
                        "{shown}: Revocation {name} can't be declared at the start: revoke it with the command rescind"
                    );
                }
            }
        }
    }
    Ok(lists)
}
