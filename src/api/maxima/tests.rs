use super::*;
use crate::api::compile::tests::document;

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds).unwrap()
}

fn spec_with(token_seconds: u32) -> Vec<InForce> {
    let mut spec = document().spec;
    spec.issuers[0].max_token_lifetime_seconds = token_seconds;
    in_force(&spec)
}

#[test]
fn a_changed_maximum_is_remembered_until_the_longest_token_of_the_longest_session_has_expired() {
    let history = extend(&[], &spec_with(600), &spec_with(7200), at(1000));
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].until, history[0].token_seconds), (at(1000), 600));
    let unchanged = |now| extend(&history, &spec_with(7200), &spec_with(7200), at(now));
    let last = 1000 + 1 + 2 * u64::from(compile::LONGEST_LIFETIME_SECONDS) + MARGIN_SECONDS;
    assert_eq!(unchanged(last), history);
    assert_eq!(unchanged(last + 1), []);
}

/// Invariant 4: a token of a day that was issued under ten minutes stays refused for all of its day, also when the
/// declaration changes once more in between.
#[test]
fn a_short_maximum_is_not_forgotten_while_a_longer_token_of_its_time_lives() {
    let history = extend(&[], &spec_with(600), &spec_with(86_400), at(1000));
    let history = extend(&history, &spec_with(86_400), &spec_with(80_000), at(30_000));
    assert_eq!(history.iter().map(|past| past.token_seconds).min(), Some(600));
}

#[test]
fn an_issuer_that_goes_leaves_its_maxima() {
    let mut without = spec_with(600);
    without[0].0 = "https://else".to_owned();
    let history = extend(&[], &spec_with(600), &without, at(1000));
    assert_eq!(history[0].issuer, "https://id.example.com");
}

#[test]
fn a_long_history_is_shortened_on_the_strict_side() {
    let mut history = Vec::new();
    for change in 0..100u32 {
        history = extend(
            &history,
            &spec_with(100 + change),
            &spec_with(101 + change),
            at(1000 + u64::from(change)),
        );
    }
    assert_eq!(history.len(), MAX_ENTRIES);
    assert_eq!((history[0].until, history[0].token_seconds), (at(1036), 100));
}

#[test]
fn the_annotation_reads_back_and_a_broken_one_is_refused() {
    let history = extend(&[], &spec_with(600), &spec_with(7200), at(1000));
    assert_eq!(parse(format(&history).as_deref()), Ok(history));
    assert_eq!((parse(None), format(&[])), (Ok(vec![]), None));
    assert!(parse(Some("[{}]")).unwrap_err().field.contains(ANNOTATION));
}
