use std::convert::Infallible;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn start() -> Timestamp {
    "2026-11-27T00:00:00Z".parse().unwrap()
}

fn made(name: &str, created: Timestamp) -> Authority {
    Authority {
        name: name.to_owned(),
        created,
        certificate: format!("<{name}>"),
        key: PrivateKey("secret".to_owned()),
    }
}

const ASKED: Told<'static> = Told { asked: true, published: None };

/// Does what is due until nothing is, as a replica does that can publish everywhere; returns what it was.
fn settle(authorities: &mut Authorities, now: Timestamp, asked: bool) -> Vec<Due> {
    settle_where(authorities, now, asked, true)
}

/// The same where it can publish everywhere, or not.
fn settle_where(authorities: &mut Authorities, now: Timestamp, asked: bool, can_publish: bool) -> Vec<Due> {
    let mut done = Vec::new();
    loop {
        let next = authorities.next.as_ref().filter(|_| can_publish).map(|next| next.name.clone());
        let told = Told { asked: asked && done.is_empty(), published: next.as_deref() };
        let Some(due) = authorities.due(now, told) else { break };
        let name = format!("at {}", now.duration_since(start()).as_hours());
        *authorities = authorities.clone().after(due, now, || Ok::<_, Infallible>(made(&name, now))).unwrap();
        done.push(due);
        assert!(done.len() < 5, "{done:?}");
    }
    done
}

#[test]
fn a_successor_is_published_a_day_before_it_signs_and_the_old_one_two_days_after() {
    let mut authorities = Authorities::first(made("first", start()));
    let mut seen = Vec::new();
    for hour in 0..24 * 100 {
        let now = start() + HOUR * hour;
        for due in settle(&mut authorities, now, false) {
            seen.push((hour, due, authorities.bundle()));
        }
        assert_eq!(authorities.held_up(now), None, "hour {hour}");
    }
    let expected = [
        (90 * 24, Due::Successor, "<first><at 2160>".to_owned()),
        (90 * 24, Due::Note, "<first><at 2160>".to_owned()),
        (91 * 24, Due::Promotion, "<first><at 2160>".to_owned()),
        (93 * 24, Due::Removal, "<at 2160>".to_owned()),
    ];
    assert_eq!(seen, expected);
}

/// Whatever was signed is in the bundle until it has ended, and whoever signs was in it for a day.
#[test]
fn at_any_time_every_certificate_that_lives_is_of_an_authority_that_is_published() {
    let mut authorities = Authorities::first(made("first", start()));
    let mut issued: Vec<(String, Timestamp)> = Vec::new();
    let mut published: Vec<(String, Timestamp)> = vec![("<first>".to_owned(), start() - PUBLISHED_AHEAD)];
    for hour in 0..24 * 400 {
        let now = start() + HOUR * hour;
        settle(&mut authorities, now, hour == 500);
        let bundle = authorities.bundle();
        issued.push((authorities.signing.certificate.clone(), now));
        issued.retain(|(_, at)| age(*at, now) < SERVING_LIFETIME);
        for (by, at) in &issued {
            assert!(
                bundle.contains(by.as_str()),
                "hour {hour}: {by}, which signed at {at}, is not in {bundle}"
            );
        }
        for authority in std::iter::once(&authorities.signing).chain(&authorities.next) {
            if !published.iter().any(|(known, _)| *known == authority.certificate) {
                published.push((authority.certificate.clone(), now));
            }
        }
        let since = published.iter().find(|(known, _)| *known == authorities.signing.certificate).unwrap().1;
        assert!(age(since, now) >= PUBLISHED_AHEAD, "hour {hour}: published since {since}");
    }
}

/// A namespace whose ConfigMap can't be written does not know the successor.
#[test]
fn a_successor_waits_until_it_is_published_everywhere_and_a_day_more() {
    let mut authorities = Authorities::first(made("first", start()));
    let mended = 95 * 24 + 7;
    let mut seen = Vec::new();
    for hour in 0..24 * 100 {
        let now = start() + HOUR * hour;
        for due in settle_where(&mut authorities, now, false, hour >= mended) {
            seen.push((hour, due, authorities.signing.name.clone()));
        }
        let is_held_up = (91 * 24..mended).contains(&hour);
        let until = is_held_up.then(|| start() + HOUR * 24 * 364);
        assert_eq!(authorities.held_up(now), until, "hour {hour}");
    }
    let expected = [
        (90 * 24, Due::Successor, "first"),
        (mended, Due::Note, "first"),
        (mended + 24, Due::Promotion, "at 2160"),
        (mended + 72, Due::Removal, "at 2160"),
    ];
    assert_eq!(seen, expected.map(|(hour, due, signing)| (hour, due, signing.to_owned())));
    assert_eq!(authorities.next_published, None, "the next successor begins anew");
}

#[test]
fn what_was_published_of_another_successor_counts_for_nothing() {
    let mut authorities = Authorities::first(made("first", start()));
    authorities.next = Some(made("second", start()));
    let due = |published| authorities.due(start() + HOUR, Told { asked: false, published });
    assert_eq!(due(Some("third")), None);
    assert_eq!(due(Some("second")), Some(Due::Note));
}

/// Whoever knows the successor is served on; otherwise nobody would be.
#[test]
fn when_the_authority_has_no_time_left_its_successor_signs_wherever_it_is_known() {
    let mut authorities = Authorities::first(made("first", start()));
    let mut seen = Vec::new();
    for hour in 0..24 * 365 {
        let now = start() + HOUR * hour;
        for due in settle_where(&mut authorities, now, false, false) {
            seen.push((hour, due, authorities.signing.name.clone()));
        }
    }
    let expected = [
        (90 * 24, Due::Successor, "first"),
        (364 * 24, Due::Promotion, "at 2160"),
        (364 * 24, Due::Successor, "at 2160"),
    ];
    assert_eq!(seen, expected.map(|(hour, due, signing)| (hour, due, signing.to_owned())));
    assert!(authorities.bundle().starts_with("<first>"), "what it has signed is trusted until it ends");
}

#[test]
fn an_operator_who_asks_gets_a_successor_at_once_and_one_only() {
    let mut authorities = Authorities::first(made("first", start()));
    assert_eq!(authorities.due(start() + HOUR, ASKED), Some(Due::Successor));
    settle(&mut authorities, start() + HOUR, true);
    assert_eq!(authorities.due(start() + HOUR * 2, ASKED), None);
}

#[test]
fn after_a_year_without_controllers_a_new_one_signs_at_once() {
    let mut authorities = Authorities::first(made("first", start()));
    let now = start() + AUTHORITY_LIFETIME;
    assert_eq!(settle(&mut authorities, now, false), [Due::Replacement]);
    assert_eq!(authorities.signing.created, now);
    // A successor that was published before is the better one.
    let mut authorities = Authorities::first(made("first", start()));
    authorities.next = Some(made("second", start() + HOUR * 24 * 90));
    assert_eq!(settle(&mut authorities, now, false)[0], Due::Promotion);
}

#[test]
fn a_clock_that_is_behind_ends_nothing() {
    let mut authorities = Authorities::first(made("first", start()));
    authorities.next = Some(made("second", start()));
    authorities.retired.push(Retired { name: "zero".to_owned(), since: start(), certificate: String::new() });
    assert_eq!(authorities.due(start() - HOUR * 1000, Told::default()), None);
}

#[test]
fn rotations_by_hand_keep_a_bounded_number() {
    let mut authorities = Authorities::first(made("first", start()));
    for _ in 0..20 {
        authorities.next = Some(made("next", start()));
        authorities =
            authorities.after(Due::Promotion, start(), || Ok::<_, Infallible>(made("", start()))).unwrap();
    }
    assert_eq!(authorities.retired.len(), MAX_RETIRED);
}

#[test]
fn a_replica_renews_after_a_third_of_the_lifetime_and_when_another_authority_signs() {
    let (first, second) = (made("first", start()), made("second", start()));
    let issued = Issued::new(&first, start());
    let due = |by: &Authority, now| is_renewal_due(Some(&issued), by, now);
    assert!(is_renewal_due(None, &first, start()));
    assert!(!due(&first, start() + HOUR * 7));
    assert!(due(&first, start() + HOUR * 8));
    assert!(due(&second, start()));
    // The clock was put back.
    assert!(!due(&first, start() - HOUR));
    assert!(due(&first, start() - HOUR * 2));
}

#[test]
fn a_state_is_read_as_it_was_written_and_one_of_a_later_version_is_not() {
    let mut authorities = Authorities::first(made("first", start()));
    authorities.next = Some(made("second", start()));
    let mut json = serde_json::to_value(&authorities).unwrap();
    assert_eq!(serde_json::from_value::<Authorities>(json.clone()).unwrap(), authorities);
    json["later"] = serde_json::json!(1);
    assert!(serde_json::from_value::<Authorities>(json).is_err());
    assert!(!format!("{authorities:?}").contains("secret"), "keys are shown to nobody");
}
