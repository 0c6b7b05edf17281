//! What a stream knows of its sidecar's right to lists: who it is, what is being looked up, and when its token ends.
//!
//! A stream is not cut when the token ends that opened it: the sidecar is asked to come again, and shows the token that it
//! has by then. So who runs on is checked as often as tokens are renewed, by the same means as at first, and freshness is
//! not lost on the way: a sidecar leaves a stream only once the next one has proven something. One that does not come
//! again is cut, but not while nobody could tell whether its new token is good.

use std::pin::Pin;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep};

use crate::distribution::admission::{Admission, Guest};
use crate::distribution::hub::Hub;
use crate::revocation::names::ListName;

/// Within this time sidecars come again whose token has ended, each at a random moment.
pub(super) const RENEW_WITHIN: Duration = Duration::from_secs(20);
/// How long a sidecar is waited for that was asked to come again: tokens are renewed long before they end.
const RENEW_PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked up whether a list admits the sidecar, at least, where that does not follow from the list alone.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The right of one stream's sidecar.
pub(super) struct Door {
    guest: Option<Guarded>,
}

struct Guarded {
    guest: Box<dyn Guest>,
    looking_up: Option<BoxFuture<'static, ()>>,
    look_again: Pin<Box<Sleep>>,
    renewal: Pin<Box<Sleep>>,
    asked: bool,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Lists are to be judged again.
    Judge,
    /// The sidecar is to come again with the token that it has now.
    Renew,
    /// It was asked to, and has not.
    Overdue,
}

impl Door {
    pub(super) fn new(guest: Option<Box<dyn Guest>>) -> Self {
        let guarded = |guest: Box<dyn Guest>| Guarded {
            looking_up: None,
            look_again: Box::pin(sleep(LOOK_AGAIN)),
            renewal: Box::pin(sleep(guest.good_for())),
            asked: false,
            guest,
        };
        Self { guest: guest.map(guarded) }
    }

    /// Waits for something that has to do with the sidecar's right.
    pub(super) async fn next(&mut self) -> Event {
        let Some(guarded) = &mut self.guest else { return std::future::pending().await };
        let Guarded { guest, looking_up, look_again, renewal, asked } = guarded;
        loop {
            tokio::select! {
                () = async { if let Some(look) = looking_up.as_mut() { look.await } }, if looking_up.is_some() => {
                    *looking_up = None;
                    return Event::Judge;
                }
                () = look_again.as_mut() => {
                    look_again.as_mut().reset(Instant::now() + LOOK_AGAIN);
                    return Event::Judge;
                }
                () = renewal.as_mut() => {
                    renewal.as_mut().reset(Instant::now() + RENEW_PATIENCE);
                    if !std::mem::replace(asked, true) {
                        return Event::Renew;
                    }
                    if guest.can_be_renewed() {
                        return Event::Overdue;
                    }
                }
            }
        }
    }

    /// Judges a list as it is published now; none if everybody may follow every list.
    pub(super) fn judge(&self, hub: &Hub, list: &ListName) -> Option<Admission> {
        let guest = &self.guest.as_ref()?.guest;
        if hub.news().borrow().complete.is_none() {
            return Some(Admission::Pending);
        }
        let mut judged = None;
        hub.with(list, &mut |publisher| judged = Some(guest.judge(list, Some(&publisher.config().allowed))));
        Some(judged.unwrap_or_else(|| guest.judge(list, None)))
    }

    /// Starts to look up what the last judgements have lacked.
    pub(super) fn look_up(&mut self) {
        if let Some(guarded) = self.guest.as_mut().filter(|guarded| guarded.looking_up.is_none()) {
            guarded.looking_up = guarded.guest.look_up();
        }
    }

    pub(super) const fn is_guarded(&self) -> bool {
        self.guest.is_some()
    }
}
