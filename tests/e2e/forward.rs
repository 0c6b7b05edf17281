//! A way from the tests into a pod: `kubectl port-forward`.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use crate::cluster::Cluster;
use crate::requests;
use crate::support::http1::{Ask, Reply, ask_tcp};

/// A port of this machine that leads to one of a pod. It goes when it is dropped.
pub(crate) struct Forward {
    process: Child,
    address: String,
    // It says more later, and would end if nobody could hear it.
    _output: BufReader<ChildStdout>,
}

impl Forward {
    /// Leads to a port of what is named, like `pod/shop` or `service/shop`.
    pub(crate) fn to(cluster: &Cluster, namespace: &str, name: &str, port: u16) -> Self {
        let mut command = cluster.kubectl_command();
        command.args(["port-forward", "--namespace", namespace, name, &format!(":{port}")]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        // "Forwarding from 127.0.0.1:39871 -> 8080"
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.split_whitespace().nth(2).unwrap_or_else(|| panic!("kubectl said {line:?}"));
        Self { address: address.to_owned(), process, _output: output }
    }

    /// Shows a token, and returns the answer.
    pub(crate) async fn show(&self, token: &str) -> Result<Reply, String> {
        requests::show(&self.address, token).await
    }

    /// Shows a token until the answer is this one.
    pub(crate) async fn until(&self, token: &str, status: u16) {
        requests::until(&self.address, token, status).await;
    }

    /// Returns the answer to a request.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Reply, String> {
        ask_tcp(&self.address, ask).await
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
