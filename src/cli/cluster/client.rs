//! From a kubeconfig to a client of its cluster.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::{Cluster, ClusterError};
use crate::api::invalid::label;

/// One answer. Watching has a time of its own.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Which cluster, where in it, and as whom: as kubectl has it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster (unless --server is given)")]
pub(in super::super) struct ClusterOptions {
    /// Namespace; that of the context unless given
    #[arg(long, short, value_name = "NAMESPACE", value_parser = parse_namespace)]
    pub(super) namespace: Option<String>,
    /// Context of the kubeconfig; its current one unless given
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The kubeconfig; unless given, those of KUBECONFIG, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// User to act as
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// Group to act as; may be given several times
    #[arg(long = "as-group", value_name = "GROUP", requires = "user")]
    groups: Vec<String>,
}

fn parse_namespace(text: &str) -> Result<String, String> {
    label("namespace", text).map(|()| text.to_owned()).map_err(|error| error.problem)
}

impl ClusterOptions {
    /// Returns one of the options that were given.
    pub(in super::super) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.namespace.is_some(), "--namespace"),
            (self.context.is_some(), "--context"),
            (self.kubeconfig.is_some(), "--kubeconfig"),
            (self.user.is_some(), "--as"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }
}

impl ClusterOptions {
    /// Takes the value of one of the options, as it stands on a command line; of others, nothing.
    pub(in super::super) fn note(&mut self, option: &str, value: &str) {
        let value = value.to_owned();
        match option {
            "namespace" => self.namespace = Some(value),
            "context" => self.context = Some(value),
            "kubeconfig" => self.kubeconfig = Some(value.into()),
            "as" => self.user = Some(value),
            "as-group" => self.groups.push(value),
            _ => {}
        }
    }

    /// Returns the contexts of the kubeconfig; none if it can't be read.
    pub(in super::super) fn contexts(&self) -> Vec<String> {
        let kubeconfig = kubeconfig(self).ok().flatten();
        kubeconfig.into_iter().flat_map(|known| known.contexts).map(|context| context.name).collect()
    }

    /// Names everything.
    #[cfg(test)]
    pub(in super::super) fn naming(namespace: &str, context: &str, kubeconfig: &str, user: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            context: Some(context.to_owned()),
            kubeconfig: Some(kubeconfig.into()),
            user: Some(user.to_owned()),
            groups: Vec::new(),
        }
    }
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is asked of the cluster yet.
    pub(in super::super) async fn open(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let mut config = config(options).await?;
        config.connect_timeout = Some(CONNECT_WITHIN);
        // A revocation is repeated by those who know whether that is safe, and a person hears of it.
        config.default_retry = false;
        if options.user.is_some() {
            config.auth_info.impersonate.clone_from(&options.user);
            config.auth_info.impersonate_groups =
                Some(options.groups.clone()).filter(|groups| !groups.is_empty());
        }
        let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = kube::Client::try_from(config).map_err(|error| {
            ClusterError::Kubeconfig(if let kube::Error::ProxyProtocolDisabled { proxy_url, .. } = error {
                format!("its cluster is behind the proxy {proxy_url}, and this command connects directly")
            } else {
                error.to_string()
            })
        })?;
        Ok(Self {
            client,
            url,
            namespace,
            is_namespace_given: options.namespace.is_some(),
            answer_within: ANSWER_WITHIN,
        })
    }
}

async fn config(options: &ClusterOptions) -> Result<Config, ClusterError> {
    let Some(kubeconfig) = kubeconfig(options)? else {
        // A pod has a ServiceAccount and no kubeconfig.
        let inside = Config::incluster().ok().filter(|_| options.context.is_none());
        return inside.ok_or(ClusterError::NoKubeconfig);
    };
    let known = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let names_proxy = kubeconfig
        .clusters
        .iter()
        .any(|named| named.cluster.as_ref().is_some_and(|cluster| cluster.proxy_url.is_some()));
    let chosen = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &chosen).await;
    // The library takes one from the environment, too, which is for the internet and has exceptions.
    let config = config.map(|mut config| {
        config.proxy_url = config.proxy_url.filter(|_| names_proxy);
        config
    });
    config.map_err(|error| {
        let problem = if let KubeconfigError::LoadContext(name) = &error {
            format!("the kubeconfig has no context {name}")
        } else if matches!(error, KubeconfigError::CurrentContextNotSet) {
            "the kubeconfig has no current context: choose one with --context".to_owned()
        } else {
            return ClusterError::Kubeconfig(error.to_string());
        };
        ClusterError::NoContext { problem, known }
    })
}

/// Reads what the option names, or else what KUBECONFIG does, or else the file in the home folder, which may be
/// missing.
fn kubeconfig(options: &ClusterOptions) -> Result<Option<Kubeconfig>, ClusterError> {
    let bad = |error: KubeconfigError| ClusterError::Kubeconfig(error.to_string());
    if let Some(file) = &options.kubeconfig {
        return Kubeconfig::read_from(file).map(Some).map_err(bad);
    }
    if let Some(named) = Kubeconfig::from_env().map_err(bad)? {
        return Ok(Some(named));
    }
    match Kubeconfig::read() {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(KubeconfigError::FindPath) => Ok(None),
        Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bad(error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::kubernetes::tests::repeating::{Counting, PASSING};

    /// Invariant 12: what is repeated is repeated by those who know what became of it.
    #[tokio::test]
    async fn a_command_sends_each_request_once_whatever_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        for answer in PASSING {
            let server = Counting::start(answer).await;
            let kubeconfig = json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "it",
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
                "clusters": [{"name": "it", "cluster": {"server": server.url}}],
                "users": [{"name": "it", "user": {"token": "it"}}],
            });
            std::fs::write(&path, kubeconfig.to_string()).unwrap();
            let options = ClusterOptions { kubeconfig: Some(path.clone()), ..ClusterOptions::default() };
            let cluster = Cluster::open(&options).await.unwrap();
            let request = http::Request::post("/apis").body(b"{}".to_vec()).unwrap();
            let done = cluster.client.request::<Value>(request);
            let done = tokio::time::timeout(cluster.answer_within, done).await;
            assert!(matches!(done, Ok(Err(_))), "{answer:?}: {done:?}");
            assert_eq!(server.asked(), 1, "{answer:?}");
        }
    }
}
