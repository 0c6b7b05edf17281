//! `rescind doctor`: looks for what is wrong with Rescind on a cluster, and says what to do.
//!
//! What is read is kept apart from what is thought of it: the checks are functions of facts.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::finding::{Finding, Level};
use super::cluster::{Cluster, ClusterOptions};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::Machine;

mod certificate;
mod checks;
mod facts;
mod finding;
mod labels;
mod read;
mod report;
mod shipped;

/// Everything. Each part has a deadline of its own, and together they are shorter.
const WITHIN: Duration = Duration::from_secs(60);

/// Look for what is wrong on a cluster, and say what to do
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "It reads, and changes nothing. What you may not read is skipped. Of Secrets it looks whether they are
there, never into them. It ends within a minute, whatever hangs; usually within a few seconds.

Examples:
  rescind doctor
  rescind doctor -n shop --as alice
  rescind doctor -o json | jq '.checks[] | select(.level == \"failure\")'"
)]
pub(super) struct Doctor {
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml", hide_possible_values = true)]
    output: Option<Machine>,
    /// Namespace of the cluster's controllers
    #[arg(long, value_name = "NAMESPACE", default_value = "rescind-system")]
    controllers: String,
    /// Which cluster.
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// The one object of a machine's answer.
#[derive(Serialize)]
struct Answer {
    /// Nothing fails.
    ok: bool,
    checks: Vec<Finding>,
}

impl Doctor {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let checks = self.look(context).await;
        let is_ok = !checks.iter().any(|finding| finding.level == Level::Failure);
        match self.output {
            Some(machine) => machine.print(&Answer { ok: is_ok, checks }, context.console)?,
            None => {
                let text = report::describe(&checks, context.console.out_surface());
                let text = context.console.in_own_name(&text);
                context.console.print(&text)?;
            }
        }
        Ok(if is_ok { Exit::Done } else { Exit::Failed })
    }

    async fn look(&self, context: &Context<'_>) -> Vec<Finding> {
        let cluster = match Cluster::open(&self.cluster).await {
            Ok(cluster) => cluster.answering_within(read::ANSWER_WITHIN),
            Err(error) => {
                return vec![Finding::failure(
                    "kubeconfig",
                    error.to_string(),
                    "when that is mended, run this again",
                )];
            }
        };
        let answered = read::answered(&cluster, context.clock).await;
        let mut findings = checks::server::check(cluster.url(), &answered);
        let Ok(answered) = answered else { return findings };
        let now = answered.server.time.unwrap_or_else(|| context.now());
        let now = i64::try_from(now.get()).unwrap_or(i64::MAX);
        match tokio::time::timeout(WITHIN, read::facts(&cluster, &self.controllers, now)).await {
            Ok(facts) => findings.extend(checks::all(&facts)),
            Err(_) => {
                let error = cluster.no_answer(WITHIN).to_string();
                findings.push(Finding::failure(
                    "api-server",
                    error,
                    "look at the API server, then run this again",
                ));
            }
        }
        findings
    }
}
