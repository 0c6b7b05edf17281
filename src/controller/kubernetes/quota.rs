//! How near the revocations of a namespace are to the quota that refuses more. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a quota calls the objects of our type.
pub(super) const RESOURCE: &str = "count/revocations.rescind.dev";
/// From here on it is told. What is left is a fifth: time to lift something, or to raise the quota, before a revocation
/// is refused.
pub(super) const NEAR_PERCENT: u64 = 80;

/// How far a quota is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) name: String,
    pub(super) used: u64,
    pub(super) hard: u64,
}

impl Quota {
    /// Tells whether there is little left.
    pub(super) const fn is_near(&self) -> bool {
        self.used.saturating_mul(100) >= self.hard.saturating_mul(NEAR_PERCENT)
    }
}

/// Returns the quota of a namespace that is used up first, if one limits revocations. `counted` is how many objects
/// there are as far as the watch has shown: it stands in for what nobody has counted yet.
pub(super) fn tightest(quotas: &[ResourceQuota], counted: u64) -> Option<Quota> {
    let read = quotas.iter().filter_map(|quota| {
        let status = quota.status.as_ref();
        let of = |amounts: Option<&BTreeMap<String, Quantity>>| amounts?.get(RESOURCE).and_then(amount);
        let hard = of(status.and_then(|status| status.hard.as_ref()))
            .or_else(|| of(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref())))?;
        let used = of(status.and_then(|status| status.used.as_ref())).unwrap_or(counted);
        Some(Quota { name: quota.metadata.name.clone().unwrap_or_default(), used, hard })
    });
    read.min_by_key(|quota| quota.hard.saturating_sub(quota.used))
}

/// Reads a whole number: the API server writes 10000 as 10k.
fn amount(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.as_str();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..)? {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn quota(name: &str, spec: Value, status: Value) -> ResourceQuota {
        let amounts = |hard: Value| if hard.is_null() { json!({}) } else { json!({ RESOURCE: hard }) };
        let status = if status.is_null() {
            json!({})
        } else {
            json!({"hard": {RESOURCE: status[0]}, "used": {RESOURCE: status[1]}})
        };
        let object = json!({"metadata": {"name": name}, "spec": {"hard": amounts(spec)}, "status": status});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_quota_is_near_from_four_fifths_on() {
        let is_near = |used, hard| Quota { name: String::new(), used, hard }.is_near();
        assert_eq!([79, 80, 100].map(|used| is_near(used, 100)), [false, true, true]);
        assert_eq!([is_near(7_999, 10_000), is_near(8_000, 10_000)], [false, true]);
        // Nothing may be revoked there at all.
        assert!(is_near(0, 0));
    }

    #[test]
    fn what_the_api_server_has_counted_goes_before_what_was_watched() {
        let check = |quotas: &[ResourceQuota], expected: Option<(&str, u64, u64)>| {
            let found = tightest(quotas, 7);
            let found = found.as_ref().map(|quota| (quota.name.as_str(), quota.used, quota.hard));
            assert_eq!(found, expected);
        };
        check(&[], None);
        check(&[quota("pods", Value::Null, Value::Null)], None);
        check(&[quota("new", json!("10k"), Value::Null)], Some(("new", 7, 10_000)));
        check(&[quota("kept", json!("10k"), json!(["20", "8"]))], Some(("kept", 8, 20)));
        let both =
            [quota("wide", json!("1M"), Value::Null), quota("tight", json!("20"), json!(["20", "19"]))];
        check(&both, Some(("tight", 19, 20)));
    }

    #[test]
    fn whole_numbers_are_read_in_every_way_that_they_are_written() {
        let read = |text: &str| amount(&Quantity(text.to_owned()));
        let texts = ["0", "10000", "10k", "2M", "1G", "1Ki", "1Mi", "1Gi"];
        let expected = [0, 10_000, 10_000, 2_000_000, 1_000_000_000, 1024, 1 << 20, 1 << 30];
        assert_eq!(texts.map(read), expected.map(Some));
        assert_eq!(["", "k", "1.5", "-1", "100m", "1e3", "99999999999999G"].map(read), [None; 7]);
    }
}
