//! A list's declaration as one JSON document: what the store keeps and the stream carries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::revocation::names::ListName;
use crate::revocation::time::UnixSeconds;
use crate::token::list_config::ListConfig;

use super::API_VERSION;
use super::compile::{add_history, compile};
use super::invalid::Invalid;
use super::maxima;
use super::token_revocation_list::TokenRevocationListSpec;

/// The annotation that holds the widest window of the past, in nanoseconds, and until when it was in force.
pub const WINDOW_ANNOTATION: &str = "rescind.dev/widest-window";

/// The kind of the document.
pub const KIND: &str = "TokenRevocationList";

/// A `TokenRevocationList` object, reduced to what decides. Unknown fields are refused everywhere: a field that
/// this program does not know may be one that makes the list stricter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListDocument {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Whose declaration it is.
    pub metadata: DocumentMeta,
    /// What it declares.
    pub spec: TokenRevocationListSpec,
}

/// The metadata that decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DocumentMeta {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// Grows with every change.
    pub generation: u64,
    /// Only those of our own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A window that was in force until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PastWindow {
    nanos: u64,
    until: UnixSeconds,
}

impl ListDocument {
    /// Makes the first document of a list.
    #[must_use]
    pub fn new(name: &ListName, spec: TokenRevocationListSpec) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: DocumentMeta {
                name: name.name().to_owned(),
                namespace: name.namespace().to_owned(),
                generation: 1,
                annotations: BTreeMap::new(),
            },
            spec,
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`Invalid`] for anything that is not understood as a whole.
    pub fn parse(json: &[u8]) -> Result<Self, Invalid> {
        let document: Self = serde_json::from_slice(json).map_err(|error| Invalid::new("document", error))?;
        if document.api_version != API_VERSION || document.kind != KIND {
            let problem = format!("expected {API_VERSION} {KIND}");
            return Err(Invalid::new("apiVersion and kind", problem));
        }
        Ok(document)
    }

    /// Writes the document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // No map with keys that are not strings, and no failing implementation, is part of the type.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the name of the list.
    ///
    /// # Errors
    /// [`Invalid`] if it is no name.
    pub fn name(&self) -> Result<ListName, Invalid> {
        ListName::new(&self.metadata.namespace, &self.metadata.name)
            .map_err(|error| Invalid::new("metadata.name", error))
    }

    /// Compiles the declaration, the history of maxima included.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn config(&self) -> Result<ListConfig, Invalid> {
        let mut config = compile(&self.name()?, &self.spec)?;
        for past in self.history()? {
            add_history(&mut config, &past.issuer, past.until, past.maxima());
        }
        Ok(config)
    }

    /// Returns how long a sidecar that holds this declaration, or one before it, may go on without news. A narrower
    /// window counts only when nobody can hold the wider one any more.
    ///
    /// **Units**: nanoseconds.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn window_nanos(&self) -> Result<u64, Invalid> {
        let own = self.config()?.freshness.window_nanos();
        Ok(self.past_window()?.map_or(own, |past| own.max(past.nanos)))
    }

    fn past_window(&self) -> Result<Option<PastWindow>, Invalid> {
        let Some(text) = self.metadata.annotations.get(WINDOW_ANNOTATION) else { return Ok(None) };
        let field = format!("metadata.annotations[{WINDOW_ANNOTATION}]");
        serde_json::from_str(text).map(Some).map_err(|error| Invalid::new(field, error))
    }

    /// Returns what of the windows up to now still matters after a change at `now`.
    fn window_left(&self, now: UnixSeconds) -> Result<Option<PastWindow>, Invalid> {
        let left = |past: &PastWindow| {
            let ends = past.until.saturating_add(past.nanos.div_ceil(1_000_000_000).saturating_add(1));
            now <= ends
        };
        let own = PastWindow { nanos: self.config()?.freshness.window_nanos(), until: now };
        let past = self.past_window()?.filter(left);
        Ok(Some(past.filter(|past| past.nanos > own.nanos).unwrap_or(own)))
    }

    fn history(&self) -> Result<Vec<maxima::Past>, Invalid> {
        maxima::parse(self.metadata.annotations.get(maxima::ANNOTATION).map(String::as_str))
    }

    /// Returns the document that follows this one when the declaration becomes `new` at `now`; none if nothing
    /// changes.
    ///
    /// # Errors
    /// [`Invalid`] if the history can't be read, or `new` does not compile.
    pub fn followed_by(&self, new: &Self, now: UnixSeconds) -> Result<Option<Self>, Invalid> {
        new.config()?;
        let mut history = self.history()?;
        history.extend(new.history()?);
        let history = maxima::extend(&history, &self.spec, &new.spec, now);
        let mut next = new.clone();
        next.metadata.generation = self.metadata.generation.saturating_add(1);
        next.metadata.annotations.remove(WINDOW_ANNOTATION);
        let narrowed =
            |past: &PastWindow| new.config().is_ok_and(|config| config.freshness.window_nanos() < past.nanos);
        if let Some(past) = self.window_left(now)?.filter(narrowed) {
            let text = serde_json::to_string(&past).unwrap_or_default();
            next.metadata.annotations.insert(WINDOW_ANNOTATION.to_owned(), text);
        }
        match maxima::format(&history) {
            Some(text) => next.metadata.annotations.insert(maxima::ANNOTATION.to_owned(), text),
            None => next.metadata.annotations.remove(maxima::ANNOTATION),
        };
        let same_spec = next.spec == self.spec;
        if same_spec && history_of(&next) == history_of(self) {
            return Ok(None);
        }
        Ok(Some(next))
    }
}

fn history_of(document: &ListDocument) -> Option<&String> {
    document.metadata.annotations.get(maxima::ANNOTATION)
}

#[cfg(test)]
mod tests;
