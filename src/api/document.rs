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
use super::recorded::{self, Recorded};
use super::token_revocation_list::TokenRevocationListSpec;
use super::window::{self, Past};

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

    fn history(&self) -> Result<Vec<maxima::Past>, Invalid> {
        maxima::parse(self.metadata.annotations.get(maxima::ANNOTATION).map(String::as_str))
    }

    /// Returns the widest window of declarations before this one, if it may still matter.
    #[must_use]
    pub fn past_window(&self) -> Option<Past> {
        self.metadata.annotations.get(window::ANNOTATION).map(|text| Past::parse(text))
    }

    /// Returns the document that follows this one when the declaration becomes `new` at `now`; none if nothing
    /// changes.
    ///
    /// # Errors
    /// [`Invalid`] if the history can't be read, or `new` does not compile.
    pub fn followed_by(&self, new: &Self, now: UnixSeconds) -> Result<Option<Self>, Invalid> {
        let new_bounds = new.config()?.freshness;
        // One that no longer compiles must not stand in the way of one that does.
        let old_bounds = self.config().map_or(window::WIDEST, |config| config.freshness);
        let mut history = self.history()?;
        history.extend(new.history()?);
        let (old_maxima, new_maxima) = (maxima::in_force(&self.spec), maxima::in_force(&new.spec));
        let history = maxima::extend(&history, &old_maxima, &new_maxima, now);
        let mut next = new.clone();
        next.metadata.generation = self.metadata.generation.saturating_add(1);
        next.annotate(maxima::ANNOTATION, maxima::format(&history));
        let (old, new) = (old_bounds.window_seconds(), new_bounds.window_seconds());
        let past = Past::after(self.past_window(), old, new, now);
        next.annotate(window::ANNOTATION, past.and_then(|past| past.format()));
        Ok((next.spec != self.spec || next.metadata.annotations != self.metadata.annotations).then_some(next))
    }

    /// Returns the document with its annotations brought up to what it declares, where others change the declaration
    /// and nobody sees both the old one and the new; none if they are.
    ///
    /// What was in force is in an annotation of its own. So a change is recorded whoever made it, and whenever.
    ///
    /// # Errors
    /// [`Invalid`] if the document does not compile, or an annotation is not what this program writes.
    pub fn recorded(&self, now: UnixSeconds) -> Result<Option<Self>, Invalid> {
        let bounds = self.config()?.freshness;
        let is = Recorded::new(&self.spec, &bounds);
        let was = Recorded::parse(self.metadata.annotations.get(recorded::ANNOTATION).map(String::as_str))?;
        if was.as_ref() == Some(&is) {
            return Ok(None);
        }
        let mut next = self.clone();
        if let Some(was) = was {
            let history = maxima::extend(&self.history()?, &was.in_force(), &is.in_force(), now);
            next.annotate(maxima::ANNOTATION, maxima::format(&history));
            let past = Past::after(self.past_window(), was.window_seconds, is.window_seconds, now);
            next.annotate(window::ANNOTATION, past.and_then(|past| past.format()));
        }
        next.annotate(recorded::ANNOTATION, is.format());
        Ok(Some(next))
    }

    fn annotate(&mut self, annotation: &str, text: Option<String>) {
        match text {
            Some(text) => self.metadata.annotations.insert(annotation.to_owned(), text),
            None => self.metadata.annotations.remove(annotation),
        };
    }
}

#[cfg(test)]
mod tests;
