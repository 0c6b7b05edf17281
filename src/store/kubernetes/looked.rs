//! What looks at the lists have shown, and what they show no more. Pure.

use std::collections::{HashMap, HashSet};

use crate::revocation::freshness::MAXIMUM_SECONDS;
use crate::revocation::names::ListName;
use crate::revocation::time::{Moment, UnixSeconds};

use super::lists::Declared;

/// The longest window that there can be, for a list of which nobody knows which it was.
pub const LONGEST_WINDOW_NANOS: u64 = *MAXIMUM_SECONDS.end() as u64 * 1_000_000_000;

/// The lists, as the last look has shown them.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// When it began; none before the first.
    pub began: Option<Moment>,
    /// The lists.
    pub lists: Vec<Declared>,
    former: HashMap<ListName, Former>,
}

/// A list that was deleted, also if one of its name was declared since: sidecars may still go by it.
#[derive(Clone, Copy, Debug)]
struct Former {
    window_nanos: u64,
    /// By the boot clock.
    until_nanos: u64,
}

impl Looked {
    /// Takes a look that has ended now, unless one that began later was faster.
    pub(super) fn take(&mut self, began: Moment, lists: Vec<Declared>, now: Moment) {
        if self.began.is_some_and(|kept| kept.boot_nanos > began.boot_nanos) {
            return;
        }
        let stay: HashSet<&str> = lists.iter().map(|list| list.uid.as_str()).collect();
        for gone in self.lists.iter().filter(|list| !stay.contains(list.uid.as_str())) {
            let window_nanos = window_nanos(gone, now.wall().floor()).unwrap_or(LONGEST_WINDOW_NANOS);
            let until_nanos = now.boot_nanos.saturating_add(window_nanos);
            let former = self.former.entry(gone.name.clone()).or_insert(Former { window_nanos, until_nanos });
            former.window_nanos = former.window_nanos.max(window_nanos);
            former.until_nanos = former.until_nanos.max(until_nanos);
        }
        self.former.retain(|_, former| former.until_nanos >= now.boot_nanos);
        (self.began, self.lists) = (Some(began), lists);
    }

    /// Returns how long a sidecar may go on without news that goes by a list which had this one's name, in nanoseconds; zero
    /// if there can be none. What was deleted before this process looked first is not known.
    #[must_use]
    pub fn former_window_nanos(&self, list: &ListName) -> u64 {
        self.former.get(list).map_or(0, |former| former.window_nanos)
    }
}

/// Returns how long a sidecar may go on without news that goes by this declaration, or a wider one before it; none if it
/// can't be read.
///
/// **Units**: nanoseconds.
#[must_use]
pub fn window_nanos(list: &Declared, now: UnixSeconds) -> Option<u64> {
    let document = list.document.as_ref().ok()?;
    let past = document.past_window().and_then(|past| past.window_nanos(now));
    Some(past.unwrap_or(0).max(document.config().ok()?.freshness.window_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::compile::tests::document;
    use crate::api::token_revocation_list::{Freshness, FreshnessPolicy};

    fn moment(seconds: u64) -> Moment {
        let nanos = seconds * 1_000_000_000;
        Moment { boot_nanos: nanos, wall_nanos: 1_700_000_000_000_000_000 + nanos }
    }

    /// The list of the example with a bound, as an object.
    fn declared(uid: &str, bound_seconds: u32) -> Declared {
        let mut document = document();
        document.spec.freshness =
            Freshness { bound_seconds, maximum_seconds: bound_seconds, policy: FreshnessPolicy::Strict };
        Declared {
            name: document.name().unwrap(),
            uid: uid.to_owned(),
            resource_version: "1".to_owned(),
            generation: 1,
            status: serde_json::Value::Null,
            document: Ok(document),
        }
    }

    /// Invariant 1: a sidecar goes by the list that was, and its bound, until the bound has passed.
    #[test]
    fn the_window_of_a_list_counts_on_after_it_was_deleted_and_declared_anew() {
        let mut looked = Looked::default();
        let list = declared("one", 100).name;
        let former = |looked: &Looked| looked.former_window_nanos(&list) / 1_000_000_000;
        looked.take(moment(1), vec![declared("one", 100)], moment(1));
        assert_eq!(former(&looked), 0);
        looked.take(moment(2), vec![declared("two", 10)], moment(3));
        assert_eq!((former(&looked), &looked.lists[0].uid[..]), (100, "two"));
        // One that began earlier, and ends later, shows what was.
        looked.take(moment(1), vec![declared("one", 100)], moment(4));
        assert_eq!((looked.began, &looked.lists[0].uid[..]), (Some(moment(2)), "two"));
        looked.take(moment(102), vec![declared("two", 10)], moment(103));
        assert_eq!(former(&looked), 100);
        looked.take(moment(104), vec![declared("two", 10)], moment(104));
        assert_eq!(former(&looked), 0);
        // And while there is none of its name.
        looked.take(moment(105), vec![], moment(105));
        assert_eq!(former(&looked), 10);
        let unreadable = Declared { document: Err("no".to_owned()), ..declared("three", 10) };
        looked.take(moment(106), vec![unreadable], moment(106));
        looked.take(moment(107), vec![], moment(107));
        assert_eq!(former(&looked), 86_400);
    }
}
