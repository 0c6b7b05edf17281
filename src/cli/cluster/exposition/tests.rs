use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::distribution::view::Views;
use crate::runtime::clock::ManualClock;
use crate::runtime::gate::Gate;
use crate::runtime::metrics::Format;
use crate::sidecar::metrics::Metrics;
use crate::sidecar::test_support::{NOW, State, config, view};

const GOOD: &str = "\
# HELP rescind_build_info What runs.
rescind_build_info{version=\"0.1.0\",component=\"sidecar\"} 1
rescind_stream_connected 1
rescind_checks_total{transport=\"check\",reason=\"a } b\"} garbage
rescind_list_age_seconds{list=\"shop/shop\"} 0.4319
rescind_list_fresh{list=\"shop/shop\"} 1.0
rescind_list_fresh{list=\"bank/bank\"} 0.0
rescind_list_version{list=\"shop/shop\"} 7.0
rescind_list_epoch{list=\"shop/shop\"} 1.0
";

#[test]
fn what_a_sidecar_writes_is_read() {
    let views = [view(config("fresh"), State::Fresh, &[]), view(config("never"), State::NeverFresh, &[])];
    let names: Vec<_> = views.iter().map(|view| view.name.clone()).collect();
    let published = Views::new(&names);
    views.iter().enumerate().for_each(|(index, view)| published.publish(index, view.clone()));
    let gate = Gate::new(1024, Duration::from_secs(5));
    let exposition = Metrics::default().exposition(published, Arc::new(ManualClock::new(NOW)), gate);
    let told = Told::read(&exposition.encode(Format::Prometheus).unwrap()).unwrap();
    let fresh = Known { is_fresh: true, age_milliseconds: Some(2_000), version: Some("1/9".to_owned()) };
    let expected = Told {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        is_connected: false,
        lists: [("default/fresh".to_owned(), fresh), ("default/never".to_owned(), Known::default())].into(),
    };
    assert_eq!(told, expected);
}

#[test]
fn other_lines_are_not_looked_at() {
    let told = Told::read(GOOD).unwrap();
    assert!(told.is_connected);
    let shop = Known { is_fresh: true, age_milliseconds: Some(432), version: Some("1/7".to_owned()) };
    assert_eq!(told.lists["shop/shop"], shop);
    assert_eq!(told.lists["bank/bank"], Known::default());
}

#[test]
fn what_is_not_as_a_sidecar_writes_it_is_told_and_not_believed() {
    let check = |from: &str, to: &str, expected: &str| {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let said = Told::read(&text).map_err(|error| error.to_string());
        assert_eq!(said, Err(format!("what answers is no sidecar of this version: {expected}")), "{to}");
    };
    check("rescind_build_info{", "go_info{", "rescind_build_info is missing");
    check("\"sidecar\"", "\"controller\"", "line 2 is another program's");
    check("rescind_stream_connected 1\n", "", "rescind_stream_connected is missing");
    check("rescind_list_fresh", "rescind_list_frosh", "rescind_list_fresh is missing for a list");
    check("rescind_list_epoch", "x", "rescind_list_epoch and rescind_list_version are not of the same lists");
    check("connected 1", "connected 2", "2 is neither 0 nor 1");
    check("connected 1", "connected 1 1795255200", "line 3 is no sample");
    check("connected 1", "connected", "line 3 is no sample");
    check(" 0.4319", " NaN", "line 5 is no sample");
    check(" 0.4319", " +Inf", "line 5 is no sample");
    check(" 0.4319", " -1", "-1000 is no whole number");
    check(" 7.0", " 7.5", "7.5 is no whole number");
    check(" 7.0", " 1e300", &format!("{} is no whole number", 1e300));
    check("{list=\"bank/bank\"}", "{list=\"shop/shop\"}", "line 7 repeats another");
    check("bank/bank", "bank", "line 7 names no list");
    check("bank/bank", "bank/\\nbank", "line 7 names no list");
    check("bank/bank", "bank/\\x", "line 7 is no sample");
    check("bank/bank\"}", "bank/bank", "line 7 is no sample");
    check("{list=\"bank/bank\"}", "{}", "line 7 is no sample");
    check("{list=\"bank/bank\"}", "{list=\"a/a\",list=\"b/b\"}", "line 7 is no sample");
    assert!(Told::read("").is_err());
    assert!(Told::read("<html>404 page not found</html>").is_err());
    let many: String = (0..65).map(|n| format!("rescind_list_fresh{{list=\"a/l{n}\"}} 1\n")).collect();
    check("rescind_list_fresh{list=\"bank/bank\"} 0.0\n", &many, "it follows 66 lists");
}
