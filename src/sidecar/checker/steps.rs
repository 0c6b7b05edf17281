//! The steps of a check, for people who ask why.

use crate::revocation::names::ListName;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was asked.
    pub step: String,
    /// What came of it; never with a token, or the value of a claim.
    pub outcome: String,
    /// Whether it speaks for the token.
    pub passed: bool,
}

/// Notes steps, or costs nothing.
#[derive(Debug)]
pub(super) struct Steps(Option<Vec<Step>>);

impl Steps {
    pub(super) const fn off() -> Self {
        Self(None)
    }

    pub(super) const fn on() -> Self {
        Self(Some(Vec::new()))
    }

    pub(super) fn note(&mut self, step: &str, passed: bool, outcome: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.0 {
            steps.push(Step { step: step.to_owned(), outcome: outcome(), passed });
        }
    }

    pub(super) fn note_of(
        &mut self,
        step: &str,
        list: &ListName,
        passed: bool,
        outcome: impl FnOnce() -> String,
    ) {
        if let Some(steps) = &mut self.0 {
            steps.push(Step { step: format!("{step} {list}"), outcome: outcome(), passed });
        }
    }

    pub(super) fn into_vec(self) -> Vec<Step> {
        self.0.unwrap_or_default()
    }
}
