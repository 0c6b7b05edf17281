//! Rounds of proof as the log has them: a clock that goes as fast as the machine does.

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::core::WatchEvent;
use serde_json::Value;

use crate::lab::{Lab, PATIENCE};
use crate::objects::of;

/// What happens to the objects of the type, in one order.
struct Log(BoxStream<'static, Value>);

impl Log {
    /// Begins now.
    async fn follow(lab: &Lab) -> Self {
        const ALL: &str = "/apis/rescind.dev/v1alpha1/revocations";
        let listed = lab.request("GET", &format!("{ALL}?limit=1"), &Value::Null).await.unwrap();
        let now = listed["metadata"]["resourceVersion"].as_str().unwrap();
        let request = http::Request::get(format!("{ALL}?watch=true&resourceVersion={now}"));
        let events = lab.client.request_events::<Value>(request.body(Vec::new()).unwrap()).await.unwrap();
        let objects = events.filter_map(|event| {
            std::future::ready(match event.unwrap() {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => Some(object),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => None,
                WatchEvent::Error(status) => panic!("{status:?}"),
            })
        });
        Self(objects.boxed())
    }

    async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap().unwrap()
    }
}

/// Whether an object is what a replica writes once in each round.
fn is_pulse(object: &Value) -> bool {
    object["spec"]["target"]["heartbeat"]["kind"] == "Pulse"
}

/// Revokes all tokens of a subject just after a round of proof; returns how many rounds of any replica end before its status
/// says that it is enforced.
pub(crate) async fn rounds_until_enforced(lab: &Lab, subject: &str) -> usize {
    let mut log = Log::follow(lab).await;
    while !is_pulse(&log.next().await) {}
    let created = lab.revoke(subject).await;
    let (mut is_there, mut rounds) = (false, 0);
    loop {
        let object = log.next().await;
        let is_it = object["metadata"]["uid"] == created["metadata"]["uid"];
        if is_it && of(&object, "Enforced")["status"] == "True" {
            return rounds;
        }
        is_there |= is_it;
        rounds += usize::from(is_there && is_pulse(&object));
    }
}
