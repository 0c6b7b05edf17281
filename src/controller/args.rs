//! The command line of the controller.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::api::document::ListDocument;
use crate::api::manifest::{self, Object};
use crate::distribution::MAX_ENTRIES;
use crate::injection::settings::Settings;
use crate::runtime::line_log::Place;
use crate::runtime::listen::Address;
use crate::runtime::tls::{Clients, Identity};
use crate::store::embedded::DEFAULT_LIMIT;
use crate::store::kubernetes::DEFAULT_NAMESPACE;

use super::domain::Domain;
use super::kubernetes::{Audience, Cluster};
use super::transport::Certificates;
use super::{AdminListen, Config, Embedded, Past, StoreConfig, WebhookListen};

/// For whom the tokens of sidecars are meant, unless told otherwise.
const AUDIENCE: &str = "rescind.dev";

/// Keeps revocations and streams them to sidecars.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Folder of the store, needed without --kubernetes; it is made if it is not there
    #[arg(
        long,
        value_name = "DIR",
        env = "RESCIND_DATA",
        required_unless_present = "kubernetes",
        conflicts_with = "kubernetes"
    )]
    pub data: Option<PathBuf>,
    /// Keep revocations as objects of a Kubernetes cluster, and not in a folder. Lists are objects then, and --listen is given
    /// once
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
    /// Audience that the ServiceAccount tokens of sidecars must have. Without it, a controller that only this machine reaches
    /// asks for none [default: rescind.dev]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub audience: Option<String>,
    /// Where the admin API is: the path of a Unix socket (mode 0600), or IP:PORT of this machine with --admin-token-file;
    /// needed without --kubernetes. With it the address may be any, and callers show a token of the cluster and may do what
    /// its RBAC says
    #[arg(long, value_name = "ADDR", required_unless_present = "kubernetes")]
    pub admin: Option<Address>,
    /// File with the token that callers of the admin API must show
    #[arg(long, value_name = "FILE", requires = "admin", conflicts_with = "kubernetes")]
    pub admin_token_file: Option<PathBuf>,
    /// Where the API server asks about pods that are created, to inject them: IP:PORT. Over TLS, POST /inject
    #[arg(long, value_name = "ADDR", requires_all = ["kubernetes", "injection"])]
    pub webhook: Option<Address>,
    /// What the sidecars of injected pods are to be like, YAML; read at the start
    #[arg(long, value_name = "FILE", requires = "webhook")]
    pub injection: Option<PathBuf>,
    /// Manifest with lists to declare (TokenRevocationList). May be given several times
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "kubernetes")]
    pub files: Vec<PathBuf>,
    /// Where probes and metrics are (/livez, /readyz, /startupz, /metrics): IP:PORT
    #[arg(long, value_name = "ADDR")]
    pub health: Option<Address>,
    /// Host name by which probes may be asked for, beside addresses. May be given several times
    #[arg(long, value_name = "NAME")]
    pub health_host: Vec<String>,
    /// Domain of the controllers' services, for which their own authority certifies them: rescind-controller.NAME,
    /// rescind-admin.NAME and rescind-webhook.NAME. They are certified for NAMESPACE.svc, too, where the API server
    /// asks the webhook. Given, it certifies them on loopback, too [default: NAMESPACE.svc]
    #[arg(long, value_name = "NAME", requires = "kubernetes", conflicts_with = "tls_cert")]
    pub service_domain: Option<String>,
    /// Domain of the cluster's names: the certificates are also for rescind-controller.NAMESPACE.svc.NAME and so on
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cluster.local",
        requires = "kubernetes",
        conflicts_with = "tls_cert"
    )]
    pub cluster_domain: String,
    /// Certificate chain for --listen, --admin and --webhook, PEM; read anew when it changes. Without it, only this machine
    /// is served, unless on Kubernetes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of --tls-cert, PEM: published for sidecars as ConfigMap rescind-ca, and told the API server that asks
    /// the webhook; read anew when it changes
    #[arg(long, value_name = "FILE", requires_all = ["kubernetes", "tls_cert"])]
    pub tls_publish_ca: Option<PathBuf>,
    /// Authorities of which sidecars must have a certificate, PEM; read anew when they change
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// Where to tell who has revoked and lifted what, one JSON object per line: a file, or - for standard error
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub audit_log: Place,
    /// The most live revocations that the store in --data takes; beyond, new ones are refused. At most 16000000, as
    /// many as a sidecar takes in one list
    #[arg(
        long,
        value_name = "N",
        default_value_t = DEFAULT_LIMIT,
        value_parser = limit,
        conflicts_with = "kubernetes"
    )]
    pub limit: usize,
}

impl ControllerArgs {
    /// Reads the manifests and checks what goes together.
    ///
    /// # Errors
    /// A sentence that names the file or the flag.
    pub fn config(self) -> anyhow::Result<Config> {
        let webhook = self.webhook()?;
        let certificates = self.certificates()?;
        let store = match (self.data, self.admin) {
            (Some(data), Some(admin)) => StoreConfig::Embedded(Embedded {
                data,
                past: if self.new_store { Past::None } else { Past::Unknown },
                admin: AdminListen { address: admin, bearer_file: self.admin_token_file },
                lists: read_lists(&self.files)?,
                limit: self.limit,
            }),
            (_, admin) => {
                alone(&self.listen)?;
                let audience = || Audience(self.audience.clone().unwrap_or_else(|| AUDIENCE.to_owned()));
                // Whoever shares the machine may be trusted; the network never is.
                let is_remote = self.listen.iter().any(|address| !address.is_local());
                StoreConfig::Kubernetes(Cluster {
                    subscribers: (is_remote || self.audience.is_some()).then(audience),
                    admin: admin.map(|address| (address, audience())),
                    kubeconfig: self.kubeconfig,
                    context: self.context,
                    namespace: self.namespace,
                })
            }
        };
        Ok(Config {
            store,
            listeners: self.listen,
            webhook,
            certificates,
            health: self.health,
            health_hosts: self.health_host,
            audit: self.audit_log,
        })
    }

    fn webhook(&self) -> anyhow::Result<Option<WebhookListen>> {
        let Some((address, file)) = self.webhook.clone().zip(self.injection.as_ref()) else {
            return Ok(None);
        };
        Ok(Some(WebhookListen {
            address,
            settings: read_injection(file)?,
            namespace: self.namespace.clone(),
        }))
    }

    /// Files are the first choice. On Kubernetes the controllers' own authority is the second, and where other machines
    /// are served there is always one of the two.
    fn certificates(&self) -> anyhow::Result<Certificates> {
        if let Some((certificates, key)) = self.tls_cert.clone().zip(self.tls_key.clone()) {
            let clients = self.tls_client_ca.clone().map_or(Clients::Anonymous, Clients::CertifiedBy);
            let (identity, published) = (Identity { certificates, key }, self.tls_publish_ca.clone());
            return Ok(Certificates::Files { identity, clients, published });
        }
        let mut addresses = self.listen.iter().chain(&self.admin).chain(&self.webhook);
        let is_remote = addresses.any(|address| !address.is_local());
        let domain = match &self.service_domain {
            Some(domain) => domain.clone(),
            None if self.kubernetes && is_remote => format!("{}.svc", self.namespace),
            None => return Ok(Certificates::None),
        };
        Ok(Certificates::Authority { domain: Domain::new(&domain, &self.cluster_domain, &self.namespace)? })
    }
}

/// Reads a limit: what no sidecar would take must not be acknowledged.
fn limit(text: &str) -> Result<usize, String> {
    let limit: usize =
        text.parse().map_err(|error| format!("{error}: give a number, like {DEFAULT_LIMIT}"))?;
    if limit as u64 > MAX_ENTRIES {
        return Err(format!(
            "sidecars take at most {MAX_ENTRIES} entries in one list, and would follow none that is longer: give a lower limit"
        ));
    }
    Ok(limit)
}

/// Reads the settings of the injection.
///
/// # Errors
/// A sentence that names the file, the line and the field.
pub fn read_injection(file: &Path) -> anyhow::Result<Settings> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {shown}"))?;
    Ok(Settings::parse(&shown, &text)?)
}

/// A process is one replica there.
fn alone(listen: &[Address]) -> anyhow::Result<()> {
    anyhow::ensure!(
        listen.len() == 1,
        "with --kubernetes, --listen is given once: run several controllers instead"
    );
    Ok(())
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        controller: ControllerArgs,
    }

    fn cluster(arguments: &[&str]) -> Cluster {
        let arguments = ["controller", "--kubernetes"].iter().chain(arguments);
        match Cli::try_parse_from(arguments).unwrap().controller.config().unwrap().store {
            StoreConfig::Kubernetes(cluster) => cluster,
            StoreConfig::Embedded(_) => panic!("embedded"),
        }
    }

    #[test]
    fn whom_the_network_reaches_authenticates_sidecars() {
        let audience = |name: &str| Some(Audience(name.to_owned()));
        assert_eq!(cluster(&["--listen=0.0.0.0:7401"]).subscribers, audience("rescind.dev"));
        assert_eq!(cluster(&["--listen=127.0.0.1:7401"]).subscribers, None);
        assert_eq!(cluster(&["--listen=/run/a.sock", "--audience=mine"]).subscribers, audience("mine"));
    }

    /// A flag without an effect would be taken for one that has it.
    #[test]
    fn what_is_about_the_store_in_a_folder_is_refused_on_a_cluster() {
        for flag in ["--data=/d", "--new-store", "--filename=/f", "--limit=5"] {
            let arguments = ["controller", "--kubernetes", "--listen=/s", flag];
            let refused = Cli::try_parse_from(arguments).map(drop).unwrap_err().to_string();
            let name = flag.split('=').next().unwrap();
            let is_named = refused.contains(name) && refused.contains("--kubernetes");
            assert!(is_named && refused.contains("cannot be used with"), "{refused}");
        }
    }

    /// Invariant 18: over a limit the last good state stays, so a controller must not acknowledge what comes after it.
    #[test]
    fn a_limit_above_what_a_sidecar_takes_is_refused() {
        let parse = |limit: &str| {
            let limit = format!("--limit={limit}");
            Cli::try_parse_from(["controller", "--data=/d", "--listen=/s", "--admin=/a", &limit])
                .map(|cli| cli.controller.limit)
                .map_err(|error| error.to_string())
        };
        assert_eq!(parse("16000000").unwrap(), 16_000_000);
        let refused = parse("16000001").unwrap_err();
        assert!(refused.contains("--limit") && refused.contains("at most 16000000 entries"), "{refused}");
        assert!(parse("many").unwrap_err().contains("give a number"));
    }
}
