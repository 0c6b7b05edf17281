//! A list in shadow: everything is computed and counted, and nothing is refused.

use rescind::token::list_config::Enforcement;

use crate::decision_table::check_as;
use crate::doubt::{freeze, until_answer, whole_table};
use crate::expected::{Knowledge, Route};
use crate::fronts::{Fronts, Proxy, got};
use crate::presented::{Meaning, Presented};
use crate::support::lab::Lab;
use crate::support::metrics::metric_where;

/// How often a check of the table meets what is revoked, through one proxy.
fn hits(table: &[Presented]) -> usize {
    // Only a token that keeps the rules is looked up: not one for another audience.
    let looks_up = |route: &&Route| !matches!(route, Route::Narrow | Route::Bad | Route::Unasked);
    let revoked = table.iter().filter(|presented| presented.meaning == Meaning::Revoked).count();
    // Each is asked about twice: once with forged headers.
    2 * revoked * Route::ALL.iter().filter(looks_up).count()
}

async fn counted(health: &str, transport: &str, labels: [(&str, &str); 2]) -> f64 {
    let labels = [&[("transport", transport), ("shadow", "true")][..], &labels[..]].concat();
    metric_where(health, "rescind_checks_total", &labels).await
}

#[tokio::test]
async fn a_list_in_shadow_says_and_counts_what_it_would_refuse_and_refuses_nothing() {
    let lab = Lab::declaring(|spec| spec["enforcement"] = "Shadow".into()).started().await;
    let table = whole_table(&lab).await;
    let mut fronts = Fronts::start(lab).await;
    check_as(&fronts, Knowledge::Fresh, Enforcement::Shadow, &table).await;

    let health = fronts.lab.sidecar().address("health").to_owned();
    let revoked = [("decision", "allow"), ("reason", "REVOKED")];
    let hits = hits(&table);
    assert!(hits > 0);
    for (transport, asks_so) in [("ext_authz", true), ("forward_auth", false)] {
        let proxies = fronts.proxies().filter(|proxy| (*proxy == Proxy::Envoy) == asks_so).count();
        assert_eq!(counted(&health, transport, revoked).await, (hits * proxies) as f64, "{transport}");
    }

    // It vouches no more: that, too, is said and counted, and has no effect.
    freeze(&mut fronts.lab);
    until_answer(&fronts, &table[0], "is told that nobody can vouch", |reply| {
        got(reply, "x-rescind-verdict") == ["unknown"]
    })
    .await;
    let short: Vec<Presented> = table.iter().step_by(3).cloned().collect();
    check_as(&fronts, Knowledge::Stale, Enforcement::Shadow, &short).await;
    assert!(counted(&health, "ext_authz", [("decision", "allow"), ("reason", "STALE")]).await > 0.0);
}
