use super::*;
use crate::api::compile::tests::document;

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds).unwrap()
}

/// So many lists of a namespace that have to be recorded, by UID.
fn due(namespace: &str, count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("{namespace}-{n:03}"), namespace.to_owned())).collect()
}

fn choose(seen: &Seen, due: &[(String, String)]) -> HashSet<String> {
    let due: Vec<_> = due.iter().map(|(uid, namespace)| (uid.as_str(), namespace.as_str())).collect();
    seen.choose(&due)
}

/// Invariant 23: whoever changes many lists all the time does not keep others from being recorded.
#[test]
fn each_namespace_has_its_turn_and_who_has_waited_longest_is_first() {
    let seen = Seen::default();
    let (many, few) = (due("a", 200), due("b", 2));
    let all = [many.clone(), few.clone()].concat();
    let first = choose(&seen, &all);
    assert_eq!(first.len(), MAX_RECORDED);
    assert!(few.iter().all(|(uid, _)| first.contains(uid)));
    // Those that were recorded have changed again; the others have waited longer.
    let second = choose(&seen, &all);
    assert_eq!((second.len(), second.intersection(&first).count()), (MAX_RECORDED, 0));
    let third = choose(&seen, &all);
    assert_eq!((third.len(), third.intersection(&second).count()), (MAX_RECORDED, 0));
    // Whose object is gone waits no more.
    assert_eq!(choose(&seen, &few).len(), 2);
    assert!(seen.known().waiting.is_empty());
}

/// Invariant 18: what is kept of a list goes with it, and not because of a look that began before it was declared.
#[test]
fn the_document_of_a_list_that_is_gone_is_forgotten() {
    let seen = Seen::default();
    seen.keep("gone", &document(), at(1000));
    seen.keep("there", &document(), at(1000));
    let kept = |listed: &[&str], now| {
        seen.keep_only(&listed.iter().copied().collect(), at(now));
        let mut kept: Vec<_> = seen.known().documents.keys().cloned().collect();
        kept.sort();
        kept
    };
    assert_eq!(kept(&[], 1000 + KEPT_SECONDS - 1), ["gone", "there"]);
    assert_eq!(kept(&["there"], 1000 + KEPT_SECONDS), ["there"]);
}
