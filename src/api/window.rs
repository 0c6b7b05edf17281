//! How long a sidecar may still allow under a declaration of before, kept in an annotation so that a controller
//! which starts anew knows it too: `Enforced` must not be reported while such a sidecar may live.

use serde::{Deserialize, Serialize};

use crate::revocation::freshness::{Bounds, Policy};
use crate::revocation::time::UnixSeconds;

/// The annotation.
pub const ANNOTATION: &str = "rescind.dev/widest-window";

/// The widest bounds that a list can declare; those of a declaration or an annotation that can't be read.
pub(super) const WIDEST: Bounds =
    Bounds { bound_seconds: 3600, maximum_seconds: 86_400, policy: Policy::BestEffort };
/// For clocks, and for the time until every replica has taken the narrower declaration.
const MARGIN_SECONDS: u64 = 3600;

/// The widest window of declarations that are no longer in force. Several are kept as one that is at least as wide,
/// and as late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Past {
    /// The last second in which it was in force.
    pub until: UnixSeconds,
    /// How long a sidecar goes on under it.
    pub seconds: u32,
}

impl Past {
    /// Reads the annotation; what can't be read is as wide as can be, and has no end.
    #[must_use]
    pub fn parse(annotation: &str) -> Self {
        let unknown = Self { until: UnixSeconds::MAX, seconds: WIDEST.window_seconds() };
        serde_json::from_str(annotation).unwrap_or(unknown)
    }

    /// Writes the annotation.
    #[must_use]
    pub fn format(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// Returns what is kept when one window gives way to another at `now`; none if nobody can go on for longer than
    /// under that.
    #[must_use]
    pub fn after(past: Option<Self>, old_seconds: u32, new_seconds: u32, now: UnixSeconds) -> Option<Self> {
        let left = Self { until: now, seconds: old_seconds };
        let wider = [past.filter(|past| past.matters(now)), Some(left)];
        let kept = wider.into_iter().flatten().filter(|past| past.seconds > new_seconds);
        kept.reduce(|a, b| Self { until: a.until.max(b.until), seconds: a.seconds.max(b.seconds) })
    }

    /// Returns how long a sidecar may go on, clock-rate error included, if one may still hold it.
    ///
    /// **Units**: nanoseconds.
    #[must_use]
    pub fn window_nanos(&self, now: UnixSeconds) -> Option<u64> {
        let bounds =
            Bounds { bound_seconds: self.seconds, maximum_seconds: self.seconds, policy: Policy::Strict };
        self.matters(now).then(|| bounds.window_nanos())
    }

    fn matters(&self, now: UnixSeconds) -> bool {
        now <= self.until.saturating_add(u64::from(self.seconds)).saturating_add(MARGIN_SECONDS)
    }
}
