//! `rescind smoke`: shows that a cluster's controllers and the sidecar beside this program do what they are for.
//!
//! It is what `helm test` runs, and hidden, for it declares a list.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::ask::{Answer, Decision, Verdict};
use super::backend::{DryRun, ListReference, Revoked};
use super::cluster::{Cluster, ClusterOptions};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::sample;
use super::server::{Role, Server, ServerOptions};
use super::time::{duration, parse_duration};
use crate::proto::v1;
use crate::revocation::names::ListName;
use crate::token::issuer::Issuer;
use crate::token::keys::Algorithm;

/// Nobody trusts it: its key is gone when the command ends.
const ISSUER: &str = "https://smoke-test.rescind.dev";
const BOUND: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Declare a list, revoke a token of a new issuer, wait until a sidecar refuses it, and remove all of that
#[derive(Args, Clone, Debug)]
pub(super) struct Smoke {
    /// The list to declare, which the sidecar follows. One of this name is replaced, and removed at the end
    #[arg(long, value_name = "NAMESPACE/NAME")]
    list: ListName,
    /// How long each step may take
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "120s")]
    timeout: Duration,
    /// Where the sidecar is.
    #[command(flatten)]
    server: ServerOptions,
    /// Which cluster.
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// Both ends of what is tried.
struct Bench {
    cluster: Cluster,
    sidecar: Server,
    list: ListName,
    issuer: Issuer,
    timeout: Duration,
}

impl Smoke {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let cluster = Cluster::open(&self.cluster).await?;
        let sidecar = Server::open(&self.server, Role::Sidecar)?;
        let issuer = Issuer::generate(ISSUER, "smoke", Algorithm::Es256).context("can't make an issuer")?;
        let bench = Bench { cluster, sidecar, list: self.list, issuer, timeout: self.timeout };
        let document = sample::declare(&bench.list, &bench.issuer, BOUND)?;
        bench.cluster.declare(&bench.list, document).await?;
        let ended = bench.story(context).await;
        // Also after a failure: nothing is left behind.
        let withdrawn = bench.cluster.withdraw(&bench.list).await;
        ended?;
        withdrawn?;
        context.console.print("ok   removed what was made\n")?;
        Ok(Exit::Done)
    }
}

impl Bench {
    async fn story(&self, context: &mut Context<'_>) -> Result<(), Failure> {
        context.console.print(&format!("ok   list {} is declared\n", self.list))?;
        let token = |subject| sample::token(&self.issuer, subject, "smoke");
        let (alice, bob) = (token("alice")?, token("bob")?);
        self.until(&alice, (Decision::Allow, Verdict::Active)).await?;
        context.console.print("ok   the sidecar vouches for alice's token\n")?;
        let name = self.revoke(context).await?;
        context.console.print("ok   alice's tokens are revoked\n")?;
        let refused = self.until(&alice, (Decision::Deny, Verdict::Revoked)).await;
        let passes = self.until(&bob, (Decision::Allow, Verdict::Active)).await;
        let list = ListReference::from(&self.list);
        let lifted = self.cluster.lift(Some(&list), &name, None, DryRun::None).await;
        refused?;
        context.console.print("ok   the sidecar refuses alice's token\n")?;
        passes?;
        context.console.print("ok   bob's token still passes\n")?;
        lifted?;
        Ok(())
    }

    async fn revoke(&self, context: &Context<'_>) -> Result<String, Failure> {
        let target = v1::target::Target::Subject("alice".to_owned());
        let request = v1::RevokeRequest {
            issuer: ISSUER.to_owned(),
            target: Some(v1::Target { target: Some(target) }),
            reason: "SmokeTest".to_owned(),
            ..v1::RevokeRequest::default()
        };
        let list = ListReference::from(&self.list);
        match self.cluster.revoke(Some(&list), &request, DryRun::None, context.clock.now()).await? {
            Revoked::Stored { view, .. } => Ok(view.name),
            Revoked::Planned { .. } => Err(Failure::Usage("the revocation was not sent".to_owned())),
        }
    }

    /// Asks the sidecar until it says so. What it does not answer meanwhile, it may later.
    async fn until(&self, token: &str, wanted: (Decision, Verdict)) -> Result<(), Failure> {
        let mut last = "no answer".to_owned();
        let asking = async {
            loop {
                let answered = self.ask(token).await;
                if let Ok(answer) = &answered
                    && (answer.decision, answer.verdict) == wanted
                {
                    return;
                }
                last = answered.map_or_else(
                    |failure| failure.to_string(),
                    |answer| format!("{} ({})", answer.headline(), answer.knowledge()),
                );
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        let in_time = tokio::time::timeout(self.timeout, asking).await.is_ok();
        if in_time {
            return Ok(());
        }
        let (limit, (decision, verdict)) = (duration(self.timeout), wanted);
        let text = format!(
            "within {limit} the sidecar did not answer {decision:?} ({verdict:?}); its last answer: {last}. See its log, \
             and that of the controllers"
        );
        Err(Failure::Other(anyhow::anyhow!(text)))
    }

    async fn ask(&self, token: &str) -> Result<Answer, Failure> {
        let request = v1::CheckRequest { token: token.to_owned(), ..v1::CheckRequest::default() };
        let answer = self.sidecar.answer(self.sidecar.check().check(self.sidecar.request(request))).await?;
        Ok(answer.try_into()?)
    }
}
