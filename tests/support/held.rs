//! Checks whose question is held back: the head has been sent, and the body has not.

use http::uri::PathAndQuery;
use rescind::proto::v1;
use rescind::sidecar::compose::BODY_PATIENCE;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::PATIENCE;
use super::lab::Lab;
use super::metrics::metric;
use super::wait::wait_for;

/// A check that is under way. Dropping it takes it back.
pub(crate) struct Held {
    question: mpsc::Sender<v1::CheckRequest>,
    answer: JoinSet<Result<v1::CheckResponse, Status>>,
}

impl Held {
    fn start(channel: Channel) -> Self {
        let (question, held_back) = mpsc::channel(1);
        let mut answer = JoinSet::new();
        answer.spawn(async move {
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let body = Request::new(ReceiverStream::new(held_back));
            let path = PathAndQuery::from_static("/rescind.v1.RevocationCheck/Check");
            client.client_streaming(body, path, ProstCodec::default()).await.map(tonic::Response::into_inner)
        });
        Self { question, answer }
    }

    /// Sends the rest of the question.
    pub(crate) async fn finish(self, token: &str) -> Result<v1::CheckResponse, Status> {
        let question = v1::CheckRequest { token: token.to_owned(), ..v1::CheckRequest::default() };
        self.question.send(question).await.unwrap();
        drop(self.question);
        the_one(self.answer).await
    }

    /// Waits for the answer to what there is of the question.
    pub(crate) async fn unfinished(self) -> Result<v1::CheckResponse, Status> {
        let _held_back = self.question;
        the_one(self.answer).await
    }
}

async fn the_one<T: 'static>(mut answers: JoinSet<T>) -> T {
    tokio::time::timeout(PATIENCE, answers.join_next()).await.unwrap().unwrap().unwrap()
}

/// Waits until so many checks are under way.
pub(crate) async fn until_in_flight(lab: &Lab, count: u8) {
    let health = lab.sidecar.as_ref().unwrap().address("health");
    wait_for(&format!("{count} checks are under way"), PATIENCE, async || {
        let seen = metric(health, "rescind_checks_in_flight").await;
        if seen == f64::from(count) { Ok(()) } else { Err(format!("{seen}")) }
    })
    .await;
}

/// Does something while so many checks are under way; also returns those.
pub(crate) async fn while_held<T>(lab: &Lab, count: u8, mut act: impl AsyncFnMut() -> T) -> (T, Vec<Held>) {
    loop {
        // Who was taken back may count a moment longer.
        until_in_flight(lab, 0).await;
        let started = Instant::now();
        let held: Vec<Held> = (0..count).map(|_| Held::start(lab.channel("check.sock"))).collect();
        until_in_flight(lab, count).await;
        let done = act().await;
        // The sidecar does not wait any longer. Then it is not certain that they were under way all the time.
        if started.elapsed() < BODY_PATIENCE {
            return (done, held);
        }
    }
}
