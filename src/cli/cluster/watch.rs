//! Reads again and again what has become of an object.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::api::WatchParams;
use kube::core::WatchEvent;

use crate::api::revocation as api;

use super::super::view::View;
use super::super::wait::{Report, Waited};
use super::error::Wanted;
use super::judge::{Judgement, judge};
use super::{Cluster, ClusterError, REVOCATIONS};

/// The API server ends a watch after so many seconds, and the object is read anew: nothing is missed for long.
const WATCH_SECONDS: u32 = 60;
/// A watch that says nothing for longer has lost its connection.
const SILENT_FOR: Duration = Duration::from_secs(75);

type Events = BoxStream<'static, kube::Result<WatchEvent<api::Revocation>>>;

/// One object that is waited for.
struct Watching<'a> {
    cluster: &'a Cluster,
    namespace: String,
    name: String,
    uid: String,
    events: Option<Events>,
    is_over: bool,
}

impl Cluster {
    /// Tells how far a revocation has come, until it is enforced or never will be.
    pub(in super::super) fn reports(&self, view: &View) -> BoxStream<'_, Report> {
        let watching = Watching {
            cluster: self,
            namespace: view.list.namespace().to_owned(),
            name: view.name.clone(),
            uid: view.uid.clone(),
            events: None,
            is_over: false,
        };
        // Boxed, for the state of a call to the API server is large.
        stream::unfold(watching, Watching::step).boxed()
    }
}

impl Watching<'_> {
    async fn step(mut self) -> Option<(Report, Self)> {
        (!self.is_over).then_some(())?;
        let report = self.next().await;
        self.is_over = matches!(report, Report::End(..));
        Some((report, self))
    }

    async fn next(&mut self) -> Report {
        loop {
            let Some(events) = &mut self.events else {
                return self.read().await.unwrap_or_else(|error| failed(&error));
            };
            let event = tokio::time::timeout(SILENT_FOR, events.next()).await;
            match event {
                Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                    return self.report(object);
                }
                Ok(Some(Ok(WatchEvent::Bookmark(_)))) => {}
                // Whether it is gone is asked once more, as everything else that ends a watch is.
                Ok(Some(Ok(WatchEvent::Deleted(_)))) => self.events = None,
                Ok(Some(Ok(WatchEvent::Error(status)))) => {
                    self.events = None;
                    return Report::Trouble(format!("the cluster ended the watch: {}", status.message));
                }
                Ok(Some(Err(error))) => {
                    self.events = None;
                    return Report::Trouble(format!("the watch broke: {error}"));
                }
                Ok(None) | Err(_) => {
                    self.events = None;
                    return Report::Trouble("the watch has ended, and is begun anew".to_owned());
                }
            }
        }
    }

    /// Reads the object, and watches it from there on.
    async fn read(&mut self) -> Result<Report, ClusterError> {
        let api = self.cluster.revocations(&self.namespace);
        let wanted = |verb| Wanted::new(verb, REVOCATIONS, Some(&self.namespace));
        let object = match self.cluster.call(wanted("get"), api.get(&self.name)).await {
            Err(ClusterError::NotFound(_)) => return Ok(lifted()),
            other => other?,
        };
        let revision = object.metadata.resource_version.clone().unwrap_or_default();
        let report = self.report(object);
        if !matches!(report, Report::End(..)) {
            let params =
                WatchParams::default().fields(&format!("metadata.name={}", self.name)).timeout(WATCH_SECONDS);
            let events = self.cluster.call(wanted("watch"), api.watch(&params, &revision)).await?;
            self.events = Some(events.boxed());
        }
        Ok(report)
    }

    fn report(&self, object: api::Revocation) -> Report {
        if object.metadata.uid.as_deref() != Some(&self.uid) {
            return lifted();
        }
        let object = Some(Box::new(object));
        match object.as_deref().map(judge) {
            Some(Judgement::Enforced(progress)) => Report::End(Waited::Enforced(progress), object),
            Some(Judgement::Over(why)) => Report::End(Waited::Over(why), object),
            Some(Judgement::Waiting(standing)) => Report::Standing(standing, object),
            None => lifted(),
        }
    }
}

fn lifted() -> Report {
    Report::End(Waited::Over("it was deleted meanwhile, which lifts it".to_owned()), None)
}

fn failed(error: &ClusterError) -> Report {
    if error.is_passing() || matches!(error, ClusterError::Gone(_)) {
        Report::Trouble(error.to_string())
    } else {
        Report::End(Waited::Refused(error.to_string()), None)
    }
}
