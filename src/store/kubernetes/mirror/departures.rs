//! Which revocations have gone lately, by a lift or by expiry: for whoever watches over that, and tells of it.
//!
//! Pure: the time is an argument.

use std::collections::{HashMap, VecDeque};

use crate::revocation::names::{ListName, RecordId};
use crate::revocation::time::Moment;

use super::MirroredRevocation;

/// What counts as lately: longer than a script takes that lifts one object after the other, and shorter than the
/// shift of who is to look into it.
pub const LATELY_SECONDS: u64 = 300;
const BUCKET_SECONDS: u64 = 10;
/// How many lists are counted. Whoever may revoke may name lists that are none; the quietest are forgotten.
const MAX_LISTS: usize = 1024;
/// How many lifts wait to be told of; of more, the oldest are counted alone.
const MAX_LIFTS: usize = 10_000;
/// How long a lift waits for somebody who tells of it: longer than the lease of who has died without telling.
const LIFTS_KEPT_SECONDS: u64 = 60;

/// A revocation that somebody has lifted.
#[derive(Clone, Debug)]
pub struct Lift {
    /// Its origin.
    pub id: RecordId,
    /// Its object, as it was.
    pub revocation: MirroredRevocation,
    /// When that was seen here.
    pub at: Moment,
}

/// What has gone lately.
#[derive(Debug, Default)]
pub struct Departures {
    /// How many have gone per list, by spans of time.
    counts: HashMap<ListName, VecDeque<(u64, u64)>>,
    lifts: VecDeque<Lift>,
    untold: u64,
}

impl Departures {
    /// Takes note that a revocation of a list has gone.
    pub(super) fn count(&mut self, list: &ListName, now: Moment) {
        if self.counts.len() >= MAX_LISTS && !self.counts.contains_key(list) {
            let quietest = self.counts.iter().min_by_key(|(_, spans)| spans.back().map(|(span, _)| *span));
            let quietest = quietest.map(|(list, _)| list.clone());
            quietest.and_then(|list| self.counts.remove(&list));
        }
        let spans = self.counts.entry(list.clone()).or_default();
        let current = span(now);
        spans.retain(|(span, _)| is_late(*span, current));
        match spans.back_mut() {
            Some((last, count)) if *last == current => *count += 1,
            _ => spans.push_back((current, 1)),
        }
    }

    /// Keeps a lift until somebody tells of it.
    pub(super) fn keep(&mut self, lift: Lift) {
        let now = lift.at;
        self.lifts.retain(|lift| is_worth_telling(lift, now));
        if self.lifts.len() >= MAX_LIFTS {
            self.lifts.pop_front();
            self.untold += 1;
        }
        self.lifts.push_back(lift);
    }

    /// Returns how many of a list have gone lately.
    #[must_use]
    pub fn lately(&self, list: &ListName, now: Moment) -> u64 {
        let spans = self.counts.get(list).into_iter().flatten();
        spans.filter(|(span_of, _)| is_late(*span_of, span(now))).map(|(_, count)| count).sum()
    }

    /// Hands over the lifts that nobody has told of, and how many more there were.
    pub fn take_lifts(&mut self, now: Moment) -> (Vec<Lift>, u64) {
        let lifts = self.lifts.drain(..).filter(|lift| is_worth_telling(lift, now));
        (lifts.collect(), std::mem::take(&mut self.untold))
    }
}

const fn span(at: Moment) -> u64 {
    at.boot_nanos / (BUCKET_SECONDS * 1_000_000_000)
}

const fn is_late(span: u64, current: u64) -> bool {
    current - if span < current { span } else { current } < LATELY_SECONDS / BUCKET_SECONDS
}

const fn is_worth_telling(lift: &Lift, now: Moment) -> bool {
    now.boot_nanos.saturating_sub(lift.at.boot_nanos) <= LIFTS_KEPT_SECONDS * 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { boot_nanos: seconds * 1_000_000_000, wall_nanos: 0 }
    }

    fn list(name: &str) -> ListName {
        format!("apps/{name}").parse().unwrap()
    }

    #[test]
    fn what_has_gone_counts_for_the_window_and_per_list() {
        let mut departures = Departures::default();
        for seconds in [0, 5, 15] {
            departures.count(&list("shop"), at(seconds));
        }
        departures.count(&list("bank"), at(15));
        let lately = |departures: &Departures, seconds| departures.lately(&list("shop"), at(seconds));
        assert_eq!([15, 299, 300, 310].map(|seconds| lately(&departures, seconds)), [3, 3, 1, 0]);
        assert_eq!(departures.lately(&list("bank"), at(20)), 1);
        // What is over takes no room.
        departures.count(&list("shop"), at(1000));
        assert_eq!(departures.counts[&list("shop")].len(), 1);
    }

    #[test]
    fn names_of_lists_that_are_none_take_no_more_room_than_so_many() {
        let mut departures = Departures::default();
        (0..MAX_LISTS as u64 + 10).for_each(|n| departures.count(&list(&format!("l{n}")), at(n * 10)));
        assert_eq!(departures.counts.len(), MAX_LISTS);
        assert!(
            !departures.counts.contains_key(&list("l0")) && departures.counts.contains_key(&list("l1033"))
        );
    }
}
