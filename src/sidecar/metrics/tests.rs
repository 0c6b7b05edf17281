use std::time::Duration;

use super::*;
use crate::revocation::selector::Selection;
use crate::runtime::clock::ManualClock;
use crate::runtime::metrics::Format;
use crate::sidecar::outcome::{Effort, Verdict};
use crate::sidecar::test_support::{NOW, State, alice, always, config, issued_until, target, view};
use crate::token::rejection::Rejection;

/// Returns the samples whose names start so, in their order.
fn samples(metrics: &Metrics, views: &[ListView], name: &str) -> Vec<String> {
    let names: Vec<_> = views.iter().map(|view| view.name.clone()).collect();
    let published = Views::new(&names);
    views.iter().enumerate().for_each(|(index, view)| published.publish(index, view.clone()));
    let gate = Gate::new(1024, Duration::from_secs(5));
    let exposition = metrics.exposition(published, Arc::new(ManualClock::new(NOW)), gate);
    let text = exposition.encode(Format::Prometheus).unwrap();
    text.lines().filter(|line| line.starts_with(name)).map(ToOwned::to_owned).collect()
}

fn outcome(verdict: Verdict, decision: Decision, effort: Effort) -> Outcome {
    Outcome { verdict, decision, reason: verdict.code(), effort, ..Outcome::bad_policy() }
}

#[test]
fn every_check_is_counted_by_how_it_was_answered_with_what_it_cost() {
    let metrics = Metrics::default();
    let effort = Effort { keys: 7, false_positives: 2, hits: 1, issued_ahead_nanos: 500_000_000 };
    let ahead = Effort { issued_ahead_nanos: 250_000_000, ..effort };
    let active = outcome(Verdict::Active, Decision::Allow, effort);
    let rejected = outcome(Verdict::Rejected(Rejection::Expired), Decision::Deny, ahead);
    metrics.checked(Transport::Check, &active);
    metrics.checked(Transport::Check, &active);
    metrics.checked(Transport::ExtAuthz, &active);
    metrics.checked(Transport::Check, &rejected);
    metrics.checked(Transport::Check, &Outcome { best_effort: true, ..active.clone() });
    let in_shadow = Outcome { decision: Decision::Allow, shadow: true, ..rejected };
    metrics.checked(Transport::ForwardAuth, &in_shadow);
    let mut checks = samples(&metrics, &[], "rescind_checks_total");
    checks.sort_unstable();
    let line = |transport, decision, reason, shadow, best_effort, count| {
        format!(
            "rescind_checks_total{{transport=\"{transport}\",decision=\"{decision}\",reason=\"{reason}\",\
             shadow=\"{shadow}\",best_effort=\"{best_effort}\"}} {count}"
        )
    };
    let expected = [
        line("check", "allow", "", false, false, 2),
        line("check", "allow", "", false, true, 1),
        line("check", "deny", "EXPIRED", false, false, 1),
        line("ext_authz", "allow", "", false, false, 1),
        line("forward_auth", "allow", "EXPIRED", true, false, 1),
    ];
    assert_eq!(checks, expected);
    let value = |name| samples(&metrics, &[], name).join("\n");
    assert_eq!(value("rescind_lookups_total"), "rescind_lookups_total 42");
    assert_eq!(value("rescind_lookup_hits_total"), "rescind_lookup_hits_total 6");
    assert_eq!(value("rescind_filter_false_positives_total"), "rescind_filter_false_positives_total 12");
    // The largest, not the last.
    assert_eq!(value("rescind_issued_ahead_seconds"), "rescind_issued_ahead_seconds 0.5");
}

#[test]
fn what_is_known_of_each_list_is_told_as_it_is_when_somebody_asks() {
    let rows = [(alice(), always()), (target(Selection::Everything), issued_until(1))];
    let views = [
        view(config("fresh"), State::Fresh, &rows),
        view(config("stale"), State::Stale, &rows[..1]),
        view(config("never"), State::NeverFresh, &[]),
        ListView::empty("nothing".parse().unwrap()),
    ];
    let metrics = Metrics::default();
    let check = |name: &str, expected: &[(&str, &str)]| {
        let line = |(list, value): &(&str, &str)| format!("{name}{{list=\"default/{list}\"}} {value}");
        let expected: Vec<String> = expected.iter().map(line).collect();
        assert_eq!(samples(&metrics, &views, name), expected);
    };
    check("rescind_list_age_seconds", &[("fresh", "2.0"), ("stale", "100.0")]);
    let fresh = [("fresh", "1.0"), ("stale", "0.0"), ("never", "0.0"), ("nothing", "0.0")];
    check("rescind_list_fresh", &fresh);
    check("rescind_list_version", &[("fresh", "9.0"), ("stale", "9.0")]);
    check("rescind_list_epoch", &[("fresh", "1.0"), ("stale", "1.0")]);
    check("rescind_list_entries", &[("fresh", "2.0"), ("stale", "1.0"), ("never", "0.0")]);
    check("rescind_list_retained", &[("fresh", "0.0"), ("stale", "0.0"), ("never", "0.0")]);
    let bytes = |view: &ListView| format!("{:?}", view.list.as_ref().unwrap().approximate_bytes() as f64);
    let [one, two, three] = [0, 1, 2].map(|index| bytes(&views[index]));
    check("rescind_list_memory_bytes", &[("fresh", &one), ("stale", &two), ("never", &three)]);
}
