//! What this program has made and nobody needs any more. Pure.

use std::collections::HashMap;

use crate::api::MANAGED_BY;
use crate::api::condition::ConditionType;
use crate::api::revocation::ListReport;
use crate::api::target::read_time;
use crate::revocation::names::ListName;
use crate::revocation::time::{Moment, UnixSeconds};
use crate::store::kubernetes::looked::LONGEST_WINDOW_NANOS;
use crate::store::kubernetes::mirror::{MirroredReport, MirroredRevocation};

use super::enforced::{Window, elapsed_nanos};

/// How long an object that has expired stays for people to see.
const KEPT_SECONDS: u64 = 86_400;
/// A replica without sidecars writes no heartbeat, and is not gone for that.
const IDLE_NANOS: u64 = 3600 * 1_000_000_000;

/// Whom a replica had told to be fresh is counted until it can allow nothing any more.
pub(super) fn is_gone(report: &MirroredReport, windows: &HashMap<ListName, Window>, now: Moment) -> bool {
    let window = |of: &ListReport| {
        let list = ListName::new(&of.namespace, &of.name).ok();
        let window = list.and_then(|list| windows.get(&list).copied());
        let known = window.filter(|window| window.is_of_after(report.changed));
        known.map_or(LONGEST_WINDOW_NANOS, |window| window.nanos)
    };
    let followed = report.lists.iter().filter(|list| list.subscribers > 0);
    let patience = followed.map(|list| window(list).saturating_mul(2)).max().unwrap_or(IDLE_NANOS);
    elapsed_nanos(report.changed, now) > patience
}

/// Tells whether an object has expired long ago. What others have made they would make again.
pub(super) fn is_left_over(mirrored: &MirroredRevocation, now: UnixSeconds) -> bool {
    let expired =
        mirrored.status.conditions.iter().find(|condition| condition.type_ == ConditionType::Expired);
    let since = expired.and_then(|condition| read_time(&condition.last_transition_time));
    let ours = mirrored.metadata.labels.as_ref().is_some_and(|labels| {
        let (key, value) = MANAGED_BY;
        labels.get(key).is_some_and(|found| found == value)
    });
    mirrored.expired && ours && since.is_some_and(|since| now >= since.saturating_add(KEPT_SECONDS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::target::write_time;
    use crate::api::token_revocation_list::{Condition, ConditionStatus};
    use crate::controller::kubernetes::conditions::tests::mirrored;
    use crate::distribution::pump::moment;
    use crate::store::contract::subject;

    fn at(seconds: u64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    /// An object that has expired at 1000, with these labels.
    fn expired(labels: &[(&str, &str)]) -> MirroredRevocation {
        let mut object = mirrored(subject("alice"));
        object.expired = true;
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        object.metadata.labels = Some(labels.collect());
        object.status.conditions = vec![Condition {
            status: ConditionStatus::True,
            last_transition_time: write_time(at(1000)),
            ..Condition::unknown(ConditionType::Expired)
        }];
        object
    }

    #[test]
    fn what_we_made_is_removed_a_day_after_it_has_expired_and_what_others_made_stays() {
        let ours = expired(&[MANAGED_BY]);
        assert!(!is_left_over(&ours, at(1000 + KEPT_SECONDS - 1)));
        assert!(is_left_over(&ours, at(1000 + KEPT_SECONDS)));
        for others in [expired(&[]), expired(&[(MANAGED_BY.0, "argocd")])] {
            assert!(!is_left_over(&others, UnixSeconds::MAX));
        }
        let live = MirroredRevocation { expired: false, ..ours };
        assert!(!is_left_over(&live, UnixSeconds::MAX));
    }

    fn report(subscribers: i64) -> MirroredReport {
        let list = ListReport {
            namespace: "default".to_owned(),
            name: "shop".to_owned(),
            subscribers,
            connected: 0,
            lowest: None,
            generation: None,
            hash_key: None,
        };
        MirroredReport { lists: vec![list], changed: moment(0), objects: BTreeMap::new() }
    }

    /// Invariant 1: whom a replica had told to be fresh is counted until it can allow nothing any more.
    #[test]
    fn a_replica_is_forgotten_only_when_its_sidecars_can_allow_nothing_any_more() {
        let list = ListName::new("default", "shop").unwrap();
        let as_of = |seconds| {
            HashMap::from([(list.clone(), Window { nanos: 10_000_000_000, as_of: moment(seconds) })])
        };
        let windows = as_of(1);
        assert!(!is_gone(&report(1), &windows, moment(20)));
        assert!(is_gone(&report(1), &windows, moment(21)));
        // It may have been widened meanwhile.
        assert!(!is_gone(&report(1), &as_of(0), moment(21)));
        // One without sidecars has no reason to write.
        assert!(!is_gone(&report(0), &windows, moment(3600)));
        assert!(is_gone(&report(0), &windows, moment(3601)));
        // A list that is declared no more may be so again, before its sidecars are too old.
        assert!(!is_gone(&report(1), &HashMap::new(), moment(2 * 86_400)));
        assert!(is_gone(&report(1), &HashMap::new(), moment(2 * 86_400 + 1)));
    }
}
