//! What a declaration had in force when a controller last saw it, kept in an annotation: where others change the
//! declaration, possibly while no controller runs, this tells what was there before.

use serde::{Deserialize, Serialize};

use crate::revocation::freshness::Bounds;
use crate::token::list_config::Maxima;

use super::invalid::Invalid;
use super::maxima::{self, InForce};
use super::token_revocation_list::TokenRevocationListSpec;

/// The annotation.
pub const ANNOTATION: &str = "rescind.dev/in-force";

/// What of a declaration has effects after it was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recorded {
    issuers: Vec<RecordedMaxima>,
    /// How long a sidecar that was told nothing more may still allow.
    pub window_seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordedMaxima {
    issuer: String,
    token_seconds: u64,
    session_seconds: u64,
    skew_seconds: u64,
}

impl Recorded {
    /// Returns what a declaration puts in force.
    #[must_use]
    pub fn new(spec: &TokenRevocationListSpec, bounds: &Bounds) -> Self {
        let of = |(issuer, maxima): InForce| RecordedMaxima {
            issuer,
            token_seconds: maxima.token_lifetime_seconds,
            session_seconds: maxima.session_lifetime_seconds,
            skew_seconds: maxima.clock_skew_seconds,
        };
        let issuers = maxima::in_force(spec).into_iter().map(of).collect();
        Self { issuers, window_seconds: bounds.window_seconds() }
    }

    /// Reads the annotation; none if there is none: no controller has seen the declaration.
    ///
    /// # Errors
    /// [`Invalid`] if it is not what this program writes: without its history a list must not be used.
    pub fn parse(annotation: Option<&str>) -> Result<Option<Self>, Invalid> {
        annotation.map(serde_json::from_str).transpose().map_err(|error| {
            Invalid::new(format!("metadata.annotations[{ANNOTATION}]"), format!("can't be read: {error}"))
        })
    }

    /// Writes the annotation.
    #[must_use]
    pub fn format(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// Returns the maxima.
    #[must_use]
    pub fn in_force(&self) -> Vec<InForce> {
        let of = |recorded: &RecordedMaxima| {
            let maxima = Maxima {
                token_lifetime_seconds: recorded.token_seconds,
                session_lifetime_seconds: recorded.session_seconds,
                clock_skew_seconds: recorded.skew_seconds,
            };
            (recorded.issuer.clone(), maxima)
        };
        self.issuers.iter().map(of).collect()
    }
}
