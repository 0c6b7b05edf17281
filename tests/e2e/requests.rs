//! Requests as callers of an application make them, and what they are answered.

use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::http1::{Ask, Reply, ask_tcp};
use crate::support::wait::wait_for;

/// Shows a token at `IP:PORT`, and returns the answer.
pub(crate) async fn show(address: &str, token: &str) -> Result<Reply, String> {
    ask_tcp(address, &Ask::get("/").bearer(token)).await
}

/// Shows a token until the answer is this one. The way through a port of the node is laid a moment after pods are ready.
pub(crate) async fn until(address: &str, token: &str, status: u16) {
    wait_for(&format!("the answer {status}"), PATIENCE, async || match show(address, token).await {
        Ok(reply) if reply.status == status => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// Returns the age of the proof that an answer rests on, as the application was told it.
pub(crate) fn age(reply: &Reply) -> Option<Duration> {
    let age = reply.all("heard-age-ms");
    Some(Duration::from_millis(age.first()?.parse().ok()?))
}
