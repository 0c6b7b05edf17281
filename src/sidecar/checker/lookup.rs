//! The lookup of an accepted token in one list: in its state, and in what an earlier process has left.

use crate::revocation::claims::Claims;
use crate::revocation::key::{HashKey, ValueRef};
use crate::revocation::list::{Found, RevocationList};
use crate::revocation::row::{RowKind, TokenTimes};
use crate::revocation::selector::BuiltIn;
use crate::sidecar::outcome::{Effort, Verdict, Why};
use crate::token::list_config::IssuerConfig;
use crate::token::selection::{Selected, SelectionError, opaque_keys, select};

use super::Check;
use super::evidence::{Declaring, KeyUse};

/// A row that denies, and the selector under which it stands.
type Hit<'a> = (RowKind, &'a str);

impl Check<'_> {
    /// Looks verified claims up in one list.
    pub(super) fn look_up(
        &mut self,
        list: &Declaring<'_>,
        claims: &Claims,
        key: KeyUse<'_>,
        times: TokenTimes,
    ) {
        let pinned = if let KeyUse::Pinned(key) = key { Some(key) } else { None };
        let found = self.first_hit(list, times, |hash_key| {
            let mut keys = select(list.config, list.issuer, claims, pinned, hash_key)?;
            if let KeyUse::Named(name) = key {
                keys.push(by_key(list.issuer, name, hash_key));
            }
            Ok(keys)
        });
        self.note_hit(list, found);
        // Without the key's name, a revoked one may be the one that signed.
        if let KeyUse::OneOf(keys) = key {
            let by_any = self.first_hit(list, times, |hash_key| {
                let names =
                    keys.iter().flat_map(|key| [key.key_id.as_deref(), Some(key.thumbprint.as_str())]);
                Ok(names.flatten().map(|name| by_key(list.issuer, name, hash_key)).collect())
            });
            if !matches!(by_any, Ok(None)) {
                self.findings.doubt(list.asked.force, Why::KeyNotTold);
            }
        }
    }

    /// Looks an opaque token up in all lists that declare its issuer; tells whether there is one.
    pub(super) fn look_up_opaque(&mut self, issuer: &str, token: &str) -> bool {
        // Its times are unknown, and so any row denies it.
        let times = TokenTimes::default();
        let declaring = self.declaring(issuer);
        for list in &declaring {
            let found = self.first_hit(list, times, |hash_key| Ok(opaque_keys(issuer, token, hash_key)));
            self.note_hit(list, found);
        }
        !declaring.is_empty()
    }

    fn note_hit(&mut self, list: &Declaring<'_>, found: Result<Option<Hit<'_>>, SelectionError>) {
        self.steps.note_of("lookup", &list.asked.view.name, matches!(found, Ok(None)), || match found {
            Ok(None) => "no row denies it".to_owned(),
            Ok(Some((row, selector))) => format!("a row ({row:?}) of selector {selector} denies it"),
            Err(error) => error.code().to_owned(),
        });
        match found {
            Ok(None) => {}
            Ok(Some((row, _))) => self.findings.refuse(list.asked.force, Verdict::Revoked(row)),
            Err(error) => self.findings.doubt(list.asked.force, Why::TooMuch(error)),
        }
    }

    /// Returns the first row that denies, in the state or in what was left of earlier ones. Each has a hash key of its
    /// own.
    fn first_hit<'k>(
        &mut self,
        list: &Declaring<'_>,
        times: TokenTimes,
        keys: impl Fn(&HashKey) -> Result<Vec<Selected<'k>>, SelectionError>,
    ) -> Result<Option<Hit<'k>>, SelectionError> {
        let view = list.asked.view;
        let skew = list.issuer.clock_skew_of(times);
        let mut computed: Option<(HashKey, Vec<Selected<'k>>)> = None;
        for held in view.list.iter().chain(&view.denials) {
            let keys = match computed.take() {
                Some((hash_key, keys)) if hash_key == *held.hash_key() => keys,
                _ => keys(held.hash_key())?,
            };
            if let Some(hit) = hit_in(held, &keys, times, skew, &mut self.effort) {
                return Ok(Some(hit));
            }
            computed = Some((*held.hash_key(), keys));
        }
        Ok(None)
    }
}

fn hit_in<'k>(
    list: &RevocationList,
    keys: &[Selected<'k>],
    times: TokenTimes,
    skew: u64,
    effort: &mut Effort,
) -> Option<Hit<'k>> {
    for selected in keys {
        effort.keys = effort.keys.saturating_add(1);
        match list.find(selected.key) {
            Found::Nothing => {}
            Found::FalsePositive => effort.false_positives = effort.false_positives.saturating_add(1),
            Found::Rows(rows) => {
                effort.hits = effort.hits.saturating_add(1);
                if let Some(row) = rows.denies(times, skew) {
                    return Some((row, selected.selector));
                }
            }
        }
    }
    None
}

fn by_key(issuer: &IssuerConfig, name: &str, hash_key: &HashKey) -> Selected<'static> {
    let key = hash_key.built_in_key(&issuer.issuer, BuiltIn::Key, Some(ValueRef::String(name)));
    Selected { selector: BuiltIn::Key.name(), key }
}
