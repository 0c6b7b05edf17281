//! What a clock that jumps does to checks, and what is said of it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use tower::ServiceExt;
use tracing::subscriber::set_default;

use super::*;
use crate::distribution::view::Views;
use crate::revocation::freshness::Knowledge;
use crate::runtime::clock::{Clock, ManualClock};
use crate::sidecar::answer::Style;
use crate::sidecar::checker::Checker;
use crate::sidecar::forward_auth;
use crate::sidecar::outcome::Transport;
use crate::sidecar::request::{Credential, Request};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Returns what was logged of a jump since the last time.
    fn take_jumps(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().filter(|line| line.contains("clock")).map(ToOwned::to_owned).collect()
    }
}

/// A sidecar with one list, and the clock that it reads.
struct Place {
    views: Views,
    clock: Arc<ManualClock>,
    checker: Checker,
}

impl Place {
    fn new() -> Self {
        let views = Views::new(&["shop".parse().unwrap()]);
        let clock = Arc::new(ManualClock::new(NOW));
        let checker = Checker::new(views.clone(), clock.clone(), Arc::new(()));
        let place = Self { views, clock, checker };
        place.prove();
        place
    }

    /// A proof of this moment arrives.
    fn prove(&self) {
        let knowledge = Knowledge::FreshAsOf(self.clock.now());
        self.views.publish(0, ListView { knowledge, ..shop(&[]) });
    }

    async fn status(&self) -> u16 {
        let request = http::Request::builder().uri("/auth").extension(Admission::Granted);
        let request = request.header("authorization", format!("Bearer {}", token())).body(Body::empty());
        let router = forward_auth::router(self.checker.clone(), Style::default());
        router.oneshot(request.unwrap()).await.unwrap().status().as_u16()
    }

    /// Returns what is explained of the list's freshness.
    fn explained(&self) -> String {
        let token = token();
        let request = Request::new(Credential::Token { token: &token, source: "" });
        let (_, steps) = self.checker.explain(Transport::Check, &request);
        steps.into_iter().find(|step| step.step.starts_with("freshness")).unwrap().outcome
    }
}

/// Invariant 1: a wall clock that jumps needs a new proof; and whoever meets the answer finds out why.
#[tokio::test]
async fn a_wall_clock_that_jumps_is_answered_with_503_and_logged_once_until_the_next_proof() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = set_default(subscriber);
    let place = Place::new();
    assert_eq!((place.status().await, log.take_jumps().len()), (200, 0));
    place.clock.advance(Duration::from_secs(1));
    place.clock.set_wall(NOW.wall_nanos + 3 * SECOND);
    assert_eq!(place.status().await, 503);
    place.clock.advance(Duration::from_millis(100));
    assert_eq!(place.status().await, 503);
    assert_eq!(
        place.explained(),
        "STALE, proven complete as of 3100 ms ago; the wall clock has jumped ahead by 2.0 s, so a new proof is \
         needed; it can't vouch (STALE)"
    );
    let jumps = log.take_jumps();
    assert_eq!(jumps.len(), 1, "{jumps:?}");
    assert!(jumps[0].contains("WARN"), "{jumps:?}");
    assert!(
        jumps[0].contains("the wall clock has jumped ahead by 2.0 s: what was proven before counts as stale"),
        "{jumps:?}"
    );
    place.clock.advance(Duration::from_millis(200));
    place.prove();
    assert_eq!((place.status().await, log.take_jumps().len()), (200, 0));
    // The next time is told, too.
    place.clock.set_wall(NOW.wall_nanos);
    assert_eq!([place.status().await, place.status().await], [503, 503]);
    let jumps = log.take_jumps();
    assert!(
        matches!(jumps.as_slice(), [one] if one.contains("the wall clock has jumped back by 3.3 s")),
        "{jumps:?}"
    );
}
