//! The story, step by step.

use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::cli::sample::{ISSUER, LIST};
use crate::proto::v1;
use crate::proto::v1::cutoff::Cutoff;
use crate::proto::v1::target::Target;
use crate::runtime::clock::{Clock, SystemClock};

use super::ask;
use super::lab::{BOUND, Lab};
use super::report::Report;

/// Longer than anything takes when all is well.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the sidecar is asked while something is awaited.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// What measuring may add to the bound.
const SLACK: Duration = Duration::from_millis(500);

/// Plays all chapters; stops at the first step that does not hold.
pub(super) async fn tell(lab: &mut Lab, report: &mut Report<'_>) -> anyhow::Result<()> {
    let alice = lab.token("alice", "alice-phone")?;
    let bob = lab.token("bob", "bob-laptop")?;
    report.chapter("Both are logged in");
    see(When::Soon, lab, report, "alice's token passes, once the sidecar is fresh", &alice, 200).await?;
    see(When::Now, lab, report, "bob's token passes", &bob, 200).await?;
    logout_everywhere(lab, report, &alice, &bob).await?;
    one_session(lab, report).await?;
    ban(lab, report).await?;
    freeze(lab, report, &alice, &bob).await?;
    kill(lab, report, &alice, &bob).await
}

async fn logout_everywhere(lab: &Lab, report: &mut Report<'_>, alice: &str, bob: &str) -> anyhow::Result<()> {
    report.chapter("Alice has lost her phone: everything of hers is revoked");
    let revoked = revoke(lab, report, "revoke subject alice", Target::Subject("alice".into()), None).await?;
    see(When::Soon, lab, report, "the sidecar refuses alice's token", alice, 401).await?;
    enforced(lab, report, &revoked).await?;
    see(When::Now, lab, report, "bob still passes", bob, 200).await?;
    report.chapter("She logs in again, not before admitsFrom");
    let admits_from = revoked.admits_from_unix_seconds;
    let clock = SystemClock;
    while clock.now().wall().floor().get() < admits_from {
        tokio::time::sleep(ASK_EVERY).await;
    }
    see(When::Now, lab, report, "alice's new token passes", &lab.token("alice", "alice-new-phone")?, 200)
        .await?;
    see(When::Now, lab, report, "her old one does not", alice, 401).await
}

async fn one_session(lab: &Lab, report: &mut Report<'_>) -> anyhow::Result<()> {
    report.chapter("One session ends, the other lives");
    let (phone, laptop) = (lab.token("alice", "s-phone")?, lab.token("alice", "s-laptop")?);
    see(When::Now, lab, report, "both of alice's sessions pass", &phone, 200).await?;
    revoke(lab, report, "revoke session s-phone", Target::Session("s-phone".into()), None).await?;
    see(When::Soon, lab, report, "the sidecar refuses the session", &phone, 401).await?;
    see(When::Now, lab, report, "the other session passes", &laptop, 200).await
}

async fn ban(lab: &Lab, report: &mut Report<'_>) -> anyhow::Result<()> {
    report.chapter("A ban refuses new tokens too, until it is lifted");
    let always = v1::Cutoff { cutoff: Some(Cutoff::Always(true)) };
    let banned =
        revoke(lab, report, "ban subject mallory", Target::Subject("mallory".into()), Some(always)).await?;
    let before = lab.token("mallory", "m")?;
    see(When::Soon, lab, report, "the sidecar refuses mallory", &before, 401).await?;
    see(
        When::Now,
        lab,
        report,
        "a token that was issued after the ban is refused",
        &lab.token("mallory", "m")?,
        401,
    )
    .await?;
    let started = Instant::now();
    let lift = v1::LiftRequest { list: banned.list, name: banned.name, ..v1::LiftRequest::default() };
    let lifted = lab.admin()?.lift(lift).await.map(|_| "lifted");
    report.step("lift the ban", "lifted", &seen(lifted), started.elapsed())?;
    see(When::Soon, lab, report, "mallory passes again", &before, 200).await
}

async fn freeze(lab: &Lab, report: &mut Report<'_>, alice: &str, bob: &str) -> anyhow::Result<()> {
    report.chapter("The controller is frozen (SIGSTOP): nobody can vouch any more");
    let started = Instant::now();
    lab.controller().signal(Signal::STOP)?;
    let refused = wait_for(lab, bob, 503).await;
    let within = if started.elapsed() <= BOUND + SLACK { "503 within the bound" } else { "503 too late" };
    let what = if matches!(refused, Ok(503)) { within.to_owned() } else { seen_any(&refused) };
    let bound = format!("the sidecar vouches for nobody after {} s", BOUND.as_secs());
    report.step(&bound, "503 within the bound", &what, started.elapsed())?;
    see(When::Now, lab, report, "what was revoked is still refused as revoked", alice, 401).await?;
    report.chapter("It thaws");
    lab.controller().signal(Signal::CONT)?;
    see(When::Soon, lab, report, "the sidecar is fresh again: bob passes", bob, 200).await
}

async fn kill(lab: &mut Lab, report: &mut Report<'_>, alice: &str, bob: &str) -> anyhow::Result<()> {
    report.chapter("Both are killed (SIGKILL), and start again from the disk");
    let started = Instant::now();
    let restarted = lab.kill_and_restart().await.map(|()| "running");
    report.step("controller and sidecar start again", "running", &seen_any(&restarted), started.elapsed())?;
    let started = Instant::now();
    // Until the first proof, alice may see 401 or 503; never 200.
    let first = ask::status(lab.sidecar_http, alice).await;
    let what = if matches!(first, Ok(401 | 503)) { "refused".to_owned() } else { seen_any(&first) };
    report.step("alice's old token is refused from the first moment", "refused", &what, started.elapsed())?;
    see(When::Soon, lab, report, "the sidecar is fresh again: bob passes", bob, 200).await?;
    see(When::Now, lab, report, "what was revoked is still refused", alice, 401).await
}

async fn revoke(
    lab: &Lab,
    report: &mut Report<'_>,
    name: &str,
    target: Target,
    cutoff: Option<v1::Cutoff>,
) -> anyhow::Result<v1::Revocation> {
    let request = v1::RevokeRequest {
        list: LIST.to_owned(),
        issuer: ISSUER.to_owned(),
        target: Some(v1::Target { target: Some(target) }),
        cutoff,
        reason: "Demonstration".to_owned(),
        ..v1::RevokeRequest::default()
    };
    let started = Instant::now();
    let answer = lab.admin()?.revoke(request).await;
    let what = seen(answer.as_ref().map(|_| "acknowledged").map_err(Clone::clone));
    report.step(name, "acknowledged", &what, started.elapsed())?;
    answer?.into_inner().revocation.context("the answer has no revocation")
}

/// Waits until every sidecar has it in use.
async fn enforced(lab: &Lab, report: &mut Report<'_>, revoked: &v1::Revocation) -> anyhow::Result<()> {
    let started = Instant::now();
    let request = v1::WaitEnforcedRequest { list: revoked.list.clone(), version: revoked.version.clone() };
    let what = match last_progress(lab, request).await {
        Ok(last) if last.enforced => format!("{} of {} sidecars", last.applied, last.subscribers),
        Ok(_) => "not enforced".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    report.step(
        "it is enforced, which the controller knows for a fact",
        "1 of 1 sidecars",
        &what,
        started.elapsed(),
    )
}

async fn last_progress(
    lab: &Lab,
    request: v1::WaitEnforcedRequest,
) -> anyhow::Result<v1::EnforcementProgress> {
    let mut progress = lab.admin()?.wait_enforced(request).await?.into_inner();
    let mut last = v1::EnforcementProgress::default();
    while let Some(next) = progress.message().await? {
        last = next;
    }
    Ok(last)
}

fn seen(outcome: Result<&str, tonic::Status>) -> String {
    outcome.map_or_else(|status| status.message().to_owned(), ToOwned::to_owned)
}

/// An error is what was seen, too: the step that met it is named.
fn seen_any(outcome: &anyhow::Result<impl ToString>) -> String {
    outcome.as_ref().map_or_else(|error| format!("{error:#}"), ToString::to_string)
}

/// When an answer is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// At the first question
    Now,
    /// Within our patience
    Soon,
}

/// Asks about a token, and reports what was answered.
async fn see(
    when: When,
    lab: &Lab,
    report: &mut Report<'_>,
    name: &str,
    token: &str,
    expected: u16,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let status = match when {
        When::Now => ask::status(lab.sidecar_http, token).await,
        When::Soon => wait_for(lab, token, expected).await,
    };
    report.step(name, &expected.to_string(), &seen_any(&status), started.elapsed())
}

async fn wait_for(lab: &Lab, token: &str, expected: u16) -> anyhow::Result<u16> {
    let started = Instant::now();
    loop {
        let status = ask::status(lab.sidecar_http, token).await?;
        if status == expected || started.elapsed() > PATIENCE {
            return Ok(status);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
